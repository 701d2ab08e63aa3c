"""What a Masking refuses before anything changes: starts, plans and arguments that can never work."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402

import neuroprune as npr  # noqa: E402
from bridge import assert_one_sentence  # noqa: E402
from neuroprune.pruning.masks import Axis, Block  # noqa: E402
from neuroprune.pruning.rewire import Rewire  # noqa: E402
from neuroprune.tensors.calibration import calibrate  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402
from torch_models import OPTIMIZERS, assert_same, batch, convolutional, mlp, snapshot, train  # noqa: E402


def refuses(error, match, model, *arguments, **options):
    before = snapshot(model, None)
    with pytest.raises(error, match=match) as caught:
        Masking(model, *arguments, **options)
    assert_one_sentence(caught)
    assert_same(before, snapshot(model, None))


def test_starts_that_make_no_sense():
    model = mlp()
    ticket = Masking(mlp(), init="erk", density=0.2, seed=3).masks
    refuses(ValueError, "did you mean 'erk'", model, init="erkk", density=0.1)
    refuses(ValueError, "init='erk' needs a density", model, init="erk")
    refuses(ValueError, "density belongs to", model, init="dense", density=0.1)
    refuses(ValueError, "got neither init nor masks", model, density=0.1)
    refuses(ValueError, "needs masks by name", model, init="lottery")
    refuses(ValueError, "masks belong to", model, init="erk", density=0.1, masks=ticket)
    refuses(ValueError, "shuffle permutes given masks", model, init="resume", shuffle=True)
    for density in (0, 0.0, -0.1, 1.5, True, "dense"):
        refuses(ValueError, r"density must be a number in \(0, 1\], got", model, init="random", density=density)
    refuses(ValueError, "density must be a number", model, init="random", density=float("nan"))
    refuses(ValueError, r"got '0\.weigh': did you mean '0\.weight'", model, masks={**ticket, "0.weigh": 1})
    refuses(ValueError, r"got none for '4\.weight'", model, masks={n: ticket[n] for n in ("0.weight", "2.weight")})
    refuses(ValueError, r"must have its weight's shape \(20, 12\), got \(15, 20\)", model,
            masks={**ticket, "0.weight": ticket["2.weight"]})  # fmt: skip
    refuses(TypeError, "must be a boolean array, got torch.float32", model,
            masks={**ticket, "0.weight": ticket["0.weight"].float()})  # fmt: skip
    refuses(TypeError, "must be a boolean array, got list", model, masks={**ticket, "0.weight": [True]})
    refuses(TypeError, "masks must be a mapping", model, masks=list(ticket.values()))
    refuses(TypeError, r"optimizer must be a torch\.optim\.Optimizer, got float", model, 0.1)
    other = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)
    refuses(ValueError, "optimizer must train the model, got one that has none of its parameters", model, other)
    refuses(ValueError, "seed must be at least 0", model, seed=-1)


def test_plans_that_make_no_sense():
    model = convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = npr.schedules.Cubic(0.9, 1, 10)
    refuses(ValueError, "got both: pass one of them", model, optimizer, rewire=Rewire(), schedule=schedule)
    refuses(
        ValueError, r"every belongs in the Rewire.*Rewire\(every=\.\.\.\)", model, optimizer, rewire=Rewire(), every=2
    )
    refuses(TypeError, "rewire must be a Rewire, got str", model, optimizer, rewire="rigl")
    refuses(ValueError, "needs the optimizer, got none", model, rewire=Rewire())
    refuses(ValueError, "needs the optimizer, got none", model, rewire=Rewire.snfs())
    refuses(ValueError, r"keeps it, got one without for '0\.weight'", model, optimizer, rewire=Rewire.snfs())
    refuses(ValueError, "method belongs to a schedule, got none", model, method="snip")
    refuses(TypeError, "schedule must be one of npr.schedules, got float", model, schedule=0.9)
    refuses(
        ValueError, "needs the signal 'input_norm', which training does not", model, schedule=schedule, method="wanda"
    )
    refuses(
        ValueError, "needs the signal 'gradient', which training does not", model, schedule=schedule, method="synflow"
    )
    refuses(ValueError, "did you mean 'magnitude'", model, schedule=schedule, method="magnitud")
    refuses(ValueError, "movement pruning needs the optimizer", model, schedule=schedule, method="movement")


@pytest.mark.parametrize("init", ["random", "er", "erk"])
@pytest.mark.parametrize("density", [0.0, 1e-9, 1e-4])
def test_a_start_that_empties_a_layer(init, density):
    refuses(ValueError, "density", mlp(), init=init, density=density)


def test_an_emptied_layer_is_named():
    refuses(ValueError, r"got none of the 60 of '4\.weight': raise the density, or exclude '4\.weight'", mlp(),
            init="random", density=0.005)  # fmt: skip
    assert Masking(mlp(), init="random", density=0.005, exclude=["4"], seed=0).sparsity == 1 - 3 / 540


@pytest.mark.parametrize("kind", ["sgd", "adagrad"])
def test_growth_by_momentum_needs_an_optimizer_that_keeps_it(kind):
    model = mlp()
    refuses(ValueError, r"an optimizer that keeps it, got one without for '0\.weight'", model,
            OPTIMIZERS[kind](model.parameters()), rewire=Rewire.snfs(every=1))  # fmt: skip


def test_growth_by_momentum_needs_every_trained_weight_in_the_optimizer():
    model = mlp()
    optimizer = torch.optim.Adam(model[0].parameters())
    refuses(ValueError, r"got none of its groups with '2\.weight'", model, optimizer, rewire=Rewire.snfs())
    mixed = torch.optim.SGD([{"params": [*model[0].parameters(), *model[4].parameters()], "momentum": 0.9},
                             {"params": model[2].parameters()}], lr=0.1)  # fmt: skip
    refuses(ValueError, r"got one without for '2\.weight'", model, mixed, rewire=Rewire.snfs())
    model[2].weight.requires_grad_(False)
    masking = Masking(model, mixed, init="random", density=0.5, rewire=Rewire.snfs(every=1, until=9), seed=0)
    assert train(model, masking, 1) != [None]


@pytest.mark.parametrize("role, rule, signal", [
    ("drop", "wanda", "input_norm"), ("drop", "fisher", "squared_gradient"), ("drop", "movement", "movement"),
    ("grow", "wanda", "input_norm"), ("grow", "grasp", "hessian_gradient"), ("grow", "synflow", "synaptic flow"),
    ("drop", lambda weight, *, curvature: curvature, "curvature"),
])  # fmt: skip
def test_rules_that_need_what_training_does_not_have(role, rule, signal):
    model = mlp()
    refuses(ValueError, f"{role}=.* needs the .*{signal}.*, which training does not have", model,
            OPTIMIZERS["adam"](model.parameters()), rewire=Rewire(**{role: rule}))  # fmt: skip


def test_a_random_drop_draws_from_the_seed():
    found = []
    for seed in (0, 0, 1):
        model = mlp()
        masking = Masking(model, OPTIMIZERS["adam"](model.parameters()), init="erk", density=0.5, drop="random",
                          every=1, seed=0)  # fmt: skip
        masking.rng = np.random.default_rng(seed)
        train(model, masking, 2)
        found.append({name: mask.clone() for name, mask in masking.masks.items()})
    assert_same(found[0], found[1])
    assert any(not torch.equal(mask, found[2][name]) for name, mask in found[0].items())


def test_units_that_are_no_axes_or_nobodys():
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 2))
    optimizer = OPTIMIZERS["adam"](model.parameters())
    refuses(ValueError, r"unit belongs to .*, got \(7,\) with neither", model, unit=(7,))
    refuses(ValueError, "unit belongs to", model, init="resume", unit=(0, 1))
    refuses(ValueError, r"unit must name axes of weight '0\.weight' .* got \(7,\)", model, optimizer, grow="random",
            unit=(7,))  # fmt: skip
    refuses(ValueError, r"units must have one size .*, got units of \[4, 9\] weights", model, optimizer,
            rewire=Rewire(scope="global", unit=(0, 1)))  # fmt: skip


def test_scopes_and_patterns_that_make_no_sense():
    model, once = mlp(), npr.schedules.OneShot
    refuses(ValueError, "scope must be .* got 'globl': did you mean 'global'", model, schedule=once(0.5, 1),
            scope="globl")  # fmt: skip
    refuses(ValueError, "2/4", model, schedule=once(0.5, 1), pattern="2/4")
    refuses(ValueError, r"weight '2\.weight' must have a multiple of 8 along axis 1", model, schedule=once(0.5, 1),
            pattern="4:8", exclude=["0"])  # fmt: skip
    for pattern in (Axis(0), Block((1, 2))):
        refuses(ValueError, "scope must be 'layer' or 'global' with", model, schedule=once(0.5, 1), pattern=pattern,
                scope="row", exclude=["4"])  # fmt: skip


@pytest.mark.parametrize("schedule", [
    npr.schedules.OneShot(0.9, 1), npr.schedules.Cubic(0.5, 1, 10), npr.schedules.Linear(0.9, 3, 3),
    npr.schedules.Iterative(0.5, 1, 9, 3),
])  # fmt: skip
def test_a_pattern_of_a_share_has_no_steps_between(schedule):
    refuses(ValueError, r"schedule must ask for 0\.5 at once with NM.*pass npr\.schedules\.OneShot\(0\.5", mlp(
        sizes=(12, 8, 4)), schedule=schedule, pattern="2:4")  # fmt: skip


@pytest.mark.parametrize("schedule", [npr.schedules.Linear(0.5, 3, 3), npr.schedules.Iterative(0.5, 1, 3, 1)])
def test_schedules_of_one_pruning_meet_a_pattern(schedule):
    model = mlp(sizes=(12, 8, 4))
    masking = Masking(model, OPTIMIZERS["sgd"](model.parameters()), schedule=schedule, pattern="2:4")
    train(model, masking, 4)
    assert masking.sparsity == 0.5


def test_signals_that_do_not_fit_the_weights():
    model, schedule = mlp(), npr.schedules.OneShot(0.5, 1)
    good = {name: {"input_norm": torch.ones(p.shape[1])} for name, p in model.named_parameters() if p.ndim > 1}
    options = {"schedule": schedule, "method": "wanda"}
    refuses(ValueError, r"signals must be named like the weights, got '0\.weigth': did you mean '0\.weight'", model,
            signals={**good, "0.weigth": {}}, **options)  # fmt: skip
    refuses(ValueError, r"'input_norm' of every weight, got none for '2\.weight'", model,
            signals={**good, "2.weight": {"norm": 1}}, **options)  # fmt: skip
    refuses(ValueError, r"got none for '2\.weight'", model, signals={**good, "2.weight": None}, **options)
    refuses(ValueError, r"got none for '2\.weight'", model, signals=calibrate(model[:2], [batch(0)]), **options)
    refuses(TypeError, "signals must be a Calibration, a mapping .* got int", model, signals=5, **options)


def test_signals_of_what_is_excluded_are_passed_over():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["sgd"](model.parameters()), schedule=npr.schedules.OneShot(0.5, 1),
                      method="wanda", signals=calibrate(model, [batch(0)]), exclude=["2"])  # fmt: skip
    train(model, masking, 1)
    assert [row["kept"] for row in masking.report()] == [120, 28]  # of 15 each of 4 rows keeps 7


@pytest.mark.parametrize("exclude", [5, None])
def test_names_to_exclude_come_in_a_list(exclude):
    refuses(TypeError, f"exclude must be a list of names, got {exclude}", mlp(), exclude=exclude)
    refuses(ValueError, r"exclude must name modules or parameters of the model, got 0", mlp(), exclude=[0])


@pytest.mark.parametrize("option", ["masks", "in_place"])
def test_one_pruning_is_under_its_own_masks(option):
    model = mlp()
    masking = Masking(model)
    before = snapshot(model, masking)
    with pytest.raises(ValueError, match=f"{option} must be left out") as caught:
        masking.prune(0.5, **{option: True})
    assert_one_sentence(caught)
    assert_same(before, snapshot(model, masking))
