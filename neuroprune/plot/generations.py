"""Charts of an evolution: fitness, species and complexity over the generations, and the trade of one for the other."""

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune.evolution.population import Population
from neuroprune.plot import canvas, charts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from neuroprune.evolution.history import EvolutionHistory

DECADES = 2.0  # from which positive numbers are shown on a logarithmic axis
TURN = 0.6180339887498949  # of the colour wheel, between one id and the next: neighbours never look alike
NAMED = 0.025  # of the picture's area, from which a species has its id written on it
MIDDLE, LIGHT = ("q25", "q75"), ("q10", "q90")


def fitness(history: "EvolutionHistory", ax: "Axes | None" = None) -> "Axes":
    """Best, mean and median fitness over the generations, on bands of the middle half and the middle four fifths.

    Generations in which networks failed (their fitness was NaN) have a cross at the bottom. The axis is logarithmic
    where all is positive and spans two decades; it shows the middle half whole, of the tails what fits beside it.

    Parameters
    ----------
    history : EvolutionHistory
        `population.history`.
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        When no generation was evaluated yet.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> population = npr.Population(2, 1, size=20, seed=0)
    >>> _ = population.evolve(lambda net: float(net([1.0, 0.0])[0]), generations=3)
    >>> ax = plot.fitness(population.history)
    >>> ax.lines[0].get_ydata().tolist() == population.history.best.tolist()
    True
    """
    _check_history(history)
    ax = canvas.axes(ax)
    canvas.bare(ax)
    generation = history.generation
    few = _marker(generation)
    handles = ax.plot(generation, history.best, color=canvas.STRONG, linewidth=1.8, label="best", zorder=3, **few)
    handles += ax.plot(generation, history.median, color=canvas.KEPT, linewidth=1.4, label="median", zorder=3, **few)
    handles += ax.plot(generation, history.mean, color=canvas.KIND["output"], linewidth=1.2, linestyle=(0, (4, 2)),
                       label="mean", zorder=3, **few)
    for (low, high), alpha, words in ((MIDDLE, 0.3, "middle half"), (LIGHT, 0.14, "10% to 90%")):
        handles.append(ax.fill_between(generation, getattr(history, low), getattr(history, high), color=canvas.KEPT,
                                       alpha=alpha, linewidth=0, label=words))
    failed = history.failed > 0
    if failed.any():
        handles.append(ax.scatter(generation[failed], np.zeros(np.count_nonzero(failed)), marker="x", s=22,
                                  color=canvas.POSITIVE, linewidths=1.2, clip_on=False, zorder=4,
                                  transform=ax.get_xaxis_transform(), label=f"failed ({history.failed.sum():,})"))
    _limit_fitness(ax, history)
    _over_generations(ax)
    ax.set_ylabel("fitness")
    charts._legend(ax, handles)
    return ax


def _limit_fitness(ax: "Axes", history: "EvolutionHistory") -> None:
    """Room for the best and the middle half; the tail below and the mean it pulls down count up to once that much."""
    shown = np.concatenate([history.best, history.median, history.q25])
    shown = shown[np.isfinite(shown)]
    if not shown.size:
        return
    low, high = shown.min(), shown.max()
    tail = np.concatenate([history.q10, history.mean])
    tail = tail[np.isfinite(tail)]
    if min(low, tail.min()) > 0.0 and np.log10(high) - np.log10(min(low, tail.min())) >= DECADES:
        ax.set_yscale("log")
        return
    span = high - low
    if not np.isfinite(span):
        return
    low = max(low - span, min(low, tail.min()))
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - pad, high + pad
    if not ax.get_autoscaley_on():  # another chart that shares the axis, or the caller, has chosen limits
        low, high = min(low, ax.get_ylim()[0]), max(high, ax.get_ylim()[1])
    ax.set_ylim(low, high)


