"""Which parameters of a PyTorch model are prunable, and where their masks are kept."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

from bridge import assert_one_sentence  # noqa: E402
from neuroprune.tensors.prunable import prunables  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402


class Everything(nn.Module):
    """One of each kind."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.other = nn.MultiheadAttention(8, 2, kdim=4, vdim=6)
        self.one, self.two, self.three = nn.Conv1d(1, 2, 3), nn.Conv2d(1, 2, 3), nn.Conv3d(1, 2, 3)
        self.up = nn.ConvTranspose2d(2, 2, 2)
        self.batch = nn.BatchNorm2d(2)
        self.recurrent = nn.LSTM(4, 4)
        self.out = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3, bias=False))


EXPECTED = [
    "attention.in_proj_weight", "attention.out_proj.weight", "other.q_proj_weight", "other.k_proj_weight",
    "other.v_proj_weight", "other.out_proj.weight", "one.weight", "two.weight", "three.weight", "out.0.weight",
    "out.2.weight",
]  # fmt: skip


def test_weights_of_layers_and_projections_but_no_biases_norms_or_cells():
    model = Everything()
    found = prunables(model)
    assert list(found) == EXPECTED
    parameters = dict(model.named_parameters())
    assert all(layer.parameter is parameters[name] for name, layer in found.items())


def test_embeddings_on_request():
    assert list(prunables(Everything(), embeddings=True)) == ["embedding.weight", *EXPECTED]


@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        ("out", {"out.0.weight", "out.2.weight"}),
        (["out.2"], {"out.2.weight"}),
        (["out.2.weight", "attention"], {"out.2.weight", "attention.in_proj_weight", "attention.out_proj.weight"}),
        (["norm", "embedding"], set()),
    ],
)
def test_exclude_takes_names_of_modules_and_parameters(exclude, gone):
    assert set(EXPECTED) - set(prunables(Everything(), exclude)) == gone


def test_exclude_knows_the_nearest_name():
    with pytest.raises(ValueError, match=r"'out\.3'.*did you mean 'out\.[02]'") as error:
        prunables(Everything(), ["out.3"])
    assert_one_sentence(error)


def test_a_shared_parameter_comes_once_and_has_one_mask():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    found = prunables(model)
    assert list(found) == ["0.weight", "1.weight"]
    assert found["0.weight"].aliases == ("0.weight", "2.weight")
    masking = Masking(model, init="random", density=0.5, seed=0)
    assert [name for name, _ in model.named_buffers()] == ["0.weight_mask", "1.weight_mask"]
    assert (model[2].weight[~masking.masks["0.weight"]] == 0).all()
    assert list(prunables(model, exclude=["2"])) == ["1.weight"]


def test_a_module_used_twice_comes_once():
    layer = nn.Linear(4, 4)
    assert list(prunables(nn.Sequential(layer, layer))) == ["0.weight"]


def test_a_weight_shared_with_an_embedding_is_an_embedding():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert list(prunables(model)) == ["2.weight"]
    assert list(prunables(model, embeddings=True)) == ["0.weight", "2.weight"]


def test_the_model_may_be_one_layer():
    masking = Masking(nn.Linear(3, 2))
    assert list(masking.masks) == ["weight"]


@pytest.mark.parametrize("model", [nn.Sequential(), nn.BatchNorm1d(3), nn.Embedding(4, 3), nn.LSTM(2, 2)])
def test_nothing_to_prune(model):
    with pytest.raises(ValueError, match="the model must have a prunable weight") as error:
        Masking(model)
    assert_one_sentence(error)


def test_what_is_no_model():
    for wrong in ([torch.zeros(2, 2)], None, torch.zeros(2)):
        with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got"):
            Masking(wrong)


def refused(model, error, match):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()
              if not isinstance(tensor, nn.parameter.UninitializedParameter)}  # fmt: skip
    with pytest.raises(error, match=match) as caught:
        Masking(model, init="resume")
    assert_one_sentence(caught)
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(name.endswith("weight_mask") and name not in before for name in after)


def test_weights_that_cannot_be_pruned():
    refused(
        nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3)), ValueError, r"'1\.weight' must have its shape, got a lazy"
    )
    with pytest.warns(UserWarning, match="Initializing zero-element"):
        empty = nn.Linear(0, 3)
    refused(nn.Sequential(nn.Linear(2, 2), empty), ValueError, r"'1\.weight' must have elements, got shape \(3, 0\)")
    refused(
        nn.Sequential(nn.Linear(2, 2, dtype=torch.complex64)), TypeError, r"real floating numbers, got torch\.complex"
    )
    model = nn.Sequential(nn.Linear(2, 2), parametrizations.orthogonal(nn.Linear(2, 2)))
    refused(model, ValueError, r"'1\.weight' must be a plain parameter, got one that is computed")
    assert list(Masking(model, exclude=["1"]).masks) == ["0.weight"]
    assert parametrize.is_parametrized(model[1])
    sparse = nn.Sequential(nn.Embedding(4, 4, sparse=True), nn.Linear(4, 4))
    assert list(Masking(sparse).masks) == ["1.weight"]
    with pytest.raises(ValueError, match=r"'0\.weight' must have dense gradients, got sparse=True"):
        Masking(sparse, embeddings=True)


def test_a_name_taken_by_something_else():
    model = nn.Linear(3, 3)
    model.register_buffer("weight_mask", torch.ones(3, 3))
    refused(model, ValueError, "'weight_mask' must be free for a mask of booleans, got torch.float32")
    model = nn.Linear(3, 3)
    model.weight_mask = "mine"
    refused(model, ValueError, "'weight_mask' must be free for a mask of booleans, got str")


@pytest.mark.parametrize("forward", [False, True])
def test_models_pruned_by_torch_go_on_with_their_masks(forward):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameter = model[0].weight
    prune.l1_unstructured(model[0], "weight", 0.5)
    expected = model[0].weight_mask.bool().clone()
    x = torch.randn(3, 6)
    if forward:
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    output = model(x)
    masking = Masking(model, optimizer)
    assert model[0].weight is parameter
    assert not hasattr(model[0], "weight_orig") and not model[0]._forward_pre_hooks
    assert torch.equal(masking.masks["0.weight"], expected) and masking.masks["2.weight"].all()
    assert masking.masks["0.weight"].dtype == torch.bool
    assert torch.equal(model(x), output)


def test_a_start_of_ones_own_counts_for_models_pruned_by_torch():
    model = nn.Sequential(nn.Linear(6, 5))
    prune.l1_unstructured(model[0], "weight", 0.5)
    kept = model[0].weight_mask.bool().clone()
    masking = Masking(model, init="resume")
    assert torch.equal(masking.masks["0.weight"], kept)
    prune.l1_unstructured(model[0], "weight", 0.5)
    assert Masking(model, init="dense").masks["0.weight"].all()


def test_models_pruned_by_torch_several_times_over():
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    prune.ln_structured(model[0], "weight", 0.25, n=2, dim=0)
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.global_unstructured([(model[0], "weight"), (model[3], "weight")], prune.L1Unstructured, amount=0.3)
    expected = {name: model.get_submodule(name[0]).weight_mask.bool() for name in ("0.weight", "3.weight")}
    model(torch.randn(2, 2, 6, 6)).sum().backward()
    with pytest.raises(RuntimeError):
        copy.deepcopy(model)  # theirs cannot be copied after a forward pass
    masking = Masking(model)
    assert all(torch.equal(masking.masks[name], mask) for name, mask in expected.items())
    assert Masking(copy.deepcopy(model)).report() == masking.report()
