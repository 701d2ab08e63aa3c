"""Pictures of evolution: what is drawn is what the history and the population hold."""

import io
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import neuroprune as npr
from neuroprune import plot
from neuroprune.evolution.history import COLUMNS, INTEGERS, EvolutionHistory
from neuroprune.plot.film import caption
from neuroprune.plot.generations import colour_of, front
from neuroprune.plot.populations import sparkline
from test_plot import legend, render, texts

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


def height(net):
    return -abs(float(net([1.0, 0.5])[0]) - 0.25)


def evolved(generations=4, **options):
    population = npr.Population(2, 1, **{"size": 12, "seed": 1, **options})
    population.evolve(height, generations)
    return population


def pruned():
    return evolved(pruning=npr.GenerationPruning(0.5, ramp_generations=3))


def pareto():
    return evolved(objectives=("fitness", "connections"))


def made(rows, sizes=()):
    """A history of these rows, {} for zeros, and (generation, species, size) triples."""
    history = EvolutionHistory()
    for generation, row in enumerate(rows):
        filled = {name: 0 if name in INTEGERS else 0.0 for name in COLUMNS} | {"generation": generation} | row
        history._append(filled, [(*triple, 0.0) for triple in sizes if triple[0] == generation])
    return history


PICTURES = {
    "fitness": lambda ax=None: plot.fitness(evolved().history, ax=ax),
    "species": lambda ax=None: plot.species(evolved().history, ax=ax),
    "complexity": lambda ax=None: plot.complexity(pruned().history, ax=ax),
    "pareto": lambda ax=None: plot.pareto(pareto(), ax=ax),
}
pictures = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
over_generations = pytest.mark.parametrize("chart", [plot.fitness, plot.species, plot.complexity],
                                           ids=lambda chart: chart.__name__)


# Axes


@pictures
def test_draws_on_the_axes_it_is_given_or_on_its_own(picture):
    ax = Figure().add_subplot()
    assert picture(ax) is ax
    own = picture()
    assert isinstance(own, Axes) and own.figure is not ax.figure
    render(ax)
    render(own)


