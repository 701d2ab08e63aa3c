"""What `prune_tensors` refuses: one sentence that names the weight once, and nothing has changed."""

import numpy as np
import pytest

import neuroprune as npr
from bridge import assert_one_sentence
from neuroprune.pruning.masks import Axis
from neuroprune.tensors.prune import prune_tensors

NAME = "0.weight"


def refused(kind, words, weight=None, **options):
    """The call raises that kind of error in one sentence and leaves the weight as it was."""
    weight = np.arange(1.0, 9.0).reshape(2, 4) if weight is None else weight
    before = weight.copy()
    with pytest.raises(kind, match=words) as error:
        prune_tensors({NAME: weight}, in_place=True, **options)
    assert_one_sentence(error)
    assert str(error.value).count(NAME) == 1
    assert weight.tobytes() == before.tobytes()


@pytest.mark.parametrize("how", [
    {"scope": "row", "sparsity": 0.5}, {"scope": "layer", "sparsity": 0.5}, {"scope": "global", "sparsity": 0.5},
    {"pattern": "2:4"}, {"pattern": Axis(0), "sparsity": 0.5},
])
def test_the_weight_is_named_once(how):
    signals = {NAME: {"input_norm": np.array([1.0, np.nan, 1.0, 1.0])}}
    refused(ValueError, r"signal 'input_norm' must be finite, got nan at index \(0, 1\)", method="wanda",
            signals=signals, **how)
    refused(ValueError, r"must be finite, got nan at index \(0, 0\)", np.full((2, 4), np.nan), **how)


def test_tensors_without_values_are_named(torch):
    eye = torch.eye(4)
    for tensor, words in ((eye.to_sparse(), "must be a dense tensor"), (eye.to("meta"), "must have values")):
        with pytest.raises((TypeError, ValueError), match=rf"^weights\['0.weight'\] {words}") as error:
            prune_tensors({NAME: tensor}, 0.5)
        assert_one_sentence(error)
    with pytest.raises(TypeError, match=r"^protect\['0.weight'\] must be a dense tensor"):
        prune_tensors({NAME: eye}, 0.5, protect={NAME: (eye > 0).to_sparse()})


def test_the_weight_is_named_once_by_what_happens_in_rows():
    mask = np.array([[True] * 4, [False] * 4])
    refused(ValueError, r"'\]: sparsity=0.5 in row 1 means that 2 of 4 elements are off, but 4 are already",
            sparsity=0.5, scope="row", masks={NAME: mask})
    refused(ValueError, "min_per_layer=1 elements must stay, got 0", sparsity=1.0, scope="row")


def test_one_stream_for_all_random_masks():
    weights = {"a": np.ones((8, 8)), "b": np.ones((8, 8))}
    seeds = 0, np.random.default_rng(0), 1
    one, same, other = (npr.prune_tensors(weights, 0.5, "random", seed=seed) for seed in seeds)
    assert all(mask.sum() == 32 for mask in one.values()) and not np.array_equal(one["a"], one["b"])
    assert all(np.array_equal(one[name], same[name]) for name in one) and not np.array_equal(one["a"], other["a"])
    with pytest.raises(ValueError, match="needs the signal 'rng' of 'a', got none: pass seed=..."):
        npr.prune_tensors(weights, 0.5, "random")


def test_a_calibration_and_a_single_name_to_exclude():
    layers = [npr.DenseLayer(np.arange(1.0, 13.0).reshape(3, 4)), npr.DenseLayer(np.ones((2, 3)))]
    calibration = npr.calibrate(layers, [np.eye(4)])
    weights = {"0": layers[0].weight, "1": layers[1].weight}
    masks = npr.prune_tensors(weights, 0.5, "wanda", signals=calibration, exclude="1")
    assert list(masks) == ["0"] and masks["0"].sum(1).tolist() == [2, 2, 2]
