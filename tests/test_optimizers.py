"""Optimizer steps: through `net.train` against the oracle's formulas and torch, penalties and clipping included."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import bridge
import oracles as o
import strategies as s
from neuroprune import Network
from neuroprune.kernels import optimize as kernel
from neuroprune.network import optimizers

CHOICES = {
    "sgd": ("sgd", "sgd", {}),
    "momentum": (optimizers.sgd(momentum=0.9), "sgd", {"momentum": 0.9}),
    "nesterov": (optimizers.sgd(momentum=0.8, nesterov=True), "sgd", {"momentum": 0.8, "nesterov": True}),
    "rmsprop": ("rmsprop", "rmsprop", {}),
    "rmsprop with options": (optimizers.rmsprop(0.9, 1e-3), "rmsprop", {"decay": 0.9, "epsilon": 1e-3}),
    "adam": ("adam", "adam", {}),
    "adam with options": (optimizers.adam(0.8, 0.95, 1e-3), "adam", {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}),
    "adamw": ("adamw", "adamw", {}),
    "adamw with options": (optimizers.adamw(0.8, 0.95, 1e-3, 0.3), "adamw",
                           {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}),
}  # fmt: skip
DECAY = {"adamw": 0.01, "adamw with options": 0.3}
choices = pytest.mark.parametrize("choice", CHOICES)


def trained(plain, x, t, loss, steps, choice, rate, states=None, first=1, l1=0.0, l2=0.0, clip_norm=None):
    """(Plain after so many steps on all rows, {pair or id: moments}); `first` is the number of the first step."""
    _, name, options = CHOICES[choice]
    states = {} if states is None else states
    for step in range(first, first + steps):
        weights, biases = o.gradient(plain, x, t, loss)
        keys, n = [*weights, *biases], len(weights)
        now = [plain.connections[pair][0] for pair in weights] + [plain.bias[node] for node in biases]
        slopes = o.clip([*weights.values(), *biases.values()], clip_norm)
        moments = [states.get(key, ()) for key in keys]
        step_rate = rate(step) if callable(rate) else rate
        penalties = {"l1": l1, "l2": l2 + DECAY.get(choice, 0.0)}
        moved, kept = o.optimize(name, now[:n], slopes[:n], moments[:n], step, step_rate, **penalties, **options)
        others = o.optimize(name, now[n:], slopes[n:], moments[n:], step, step_rate, **options)
        states = dict(zip(keys, kept + others[1], strict=True))
        late = [plain.connections[pair][1] for pair in weights]
        plain = replace(
            plain, connections=dict(zip(weights, zip(moved, late, strict=True), strict=True)),
            bias=plain.bias | dict(zip(biases, others[0], strict=True)),
        )  # fmt: skip
    return plain, states


def assert_close(net, plain, **tolerance):
    """The wiring is the same, the numbers are close."""
    got = bridge.plain(net)
    assert got.order == plain.order and got.connections.keys() == plain.connections.keys()
    wanted = [plain.connections[pair][0] for pair in got.connections] + [plain.bias[node] for node in got.order]
    found = [weight for weight, _ in got.connections.values()] + list(got.bias.values())
    assert_allclose(found, wanted, **{"rtol": 1e-8, "atol": 1e-9, **tolerance})
    assert not net.nodes.bias[: plain.n_inputs].any()


# nothing that saturates or explodes: Adam and RMSProp make whole steps of the rounding errors of tiny gradients
small = s.networks(activations=("tanh", "sigmoid", "sin"), max_inputs=3, max_outputs=2, max_hidden=4, scale=0.5)


@choices
@given(plain=small, rate=st.sampled_from((0.1, 0.01, lambda step: 0.1 / step)), penalty=st.sampled_from(
    ((0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (0.05, 0.1))), clip_norm=st.sampled_from((None, 0.1, 1e-3)),
    data=st.data())  # fmt: skip
def test_training_equals_the_oracle(choice, plain, rate, penalty, clip_norm, data):
    """Four steps on all rows, with penalties on the weights, a clipped norm and a learning-rate schedule."""
    x, t = data.draw(s.batches(plain, "mse"))
    net, (l1, l2) = bridge.network(plain), penalty
    net.train(x, t, 4, rate, CHOICES[choice][0], l1=l1, l2=l2, clip_norm=clip_norm)
    wanted, _ = trained(plain, x, t, "mse", 4, choice, rate, l1=l1, l2=l2, clip_norm=clip_norm)
    assert_close(net, wanted, rtol=1e-6, atol=1e-6)


PEERS = {
    "sgd": ("SGD", {}), "momentum": ("SGD", {"momentum": 0.9}), "rmsprop": ("RMSprop", {}), "adam": ("Adam", {}),
    "nesterov": ("SGD", {"momentum": 0.8, "nesterov": True}), "adamw": ("AdamW", {}),
    "rmsprop with options": ("RMSprop", {"alpha": 0.9, "eps": 1e-3}),
    "adam with options": ("Adam", {"betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw with options": ("AdamW", {"betas": (0.8, 0.95), "eps": 1e-3}),
}  # fmt: skip


@choices
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_training_equals_torch(torch, choice, l2):
    """Twenty steps of a layered network; torch decays biases too, so there are none."""
    net = Network.dense([3, 5, 2], seed=0)
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    w = torch.nn.Parameter(torch.tensor(net.connections.weight))
    name, options = PEERS[choice]
    optimizer = getattr(torch.optim, name)([w], lr=0.02, weight_decay=l2 + DECAY.get(choice, 0.0), **options)
    for _ in range(20):
        optimizer.zero_grad()
        out = torch.tanh(torch.tensor(x) @ w[:15].reshape(5, 3).T) @ w[15:].reshape(2, 5).T
        torch.nn.functional.mse_loss(out, torch.tensor(t)).backward()
        optimizer.step()

    def without_biases(net, history):
        net.nodes.bias = 0.0

    net.train(x, t, 20, 0.02, CHOICES[choice][0], l2=l2, callback=without_biases)
    assert_allclose(net.connections.weight, w.detach(), rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- the kernels


@given(st.integers(0, 40), s.SEEDS)
def test_square_sum(size, seed):
    values = np.random.default_rng(seed).normal(size=size)
    assert_allclose(kernel.square_sum(values), (values**2).sum(), rtol=1e-14)


@choices
@given(seed=s.SEEDS, l1=st.sampled_from((0.0, 0.5)), l2=st.sampled_from((0.0, 0.5)))
def test_steps_on_columns_equal_the_formulas(choice, seed, l1, l2):
    """Six steps on four weights, of which one is 0, and three biases, which have no penalty."""
    rng, (given_choice, name, options) = np.random.default_rng(seed), CHOICES[choice]
    settings = optimizers.optimizer(given_choice).settings(l1, l2)
    values = rng.normal(size=7)
    values[1] = 0.0
    moments, plain, states = np.zeros((2, 7)), values.tolist(), [()] * 7
    decay = l2 + DECAY.get(choice, 0.0)
    for step in range(1, 7):
        slopes = rng.normal(size=7)
        weights = o.optimize(name, plain[:4], slopes[:4].tolist(), states[:4], step, 0.05, l1=l1, l2=decay, **options)
        biases = o.optimize(name, plain[4:], slopes[4:].tolist(), states[4:], step, 0.05, **options)
        plain, states = weights[0] + biases[0], weights[1] + biases[1]
        code = optimizers.optimizer(given_choice).code
        kernel.optimizer_step(code, settings, values, slopes, moments, step, 0.05, 4)
        assert_allclose(values, plain, rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------- by name and with settings


def test_by_name():
    assert [optimizers.optimizer(name).name for name in optimizers.OPTIMIZERS] == ["sgd", "rmsprop", "adam", "adamw"]
    assert optimizers.optimizer("adam") == optimizers.adam() == optimizers.adam(0.9, 0.999, 1e-8)
    mine = optimizers.sgd(0.5)
    assert optimizers.optimizer(mine) is mine
    with pytest.raises(FrozenInstanceError):
        mine.beta1 = 0.1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optimizers.optimizer("adm"), ValueError, "a name or an Optimizer, got 'adm': did you mean 'adam'"),
        (lambda: optimizers.optimizer("x"), ValueError, "got 'x': choose from sgd, rmsprop, adam, adamw"),
        (lambda: optimizers.optimizer(None), ValueError, "must be a name or an Optimizer, got None"),
        (lambda: optimizers.optimizer([]), ValueError, r"must be a name or an Optimizer, got \[\]"),
        (lambda: optimizers.optimizer(optimizers.sgd), ValueError, "must be a name or an Optimizer, got <function sgd"),
        (lambda: optimizers.sgd(momentum=1.0), ValueError, r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: optimizers.sgd(momentum=-0.1), ValueError, r"momentum must be in \[0, 1\), got -0.1"),
        (lambda: optimizers.rmsprop(decay=np.nan), ValueError, "decay must be finite, got nan"),
        (lambda: optimizers.rmsprop(epsilon=0.0), ValueError, "epsilon must be positive, got 0.0"),
        (lambda: optimizers.adam(beta1=2), ValueError, r"beta1 must be in \[0, 1\), got 2"),
        (lambda: optimizers.adam(beta2=1), ValueError, r"beta2 must be in \[0, 1\), got 1"),
        (lambda: optimizers.adamw(epsilon=np.inf), ValueError, "epsilon must be finite, got inf"),
        (lambda: optimizers.adamw(weight_decay=-1), ValueError, "weight_decay must be at least 0, got -1"),
        (lambda: optimizers.adamw(weight_decay=np.inf), ValueError, "weight_decay must be finite, got inf"),
        (lambda: optimizers.sgd(momentum="x"), TypeError, "momentum must be a number, got 'x'"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message) as raised:
        make()
    bridge.assert_one_sentence(raised)