def species(history: "EvolutionHistory", ax: "Axes | None" = None) -> "Axes":
    """Sizes of the species over the generations as a stacked area, the oldest at the bottom, ids on the large ones.

    A species' colour follows from its id: it is the same in every picture.

    Parameters
    ----------
    history : EvolutionHistory
        `population.history`.
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        When no generation was evaluated yet, or the population has objectives and so no species.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> population = npr.Population(2, 1, size=20, seed=0, settings=npr.Settings(species=None))
    >>> _ = population.evolve(lambda net: float(net([1.0, 0.0])[0]), generations=3)
    >>> ax = plot.species(population.history)
    >>> [area.get_label() for area in ax.collections]
    ['species 0']
    """
    _check_history(history)
    rows = history.species_sizes
    if not rows["species"].size:
        raise ValueError("history must be of a population with species, got one of a population with objectives: "
                         "take plot.pareto(population)")
    ax = canvas.axes(ax)
    canvas.bare(ax)
    names, row = np.unique(rows["species"], return_inverse=True)
    generations, column = np.unique(rows["generation"], return_inverse=True)
    sizes = np.zeros((names.size, generations.size))
    sizes[row, column] = rows["size"]
    place = generations.astype(float)
    if place.size == 1:  # one generation is drawn as wide as itself
        place, sizes = place + [-0.5, 0.5], np.repeat(sizes, 2, axis=1)
    tops = np.cumsum(sizes, axis=0)
    total = tops[-1].max()
    for i, name in enumerate(names.tolist()):
        there = np.flatnonzero(sizes[i])
        part = slice(max(there[0] - 1, 0), there[-1] + 2)
        colour = colour_of(name)
        ax.fill_between(place[part], tops[i, part] - sizes[i, part], tops[i, part], color=colour, linewidth=0.4,
                        edgecolor="white", label=f"species {name}")
        room = np.minimum(np.minimum(sizes[i, :-2], sizes[i, 1:-1]), sizes[i, 2:])  # also on both sides
        if room.max(initial=0.0) >= 0.07 * total and sizes[i].sum() >= NAMED * total * place.size:
            widest = int(room.argmax()) + 1
            ax.text(place[widest], tops[i, widest] - sizes[i, widest] / 2, str(name), ha="center", va="center",
                    fontsize=8, color=canvas.INK, clip_on=True)
    ax.margins(y=0.0)
    _over_generations(ax)
    ax.set_ylabel("networks")
    _title(ax, f"{names.size:,} species, {np.count_nonzero(rows['generation'] == generations[-1]):,} in the last "
               "generation")
    return ax


