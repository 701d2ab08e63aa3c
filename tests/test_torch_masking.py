"""Masks of a PyTorch model: starts, steps, one pruning, and what they survive."""

import copy
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402

from bridge import assert_one_sentence  # noqa: E402
from neuroprune.pruning.masks import count  # noqa: E402
from neuroprune.tensors.prune import prune_tensors  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402
from torch_models import (  # noqa: E402
    MODELS,
    OPTIMIZERS,
    Attentive,
    assert_masked,
    assert_same,
    backward,
    batch,
    convolutional,
    counts,
    mlp,
    snapshot,
    train,
)


@pytest.mark.parametrize("start", ["random", "er", "erk"])
@settings(max_examples=200, deadline=None)
@given(
    density=st.floats(0.01, 1.0), sizes=st.lists(st.integers(1, 12), min_size=2, max_size=5), seed=st.integers(0, 99)
)
def test_starts_have_exactly_the_density(start, density, sizes, seed):
    model = mlp(sizes=sizes)
    try:
        masking = Masking(model, init=start, density=density, seed=seed)
    except ValueError as error:  # where the density leaves nothing of a layer
        smallest = min(inputs * outputs for inputs, outputs in zip(sizes, sizes[1:], strict=False))
        assert "must leave a weight" in str(error) and density * smallest < 1
        return
    size = sum(mask.numel() for mask in masking.masks.values())
    kept = size - count(1 - density, size)
    assert sum(counts(masking).values()) == kept
    assert masking.sparsity == 1 - kept / size
    assert_masked(masking)


@pytest.mark.parametrize("start", ["random", "erk"])
def test_structured_starts_keep_whole_kernels(start):
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3))
    masking = Masking(model, init=start, density=0.3, unit=(0, 1), seed=0)
    for mask in masking.masks.values():
        share = mask.float().mean((2, 3))
        assert ((share == 0) | (share == 1)).all()
    assert sum(counts(masking).values()) == 9 * (96 - count(0.7, 96))


def test_the_same_seed_gives_the_same_masks():
    first, second, other = (Masking(mlp(), init="erk", density=0.2, seed=seed) for seed in (7, 7, 8))
    assert_same(first.masks, second.masks)
    assert any(not torch.equal(mask, other.masks[name]) for name, mask in first.masks.items())


def test_erdos_renyi_keeps_small_layers_denser():
    masking = Masking(mlp(sizes=(64, 100, 10)), init="er", density=0.1, seed=0)
    assert masking.report()[1]["sparsity"] < masking.report()[0]["sparsity"]


def test_resume_keeps_what_is_not_zero():
    model = mlp()
    with torch.no_grad():
        model[0].weight[::2] = 0
    masking = Masking(model, init="resume")
    assert torch.equal(masking.masks["0.weight"], model[0].weight != 0)


@pytest.mark.parametrize("convert", [lambda mask: mask, lambda mask: mask.numpy()], ids=["torch", "numpy"])
def test_lottery_masks_with_and_without_shuffle(convert):
    ticket = {name: convert(mask) for name, mask in Masking(mlp(), init="erk", density=0.2, seed=3).masks.items()}
    model = mlp(seed=1)
    masking = Masking(model, masks=ticket)
    assert all((masking.masks[name].numpy() == np.asarray(mask)).all() for name, mask in ticket.items())
    assert_masked(masking)
    shuffled = Masking(mlp(seed=1), init="lottery", masks=ticket, shuffle=True, seed=0)
    assert counts(shuffled) == counts(masking)
    assert any(not torch.equal(mask, masking.masks[name]) for name, mask in shuffled.masks.items())
    masking.masks["0.weight"].zero_()
    assert np.asarray(ticket["0.weight"]).any()  # a copy


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_keep_zero_what_is_off(name, kind):
    make, shape = MODELS[name]
    model = make()
    optimizer = OPTIMIZERS[kind](model.parameters())
    masking = Masking(model, optimizer, init="erk", density=0.3, seed=0)
    before = counts(masking)
    start = copy.deepcopy(model.state_dict())
    for step in range(1, 5):
        assert train(model, masking, 1, shape, step) == [None]
        assert_masked(masking)
    assert counts(masking) == before
    assert masking.step_number == 4
    for key, mask in masking.masks.items():
        parameter = dict(model.named_parameters())[key]
        assert (parameter[mask] != start[key][mask]).any()
        assert (parameter.grad[~mask] == 0).all()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_masked_step_is_that_of_the_weights_that_are_there(kind):
    """Against a twin: the optimizer alone over the vector of the kept weights."""
    torch.manual_seed(0)
    model = nn.Linear(6, 4, bias=False).double()
    masking = Masking(model, OPTIMIZERS[kind](model.parameters()), init="random", density=0.5, seed=0)
    mask = masking.masks["weight"]
    twin = model.weight[mask].detach().clone().requires_grad_()
    optimizer = OPTIMIZERS[kind]([twin])
    for step in range(6):
        x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        model.zero_grad()
        twin.grad = None
        (model(x) ** 2).sum().backward()
        full = torch.zeros(4, 6, dtype=torch.float64)
        full[mask] = twin
        ((x @ full.T) ** 2).sum().backward()
        masking.step()
        optimizer.step()
        torch.testing.assert_close(model.weight[mask], twin, rtol=1e-12, atol=1e-14)