def test_pyplot_is_neither_needed_nor_loaded():
    script = """
import sys
sys.path.insert(0, "tests")
import test_plot_evolution as here
for picture in here.PICTURES.values():
    here.render(picture())
here.plot.evolution(here.evolved()).savefig(sys.stderr.buffer, format="raw")
here.plot.growth([here.evolved().best]).to_jshtml()
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:].decode(errors="replace")


def test_says_how_to_get_matplotlib(monkeypatch):
    population = pareto()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for picture in (lambda: plot.fitness(population.history), lambda: plot.pareto(population),
                    lambda: plot.evolution(population), lambda: plot.growth([population.best])):
        with pytest.raises(ImportError, match=r'^pictures need matplotlib, .*: pip install "neuroprune\[plot\]"$'):
            picture()


@over_generations
def test_a_history_without_generations_is_refused(chart):
    with pytest.raises(ValueError, match="^history must have at least one generation, got none: call population.evol"):
        chart(EvolutionHistory())


@over_generations
def test_one_and_two_generations_can_be_seen(chart):
    for count in (1, 2):
        ax = chart(made([{"best": 1.0, "connections": 3.0}] * count, [(g, 7, 12) for g in range(count)]))
        render(ax)
        low, high = ax.get_xlim()
        assert low < high
        if chart is not plot.species:
            assert all(line.get_marker() == "o" for line in ax.lines)


@over_generations
def test_charts_of_two_populations_can_share_their_axes(chart):
    rows = [{"best": 2.0, "connections": 3.0}, {"best": 1.0, "connections": 30.0}]
    sizes = [(g, 7, 12) for g in range(9)]
    for first, second in (rows, rows[::-1]):
        left, right = Figure().subplots(1, 2, sharex=True, sharey=True)
        chart(made([first] * 9, sizes), ax=left)
        chart(made([second] * 4, sizes), ax=right)
        assert left.get_xlim() == (0.0, 8.0)
        low, high = left.get_ylim()
        if chart is plot.fitness:
            assert low < 0.0 and high >= 2.0
        else:
            assert low == 0.0 and high >= (30.0 if chart is plot.complexity else 12.0)


# Fitness


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def fitness_rows(draw):
    """Rows whose quantiles are in order, and some in which all failed."""
    low, *rest = sorted(draw(st.lists(finite, min_size=6, max_size=6)))
    if draw(st.integers(0, 5)) == 0:
        return dict.fromkeys(("best", "mean", "q10", "q25", "median", "q75", "q90"), float("nan")) | {"failed": 12}
    names = dict(zip(("q25", "median", "q75", "q90", "best"), rest, strict=True))
    return names | {"q10": low, "mean": draw(st.floats(low, rest[-1])), "failed": draw(st.integers(0, 2))}


@given(st.lists(fitness_rows(), min_size=1, max_size=12))
def test_fitness_draws_the_columns_of_the_history(rows):
    history = made(rows)
    ax = plot.fitness(history, ax=Figure().add_subplot())
    for line, name in zip(ax.lines, ("best", "median", "mean"), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), getattr(history, name))
        np.testing.assert_array_equal(line.get_xdata(), history.generation)
    failed = [part for part in ax.collections if part.get_label().startswith("failed")]
    where = np.flatnonzero(history.failed).tolist()
    assert [part.get_offsets()[:, 0].tolist() for part in failed] == ([where] if where else [])
    words = ["best", "median", "mean", "middle half", "10% to 90%"]
    assert legend(ax) == words + [f"failed ({history.failed.sum():,})"] * bool(where)
    shown = np.concatenate([history.best, history.median, history.q25])
    low, high = ax.get_ylim()
    if np.isfinite(shown).any():
        assert low <= np.nanmin(shown) and np.nanmax(shown) <= high, "the middle half is seen whole"


def test_bands_are_the_quantiles():
    history = evolved().history
    middle, light = plot.fitness(history).collections
    for band, low, high in ((middle, history.q25, history.q75), (light, history.q10, history.q90)):
        points = band.get_paths()[0].vertices
        assert {tuple(point) for point in points} == {*zip(history.generation, low, strict=True),
                                                      *zip(history.generation, high, strict=True)}


def test_a_long_tail_does_not_flatten_the_rest():
    row = {"best": 1.0, "median": 0.5, "q75": 0.7, "q25": 0.0, "q10": -1e9, "q90": 0.9, "mean": -1e8}
    low, high = plot.fitness(made([row] * 4)).get_ylim()
    assert -2.0 < low < 0.0 and 1.0 < high < 2.0


def test_fitness_over_decades_is_on_a_logarithmic_axis():
    rows = [dict.fromkeys(("best", "mean", "q10", "q25", "median", "q75", "q90"), 10.0**i) for i in range(4)]
    assert plot.fitness(made(rows)).get_yscale() == "log"
    assert plot.fitness(made(rows[:2])).get_yscale() == "linear"
    assert plot.fitness(made([*rows, rows[0] | {"mean": -1.0}])).get_yscale() == "linear"


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-12, 1e12, 1e150, 1.7e308])
def test_fitness_of_any_size_makes_no_warning(scale):
    rows = [{name: share * scale for name, share in
             (("best", 1.0), ("q90", 0.9), ("q75", 0.5), ("median", 0.1), ("q25", -0.5), ("q10", -0.9),
              ("mean", 0.0))}, dict.fromkeys(("best", "mean", "q10", "q25", "median", "q75", "q90"), float("nan"))]
    if scale < 1e300:  # the axes of matplotlib end before the floats do
        render(plot.fitness(made(rows)))
    ElementTree.fromstring(sparkline(made(rows)))


# Species


@st.composite
def species_rows(draw):
    """(generation, species, size) of a population of 20, in which species come and go for good."""
    rows, alive, fresh = [], [], 0
    for generation in range(draw(st.integers(1, 10))):
        alive = [name for name in alive if draw(st.booleans())]
        born = draw(st.integers(0 if alive else 1, 3))
        alive += range(fresh, fresh + born)
        fresh += born
        cuts = sorted(draw(st.lists(st.integers(1, 19), unique=True, min_size=min(len(alive) - 1, 19),
                                    max_size=min(len(alive) - 1, 19))))
        alive = alive[: len(cuts) + 1]
        sizes = np.diff([0, *cuts, 20]).tolist()
        rows += [(generation, name, size) for name, size in zip(alive, sizes, strict=True)]
    return rows


@given(species_rows())
def test_species_are_stacked_to_the_whole_population(rows):
    count = rows[-1][0] + 1
    ax = plot.species(made([{}] * count, rows), ax=Figure().add_subplot())
    names = sorted({name for _, name, _ in rows})
    assert [area.get_label() for area in ax.collections] == [f"species {name}" for name in names]
    assert ax.get_ylim() == (0.0, 20.0)
    floor = np.zeros(count)
    for name, area in zip(names, ax.collections, strict=True):
        sizes = np.zeros(count)
        for generation, one, size in rows:
            if one == name:
                sizes[generation] = size
        corners = {tuple(point) for point in area.get_paths()[0].vertices.tolist()}
        for generation in np.flatnonzero(sizes).tolist() if count > 1 else ():
            assert {(generation, floor[generation]), (generation, floor[generation] + sizes[generation])} <= corners
        floor += sizes
    assert {int(text) for text in texts(ax)} <= set(names)
    last = {name for generation, name, _ in rows if generation == count - 1}
    assert ax.get_title() == f"{len(names)} species, {len(last)} in the last generation"


def test_a_species_keeps_its_colour():
    long = made([{}] * 4, [(g, name, 4) for g in range(4) for name in (3, 8, 9)])
    short = made([{}] * 2, [(g, 8, 12) for g in range(2)])
    colours = {area.get_label(): area.get_facecolor().tolist() for area in plot.species(long).collections}
    (alone,) = plot.species(short).collections
    assert colours["species 8"] == alone.get_facecolor().tolist()
    assert len({str(colour) for colour in colours.values()}) == 3
    assert len({colour_of(name) for name in range(200)}) == 200


def test_large_species_are_named_on_the_picture():
    rows = [(g, name, size) for g in range(9) for name, size in ((0, 60), (5, 39), (7, 1))]
    assert texts(plot.species(made([{}] * 9, rows))) == ["0", "5"]


def test_a_population_with_objectives_has_no_species():
    with pytest.raises(ValueError, match=r"got one of a population with objectives: take plot.pareto\(population\)$"):
        plot.species(pareto().history)


# Complexity


def test_complexity_draws_the_columns_of_the_history():
    history = pruned().history
    ax = plot.complexity(history)
    (right,) = [other for other in ax.figure.axes if other is not ax]
    assert legend(ax) == ["connections", "connections of the best", "hidden nodes", "dead weight", "sparsity",
                          "pruning level"]
    lines = [*ax.lines, *right.lines]
    for line, name in zip(lines, ("connections", "best_connections", "hidden", "dead_connections", "sparsity", "level"),
                          strict=True):
        assert line.get_xdata().tolist() == history.generation.tolist()
        assert line.get_ydata().tolist() == getattr(history, name).tolist()
    assert history.level.max() == 0.5
    assert right.get_ylim()[0] == 0.0 and right.get_ylim()[1] >= 1.0
    assert ax.get_ylim()[1] >= max(line.get_ydata().max() for line in ax.lines)
    render(ax)


def test_without_pruning_there_is_no_sparsity():
    assert legend(plot.complexity(evolved().history))[3:] == ["dead weight"]


# The front


pairs = st.lists(st.tuples(st.integers(0, 8), st.integers(-5, 5)), min_size=1, max_size=25)


@given(pairs)
def test_the_front_is_what_no_other_beats(rows):
    points = np.array(rows, float)
    found = front(points).tolist()
    beaten = {(c, f) for c, f in rows for d, g in rows if d <= c and g >= f and (d, g) != (c, f)}
    assert found == [list(map(float, row)) for row in sorted(set(rows) - beaten)]


@given(pairs)
def test_pareto_of_points_shows_them_all(rows):
    ax = plot.pareto(rows, ax=Figure().add_subplot())
    everyone, best = (part.get_offsets().tolist() for part in ax.collections)
    assert everyone == [list(map(float, row)) for row in rows]
    assert best == front(np.array(rows, float)).tolist() == ax.lines[0].get_xydata().tolist()
    assert legend(ax) == [f"networks ({len(rows)})", f"Pareto front ({len(best)})"]
    low, high = ax.get_ylim()
    assert low <= min(y for _, y in best) and high >= max(y for _, y in best), "the front is seen whole"


def test_pareto_of_a_population():
    population = pareto()
    ax = plot.pareto(population)
    everyone, best = (part.get_offsets().tolist() for part in ax.collections)
    genomes = population._genomes
    assert everyone == np.stack([genomes.n_connections, population.fitness], 1).tolist()
    fronts = [[float(len(net.connections)), height(net)] for net in population.front]
    assert best == sorted(fronts) and ax.get_xlabel() == "connections"
    population = evolved(objectives=("fitness", "nodes"))
    ax = plot.pareto(population)
    assert ax.get_xlabel() == "nodes"
    assert ax.collections[0].get_offsets()[:, 0].tolist() == population._genomes.n_nodes.tolist()


def test_pareto_leaves_out_what_failed():
    ax = plot.pareto([(3, np.nan), (4, 1.0), (2, -np.inf)])
    assert [part.get_offsets().tolist() for part in ax.collections] == [[[4.0, 1.0]]] * 2
    render(ax)


def test_pareto_of_many_sizes():
    ax = plot.pareto([(3, 0.0), (300, 1.0), (400, -1e9), *[(200, 0.5)] * 20])
    assert ax.get_xscale() == "log"
    low, high = ax.get_ylim()
    assert -3.0 < low < 0.0 and high >= 1.0, "one unfit network does not flatten the rest"


def test_pareto_refuses():
    for wrong in (npr.Population(2, 1, size=4, seed=0), [(1, np.nan)], np.zeros((0, 2))):
        with pytest.raises(ValueError, match="^population must have a network whose fitness is finite, got none: call"):
            plot.pareto(wrong)
    for wrong in ([1.0, 2.0], np.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"^points must be a Population or have shape \(n, 2\), got"):
            plot.pareto(wrong)


# All at once


def test_evolution_shows_everything():
    population = pruned()
    figure = plot.evolution(population)
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels == ["fitness", "networks", "connections, nodes", "", "share", "weight"]
    best = population.best
    assert figure.axes[3].get_title().startswith(f"2 inputs, {best.graph.n_hidden} hidden")
    render(figure.axes[0])


def test_evolution_with_objectives_shows_the_front():
    population = pareto()
    assert plot.evolution(population).axes[1].get_xlabel() == "connections"
    population.ask()  # bred, not evaluated
    assert texts(plot.evolution(population).axes[1]) == ["no fitness yet in this generation"]


def test_evolution_draws_on_a_figure_of_the_callers():
    figure = Figure(figsize=(20, 8), layout="constrained")
    left, right = figure.subfigures(1, 2)
    assert plot.evolution(evolved(), figure=left) is left
    assert len(left.axes) == 6 and not right.axes
    figure.savefig(io.BytesIO(), dpi=40)


def test_evolution_refuses_a_population_without_history():
    with pytest.raises(ValueError, match="^history must have at least one generation"):
        plot.evolution(npr.Population(2, 1, size=4, seed=0))


# In a notebook


def parsed(population):
    text = population._repr_html_()
    assert text == plot.population_html(population), "the same population, the same string"
    assert len(text) < 100_000
    root = ElementTree.fromstring(text)
    assert not any({"id", "class", "href", "src"} & set(element.keys()) for element in root.iter())
    cells = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    return root, cells


def test_html_tells_numbers_species_and_the_best():
    population = pruned()
    root, cells = parsed(population)
    numbers = {row[0]: row[1] for row in cells if len(row) == 2}
    best = population.best
    assert numbers["generation"] == "4" and numbers["evaluations"] == "48" and numbers["seed"] == "1"
    assert numbers["best fitness"] == f"{population.best_fitness:.6g}" and numbers["its size"] == caption(best)
    assert numbers["mean sparsity"].endswith("asked for 50.0%") and "objectives" not in numbers
    species = [row for row in cells if len(row) == 5]
    assert species[0] == ["species", "size", "best", "age", "not improved for"]
    assert [int(row[1]) for row in species[1:]] == sorted((len(one) for one in population.species), reverse=True)
    assert sum(int(row[1]) for row in species[1:]) == 12
    drawings = list(root.iter(f"{SVG}svg"))
    assert len(drawings) == 2 and len(list(drawings[0].iter(f"{SVG}polyline"))) == 2
    assert len(list(drawings[1].iter(f"{SVG}circle"))) == best.graph.n_nodes
    assert "Population of 12 networks, 2 inputs, 1 output" in "".join(root.itertext())


def test_html_before_the_first_generation():
    root, cells = parsed(npr.Population(3, 2, size=4, seed=0, settings=npr.Settings(recurrent=True)))
    text = "".join(root.itertext())
    assert "4 networks, 3 inputs, 2 outputs, recurrent" in text and "no generation was evaluated yet" in text
    assert not list(root.iter(f"{SVG}svg"))
    assert [row[2] for row in cells if len(row) == 5][1:] == ["-"], "no species has a best fitness"


def test_html_with_objectives_and_failures():
    population = npr.Population(2, 1, size=6, seed=0, objectives=("fitness", "nodes"))
    population.tell([np.nan, 1.0, 2.0, -np.inf, 0.0, 1.0])
    _, cells = parsed(population)
    numbers = {row[0]: row[1] for row in cells}
    assert numbers["objectives"] == "fitness, nodes" and numbers["failed evaluations"] == "1"
    assert all(len(row) == 2 for row in cells), "no species"
    population = npr.Population(2, 1, size=6, seed=0)
    population.tell([np.nan] * 6)
    parsed(population)


def test_html_lists_the_largest_species():
    population = npr.Population(2, 1, size=30, seed=0, settings=npr.Settings(species=None, threshold=1e-9))
    population.evolve(height, 1)
    root, cells = parsed(population)
    assert len([row for row in cells if len(row) == 5]) == 9
    assert "and 22 more" in "".join(root.itertext())


def test_html_needs_no_matplotlib():
    script = """
