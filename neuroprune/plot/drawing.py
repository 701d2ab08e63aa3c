"""A network drawn with matplotlib: every node and connection of a small one, boxes and bundles of a large one."""

from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from neuroprune.network.edit import check_finite
from neuroprune.plot import canvas, layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D

    from neuroprune.network.network import Network

SMALLEST, LARGEST = 2.4, 17.0  # diameters of nodes in points
SHARE = 0.88  # of its axes, what a network gets


def network(net: "Network", ax: "Axes | None" = None, max_connections: int = 2000, max_nodes: int = 300,
            labels: bool = True, colorbar: bool = True) -> "Axes":
    """Draw a network in layers by depth, inputs left, outputs right.

    Every connection is a line: blue below 0, red above, the wider the larger; delayed ones are dashed, above the
    nodes when they go right and below when they go left. Dead nodes (hidden ones that reach no output or that no
    input reaches) and inputs that reach no output are hollow. A network with more connections or nodes than asked
    for becomes one box for each depth, with arrows that tell how many connections run between two depths and which
    share of all pairs of nodes that is.

    Parameters
    ----------
    net : Network
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure that pyplot does not know (`ax.figure` saves it).
    max_connections, max_nodes : int
        What is drawn one by one at most; 0 always summarises.
    labels : bool
        Write the ids on nodes that are large enough.
    colorbar : bool
        Add a colour bar for the weights.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        When a weight or bias is not finite.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> ax = plot.network(npr.Network.dense([2, 3, 1], seed=0))
    >>> len(ax.collections[0].get_paths())
    9
    """
    ax = canvas.axes(ax, 7.0, 4.4)
    check_finite(net)
    graph = net.graph
    small = graph.n_connections <= max_connections and graph.n_nodes <= max_nodes
    room = _size(ax)[0]
    bar, notes = _draw_all(net, ax, labels) if small else _draw_summary(net, ax)
    if colorbar and bar is not None:
        label = "weight" if small else "mean |weight|"
        scale = ax.figure.colorbar(bar, ax=ax, label=label, shrink=0.7, aspect=26, pad=0.02)
        scale.outline.set_visible(False)
        scale.ax.tick_params(labelsize=8, length=2)
    canvas.bare(ax, ("top", "right", "bottom", "left"))
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0, labelcolor=canvas.INK, labelsize=9)
    ax.set_title(_lines([*layout.captions(net), *notes], room), fontsize=9.5, color=canvas.INK)
    return ax


def _size(ax: "Axes") -> tuple[float, float]:
    """Width and height of the axes in points, less what colour bar, legend and title take."""
    return SHARE * 72 * ax.bbox.width / ax.figure.dpi, SHARE * 72 * ax.bbox.height / ax.figure.dpi


def _lines(captions: list[str], width: float) -> str:
    """As they are where they fit, else broken after commas."""
    tied = [caption.replace(" ", "\xa0").replace(",\xa0", ", ") for caption in captions]
    lines = [line for caption in tied for line in wrap(caption, max(int(width / 4.4), 24))]
    return "\n".join(lines).replace("\xa0", " ")


