"""Pictures of networks and populations, and charts of what pruning, training and evolution did to them.

Every function draws on the `ax` it is given, or on a new figure that pyplot does not know, and returns the Axes:
`plot.network(net).figure.savefig("net.png")`. In a notebook, pass an Axes of `plt.subplots()`, or end the cell with
`plot.network(net).figure` after `%matplotlib inline`. `evolution` draws on a whole figure and returns it, `growth`
returns an animation. Only `network_svg` and `population_html` do without matplotlib.
"""

from neuroprune.plot.charts import input_use, saliency, training
from neuroprune.plot.drawing import network
from neuroprune.plot.film import growth
from neuroprune.plot.generations import complexity, fitness, pareto, species
from neuroprune.plot.populations import evolution, population_html
from neuroprune.plot.svg import network_svg

__all__ = ["complexity", "evolution", "fitness", "growth", "input_use", "network", "network_svg", "pareto",
           "population_html", "saliency", "species", "training"]
