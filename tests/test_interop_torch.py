"""Dense layers as PyTorch modules and back: the same outputs, and gradients where they are wanted."""

import copy
import io

import numpy as np
import pytest
from hypothesis import given, settings

import strategies as s
from bridge import assert_one_sentence, network
from neuroprune import Network, register_activation
from neuroprune.activations import ACTIVATIONS
from neuroprune.tensors.dense import DenseLayer, forward

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from neuroprune.interop import torch as bridge  # noqa: E402

BUILT_IN = sorted({*bridge.MODULES, *bridge.FORMULAS})


def outputs(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(np.asarray(x))).numpy()


def assert_same(module, layers, n_inputs):
    x = np.random.default_rng(0).uniform(-2, 2, (5, n_inputs)).astype(layers[0].weight.dtype)
    single = x.dtype == np.float32
    for rows in (x, x[0]):
        wanted = forward(layers, rows)
        found = outputs(module, rows)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        bound = 1e-5 if single else 1e-12
        np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound * (1 + np.abs(wanted).max(initial=0)))


def layers_of(torch_dtype=np.float64):
    rng = np.random.default_rng(0)
    return [DenseLayer(rng.standard_normal((3, 4)).astype(torch_dtype), rng.standard_normal(3), "relu"),
            DenseLayer(rng.standard_normal((2, 3)).astype(torch_dtype), None, "identity", rng.random((2, 3)) < 0.5)]


# ---------------------------------------------------------------- to PyTorch


def test_every_activation_is_there():
    assert {name for name, row in ACTIVATIONS.items() if row.code < 64} == set(BUILT_IN)
    assert not set(bridge.MODULES) & set(bridge.FORMULAS)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_activation_is_the_same(name):
    rng = np.random.default_rng(0)
    layer = DenseLayer(np.eye(3) * 5, rng.standard_normal(3), name)
    module = bridge.to_torch([layer])
    assert_same(module, [layer], 3)
    x = np.array([[-8.0, 0.3, 8.0], [-1e-9, 1e-9, 0.01]])
    np.testing.assert_allclose(outputs(module, x), layer(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_chain_is_a_sequential(dtype):
    layers = layers_of(dtype)
    module = bridge.to_torch(layers)
    assert [type(part).__name__ for part in module] == ["Linear", "ReLU", "Linear"]
    assert module[0].bias is not None and module[2].bias is None
    assert module[2].weight_mask.dtype == torch.bool and not hasattr(module[0], "weight_mask")
    assert_same(module, layers, 4)
    module[0].weight.data.zero_()
    assert layers[0].weight.any()  # copies


@settings(max_examples=60)
@given(s.networks(recurrent=False, scale=1.0, activations=tuple(sorted(set(s.ANY) - {"step", "bipolar"}))))
def test_any_acyclic_network_becomes_a_module(spelled):
    net = network(spelled)
    layers = net.to_dense()
    module = bridge.to_torch(layers)
    assert_same(module, layers, spelled.n_inputs)
    assert sum(isinstance(part, torch.nn.Linear) for part in module.modules()) == len(layers)


def test_a_module_of_levels_lives_like_any_other():
    net = Network.random(4, 3, 8, 40, seed=0)
    net.nodes.activation = np.random.default_rng(0).choice(["tanh", "sin", "identity", "relu"], len(net.nodes))
    layers = net.to_dense()
    module = bridge.to_torch(layers)
    assert type(module).__mro__[1] is torch.fx.GraphModule
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for twin in (copy.deepcopy(module), torch.load(file, weights_only=False)):
        assert_same(twin, layers, 4)
    x = torch.randn(6, 4, dtype=torch.float64)
    module(x).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = outputs(module, x)
    optimizer.step()
    assert (outputs(module, x) != before).any()


def test_gradients_are_those_of_the_graph():
    """One backward pass of torch and one of the network give the same numbers for every connection."""
    net = Network.random(4, 2, 6, 30, seed=1)
    x = np.random.default_rng(0).standard_normal((7, 4))
    y = np.random.default_rng(1).standard_normal((7, 2))
    module = bridge.to_torch(net.to_dense())
    torch.nn.functional.mse_loss(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    layers = net.to_dense()
    by_torch = [DenseLayer(module.get_submodule(str(i)).weight.grad.numpy(), None, "identity", layer.mask, layer.takes)
                for i, layer in enumerate(layers)]
    placed = Network.from_dense([DenseLayer(layer.weight, layer.bias, layer.activation, layer.mask, layer.takes)
                                 for layer in layers])
    wanted, _ = placed.gradient(x, y, "mse")
    np.testing.assert_allclose(Network.from_dense(by_torch).connections.weight, wanted, rtol=1e-10, atol=1e-12)


def test_an_activation_of_the_user_is_refused():
    register_activation("torch_cube", lambda x: x**3, lambda x: 3 * x**2)
    with pytest.raises(ValueError, match=r"layers\[0\] must have activations .* got 'torch_cube'") as raised:
        bridge.to_torch([DenseLayer(np.ones((1, 1)), activation="torch_cube")])
    assert_one_sentence(raised)


# ---------------------------------------------------------------- from PyTorch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sequential_becomes_layers(dtype):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.GELU("tanh"), nn.Sequential(nn.Linear(5, 3), nn.ELU()),
                           nn.Identity(), nn.Linear(3, 2, bias=False)).to(dtype).eval()  # fmt: skip
    layers = bridge.from_torch(module)
    assert [layer.activation for layer in layers] == ["gelu", "elu", "identity"]
    assert layers[0].weight.dtype == (np.float32 if dtype == torch.float32 else np.float64)
    assert layers[2].bias is None
    assert_same(module, layers, 4)
    net = Network.from_dense(layers)
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_allclose(net(x), forward(layers, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(bridge.MODULES) - {"identity"}))
def test_every_module_has_its_name(name):
    (layer,) = bridge.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2), bridge._module(name)))
    assert layer.activation == name


