"""Dense layers: what they hold, what they compute, what they refuse."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies as s
from bridge import assert_one_sentence
from neuroprune.activations import ACTIVATIONS
from neuroprune.tensors.calibration import calibrate
from neuroprune.tensors.dense import DenseLayer, forward, prune_layers, taken
from neuroprune.tensors.prune import prune_tensors


def layer(out=2, inputs=3, **rest):
    return DenseLayer(np.arange(1.0, 1 + out * inputs).reshape(out, inputs), **rest)


# ---------------------------------------------------------------- what it holds


def test_arrays_are_live_copies():
    weight, bias, mask = np.ones((2, 3)), np.zeros(2), np.ones((2, 3), bool)
    one = DenseLayer(weight, bias, "identity", mask)
    weight[:], bias[:], mask[:] = 7, 7, False
    assert one.weight.tolist() == [[1.0] * 3] * 2 and one.bias.tolist() == [0.0, 0.0] and one.mask.all()
    one.weight[0] = 2.0
    one.bias[0] = 0.5
    assert one([1.0, 1.0, 1.0]).tolist() == [6.5, 3.0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.weight = weight


@pytest.mark.parametrize(("dtype", "kept"), [(np.float32, np.float32), (np.float64, np.float64), (np.int64, np.float64),
                                             (np.float16, np.float32), (np.bool_, np.float64)])  # fmt: skip
def test_float32_is_kept_and_all_else_becomes_floating(dtype, kept):
    one = DenseLayer(np.ones((2, 2), dtype), [1, 2])
    assert one.weight.dtype == one.bias.dtype == one([1, 1]).dtype == forward([one], [1, 1]).dtype == kept
    assert DenseLayer([[1, 2], [3, 4]]).weight.dtype == np.float64


def test_weights_are_zero_where_the_mask_is_off():
    mask = np.array([[True, False], [False, True]])
    weight = np.array([[1.0, np.nan], [np.inf, 2.0]])
    one = DenseLayer(weight, mask=mask, activation="identity")
    assert one.weight.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    one.weight[:] = 5.0  # what is written there counts for nothing
    assert one([1.0, 10.0]).tolist() == [5.0, 50.0] and one.kept.tolist() == [[5.0, 0.0], [0.0, 5.0]]


def test_columns_of_any_layout_are_taken():
    weight = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for same in (weight, weight[:, ::-1][:, ::-1], weight.astype(">f8"), np.broadcast_to(weight, (2, 3))):
        one = DenseLayer(same)
        assert one.weight.tolist() == weight.tolist()
        assert one.weight.flags.c_contiguous and one.weight.flags.writeable and one.weight.dtype.isnative


def test_tensors_become_arrays(torch):
    one = DenseLayer(torch.nn.Parameter(torch.ones(2, 3)), torch.zeros(2), "relu", torch.ones(2, 3) > 0)
    assert isinstance(one.weight, np.ndarray) and one.weight.dtype == np.float32
    assert isinstance(one.mask, np.ndarray) and one.mask.dtype == np.bool_


def test_activations_by_unit():
    names = ["relu", "identity", "square"]
    one = DenseLayer([[1.0], [1.0], [1.0]], activation=names)
    assert one.activation == one.activations == tuple(names)
    assert one([[-3.0], [2.0]]).tolist() == [[0.0, -3.0, 9.0], [2.0, 2.0, 4.0]]
    same = DenseLayer([[1.0], [1.0]], activation=np.array(["relu", "relu"]))
    assert same.activation == "relu" and type(same.activation) is str and same.activations == ("relu", "relu")


def test_replace_makes_another_layer():
    one = layer(mask=None, takes=[0])
    other = dataclasses.replace(one, mask=np.zeros((2, 3), bool))
    assert one.weight.any() and not other.weight.any() and other.takes == (0,) and other.activation == "tanh"
    assert one.n_inputs == other.n_inputs == 3 and one.n_outputs == 2


def test_layers_are_copied_and_pickled():
    one = layer(activation=["sin", "cos"], mask=np.eye(2, 3, dtype=bool), takes=[0])
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert repr(twin) == repr(one) and twin.weight.tolist() == one.weight.tolist()
        assert twin.weight is not one.weight and twin.weight.flags.writeable


def test_it_says_what_it_is():
    assert repr(layer()) == "<DenseLayer: 3 inputs, 2 outputs, tanh>"
    text = repr(layer(activation=["sin", "cos"], mask=np.eye(2, 3, dtype=bool), takes=(2, 0)))
    assert text == "<DenseLayer: 3 inputs, 2 outputs, several activations, 2 of 6 weights, takes levels 2, 0>"


# ---------------------------------------------------------------- what it computes


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name in s.ANY])
def test_every_activation_computes_its_function(name):
    rng = np.random.default_rng(0)
    weight, bias, x = rng.standard_normal((4, 3)), rng.standard_normal(4), rng.standard_normal((5, 3))
    np.testing.assert_array_equal(DenseLayer(weight, bias, name)(x), ACTIVATIONS[name].f(x @ weight.T + bias))


@given(st.lists(s.sizes(1, 5), min_size=2, max_size=4), st.booleans(), s.SEEDS)
def test_a_list_composes(sizes, single, seed):
    rng = np.random.default_rng(seed)
    dtype = np.float32 if single else np.float64
    pairs = zip(sizes[1:], sizes[:-1], strict=True)
    layers = [DenseLayer(rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[0])) for shape in pairs]
    x = rng.standard_normal((4, sizes[0]))
    wanted = x.astype(dtype)
    for one in layers:
        wanted = np.tanh(wanted @ one.weight.T + one.bias)
    found = forward(layers, x)
    assert found.dtype == dtype and found.shape == (4, sizes[-1])
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if single else 1e-12, atol=1e-6 if single else 1e-13)
    np.testing.assert_allclose(forward(tuple(layers), x[0].tolist()), wanted[0], rtol=1e-5, atol=1e-6)
    assert forward(layers, x[:0]).shape == (0, sizes[-1])


def test_levels_are_concatenated_in_the_order_named():
    layers = [DenseLayer([[10.0]], activation="identity"),
              DenseLayer([[1.0, 2.0]], activation="identity", takes=[1, 0]),
              DenseLayer([[1.0, 100.0]], activation="identity", takes=[2, 0])]
    assert taken(layers) == [(0,), (1, 0), (2, 0)]
    assert forward(layers, [3.0]).tolist() == [30.0 + 6.0 + 300.0]


def test_each_layer_computes_in_its_dtype():
    layers = [DenseLayer(np.ones((2, 2), np.float32)), DenseLayer(np.ones((1, 2)))]
    assert forward(layers, [1.0, 2.0]).dtype == np.float64
    assert forward(layers[:1], np.ones((1, 2))).dtype == np.float32


def test_an_overflow_is_infinite_without_a_warning():
    assert DenseLayer([[1e308, 1e308]], activation="identity")([2.0, 2.0]).tolist() == [np.inf]


# ---------------------------------------------------------------- pruning


def test_layers_are_pruned_like_their_weights():
    layers = [layer(4, 6), layer(2, 4, activation="relu", bias=[1.0, 2.0])]
    pruned = prune_layers(layers, 0.5, scope="global")
    masks = prune_tensors({str(i): one.weight for i, one in enumerate(layers)}, 0.5, scope="global")
    assert [one.mask.tolist() for one in pruned] == [mask.tolist() for mask in masks.values()]
    assert pruned[1].activation == "relu" and pruned[1].bias.tolist() == [1.0, 2.0]
    assert all(one.mask is None and one.weight.all() for one in layers)


def test_layers_pruned_twice_have_the_target_of_the_whole():
    once = prune_layers([layer(4, 6), layer(2, 4)], 0.5)
    twice = prune_layers(once, 0.75, exclude=["1"])
    assert [int(one.mask.sum()) for one in twice] == [6, 4] and twice[1] is once[1]
    assert not (twice[0].mask & ~once[0].mask).any()
    assert [int(one.mask.sum()) for one in prune_layers(once, 0.5, of="remaining")] == [6, 2]
    once[0].weight[:] = 9.0  # what is written where the mask is off counts for nothing
    assert not (prune_layers(once, 0.75)[0].mask & ~once[0].mask).any()


def test_layers_are_pruned_by_calibration():
    x = np.random.default_rng(0).standard_normal((20, 6)) * [1, 2, 3, 4, 5, 6]
    layers = [DenseLayer(np.ones((3, 6)))]
    pruned = prune_layers(layers, 0.5, "wanda", signals=calibrate(layers, [x]).signals("wanda"))
    assert pruned[0].mask.tolist() == [[False] * 3 + [True] * 3] * 3


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight": [1.0, 2.0]}, ValueError, r"weight must be \(out, in\) with at least one of each, got shape \(2,\)"),
        ({"weight": np.ones((0, 2))}, ValueError, r"got shape \(0, 2\)"),
        ({"weight": np.ones((2, 0))}, ValueError, r"got shape \(2, 0\)"),
        ({"weight": np.ones((1, 2, 3))}, ValueError, r"got shape \(1, 2, 3\)"),
        ({"weight": "heavy"}, TypeError, "weight must be numbers, got 'heavy'"),
        ({"weight": [[1.0], [2.0, 3.0]]}, TypeError, "weight must be numbers"),
        ({"weight": None}, TypeError, "weight must be numbers, got None"),
        ({"weight": [[1j]]}, TypeError, "weight must be numbers"),
        ({"weight": [[1.0, np.nan]]}, ValueError, r"weight must be finite, got nan at index \(0, 1\)"),
        ({"bias": [1.0]}, ValueError, r"bias must have shape \(2,\)"),
        ({"bias": 1.0}, ValueError, r"bias must have shape \(2,\)"),
        ({"bias": [1.0, np.inf]}, ValueError, "bias must be finite, got inf at index 1"),
        ({"bias": ["a", "b"]}, TypeError, "bias must be numbers"),
        ({"activation": "tahn"}, ValueError, "did you mean 'tanh'"),
        ({"activation": ["tanh"]}, ValueError, "activation must be one name or 2 names, one for each unit, got 1"),
        ({"activation": ["tanh", "relo"]}, ValueError, "did you mean 'relu'"),
        ({"activation": 3}, TypeError, "activation must be a name such as 'tanh', got 3"),
        ({"activation": ["tanh", None]}, TypeError, "activation must be a name such as 'tanh', got None"),
        ({"mask": np.ones((2, 2), bool)}, ValueError, r"mask must be a boolean array of the weight's shape \(2, 3\)"),
        ({"mask": np.ones((2, 3))}, ValueError, r"mask must be a boolean array .* got float64"),
        ({"takes": 0}, TypeError, r"takes must be a list of levels such as \[0, 1\], got 0"),
        ({"takes": [0.5]}, TypeError, "takes must be a list of levels"),
        ({"takes": []}, ValueError, "takes must name at least one level"),
        ({"takes": [-1]}, ValueError, "none below 0, got"),
        ({"takes": [0, 0]}, ValueError, "each once"),
    ],
)  # fmt: skip
def test_what_is_no_layer_is_refused(arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        DenseLayer(**{"weight": np.ones((2, 3)), **arguments})
    assert_one_sentence(raised)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([layer(), layer(inputs=2, takes=[2])], ValueError, r"layers\[1\] must take levels from 0 to 1, .* got 2"),
        ([layer(takes=[1])], ValueError, r"layers\[0\] must take levels from 0 to 0"),
        ([layer(), layer(takes=[0, 1])], ValueError,
         r"layers\[1\] must have a weight with 5 columns, the width of what it takes \(levels 0, 1\), got 3"),
        ([layer(), layer()], ValueError, r"2 columns, the width of what it takes \(level 1\), got 3"),
        ([], ValueError, "layers must have at least one DenseLayer, got none"),
        (layer(), TypeError, "layers must be a list of DenseLayer, got DenseLayer: put a single one in a list"),
        ([layer(), None], TypeError, r"layers\[1\] must be a DenseLayer, got NoneType"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused(layers, error, message):
    for call in (taken, lambda layers: forward(layers, np.ones(3)), lambda layers: prune_layers(layers, 0.5)):
        with pytest.raises(error, match=message) as raised:
            call(layers)
        assert_one_sentence(raised)


def test_inputs_that_do_not_fit_are_refused():
    for call in (layer(), lambda x: forward([layer()], x)):
        for x, error, message in ((np.ones(4), ValueError, r"x must have shape \(3,\) or \(rows, 3\), got \(4,\)"),
                                  (np.ones((2, 2, 3)), ValueError, r"got \(2, 2, 3\)"), (1.0, ValueError, r"got \(\)"),
                                  ("abc", TypeError, "x must be numbers, got 'abc'")):  # fmt: skip
            with pytest.raises(error, match=message) as raised:
                call(x)
            assert_one_sentence(raised)


@pytest.mark.parametrize("name", ["in_place", "masks"])
def test_layers_keep_their_arrays_and_masks_when_pruned(name):
    one = layer()
    before = one.weight.copy()
    for value in (True, None, {"0": np.ones((2, 3), bool)}):
        with pytest.raises(TypeError, match=f"{name} must be left out of prune_layers, got .*: ") as raised:
            prune_layers([one], 0.5, **{name: value})
        assert_one_sentence(raised)
    assert (one.weight == before).all()


def test_tensors_without_values_are_refused(torch):
    for tensor, kind, words in ((torch.eye(3).to_sparse(), TypeError, "must be a dense tensor, got layout"),
                                (torch.eye(3, device="meta"), ValueError, "must have values, got a tensor on")):
        for name, call in (("weight", DenseLayer), ("mask", lambda t: DenseLayer(np.eye(3), mask=t)),
                           ("x", layer(inputs=3))):  # fmt: skip
            with pytest.raises(kind, match=f"^{name} {words}") as raised:
                call(tensor)
            assert_one_sentence(raised)
