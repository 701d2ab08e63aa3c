"""Networks in layers, at random, from connections: exactly what was asked for, or one sentence."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import bridge
import oracles as o
import strategies as s
from neuroprune import Network
from neuroprune.network.create import RECTIFIERS

# ---------------------------------------------------------------- in layers


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), s.SEEDS)
def test_dense_connects_each_layer_to_the_next(sizes, seed):
    net = Network.dense(sizes, seed=seed)
    bridge.assert_sound(net)
    hidden = range(sizes[0] + sizes[-1], sum(sizes))
    assert net.nodes.id.tolist() == [*range(sizes[0]), *hidden, *range(sizes[0], sizes[0] + sizes[-1])]
    layer = np.repeat(np.arange(len(sizes)), sizes)
    pairs = list(zip(net.graph.source.tolist(), net.graph.target.tolist(), strict=True))
    n = sum(sizes)
    assert pairs == [(a, b) for b in range(n) for a in range(n) if layer[b] == layer[a] + 1]
    assert net.graph.depth.tolist() == layer.tolist()
    assert not net.nodes.bias.any()
    names = ["identity"] * sizes[0] + ["tanh"] * len(hidden) + ["identity"] * sizes[-1]
    assert net.nodes.activation.tolist() == names
    assert net.equals(Network.dense(sizes, seed=seed))


def test_a_layer_is_its_weight_matrix_in_row_major_order():
    net = Network.dense([3, 4, 2], activation="sigmoid", seed=1)
    first, second = net.connections.weight[:12].reshape(4, 3), net.connections.weight[12:].reshape(2, 4)
    x = np.array([0.5, -1.0, 2.0])
    np.testing.assert_allclose(net(x), second @ (1 / (1 + np.exp(-first @ x))), rtol=1e-13)


@pytest.mark.parametrize("hidden", ["tanh", "relu"])
@pytest.mark.parametrize("output", ["identity", "softplus"])
def test_dense_weights_fill_the_interval_of_their_layer(hidden, output):
    sizes, n = (40, 60, 20), (2400, 1200)
    net = Network.dense(sizes, activation=hidden, output_activation=output, seed=3)
    parts = net.connections.weight[: n[0]], net.connections.weight[n[0] :]
    for weights, into, fan_in, fan_out in ((parts[0], hidden, 40, 60), (parts[1], output, 60, 20)):
        limit = (6 / (fan_in if into in RECTIFIERS else fan_in + fan_out)) ** 0.5
        assert stats.kstest(weights, "uniform", (-limit, 2 * limit)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ([3], {}, ValueError, "at least the inputs and the outputs, got 1"),
        ([], {}, ValueError, "at least the inputs and the outputs, got 0"),
        ([3, 0, 1], {}, ValueError, "a layer must be at least 1, got 0"),
        ([3, 2.5, 1], {}, TypeError, "a layer must be an integer, got 2.5"),
        ([3, True], {}, TypeError, "a layer must be an integer, got True"),
        ([10**6, 10**6], {}, ValueError, "at most 2147483647 connections, got 1000000000000"),
        ([3, 2**31], {}, ValueError, "at most 2147483647 connections, got 6442450944"),
        ([3, 1], {"activation": "tahn"}, ValueError, "did you mean 'tanh'"),
        ([3, 1], {"output_activation": "softmax"}, ValueError, "got 'softmax'"),
        ([3, 1], {"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ([3, 1], {"seed": 1.5}, TypeError, "seed must be None, an integer or a numpy.random.Generator, got float"),
    ],
)
def test_dense_refuses(sizes, options, error, message):
    with pytest.raises(error, match=message) as raised:
        Network.dense(sizes, **options)
    bridge.assert_one_sentence(raised)


# ---------------------------------------------------------------- at random


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5), st.booleans(), s.SEEDS, st.data())
def test_random_has_exactly_as_many_legal_connections(n_inputs, n_outputs, n_hidden, recurrent, seed, data):
    order = [*range(n_inputs), *range(n_inputs + n_outputs, n_inputs + n_outputs + n_hidden),
             *range(n_inputs, n_inputs + n_outputs)]  # fmt: skip
    empty = o.Plain(n_inputs, n_outputs, order, {}, {}, {}, recurrent)
    legal = {slot[:2]: slot[2] for slot in o.legal_slots(empty)}
    count = data.draw(s.sizes(0, len(legal)))
    net = Network.random(n_inputs, n_outputs, n_hidden, count, recurrent=recurrent, seed=seed)
    assert len(net.connections) == count and net.nodes.id.tolist() == order
    bridge.assert_sound(net)
    late = {pair: delayed for pair, (_, delayed) in bridge.plain(net).connections.items()}
    assert late.items() <= legal.items()
    again = Network.random(n_inputs, n_outputs, n_hidden, count, recurrent=recurrent, seed=seed)
    assert net.equals(again) and net.rng.random() == again.rng.random()
    with pytest.raises(ValueError, match=f"at most {len(legal)}, the number of legal pairs, got {len(legal) + 1}"):
        Network.random(n_inputs, n_outputs, n_hidden, len(legal) + 1, recurrent=recurrent, seed=seed)


@pytest.mark.parametrize(
    ("shape", "count", "recurrent", "places"),
    [((2, 1, 2), 2, False, 9), ((1, 2, 1), 3, False, 5), ((1, 1, 1), 2, True, 6), ((1, 1, 1), 4, True, 6)],
)
def test_random_draws_every_set_of_connections_equally_often(shape, count, recurrent, places):
    """Chi-square over all subsets of the legal pairs, which is stricter than over the pairs."""
    rng, seen = np.random.default_rng(11), {}
    subsets = list(combinations(range(places), count))
    for _ in range(60 * len(subsets)):
        graph = Network.random(*shape, count, recurrent=recurrent, seed=rng).graph
        key = graph.source.tobytes() + graph.target.tobytes()
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == len(subsets)
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_random_weights_have_variance_one_over_fan_in():
    net = Network.random(50, 20, 80, 6000, seed=2, activation="relu", output_activation="sigmoid")
    fan_in = np.diff(net.graph.incoming)[net.graph.target]
    assert stats.kstest(net.connections.weight * np.sqrt(fan_in), "norm").pvalue > 1e-3
    assert set(net.nodes.activation[50:130]) == {"relu"} and set(net.nodes.activation[130:]) == {"sigmoid"}
    assert net.default_activation == "relu"


def test_random_places_need_no_table_of_all_pairs():
    net = Network.random(10, 10, 200_000, 1000, recurrent=True, seed=0)
    assert len(net.connections) == 1000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1, 0, 0), ValueError, "n_inputs must be at least 1, got 0"),
        ((1, 0, 0, 0), ValueError, "n_outputs must be at least 1, got 0"),
        ((1, 1, -1, 0), ValueError, "n_hidden must be at least 0, got -1"),
        ((1, 1, 0, -1), ValueError, "n_connections must be at least 0, got -1"),
        ((1, 1, 0, 1.0), TypeError, "n_connections must be an integer, got 1.0"),
        ((2**40, 1, 0, 0), ValueError, "a network must have at most 2147483647 nodes, got 1099511627777"),
        ((10, 10, 0, 2**31), ValueError, "at most 2147483647 connections, got 2147483648"),
        ((1, 1, 0, 2), ValueError, "n_connections must be at most 1, the number of legal pairs, got 2"),
    ],
)
def test_random_refuses(arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        Network.random(*arguments, seed=0)
    bridge.assert_one_sentence(raised)


# ---------------------------------------------------------------- from connections


@given(s.networks(), st.randoms(use_true_random=False))
def test_rows_and_columns_say_the_same(plain, random):
    rows = [(source, target, *value) for (source, target), value in plain.connections.items()]
    random.shuffle(rows)
    free = plain.order[plain.n_inputs :]
    options = {
        "bias": {node: plain.bias[node] for node in free},
        "activation": {node: plain.activation[node] for node in free},
        "delayed": (row[3] for row in rows) if plain.recurrent else None,
        "seed": 5,
    }
    net = Network.from_connections(plain.n_inputs, plain.n_outputs, (row[:3] for row in rows), **options)
    forward = [pair for pair, (_, late) in plain.connections.items() if not late]
    order = o.import_order(plain.n_inputs, plain.n_outputs, plain.hidden, forward)
    bridge.assert_same(net, o.replace(plain, order=order))
    options["delayed"] = [row[3] for row in rows] if plain.recurrent else None
    columns = [list(column) for column in zip(*rows, strict=True)][:3] if rows else [[], [], []]
    for made in (tuple(columns), tuple(np.array(column) for column in columns)):
        assert net.equals(Network.from_connections(plain.n_inputs, plain.n_outputs, made, **options))


def test_scalars_and_defaults():
    rows = [(0, 4, 1.0), (4, 2, 2.0), (1, 3, -1.0)]
    net = Network.from_connections(2, 2, rows, seed=9)
    assert net.nodes.activation.tolist() == ["identity", "identity", "tanh", "tanh", "tanh"]
    assert not net.nodes.bias.any() and net.seed == 9 and net.default_activation == "tanh"
    net = Network.from_connections(2, 2, rows, bias=0.5, activation="relu")
    assert net.nodes.bias.tolist() == [0, 0, 0.5, 0.5, 0.5]
    assert net.nodes.activation.tolist() == ["identity"] * 2 + ["relu"] * 3 and net.default_activation == "relu"
    net = Network.from_connections(2, 2, rows, bias={3: 1}, activation={4: "sin"})
    assert net.nodes.bias.tolist() == [0, 0, 0, 0, 1]
    assert net.nodes.activation.tolist() == ["identity", "identity", "sin", "tanh", "tanh"]


def test_a_hidden_id_that_is_named_exists():
    net = Network.from_connections(1, 1, [], bias={5: 2.0}, activation={3: "sin"})
    assert net.nodes.id.tolist() == [0, 3, 5, 1] and len(net.connections) == 0
    assert net.nodes.bias.tolist() == [0, 0, 2.0, 0]


def test_numbers_of_any_kind():
    rows = [(np.int32(0), np.uint8(2), np.float32(0.5)), (1.0, 2, 1)]
    net = Network.from_connections(2, 1, rows)
    assert net.connections.source.tolist() == [0, 1] and net.connections.weight.tolist() == [0.5, 1.0]


def test_arrays_are_copied_and_stay_writable():
    columns = np.array([0, 1]), np.array([2, 2]), np.array([1.0, 2.0])
    net = Network.from_connections(2, 1, columns, delayed=(flags := np.array([True, False])))
    for column in (*columns, flags):
        column[:] = 0
    assert net.connections.source.tolist() == [0, 1] and net.connections.weight.tolist() == [1.0, 2.0]
    assert net.connections.delayed.tolist() == [True, False]


FINE = [(0, 2, 1.0), (1, 2, 1.0)]


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ([(0, 5, 1.0), (5, 6, 1.0), (6, 5, 1.0)], {}, ValueError, "close a cycle, got (5 -> 6 -> 5|6 -> 5 -> 6):"),
        ([(5, 5, 1.0)], {}, ValueError, "a forward connection must join two nodes, got 5 -> 5: use net.as_recurrent"),
        ([(5, 5, 1.0)], {"delayed": [False]}, ValueError, "must join two nodes, got 5 -> 5: mark it delayed"),
        ([(0, 2, 1.0), (1, 2, 1.0), (0, 2, 2.0)], {}, ValueError, "at most one connection, got a second one 0 -> 2"),
        ([(0, 1, 1.0)], {}, ValueError, "must not lead into an input, got 0 -> 1"),
        ([(0, 1, 1.0)], {"delayed": [True]}, ValueError, "must not lead into an input, got 0 -> 1"),
        ([(2, 5, 1.0)], {}, ValueError, "must not leave an output, got 2 -> 5: use net.as_recurrent"),
        ([(2, 5, 1.0)], {"delayed": [False]}, ValueError, "must not leave an output, got 2 -> 5: mark it delayed"),
        ([(0, 2, np.nan)], {}, ValueError, "weights must be finite, got nan for connection 0 -> 2"),
        ([(0, 2, -np.inf)], {}, ValueError, "weights must be finite, got -inf for connection 0 -> 2"),
        (FINE, {"activation": "tahn"}, ValueError, "did you mean 'tanh'"),
        (FINE, {"activation": {2: "tahn"}}, ValueError, "did you mean 'tanh'"),
        (FINE, {"activation": {0: "tanh"}}, ValueError, "activation must name hidden nodes and outputs, got the inp"),
        (FINE, {"activation": 3}, TypeError, "activation must be a name or a mapping of id to name, got int"),
        (FINE, {"bias": {1: 1.0}}, ValueError, "bias must name hidden nodes and outputs, got the input 1"),
        (FINE, {"bias": {2: np.inf}}, ValueError, "bias of node 2 must be finite, got inf"),
        (FINE, {"bias": np.nan}, ValueError, "bias must be finite, got nan"),
        (FINE, {"bias": {"a": 1.0}}, TypeError, "an id must be an integer, got an array of <U1"),
        (FINE, {"bias": [1.0, 2.0, 3.0]}, TypeError, "bias must be a number or a mapping of id to number, got list"),
        (FINE, {"bias": "x"}, TypeError, "bias must be a number, got 'x'"),
        (FINE, {"bias": {2: "x"}}, TypeError, "bias of node 2 must be a number, got 'x'"),
        ([(0, 2, "x")], {}, TypeError, r"weights must be numbers, got \('x',\)"),
        (FINE, {"delayed": [True]}, ValueError, "delayed must have one entry for each of 2 connections, got 1"),
        ([(0, 2)], {}, ValueError, r"must be \(source_id, target_id, weight\), got \(0, 2\) at index 0"),
        ([(0, 2, 1.0), (1, 2, 1.0, True)], {}, ValueError, r"got \(1, 2, 1.0, True\) at index 1"),
        ([(0.5, 2, 1.0)], {}, TypeError, "a source id must be an integer, got an array of float64"),
        ([("a", 2, 1.0)], {}, TypeError, "a source id must be an integer, got an array of <U1"),
        ([(0, 2**70, 1.0)], {}, TypeError, "a target id must be an integer, got an array of object"),
        ([(0, np.nan, 1.0)], {}, TypeError, "a target id must be an integer"),
        ([(-1, 2, 1.0)], {}, ValueError, "node ids must be at least 0, got -1"),
        ((np.array([0]), np.array([2, 2]), np.array([1.0])), {}, ValueError, "columns of connections must have one"),
        ((np.array([[0]]), np.array([[2]]), np.array([[1.0]])), {}, ValueError, "columns of connections must have one"),
        (FINE, {"seed": "a"}, TypeError, "seed must be None, an integer or a numpy.random.Generator, got str"),
    ],
)  # fmt: skip
def test_from_connections_refuses(rows, options, error, message):
    with pytest.raises(error, match=message) as raised:
        Network.from_connections(2, 1, rows, **options)
    bridge.assert_one_sentence(raised)


@pytest.mark.parametrize(("n_inputs", "n_outputs"), [(0, 1), (1, 0), (-1, 1)])
def test_from_connections_needs_both_ends(n_inputs, n_outputs):
    with pytest.raises(ValueError, match="must be at least 1, got"):
        Network.from_connections(n_inputs, n_outputs, [])
