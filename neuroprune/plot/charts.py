"""Charts of what pruning and training did: scores with the cut, a training run, what still feeds a network."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune.network.edit import check_finite
from neuroprune.network.prune import PruneResult
from neuroprune.plot import canvas, layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from neuroprune.network.history import History
    from neuroprune.network.network import Network

DECADES = 2.0  # from which scores are shown on a logarithmic axis
NOISY = 200  # steps from which the loss is also drawn smoothed


def saliency(scores: Any, ax: "Axes | None" = None, kept: Any = None, bins: int | None = None) -> "Axes":
    """Histogram of scores, those that stayed and those that went in two colours, with the cut between them.

    The cut is where the removed scores end: halfway to the lowest kept one, or the highest removed one where ties, a
    protected connection or groups let the two overlap. Scores of which none is negative, and of which the middle
    nine tenths of the positive ones span two decades, are shown on a logarithmic axis, zeros in a bar at its left end.

    Parameters
    ----------
    scores : PruneResult or array of any shape
        What a pruning did, or scores of your own.
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.
    kept : bool array of the same shape, optional
        True where a score's connection stayed; taken from the PruneResult.
    bins : int, optional
        Bars over the whole range, at least 2; by default 10 to 60, more for more scores.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        When nothing had to go, so that there are no scores; when a score is not finite, or the shapes differ.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> result = npr.Network.dense([8, 8, 2], seed=0).prune_to_sparsity(0.5)
    >>> ax = plot.saliency(result)
    >>> [text.get_text() for text in ax.get_legend().get_texts()][1:]
    ['removed (40)', 'kept (40)']
    """
    values, kept = _scores(scores, kept)
    if bins is None:
        bins = int(np.clip(2 * np.sqrt(values.size), 10, 60))
    elif isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 2:
        raise ValueError(f"bins must be an integer of at least 2, got {bins!r}")
    ax = canvas.axes(ax)
    canvas.bare(ax)
    if ax.get_yscale() == "linear":
        ax.locator_params(axis="y", integer=True)
    ax.set_xlabel("score")
    ax.set_ylabel("connections")
    if not values.size:
        canvas.say_empty(ax, "no scores")
        return ax
    removed = np.zeros(0) if kept is None else values[~kept]
    stayed = values if kept is None else values[kept]
    positive = values[values > 0.0]
    lowest = positive.min(initial=np.inf)
    log = values.min() >= 0.0 and positive.size > 0 and _decades(positive) >= DECADES
    cut = _cut(removed, stayed, log) if removed.size and stayed.size else None
    edges = _edges(lowest if log else values.min(), values.max(), cut, bins, log)
    nought = 0.0  # where the zeros are drawn
    if log and positive.size < values.size:
        step = edges[-1] / edges[-2]
        edges = np.concatenate([[lowest / step**4, lowest / step**2], edges])
        nought = lowest / step**3
        removed, stayed = (np.where(part == 0.0, nought, part) for part in (removed, stayed))
        ax.annotate("0", (nought, 0), xytext=(0, -3), textcoords="offset points", ha="center", va="top",
                    color=canvas.INK, fontsize=9)
    low, high = np.histogram(removed, edges)[0], np.histogram(stayed, edges)[0]
    if cut is not None:
        ax.axvline(cut or nought, color=canvas.INK, linewidth=1.2, linestyle=(0, (4, 2)), label=f"cut at {cut:.4g}")
    if kept is not None:
        ax.stairs(low, edges, fill=True, color=canvas.REMOVED, label=f"removed ({removed.size:,})")
    ax.stairs(low + high, edges, baseline=low, fill=True, color=canvas.KEPT,
              label=f"{'scores' if kept is None else 'kept'} ({stayed.size:,})")
    if log:
        ax.set_xscale("log")
    ax.set_xlim(edges[0], edges[-1])
    _legend(ax, ax.get_legend_handles_labels()[0])
    return ax


def _scores(scores: Any, kept: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Flat float scores, and which of them stayed where that is known."""
    if isinstance(scores, PruneResult):
        if scores.scores is None:
            raise ValueError("result must be of a pruning that ranked connections, got one where nothing had to go: "
                             "prune further, or pass the scores as an array")
        scores, kept = scores.scores, scores.kept if kept is None else kept
    values = np.asarray(scores, np.float64)
    finite = np.isfinite(values).ravel()
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(f"scores must be finite, got {values.ravel()[index]} at index {index}")
    if kept is None:
        return values.ravel(), None
    kept = np.asarray(kept)
    if kept.dtype != np.bool_ or kept.shape != values.shape:
        raise ValueError(f"kept must be boolean with shape {values.shape}, got {kept.dtype} {kept.shape}")
    return values.ravel(), kept.ravel()