def test_a_chain_comes_back():
    for dtype in (np.float32, np.float64):
        layers = layers_of(dtype)
        again = bridge.from_torch(bridge.to_torch(layers))
        for one, other in zip(layers, again, strict=True):
            assert one.weight.tobytes() == other.weight.tobytes() and one.activation == other.activation
            assert (one.bias is None) == (other.bias is None)
            assert (one.mask is None) == (other.mask is None) and (one.mask is None or (one.mask == other.mask).all())


def test_masks_of_torch_prune_are_taken():
    prune = pytest.importorskip("torch.nn.utils.prune")
    linear = torch.nn.Linear(4, 4)
    prune.l1_unstructured(linear, "weight", 0.5)
    (layer,) = bridge.from_torch(linear)
    assert layer.mask.sum() == 8 and (layer.weight[~layer.mask] == 0).all()
    assert len(Network.from_dense([layer]).connections) == 8


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda nn: 3, TypeError, "module must be a torch.nn.Module, got int"),
        (lambda nn: nn.Sequential(), ValueError, "module must have at least one Linear, got none"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 1)), ValueError,
         r"module\[1\] must be Linear, Sequential or an activation with a name here, got Conv1d"),
        (lambda nn: nn.Sequential(nn.ReLU()), ValueError, r"module\[0\] must follow a Linear, got ReLU first"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh()), ValueError,
         r"module\[2\] must follow a Linear, got Tanh after another activation"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.GELU())), ValueError,
         r"module\[1\]\[0\] must have approximate='tanh', got GELU"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.2)), ValueError, "must have negative_slope=0.01"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Hardtanh(0, 1)), ValueError, "must have min_val=-1, max_val=1"),
        (lambda nn: nn.LSTM(2, 2), ValueError, "module must be Linear, Sequential or an activation"),
    ],
)  # fmt: skip
def test_what_is_no_chain_is_refused(make, error, message):
    with pytest.raises(error, match=message) as raised:
        bridge.from_torch(make(torch.nn))
    assert_one_sentence(raised)


@pytest.mark.parametrize("dtype, expected", [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_the_numbers_of_every_precision_are_kept(dtype, expected):
    linear = torch.nn.Linear(4, 3).to(getattr(torch, dtype))
    (layer,) = bridge.from_torch(linear)
    assert layer.weight.dtype == layer.bias.dtype == np.dtype(expected)
    assert (layer.weight == linear.weight.detach().double().numpy()).all()
    assert (layer.bias == linear.bias.detach().double().numpy()).all()
