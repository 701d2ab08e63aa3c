"""The frozen wiring: its order, what is derived from it, and what foreign wiring is refused for."""

import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import oracles as o
import strategies as s
from neuroprune import Graph, Network

CHAIN = [(0, 7, 1.0), (7, 5, 1.0), (5, 2, 1.0), (1, 2, 1.0)]


def chain(**options):
    """0 and 1 are inputs, 2 the output, 7 and 5 hidden: 0 -> 7 -> 5 -> 2, 1 -> 2."""
    return Network.from_connections(2, 1, CHAIN, **options)


# ---------------------------------------------------------------- order


def test_order_and_storage_by_hand():
    graph = chain().graph
    assert graph.ids.tolist() == [0, 1, 7, 5, 2]
    assert graph.source.tolist() == [0, 2, 1, 3]
    assert graph.target.tolist() == [2, 3, 4, 4]
    assert graph.incoming.tolist() == [0, 0, 0, 1, 2, 4]
    assert graph.source.dtype == graph.target.dtype == np.int32


@given(s.networks(), st.randoms(use_true_random=False), st.sampled_from((0, 50, 10**6, 2**60)))
def test_import_takes_the_ready_node_of_lowest_id(plain, random, far):
    """Whatever the order of the rows is, and however sparse the ids are."""
    moved = {node: node if node < plain.n_inputs + plain.n_outputs else node + far for node in plain.order}
    rows = [(moved[a], moved[b], *value) for (a, b), value in plain.connections.items()]
    random.shuffle(rows)
    net = Network.from_connections(
        plain.n_inputs, plain.n_outputs, [row[:3] for row in rows], bias={moved[node]: 0.5 for node in plain.hidden},
        delayed=[row[3] for row in rows] if plain.recurrent else None,
    )  # fmt: skip
    forward = [row[:2] for row in rows if not row[3]]
    hidden = [moved[node] for node in plain.hidden]
    assert net.nodes.id.tolist() == o.import_order(plain.n_inputs, plain.n_outputs, hidden, forward)
    bridge.assert_sound(net)


@given(s.networks())
def test_a_given_order_is_kept(plain):
    net = bridge.network(plain)
    bridge.assert_same(net, plain)
    bridge.assert_sound(net)
    assert bridge.plain(net) == plain


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 6), st.integers(0, 14), s.SEEDS)
def test_a_cycle_is_named_and_is_one(n_inputs, n_outputs, n_hidden, n_pairs, seed):
    """Any pairs among any nodes: refused exactly when Kahn fails, and the names go round along given connections."""
    first = n_inputs + n_outputs
    ids = [*range(n_inputs), *range(first, first + n_hidden)]
    rng = np.random.default_rng(seed)
    ends = rng.choice(ids, n_pairs), rng.choice(ids[n_inputs:] + list(range(n_inputs, first)), n_pairs)
    pairs = list(dict.fromkeys((a, b) for a, b in zip(ends[0].tolist(), ends[1].tolist(), strict=True) if a != b))
    rows = [(a, b, 1.0) for a, b in pairs]
    named = dict.fromkeys(ids[n_inputs:], 0.0)
    wanted = o.import_order(n_inputs, n_outputs, ids[n_inputs:], pairs)
    if wanted is not None:
        net = Network.from_connections(n_inputs, n_outputs, rows, bias=named)
        assert net.graph.ids.tolist() == wanted
        return
    with pytest.raises(ValueError, match="must not close a cycle, got") as error:
        Network.from_connections(n_inputs, n_outputs, rows, bias=named)
    bridge.assert_one_sentence(error)
    cycle = [int(node) for node in re.search(r"got ([\d >-]+):", str(error.value))[1].split(" -> ")]
    assert cycle[0] == cycle[-1] and len(set(cycle)) == len(cycle) - 1 >= 2
    assert set(zip(cycle, cycle[1:], strict=False)) <= set(pairs)
    # the same wiring is legal when one connection of the cycle is delayed, or all are
    late = Network.from_connections(n_inputs, n_outputs, rows, bias=named, delayed=[True] * len(rows))
    assert late.graph.n_connections == len(rows)


@pytest.mark.compiled_only
def test_a_deep_network_needs_no_recursion():
    n = 20_000
    ids = np.array([0, *range(2, n), 1])
    rng = np.random.default_rng(0)
    order = rng.permutation(n - 1)
    net = Network.from_connections(1, 1, (ids[:-1][order], ids[1:][order], np.ones(n - 1)), activation="identity")
    assert net.graph.ids.tolist() == ids.tolist()
    assert net.graph.depth[-1] == n - 1
    assert net.graph.reaches_output.all() and net.graph.reached_from_input.all()
    assert net([3.0]).tolist() == [3.0]
    with pytest.raises(ValueError, match="must not close a cycle"):
        Network.from_connections(1, 1, (np.append(ids[1:-1], ids[-2]), np.append(ids[2:], ids[1]), np.ones(n - 1)))


# ---------------------------------------------------------------- what is derived


def test_derived_by_hand():
    graph = Network.from_connections(
        2, 1, [(0, 7, 1.0), (7, 2, 1.0), (9, 8, 1.0), (8, 2, 1.0), (1, 6, 1.0)], activation="relu"
    ).graph
    assert graph.ids.tolist() == [0, 1, 6, 7, 9, 8, 2]
    assert graph.depth.tolist() == [0, 0, 1, 1, 0, 1, 2]
    assert graph.reaches_output.tolist() == [True, False, False, True, True, True, True]
    assert graph.reached_from_input.tolist() == [True, True, True, True, False, False, True]
    assert [bound.tolist() for bound in graph.slots] == [[0] * 7, [0, 0, 2, 3, 4, 5, 6]]
    assert graph.n_nodes == 7 and graph.n_hidden == 4 and graph.n_connections == 5 and not graph.recurrent


