"""Pictures by their structure: how many lines, which counts, whose axes; never by their pixels.

Charts, SVG, and where things stand have files of their own: `test_plot_charts`, `test_plot_svg`, `test_plot_layout`.
"""

import io
import subprocess
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import neuroprune as npr
import strategies as s
from bridge import network
from neuroprune import plot

ROOT = Path(__file__).parents[1]


@st.composite
def drawn(draw):
    """Networks of any kind, of up to 25 nodes."""
    return network(draw(s.networks()), seed=0)


def dense_pruned(seed=0):
    net = npr.Network.dense([6, 9, 7, 3], seed=seed)
    net.prune_to_sparsity(0.8)
    return net


def history():
    net = npr.Network.dense([2, 4, 1], seed=0)
    return net.train([[0.0, 1.0], [1.0, 0.0]], [[1.0], [-1.0]], iterations=12, pruning=npr.PruningSchedule(0.5, 2, 8),
                     validation=([[1.0, 1.0]], [[0.5]]), validate_every=4)  # fmt: skip


def result():
    return npr.Network.dense([6, 9, 3], seed=0).prune_to_sparsity(0.6)


PICTURES = {
    "network": lambda ax=None: plot.network(dense_pruned(), ax=ax),
    "summary": lambda ax=None: plot.network(dense_pruned(), ax=ax, max_connections=0),
    "recurrent": lambda ax=None: plot.network(npr.Network.random(3, 2, 6, 40, recurrent=True, seed=0), ax=ax),
    "saliency": lambda ax=None: plot.saliency(result(), ax=ax),
    "training": lambda ax=None: plot.training(history(), {4: 0.5, 12: 1.0}, ax=ax),
    "input_use": lambda ax=None: plot.input_use(dense_pruned(), ax=ax),
    "input_image": lambda ax=None: plot.input_use(dense_pruned(), shape=(2, 3), ax=ax),
}
pictures = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


def render(ax):
    """Write the whole figure, as `savefig` does."""
    file = io.BytesIO()
    ax.figure.savefig(file, dpi=40)
    assert file.getvalue()[:4] == b"\x89PNG"


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def lines_of(ax):
    """The paths of all connections, solid ones and dashed ones."""
    found = [part for part in ax.collections if part.get_array() is not None]
    solid = [part for part in found if part.get_linestyle()[0][1] is None]
    dashed = [part for part in found if part not in solid]
    return [[path for part in parts for path in part.get_paths()] for parts in (solid, dashed)]


# Axes


@pictures
def test_draws_on_the_axes_it_is_given(picture):
    ax = Figure().add_subplot()
    assert picture(ax) is ax
    render(ax)


@pictures
def test_makes_axes_of_its_own(picture):
    ax = picture()
    assert isinstance(ax, Axes)
    assert picture().figure is not ax.figure
    render(ax)


