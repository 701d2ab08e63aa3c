"""Pictures of networks, and charts of what pruning and training did to them.

Every function draws on the `ax` it is given, or on a new figure that pyplot does not know, and returns the Axes:
`plot.network(net).figure.savefig("net.png")`. In a notebook, pass an Axes of `plt.subplots()`, or end the cell with
`plot.network(net).figure` after `%matplotlib inline`. Only `network_svg` does without matplotlib.
"""

from neuroprune.plot.charts import input_use, saliency, training
from neuroprune.plot.drawing import network
from neuroprune.plot.svg import network_svg

__all__ = ["input_use", "network", "network_svg", "saliency", "training"]
