"""Gradual pruning of a PyTorch model: by magnitude, by what training adds up, and by movement."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402

import neuroprune as npr  # noqa: E402
from bridge import assert_one_sentence  # noqa: E402
from golden_prune import cases  # noqa: E402
from neuroprune.pruning import masks  # noqa: E402
from neuroprune.pruning.masks import count  # noqa: E402
from neuroprune.pruning.rewire import Update  # noqa: E402
from neuroprune.tensors import masking as arithmetic  # noqa: E402
from neuroprune.tensors.prune import prune_tensors  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402
from torch_models import (  # noqa: E402
    MODELS,
    OPTIMIZERS,
    assert_masked,
    assert_same,
    backward,
    batch,
    mlp,
    snapshot,
    train,
)

SCHEDULES = [
    npr.schedules.Cubic(0.9, start=1, end=10, frequency=3),
    npr.schedules.Linear(0.8, start=2, end=9, frequency=2),
    npr.schedules.Cosine(0.7, start=3, end=8, frequency=5),
    npr.schedules.Exponential(0.95, start=1, end=6),
    npr.schedules.OneShot(0.6, step=4),
    npr.schedules.Iterative(0.9, start=2, end=8, rounds=3),
]
METHODS = ["magnitude", "magnitude_l2", "random", "gradient", "snip", "taylor", "fisher", "movement"]


def off(masking):
    return {name: mask.numel() - int(mask.sum()) for name, mask in masking.masks.items()}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("scope", [None, "global"])
@pytest.mark.parametrize("kind", ["momentum", "adamw"])
def test_gradual_pruning_keeps_to_the_schedule(schedule, scope, kind):
    model = mlp()
    masking = Masking(model, OPTIMIZERS[kind](model.parameters()), schedule=schedule, scope=scope)
    reached = 0.0
    before = {name: mask.clone() for name, mask in masking.masks.items()}
    for step in range(1, 13):
        (change,) = train(model, masking, 1, first=step)
        assert_masked(masking)
        if schedule.fires(step):
            reached = schedule.sparsity(step)
            change = change or Update(masking.masks, {name: ~mask & mask for name, mask in before.items()}, {})
            assert all(torch.equal(change.dropped[name], before[name] & ~mask) for name, mask in masking.masks.items())
        else:
            assert change is None
        if scope == "global":
            assert sum(off(masking).values()) == count(reached, 600)
        else:
            assert off(masking) == {name: count(reached, mask.numel()) for name, mask in before.items()}
        assert not any((mask & ~before[name]).any() for name, mask in masking.masks.items())
        before = {name: mask.clone() for name, mask in masking.masks.items()}
    assert reached == schedule.target


@settings(max_examples=200, deadline=None)
@given(
    target=st.floats(0.01, 0.95), start=st.integers(1, 4), length=st.integers(0, 4), frequency=st.integers(1, 4),
    method=st.sampled_from(METHODS),
)  # fmt: skip
def test_every_scorer_meets_the_target_exactly(target, start, length, frequency, method):
    model = mlp(sizes=(6, 5, 4))
    schedule = npr.schedules.Cubic(target, start, start + length, frequency)
    masking = Masking(model, OPTIMIZERS["adam"](model.parameters()), schedule=schedule, method=method, seed=0)
    train(model, masking, start + length, (6,))
    assert off(masking) == {"0.weight": count(target, 30), "2.weight": count(target, 20)}
    assert_masked(masking)


def test_it_removes_the_smallest_before_the_step():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["momentum"](model.parameters()), schedule=npr.schedules.OneShot(0.5, 2))
    train(model, masking, 1)
    backward(model, 2)
    twin = {name: p.detach().clone() for name, p in model.named_parameters()}
    masking.step()
    for name, mask in masking.masks.items():
        assert twin[name][~mask].abs().max() <= twin[name][mask].abs().min()


@pytest.mark.parametrize("method", ["gradient", "snip", "taylor", "fisher"])
def test_signals_are_summed_since_the_last_pruning(method):
    model = mlp().double()
    masking = Masking(
        model, OPTIMIZERS["sgd"](model.parameters()), schedule=npr.schedules.Linear(0.8, 1, 7, 3), method=method
    )
    total, masks = {}, None
    for step in range(1, 8):
        x, y = batch(step)
        model.zero_grad()
        nn.functional.cross_entropy(model(x.double()), y).backward()
        for name in masking.masks:
            gradient = dict(model.named_parameters())[name].grad.clone()
            total[name] = total.get(name, 0) + (gradient**2 if method == "fisher" else gradient)
        if masking.step() is None:
            continue
        weights = {name: dict(model.named_parameters())[name].detach() for name in total}
        keyword = "squared_gradient" if method == "fisher" else "gradient"
        if masks is not None:  # the weights pruned at this step are zero by now, but the others tell the order
            for name, mask in masking.masks.items():
                scores = npr.score(method, weights[name], **{keyword: total[name]})
                assert scores[mask].min() >= 0 and not (mask & ~masks[name]).any()
        masks = {name: mask.clone() for name, mask in masking.masks.items()}
        total = {}
        assert masking.state_dict()["totals"] == {}


def test_a_schedule_by_the_summed_gradient_is_that_of_numpy():
    model = mlp().double()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    masking = Masking(model, optimizer, schedule=npr.schedules.OneShot(0.7, 3), method="snip", scope="global")
    total = {}
    for step in range(1, 4):
        x, y = batch(step)
        model.zero_grad()
        nn.functional.cross_entropy(model(x.double()), y).backward()
        parameters = {name: p for name, p in model.named_parameters() if name in masking.masks}
        total = {name: total.get(name, 0) + p.grad.numpy().copy() for name, p in parameters.items()}
        seen = {name: p.detach().numpy().copy() for name, p in parameters.items()}
        masking.step()
    signals = {name: {"gradient": array} for name, array in total.items()}
    expected = prune_tensors(seen, 0.7, "snip", scope="global", signals=signals)
    assert all((masking.masks[name].numpy() == mask).all() for name, mask in expected.items())


def test_signals_that_are_given():
    model = mlp()
    norms = {name: {"input_norm": torch.rand(p.shape[1])} for name, p in model.named_parameters() if p.ndim > 1}
    calls = []

    class Given:
        def signals(self, method):
            calls.append(method)
            return norms

    weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.ndim > 1}
    expected = prune_tensors(weights, 0.5, "wanda", signals=norms)
    for signals in (norms, Given(), lambda: Given()):
        model = mlp()
        masking = Masking(model, torch.optim.SGD(model.parameters(), lr=0.0), schedule=npr.schedules.OneShot(0.5, 1),
                          method="wanda", signals=signals)  # fmt: skip
        train(model, masking, 1)
        assert_same(masking.masks, expected)
    assert calls == ["wanda", "wanda"]


def test_masks_that_began_sparser_wait():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["sgd"](model.parameters()), init="random", density=0.5, seed=0,
                      schedule=npr.schedules.Linear(0.8, 1, 9))  # fmt: skip
    changes = train(model, masking, 9)
    assert [change is not None for change in changes] == [False] * 6 + [True] * 3
    assert masking.sparsity == 0.8


def test_training_that_starts_after_the_end_still_meets_the_target():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["sgd"](model.parameters()), schedule=npr.schedules.OneShot(0.5, 0))
    changes = train(model, masking, 3)
    assert [change is not None for change in changes] == [True, False, False]
    assert masking.sparsity == 0.5


def test_two_of_four_by_schedule():
    model = mlp(sizes=(12, 20, 8, 4))
    masking = Masking(
        model, OPTIMIZERS["sgd"](model.parameters()), schedule=npr.schedules.OneShot(0.5, 2), pattern="2:4"
    )
    train(model, masking, 3)
    for mask in masking.masks.values():
        assert (mask.reshape(mask.shape[0], -1, 4).sum(-1) == 2).all()


@pytest.mark.parametrize("pattern", [masks.Axis(0), masks.Axis((0, 1)), masks.Block((2, 1))], ids=str)
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_structures_by_schedule(pattern, scope):
    model = nn.Sequential(nn.Conv2d(1, 6, 4), nn.ReLU(), nn.Conv2d(6, 8, 2), nn.Flatten(), nn.Linear(32, 4))
    schedule = npr.schedules.Cubic(0.6, 1, 9, 2)
    masking = Masking(
        model, OPTIMIZERS["adam"](model.parameters()), schedule=schedule, pattern=pattern, scope=scope, exclude=["4"]
    )
    before = masking.sparsity
    for step in range(1, 10):
        train(model, masking, 1, (1, 6, 6), step)
        assert_masked(masking)
        assert masking.sparsity >= before
        before = masking.sparsity
        for mask in masking.masks.values():
            masks.validate(mask, pattern)
    if scope == "layer":
        assert masking.sparsity == pytest.approx(0.6, abs=0.08)
    elif pattern == masks.Axis((0, 1)):  # kernels of 16 and of 4, each counts once
        assert sum(int(mask.flatten(2).any(2).sum()) for mask in masking.masks.values()) == 54 - count(0.6, 54)


def test_the_movement_of_the_reference():
    (case,) = cases("movement")
    weights, gradients = (np.array(case["inputs"][key]) for key in ("W_each_step", "masked_forward_grad_each_step"))
    for convert in (np.asarray, torch.tensor):
        total = None
        for weight, gradient in zip(weights, gradients, strict=True):
            total = arithmetic.movement(total, convert(weight), convert(gradient), case["params"]["score_lr"])
        np.testing.assert_allclose(np.asarray(total), case["expected"]["score"], rtol=1e-9, atol=1e-12)
        sparsity = 1 - case["params"]["keep_fraction"]
        masks = prune_tensors({"w": convert(weights[-1])}, sparsity, "movement", signals={"w": {"movement": total}})
        assert (np.asarray(masks["w"]) == np.array(case["expected"]["keep_mask_top_v"])).all()


def test_the_movement_of_the_reference_through_a_model():
    (case,) = cases("movement")
    model = nn.Linear(5, 4, bias=False).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=case["params"]["score_lr"])
    schedule = npr.schedules.OneShot(1 - case["params"]["keep_fraction"], 4)
    masking = Masking(model, optimizer, schedule=schedule, method="movement")
    rows = zip(case["inputs"]["W_each_step"], case["inputs"]["masked_forward_grad_each_step"], strict=True)
    for weight, gradient in rows:
        with torch.no_grad():
            model.weight.copy_(torch.tensor(weight))
        model.weight.grad = torch.tensor(gradient, dtype=torch.float64)
        masking.step()
    np.testing.assert_allclose(
        masking.state_dict()["totals"]["weight"], case["expected"]["score"], rtol=1e-9, atol=1e-12
    )
    assert (masking.masks["weight"].numpy() == np.array(case["expected"]["keep_mask_top_v"])).all()


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_movement_with_the_straight_through_rule(kind):
    """Against a twin that keeps W dense, multiplies it with the mask in the forward pass and steps masked gradients."""
    model = mlp(sizes=(6, 8, 3)).double()
    optimizer = OPTIMIZERS[kind](model.parameters())
    schedule = npr.schedules.Linear(0.6, 2, 40, 6)
    masking = Masking(model, optimizer, schedule=schedule, method="movement")
    twin = mlp(sizes=(6, 8, 3)).double()
    step_twin = OPTIMIZERS[kind](twin.parameters())
    names = ["0.weight", "2.weight"]
    parameters = dict(twin.named_parameters())
    dense = {name: parameters[name].detach().clone() for name in names}
    scores = {name: torch.zeros_like(dense[name]) for name in names}
    masks = {name: torch.ones_like(dense[name], dtype=torch.bool) for name in names}
    returned = 0
    for step in range(1, 43):
        x, y = batch(step, (6,))
        y = y % 3
        for net in (model, twin):
            net.zero_grad()
            nn.functional.cross_entropy(net(x.double()), y).backward()
        masking.step()
        rate = step_twin.param_groups[0]["lr"]
        with torch.no_grad():
            for name in names:
                parameter = parameters[name]
                scores[name] -= rate * parameter.grad * dense[name]
                if schedule.fires(step):
                    keep = dense[name].numel() - count(schedule.sparsity(step), dense[name].numel())
                    new = torch.zeros(dense[name].numel(), dtype=torch.bool)
                    new[scores[name].flatten().argsort(descending=True)[:keep]] = True
                    new = new.reshape(dense[name].shape)
                    returned += int((new & ~masks[name]).sum())
                    for value in step_twin.state[parameter].values():
                        if value.shape == new.shape:
                            value[~new | ~masks[name]] = 0
                    masks[name] = new
                parameter.copy_(dense[name] * masks[name])
                parameter.grad *= masks[name]
            step_twin.step()
            for name in names:
                dense[name] = torch.where(masks[name], parameters[name], dense[name])
                parameters[name].mul_(masks[name])
        for name in names:
            assert torch.equal(masking.masks[name], masks[name])
            torch.testing.assert_close(dict(model.named_parameters())[name], parameters[name], rtol=1e-12, atol=1e-14)
    assert returned > 0  # a mask opened again, onto the value it hid


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["momentum", "adamw"])
def test_stopping_and_going_on_gives_the_same_bits(method, kind):
    make, shape = MODELS["conv"]

    def fresh(seed=0):
        model = make()
        return model, Masking(model, OPTIMIZERS[kind](model.parameters()), schedule=npr.schedules.Cubic(0.8, 2, 8, 2),
                              method=method, seed=seed)  # fmt: skip

    model, masking = fresh()
    train(model, masking, 9, shape)
    again, partly = fresh()
    train(again, partly, 5, shape)
    file = io.BytesIO()
    torch.save([again.state_dict(), partly.optimizer.state_dict(), partly.state_dict()], file)
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    other, last = fresh(seed=4)
    other.load_state_dict(stored[0])
    last.optimizer.load_state_dict(stored[1])
    last.load_state_dict(stored[2])
    train(other, last, 4, shape, first=6)
    assert_same(snapshot(model, masking), snapshot(other, last))


def test_movement_keeps_what_other_changes_hide():
    model = mlp(sizes=(6, 5, 4))
    masking = Masking(model, torch.optim.SGD(model.parameters(), lr=0.0), schedule=npr.schedules.OneShot(0.5, 99),
                      method="movement")  # fmt: skip
    before = model[0].weight.detach().clone()
    full = {name: mask.clone() for name, mask in masking.masks.items()}
    train(model, masking, 1, (6,))
    masking.prune(0.5)
    assert (model[0].weight == 0).any()
    masking.masks = full
    assert torch.equal(model[0].weight, before)


def refuses(error, match, model, masking, call):
    before = snapshot(model, masking)
    with pytest.raises(error, match=match) as caught:
        call()
    assert_one_sentence(caught)
    assert_same(before, snapshot(model, masking))


def test_a_pruning_without_its_signal_changes_no_weights():
    model = mlp()
    model[2].weight.requires_grad_(False)
    for method in ("snip", "movement"):
        masking = Masking(
            model, OPTIMIZERS["sgd"](model.parameters()), schedule=npr.schedules.OneShot(0.5, 1), method=method
        )
        backward(model, 1)
        refuses(
            ValueError, r"pruning by '.*' needs the (gradient|movement) of '2\.weight'", model, masking, masking.step
        )


def test_a_signal_that_is_not_finite_changes_nothing():
    model = mlp()
    masking = Masking(
        model, OPTIMIZERS["sgd"](model.parameters()), schedule=npr.schedules.OneShot(0.5, 2), method="snip"
    )
    backward(model, 1)
    model[2].weight.grad[1, 2] = float("inf")
    refuses(ValueError, r"gradient of '2\.weight' must be finite, got inf", model, masking, masking.step)
