"""A population at a glance: one figure of all charts, and the page that a notebook shows."""

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune.plot import canvas, drawing, film, generations, layout
from neuroprune.plot.svg import network_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neuroprune.evolution.population import Population

MOST_SPECIES = 8  # rows of the table
MOST_POINTS = 300  # of the sparkline
SPARK_WIDTH, SPARK_HEIGHT, SPARK_MARGIN = 260.0, 56.0, 4.0


def evolution(population: "Population", figure: Any = None) -> "Figure":
    """Everything on one page: fitness, complexity, species (or the Pareto front) and the best network.

    Parameters
    ----------
    population : Population
    figure : matplotlib Figure or SubFigure, optional
        An empty one to draw on, such as `plt.figure(figsize=(13, 9), layout="constrained")`; by default a new one
        that pyplot does not know.

    Returns
    -------
    matplotlib Figure

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
    >>> figure = plot.evolution(population)
    >>> [ax.get_ylabel() for ax in figure.axes[:3]]
    ['fitness', 'networks', 'connections, nodes']
    """
    history = population.history
    generations._check_history(history)
    if figure is None:
        figure = canvas.axes(None, 13.0, 9.0).figure
        figure.clear()
    upper, lower = figure.subplots(2, 2)
    generations.fitness(history, ax=upper[0])
    if not population.objectives:
        generations.species(history, ax=upper[1])
    elif population.fitness is not None and np.isfinite(population.fitness).any():
        generations.pareto(population, ax=upper[1])
    else:
        canvas.say_empty(upper[1], "no fitness yet in this generation")
    generations.complexity(history, ax=lower[0])
    drawing.network(population.best, ax=lower[1])
    return figure


def population_html(population: "Population") -> str:
    """A small self-contained page: key numbers, the course of the fitness, the largest species, the best network.

    It is what a notebook shows for a population, before the first generation, too. Needs no matplotlib.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> population = npr.Population(2, 1, size=20, seed=0)
    >>> "no generation was evaluated yet" in plot.population_html(population)
    True
    >>> _ = population.evolve(lambda net: float(net([1.0, 0.0])[0]), generations=3)
    >>> plot.population_html(population).count("<svg")  # the course of the fitness, and the best network
    2
    """
    genomes, history = population._genomes, population.history
    kind = ", recurrent" if genomes.recurrent else ""
    head = (f"Population of {population.size:,} networks, {layout.counted(genomes.n_inputs, 'input')}, "
            f"{layout.counted(genomes.n_outputs, 'output')}{kind}")
    parts = ['<div style="display:flex;flex-wrap:wrap;gap:12px 28px;align-items:flex-start">', _numbers(population)]
    if len(history):
        parts.append(f'<div><div style="opacity:.7">best and median fitness</div>{sparkline(history)}</div>')
    if not population.objectives:
        parts.append(_species(population))
    parts.append("</div>")
    if len(history):
        parts.append(f'<div style="margin-top:8px"><div style="opacity:.7">the best network</div>'
                     f"{network_svg(population.best)}</div>")
    else:
        parts.append('<div style="opacity:.7">no generation was evaluated yet: call population.evolve</div>')
    return (f'<div style="font-family:sans-serif;font-size:12px;max-width:900px"><div style="font-weight:bold;'
            f'margin-bottom:6px">{escape(head)}</div>{"".join(parts)}</div>')


def _numbers(population: "Population") -> str:
    """What one wants to know first."""
    history, genomes = population.history, population._genomes
    rows = [("generation", f"{population.generation:,}"), ("evaluations", f"{population.evaluations:,}"),
            ("seed", str(population.seed))]
    if len(history):
        best = population.best
        rows += [("best fitness", f"{population.best_fitness:.6g}"),
                 ("its size", film.caption(best))]
        if history.failed.any():
            rows.append(("failed evaluations", f"{history.failed.sum():,}"))
        rows.append(("dead weight", f"{100 * history.dead_connections[-1]:.1f}%"))
    rows.append(("mean connections", f"{genomes.n_connections.mean():.4g}"))
    if population.pruning is not None:
        share = history.sparsity[-1] if len(history) else 0.0
        rows.append(("mean sparsity", f"{100 * share:.1f}%, asked for {100 * population.pruning_level:.1f}%"))
    if population.objectives:
        rows.append(("objectives", ", ".join(population.objectives)))
    return _table([], rows)


