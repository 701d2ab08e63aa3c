"""Signals computed on data: against row-by-row twins, on graphs and on the dense matrices of the same network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import bridge
import neuroprune as npr
import oracle_network_signals as twin
import oracles as o
import strategies as s
from neuroprune import Network, PruningSchedule, masks
from neuroprune.network import signals
from neuroprune.pruning import saliency

BOUNDED = ("tanh", "sigmoid", "sin", "gaussian", "softsign")
CURVED = ("mse", "binary_cross_entropy", "softmax_cross_entropy")  # losses with a second derivative
calm = s.networks(activations=BOUNDED, max_hidden=5, scale=1.5)


def column(values):
    return np.array([*values.values()], float)


def data(rows=12, inputs=4, outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, inputs)), rng.normal(size=(rows, outputs))


# ---------------------------------------------------------------- against the twins


@given(calm, st.booleans(), st.data())
def test_input_norm(plain, small_tiles, lot):
    x, _ = lot.draw(s.batches(plain, "mse"))
    net = bridge.network(plain)
    if plain.recurrent:
        net(np.ones((2, plain.n_inputs)))
    before = bridge.snapshot(net)
    with pytest.MonkeyPatch.context() as patch:
        if small_tiles:
            patch.setattr(signals, "tile_stride", lambda nodes, blocks, rows: 16)
            x = np.concatenate([x] * (17 // len(x) + 1))
        found = net.signals("wanda", x)
    assert list(found) == ["input_norm"] and found["input_norm"].dtype == np.float64
    assert_allclose(found["input_norm"], column(twin.input_norm(plain, x)), rtol=1e-11, atol=1e-13)
    assert bridge.snapshot(net) == before  # the state of a recurrent network is neither read nor changed


@given(calm, st.sampled_from((0.01, 1.0, 1e-3)), st.data())
def test_inverse_hessian_diagonal(plain, damping, lot):
    x, _ = lot.draw(s.batches(plain, "mse"))
    net = bridge.network(plain)
    before = bridge.snapshot(net)
    found = net.signals("obs_diagonal", x, damping=damping)
    wanted = column(twin.inverse_hessian_diagonal(plain, x, damping))
    assert list(found) == ["inverse_hessian_diagonal"]
    assert_allclose(found["inverse_hessian_diagonal"], wanted, rtol=1e-7)
    assert bridge.snapshot(net) == before


def test_a_node_that_reads_only_zeros_has_a_hessian_that_inverts():
    net = Network.from_connections(2, 1, [(0, 2, 1.0), (1, 2, 2.0)])
    found = net.signals("obs_diagonal", np.zeros((3, 2)))["inverse_hessian_diagonal"]
    assert found[0] == found[1] > 0 and np.isfinite(found).all()
    assert npr.score("obs_diagonal", net.connections.weight, inverse_hessian_diagonal=found).tolist() == \
        (np.array([1.0, 4.0]) / found).tolist()


def test_nodes_that_read_the_same_have_the_same_hessian():
    net, (x, _) = Network.dense([4, 5, 3], seed=0), data()
    first = net.signals("obs_diagonal", x)["inverse_hessian_diagonal"][:20].reshape(5, 4)
    assert (first == first[0]).all()


@given(calm, st.sampled_from(o.LOSSES), st.data())
def test_gradient_and_squared_gradient(plain, loss, lot):
    x, t = lot.draw(s.batches(plain, loss))
    net = bridge.network(plain)
    before = bridge.snapshot(net)
    wanted = column(o.gradient(plain, x, t, loss)[0])
    for method in ("snip", "taylor", "gradient"):
        found = net.signals(method, x, t, loss)
        assert list(found) == ["gradient"]
        assert_allclose(found["gradient"], wanted, rtol=1e-9, atol=1e-11)
    found = net.signals("fisher", x, t, loss)
    assert list(found) == ["squared_gradient"]
    assert_allclose(found["squared_gradient"], column(twin.squared_gradient(plain, x, t, loss)), rtol=1e-9, atol=1e-12)
    assert bridge.snapshot(net) == before


@given(s.networks(activations=BOUNDED, max_inputs=3, max_outputs=2, max_hidden=3, scale=1.0),
       st.sampled_from(CURVED), st.data())  # fmt: skip
def test_hessian_gradient(plain, loss, lot):
    x, t = lot.draw(s.batches(plain, loss))
    net = bridge.network(plain)
    before = bridge.snapshot(net)
    found = net.signals("grasp", x, t, loss)
    wanted = column(twin.hessian_gradient(plain, x, t, loss))
    assert list(found) == ["hessian_gradient"]
    assert_allclose(found["hessian_gradient"], wanted, rtol=1e-5, atol=1e-6 * (1e-3 + np.abs(wanted).max(initial=0.0)))
    assert bridge.snapshot(net) == before


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_hessian_gradient_of_a_quadratic_is_exact_at_any_scale(scale):
    x, t = data(30)
    net = Network.dense([4, 3], activation="identity", seed=0)
    net.connections.weight *= scale
    second = 2 * x.T @ x / t.size  # of the mean squared error of one output, over rows and outputs
    slopes = net.gradient(x, t)[0].reshape(3, 4)
    found = net.signals("grasp", x, t)["hessian_gradient"].reshape(3, 4)
    assert_allclose(found, slopes @ second, rtol=1e-5, atol=1e-7 * np.abs(found).max())


def test_hessian_gradient_where_the_gradient_is_zero():
    net = Network.dense([4, 3], activation="identity", seed=0)
    x, _ = data()
    assert net.signals("grasp", x, net(x))["hessian_gradient"].tolist() == [0.0] * 12


@given(s.networks())
def test_flow_gradient(plain):
    """Needs no data; neither activations, biases nor signs change the flow, and delayed connections carry nothing."""
    net = bridge.network(plain)
    before = bridge.snapshot(net)
    found = net.signals("synflow")
    wanted = column(twin.flow_gradient(plain))
    assert list(found) == ["gradient"]
    assert_allclose(found["gradient"], wanted, rtol=1e-10, atol=1e-12 * (1 + np.abs(wanted).max(initial=0.0)))
    assert bridge.snapshot(net) == before
    for (_, late), slope in zip((plain.connections[pair] for pair in plain.stored), found["gradient"], strict=True):
        assert not (late and slope)


@given(s.networks(recurrent=False, scale=1.0).filter(lambda plain: plain.connections))
def test_flow_is_conserved(plain):
    """What enters a hidden node leaves it (Tanaka et al. 2020, theorem 1)."""
    net = bridge.network(plain)
    scores = npr.score("synflow", net.connections.weight, **net.signals("synflow"))
    into, out_of = (np.bincount(place, scores, net.graph.n_nodes) for place in (net.graph.target, net.graph.source))
    assert_allclose(into[plain.n_inputs : -plain.n_outputs], out_of[plain.n_inputs : -plain.n_outputs],
                    rtol=1e-9, atol=1e-9 * (1 + scores.max()))  # fmt: skip


# ---------------------------------------------------------------- a network and its dense matrices


@pytest.fixture(params=[1.0, 0.5])
def layered(request):
    """A network of three layers, whole or half pruned, and data for it."""
    net = Network.dense([4, 6, 5, 3], seed=0)
    net.nodes.bias[4:] = np.random.default_rng(1).normal(size=14)
    net.keep(np.random.default_rng(2).random(len(net.connections)) < request.param)
    return net, *data()


def flat(matrices, present):
    """What is present in all matrices, in storage order."""
    return np.concatenate([matrix[mask] for matrix, mask in zip(matrices, present, strict=True)])


def dense_signals(net, method, x, t):
    """The signal of each matrix, computed without any graph."""
    weights, present, biases = twin.matrices(net)
    if method == "wanda":
        norms = [np.sqrt((values**2).sum(axis=0)) for values in twin.dense_values(weights, biases, x)]
        return [{"input_norm": norm} for norm in norms[:-1]]
    if method == "obs_diagonal":
        found = zip(twin.dense_inverse_diagonals(weights, present, biases, x), present, strict=True)
        return [{"inverse_hessian_diagonal": np.where(mask, one, 1.0)} for one, mask in found]
    if method == "synflow":
        return [{"gradient": one} for one in twin.dense_flow_gradient(weights)]
    if method == "fisher":
        return [{"squared_gradient": one} for one in twin.dense_squared_gradient(weights, biases, x, t)]
    if method == "grasp":
        slopes = [one * mask for one, mask in zip(twin.dense_gradient(weights, biases, x, t)[0], present, strict=True)]

        def gradient(step):
            there = [weight + step * slope for weight, slope in zip(weights, slopes, strict=True)]
            return twin.dense_gradient(there, biases, x, t)[0]

        pairs = zip(gradient(1e-4), gradient(-1e-4), strict=True)
        return [{"hessian_gradient": (ahead - behind) / 2e-4} for ahead, behind in pairs]
    return [{"gradient": one} for one in twin.dense_gradient(weights, biases, x, t)[0]]


@pytest.mark.parametrize(
    "method", ["wanda", "obs_diagonal", "synflow", "fisher", "grasp", "snip", "taylor", "gradient"]
)
def test_a_graph_and_its_matrices_score_and_prune_the_same(method, layered):
    net, x, t = layered
    weights, present, _ = twin.matrices(net)
    given = dense_signals(net, method, x, t)
    scores = [npr.score(method, weight, **one) for weight, one in zip(weights, given, strict=True)]
    found = npr.score(method, net.connections.weight, **net.signals(method, x, t))
    assert_allclose(found, flat(scores, present), rtol=1e-6, atol=1e-7 * np.abs(found).max())
    kept = masks.sparse(flat(scores, present), 0.6)
    result = net.prune_to_sparsity(0.6, method, **net.signals(method, x, t))
    assert result.kept.tolist() == kept.tolist()


def test_wanda_inside_each_output_row_is_groups_by_target(layered):
    net, x, _ = layered
    weights, present, _ = twin.matrices(net)
    scores = npr.score("wanda", net.connections.weight, **net.signals("wanda", x))
    kept = masks.sparse(scores, 0.5, groups=net.graph.target)
    rows = [scores_of[mask] for weight, there, given in zip(weights, present, dense_signals(net, "wanda", x, None),
                                                            strict=True)
            for scores_of, mask in zip(npr.score("wanda", weight, **given), there, strict=True)]  # fmt: skip
    assert kept.tolist() == [on for row in rows for on in o.sparse(row.tolist(), 0.5)]


# ---------------------------------------------------------------- who asks, and how


def test_in_a_schedule():
    net, (x, t) = Network.dense([4, 6, 3], seed=0), data()
    net.pruning = PruningSchedule(0.5, 2, 2, method="wanda", signals=lambda net: net.signals("wanda", x))
    copy = net.copy()
    net.train(x, t, 3, 0.01, "sgd")
    copy.train(x, t, 1, 0.01, "sgd")
    kept = masks.sparse(npr.score("wanda", copy.connections.weight, **copy.signals("wanda", x)), 0.5)
    assert len(net.connections) == 21
    assert [pair for pair, on in zip(bridge.plain(copy).stored, kept, strict=True) if on] == bridge.plain(net).stored


@given(calm, st.data())
def test_the_order_of_rows_and_their_number_of_copies(plain, lot):
    """Norms add up over rows whatever their order; means do not change when every row comes twice."""
    x, t = lot.draw(s.batches(plain, "mse"))
    net, order = bridge.network(plain), np.random.default_rng(0).permutation(len(x))
    for method, factor in (("wanda", np.sqrt(2)), ("fisher", 1.0), ("obs_diagonal", 1.0), ("snip", 1.0)):
        (once,) = net.signals(method, x, t).values()
        (moved,) = net.signals(method, x[order], t[order]).values()
        (twice,) = net.signals(method, np.concatenate([x, x]), np.concatenate([t, t])).values()
        if method == "obs_diagonal" and once.max(initial=0.0) > 1e8:
            continue
        assert_allclose(moved, once, rtol=1e-6, atol=1e-12)
        assert_allclose(twice, factor * once, rtol=1e-6, atol=1e-12)


def test_what_a_function_requires_is_computed():
    def blend(weight, *, gradient, input_norm, strength=1.0):
        return abs(weight * gradient) + strength * input_norm

    net, (x, t) = Network.dense([4, 3], seed=0), data()
    found = net.signals(blend, x, t)
    assert set(found) == {"gradient", "input_norm"}
    assert_allclose(found["gradient"], net.gradient(x, t)[0], rtol=1e-12)
    assert net.prune_to_sparsity(0.5, blend, **found).scores.tolist() == blend(
        Network.dense([4, 3], seed=0).connections.weight, **found).tolist()  # fmt: skip


@pytest.mark.parametrize("method", ["magnitude", "magnitude_l2", "random", lambda weight: weight, saliency.magnitude])
def test_what_needs_nothing_gets_nothing(method):
    net = Network.dense([4, 3], seed=0)
    state = net.rng_state
    assert net.signals(method) == net.signals(method, *data()) == {} and net.rng_state == state


@pytest.mark.parametrize("loss", o.LOSSES)
def test_targets_as_training_takes_them(loss):
    """Integer classes and lists; a network with one output takes a flat list."""
    net, (x, _) = Network.dense([4, 3], seed=0), data()
    labels = np.arange(12) % 3
    t = {"softmax_cross_entropy": labels, "hinge": np.eye(3)[labels] * 2 - 1}.get(loss, np.eye(3)[labels])
    for method in ("snip", "fisher", "grasp"):
        (found,) = net.signals(method, x.tolist(), t.tolist(), loss=loss).values()
        assert found.shape == (12,) and np.isfinite(found).all()
    single = Network.dense([4, 1], seed=0)
    (flat_targets,), (rows,) = (single.signals("fisher", x, one).values() for one in (x[:, 0], x[:, :1]))
    assert flat_targets.tolist() == rows.tolist()


def test_a_network_without_connections():
    acyclic, recurrent = Network.from_connections(2, 1, []), Network.random(2, 1, 1, 0, recurrent=True)
    for bare, lead in ((acyclic, (3,)), (recurrent, (3, 2))):
        for method in ("wanda", "obs_diagonal", "snip", "fisher", "grasp", "synflow"):
            (found,) = bare.signals(method, np.ones((*lead, 2)), np.ones((*lead, 1))).values()
            assert found.shape == (0,)


def test_no_rows():
    net = Network.dense([4, 3], seed=0)
    assert net.signals("wanda", np.zeros((0, 4)))["input_norm"].tolist() == [0.0] * 12
    with pytest.raises(ValueError, match="x must have at least one row") as raised:
        net.signals("obs_diagonal", np.zeros((0, 4)))
    bridge.assert_one_sentence(raised)


X, T = data()
BAD = [
    (("wanda",), {}, ValueError, "signal 'input_norm' needs data, got none: pass x"),
    (("snip", X), {}, ValueError, "signal 'gradient' needs targets, got none: pass y"),
    (("fisher", X), {}, ValueError, "signal 'squared_gradient' needs targets, got none: pass y"),
    (("grasp", X), {}, ValueError, "signal 'hessian_gradient' needs targets"),
    (("movement", X, T), {}, ValueError, "'movement' must come from training or from you.*pass movement="),
    ((lambda weight, *, age: age, X, T), {}, ValueError, "'age' must come from training or from you.*pass age="),
    (("wnda", X), {}, ValueError, "did you mean 'wanda'"),
    ((None, X), {}, TypeError, "method must be"),
    (("wanda", X[:, :2]), {}, ValueError, r"x must have shape \(rows, 4\), got \(12, 2\)"),
    (("wanda", X[0]), {}, ValueError, r"x must have shape \(rows, 4\), got \(4,\)"),
    (("wanda", np.where(X > 1, np.nan, X)), {}, ValueError, "x must be finite, got nan at index"),
    (("wanda", "rows"), {}, (TypeError, ValueError), "x must"),
    (("fisher", X, T[:5]), {}, ValueError, r"y must have shape \(12, 3\)"),
    (("grasp", X, T), {"loss": "mes"}, ValueError, "did you mean 'mse'"),
    (("obs_diagonal", X), {"damping": 0.0}, ValueError, "damping must be positive, got 0.0"),
    (("obs_diagonal", X), {"damping": -1}, ValueError, "damping must be positive, got -1"),
    (("obs_diagonal", X), {"damping": np.nan}, ValueError, "damping must be finite, got nan"),
    (("obs_diagonal", X), {"damping": "much"}, TypeError, "damping must be a number, got 'much'"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD)
def test_wrong_arguments_are_refused(arguments, options, error, message):
    net = Network.dense([4, 3], seed=0)
    before = bridge.snapshot(net)
    with pytest.raises(error, match=message) as raised:
        net.signals(*arguments, **options)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before
