"""The compiled passes of a selection against what they do in one line of numpy each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroprune.kernels import select

DTYPES = (np.float32, np.float64, np.int64, np.uint8)
SIZES = (0, 1, 7, 8, 9, select.BLOCK - 1, select.BLOCK, select.BLOCK + 1, 3 * select.BLOCK + 5)


def limits(dtype):
    info = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    return dtype(info.min), dtype(info.max)


def draw_values(seed, size, levels, dtype):
    return np.random.default_rng(seed).integers(0, levels, size).astype(dtype)


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from(SIZES),
    levels=st.sampled_from((1, 2, 10, 100)),
    dtype=st.sampled_from(DTYPES),
    bracket=st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted),
    already=st.integers(0, 3),
)
def test_scan_counts_and_copies(seed, size, levels, dtype, bracket, already) -> None:
    flat = draw_values(seed, size, levels, dtype)
    low, high = dtype(bracket[0]), dtype(bracket[1])
    wanted = flat[(flat > low) & (flat < high)]
    capacity = already + wanted.size
    inside = np.full(capacity + select.BLOCK, 77, dtype)
    below, at_low, found, bad = select.scan(flat, False, low, high, *limits(dtype), inside, already, capacity)
    assert (below, at_low, bad) == ((flat < low).sum(), (flat == low).sum(), 0)
    assert found == capacity
    assert np.array_equal(inside[already:found], wanted)
    assert (inside[:already] == 77).all()


@pytest.mark.parametrize("capacity", [0, 1, select.BLOCK // 2, select.BLOCK, 2 * select.BLOCK])
@pytest.mark.parametrize("size", SIZES)
def test_scan_counts_on_when_there_is_no_room(size: int, capacity: int) -> None:
    flat = np.ones(size)
    guarded = np.full(capacity + select.BLOCK + 1, 77.0)
    inside = guarded[:-1]
    found = select.scan(flat, False, 0.0, 2.0, *limits(np.float64), inside, 0, capacity)[2]
    assert found == size
    assert (inside[: min(size, capacity)] == 1.0).all()
    assert guarded[-1] == 77.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0, select.BLOCK - 1, select.BLOCK, 2 * select.BLOCK + 3])
def test_scan_counts_what_is_not_finite(dtype: type, place: int) -> None:
    flat = np.zeros(2 * select.BLOCK + 4, dtype)
    inside = np.empty(2 * flat.size, dtype)
    flat[place] = limits(dtype)[1]
    arguments = (False, dtype(-1), dtype(1), *limits(dtype), inside, 0, flat.size)
    assert select.scan(flat, *arguments)[3] == 0
    for bad in (np.nan, np.inf, -np.inf):
        flat[place] = bad
        assert select.scan(flat, *arguments)[3] == 1


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from(SIZES),
    levels=st.sampled_from((1, 2, 10, 100)),
    dtype=st.sampled_from(DTYPES),
    value=st.integers(0, 12),
    share=st.floats(0, 1.5),
)
def test_keep_above_drops_the_first_equals(seed, size, levels, dtype, value, share) -> None:
    flat = draw_values(seed, size, levels, dtype)
    ties = np.flatnonzero(flat == value)
    equals = round(share * ties.size)
    wanted = flat > value
    wanted[ties[equals:]] = True
    mask = np.full(size, 7, np.uint8)
    left, kept = select.keep_above(flat, False, dtype(value), equals, mask)
    assert left == max(0, equals - ties.size) and kept == wanted.sum()
    assert np.array_equal(mask, wanted)


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from(SIZES),
    levels=st.sampled_from((1, 2, 10, 100)),
    dtype=st.sampled_from((np.float32, np.float64)),
    value=st.integers(0, 12),
)
def test_magnitudes_are_those_of_a_copy(seed, size, levels, dtype, value) -> None:
    flat = draw_values(seed, size, 2 * levels, dtype) - dtype(levels)
    arguments = (dtype(value), dtype(value + 3), *limits(dtype))
    found = [np.zeros(size + select.BLOCK, dtype) for _ in range(2)]
    scanned = [
        select.scan(array, array is flat, *arguments, inside, 0, size)
        for array, inside in zip((flat, abs(flat)), found, strict=True)
    ]
    assert scanned[0] == scanned[1]
    assert np.array_equal(found[0][: scanned[0][2]], found[1][: scanned[0][2]])
    bytes_ = [np.full(size, 7, np.uint8) for _ in range(2)]
    kept = [select.keep_above(array, array is flat, dtype(value), 3, mask)
            for array, mask in zip((flat, abs(flat)), bytes_, strict=True)]  # fmt: skip
    assert kept[0] == kept[1] and np.array_equal(*bytes_)
