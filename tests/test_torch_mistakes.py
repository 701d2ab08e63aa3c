"""Mistakes that are easy to make with masks of a PyTorch model: each is refused in one sentence, or does no harm."""

import io

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402

import neuroprune as npr  # noqa: E402
from bridge import assert_one_sentence  # noqa: E402
from neuroprune.pruning.rewire import Rewire  # noqa: E402
from neuroprune.tensors.signals import signals  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402
from torch_models import OPTIMIZERS, assert_masked, assert_same, backward, batch, mlp, snapshot, train  # noqa: E402

FORGOTTEN = r"pass the optimizer to Masking, or call your own optimizer\.step\(\) before"


def refuses(error, match, call, model, masking=None):
    before = snapshot(model, masking)
    with pytest.raises(error, match=match) as caught:
        call()
    assert_one_sentence(caught)
    assert_same(before, snapshot(model, masking))


class InData(torch.optim.Optimizer):
    """Writes into `.data` as older optimizers do, which leaves the version of a parameter as it is."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.add_(parameter.grad.data, alpha=-group["lr"])


@pytest.mark.parametrize("options", [{}, {"init": "erk", "density": 0.05, "seed": 0}], ids=["dense", "sparse"])
def test_a_step_that_nobody_takes_is_refused(options):
    model = mlp()
    masking = Masking(model, **options)
    backward(model, 1)
    refuses(ValueError, FORGOTTEN, masking.step, model, masking)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.step()
    masking.step()
    backward(model, 2)
    refuses(ValueError, FORGOTTEN, masking.step, model, masking)  # later as well
    optimizer.step()
    masking.step()
    assert masking.step_number == 2


KINDS = {**OPTIMIZERS, "no rate yet": lambda parameters: torch.optim.SGD(parameters, lr=0.0), "in data": InData,
         "for each": lambda parameters: torch.optim.SGD(parameters, lr=0.1, foreach=True),
         "fused": lambda parameters: torch.optim.Adam(parameters, fused=True)}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_whatever_optimizer_is_seen(kind):
    model = mlp()
    optimizer = KINDS[kind](model.parameters())
    masking = Masking(model, init="erk", density=0.1, seed=0)
    for step in range(3):
        backward(model, step)
        optimizer.step()
        if step == 1:
            masking.apply()
        if step == 2:
            masking.prune(0.95, scope="global")
        masking.step()
    assert_masked(masking)
    assert masking.step_number == 3


def test_steps_without_news_are_not_forgotten_ones():
    model = mlp()
    masking = Masking(model)
    masking.step()  # no gradients
    backward(model, 1)
    masking.step(lambda: None)  # somebody says that this is the step
    model[0].weight.grad[0, 0] = float("inf")  # a GradScaler skips it
    masking.step()
    model.requires_grad_(False)
    masking.step()
    model.requires_grad_(True)
    backward(model, 1)
    model.double()
    masking.step()
    assert masking.step_number == 5


@pytest.mark.parametrize("options", [{"grow": "gradient", "every": 2}, {"every": 3}, {"rewire": Rewire.set(every=2)},
                                     {"grow": "random", "init": "dense", "every": 2}], ids=str)  # fmt: skip
def test_growth_needs_a_sparse_start(options):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masking = Masking(model, optimizer, **options)  # masks may be loaded, or pruned, before the first update
    for number in range(1, masking.rewire.every):
        backward(model, number)
        masking.step()
    backward(model, 0)
    refuses(ValueError, "rewire needs a sparse start, got masks that keep all: pass init='erk'", masking.step, model)
    masking.prune(0.5)
    masking.step()
    assert masking.sparsity == 0.5


def test_growth_starts_from_what_is_pruned_and_shrinking_from_all():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Masking(model, optimizer, rewire=Rewire(grow=None))
    Masking(model).prune(0.5)
    assert Masking(model, optimizer, grow="gradient").sparsity == 0.5


def test_a_schedule_of_graphs_is_refused():
    model = mlp()
    schedule = npr.PruningSchedule(0.9, start=1, end=5, method="snip", regrow_fraction=0.5)
    refuses(TypeError, r"got PruningSchedule, whose method .* pass npr\.schedules\.Cubic\(\.\.\.\) .*, and method=",
            lambda: Masking(model, schedule=schedule), model)  # fmt: skip


def test_single_masks_cannot_be_assigned():
    model = mlp()
    masking = Masking(model)
    with pytest.raises(TypeError, match="does not support item assignment"):
        masking.masks["0.weight"] = torch.zeros(20, 12, dtype=torch.bool)
    masking.masks = {**masking.masks, "0.weight": torch.zeros(20, 12, dtype=torch.bool)}
    assert not model[0].weight.any() and not masking.masks["0.weight"].any()
    file = io.BytesIO()
    torch.save(dict(masking.masks), file)


def test_fisher_is_not_made_of_mean_gradients():
    model = mlp()
    masking = Masking(model)
    backward(model, 1)
    refuses(ValueError, r"pruning by 'fisher' .* pass signals=neuroprune\.tensors\.signals\.signals\(model, 'fisher', ",
            lambda: masking.prune(0.9, "fisher"), model, masking)  # fmt: skip
    masking.prune(0.9, "fisher", signals=signals(model, "fisher", [batch(1)], nn.functional.cross_entropy))
    assert masking.sparsity == pytest.approx(0.9, abs=0.01)


def test_fisher_of_a_schedule_is_what_training_added_up():
    model = mlp()
    masking = Masking(model, OPTIMIZERS["sgd"](model.parameters()), schedule=npr.schedules.OneShot(0.5, 9),
                      method="fisher")  # fmt: skip
    train(model, masking, 2)
    masking.prune(0.5, "fisher")
    assert masking.sparsity == 0.5


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("wanda", r"pass signals=npr\.calibrate\(model, batches\)$"),
        ("obs_diagonal", r"pass signals=npr\.calibrate\(model, batches, hessian=True\)$"),
        ("grasp", r"pass signals=neuroprune\.tensors\.signals\.signals\(model, 'grasp', batches, loss\)$"),
        ("synflow", r"pass signals=neuroprune\.tensors\.signals\.signals\(model, 'synflow', batches\)$"),
        ("movement", "train with a schedule and method='movement'"),
        (lambda weight, *, age: age, "'age', got none: pass signals={name: {keyword: array}}"),
    ],
)
def test_a_missing_signal_says_where_to_get_it(method, hint):
    model = mlp()
    masking = Masking(model)
    backward(model, 1)
    refuses(ValueError, hint, lambda: masking.prune(0.5, method), model, masking)
    if method in ("wanda", "obs_diagonal", "grasp", "synflow"):
        refuses(ValueError, hint, lambda: Masking(model, schedule=npr.schedules.OneShot(0.5, 1), method=method), model)


def test_a_calibration_may_have_seen_more_than_is_masked():
    model = mlp()
    calibration = npr.calibrate(model, [batch(1)])
    masking = Masking(model, exclude=["2"])
    masking.prune(0.5, "wanda", signals=calibration)
    assert [row["sparsity"] for row in masking.report()] == [0.5, 8 / 15]
    assert model[2].weight.all()
    other = npr.calibrate(nn.Linear(12, 2), [batch(1)])
    refuses(ValueError, "signals must be named like the weights, got 'weight'",
            lambda: masking.prune(0.8, "wanda", signals=other), model, masking)  # fmt: skip
    refuses(ValueError, "signals must be named like the weights, got '2.weight'",
            lambda: masking.prune(0.8, "wanda", signals=calibration.signals("wanda")), model, masking)  # fmt: skip
    refuses(TypeError, "signals must be a mapping from name or a Calibration, got list",
            lambda: masking.prune(0.8, "wanda", signals=[1]), model, masking)  # fmt: skip


def test_lbfgs_without_its_closure():
    model = mlp()
    masking = Masking(model, torch.optim.LBFGS(model.parameters()), init="erk", density=0.5, seed=0)
    backward(model, 1)
    refuses(ValueError, r"pass take=lambda: optimizer\.step\(closure\)", masking.step, model, masking)
    assert all(model[i].weight.grad.all() for i in (0, 2, 4))  # not masked yet


class Tied(nn.Module):
    """An embedding whose weight is that of the output."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.out = nn.Linear(4, 10, bias=False)
        self.out.weight = self.embedding.weight


def test_a_weight_tied_to_an_embedding_says_so():
    model = Tied()
    refuses(ValueError, r"got 'embedding\.weight' tied to 'out\.weight', an Embedding: pass embeddings=True",
            lambda: Masking(model), model)  # fmt: skip
    for options in ({"exclude": ["out"]}, {"exclude": ["out"], "embeddings": True}):
        refuses(ValueError, "prunable are Linear, Conv1d", lambda options=options: Masking(model, **options), model)
    assert list(Masking(model, embeddings=True).masks) == ["embedding.weight"]


def test_going_on_from_files_with_and_without_masks():
    dense, model = mlp(seed=1), mlp()
    sparse = Masking(mlp(seed=2), init="erk", density=0.2, seed=0)
    masking = Masking(model)
    model.load_state_dict({**model.state_dict(), **{f"{name}_mask": mask for name, mask in sparse.masks.items()}})
    assert masking.sparsity == sparse.sparsity
    model.load_state_dict(dense.state_dict(), strict=False)
    assert model[0].weight.all()
    masking.apply()
    assert_masked(masking)