@pictures
def test_draws_on_one_of_several_axes_and_on_a_part_of_a_figure(picture):
    figure = Figure(figsize=(6, 6), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    axes = [*upper.subplots(1, 2), lower.add_subplot()]
    for ax in axes:
        assert picture(ax) is ax
    figure.savefig(io.BytesIO(), dpi=40)


def test_pyplot_is_neither_needed_nor_loaded():
    script = """
import sys, io
sys.path.insert(0, "tests")
import test_plot
from test_plot import PICTURES, render
assert "matplotlib.pyplot" not in sys.modules, "by the test"
for picture in PICTURES.values():
    render(picture())
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pictures
def test_says_how_to_get_matplotlib(picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'^pictures need matplotlib, .*: pip install "neuroprune\[plot\]"$'):
        picture()


def test_svg_needs_no_matplotlib():
    script = """
import sys
sys.modules["matplotlib"] = None
import neuroprune
print(neuroprune.Network.dense([2, 3, 1], seed=0)._repr_html_())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("<svg"), done.stderr


# The network


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_one_line_for_each_connection(recurrent, count):
    net = npr.Network.random(4, 3, 7, count, recurrent=recurrent, seed=1)
    ax = plot.network(net)
    render(ax)
    solid, dashed = lines_of(ax)
    assert len(solid) == np.count_nonzero(~net.connections.delayed)
    assert len(dashed) == np.count_nonzero(net.connections.delayed)
    assert ("delayed" in legend(ax)) == bool(dashed)
    assert len(ax.figure.axes) == (2 if count else 1), "a colour bar where there is a weight"


def test_lines_carry_their_weights():
    net = npr.Network.from_connections(3, 1, [(0, 3, -0.5), (1, 3, 2.0), (2, 3, 0.0)])
    ax = plot.network(net)
    lines = ax.collections[0]
    assert lines.get_array().tolist() == [0.0, -0.5, 2.0], "strong ones lie on top"
    assert (lines.norm.vmin, lines.norm.vmax) == (-2.0, 2.0)
    assert (np.diff(lines.get_linewidths()) > 0).all()
    blue, grey, red = (lines.cmap(share) for share in (0.0, 0.5, 1.0))
    assert blue[2] > blue[0] and red[0] > red[2] and max(grey[:3]) - min(grey[:3]) < 0.05


def test_nodes_by_kind_with_ids_and_counts():
    rows = [(0, 3, 1.0), (1, 7, 1.0), (7, 3, 1.0), (8, 3, 1.0), (1, 9, 1.0)]  # 8 is fed by nothing, 9 feeds nothing
    ax = plot.network(npr.Network.from_connections(3, 1, rows))
    assert legend(ax) == ["input (2)", "unused input (1)", "hidden (1)", "dead (2)", "output (1)"]
    assert sorted(texts(ax)) == ["0", "1", "2", "3", "7", "8", "9"]
    assert ax.get_title().split("\n") == [
        "3 inputs, 3 hidden, 1 output, 5 connections", "sparsity 0%, 2 dead hidden nodes, 1 unused input"]  # fmt: skip
    marks = [part for part in ax.collections if part.get_array() is None]
    assert [len(part.get_offsets()) for part in marks] == [2, 1, 1, 2, 1]
    faces = [tuple(part.get_facecolor()[0]) for part in marks]
    assert faces[1] == faces[3] == (1.0, 1.0, 1.0, 1.0) and faces[0] != faces[1] != faces[2]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["inputs", "depth 1", "outputs"]


def test_labels_and_colour_bar_can_be_left_out():
    ax = plot.network(dense_pruned(), labels=False, colorbar=False)
    assert texts(ax) == [] and len(ax.figure.axes) == 1


def test_title_tells_the_sparsity():
    assert "sparsity 79.71%" in plot.network(dense_pruned()).get_title()


@pytest.mark.parametrize("limits", [{"max_connections": 7}, {"max_nodes": 9}])
def test_a_network_over_a_limit_is_summarised(limits):
    net = npr.Network.dense([2, 2, 2, 4], seed=0)
    net.keep(np.arange(16) < 8)
    ax = plot.network(net, **limits)
    assert lines_of(ax) == [[], []]
    assert "4\n100%" in texts(ax)
    assert lines_of(plot.network(net, max_connections=8, max_nodes=10))[0]


def test_a_summary_says_what_it_counts():
    ax = plot.network(npr.Network.dense([40, 60, 10], seed=0), max_connections=100)
    assert {"2,400\n100%", "600\n100%", "40", "60", "10", "inputs", "depth 1", "outputs"} == set(texts(ax))
    assert ax.figure.axes[1].get_ylabel() == "mean |weight|"


@pytest.mark.parametrize("recurrent", [False, True])
def test_pictures_of_large_networks_stay_small(recurrent):
    net = npr.Network.random(50, 20, 1000, 6000, recurrent=recurrent, seed=0)
    ax = plot.network(net)
    assert len(ax.get_children()) < 150
    render(ax)


def test_a_summary_without_connections():
    net = npr.Network.dense([3, 4, 2], seed=0)
    net.keep(np.zeros(20, bool))
    ax = plot.network(net, max_nodes=0)
    assert len(ax.figure.axes) == 1
    assert {"inputs\n3 unused", "depth 1\n4 dead"} <= set(texts(ax))


def test_many_columns_and_many_nodes_are_drawn():
    chain = [(0, 2, 1.0), *((i, i + 1, 1.0) for i in range(2, 140)), (140, 1, 1.0)]
    ax = plot.network(npr.Network.from_connections(1, 1, chain))
    render(ax)
    assert len(lines_of(ax)[0]) == 140
    assert len(ax.get_xticklabels()) < 40
    render(plot.network(npr.Network.random(290, 1, 0, 200, seed=0)))


def test_titles_break_after_commas_where_there_is_little_room():
    figure = Figure(figsize=(6, 3))
    title = plot.network(dense_pruned(), ax=figure.subplots(1, 3)[0]).get_title().split("\n")
    assert len(title) > 2 and all(line.endswith(",") for line in title[:1]) and "6 inputs," in title[0]


@pytest.mark.parametrize("picture", [plot.network, plot.input_use])
def test_weights_that_are_not_finite_are_refused(picture):
    net = npr.Network.dense([2, 2], seed=0)
    net.connections.weight[2] = np.nan
    with pytest.raises(ValueError, match="net.connections.weight must be finite, got nan at index 2"):
        picture(net)


def test_net_plot_is_the_same_picture():
    ax = Figure().add_subplot()
    assert dense_pruned().plot(ax=ax, max_connections=0) is ax
    assert lines_of(ax) == [[], []]


def test_weights_of_any_size_make_no_warning():
    for scale in (1e-300, 1e-12, 1e12, 1e150):
        net = npr.Network.dense([3, 4, 2], seed=0)
        net.connections.weight *= scale
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for limits in ({}, {"max_connections": 0}):
                render(plot.network(net, **limits))
            render(plot.input_use(net))
            ElementTree.fromstring(plot.network_svg(net))
