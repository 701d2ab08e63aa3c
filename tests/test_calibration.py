"""What weights are multiplied with: sums over samples, for dense layers and PyTorch models."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import assert_one_sentence
from neuroprune.tensors.calibration import BLOCK, Sums, calibrate
from neuroprune.tensors.dense import DenseLayer, forward
from neuroprune.tensors.prune import prune_tensors


def layers(seed=0):
    rng = np.random.default_rng(seed)
    return [
        DenseLayer(rng.normal(size=(5, 4)), rng.normal(size=5), "tanh"),
        DenseLayer(rng.normal(size=(3, 5)), rng.normal(size=3), "relu", mask=rng.random((3, 5)) < 0.5),
        DenseLayer(rng.normal(size=(2, 7)), takes=(2, 0)),
    ]


def cut(x, sizes):
    """The rows of x in batches of these sizes, over and over."""
    start, sizes = 0, itertools.cycle(sizes)
    while start < len(x):
        stop = start + next(sizes)
        yield x[start:stop]
        start = stop


def test_sums_over_a_list_of_dense_layers():
    net, x = layers(), np.random.default_rng(1).normal(size=(50, 4))
    calibration = calibrate(net, [x[:20], (x[20:], "targets")], hessian=True)
    inputs = [x, net[0](x), np.concatenate([net[1](net[0](x)), x], axis=1)]
    assert list(calibration) == ["0", "1", "2"]
    for name, seen in zip(calibration, inputs, strict=True):
        found = calibration[name]
        assert found.rows == (50,)
        np.testing.assert_allclose(found.input_norm, np.linalg.norm(seen, axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.second_moment, (seen**2).mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.hessian[0], 2 / 50 * seen.T @ seen, rtol=1e-12, atol=1e-13)
        damped = found.hessian[0] + 0.01 * found.hessian[0].diagonal().mean() * np.eye(seen.shape[1])
        expected = np.linalg.inv(damped).diagonal()
        np.testing.assert_allclose(found.inverse_hessian_diagonal(), expected, rtol=1e-9)
    assert forward(net, x).shape == (50, 2)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(1, 3 * BLOCK),
    sizes=st.lists(st.integers(1, BLOCK + 7), min_size=1, max_size=4),
    seed=st.integers(0, 9),
)
def test_sums_do_not_depend_on_the_batches(rows, sizes, seed):
    x = np.random.default_rng(seed).normal(size=(rows, 2, 3)).astype(np.float32)
    whole, parts = Sums(True), Sums(True)
    whole.add(x)
    for batch in cut(x, sizes):
        parts.add(batch)
    for sums in (whole, parts):
        sums.finish()
    assert whole.rows == parts.rows == rows
    assert whole.squares.tobytes() == parts.squares.tobytes()
    assert whole.products.tobytes() == parts.products.tobytes()
    np.testing.assert_allclose(whole.squares, (x.astype(float) ** 2).sum(0), rtol=1e-12)


@pytest.mark.parametrize("sizes", [[1], [7, 300], [2000]])
def test_calibration_does_not_depend_on_the_batches(sizes, torch):
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(1200, 4))
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    for model, data, first in ((layers(), x, "0"), (net, torch.tensor(x), "0.weight")):
        whole = calibrate(model, [data], hessian=True)
        parts = calibrate(model, cut(data, sizes), hessian=True)
        assert (np.asarray(whole[first].squares) == np.asarray(parts[first].squares)).all()
        assert (np.asarray(whole[first].products) == np.asarray(parts[first].products)).all()
        for name in whole:
            np.testing.assert_allclose(np.asarray(whole[name].products), np.asarray(parts[name].products), rtol=1e-10)


def convolutions(torch):
    nn = torch.nn
    return [
        (nn.Conv2d(4, 6, 3), (4, 7, 6)),
        (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (4, 9, 8)),
        (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (4, 7, 6)),
        (nn.Conv2d(4, 6, 4, padding="same"), (4, 7, 6)),
        (nn.Conv2d(4, 6, 3, padding="valid", groups=2), (4, 7, 6)),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4, padding_mode="reflect"), (4, 7, 6)),
        (nn.Conv2d(3, 6, 3, padding=2, padding_mode="circular"), (3, 7, 6)),
        (nn.Conv1d(4, 6, 3, stride=2, groups=2), (4, 9)),
        (nn.Conv3d(2, 4, (1, 2, 3), padding=1), (2, 4, 5, 6)),
    ]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_patches_are_what_a_convolution_multiplies(number, torch):
    """The gradient of sum of squares of outputs, and the outputs, follow from the products of patches."""
    torch.manual_seed(0)
    layer, shape = convolutions(torch)[number]
    layer = layer.double()
    x = torch.randn(5, *shape, dtype=torch.float64)
    calibration = calibrate(layer, [x[:2], x[2:]], hessian=True)["weight"]
    out = layer(x) if layer.bias is None else layer(x) - layer.bias.reshape(1, -1, *[1] * (x.dim() - 2))
    weight = layer.weight.detach().reshape(layer.groups, layer.out_channels // layer.groups, -1)
    assert calibration.rows == (out[:, 0].numel(),) * layer.groups
    squares = torch.einsum("gof,gfh,goh->go", weight, calibration.products, weight).reshape(-1)
    torch.testing.assert_close(squares, (out**2).sum((0, *range(2, out.dim()))), rtol=1e-10, atol=1e-10)
    assert torch.broadcast_shapes(calibration.input_norm.shape, layer.weight.shape) == layer.weight.shape
    layer.zero_grad()
    (out**2).sum().backward()
    gradient = 2 * torch.einsum("gfh,goh->gof", calibration.products, weight).reshape(layer.weight.shape)
    torch.testing.assert_close(layer.weight.grad, gradient, rtol=1e-9, atol=1e-9)


def test_signals_of_groups_go_to_their_rows(torch):
    layer = torch.nn.Conv1d(2, 4, 1, groups=2)
    x = torch.tensor([[[3.0, 4.0], [5.0, 12.0]]])
    signals = calibrate(layer, [x]).signals("wanda")
    assert signals["weight"]["input_norm"].tolist() == [[[5.0]], [[5.0]], [[13.0]], [[13.0]]]
    assert calibrate(layer, [x[0]]).signals("wanda")["weight"]["input_norm"].tolist() == [
        [[5.0]],
        [[5.0]],
        [[13.0]],
        [[13.0]],
    ]


def attention(torch, batch_first=True, **options):
    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=batch_first, dropout=0.5, **options)

        def forward(self, query, key, value):
            return self.attention(query, key=key, value=value, need_weights=False)[0]

    return Model().double()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 4, "vdim": 6}, {"add_bias_kv": True}], ids=str)
def test_attention_sees_query_key_value_and_what_it_puts_out(batch_first, options, torch):
    model = attention(torch, batch_first, **options)
    kdim, vdim = options.get("kdim", 8), options.get("vdim", 8)
    query, key, value = (
        torch.randn(3, length, dim, dtype=torch.float64) for length, dim in ((4, 8), (5, kdim), (5, vdim))
    )
    swap = (lambda x: x) if batch_first else (lambda x: x.transpose(0, 1))
    calibration = calibrate(model, [{"query": swap(query), "key": swap(key), "value": swap(value)}], hessian=True)
    norms = [x.reshape(-1, x.shape[-1]).norm(dim=0) for x in (query, key, value)]
    if "kdim" in options:
        for letter, norm in zip("qkv", norms, strict=True):
            torch.testing.assert_close(calibration[f"attention.{letter}_proj_weight"].input_norm, norm)
    else:
        found = calibration["attention.in_proj_weight"]
        assert found.rows == (12, 15, 15)
        torch.testing.assert_close(found.input_norm, torch.cat([norm.expand(8, -1) for norm in norms]))
        torch.testing.assert_close(found.second_moment[8], norms[1] ** 2 / 15)
    out = model.eval()(swap(query), swap(key), swap(value))
    bias = model.attention.out_proj.bias
    out = (out if bias is None else out - bias).reshape(-1, 8)
    weight = model.attention.out_proj.weight
    products = calibration["attention.out_proj.weight"].products[0]
    torch.testing.assert_close((weight @ products @ weight.T).diagonal(), (out**2).sum(0), rtol=1e-10, atol=1e-12)


def test_a_transformer_is_seen_through_its_fast_path(torch):
    torch.manual_seed(0)
    model = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    fast = torch.backends.mha.get_fastpath_enabled()
    calibration = calibrate(model, [torch.randn(3, 5, 8)])
    assert len(calibration) == 8
    assert all(set(inputs.rows) == {15} for inputs in calibration.values())
    assert torch.backends.mha.get_fastpath_enabled() is fast


class Interrupted(BaseException):
    """Neither an Exception nor anything torch would catch."""


def test_hooks_and_modes_end_whatever_happens(torch):
    nn = torch.nn
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.Dropout(), nn.Flatten(), nn.Linear(12, 2),
                          nn.MultiheadAttention(2, 1))  # fmt: skip
    used = model[:5]
    model[2].eval()
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def breaks():
        yield torch.randn(3, 2, 4)
        raise Interrupted

    for batches, error in (
        ([torch.randn(3, 2, 4)], None),
        (breaks(), Interrupted),
        ([torch.randn(3, 7)], RuntimeError),
    ):
        if error is None:
            calibrate(used, batches)
        else:
            with pytest.raises(error):
                calibrate(used, batches)
        for module in model.modules():
            assert not module._forward_hooks and not module._forward_pre_hooks
        assert [module.training for module in model.modules()] == modes
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


def test_shared_weights_sum_up_all_their_uses(torch):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    x = torch.randn(6, 3)
    found = calibrate(model, [x])["0.weight"]
    assert found.rows == (12,)
    both = torch.cat([x, model[0](x)]).double()
    torch.testing.assert_close(found.squares[0], (both**2).sum(0).detach())


def test_weights_that_see_nothing_are_left_out(torch):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    calibration = calibrate(Model(), [torch.ones(3, 2)])
    assert list(calibration) == ["used.weight"]
    with pytest.raises(KeyError, match="no inputs of 'unused.weight' were seen: did you mean 'used.weight'"):
        calibration["unused.weight"]


def test_loaders_masked_pruned_and_compiled_models(torch):
    from torch.nn.utils import prune

    from neuroprune.tensors.torch import Masking

    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    x = torch.randn(10, 4)
    plain = calibrate(model, [x])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(10)), batch_size=3)
    torch.testing.assert_close(calibrate(model, loader)["0.weight"].squares, plain["0.weight"].squares, rtol=0, atol=0)
    prune.l1_unstructured(model[2], "weight", 0.5)
    assert list(calibrate(model, [x])) == ["0.weight", "2.weight"]
    Masking(model)
    assert list(calibrate(model, [x])) == ["0.weight", "2.weight"]
    assert list(calibrate(model.half(), [x.half()])) == ["0.weight", "2.weight"]


def test_wanda_and_obs_in_one_call(torch):
    """The same masks for a PyTorch model and for the same weights as dense layers."""
    from neuroprune.tensors.torch import Masking

    net = layers()[:2]
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    with torch.no_grad():
        for module, layer in zip((model[0], model[2]), net, strict=True):
            module.weight.copy_(torch.tensor(layer.weight))
            module.bias.copy_(torch.tensor(layer.bias))
    x = np.random.default_rng(2).normal(size=(40, 4)) * [1, 5, 0.2, 1]
    numpy, ours = calibrate(net, [x], hessian=True), calibrate(model, [torch.tensor(x)], hessian=True)
    for method in ("wanda", "obs_diagonal"):
        expected = prune_tensors({str(i): layer.weight for i, layer in enumerate(net)}, 0.5, method,
                                 signals=numpy.signals(method))  # fmt: skip
        masking = Masking(model)
        full = {name: mask.clone() for name, mask in masking.masks.items()}
        weights = {name: parameter.clone() for name, parameter in model.state_dict().items()}
        masking.prune(0.5, method, signals=ours)
        assert [mask.tolist() for mask in masking.masks.values()] == [mask.tolist() for mask in expected.values()]
        masking.masks = full
        model.load_state_dict({**weights, **{f"{name}_mask": mask for name, mask in full.items()}})


def refuses(error, match, call):
    with pytest.raises(error, match=match) as caught:
        call()
    assert_one_sentence(caught)


def test_calibrations_that_make_no_sense():
    net, x = layers(), np.ones((3, 4))
    refuses(
        TypeError, "batches must be an iterable of batches, got ndarray: put it in a list", lambda: calibrate(net, x)
    )
    refuses(TypeError, "batches must be an iterable of batches, got int", lambda: calibrate(net, 3))
    refuses(ValueError, "at least one sample that reaches a weight, got none", lambda: calibrate(net, []))
    refuses(ValueError, "at least one sample", lambda: calibrate(net, [x[:0]]))
    refuses(ValueError, r"a batch must have shape \(rows, 4\), got \(3, 5\)", lambda: calibrate(net, [np.ones((3, 5))]))
    refuses(ValueError, r"a batch must have shape \(rows, 4\), got \(4,\)", lambda: calibrate(net, [x[0]]))
    refuses(ValueError, "squared inputs of '0' must be finite, got nan", lambda: calibrate(net, [x * np.nan]))
    refuses(TypeError, r"layers\[0\] must be a DenseLayer", lambda: calibrate([1], [x]))
    calibration = calibrate(net, [x])
    refuses(ValueError, "needs 'gradient'", lambda: calibration.signals("snip"))
    refuses(ValueError, "did you mean 'wanda'", lambda: calibration.signals("wandaa"))
    refuses(ValueError, "must have collected Hessians, got none", lambda: calibration.signals("obs_diagonal"))
    calibration = calibrate(net, [x], hessian=True)  # rank one
    refuses(ValueError, "'0': the Hessian must be positive definite, got one that is not with damping=0.0: raise",
            lambda: calibration.signals("obs_diagonal", damping=0.0))  # fmt: skip
    refuses(
        ValueError, "damping must be at least 0 and finite, got -1", lambda: calibration.signals("obs_diagonal", -1)
    )
    assert (calibration.signals("obs_diagonal")["0"]["inverse_hessian_diagonal"] > 0).all()


def test_models_that_cannot_be_calibrated(torch):
    refuses(ValueError, "the model must have a weight to calibrate, got Sequential without one",
            lambda: calibrate(torch.nn.Sequential(), [torch.ones(1)]))  # fmt: skip
    refuses(TypeError, "model must be a torch.nn.Module", lambda: calibrate(3, [torch.ones(1)]))
    refuses(TypeError, "got Tensor: put it in a list", lambda: calibrate(torch.nn.Linear(2, 2), torch.ones(1, 2)))


def test_progress_changes_nothing(capsys):
    net, x = layers(), np.ones((3, 4))
    assert calibrate(net, [x], progress=True)["0"].squares.tolist() == calibrate(net, [x])["0"].squares.tolist()
    captured = capsys.readouterr()
    assert captured.out == "" and "calibrate" in captured.err


def test_inputs_by_keyword_are_those_by_place(torch):
    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = torch.nn.Conv1d(2, 3, 2), torch.nn.Linear(9, 2)

        def forward(self, x):
            return self.out(input=self.conv(input=x).flatten(1))

    class Own(torch.nn.Linear):
        def forward(self, rows):
            return super().forward(rows)

    torch.manual_seed(0)
    model, x = Named(), torch.randn(5, 2, 4)
    found = calibrate(model, [x])
    plain = calibrate(torch.nn.Sequential(model.conv, torch.nn.Flatten(), model.out), [x])
    assert torch.equal(found["conv.weight"].squares, plain["0.weight"].squares)
    assert torch.equal(found["out.weight"].squares, plain["2.weight"].squares)
    own = Own(4, 2)
    assert calibrate(own, [{"rows": x[0]}])["weight"].rows == (2,)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        calibrate(own, [{}])  # said by the layer itself


def test_batches_that_are_no_tensors(torch):
    model, x = torch.nn.Linear(3, 2), np.ones((4, 3), np.float32)
    for batch in (x, (x, x), {"input": x}):
        with pytest.raises(TypeError, match="a batch must hold torch tensors, got ndarray: convert") as error:
            calibrate(model, [batch])
        assert_one_sentence(error)
    with pytest.raises(ValueError, match="a batch must begin with the inputs of the model, got an empty one") as error:
        calibrate(model, [()])
    assert_one_sentence(error)


def test_an_unknown_name_of_a_calibration():
    calibration = calibrate(layers(), [np.ones((2, 4))])
    with pytest.raises(KeyError, match="no inputs of '7' were seen: choose from 0, 1, 2"):
        calibration["7"]