def _species(population: "Population") -> str:
    """The largest species, and how many more there are."""
    listed = sorted(population.species, key=lambda one: (-len(one), one.id))
    rows = []
    for one in listed[:MOST_SPECIES]:
        mark = f'<span style="color:{generations.colour_of(one.id)}">&#9632;</span> {one.id}'
        best = f"{one.best:.4g}" if np.isfinite(one.best) else "-"
        rows.append((mark, f"{len(one):,}", best, f"{population.generation - one.created:,}",
                     f"{population.generation - one.improved:,}"))
    more = len(listed) - len(rows)
    note = f'<div style="opacity:.7">and {more:,} more</div>' if more else ""
    return f"<div>{_table(['species', 'size', 'best', 'age', 'not improved for'], rows)}{note}</div>"


def _table(header: list[str], rows: list[tuple[str, ...]]) -> str:
    """Rows of HTML, the first cell to the left, the others to the right."""
    def line(cells: Any, tag: str) -> str:
        inner = "".join(f'<{tag} style="text-align:{"right" if i else "left"};padding:1px 8px;border:0;'
                        f'font-weight:normal{";opacity:.7" if tag == "th" else ""}">{cell}</{tag}>'
                        for i, cell in enumerate(cells))
        return f'<tr style="background:none">{inner}</tr>'

    top = line(header, "th") if header else ""
    body = "".join(line(row, "td") for row in rows)
    return f'<table style="border-collapse:collapse;margin:0;border:0;font-size:12px">{top}{body}</table>'


def sparkline(history: Any) -> str:
    """The best and the median fitness over the generations as a small SVG.

    The scale spans the best ones and the medians between their 5% and 95% quantile; what lies beyond is at its edge.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.plot.populations import sparkline
    >>> population = npr.Population(2, 1, size=20, seed=0)
    >>> _ = population.evolve(lambda net: float(net([1.0, 0.0])[0]), generations=3)
    >>> sparkline(population.history).count("<polyline")
    2
    """
    count = len(history.generation)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))
    best, median = history.best[chosen], history.median[chosen]
    there = np.isfinite(best)  # where a network has a finite fitness, both are
    shown = np.concatenate([best[there], median[there]])
    lines = []
    if shown.size:
        low = min(best[there].min(), np.quantile(median[there], 0.05))
        high = max(best[there].max(), np.quantile(median[there], 0.95))
        scale = max(abs(low), abs(high)) or 1.0  # a difference may be beyond all floats
        span = (high / scale - low / scale) or 1.0
        across = SPARK_WIDTH - 2 * SPARK_MARGIN
        x = SPARK_MARGIN + across * (chosen / (count - 1) if count > 1 else np.zeros(1))
        for values, colour, width in ((median, canvas.KEPT, 1.0), (best, canvas.STRONG, 1.6)):
            share = np.clip((values[there] / scale - low / scale) / span, 0.0, 1.0)
            y = SPARK_HEIGHT - SPARK_MARGIN - (SPARK_HEIGHT - 2 * SPARK_MARGIN) * share
            points = list(zip(x[there].tolist(), y.tolist(), strict=True))
            if len(points) == 1:  # a line from edge to edge
                points = [(SPARK_MARGIN, points[0][1]), (SPARK_WIDTH - SPARK_MARGIN, points[0][1])]
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    last = f"{history.best[-1]:.6g}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SPARK_WIDTH:g} {SPARK_HEIGHT:g}" '
            f'width="{SPARK_WIDTH:g}" height="{SPARK_HEIGHT:g}" role="img" aria-label="best fitness, last {last}">'
            f'<rect width="100%" height="100%" rx="4" fill="#fff"/>{"".join(lines)}</svg>')