def colour_of(species: int) -> str:
    """The colour of a species, which depends on its id alone, as #rrggbb.

    Examples
    --------
    >>> from neuroprune.plot.generations import colour_of
    >>> colour_of(0), colour_of(1)
    ('#c68b8b', '#a3b5e0')
    """
    from colorsys import hls_to_rgb

    lightness, saturation = ((0.66, 0.34), (0.76, 0.5), (0.58, 0.36))[species % 3]
    rgb = hls_to_rgb(species * TURN % 1.0, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def complexity(history: "EvolutionHistory", ax: "Axes | None" = None) -> "Axes":
    """How large networks are over the generations, and at the right what share of them is dead or pruned.

    Connections and hidden nodes are means over the population; dead weight is the share of the connections that do
    nothing; sparsity and the level that pruning asks for are there when there was pruning.

    Parameters
    ----------
    history : EvolutionHistory
        `population.history`.
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.

    Returns
    -------
    matplotlib Axes
        The one of the counts.

    Raises
    ------
    ValueError
        When no generation was evaluated yet.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> population = npr.Population(4, 2, size=20, seed=0, pruning=npr.GenerationPruning(0.5))
    >>> _ = population.evolve(lambda net: -len(net.connections), generations=3)
    >>> ax = plot.complexity(population.history)
    >>> [text.get_text() for text in ax.get_legend().get_texts()][3:]
    ['dead weight', 'sparsity', 'pruning level']
    """
    _check_history(history)
    ax = canvas.axes(ax)
    canvas.bare(ax, ("top",))
    generation = history.generation
    few = _marker(generation)
    handles = ax.plot(generation, history.connections, color=canvas.STRONG, linewidth=1.8, label="connections", **few)
    handles += ax.plot(generation, history.best_connections, color=canvas.STRONG, linewidth=1.0, alpha=0.6,
                       linestyle=(0, (1, 1.2)), label="connections of the best", **few)
    handles += ax.plot(generation, history.hidden, color=canvas.KIND["hidden"], linewidth=1.4,
                       linestyle=(0, (4, 2)), label="hidden nodes", **few)
    handles[-1].sticky_edges.y.append(0.0)  # no margin below 0, also where charts share the axis
    ax.update_datalim([(generation[0], 0.0), (generation[0], 1.0)])
    ax.set_ylabel("connections, nodes")
    right = ax.twinx()
    canvas.bare(right, ("top",))
    handles += right.plot(generation, history.dead_connections, color=canvas.POSITIVE, linewidth=1.2,
                          label="dead weight", **few)
    if (history.level > 0.0).any() or (history.sparsity > 0.0).any():
        handles += right.plot(generation, history.sparsity, color=canvas.KIND["output"], linewidth=1.4,
                              label="sparsity", **few)
        handles += right.plot(generation, history.level, color=canvas.KIND["output"], linewidth=1.0,
                              linestyle=(0, (1, 1.2)), drawstyle="steps-mid", label="pruning level", **few)
    right.set_ylim(0.0, 1.03)
    right.yaxis.set_major_formatter(charts._percent)
    right.set_ylabel("share")
    _over_generations(ax)
    charts._legend(ax, handles)
    return ax


def pareto(population: Any, ax: "Axes | None" = None) -> "Axes":
    """Fitness over connections of all networks, with the front of those that no other one beats in both.

    A long tail of unfit networks is cut off at the bottom.

    Parameters
    ----------
    population : Population, or array (n, 2)
        Its networks as they were last evaluated, or rows of (connections, fitness) of any networks. With objectives
        "fitness" and "nodes", nodes take the place of connections. Rows whose fitness is not finite are left out.
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        When no network has a finite fitness, or the rows are not pairs.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> from neuroprune import plot
    >>> ax = plot.pareto([(3, 1.0), (5, 2.0), (6, 2.0), (9, 2.5)])
    >>> ax.collections[1].get_offsets().tolist()
    [[3.0, 1.0], [5.0, 2.0], [9.0, 2.5]]
    """
    cost, points = _points(population)
    points = points[np.isfinite(points).all(axis=1)]
    if not points.shape[0]:
        raise ValueError("population must have a network whose fitness is finite, got none: call population.evolve "
                         "first")
    best = front(points)
    ax = canvas.axes(ax)
    canvas.bare(ax)
    ax.scatter(*points.T, s=16, color=canvas.FAINT, alpha=0.45, linewidths=0, label=f"networks ({len(points):,})")
    ax.plot(*best.T, color=canvas.KEPT, linewidth=1.2, drawstyle="steps-post", zorder=2)
    ax.scatter(*best.T, s=34, color=canvas.KEPT, edgecolors="white", linewidths=0.8, zorder=3,
               label=f"Pareto front ({len(best):,})")
    if points[:, 0].min() > 0.0 and points[:, 0].max() / points[:, 0].min() >= 10.0**DECADES:
        ax.set_xscale("log")
    else:
        ax.locator_params(axis="x", integer=True)
    bottom = min(best[0, 1], 2.0 * np.quantile(points[:, 1], 0.1) - best[-1, 1])
    if np.isfinite(bottom) and points[:, 1].min() < bottom:
        ax.set_ylim(bottom=bottom - 0.05 * (best[-1, 1] - bottom))
    ax.set_xlabel(cost)
    ax.set_ylabel("fitness")
    charts._legend(ax, ax.get_legend_handles_labels()[0])
    return ax


def _points(population: Any) -> tuple[str, np.ndarray]:
    """What the costs are, and rows of (cost, fitness)."""
    if not isinstance(population, Population):
        points = np.asarray(population, np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"points must be a Population or have shape (n, 2), got {points.shape}: pass rows of "
                             "(connections, fitness)")
        return "connections", points
    fitness, genomes = population.fitness, population._genomes
    if fitness is None:
        return "connections", np.zeros((0, 2))
    if population.objectives and "connections" not in population.objectives:
        return "nodes", np.stack([genomes.n_nodes, fitness], axis=1)
    return "connections", np.stack([genomes.n_connections, fitness], axis=1)


def front(points: np.ndarray) -> np.ndarray:
    """Of rows (cost, fitness) those that no other beats, one for each, by rising cost.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.plot.generations import front
    >>> front(np.array([(2.0, 1.0), (1.0, 1.0), (3.0, 0.5), (4.0, 2.0)])).tolist()
    [[1.0, 1.0], [4.0, 2.0]]
    """
    ordered = points[np.lexsort((-points[:, 1], points[:, 0]))]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(ordered[:-1, 1])])
    return ordered[ordered[:, 1] > before]


def _check_history(history: "EvolutionHistory") -> None:
    if not hasattr(history, "species_sizes"):
        raise TypeError(f"history must be an EvolutionHistory, got {type(history).__name__}: pass population.history")
    if not len(history.generation):
        raise ValueError("history must have at least one generation, got none: call population.evolve first")


def _marker(generation: np.ndarray) -> dict:
    """Dots where there are too few generations for a line."""
    return {"marker": "o", "markersize": 3} if generation.size <= 2 else {}


def _over_generations(ax: "Axes") -> None:
    ax.locator_params(axis="x", integer=True)
    ax.margins(x=0.0)
    ax.set_xlabel("generation")


def _title(ax: "Axes", text: str) -> None:
    ax.set_title(text, fontsize=9.5, color=canvas.INK)