def _decades(positive: np.ndarray) -> float:
    """What all but the outermost twentieths span: the lowest of many scores alone says little."""
    low, high = np.log10(np.quantile(positive, [0.05, 0.95], method="nearest"))
    return float(high - low)


def _cut(removed: np.ndarray, stayed: np.ndarray, log: bool) -> float:
    """Where the removed scores end."""
    below, above = float(removed.max()), float(stayed.min())
    if above <= below:
        return below
    if log:
        return float(np.sqrt(below) * np.sqrt(above)) if below > 0.0 else above
    return below / 2 + above / 2


def _edges(low: float, high: float, cut: float | None, bins: int, log: bool) -> np.ndarray:
    """Borders of the bars, of which one is the cut where it lies inside."""
    if low == high:
        low, high = low - 0.1 * (abs(low) or 1.0), high + 0.1 * (abs(high) or 1.0)
    ends = np.log10([low, high]) if log else np.array([low, high])
    if cut is None or not low < cut < high:
        edges = np.linspace(*ends, bins + 1)
    else:
        at = np.log10(cut) if log else cut
        left = int(np.clip(round(bins * (at - ends[0]) / (ends[1] - ends[0])), 1, bins - 1))
        edges = np.concatenate([np.linspace(ends[0], at, left + 1), np.linspace(at, ends[1], bins - left + 1)[1:]])
    edges = 10.0**edges if log else edges
    edges[0], edges[-1] = low, high  # powers of ten round
    return edges


def training(history: "History", accuracy: Any = None, ax: "Axes | None" = None) -> "Axes":
    """Loss over the iterations, with sparsity and accuracy on a second axis at the right.

    The loss is on a logarithmic axis where it is positive; from 200 steps on it is drawn faintly, with its running
    mean on top.

    Parameters
    ----------
    history : History
        What `net.train` returned.
    accuracy : mapping, or two columns, optional
        `{iteration: accuracy}` or `(iterations, accuracies)`, accuracies in [0, 1].
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.

    Returns
    -------
    matplotlib Axes
        The one of the loss.

    Raises
    ------
    ValueError
        When the two columns differ in length or an accuracy lies outside of [0, 1].
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> net = npr.Network.dense([1, 1], seed=0)
    >>> ax = plot.training(net.train([[0.0], [1.0]], [[1.0], [3.0]], iterations=20), accuracy={10: 0.5, 20: 1.0})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['loss', 'sparsity', 'accuracy']
    """
    points = None if accuracy is None else _accuracies(accuracy)
    ax = canvas.axes(ax)
    iteration, loss, validation, sparsity = (
        np.asarray(column) for column in (history.iteration, history.loss, history.validation_loss, history.sparsity))
    canvas.bare(ax, ("top",))
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss")
    if not iteration.size:
        canvas.say_empty(ax, "no steps")
        return ax
    handles = _draw_loss(ax, iteration, loss, validation)
    right = ax.twinx()
    canvas.bare(right, ("top",))
    right.fill_between(iteration, sparsity, step="post", color=canvas.KIND["output"], alpha=0.15, linewidth=0)
    handles += right.plot(iteration, sparsity, drawstyle="steps-post", color=canvas.KIND["output"], label="sparsity")
    if points is not None:
        handles += right.plot(*points, color=canvas.KIND["input"], label="accuracy", linewidth=1.6,
                              marker="o" if points[0].size <= 60 else None, markersize=3)
    right.set_ylim(0.0, 1.03)
    right.yaxis.set_major_formatter(_percent)
    right.set_ylabel("sparsity" if points is None else "sparsity, accuracy")
    _legend(ax, handles)
    return ax


def _draw_loss(ax: "Axes", iteration: np.ndarray, loss: np.ndarray, validation: np.ndarray) -> list:
    """Lines of the loss and, where it was computed, of the validation loss."""
    noisy = loss.size >= NOISY
    handles = ax.plot(iteration, loss, color=canvas.STRONG, linewidth=0.7 if noisy else 1.4,
                      alpha=0.3 if noisy else 1.0, label="loss of the mini-batch" if noisy else "loss")
    if noisy:
        width = loss.size // 50
        total = np.concatenate([[0.0], np.cumsum(loss)])
        ends = np.arange(1, loss.size + 1)
        starts = np.maximum(ends - width, 0)
        handles += ax.plot(iteration, (total[ends] - total[starts]) / (ends - starts), color=canvas.STRONG,
                           linewidth=1.6, label=f"its mean over {width} steps")
    there = np.isfinite(validation)
    if there.any():
        handles += ax.plot(iteration[there], validation[there], color=canvas.POSITIVE, linewidth=1.4,
                           label="validation loss", marker="o" if np.count_nonzero(there) <= 60 else None, markersize=3)
    if min(loss.min(), validation[there].min(initial=np.inf)) > 0.0:
        ax.set_yscale("log")
    return handles