def test_without_an_optimizer_step_follows_ones_own():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masking = Masking(model, init="erk", density=0.2, seed=0)
    for step in range(3):
        backward(model, step)
        optimizer.step()
        masking.step()
        assert_masked(masking)


def test_a_step_of_ones_own_under_the_masks():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    masking = Masking(model, optimizer, init="erk", density=0.2, seed=0)
    taken = []
    backward(model, 0)
    masking.step(lambda: taken.append(optimizer.step()))
    assert taken == [None]
    assert_masked(masking)
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=0.1)
    masking = Masking(model, lbfgs)
    x, y = batch(0)

    def closure():
        lbfgs.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    masking.step(lambda: lbfgs.step(closure))
    assert_masked(masking)


def test_frozen_weights_and_weights_without_gradient_stay():
    model = mlp()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    masking = Masking(model, optimizer, init="erk", density=0.3, seed=0)
    before = model[0].weight.clone()
    train(model, masking, 3)
    assert torch.equal(model[0].weight, before)
    assert_masked(masking)


def test_no_hooks_and_nothing_replaced():
    model = mlp()
    parameters, classes = list(model.parameters()), [type(module) for module in model.modules()]
    Masking(model, init="erk", density=0.2, seed=0)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert classes == [type(module) for module in model.modules()]
    for module in model.modules():
        assert not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
        assert "forward" not in vars(module)


def test_masks_are_stored_once():
    model = mlp(sizes=(100, 100))
    plain = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    Masking(model, init="random", density=0.1, seed=0)
    masked = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert masked - plain == 100 * 100  # one byte per weight
    file = io.BytesIO()
    torch.save(model, file)
    assert len(file.getvalue()) < 1.1 * masked + 8192


def through_file(thing, **options):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, **options)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("after", [False, True], ids=["fresh", "trained"])
@pytest.mark.parametrize("way", ["state_dict", "file", "deepcopy", "module", "half", "double", "device"])
def test_masks_survive(name, after, way):
    make, shape = MODELS[name]
    model = make()
    masking = Masking(model, OPTIMIZERS["adam"](model.parameters()), init="erk", density=0.3, seed=0)
    if after:
        train(model, masking, 2, shape)
    wanted = {key: mask.clone() for key, mask in masking.masks.items()}
    if way in ("state_dict", "file"):
        state = model.state_dict() if way == "state_dict" else through_file(model.state_dict(), weights_only=True)
        survivor = make(seed=5)
        again = Masking(survivor, init="erk", density=0.5, seed=1)
        survivor.load_state_dict(state)
        assert_same(again.masks, wanted)
    elif way == "deepcopy":
        survivor = copy.deepcopy(model)
    elif way == "module":
        survivor = through_file(model, weights_only=False)
    elif way == "half":
        survivor = model.half()
    elif way == "double":
        survivor = model.double()
    else:
        survivor = model.to("meta").to_empty(device="cpu")  # goes through the same code as an accelerator
        survivor.load_state_dict({**make(seed=5).state_dict(), **{f"{key}_mask": mask for key, mask in wanted.items()}})
    picked_up = Masking(survivor)
    assert_same(picked_up.masks, wanted)
    assert_masked(picked_up)


def test_a_copy_is_independent_of_the_original():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["adam"](model.parameters()), init="erk", density=0.3, seed=0)
    train(model, masking, 2)
    kept = {name: mask.clone() for name, mask in masking.masks.items()}
    other = Masking(copy.deepcopy(model))
    other.prune(0.95)
    assert_same(masking.masks, kept)
    assert other.sparsity > masking.sparsity


