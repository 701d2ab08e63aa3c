"""One small set of functions over numpy, torch and the array API standard, with the same answers."""

import subprocess
import sys

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridge import assert_one_sentence
from libraries import LIBRARIES, assert_same_place, back, to
from neuroprune import arrays


def test_no_library_is_imported() -> None:
    script = (
        "import sys, numpy as np; from neuroprune import arrays; arrays.host(np.ones(2)); "
        "print([name for name in ('torch', 'array_api_strict', 'numba') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_and_shape(library: str) -> None:
    array = to(library, np.zeros((2, 0, 3), np.float32))
    name = {"strict": "array_api_strict", "device": "array_api_strict"}.get(library, library)
    assert arrays.is_array(array)
    assert arrays.library(array).__name__ == name
    assert arrays.shape(array) == (2, 0, 3) and arrays.size(array) == 0
    assert all(type(length) is int for length in arrays.shape(array))


@pytest.mark.parametrize("value", [[1.0, 2.0], 3.0, "weights", None, {"a": 1}])
def test_what_is_no_array(value) -> None:
    assert not arrays.is_array(value)
    with pytest.raises(TypeError, match="array of numpy, torch or the array API standard is needed"):
        arrays.library(value)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.float32, "floating"),
        (np.float64, "floating"),
        (np.int8, "integer"),
        (np.int64, "integer"),
        (np.uint8, "integer"),
        (np.bool_, "bool"),
        (np.complex64, "other"),
    ],
)
def test_kind(library: str, dtype: type, kind: str) -> None:
    array = to(library, np.zeros(2, dtype))
    assert arrays.kind(array) == kind
    if kind == "other":
        with pytest.raises(TypeError, match="real numbers is needed, got .*complex64"):
            arrays.host(array)


def test_kind_of_text() -> None:
    assert arrays.kind(np.array(["a"])) == arrays.kind(np.array([None])) == "other"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("library", LIBRARIES)
def test_host_view_has_the_values(library: str, dtype: type) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    array = to(library, values)
    view = arrays.host(array)
    if library == "device":
        assert view is None
    else:
        assert view.dtype == values.dtype
        assert np.array_equal(view, values)


def test_host_view_shares_memory(torch) -> None:
    values = np.arange(6.0)
    assert np.shares_memory(arrays.host(values[::2]), values)
    tensor = torch.arange(6.0).reshape(2, 3).t()
    view = arrays.host(tensor)
    tensor[2, 1] = 70.0
    assert view.shape == (3, 2) and view[2, 1] == 70.0
    strict = array_api_strict.asarray(values, copy=True)
    view = arrays.host(strict)
    strict[3] = 50.0
    assert view[3] == 50.0


def test_host_view_of_half_precision_is_exact(torch) -> None:
    values = np.array([0.1, 65504.0, -6e-8, -0.0], np.float16)
    view = arrays.host(values)
    assert view.dtype == np.float32 and np.array_equal(view, values)
    for dtype in (torch.float16, torch.bfloat16):
        tensor = torch.tensor([0.1, 3.0, -6e-8], dtype=dtype)
        view = arrays.host(tensor)
        assert view.dtype == np.float32
        assert torch.from_numpy(view).to(dtype).equal(tensor)


def test_host_view_of_a_parameter_knows_no_gradient(torch) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    assert isinstance(arrays.host(weight), np.ndarray)
    assert not arrays.detach(weight).requires_grad
    assert arrays.detach(values := np.ones(2)) is values


def test_host_view_off_the_host(torch) -> None:
    assert arrays.host(torch.ones(2, device="meta")) is None


def test_foreign_byte_order_becomes_native() -> None:
    values = np.arange(3.0).astype(">f8")
    assert arrays.host(values).dtype.isnative
    assert np.array_equal(arrays.host(values), values)


@pytest.mark.skipif(np.longdouble().itemsize <= 8, reason="long double is double here")
def test_numbers_of_more_than_64_bits_are_refused() -> None:
    with pytest.raises(TypeError, match="at most 64 bits"):
        arrays.host(np.zeros(2, np.longdouble))


def test_numpy_scalar_is_an_array_of_rank_zero() -> None:
    assert arrays.host(np.float32(2.5)).shape == ()
    assert arrays.kind(np.int8(1)) == "integer"


