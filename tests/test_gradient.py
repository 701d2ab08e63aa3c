"""Exact gradients: against the oracle's reverse mode, central differences and torch, for one row to many tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import bridge
import oracles as o
import strategies as s
from neuroprune import Network, register_activation
from neuroprune.network import gradient, losses, run

CONTINUOUS = tuple(name for name in s.ANY if name not in ("step", "bipolar"))


def by_oracle(plain, x, t, loss):
    """The oracle's gradients as columns (E,), (N,)."""
    weights, biases = o.gradient(plain, x, t, loss)
    return list(weights.values()), [biases.get(node, 0.0) for node in plain.order]


def assert_gradient(net, plain, x, t, loss, **close):
    got, wanted = net.gradient(x, t, loss), by_oracle(plain, x, t, loss)
    for mine, theirs in zip(got, wanted, strict=True):
        size = max((abs(value) for value in theirs), default=0.0)
        assert_allclose(mine, theirs, rtol=close.get("rtol", 1e-9), atol=close.get("atol", 1e-10) * (1 + size))
    assert not got[1][: plain.n_inputs].any()


@given(s.networks(activations=CONTINUOUS, scale=1.5), st.sampled_from(o.LOSSES), st.data())
def test_gradient_equals_the_reverse_mode_of_the_oracle(plain, loss, data):
    """Acyclic networks on rows, recurrent ones through time."""
    x, t = data.draw(s.batches(plain, loss))
    net = bridge.network(plain)
    before = bridge.snapshot(net)
    assert_gradient(net, plain, x, t, loss)
    assert bridge.snapshot(net) == before


@given(s.networks(activations=s.GENTLE, max_hidden=4, max_inputs=3, max_outputs=3, scale=1.0),
       st.sampled_from([loss for loss in o.LOSSES if loss not in ("mae", "hinge")]), st.data())  # fmt: skip
def test_gradient_equals_central_differences(plain, loss, data):
    x, t = data.draw(s.batches(plain, loss))
    net, step = bridge.network(plain), 1e-5
    exact = np.concatenate([column[first:] for column, first in zip(net.gradient(x, t, loss), (0, plain.n_inputs),
                                                                    strict=True)])  # fmt: skip
    numeric, parameters = [], net.parameters
    for index in range(parameters.size):
        moved = []
        for sign in (1, -1):
            net.parameters = parameters + sign * step * (np.arange(parameters.size) == index)
            moved.append(cost(net, x, t, loss))
        numeric.append((moved[0] - moved[1]) / (2 * step))
    assert_allclose(exact, numeric, rtol=1e-4, atol=1e-7)


def cost(net, x, t, loss):
    """Mean loss of a batch by the public calls."""
    net.reset()
    return losses.value(loss, net.run(x) if net.graph.recurrent else net(x), t)


@pytest.mark.parametrize("name", o.SMOOTH)
@pytest.mark.parametrize("recurrent", [False, True])
def test_every_smooth_activation_by_central_differences(name, recurrent):
    rows = [(0, 3, 0.7), (1, 3, -0.4), (3, 4, 0.9), (0, 4, -0.3), (4, 2, 0.8), (3, 2, 0.5), (1, 2, 0.2)]
    late = [(3, 3, 0.3), (2, 4, -0.2), (0, 2, 0.1)] if recurrent else []
    net = Network.from_connections(
        2, 1, rows + late, bias=0.1, activation=name, delayed=[False] * 7 + [True] * 3 if recurrent else None
    )
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3, 4, 2) if recurrent else (5, 2))
    t = rng.uniform(-1, 1, (*x.shape[:-1], 1))
    exact, parameters = net.gradient(x, t), net.parameters
    for index, slope in enumerate(np.concatenate([exact[0], exact[1][2:]])):
        moved = []
        for sign in (1, -1):
            net.parameters = parameters + sign * 1e-5 * (np.arange(parameters.size) == index)
            moved.append(cost(net, x, t, "mse"))
        assert_allclose((moved[0] - moved[1]) / 2e-5, slope, rtol=1e-6, atol=1e-8)
        net.parameters = parameters


