"""The compiled products of sparse matrices: the bits of sums in a stated order, in every layout of x."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_formats as oracle
import strategies as s
from neuroprune.kernels import lanes, products
from neuroprune.kernels.forward import lane_buffer


@st.composite
def problems(draw, most_samples):
    """CSR columns, the weight and mask that they store, samples in C or F order, and room for the results."""
    out, width, samples = draw(s.sizes(1, 20)), draw(s.sizes(1, 40)), draw(s.sizes(1, most_samples))
    rng = np.random.default_rng(draw(s.SEEDS))
    dtype = draw(st.sampled_from((np.float32, np.float64)))
    weight = rng.normal(size=(out, width)).astype(dtype)
    mask = rng.random((out, width)) < draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    order = draw(st.sampled_from("CF"))
    x = np.asarray(rng.normal(size=(samples, width)), dtype=dtype, order=order)
    start = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
    columns = start, np.nonzero(mask)[1].astype(np.int32), weight[mask]
    return columns, weight, mask, x, np.full((samples, out), np.nan, dtype, order=order)


def by_lanes(start, read, weight, x, out, widest):
    """The kernel with just enough room, which held something else before."""
    room = lane_buffer((x.shape[1] + lanes.LANES) * widest, weight)
    room[:] = np.nan
    products.by_lanes(start, read, weight, x, out, widest, room)


@given(problems(most_samples=3))
def test_rows_add_in_eight_sums(problem):
    columns, weight, mask, x, found = problem
    products.by_rows(*columns, x, found)
    assert found.tolist() == oracle.product(weight, mask, x, sums=8)


@given(problems(most_samples=6))
def test_lanes_add_in_the_order_of_the_entries(problem):
    columns, weight, mask, x, found = problem
    by_lanes(*columns, x, found, lanes.LANES)
    assert found.tolist() == oracle.product(weight, mask, x)


@given(problems(most_samples=150), st.sampled_from((lanes.LANES, lanes.WIDE)))
def test_lanes_give_the_same_bits_however_wide_a_tile_is(problem, widest):
    columns, weight, mask, x, found = problem
    by_lanes(*columns, x, found, widest)
    narrow = np.full_like(found, np.nan)
    by_lanes(*columns, x, narrow, lanes.LANES)
    assert found.tobytes() == narrow.tobytes()
    wanted = x.astype(np.float64) @ np.where(mask, weight, 0).astype(np.float64).T
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 if x.dtype == np.float32 else 1e-12)


@given(problems(most_samples=40))
def test_a_sample_does_not_depend_on_the_others(problem):
    columns, _, _, x, found = problem
    by_lanes(*columns, x, found, lanes.WIDE)
    alone = np.empty_like(found[:1])
    by_lanes(*columns, x[-1:], alone, lanes.WIDE)
    assert alone.tobytes() == found[-1:].tobytes()


@pytest.mark.parametrize("kernel", [products.by_rows, lambda *args: by_lanes(*args, lanes.WIDE)])
def test_a_row_of_hundreds(kernel):
    rng = np.random.default_rng(5)
    weight, x = rng.normal(size=(17, 1001)), rng.normal(size=(65, 1001))
    start, read = np.arange(0, weight.size + 1, 1001), np.tile(np.arange(1001, dtype=np.int32), 17)
    found = np.empty((65, 17))
    kernel(start, read, weight.ravel(), x, found)
    np.testing.assert_allclose(found, x @ weight.T, rtol=0, atol=1e-11)