@pytest.mark.parametrize("library", LIBRARIES)
def test_like_goes_back_where_it_came_from(library: str) -> None:
    reference = to(library, np.zeros(3, np.float32))
    mask = np.array([[True], [False]])
    returned = arrays.like(mask, reference)
    assert_same_place(returned, reference)
    assert arrays.kind(returned) == "bool"
    assert np.array_equal(back(returned), mask)


@pytest.mark.parametrize("library", LIBRARIES)
def test_cast(library: str) -> None:
    reference = to(library, np.zeros(3, np.float32))
    returned = arrays.cast(to(library, np.array([0.1, 2.0])), reference)
    assert returned.dtype == reference.dtype
    assert np.array_equal(back(returned), np.array([0.1, 2.0], np.float32))
    assert_same_place(returned, reference)


@pytest.mark.parametrize("library", LIBRARIES)
@given(
    values=hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=st.integers(-3, 3)),
    data=st.data(),
)
def test_rank_and_counts(library: str, values: np.ndarray, data: st.DataObject) -> None:
    array = to(library, values)
    rank = data.draw(st.integers(1, values.shape[1]))
    assert np.array_equal(back(arrays.nth_lowest(array, rank)), np.sort(values, axis=1)[:, rank - 1 : rank])
    assert np.array_equal(back(arrays.running_count(array > 0)), np.cumsum(values > 0, axis=1))
    assert arrays.count_true(array > 0) == int((values > 0).sum())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("shape", "index", "place"),
    [((), (), ""), ((5,), (3,), " at index 3"), ((2, 3), (1, 0), r" at index \(1, 0\)")],
)
def test_the_first_bad_value_is_named(library: str, bad: float, shape: tuple, index: tuple, place: str) -> None:
    values = np.ones(shape, np.float32)
    assert arrays.first_nonfinite(to(library, values)) is None
    arrays.require_finite(to(library, values), "scores")
    values[index] = bad
    if shape:
        values.flat[-1] = bad
    assert arrays.first_nonfinite(to(library, values)) == index
    with pytest.raises(ValueError, match=f"^scores must be finite, got {bad}{place}: remove or replace such values"):
        arrays.require_finite(to(library, values), "scores")


def test_a_bad_value_far_into_a_large_array() -> None:
    values = np.zeros((500, 1000))
    values[333, 7] = np.nan
    values[400, 0] = np.inf
    assert arrays.first_nonfinite(values) == (333, 7)
    assert arrays.first_nonfinite(values.T) == (0, 400)


def test_nothing_and_integers_are_finite() -> None:
    assert arrays.first_nonfinite(np.zeros((0, 3))) is None
    assert arrays.first_nonfinite(np.array([1, 2])) is None


def test_one_library_and_one_device(torch) -> None:
    here, there = to("strict", np.ones(2)), to("device", np.ones(2))
    arrays.same_place(here, here, "mask")
    with pytest.raises(TypeError, match="mask must be an array of numpy like the others, got one of torch: convert"):
        arrays.same_place(np.ones(2), torch.ones(2), "mask")
    with pytest.raises(ValueError, match="mask must be on device .*CPU_DEVICE.* got .*device1.*: move it first"):
        arrays.same_place(here, there, "mask")
    with pytest.raises(ValueError, match="mask must be on device cpu like the others, got meta"):
        arrays.same_place(torch.ones(2), torch.ones(2, device="meta"), "mask")


def test_tensors_without_values_are_refused(torch) -> None:
    dense = torch.eye(3)
    arrays.require_values(dense, "weight")
    arrays.require_values(np.ones(3), "weight")
    arrays.require_values([1.0], "weight")  # what is no array is for others to say
    for layout, name in ((dense.to_sparse(), "coo"), (dense.to_mkldnn(), "mkldnn")):
        with pytest.raises(TypeError, match=f"^weight must be a dense tensor, got layout .*{name}: call to_dense") as e:
            arrays.require_values(layout, "weight")
        assert_one_sentence(e)
        with pytest.raises(TypeError, match="^mask must be a dense tensor"):
            arrays.same_place(dense, layout, "mask")
    with pytest.raises(ValueError, match="^weight must have values, got a tensor on device meta, which has none") as e:
        arrays.require_values(dense.to("meta"), "weight")
    assert_one_sentence(e)