@pytest.mark.parametrize("name", sorted(o.KINKS))
def test_activations_with_kinks_away_from_them(name):
    net = Network.from_connections(1, 1, [(0, 2, 1.3), (2, 1, 0.7)], bias=0.2, activation=name)
    x = np.array([[-3.0], [-0.9], [-0.31], [0.33], [0.58], [2.0]])
    assert_gradient(net, bridge.plain(net), x, np.full_like(x, 0.4), "mse")


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("loss", ["mse", "softmax_cross_entropy"])
def test_one_to_forty_rows(recurrent, loss):
    """Tiles that are full, padded, and several; the gradient of many is the mean of those of each."""
    net = Network.random(3, 2, 4, 22, recurrent=recurrent, seed=1)
    plain, rng = bridge.plain(net), np.random.default_rng(0)
    x = rng.normal(size=(40, 2, 3) if recurrent else (40, 3))
    t = rng.integers(0, 2, x.shape[:-1]) if loss.startswith("softmax") else rng.normal(size=(*x.shape[:-1], 2))
    singles = [net.gradient(x[i : i + 1], t[i : i + 1], loss) for i in range(40)]
    for rows in range(1, 41):
        got = net.gradient(x[:rows], t[:rows], loss)
        for part in (0, 1):
            assert_allclose(got[part], np.mean([one[part] for one in singles[:rows]], 0), rtol=1e-11, atol=1e-14)
    assert_gradient(net, plain, x[:17], t[:17], loss)


def test_the_size_of_a_tile_changes_little(monkeypatch):
    net = Network.random(3, 2, 10, 60, seed=1)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(100, 3)), rng.normal(size=(100, 2))
    wanted = net.gradient(x, t)
    for stride in (16, 32, 112, 128):
        monkeypatch.setattr(run, "tile_stride", lambda n_nodes, blocks, rows, stride=stride: stride)
        for mine, theirs in zip(net.gradient(x, t), wanted, strict=True):
            assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


def test_every_call_gives_the_same_bits():
    net = Network.random(3, 2, 10, 60, seed=1)
    x, t = np.ones((70, 3)), np.zeros((70, 2))
    first = net.gradient(x, t)
    assert all(np.array_equal(a, b) for _ in range(3) for a, b in zip(first, net.gradient(x, t), strict=True))


@given(s.networks(activations=("step", "bipolar", "identity", "tanh")), st.data())
def test_gradients_stop_at_steps(plain, data):
    x, t = data.draw(s.batches(plain, "mse"))
    flat = [node for node in plain.order if plain.activation[node] in ("step", "bipolar")]
    weight, bias = bridge.network(plain).gradient(x, t)
    for (_, target), slope in zip(plain.stored, weight, strict=True):
        assert slope == 0 or target not in flat
    assert all(bias[plain.order.index(node)] == 0 for node in flat)


def test_a_registered_activation_has_its_slope():
    register_activation("test_gradient_cubic", lambda x: x * x * x, lambda x: 3 * x * x)
    net = Network.from_connections(1, 1, [(0, 1, 2.0)], activation="test_gradient_cubic")
    weight, bias = net.gradient([[1.5]], [[0.0]])
    assert_allclose([weight[0], bias[1]], [2 * 27 * 27 * 1.5, 2 * 27 * 27], rtol=1e-14)


def test_truncated_by_the_given_sequence():
    """Sequences start from rest, whatever the network's state is."""
    net = Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, 0.5)], delayed=[False, True], activation="identity")
    net.run(np.full((7, 1), 9.0))
    weight, bias = net.gradient([[[1.0], [1.0]]], [[[0.0], [0.0]]])
    # y = 1, 1.5 with slopes 2 y / 2: w_in: 1 (1) + 1.5 (1 + 0.5); w_back: 1.5 (1); bias as w_in
    assert weight.tolist() == [1.0 + 1.5 * 1.5, 1.5] and bias.tolist() == [0.0, 1.0 + 1.5 * 1.5]


def test_against_torch(torch):
    rng = np.random.default_rng(5)
    net = Network.dense([4, 8, 8, 3], activation="tanh", seed=0)
    net.nodes.bias[4:] = rng.normal(size=19)
    x, labels = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    w, b = torch.tensor(net.connections.weight, requires_grad=True), torch.tensor(net.nodes.bias, requires_grad=True)
    h = torch.tanh(torch.tensor(x) @ w[:32].reshape(8, 4).T + b[4:12])
    h = torch.tanh(h @ w[32:96].reshape(8, 8).T + b[12:20])
    out = h @ w[96:].reshape(3, 8).T + b[20:]
    torch.nn.functional.cross_entropy(out, torch.tensor(labels)).backward()
    weight, bias = net.gradient(x, labels, "softmax_cross_entropy")
    assert_allclose(weight, w.grad, rtol=1e-10, atol=1e-15)
    assert_allclose(bias, b.grad, rtol=1e-10, atol=1e-15)


