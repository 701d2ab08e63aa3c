"""Where the parts of a network stand in a picture: columns by depth, even heights, curves, boxes and bundles."""

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuroprune as npr
from neuroprune.plot import layout
from test_plot import drawn


def graph_of(net):
    """The same nodes (by position) and connections as a networkx graph."""
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(net.graph.n_nodes))
    graph.add_edges_from(zip(net.graph.source.tolist(), net.graph.target.tolist(), strict=True))
    return graph


@given(drawn())
def test_dead_nodes_and_unused_inputs(net):
    wiring, graph = net.graph, graph_of(net)
    inputs = set(range(wiring.n_inputs))
    outputs = set(range(wiring.n_nodes - wiring.n_outputs, wiring.n_nodes))
    for node in graph:
        to = bool(({node} | networkx.descendants(graph, node)) & outputs)
        fed = bool(networkx.ancestors(graph, node) & inputs)
        hidden = node not in inputs and node not in outputs
        assert layout.dead(wiring)[node] == (hidden and not (to and fed))
        assert layout.unused(wiring)[node] == (node in inputs and not to)


@given(drawn())
def test_columns_are_depths(net):
    graph = net.graph
    column = layout.columns(graph)
    first_output = graph.n_nodes - graph.n_outputs
    hidden = np.arange(graph.n_inputs, first_output)
    fed = hidden[graph.depth[hidden] > 0]
    assert (column[: graph.n_inputs] == 0).all()
    assert (column[fed] == graph.depth[fed]).all()
    assert np.unique(column[first_output:]).tolist() == [max(column[hidden], default=0) + 1]
    assert np.unique(column).tolist() == [*range(column[-1] + 1)], "no column is empty"
    forward = ~graph.delayed if graph.recurrent else np.ones(graph.n_connections, bool)
    source, target = graph.source[forward], graph.target[forward]
    assert (column[source] <= column[target]).all()
    idle = graph.depth[source] == 0
    assert (column[source] < column[target])[~idle | (source < graph.n_inputs)].all()


def test_a_node_that_nothing_feeds_stays_in_its_layer():
    net = npr.Network.dense([3, 4, 4, 2], seed=0)
    before = layout.columns(net.graph)
    net.keep(~np.isin(net.connections.target, [6, 10]))  # the second of each hidden layer
    assert layout.columns(net.graph).tolist() == before.tolist()


def test_a_node_that_nothing_feeds_stands_left_of_what_it_feeds():
    pairs = [(0, 3), (3, 4), (4, 5), (5, 8), (9, 8), (9, 7), (0, 7)]
    net = npr.Network.from_connections(1, 1, [(*pair, 1.0) for pair in pairs])
    order = net.nodes.id.tolist()
    assert order.index(9) > order.index(5), "it comes after a node of depth 3"
    assert layout.columns(net.graph)[order.index(9)] == 1, "and feeds one of depth 1"


@given(drawn())
def test_heights_fill_each_column_evenly(net):
    column = layout.columns(net.graph)
    height = layout.heights(net.graph, column)
    for depth in range(column[-1] + 1):
        here = height[column == depth]
        rungs = 1 - (np.arange(here.size) + 0.5) / here.size
        np.testing.assert_allclose(np.sort(here)[::-1], rungs, atol=1e-12)
    for ends in (slice(0, net.graph.n_inputs), slice(net.graph.n_nodes - net.graph.n_outputs, None)):
        assert (np.diff(height[ends]) < 0).all(), "inputs and outputs are in order"


def test_hidden_nodes_stand_near_what_they_are_joined_to():
    rows = [(0, 12, 1.0), (1, 11, 1.0), (2, 10, 1.0), (12, 3, 1.0), (11, 4, 1.0), (10, 5, 1.0)]
    net = npr.Network.from_connections(3, 3, rows)
    height = layout.heights(net.graph, layout.columns(net.graph))
    np.testing.assert_allclose(height[net.graph.source], height[net.graph.target])


