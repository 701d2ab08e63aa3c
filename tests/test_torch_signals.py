"""What scorers need of a PyTorch model, computed on data: against graphs, by hand, and without a trace on the model."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy, mse_loss  # noqa: E402

from bridge import assert_one_sentence  # noqa: E402
from neuroprune import Network  # noqa: E402
from neuroprune.pruning import saliency  # noqa: E402
from neuroprune.tensors.calibration import calibrate  # noqa: E402
from neuroprune.tensors.signals import signals  # noqa: E402
from neuroprune.tensors.torch import Masking  # noqa: E402
from torch_models import MODELS, assert_same, batch, mlp  # noqa: E402

NAN = float("nan")
METHODS = ["gradient", "snip", "taylor", "fisher", "grasp", "synflow", "wanda", "obs_diagonal"]


def twins(activation="tanh", module=nn.Tanh):
    """A graph and a PyTorch model with the same weights."""
    net = Network.dense([4, 6, 3], activation=activation, seed=0)
    model = nn.Sequential(nn.Linear(4, 6), module(), nn.Linear(6, 3)).double()
    rng = np.random.default_rng(1)
    net.nodes.bias[4:] = rng.normal(size=9)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(net.connections.weight[:24].reshape(6, 4)))
        model[2].weight.copy_(torch.tensor(net.connections.weight[24:].reshape(3, 6)))
        model[0].bias.copy_(torch.tensor(net.nodes.bias[4:10]))
        model[2].bias.copy_(torch.tensor(net.nodes.bias[10:]))
    return net, model


@pytest.mark.parametrize("method", METHODS)
def test_signals_are_those_of_a_graph(method):
    net, model = twins("relu", nn.ReLU) if method == "synflow" else twins()
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    np.testing.assert_allclose(model(torch.tensor(x)).detach().numpy(), net(x), rtol=1e-12)
    expected = net.signals(method, x, y, loss="mse")
    data = [(torch.tensor(x[:7]), torch.tensor(y[:7])), (torch.tensor(x[7:]), torch.tensor(y[7:]))]
    found = signals(model, method, data, mse_loss)
    assert list(found) == ["0.weight", "2.weight"]
    for keyword, numbers in expected.items():
        weights = [found[name][keyword].expand(model.get_parameter(name).shape) for name in found]
        ours = np.concatenate([tensor.numpy().ravel() for tensor in weights])
        np.testing.assert_allclose(ours, numbers, rtol=1e-6 if method == "grasp" else 1e-10, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_they_leave_no_trace_and_prune_in_one_call(name, method):
    make, shape = MODELS[name]
    model = make()
    next(model.parameters()).requires_grad_(False)  # a frozen weight counts like the others
    for parameter in list(model.parameters())[1:]:
        parameter.grad = torch.ones_like(parameter)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    data = [batch(step, shape) for step in range(3)]
    masking_before = list(model.modules())
    found = signals(model, method, data, cross_entropy)
    assert_same(model.state_dict(), state)
    assert all(parameter.grad is None or (parameter.grad == 1).all() for parameter in model.parameters())
    assert all(module.training for module in model.modules()) and list(model.modules()) == masking_before
    assert not any(module._forward_pre_hooks for module in model.modules())
    masking = Masking(model)
    masking.prune(0.5, method, signals=found)
    assert masking.sparsity == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("method", ["snip", "fisher", "grasp"])
def test_they_do_not_depend_on_the_batches(method):
    model = mlp().double()
    x, y = torch.randn(12, 12, dtype=torch.float64), torch.randint(4, (12,))
    whole = signals(model, method, [(x, y)], cross_entropy)
    parts = signals(model, method, [(x[:5], y[:5]), (x[5:6], y[5:6]), (x[6:], y[6:])], cross_entropy)
    for name, mine in whole.items():
        for keyword, tensor in mine.items():
            torch.testing.assert_close(parts[name][keyword], tensor, rtol=1e-10, atol=1e-14)


def test_the_hessian_times_the_gradient_of_a_quadratic():
    model = nn.Linear(3, 1, bias=False).double()
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 1, dtype=torch.float64)
    found = signals(model, "grasp", [(x, y)], mse_loss)["weight"]["hessian_gradient"]
    weight = model.weight.detach()
    gradient = 2 / 9 * (x @ weight.T - y).T @ x
    torch.testing.assert_close(found, gradient @ (2 / 9 * x.T @ x))


def test_synflow_needs_no_data_but_a_shape():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    found = signals(model, "synflow", [torch.zeros(1, 3)])
    first, second = model[0].weight.detach().double(), model[1].weight.detach().double()
    torch.testing.assert_close(found["0.weight"]["gradient"], second.abs().sum(0)[:, None] * first.sign())
    torch.testing.assert_close(found["1.weight"]["gradient"], first.abs().sum(1)[None, :] * second.sign())


def test_calibration_signals_are_those_of_calibrate():
    model = mlp()
    x = [batch(0)[0], batch(1)]
    expected = calibrate(model, x, hessian=True)
    for method in ("wanda", "obs_diagonal"):
        found, wanted = signals(model, method, x), expected.signals(method)
        assert found.keys() == wanted.keys()
        for name, mine in wanted.items():
            assert_same(found[name], mine)


def test_scorers_without_signals_and_models_without_use():
    model = mlp()
    assert signals(model, "magnitude") == {"0.weight": {}, "2.weight": {}, "4.weight": {}}

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.used(x)

    data = [(torch.randn(4, 3), torch.randint(2, (4,)))]
    for method in ("snip", "fisher", "grasp", "synflow", "wanda"):
        assert list(signals(Half(), method, data, cross_entropy)) == ["used.weight"]
    masking = Masking(Half())
    with pytest.raises(ValueError, match=r"unused\.weight"):
        masking.prune(0.5, "snip", signals=signals(masking_model(masking), "snip", data, cross_entropy))


def masking_model(masking):
    model = nn.Module()
    model.used, model.unused = (layer.module for layer in masking._layers.values())
    model.forward = model.used.forward
    return model


def test_signals_that_make_no_sense():
    model, data = mlp(), [batch(0)]
    for error, match, arguments in [
        (ValueError, "method 'snip' needs batches, got NoneType", ("snip",)),
        (ValueError, "method 'snip' needs batches, got Tensor", ("snip", data[0][0])),
        (ValueError, "method 'snip' needs a loss, got none", ("snip", data)),
        (ValueError, "at least one batch, got none", ("snip", [], cross_entropy)),
        (ValueError, r"a batch must be \(inputs, targets\), got Tensor", ("snip", [data[0][0]], cross_entropy)),
        (ValueError, r"a batch must be \(inputs, targets\), got Tensor", ("fisher", [data[0][0]], cross_entropy)),
        (ValueError, r"loss must return one number per batch.* got \(8, 4\)", ("snip", data, lambda out, y: out)),
        (
            ValueError,
            "of '0.weight' must be finite, got nan",
            ("snip", data, lambda out, y: out.sum() * NAN),
        ),
        (ValueError, "got one that needs movement", ("movement", data, cross_entropy)),
        (ValueError, "did you mean 'snip'", ("snipp", data, cross_entropy)),
        (ValueError, r"floating numbers.*got torch\.int64", ("synflow", [data[0][1]])),
    ]:
        with pytest.raises(error, match=match) as caught:
            signals(model, *arguments)
        assert_one_sentence(caught)


def test_synflow_of_a_deep_model_fits_into_float32():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(300, 300, bias=False) for _ in range(45)))
    found = signals(model, "synflow", [torch.zeros(1, 300)])
    weights = {name: p.detach() for name, p in model.named_parameters()}
    scores = {name: saliency.score("synflow", weight, **found[name]) for name, weight in weights.items()}
    totals = [float(score.double().sum()) for score in scores.values()]
    assert 0.0 < min(totals) and max(totals) / min(totals) - 1.0 < 1e-4  # all that flows passes every layer
