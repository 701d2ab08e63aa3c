"""Steps of a Masking that go wrong, and masks that others removed: what counts, and what stays as it was."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402

import neuroprune as npr  # noqa: E402
from bridge import assert_one_sentence  # noqa: E402
from neuroprune.pruning.rewire import Rewire  # noqa: E402
from neuroprune.tensors import torch as home  # noqa: E402
from neuroprune.tensors.calibration import calibrate  # noqa: E402
from neuroprune.tensors.signals import signals  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402
from torch_models import (  # noqa: E402
    OPTIMIZERS,
    assert_masked,
    assert_same,
    backward,
    counts,
    mlp,
    snapshot,
    train,
)

INF = float("inf")


def refuses(error, match, call, model, masking):
    before = snapshot(model, masking)
    with pytest.raises(error, match=match) as caught:
        call()
    assert_one_sentence(caught)
    assert_same(before, snapshot(model, masking))


def test_a_refused_update_after_a_step_counts_the_step():
    """What the rule answers shows only once the optimizer has stepped; the next call is the next step."""
    shares = {1: 1.0, 2: -1.0, 3: 1.0}
    model, masking = mlp(), None
    rewire = Rewire(grow="random", redistribute=lambda weight, mask, **signals: shares[masking.step_number], every=1,
                    replaces_step=False)  # fmt: skip
    masking = Masking(model, OPTIMIZERS["sgd"](model.parameters()), init="erk", density=0.3, rewire=rewire, seed=0)
    train(model, masking, 1)
    before, weight = {name: mask.clone() for name, mask in masking.masks.items()}, model[0].weight.detach().clone()
    backward(model, 2)
    with pytest.raises(ValueError, match="redistribute must return a number of at least 0"):
        masking.step()
    assert masking.step_number == 2 and not torch.equal(model[0].weight, weight)
    assert_same(before, masking.masks)
    assert_masked(masking)
    assert train(model, masking, 1, first=3) != [None] and masking.step_number == 3


def test_weights_that_overflow_in_the_step_count_it():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=INF, momentum=0.9)
    masking = Masking(model, optimizer, init="erk", density=0.3, rewire=Rewire.set(every=1), seed=0)
    before = {name: mask.clone() for name, mask in masking.masks.items()}
    backward(model, 1)
    with pytest.raises(ValueError, match=r"weight '0\.weight' must be finite"):
        masking.step()
    assert masking.step_number == 1
    assert_same(before, masking.masks)


def test_a_momentum_that_the_step_cannot_make_is_refused_before_it():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["momentum"](model.parameters()), init="erk", density=0.3,
                      rewire=Rewire.snfs(every=1), seed=0)  # fmt: skip
    backward(model, 1)
    model[2].weight.grad = None
    refuses(ValueError, r"needs the momentum of '2\.weight', got none yet", masking.step, model, masking)
    backward(model, 1)
    assert masking.step() is not None


def overflow(model, where):
    """A gradient as a scaled loss leaves it that is out of range; where a mask is on, off, or in a bias."""
    grad = model[2].bias.grad if where == "bias" else model[2].weight.grad
    at = (0,) if where == "bias" else tuple((model[2].weight_mask == (where == "on")).nonzero()[0].tolist())
    grad[at] = INF


@pytest.mark.parametrize("where", ["on", "off", "bias"])
@pytest.mark.parametrize("method", ["rigl", "rigl following", "snip", "movement", "snfs"])
def test_an_overflow_is_left_to_the_scaler(method, where):
    model = mlp()
    optimizer = OPTIMIZERS["momentum"](model.parameters())
    options = {"rigl": {"rewire": Rewire.rigl(every=2)}, "snfs": {"rewire": Rewire.snfs(every=2)},
               "rigl following": {"rewire": Rewire.rigl(every=2, replaces_step=False)}}  # fmt: skip
    plan = options.get(method, {"schedule": npr.schedules.OneShot(0.9, 2), "method": method})
    masking = Masking(model, optimizer, init="random", density=0.5, seed=0, **plan)
    train(model, masking, 1)
    before, calls = snapshot(model, masking), []
    backward(model, 2)
    overflow(model, where)
    assert masking.step(lambda: calls.append("skipped")) is None  # what a scaler does, without the optimizer
    assert calls == ["skipped"] and masking.step_number == 1
    assert_same(before, snapshot(model, masking))
    backward(model, 2)
    assert masking.step(lambda: optimizer.step()) is not None  # what was due came with the next step
    assert masking.step_number == 2
    assert sum(counts(masking).values()) == (60 if "schedule" in plan else 300)


def test_without_take_an_overflow_is_refused():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["sgd"](model.parameters()), init="erk", density=0.5, grow="gradient", every=1,
                      seed=0)  # fmt: skip
    backward(model, 1)
    overflow(model, "on")
    refuses(ValueError, r"gradient of '2\.weight' must be finite", masking.step, model, masking)


def test_a_real_scaler_steps_over_an_overflow():
    model = nn.Linear(12, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masking = Masking(model, optimizer, init="random", density=0.5, grow="gradient", every=1, replaces_step=False,
                      seed=0)  # fmt: skip
    scaler, changes = torch.amp.GradScaler("cpu", init_scale=2.0**127), []
    for _ in range(8):
        optimizer.zero_grad()
        scaler.scale((model(torch.full((3, 12), 100.0)) ** 2).mean()).backward()
        scaler.unscale_(optimizer)
        changes.append(masking.step(lambda: scaler.step(optimizer)))
        scaler.update(2.0 if len(changes) == 3 else None)
        assert_masked(masking)
    assert changes[:3] == [None] * 3 and None not in changes[3:]
    assert masking.step_number == 5


def test_clipping_inside_take_sees_what_is_there():
    norms = []
    for inside in (False, True):
        model = mlp()
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        masking = Masking(model, optimizer, init="erk", density=0.2, seed=0)
        backward(model, 1)
        dense = torch.stack([p.grad.norm() for p in model.parameters()]).norm()

        def clipped(model=model, optimizer=optimizer):
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1e-3))
            optimizer.step()

        if inside:
            masking.step(clipped)
        else:
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1e-3))
            masking.step()
        there = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        assert (abs(there - 1e-3) < 1e-6) == inside
    assert norms[0] == dense > norms[1]


def test_masks_that_another_masking_removed():
    model = mlp()
    first, second = Masking(model, init="erk", density=0.2, seed=0), Masking(model)
    first.remove()
    for call in (second.step, second.remove, second.report, second.apply, lambda: second.prune(0.9),
                 lambda: second.load_state_dict({}), lambda: second.masks, lambda: setattr(second, "masks", {})):
        with pytest.raises(RuntimeError, match="the masks were removed") as error:
            call()
        assert_one_sentence(error)
    assert repr(second) == "Masking, removed"
    assert Masking(model).sparsity == 0


@pytest.mark.parametrize("part", ["totals", "hidden"])
@pytest.mark.parametrize("value, match", [
    (None, "must be a mapping from name to array, got NoneType"), (5, "must be a mapping .* got int"),
    ({"0.weight": None}, r"of '0\.weight' must be an array like the weight, got NoneType"),
    ({"0.weight": np.zeros((20, 12))}, r"of '0\.weight' must be an array like the weight, got ndarray"),
])  # fmt: skip
def test_states_of_another_kind(part, value, match):
    model = mlp()
    masking = Masking(model)
    state = {**masking.state_dict(), part: value}
    refuses(TypeError, match, lambda: masking.load_state_dict(state), model, masking)


def test_all_for_pytorch_is_in_one_place():
    assert home.calibrate is calibrate and home.signals is signals
    assert sorted(home.__all__) == ["Masking", "calibrate", "signals"]