def test_model_optimizer_and_masking_are_copied_together():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["adam"](model.parameters()), init="erk", density=0.3, grow="random", every=2,
                      seed=0)  # fmt: skip
    train(model, masking, 3)
    twin, ours = copy.deepcopy((model, masking))
    train(model, masking, 5, first=4)
    train(twin, ours, 5, first=4)
    assert_same(model.state_dict(), twin.state_dict())


@pytest.mark.filterwarnings("ignore")  # those of torch.compile's own modules
@pytest.mark.parametrize("before", [False, True], ids=["compiled after", "compiled before"])
def test_compiled_models_are_masked(before):
    model, plain = mlp(), mlp()
    compiled = torch.compile(model) if before else model
    options = {"init": "erk", "density": 0.3, "grow": "gradient", "every": 2, "seed": 0}
    masking = Masking(compiled, OPTIMIZERS["momentum"](model.parameters()), **options)
    assert list(masking.masks) == ["0.weight", "2.weight", "4.weight"]
    compiled = compiled if before else torch.compile(model)
    reference = Masking(plain, OPTIMIZERS["momentum"](plain.parameters()), **options)
    try:
        compiled(batch(0)[0])
    except Exception as error:  # the one place where a missing compiler shows
        if "compiler" in str(error).lower():
            pytest.skip("torch.compile finds no C++ compiler")
        raise
    for step in range(1, 6):
        train(compiled, masking, 1, first=step)
        train(plain, reference, 1, first=step)
        assert_masked(masking)
        torch.testing.assert_close(compiled(batch(0)[0]), plain(batch(0)[0]), rtol=1e-4, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(sparsity=st.floats(0, 1), more=st.floats(0, 1), scope=st.sampled_from(["layer", "global", "row"]))
def test_pruning_once_and_again_is_exact(sparsity, more, scope):
    masking = Masking(mlp(sizes=(7, 5, 4)))
    first = {name: mask.clone() for name, mask in masking.masks.items()}
    for target in sorted((sparsity, more)):
        change = masking.prune(target, scope=scope, min_per_layer=0)
        assert_masked(masking)
        for name, mask in masking.masks.items():
            assert not (mask & ~first[name]).any()
            assert torch.equal(change.dropped[name], first[name] & ~mask)
            first[name] = mask.clone()
        sizes = [(mask.numel() - int(mask.sum()), mask.numel(), mask.shape[0]) for mask in masking.masks.values()]
        if scope == "layer":
            assert all(off == count(target, size) for off, size, _ in sizes)
        elif scope == "row":
            assert all(off == rows * count(target, size // rows) for off, size, rows in sizes)
        else:
            assert sum(off for off, _, _ in sizes) == count(target, sum(size for _, size, _ in sizes))


@pytest.mark.parametrize("method", ["magnitude", "snip", "taylor", "gradient"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_pruning_is_that_of_numpy(method, scope):
    model = mlp().double()
    x, y = batch(0)
    nn.functional.cross_entropy(model(x.double()), y).backward()
    weights = {name: p.detach().numpy().copy() for name, p in model.named_parameters() if p.ndim > 1}
    gradients = {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.ndim > 1}
    signals = {name: {"gradient": gradient} for name, gradient in gradients.items()}
    expected = prune_tensors(weights, 0.8, method, scope=scope, signals=signals)
    masking = Masking(model)
    masking.prune(0.8, method, scope=scope)
    assert all((masking.masks[name].numpy() == mask).all() for name, mask in expected.items())


def test_one_pruning_that_is_refused_changes_nothing():
    model = mlp()
    masking = Masking(model, init="erk", density=0.5, seed=0)
    for error, match, arguments, options in [
        (ValueError, "sparsity must be in", (1.5,), {}),
        (ValueError, "did you mean 'magnitude'", (0.9, "magnitud"), {}),
        (ValueError, r"pruning by 'snip' needs the gradient of '0\.weight', got none", (0.9, "snip"), {}),
        (ValueError, "movement", (0.9, "movement"), {}),
        (ValueError, "input_norm", (0.9, "wanda"), {}),
        (ValueError, r"'0\.weigth'.*did you mean '0\.weight'", (0.9, "wanda"), {"signals": {"0.weigth": {}}}),
        (ValueError, "off", (0.1,), {}),  # more is off already
    ]:
        before = snapshot(model, masking)
        with pytest.raises(error, match=match) as caught:
            masking.prune(*arguments, **options)
        assert_one_sentence(caught)
        assert_same(before, snapshot(model, masking))


def test_two_of_four_and_a_users_own_scorer():
    masking = Masking(nn.Linear(8, 4))
    masking.prune(pattern="2:4")
    assert (masking.masks["weight"].reshape(4, 2, 4).sum(-1) == 2).all()
    masking = Masking(nn.Linear(8, 4))
    masking.prune(0.5, lambda weight: -abs(weight))
    kept = masking._layers["weight"].parameter[masking.masks["weight"]]
    assert masking.sparsity == 0.5 and kept.abs().max() > 0


def test_random_pruning_draws_from_the_seed():
    first, second, other = Masking(mlp(), seed=1), Masking(mlp(), seed=1), Masking(mlp(), seed=2)
    for masking in (first, second, other):
        masking.prune(0.5, "random")
    assert_same(first.masks, second.masks)
    assert any(not torch.equal(mask, other.masks[name]) for name, mask in first.masks.items())


def test_assigning_masks_replaces_them():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["adam"](model.parameters()), init="erk", density=0.5, seed=0)
    train(model, masking, 2)
    wanted = Masking(mlp(), init="random", density=0.2, seed=4).masks
    masking.masks = wanted
    assert_same(masking.masks, wanted)
    assert_masked(masking)
    before = snapshot(model, masking)
    with pytest.raises(ValueError, match="got none for"):
        masking.masks = {"0.weight": wanted["0.weight"]}
    assert_same(before, snapshot(model, masking))


def test_remove_makes_it_permanent():
    model = mlp()
    keys = set(model.state_dict())
    masking = Masking(model, init="erk", density=0.2, seed=0)
    x, output = batch(0)[0], model(batch(0)[0])
    masking.remove()
    assert set(model.state_dict()) == keys
    assert torch.equal(model(x), output)
    assert Masking(model, init="resume").sparsity == pytest.approx(0.8, abs=0.01)
    for call in (masking.step, masking.remove, lambda: masking.masks, lambda: masking.prune(0.5)):
        with pytest.raises(RuntimeError, match="the masks were removed") as error:
            call()
        assert_one_sentence(error)
    assert repr(masking) == "Masking, removed"


def test_the_report_names_every_layer():
    masking = Masking(mlp(), init="random", density=0.25, seed=0)
    assert masking.report()[0] == {"name": "0.weight", "shape": (20, 12), "size": 240, "kept": 60, "sparsity": 0.75}
    assert repr(masking).splitlines()[0].split() == ["weight", "shape", "kept", "of", "sparsity"]
    assert repr(masking).splitlines()[1].split() == ["0.weight", "20", "x", "12", "60", "240", "75.00%"]
    assert repr(masking).splitlines()[-1].split() == ["all", "prunable", "weights", "150", "600", "75.00%"]
    assert len({len(line) for line in repr(masking).splitlines()}) == 1


def test_half_precision_is_masked():
    model = mlp().bfloat16()
    masking = Masking(model, torch.optim.SGD(model.parameters(), lr=0.1), init="erk", density=0.3, seed=0)
    x, y = batch(0)
    nn.functional.cross_entropy(model(x.bfloat16()), y).backward()
    masking.step()
    assert_masked(masking)
    masking.prune(0.9, scope="global")
    assert masking.sparsity == 1 - (600 - count(0.9, 600)) / 600


def test_attention_is_pruned_where_it_computes():
    model = Attentive()
    masking = Masking(model, init="random", density=0.5, seed=0)
    assert list(masking.masks) == ["attention.in_proj_weight", "attention.out_proj.weight", "out.weight"]
    assert (model.attention.in_proj_weight == 0).sum() == 96
    model.eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.train()(x))


def test_the_layout_in_memory_does_not_matter():
    plain = convolutional()
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    found = []
    for model in (plain, last):
        optimizer = OPTIMIZERS["momentum"](model.parameters())
        masking = Masking(model, optimizer, init="erk", density=0.5, grow="gradient", every=2, seed=0)
        train(model, masking, 4, (1, 6, 6))
        masking.prune(0.9)
        found.append(masking.masks)
    assert_same(*found)


def test_mixed_precision():
    model = nn.Linear(12, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masking = Masking(model, optimizer, init="random", density=0.5, grow="gradient", every=2, seed=0)
    scaler = torch.amp.GradScaler("cpu")
    for step in range(4):
        optimizer.zero_grad()
        x, y = batch(step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        masking.step(lambda: scaler.step(optimizer))
        scaler.update()
        assert_masked(masking)
    assert masking.sparsity == 0.5
