"""Metrics against counting by hand: sparsity, bytes, multiply-adds, accuracy; golden counts of an MLP."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import libraries
import oracle_formats as oracle
import strategies as s
from neuroprune.pruning import metrics
from neuroprune.pruning.metrics import Count, Memory, MultiplyAdds
from neuroprune.pruning.patterns import NM

CASES = json.loads((Path(__file__).parent / "golden/prune/metrics.json").read_text(encoding="utf-8"))["cases"]
MASK = {"a": np.array([[True, False], [False, False]])}
BLOCKS = st.tuples(s.sizes(1, 4), s.sizes(1, 4))


@st.composite
def models(draw, width=1):
    """Named weights of rank 2 to 4 with zeros, some given as masks; last lengths are multiples of `width`."""
    rng = np.random.default_rng(draw(s.SEEDS))
    found = {}
    for name in "abc"[: draw(s.sizes(1, 3))]:
        shape = [draw(s.sizes(1, 5)) for _ in range(draw(s.sizes(1, 3)))] + [width * draw(s.sizes(1, 3))]
        weight = rng.normal(size=shape) * (rng.random(shape) < rng.random())
        found[name] = weight != 0 if draw(st.booleans()) else weight
    return found


def used(shape, positions):
    """Multiply-adds of a layer, one by one."""
    return sum(1 for _ in np.ndindex(*shape)) * positions


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_golden_counts(case):
    shapes, expected = case["inputs"]["weight_shapes"], case["expected"]
    strides = iter(case["params"]["conv_strides"])
    for given_shapes, when in ((shapes, "before"), (expected["weight_shapes_after"], "after")):
        size, positions = case["inputs"]["input_shape"][2:], {}
        for number, shape in enumerate(given_shapes):
            if len(shape) > 2:
                positions[str(number)] = metrics.output_positions(size, shape[2:], next(strides), shape[2] // 2)
        weights = {str(number): np.ones(shape, bool) for number, shape in enumerate(given_shapes)}
        found = metrics.multiply_adds(weights, positions)
        assert found.dense == found.sparse == expected[f"macs_conv_linear_{when}"]
        assert metrics.total(weights).size == expected[f"params_{when}"]


@given(models())
def test_counts(model):
    found = metrics.counts(model)
    for name, array in model.items():
        off = sum(not value for value in array.ravel().tolist())
        assert found[name] == Count(off, array.size, 1)
    whole = metrics.total(model)
    off, size = sum(one.off for one in found.values()), sum(one.size for one in found.values())
    assert (whole.off, whole.size, whole.arrays) == (off, size, len(model))
    assert metrics.sparsity(model) == whole.sparsity == off / size
    assert metrics.compression_ratio(model) == (size / (size - off) if size > off else math.inf)


@given(models(), BLOCKS, st.sampled_from(("dense", "csr", "csc", "coo", "bsr")), st.sampled_from((2, 4, 8)))
def test_memory_and_what_executes(model, block, format, itemsize):
    shape = block if format == "bsr" else None
    found = metrics.memory(model, format, itemsize, block=shape)
    masks = {name: array != 0 for name, array in model.items()}
    assert found.before == sum(array.size for array in model.values()) * itemsize
    assert found.after == sum(oracle.n_bytes(mask, mask, format, itemsize, shape) for mask in masks.values())
    assert found.savings == pytest.approx(1 - found.after / found.before)
    assert math.isclose(found.compression_ratio, found.before / found.after if found.after else math.inf)
    positions = dict(zip(model, (3, 1, 7), strict=False))
    work = metrics.multiply_adds(model, positions, format, shape)
    assert work.dense == sum(used(array.shape, positions[name]) for name, array in model.items())
    assert work.sparse == sum(int(mask.sum()) * positions[name] for name, mask in masks.items())
    stored = {name: len(oracle.bsr(mask, mask, block)[0]) * math.prod(block) if format == "bsr" else
              mask.size if format == "dense" else int(mask.sum()) for name, mask in masks.items()}
    assert work.executed == sum(stored[name] * positions[name] for name in model)
    assert work.sparse <= work.executed and (format == "bsr" or work.executed <= work.dense)


@given(models(width=4), s.sizes(1, 4))
def test_patterns_store_a_fixed_number(model, keep):
    full = {name: np.broadcast_to(np.arange(array.shape[-1]) % 4 < keep, array.shape) for name, array in model.items()}
    size = sum(array.size for array in model.values())
    found = metrics.memory(full, f"{keep}:4", 2)
    assert found == Memory(size * 2, sum(oracle.n_bytes(mask, mask, f"{keep}:4", 2) for mask in full.values()))
    assert metrics.multiply_adds(full, None, f"{keep}:4") == MultiplyAdds(size, size * keep // 4, size * keep // 4)


@given(st.lists(st.tuples(s.sizes(1, 12), s.sizes(1, 4), s.sizes(1, 3), s.sizes(0, 3), s.sizes(1, 3)), min_size=1,
                max_size=3))
def test_output_positions_by_sliding(axes):
    places = [[at for at in range(0, size + 2 * pad, stride) if at + dilation * (kernel - 1) < size + 2 * pad]
              for size, kernel, stride, pad, dilation in axes]
    if all(places):
        assert metrics.output_positions(*zip(*axes, strict=True)) == math.prod(map(len, places))
    else:
        with pytest.raises(ValueError, match="kernel must fit into the padded input"):
            metrics.output_positions(*zip(*axes, strict=True))


def test_output_positions_of_torch(torch):
    layer = torch.nn.Conv2d(3, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=3)
    out = layer(torch.zeros(1, 3, 17, 16))
    positions = metrics.output_positions((17, 16), (3, 5), (2, 1), (1, 2), (1, 2))
    assert positions == out.shape[2] * out.shape[3]
    assert metrics.multiply_adds({"conv": layer.weight}, {"conv": positions}).dense == 6 * 1 * 15 * positions


@pytest.mark.parametrize("library", libraries.LIBRARIES)
def test_every_library(library):
    weights = {"w": libraries.to(library, np.array([[0.0, 2.0], [0.0, -0.0]]))}
    assert metrics.total(weights) == Count(3, 4) and metrics.memory(weights) == Memory(16, 20)
    masks = {"w": libraries.to(library, np.array([[True, False], [False, False]]))}
    assert metrics.multiply_adds(masks) == MultiplyAdds(4, 1, 1)


def test_blocks_on_an_accelerator_are_refused():
    with pytest.raises(ValueError, match="'w': blocks are counted in host memory, got device"):
        metrics.memory({"w": libraries.to("device", np.eye(2))}, "bsr", block=(1, 1))


def test_accuracy_drop():
    assert metrics.accuracy_drop(0.97, 0.95) == pytest.approx(2.0) and metrics.accuracy_drop(0.5, 1) == -50.0


def test_it_says_what_it_counts():
    assert str(metrics.total({"a": np.eye(2), "b": np.ones(2000)})) == "2 of 2,004 elements of 2 arrays are off (0.1%)"


@pytest.mark.parametrize("weights, error, message", [
    ([np.eye(2)], TypeError, "weights must map names to arrays, got list"),
    ({}, ValueError, "weights must hold at least one array, got none"),
    ({"a": [1.0]}, TypeError, "'a' must be an array, got list"),
    ({"a": np.ones((0, 2))}, ValueError, r"'a' must have elements, got shape \(0, 2\)"),
    ({"a": np.ones(2, complex)}, TypeError, "'a' must hold real numbers or booleans, got complex128"),
])
def test_weights_refused_in_one_sentence(weights, error, message):
    for call in (metrics.total, metrics.counts, metrics.sparsity, metrics.memory, metrics.multiply_adds):
        with pytest.raises(error, match=message):
            call(weights)


@pytest.mark.parametrize("call, error, message", [
    (lambda: metrics.memory(MASK, "ell"), ValueError, "format must be a known one or keep:group such as '2:4'"),
    (lambda: metrics.memory(MASK, "4:2"), ValueError, r"keep must be an integer in \[0, 2\], got 4"),
    (lambda: metrics.memory({"a": np.ones(3)}), ValueError, "'a': csr needs an array of rank 2 or more"),
    (lambda: metrics.memory(MASK, "bsr"), ValueError, r"block must be \(height, width\), got None"),
    (lambda: metrics.memory(MASK, "2:3"), ValueError, "2:3 needs an axis whose length 3 divides, got 2"),
    (lambda: metrics.memory({"a": np.ones((2, 2))}, "1:2"), ValueError, "'a': 1:2 has room for 2 elements, got 4"),
    (lambda: metrics.bytes_of((3,), 1, "2:4"), ValueError, "2:4 needs an axis whose length 4 divides, got 3"),
    (lambda: metrics.bytes_of((4,), 1, NM(2, 4, 1)), ValueError, r"2:4 runs along axis 1, got shape \(4,\)"),
    (lambda: metrics.bytes_of((2, 2), 5), ValueError, r"kept must be an integer in \[0, 4\], got 5"),
    (lambda: metrics.bytes_of((2, 2), 1, "bsr", block=(2, 2)), TypeError, "blocks must be .*, got None"),
    (lambda: metrics.bytes_of((2, 2), 1, "bsr", block=(2, 2), blocks=2), ValueError, r"in \[0, 1\], got 2"),
    (lambda: metrics.bytes_of((2, 2), -1), ValueError, r"kept must be an integer in \[0, 4\], got -1"),
    (lambda: metrics.bytes_of((2, 2), 1.0), TypeError, r"kept must be an integer in \[0, 4\], got 1.0"),
    (lambda: metrics.bytes_of((2, 0), 0), ValueError, "every length in shape must be an integer at least 1, got 0"),
    (lambda: metrics.bytes_of((2, 2), 0, itemsize=0), ValueError, "itemsize must be an integer at least 1, got 0"),
    (lambda: metrics.multiply_adds(MASK, {"b": 2}), ValueError, "positions must name layers of weights, got 'b'"),
    (lambda: metrics.multiply_adds(MASK, {"a": 0}), ValueError, "positions of 'a' must be .* at least 1, got 0"),
    (lambda: metrics.multiply_adds(MASK, {"a": 1.5}), TypeError, "positions of 'a' must be .*, got 1.5"),
    (lambda: metrics.output_positions((5, 5), (3,)), ValueError, "kernel must be one number or 2, one for each axis"),
    (lambda: metrics.output_positions((5, 5), 3, 0), ValueError, "stride must be an integer at least 1, got 0"),
    (lambda: metrics.accuracy_drop(97.0, 0.9), ValueError, r"before must be in \[0, 1\], got 97.0"),
    (lambda: metrics.accuracy_drop(0.9, math.nan), ValueError, r"after must be in \[0, 1\], got nan"),
    (lambda: metrics.accuracy_drop("1", 0.9), TypeError, r"before must be a number in \[0, 1\], got str"),
])
def test_refused_in_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_tensors_without_values_are_named(torch):
    for tensor, kind, words in ((torch.eye(4).to_sparse(), TypeError, "'a' must be a dense tensor, got layout"),
                                (torch.eye(4, device="meta"), ValueError, "'a' must have values, got a tensor on")):
        for call in (metrics.sparsity, metrics.memory, metrics.multiply_adds):
            with pytest.raises(kind, match=words):
                call({"a": tensor})


def test_lengths_and_positions_of_another_type():
    for positions in (np.array([2, 2]), [2], 3):
        with pytest.raises(TypeError, match="positions must map names to counts, got .*: pass {'name': count}"):
            metrics.multiply_adds(MASK, positions)
    with pytest.raises(TypeError, match=r"size must be the lengths of the input's spatial axes, got 32: pass"):
        metrics.output_positions(32, 3)
    assert metrics.output_positions(np.array([32, 32]), 3, padding=1) == 1024