# ---------------------------------------------------------------- connections that are not there


@given(s.networks(activations=CONTINUOUS, scale=1.0, max_hidden=6), st.sampled_from(o.LOSSES), st.data())
def test_products_of_all_pairs_equal_the_oracle(plain, loss, data):
    x, t = data.draw(s.batches(plain, loss))
    net, place = bridge.network(plain), o.positions(plain)
    deltas = gradient.Deltas(net, x, t, loss)
    n = len(plain.order)
    cut = data.draw(st.integers(0, n))
    parts = [deltas.products(first, last) for first, last in ((0, cut), (cut, n))]
    present, previous = (np.concatenate(part) for part in zip(*parts, strict=True))
    slots = o.legal_slots(plain)
    wanted = o.absent_gradient(plain, x, t, loss, slots)
    got = [abs((previous if late else present)[place[b], place[a]]) for a, b, late in slots]
    assert_allclose(got, wanted, rtol=1e-9, atol=1e-10 * (1 + max(wanted)))


def test_products_in_small_portions(monkeypatch):
    net = Network.random(3, 2, 4, 20, recurrent=True, seed=0)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(50, 3, 3)), rng.normal(size=(50, 3, 2))
    wanted = gradient.Deltas(net, x, t, "mse").products(3, 9)
    monkeypatch.setattr(gradient, "DELTAS_BUFFER", 1)
    for mine, theirs in zip(gradient.Deltas(net, x, t, "mse").products(3, 9), wanted, strict=True):
        assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


# ---------------------------------------------------------------- what is refused


def test_nothing_has_no_gradient():
    net = Network.dense([3, 2], seed=0)
    for column in net.gradient(np.zeros((0, 3)), np.zeros((0, 2))):
        assert not column.any()
    empty = Network.from_connections(1, 1, [], activation="identity")
    weight, bias = empty.gradient([[1.0]], [[2.0]])
    assert weight.size == 0 and bias.tolist() == [0.0, -4.0]
    recurrent = Network.random(2, 1, 2, 6, recurrent=True, seed=0)
    for shape in ((0, 4, 2), (4, 0, 2)):
        for column in recurrent.gradient(np.zeros(shape), np.zeros((*shape[:-1], 1))):
            assert not column.any()


@pytest.mark.parametrize(
    ("recurrent", "x", "y", "loss", "error", "message"),
    [
        (False, np.zeros(2), np.zeros(1), "mse", ValueError, r"x must have shape \(rows, 2\), got \(2,\)"),
        (False, np.zeros((4, 3)), np.zeros((4, 1)), "mse", ValueError, r"x must have shape \(rows, 2\), got \(4, 3\)"),
        (True, np.zeros((4, 2)), np.zeros((4, 1)), "mse", ValueError, r"shape \(sequences, steps, 2\), got \(4, 2\)"),
        (False, np.zeros((4, 2)), np.zeros((3, 1)), "mse", ValueError, r"y must have shape \(4, 1\), got \(3, 1\)"),
        (True, np.zeros((4, 3, 2)), np.zeros((4, 2, 1)), "mse", ValueError, r"shape \(4, 3, 1\), got \(4, 2, 1\)"),
        (False, [[0.0, np.nan]], [[0.0]], "mse", ValueError, r"x must be finite, got nan at index \(0, 1\)"),
        (False, [[0.0, 1.0]], [[np.inf]], "mse", ValueError, r"y must be finite, got inf at index \(0, 0\)"),
        (False, [["a", 1.0]], [[1.0]], "mse", TypeError, "x must be numbers, got"),
        (False, [[0.0, 1.0]], [[1.0]], "msee", ValueError, "did you mean 'mse'"),
    ],
)
def test_refused(recurrent, x, y, loss, error, message):
    net = Network.random(2, 1, 2, 6, recurrent=recurrent, seed=0)
    before = bridge.snapshot(net)
    with pytest.raises(error, match=message) as raised:
        net.gradient(x, y, loss)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before


def test_sequences_that_would_not_fit_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr(gradient, "MAX_BUFFER", 16 * 5 * 10)
    net = Network.random(2, 1, 2, 6, recurrent=True, seed=0)
    net.gradient(np.zeros((1, 9, 2)), np.zeros((1, 9, 1)))
    with pytest.raises(ValueError, match="steps must be at most 9 for 5 nodes.*got 10: cut the sequences") as raised:
        net.gradient(np.zeros((1, 10, 2)), np.zeros((1, 10, 1)))
    bridge.assert_one_sentence(raised)
