"""Dynamic sparse training of a PyTorch model: counts, order of events, moments, and going on after a stop."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402

from bridge import assert_one_sentence  # noqa: E402
from golden_prune import cases  # noqa: E402
from neuroprune.pruning import decay  # noqa: E402
from neuroprune.pruning.rewire import Rewire  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402
from torch_models import (  # noqa: E402
    MODELS,
    OPTIMIZERS,
    assert_masked,
    assert_same,
    backward,
    convolutional,
    counts,
    mlp,
    snapshot,
    train,
)

METHODS = {
    "set": lambda **options: Rewire.set(**options),
    "rigl": lambda **options: Rewire.rigl(**options),
    "rigl following": lambda **options: Rewire.rigl(replaces_step=False, **options),
    "snfs": lambda **options: Rewire.snfs(**options),
    "gradient everywhere": lambda **options: Rewire(
        grow="gradient", redistribute="gradient", scope="global", **options
    ),
    "nonzero": lambda **options: Rewire(redistribute="nonzero", **options),
}
WITH_MOMENTUM = ("momentum", "adam", "amsgrad", "adamw")


def make(method, kind="momentum", name="mlp", density=0.3, seed=0, **options):
    model = MODELS[name][0]()
    options = {"every": 2, "until": 100, "start": 2, **options}
    masking = Masking(model, OPTIMIZERS[kind](model.parameters()), init="erk", density=density,
                      rewire=METHODS[method](**options), seed=seed)  # fmt: skip
    return model, masking


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", WITH_MOMENTUM)
@pytest.mark.parametrize("name", MODELS)
def test_counts_are_exact_and_what_grows_starts_at_zero(method, kind, name):
    model, masking = make(method, kind, name, start=3)
    total, parameters = sum(counts(masking).values()), dict(model.named_parameters())
    for step in range(1, 8):
        before = {key: mask.clone() for key, mask in masking.masks.items()}
        (change,) = train(model, masking, 1, MODELS[name][1], step)
        assert sum(counts(masking).values()) == total
        assert (change is None) == (step not in (4, 6))
        for key, mask in masking.masks.items():
            assert (parameters[key][~mask] == 0).all()
            if change is None:
                assert torch.equal(mask, before[key])
                continue
            grown, dropped = change.grown[key], change.dropped[key]
            assert torch.equal(mask, (before[key] & ~dropped) | grown)
            assert torch.equal(mask, change.masks[key])
            assert (parameters[key][grown] == 0).all()
            for value in masking.optimizer.state[parameters[key]].values():
                if value.shape == mask.shape:
                    assert (value[grown] == 0).all()
        if method != "snfs":
            assert_masked(masking)
    assert not torch.equal(mask, before[key]) or change is None


@settings(max_examples=200, deadline=None)
@given(
    density=st.floats(0.02, 0.99), fraction=st.floats(0, 1), method=st.sampled_from(sorted(METHODS)),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_the_number_of_weights_never_changes(density, fraction, method, seed):
    model, masking = make(method, density=density, fraction=decay.Constant(fraction), seed=seed)
    before = counts(masking)
    (_, change, _, again) = train(model, masking, 4)
    for update in (change, again):
        dropped = {name: int(mask.sum()) for name, mask in update.dropped.items()}
        grown = {name: int(mask.sum()) for name, mask in update.grown.items()}
        assert sum(dropped.values()) == sum(grown.values())
        if method in ("rigl", "rigl following"):
            assert dropped == grown == {name: round(fraction * count) for name, count in before.items()}
    assert sum(counts(masking).values()) == sum(before.values())


@pytest.mark.parametrize("following", [False, True])
def test_an_update_replaces_or_follows_the_step(following):
    model, masking = make("rigl following" if following else "rigl")
    train(model, masking, 1)
    backward(model, 2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    change = masking.step()
    still = {name: change.masks[name] & ~change.grown[name] for name in change.masks}
    for name, parameter in model.named_parameters():
        same = torch.equal(parameter[still[name]], before[name][still[name]]) if name in still else torch.equal(
            parameter, before[name])  # fmt: skip
        assert same is not following
    assert masking.step_number == 2


@pytest.mark.parametrize("following", [False, True])
def test_growth_goes_where_the_dense_gradient_is_largest(following):
    model, masking = make("rigl following" if following else "rigl")
    train(model, masking, 1)
    backward(model, 2)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    change = masking.step()
    for name, grown in change.grown.items():
        candidates = ~(change.masks[name] & ~grown)
        rating = gradients[name].abs()
        assert rating[grown].min() >= rating[candidates & ~grown].max()


def test_dropped_weights_may_return():
    model = nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks = {"weight": torch.tensor([[True, True, False, False]])}
    masking = Masking(model, optimizer, masks=masks, grow="gradient", drop=0.5, every=1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, 2.0, 0.0, 0.0]]))
    model.weight.grad = torch.tensor([[9.0, 0.0, 1.0, 1.0]])
    change = masking.step()
    assert torch.equal(change.dropped["weight"], change.grown["weight"])
    assert torch.equal(masking.masks["weight"], masks["weight"])
    assert model.weight.tolist() == [[0.0, 2.0, 0.0, 0.0]]


@pytest.mark.parametrize("kind", WITH_MOMENTUM)
def test_momentum_is_dense_only_where_growth_needs_it(kind):
    for method, dense in (("rigl", False), ("snfs", True)):
        model, masking = make(method, kind, start=10)
        train(model, masking, 3)
        name, mask = next(iter(masking.masks.items()))
        state = masking.optimizer.state[dict(model.named_parameters())[name]]
        first = state.get("momentum_buffer", state.get("exp_avg"))
        assert bool((first[~mask] != 0).any()) is dense


def test_growth_by_momentum_goes_where_it_is_largest():
    model, masking = make("snfs", "adam", redistribute=None, replaces_step=True)
    train(model, masking, 1)
    parameters = dict(model.named_parameters())
    states = {
        name: {k: v.clone() for k, v in masking.optimizer.state[parameters[name]].items()} for name in masking.masks
    }
    backward(model, 2)
    change = masking.step()
    for name, grown in change.grown.items():
        rating = (states[name]["exp_avg"] / (states[name]["exp_avg_sq"].sqrt() + 1e-8)).abs()
        candidates = ~(change.masks[name] & ~grown)
        assert rating[grown].min() >= rating[candidates & ~grown].max()


def test_whole_kernels_come_and_go():
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(32, 4))
    optimizer = OPTIMIZERS["adam"](model.parameters())
    masking = Masking(model, optimizer, init="erk", density=0.5, grow="gradient", every=2, unit=(0, 1), exclude=["4"],
                      seed=0)  # fmt: skip
    before = counts(masking)
    changes = train(model, masking, 6, (1, 6, 6))
    assert counts(masking) == before
    for change in filter(None, changes):
        for mask in change.masks.values():
            assert torch.isin(mask.sum((2, 3)), torch.tensor([0, 9])).all()
        assert any(int(grown.sum()) for grown in change.grown.values())


@pytest.mark.parametrize(
    "case", [case for case in cases("rigl") if "unit" not in case["params"]], ids=lambda c: c["id"]
)
def test_rigl_of_the_references(case):
    """With the count of the reference, which rounds up where we round to even."""
    mask = torch.tensor(case["inputs"]["mask"]).bool()
    weight, gradient = torch.tensor(case["inputs"]["W"]), torch.tensor(case["inputs"]["grad"])
    model = nn.Module()
    model.layer = nn.Linear(1, 1) if mask.ndim == 2 else nn.Conv2d(1, 1, 1)
    model.layer.weight = nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    removed = case["expected"]["removed_seed004"]
    share = removed / int(mask.sum())
    masking = Masking(
        model, optimizer, masks={"layer.weight": mask}, drop=decay.Constant(share), grow="gradient", every=1
    )
    model.layer.weight.grad = gradient.clone()
    change = masking.step()
    left = mask & ~change.dropped["layer.weight"]
    assert torch.equal(left, torch.tensor(case["expected"]["drop_mask_seed004"]).bool())
    expected = torch.tensor(case["expected"]["new_mask_seed004"]).bool()
    # the reference counts zero weights where ours counts masks, so that kept zeros may differ; these cases have none
    assert torch.equal(masking.masks["layer.weight"], expected)
    torch.testing.assert_close(model.layer.weight.detach(), torch.where(left, weight, 0), rtol=0, atol=0)


@pytest.mark.parametrize("case", cases("snfs")[:2], ids=lambda case: case["id"])
def test_snfs_of_the_reference(case):
    """Masks equal the reference where its truncated counts add up; in any case ours keep the total."""
    inputs, adam = case["inputs"], case["params"]["optimizer"] == "adam"
    model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in inputs["W"]))
    for layer, weight, gradient in zip(model, inputs["W"], inputs["grads"], strict=True):
        layer.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        layer.weight.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters()) if adam else torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    masks = {f"{i}.weight": np.array(mask) != 0 for i, mask in enumerate(inputs["masks"])}
    masking = Masking(model, optimizer, masks=masks, grow="momentum", redistribute="momentum", every=1,
                      fraction=decay.Constant(case["params"]["drop_rate"]))  # fmt: skip
    for i, layer in enumerate(model):
        moment = torch.tensor(inputs["momentum"][i], dtype=torch.float64)
        second = (
            {"exp_avg": moment, "exp_avg_sq": torch.tensor(inputs["exp_avg_sq"][i], dtype=torch.float64)}
            if adam
            else {}
        )
        optimizer.state[layer.weight].update(second or {"momentum_buffer": moment})
    change = masking.step()
    expected = case["expected"]
    shares = expected["layer_share_of_mean_abs_momentum_on_kept"]
    removed = sum(int(mask.sum()) for mask in change.dropped.values())
    grown = [int(mask.sum()) for mask in change.grown.values()]
    assert sum(grown) == removed
    room = [mask.size - int(mask.sum()) + int(change.dropped[name].sum()) for name, mask in masks.items()]
    if all(share * removed < places for share, places in zip(shares, room, strict=True)):
        assert all(abs(count - share * removed) < 1 for count, share in zip(grown, shares, strict=True))


def test_frozen_weights_keep_their_masks():
    model = mlp()
    model[2].weight.requires_grad_(False)
    masking = Masking(model, OPTIMIZERS["adam"](model.parameters()), init="erk", density=0.3, grow="gradient",
                      redistribute="gradient", every=1, seed=0)  # fmt: skip
    before = masking.masks["2.weight"].clone(), model[2].weight.clone()
    (change,) = train(model, masking, 1)
    assert sorted(change.masks) == ["0.weight", "4.weight"]
    assert torch.equal(masking.masks["2.weight"], before[0]) and torch.equal(model[2].weight, before[1])


def refuses(error, match, model, masking):
    before = snapshot(model, masking)
    with pytest.raises(error, match=match) as caught:
        masking.step()
    assert_one_sentence(caught)
    assert_same(before, snapshot(model, masking))


@pytest.mark.parametrize("method", ["rigl", "rigl following"])
def test_an_update_without_a_gradient_changes_nothing(method):
    model, masking = make(method)
    train(model, masking, 1)
    backward(model, 2)
    model[4].weight.grad = None
    refuses(ValueError, r"the update of step 2 needs the gradient of '4\.weight', got none", model, masking)
    backward(model, 2)
    assert masking.step() is not None  # mended, it goes on
    model, masking = make(method)
    train(model, masking, 1)
    backward(model, 2)
    model[0].weight.grad[3, 4] = float("nan")
    refuses(ValueError, r"gradient of '0\.weight' must be finite, got nan at index \(3, 4\)", model, masking)


def test_an_update_without_momentum_changes_nothing():
    model, masking = make("snfs", replaces_step=True, every=1, start=1)
    backward(model, 1)
    refuses(ValueError, r"growth by momentum needs the momentum of '0\.weight', got none yet from SGD", model, masking)


def test_an_update_with_everything_frozen_changes_nothing():
    model, masking = make("set", every=1, start=1)
    backward(model, 1)
    model.requires_grad_(False)
    refuses(ValueError, "must have a weight to train, got only frozen ones", model, masking)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["momentum", "adamw"])
def test_stopping_and_going_on_gives_the_same_bits(method, kind):
    model, masking = make(method, kind, "conv")
    train(model, masking, 9, (1, 6, 6))
    again, partly = make(method, kind, "conv")
    train(again, partly, 4, (1, 6, 6))
    file = io.BytesIO()
    state = {"model": again.state_dict(), "optimizer": partly.optimizer.state_dict(), "masking": partly.state_dict()}
    torch.save(state, file)
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    fresh, last = make(method, kind, "conv", seed=99)
    fresh.load_state_dict(stored["model"])
    last.optimizer.load_state_dict(stored["optimizer"])
    last.load_state_dict(stored["masking"])
    train(fresh, last, 5, (1, 6, 6), first=5)
    assert_same(snapshot(model, masking), snapshot(fresh, last))


def test_a_state_that_does_not_fit_changes_nothing():
    model, masking = make("set")
    train(model, masking, 3)
    good = masking.state_dict()
    for error, match, state in [
        (ValueError, "state must have .* got list", []),
        (ValueError, "state must have hidden", {"step": 1}),
        (ValueError, "got 'x'", {**good, "totals": {"x": torch.zeros(1)}}),
        (ValueError, r"totals of '0\.weight' must have shape \(20, 12\), got \(1,\)",
         {**good, "totals": {"0.weight": torch.zeros(1)}}),
        (ValueError, "the RNG state", {**good, "rng": {}}),
        (ValueError, "step must be", {**good, "step": -1}),
    ]:  # fmt: skip
        before = snapshot(model, masking)
        with pytest.raises(error, match=match) as caught:
            masking.load_state_dict(state)
        assert_one_sentence(caught)
        assert_same(before, snapshot(model, masking))


def test_updates_without_an_optimizer_follow_ones_own_step():
    model = convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masking = Masking(model, init="erk", density=0.3, grow="gradient", replaces_step=False, every=2, seed=0)
    before = counts(masking)
    for step in range(1, 5):
        backward(model, step, (1, 6, 6))
        optimizer.step()
        assert (masking.step() is not None) == (step % 2 == 0)
        assert_masked(masking)
        assert counts(masking) == before
