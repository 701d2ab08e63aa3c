"""What pictures are drawn on and with: axes of our own figure or the caller's, and one set of colours."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap

NEGATIVE, ZERO, POSITIVE = "#2166ac", "#c6cacd", "#c0392b"  # of weights
WEAK, STRONG = "#c9d3dc", "#1f4e79"  # of what has no sign
INK, FAINT = "#2d3436", "#8b949c"
KIND = {"input": "#2a9d8f", "hidden": "#55647a", "output": "#e09f3e"}
DEAD = "#a3abb3"
KEPT, REMOVED = "#2a9d8f", "#d1d6da"


def axes(ax: "Axes | None", width: float = 7.0, height: float = 4.2) -> "Axes":
    """The caller's axes, or new ones on a figure of this size in inches that pyplot does not know."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('pictures need matplotlib, which is not installed: pip install "neuroprune[plot]"') from None
    if ax is not None:
        return ax
    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def colormap(*colours: str) -> "LinearSegmentedColormap":
    """A matplotlib colour map through the given colours."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("neuroprune", colours)


def mix(share: float, *colours: str) -> str:
    """The colour at a share in [0, 1] of the way through the given ones, as #rrggbb."""
    rgb = np.array([[int(colour[i:i + 2], 16) for i in (1, 3, 5)] for colour in colours], float)
    place = share * (len(colours) - 1)
    first = min(int(place), len(colours) - 2)
    mixed = rgb[first] + (place - first) * (rgb[first + 1] - rgb[first])
    return "#" + "".join(f"{round(value):02x}" for value in mixed)


def bare(ax: "Axes", sides: tuple[str, ...] = ("top", "right")) -> None:
    """Take away the frame on these sides."""
    for side in sides:
        ax.spines[side].set_visible(False)


def say_empty(ax: "Axes", text: str) -> None:
    """Write why there is nothing to see."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=FAINT)