@given(drawn())
def test_curves_lead_from_source_to_target(net):
    graph = net.graph
    column = layout.columns(graph)
    points = np.stack([column * 50.0, layout.heights(graph, column) * 200.0], 1)
    curves = layout.curves(graph, column, points, 20.0)
    assert curves.shape == (graph.n_connections, 4, 2)
    np.testing.assert_array_equal(curves[:, 0], points[graph.source])
    np.testing.assert_array_equal(curves[:, 3], points[graph.target])
    delayed = graph.delayed if graph.recurrent else np.zeros(graph.n_connections, bool)
    straight = ~delayed & (column[graph.target] - column[graph.source] == 1)
    chord = curves[:, 3] - curves[:, 0]
    aside = np.abs(np.linalg.det(np.stack([curves[:, 1] - curves[:, 0], chord], 1))) if len(curves) else chord[:, 0]
    assert (aside[straight] < 1e-6).all()
    assert (aside[~straight & (graph.source != graph.target)] > 1.0).all(), "the others are bent"
    low, high = layout.extent(curves, 200.0)
    share = np.linspace(0, 1, 41)[:, None, None]
    y = ((1 - share) ** 3 * curves[:, 0] + 3 * share * (1 - share) ** 2 * curves[:, 1]
         + 3 * share**2 * (1 - share) * curves[:, 2] + share**3 * curves[:, 3])[..., 1]  # fmt: skip
    assert low - 12.0 <= y.min(initial=0.0) and y.max(initial=200.0) <= high + 12.0


@given(drawn(), st.integers(20, 500))
def test_summary_counts_every_connection(net, width):
    graph, weight = net.graph, net.connections.weight
    picture = layout.summary(graph, weight, float(width), 200.0, 9.0)
    column = layout.columns(graph)
    assert len(picture.boxes) <= min(layout.MAX_BOXES, column[-1] + 1)
    assert sum(box.nodes for box in picture.boxes) == graph.n_nodes
    assert sum(box.idle for box in picture.boxes) == (layout.dead(graph) | layout.unused(graph)).sum()
    assert [box.kind for box in picture.boxes] == ["input", *["hidden"] * (len(picture.boxes) - 2), "output"]
    assert len(picture.bundles) <= layout.MAX_BUNDLES
    total = sum(bundle.count for bundle in picture.bundles) + sum(box.inside for box in picture.boxes)
    assert total == graph.n_connections if not picture.left_out else total < graph.n_connections
    assert all(0 < bundle.density <= 1 for bundle in picture.bundles)
    if not picture.left_out and not any(box.inside for box in picture.boxes):
        strength = sum(bundle.count * bundle.strength for bundle in picture.bundles)
        assert strength == pytest.approx(np.abs(weight).sum())
    for bundle in picture.bundles:
        assert picture.bottom <= min(bundle.head[:, 1].min(), bundle.label_at[1])
        assert max(bundle.head[:, 1].max(), bundle.label_at[1]) <= picture.top


def test_summary_of_layers():
    net = npr.Network.dense([4, 6, 5, 2], seed=0)
    net.keep((net.connections.target != 7) & (net.connections.source != 0))
    picture = layout.summary(net.graph, net.connections.weight, 400.0, 200.0, 9.0)
    weight = np.abs(net.connections.weight)
    assert [(box.label, box.nodes, box.idle, box.inside) for box in picture.boxes] == [
        ("inputs", 4, 1, 0), ("depth 1", 6, 1, 0), ("depth 2", 5, 0, 0), ("outputs", 2, 0, 0)]  # fmt: skip
    assert [(bundle.count, bundle.density) for bundle in picture.bundles] == [(15, 15 / 24), (30, 1.0), (10, 1.0)]
    assert [bundle.strength for bundle in picture.bundles] == pytest.approx(
        [weight[:15].mean(), weight[15:45].mean(), weight[45:].mean()])  # fmt: skip
    assert picture.left_out == 0


def test_summary_shows_at_least_one_bundle_into_and_out_of_each_box():
    net = npr.Network.random(30, 5, 400, 4000, recurrent=True, seed=3)
    picture = layout.summary(net.graph, net.connections.weight, 400.0, 200.0, 9.0)
    assert picture.left_out > 0 and len(picture.bundles) == layout.MAX_BUNDLES
    left = [box.left for box in picture.boxes]
    starts = np.searchsorted(left, [bundle.curve[0, 0] for bundle in picture.bundles], "right") - 1
    ends = np.searchsorted(left, [bundle.head[0, 0] for bundle in picture.bundles], "right") - 1
    assert set(starts) == set(range(len(left))) and set(ends) == set(range(1, len(left)))