def _accuracies(accuracy: Any) -> tuple[np.ndarray, np.ndarray]:
    """Iterations in order and their accuracies."""
    pair = (list(accuracy), list(accuracy.values())) if isinstance(accuracy, Mapping) else tuple(accuracy)
    if len(pair) != 2:
        raise ValueError(f"accuracy must be a mapping or two columns, got {len(pair)} columns: pass (iterations, "
                         "accuracies)")
    iterations, values = (np.asarray(column, np.float64) for column in pair)
    if iterations.ndim != 1 or iterations.shape != values.shape:
        raise ValueError(f"iterations and accuracies must have one length, got shapes {iterations.shape} and "
                         f"{values.shape}")
    wrong = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if wrong.size:
        raise ValueError(f"accuracy must be in [0, 1], got {values[wrong[0]]} at index {wrong[0]}")
    order = np.argsort(iterations, kind="stable")
    return iterations[order], values[order]


def _percent(value: float, _: int) -> str:
    return f"{100 * value:.0f}%"


def _legend(ax: "Axes", handles: list) -> None:
    """A row above the axes, where it hides nothing."""
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(handles), 3),
              frameon=False, fontsize=8.5, labelcolor=canvas.INK)


def input_use(net: "Network", shape: tuple[int, int] | None = None, ax: "Axes | None" = None) -> "Axes":
    """Show how much each input feeds the network: the sum of |weight| over its outgoing connections.

    Inputs that feed no output, because they have no connection or reach dead nodes only, are crossed out.

    Parameters
    ----------
    net : Network
    shape : (rows, columns), optional
        Draw an image, inputs row by row, such as (8, 8) for the digits; None draws bars.
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        When a weight is not finite, or rows times columns is not the number of inputs.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> net = npr.Network.from_connections(4, 1, [(0, 4, 0.5), (3, 4, -2.0)])
    >>> plot.input_use(net, shape=(2, 2)).images[0].get_array().tolist()
    [[0.5, 0.0], [0.0, 2.0]]
    """
    graph = net.graph
    check_finite(net)
    if shape is not None and (len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != graph.n_inputs):
        raise ValueError(f"shape must be (rows, columns) with {graph.n_inputs} places, one for each input, got {shape}")
    first = graph.source < graph.n_inputs
    use = np.bincount(graph.source[first], np.abs(net.connections.weight[first]), graph.n_inputs)
    idle = np.flatnonzero(layout.unused(graph))
    ax = canvas.axes(ax, *((7.0, 3.2) if shape is None else (4.8, 4.2)))
    if shape is None:
        _draw_bars(ax, use)
        places = idle, np.zeros(idle.size)
    else:
        image = ax.imshow(use.reshape(shape), cmap=canvas.colormap("#f4f6f8", "#7fb8b1", "#1d6f66", "#0b3b36"),
                          vmin=0.0, vmax=use.max() or 1.0)
        scale = ax.figure.colorbar(image, ax=ax, label="sum of |weight|", shrink=0.85)
        scale.outline.set_visible(False)
        scale.ax.tick_params(labelsize=8, length=2)
        canvas.bare(ax, ("top", "right", "bottom", "left"))
        ax.set_xticks([])
        ax.set_yticks([])
        places = idle % shape[1], idle // shape[1]
    if idle.size:
        ax.scatter(*places, marker="x", color=canvas.POSITIVE, linewidths=1.0, clip_on=False, zorder=3,
                   s=float(np.clip(4000 / graph.n_inputs, 4.0, 30.0)), label="feeds no output")
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.01)} if shape else {"loc": "upper right"}
        ax.legend(**below, frameon=shape is None, edgecolor="white", fontsize=8.5, labelcolor=canvas.INK,
                  handletextpad=0.2)
    ax.set_title(f"{graph.n_inputs - idle.size:,} of {layout.counted(graph.n_inputs, 'input')} in use", fontsize=9.5,
                 color=canvas.INK)
    return ax


def _draw_bars(ax: "Axes", use: np.ndarray) -> None:
    """One bar for each input, all of them one artist, with gaps between them."""
    place = np.arange(use.size)
    edges = np.append(np.stack([place - 0.4, place + 0.4], 1).ravel(), use.size - 0.4)
    ax.stairs(np.stack([use, np.zeros(use.size)], 1).ravel(), edges, fill=True, color=canvas.KIND["input"])
    canvas.bare(ax)
    ax.locator_params(axis="x", integer=True)
    ax.set_xlim(-0.6, use.size - 0.4)
    ax.set_ylim(0.0, 1.05 * (use.max() or 1.0))
    ax.set_xlabel("input")
    ax.set_ylabel("sum of |weight|")