import sys
sys.modules["matplotlib"] = None
import neuroprune as npr
population = npr.Population(2, 1, size=6, seed=0)
population.tell([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
print(population._repr_html_())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("<svg") == 2, done.stderr


@given(st.lists(fitness_rows(), min_size=1, max_size=12))
def test_sparkline_stays_inside(rows):
    history = made(rows)
    root = ElementTree.fromstring(sparkline(history))
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == (2 if np.isfinite(history.best).any() else 0)
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        assert all(4.0 <= x <= 256.0 and 4.0 <= y <= 52.0 for x, y in points)
        assert len(points) == max(np.isfinite(history.best).sum(), 2)


def test_sparkline_of_a_long_run_stays_small():
    rows = [{"best": float(i), "median": i / 2} for i in range(5000)]
    text = sparkline(made(rows))
    assert len(text) < 12_000
    best = ElementTree.fromstring(text).findall(f"{SVG}polyline")[1].get("points").split()
    assert best[0].startswith("4.0,") and best[-1] == "256.0,4.0"


# How the best network grew


def grown():
    """Networks of which the second is equal to the first."""
    net = npr.Network.dense([2, 1], seed=0)
    first, second = net.copy(), net.copy()
    net.add_node(0, 2)
    return [first, second, net]


def test_growth_has_a_frame_for_each_network_that_changed(tmp_path):
    networks = grown()
    film = plot.growth(networks, generations=[4, 5, 9], interval=250)
    seen = []
    drawing = film._func

    def draw(i):
        drawing(i)
        (ax,) = film._fig.axes
        seen.append((ax.get_title(), len(ax.collections[0].get_paths())))

    film._func = draw
    text = film.to_jshtml()
    assert text.count("data:image/png") == 2
    wanted = [("generation 4: 0 hidden, 2 connections", 2), ("generation 9: 1 hidden, 3 connections", 3)]
    assert [pair for pair in seen if pair[0].startswith("generation 4")][0] == wanted[0] and seen[-1] == wanted[1]
    assert film._interval == 250
    path = tmp_path / "growth.gif"
    plot.growth(networks).save(path)
    assert path.read_bytes()[:3] == b"GIF"


def test_growth_draws_on_axes_of_the_callers():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    film = plot.growth(iter(grown()), ax=left, labels=False)
    film.to_jshtml()
    assert left.get_title() == "generation 2: 1 hidden, 3 connections" and texts(left) == []
    assert right.get_title() == ""


def test_growth_refuses():
    net = npr.Network.dense([2, 1], seed=0)
    for networks, options, error, message in (
        ([], {}, ValueError, "^networks must be at least one, got none: collect population.best in a callback$"),
        ([net, 3], {}, TypeError, "^networks must be Networks, got int$"),
        ([net], {"generations": [1, 2]}, ValueError, "^generations must be 1, one for each network, got 2$"),
        ([net], {"interval": 0}, ValueError, "^interval must be an integer of at least 1, got 0$"),
    ):
        with pytest.raises(error, match=message):
            plot.growth(networks, **options)


@pytest.mark.parametrize("draw", [plot.fitness, plot.species, plot.complexity])
def test_a_population_instead_of_its_history_is_refused(draw):
    with pytest.raises(TypeError, match="got Population: pass population.history"):
        draw(npr.Population(2, 1, size=5, seed=0))