def _draw_all(net: "Network", ax: "Axes", labels: bool) -> tuple["PathCollection | None", list[str]]:
    """Every node and connection; returns what a colour bar needs, and nothing to note."""
    graph = net.graph
    column = layout.columns(graph)
    width, height = _size(ax)
    points = np.stack([column * width / column[-1], layout.heights(graph, column) * height], 1)
    sizes = np.bincount(column)
    diameter = np.clip(np.minimum(0.78 * height / sizes, 0.5 * width / column[-1]), SMALLEST, LARGEST)
    lines = _draw_connections(net, ax, layout.curves(graph, column, points, 1.6 * LARGEST))
    handles = _draw_nodes(net, ax, points, diameter[column], labels)
    if graph.recurrent and graph.delayed.any():
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], color=canvas.FAINT, linestyle=(0, (4, 2)), label="delayed"))
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.09), frameon=False, fontsize=8.5,
              ncols=max(min(len(handles), int(width / 66)), 2), handletextpad=0.3, columnspacing=1.4,
              labelcolor=canvas.INK)
    step = int(np.ceil(22.0 * column[-1] / width))
    shown = [*range(0, int(column[-1]) - step // 2, step), int(column[-1])]
    ax.set_xticks([depth * width / column[-1] for depth in shown],
                  ["inputs", *(f"depth {d}" if width / len(shown) > 48.0 else str(d) for d in shown[1:-1]), "outputs"])
    ax.set_xlim(-LARGEST, width + LARGEST)
    return lines, []


def _draw_connections(net: "Network", ax: "Axes", curves: np.ndarray) -> "PathCollection | None":
    """One collection of curves for those of this step, one for the delayed ones; weak ones below strong ones."""
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Normalize
    from matplotlib.path import Path

    graph, weight = net.graph, net.connections.weight
    limit = float(np.abs(weight).max(initial=0.0)) or 1.0
    most = 3.0 * min(60 / max(weight.size, 1), 1.0) ** 0.35
    order = np.argsort(np.abs(weight), kind="stable")
    late = np.zeros(weight.size, np.bool_) if graph.delayed is None else graph.delayed
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    first = None
    for part, style in ((order[~late[order]], "solid"), (order[late[order]], (0, (4, 2)))):
        if part.size:
            lines = PathCollection([Path(curve, codes) for curve in curves[part]], array=weight[part],
                                   cmap=canvas.colormap(canvas.NEGATIVE, canvas.ZERO, canvas.POSITIVE),
                                   norm=Normalize(-limit, limit), facecolors="none", linestyles=style,
                                   linewidths=0.15 * most + 0.1 + most * np.abs(weight[part]) / limit,
                                   alpha=0.85, zorder=1)
            ax.add_collection(lines)
            first = first or lines
    ax.set_ylim(layout.extent(curves, _size(ax)[1]))
    return first


def _draw_nodes(net: "Network", ax: "Axes", points: np.ndarray, diameter: np.ndarray, labels: bool) -> "list[Line2D]":
    """One collection of markers for each kind that there is; returns what a legend shows."""
    from matplotlib.lines import Line2D

    graph = net.graph
    dead, unused, kind = layout.dead(graph), layout.unused(graph), net.nodes.kind
    handles = []
    for name, which, face, edge in (
            ("input", (kind == "input") & ~unused, canvas.KIND["input"], "white"),
            ("unused input", unused, "white", canvas.KIND["input"]),
            ("hidden", (kind == "hidden") & ~dead, canvas.KIND["hidden"], "white"),
            ("dead", dead, "white", canvas.DEAD),
            ("output", kind == "output", canvas.KIND["output"], "white")):
        if not which.any():
            continue
        ax.scatter(*points[which].T, s=diameter[which] ** 2, facecolors=face, edgecolors=edge, zorder=2,
                   linewidths=np.clip(diameter[which] / 9, 0.4, 1.4))
        handles.append(Line2D([], [], linestyle="none", marker="o", markersize=7, markerfacecolor=face,
                              markeredgecolor=face if edge == "white" else edge,
                              label=f"{name} ({np.count_nonzero(which):,})"))
        for i in np.flatnonzero(which & (diameter >= 9.0) & (graph.ids < 10_000) & labels).tolist():
            text = str(graph.ids[i])
            ax.text(*points[i], text, ha="center", va="center_baseline", zorder=3, clip_on=True,
                    fontsize=min(8.0, 0.56 * diameter[i], 1.5 * diameter[i] / len(text)),
                    color=canvas.INK if face == "white" else "white")
    return handles


def _draw_summary(net: "Network", ax: "Axes") -> tuple["ScalarMappable | None", list[str]]:
    """Boxes and bundles; returns what a colour bar needs, and what is not shown."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import PathPatch, Polygon, Rectangle
    from matplotlib.path import Path

    width, height = _size(ax)
    picture = layout.summary(net.graph, net.connections.weight, width, 1.2 * height, 8.5)
    scale = ScalarMappable(Normalize(0.0, max((bundle.strength for bundle in picture.bundles), default=0.0) or 1.0),
                           canvas.colormap(canvas.WEAK, canvas.STRONG))
    halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3}
    for bundle in picture.bundles:
        colour = scale.to_rgba(bundle.strength)
        path = Path(bundle.curve, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        ax.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, linewidth=bundle.thickness, zorder=1,
                               linestyle=(0, (2, 1)) if bundle.delayed else "solid", capstyle="butt"))
        ax.add_patch(Polygon(bundle.head, facecolor=colour, linewidth=0, zorder=1.5))
        ax.text(*bundle.label_at, "\n".join(bundle.label), ha="center", va="bottom", fontsize=7,
                color=canvas.INK, zorder=4, linespacing=1.0, bbox=halo)
    for box in picture.boxes:
        middle, share = box.left + box.width / 2, box.idle / box.nodes
        ax.add_patch(Rectangle((box.left, box.bottom), box.width, box.height, facecolor="white",
                               edgecolor=canvas.KIND[box.kind], linewidth=1.2, zorder=2))
        ax.add_patch(Rectangle((box.left, box.bottom + share * box.height), box.width, (1 - share) * box.height,
                               facecolor=canvas.KIND[box.kind], linewidth=0, zorder=2))
        ax.text(middle, box.bottom + box.height / 2, f"{box.nodes:,}", ha="center", va="center", zorder=4,
                color="white" if share < 0.5 else canvas.INK, fontsize=9, fontweight="bold")
        ax.text(middle, -4.0, "\n".join(box.notes), ha="center", va="top", fontsize=8, color=canvas.INK, zorder=4)
    ax.set_xticks([])
    ax.set_xlim(-6, width + 6)
    ax.set_ylim(picture.bottom, picture.top)
    left_out = [f"{layout.counted(picture.left_out, 'smaller bundle')} left out"] if picture.left_out else []
    return scale if picture.bundles else None, left_out
