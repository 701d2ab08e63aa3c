"""Networks as SVG: well formed, complete, small, the same each time."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import neuroprune as npr
from neuroprune import plot
from neuroprune.plot import canvas, layout
from test_plot import dense_pruned, drawn

SVG = "{http://www.w3.org/2000/svg}"


def parse(net):
    """The root, and its elements by name."""
    text = net._repr_html_()
    assert text == plot.network_svg(net) == plot.network_svg(net.copy()), "the same network, the same string"
    root = ElementTree.fromstring(text)
    elements = {}
    for element in root.iter():
        elements.setdefault(element.tag.removeprefix(SVG), []).append(element)
    assert set(elements) <= {"svg", "rect", "text", "g", "path", "title", "circle", "polygon"}
    assert not any({"id", "class", "href"} & set(element.keys()) for element in root.iter()), "pictures share a page"
    return text, elements


@given(drawn())
def test_svg_shows_every_node_and_connection(net):
    _, elements = parse(net)
    assert len(elements["circle"]) == net.graph.n_nodes
    assert len(elements.get("path", [])) == net.graph.n_connections
    dashed = [path for path in elements.get("path", []) if "stroke-dasharray" in path.keys()]
    assert len(dashed) == np.count_nonzero(net.connections.delayed)
    hollow = [circle for circle in elements["circle"] if circle.get("fill") == "#fff"]
    assert len(hollow) == np.count_nonzero(layout.dead(net.graph) | layout.unused(net.graph))
    size, state = layout.captions(net)
    assert [element.text for element in elements["text"]][:2] == [size, state]
    _, _, width, height = map(float, elements["svg"][0].get("viewBox").split())
    for circle in elements["circle"]:
        x, y, r = (float(circle.get(name)) for name in ("cx", "cy", "r"))
        assert r <= x <= width - r and r <= y <= height - r, "it stands inside"


def test_svg_counts_in_words():
    text, _ = parse(dense_pruned())
    assert "6 inputs, 16 hidden, 3 outputs, 28 connections" in text and "sparsity 79.71%" in text
    net = npr.Network.from_connections(2, 1, [(0, 2, 1.0), (1, 5, 1.0), (0, 4, 1.0), (4, 2, -1.0)])
    text, elements = parse(net)
    assert "2 inputs, 2 hidden, 1 output, 4 connections" in text
    assert "sparsity 0%, 1 dead hidden node, 1 unused input" in text
    told = [title.text for title in elements["title"]]
    assert "4 to 2, weight -1" in told and "hidden 5, tanh, bias 0, dead" in told and "input 1, unused" in told
    circles = {circle[0].text.split(",")[0]: circle for circle in elements["circle"]}
    assert {name: (circle.get("fill"), circle.get("stroke")) for name, circle in circles.items()} == {
        "input 0": (canvas.KIND["input"], "#fff"), "input 1": ("#fff", canvas.KIND["input"]),
        "hidden 4": (canvas.KIND["hidden"], "#fff"), "hidden 5": ("#fff", canvas.DEAD),
        "output 2": (canvas.KIND["output"], "#fff"),
    }  # fmt: skip


@pytest.mark.parametrize("recurrent", [False, True])
def test_svg_of_a_large_network_is_a_summary(recurrent):
    net = npr.Network.random(50, 20, 1000, 6000, recurrent=recurrent, seed=0)
    text, elements = parse(net)
    assert len(text) < 20_000 and "circle" not in elements
    assert len(elements["path"]) == len(elements["polygon"]) <= layout.MAX_BUNDLES
    assert "50 inputs, 1,000 hidden, 20 outputs, 6,000 connections" in text
    boxes = [element.text for element in elements["text"] if element.get("font-weight") == "bold"]
    assert sum(int(number.replace(",", "")) for number in boxes) == 1070


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_largest_svg_stays_under_200_kb(recurrent):
    rows = npr.Network.random(20, 10, 120, 500, recurrent=recurrent, seed=0).connections
    far = 2**60  # ids may be long
    source, target = (np.where(ids >= 30, ids + far, ids) for ids in (rows.source, rows.target))
    delayed = rows.delayed if recurrent else None
    net = npr.Network.from_connections(20, 10, (source, target, rows.weight * 1e-7), delayed=delayed,
                                       bias={i + far: 1e-7 / 3 for i in range(30, 150)})  # fmt: skip
    text, elements = parse(net)
    assert len(elements["circle"]) == 150 and len(text.encode()) < 200_000


def test_svg_of_networks_with_nothing_between():
    for net in (npr.Network.from_connections(1, 1, [(0, 1, 0.0)]), npr.Network.from_connections(3, 200, [])):
        parse(net)


@pytest.mark.compiled_only
def test_svg_escapes_names():
    name = '<script>alert("1")</script> & co'
    npr.register_activation(name, lambda x: 2.0 * x, lambda x: 2.0)
    text, elements = parse(npr.Network.dense([1, 1, 1], activation=name, seed=0))
    assert "<script" not in text
    assert f"hidden 2, {name}, bias 0" in [title.text for title in elements["title"]]


def test_svg_shows_a_network_whose_weights_are_not_finite():
    for size in (3, 60):
        net = npr.Network.dense([size, size], seed=0)
        net.connections.weight[:2] = np.nan, np.inf
        assert "2 weights not finite" in parse(net)[0]


MAPS = (canvas.WEAK, canvas.STRONG), (canvas.NEGATIVE, canvas.ZERO, canvas.POSITIVE)


@given(st.floats(0, 1), st.sampled_from(MAPS))
def test_svg_and_matplotlib_use_the_same_colours(share, colours):
    mixed = to_rgb(canvas.mix(share, *colours))
    np.testing.assert_allclose(mixed, canvas.colormap(*colours)(share)[:3], atol=0.01)