def test_read_is_less_by_n_when_delayed():
    graph = Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, 1.0)], delayed=[False, True]).graph
    assert graph.read.tolist() == [0, 1 - 2] and graph.read.dtype == np.int32
    assert [bound.tolist() for bound in graph.slots] == [[0, 0], [0, 2]]
    assert repr(graph) == "<Graph: 1 inputs, 0 hidden, 1 outputs, 2 connections, recurrent>"


def test_derived_data_is_computed_once_and_read_only():
    graph = chain().graph
    for name in (*bridge.DERIVED, "slots"):
        assert getattr(graph, name) is getattr(graph, name)
    assert graph.read is graph.source
    for name in (*bridge.DERIVED, "ids", "incoming", "source"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(graph, name)[0] = 0
    for bound in graph.slots:
        with pytest.raises(ValueError, match="read-only"):
            bound[0] = 0


def test_a_graph_is_frozen():
    graph = chain().as_recurrent().graph
    for name in ("ids", "source", "delayed", "n_inputs"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(graph, name, None)
    with pytest.raises(ValueError, match="read-only"):
        graph.delayed[0] = True


@pytest.mark.parametrize(
    ("column", "values"),
    [("ids", np.arange(2.0)), ("ids", np.arange(4)[::2]), ("incoming", np.zeros(3, np.int32)),
     ("source", np.zeros(1, np.int64)), ("source", np.zeros((1, 1), np.int32))],
)  # fmt: skip
def test_columns_that_kernels_could_not_trust_are_refused(column, values):
    columns = {"ids": np.arange(2), "incoming": np.array([0, 0, 1]), "source": np.zeros(1, np.int32), column: values}
    with pytest.raises(TypeError, match=f"{column} must be a contiguous array of int") as raised:
        Graph(1, 1, **columns)
    bridge.assert_one_sentence(raised)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda graph: pickle.loads(pickle.dumps(graph))])
def test_a_copied_or_pickled_graph_is_as_frozen(again, recurrent):
    """Writable columns would be no longer frozen, and another type to the kernels, which would compile again."""
    net = chain().as_recurrent() if recurrent else Network.dense([2, 3, 1], seed=0)
    twin = again(net.graph)
    assert twin.layer_sizes == net.graph.layer_sizes
    for name in ("ids", "incoming", "source", "delayed", *bridge.DERIVED):
        mine, theirs = getattr(net.graph, name), getattr(twin, name)
        if mine is not None:
            assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs) and not theirs.flags.writeable, name


def test_pickles_do_not_depend_on_what_was_looked_at():
    graph = chain().graph
    before = pickle.dumps(graph)
    graph.depth, graph.target, graph.slots, graph.positions(np.array([2]))  # noqa: B018
    assert pickle.dumps(graph) == before


@given(s.networks(), st.data())
def test_find_and_positions(plain, data):
    graph = bridge.network(plain).graph
    place, pairs = o.positions(plain), {pair: index for index, pair in enumerate(plain.stored)}
    ids = data.draw(st.lists(st.integers(-3, 60), max_size=8))
    assert graph.positions(np.array(ids, np.int64)).tolist() == [place.get(node, -1) for node in ids]
    every = [(a, b) for a in plain.order for b in plain.order]
    source, target = (np.array([place[pair[end]] for pair in every]) for end in (0, 1))
    wanted = [pairs.get(pair, -1) for pair in every]
    assert graph.find_pairs(source, target).tolist() == wanted
    assert [graph.find(a, b) for a, b in zip(source.tolist(), target.tolist(), strict=True)] == wanted
    for node in ids:
        if node in place:
            assert graph.position(node) == place[node]
        else:
            with pytest.raises(LookupError, match=f"ids, got {node}: see net.nodes.id"):
                graph.position(node)


@given(s.networks(), s.networks())
def test_match_by_ids(old, new):
    """Also between wirings that have nothing to do with one another."""
    index = {pair: i for i, pair in enumerate(old.stored)}
    matched = bridge.network(old).graph.match(bridge.network(new).graph)
    assert matched.tolist() == [index.get(pair, -1) for pair in new.stored]


@given(s.networks(recurrent=True))
def test_is_delayed_follows_the_rule(plain):
    graph, place = bridge.network(plain).graph, o.positions(plain)
    slots = o.legal_slots(plain)
    source, target = (np.array([place[slot[end]] for slot in slots]) for end in (0, 1))
    assert graph.is_delayed(source, target).tolist() == [slot[2] for slot in slots]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_layer_slots_join_adjacent_layers(sizes):
    graph = Network.dense(sizes, seed=0).graph
    assert graph.layer_sizes == tuple(sizes)
    layer = np.repeat(np.arange(len(sizes)), sizes)
    lowest, highest = graph.layer_slots
    n = graph.n_nodes
    slots = [(a, t) for t in range(n) for a in range(lowest[t], highest[t])]
    assert slots == [(a, t) for t in range(n) for a in range(n) if layer[t] == layer[a] + 1]


def test_layer_slots_need_layers():
    with pytest.raises(ValueError, match="needs a network made in layers") as error:
        chain().graph.layer_slots  # noqa: B018
    bridge.assert_one_sentence(error)


def test_a_graph_is_public():
    assert isinstance(chain().graph, Graph)
    assert repr(chain().graph) == "<Graph: 2 inputs, 2 hidden, 1 outputs, 4 connections, acyclic>"
