"""The scalar formulas: against golden numbers, central differences, scipy and torch."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import log_softmax
from scipy.special import softmax as softmax_of

import oracles as o
import strategies as s

TABLE = o.golden("activations")


@pytest.mark.parametrize("name", TABLE["functions"])
def test_activation_equals_golden_value_and_derivative(name):
    ours = o.golden_name(name)
    assert_allclose([o.VALUE[ours](x) for x in TABLE["x"]], TABLE["functions"][name]["y"], rtol=1e-13, atol=5e-15)
    assert_allclose([o.DERIVATIVE[ours](x) for x in TABLE["x"]], TABLE["functions"][name]["dy"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", o.VALUE)
@given(x=st.floats(-30, 30))
def test_derivative_is_the_slope(name, x):
    assume(all(abs(x - kink) > 1e-3 for kink in o.KINKS.get(name, ())))
    slope = (o.VALUE[name](x + 1e-5) - o.VALUE[name](x - 1e-5)) / 2e-5
    assert math.isclose(o.DERIVATIVE[name](x), slope, rel_tol=1e-4, abs_tol=1e-4)


@pytest.mark.parametrize("name", o.SMOOTH)
def test_smooth_derivatives_are_continuous(name):
    for x in np.linspace(-3, 3, 61).tolist():
        assert abs(o.DERIVATIVE[name](x + 1e-9) - o.DERIVATIVE[name](x - 1e-9)) < 1e-7


def test_activations_against_torch(torch):
    f = torch.nn.functional
    peers = {"leaky_relu": f.leaky_relu, "elu": f.elu, "cos": torch.cos, "square": torch.square, "sin": torch.sin}
    peers |= {"mish": f.mish, "selu": f.selu, "swish": f.silu, "softplus": f.softplus, "tanh": torch.tanh}
    peers |= {"gelu": lambda x: f.gelu(x, approximate="tanh"), "hard_tanh": f.hardtanh, "clamp": f.hardtanh}
    for name, peer in peers.items():
        x = torch.linspace(-7.03, 7.01, 101, dtype=torch.float64, requires_grad=True)
        y = peer(x)
        y.sum().backward()
        assert_allclose([o.VALUE[name](v) for v in x.tolist()], y.tolist(), rtol=1e-8, atol=1e-12, err_msg=name)
        slopes = [o.DERIVATIVE[name](v) for v in x.tolist()]
        assert_allclose(slopes, x.grad.tolist(), rtol=1e-8, atol=1e-12, err_msg=name)


def test_losses_equal_golden_costs():
    costs = o.golden("costs")
    table = costs["functions"]
    for index, (t, y) in enumerate(costs["pairs"]):
        for name in ("mse", "mae", "hinge"):
            assert_allclose(o.loss_value(name, [y], [t]), table[name][index], rtol=1e-12, atol=1e-15)
        if all(0 < p < 1 for p in y) and all(0 <= p <= 1 for p in t) and min(y) > 1e-9:
            logits = [math.log(p / (1 - p)) for p in y]
            ours = o.loss_value("binary_cross_entropy", [logits], [t])
            assert_allclose(ours, table["crossEntropy"][index], rtol=1e-9)
        if sum(t) > 0 and min(t) >= 0:  # the reference scales targets to sum 1
            share = [p / sum(t) for p in t]
            ours = o.loss_value("softmax_cross_entropy", [y], [share])
            assert_allclose(ours, table["softmaxCrossEntropy"][index], rtol=1e-12, atol=2e-15)


def test_losses_by_hand():
    y, t = [[0.0, 3.0], [1.0, -1.0]], [[0.5, 0.0], [1.0, 1.0]]
    assert o.loss_value("mse", y, t) == (0.25 + 9 + 0 + 4) / 4
    assert o.loss_value("mae", y, t) == (0.5 + 3 + 0 + 2) / 4
    assert o.loss_value("huber", y, t) == (0.125 + 2.5 + 0 + 1.5) / 4
    assert o.loss_value("hinge", y, [[1, -1], [1, 1]]) == (1 + 4 + 0 + 2) / 4
    assert math.isclose(o.loss_value("binary_cross_entropy", [[0.0]], [[1.0]]), math.log(2))
    by_label = o.loss_value("softmax_cross_entropy", y, [1, 0])
    assert math.isclose(by_label, -(log_softmax(y[0])[1] + log_softmax(y[1])[0]) / 2)
    assert by_label == o.loss_value("softmax_cross_entropy", y, [[0, 1], [1, 0]])
    assert_allclose(o.loss_derivative("softmax_cross_entropy", y, [1, 0])[0], (softmax_of(y[0]) - [0, 1]) / 2)


def test_losses_against_torch(torch):
    f, rng = torch.nn.functional, np.random.default_rng(0)
    y = rng.normal(size=(5, 3)) * 2
    real, binary, labels = rng.normal(size=(5, 3)), rng.random((5, 3)), rng.integers(0, 3, 5)
    peers = {
        "mse": (f.mse_loss, real),
        "mae": (f.l1_loss, real),
        "huber": (f.huber_loss, real),
        "binary_cross_entropy": (f.binary_cross_entropy_with_logits, binary),
        "softmax_cross_entropy": (f.cross_entropy, labels),
    }
    for name, (peer, t) in peers.items():
        outputs = torch.tensor(y, requires_grad=True)
        value = peer(outputs, torch.tensor(t))
        value.backward()
        assert_allclose(o.loss_value(name, y.tolist(), t.tolist()), value.item(), rtol=1e-12, err_msg=name)
        slopes = o.loss_derivative(name, y.tolist(), t.tolist())
        assert_allclose(slopes, outputs.grad, rtol=1e-10, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("loss", o.LOSSES)
@given(data=st.data())
def test_loss_derivative_is_the_slope(loss, data):
    n = data.draw(st.integers(1, 4))
    y = data.draw(s.rows(n)) + 0.03
    t = data.draw(s.targets(y.shape[:1], n, loss)).tolist()
    if loss in ("mae", "hinge"):
        gaps = np.abs(y - t) if loss == "mae" else np.abs(1 - y * t)
        assume(gaps.min() > 1e-3)
    slopes = o.loss_derivative(loss, y.tolist(), t)
    for place in np.ndindex(y.shape):
        moved = [y + sign * 1e-6 * (np.indices(y.shape) == np.reshape(place, (2, 1, 1))).all(0) for sign in (1, -1)]
        up, down = (o.loss_value(loss, rows.tolist(), t) for rows in moved)
        assert math.isclose((up - down) / 2e-6, slopes[place[0]][place[1]], rel_tol=1e-5, abs_tol=1e-7)


OPTIMIZERS = [
    ("sgd", "SGD", {}, {}),
    ("sgd", "SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    ("sgd", "SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    ("rmsprop", "RMSprop", {}, {}),
    ("adam", "Adam", {}, {}),
    ("adamw", "AdamW", {}, {}),
]


@pytest.mark.parametrize(("name", "peer", "ours", "theirs"), OPTIMIZERS)
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("size", [1.0, 1e-8])  # tiny gradients show where epsilon stands
def test_optimizers_against_torch(torch, name, peer, ours, theirs, l2, size):
    rng = np.random.default_rng(1)
    w = rng.normal(size=6)
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = getattr(torch.optim, peer)([parameter], lr=0.05, weight_decay=l2, **theirs)
    w, states = w.tolist(), [()] * 6
    for step in range(1, 8):
        g = rng.normal(size=6) * size
        parameter.grad = torch.tensor(g)
        optimizer.step()
        w, states = o.optimize(name, w, g.tolist(), states, step, 0.05, l2=l2, **ours)
        assert_allclose(w, parameter.tolist(), rtol=1e-12)


def test_clipping_against_torch(torch):
    g = np.random.default_rng(2).normal(size=9)
    parameter = torch.nn.Parameter(torch.zeros(9, dtype=torch.float64))
    parameter.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_([parameter], 0.5)
    assert_allclose(o.clip(g.tolist(), 0.5), parameter.grad, rtol=1e-5)  # torch divides by norm + 1e-6
    clipped, _ = o.optimize("sgd", [0.0] * 9, g.tolist(), [()] * 9, 1, 1.0, max_norm=0.5)
    assert_allclose(np.linalg.norm(clipped), 0.5)


def test_penalties_by_hand():
    assert o.optimize("sgd", [2.0, -1.0], [0.0, 0.0], [(), ()], 1, 0.5, l1=1.0, l2=0.5)[0] == [1.0, -0.25]
    assert o.optimize("adamw", [2.0, -1.0], [0.0, 0.0], [(), ()], 1, 0.5, l1=1.0, l2=0.5)[0] == [1.0, -0.25]
    assert o.clip([3.0, 4.0], 1.0) == [0.6, 0.8] and o.clip([3.0, 4.0], 9.0) == [3.0, 4.0] == o.clip([3.0, 4.0], None)
