"""Sparse formats: what is stored, byte for byte, against slow twins and golden numbers; nothing is lost or invented."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import libraries
import oracle_formats as oracle
import strategies as s
from neuroprune.pruning.patterns import NM, Block
from neuroprune.tensors import formats
from neuroprune.tensors.formats import SparseWeight, smallest, sparsify, to_sparse

CASES = json.loads((Path(__file__).parent / "golden/prune/sparse_formats.json").read_text(encoding="utf-8"))["cases"]
golden = pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
WEIGHT = np.array([[0.5, 0.0, -2.0, 0.0], [0.0, 1.0, 0.0, 4.0]], np.float32)


@st.composite
def weights(draw, group=1):
    """A weight of rank 2 to 4 with zeros of both signs and a mask; the last length is a multiple of `group`."""
    shape = [draw(s.sizes(1, 6)) for _ in range(draw(s.sizes(1, 3)))] + [group * draw(s.sizes(1, 9 // group))]
    rng = np.random.default_rng(draw(s.SEEDS))
    values = s.draw_weights(rng, int(np.prod(shape)), draw(st.sampled_from(("distinct", "ties", "zeros"))))
    mask = rng.random(shape) < draw(st.sampled_from((0.0, 0.3, 0.8, 1.0)))
    return values.reshape(shape).astype(draw(st.sampled_from((np.float32, np.float64)))), mask


BLOCKS = st.tuples(s.sizes(1, 5), s.sizes(1, 5))


def same_bits(found, wanted):
    assert found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


def masked(weight, mask):
    return np.where(mask, weight, weight.dtype.type(0))


# ---------------------------------------------------------------- golden numbers


@golden
def test_golden_arrays(case):
    weight, expected = np.array(case["inputs"]["W"]), case["expected"]
    csr, csc, coo = (to_sparse(weight, format=format).matrix for format in ("csr", "csc", "coo"))
    for matrix, name in ((csr, "csr"), (csc, "csc")):
        for field in ("data", "indices", "indptr"):
            assert getattr(matrix, field).tolist() == expected[name][field]
    assert coo.data.tolist() == expected["coo"]["data"]
    assert [places.tolist() for places in coo.coords] == [expected["coo"]["row"], expected["coo"]["col"]]


@golden
def test_golden_blocks(case):
    weight, expected = np.array(case["inputs"]["W"]), case["expected"]["bsr"]
    found = to_sparse(weight, format="bsr", block=tuple(case["params"]["block"]))
    assert found.matrix.data.tolist() == expected["blocks"]
    assert found.matrix.indices.tolist() == expected["indices"]
    assert found.matrix.indptr.tolist() == expected["indptr"]
    assert (found.kept, found.stored) == (case["expected"]["nnz"], expected["stored_values"])


@golden
@pytest.mark.parametrize("format", ["csr", "csc", "coo", "bsr"])
def test_golden_product(case, format):
    block = tuple(case["params"]["block"]) if format == "bsr" else None
    found = to_sparse(np.array(case["inputs"]["W"]), format=format, block=block) @ np.array(case["inputs"]["x"])
    np.testing.assert_allclose(found, case["expected"]["matvec"], rtol=case["tol"]["rtol"], atol=1e-14)


# ---------------------------------------------------------------- what is stored


@given(weights(), BLOCKS)
def test_stored_as_the_twins_list_it(drawn, block):
    weight, mask = drawn
    for format in ("csr", "csc"):
        matrix = to_sparse(weight, mask, format).matrix
        assert [a.tolist() for a in (matrix.data, matrix.indices, matrix.indptr)] == [
            *getattr(oracle, format)(weight, mask)]
        assert matrix.has_canonical_format
    matrix = to_sparse(weight, mask, "coo").matrix
    assert [a.tolist() for a in (matrix.data, *matrix.coords)] == [*oracle.coo(weight, mask)]
    matrix = to_sparse(weight, mask, "bsr", block).matrix
    blocks, indices, starts = oracle.bsr(weight, mask, block)
    assert (matrix.indices.tolist(), matrix.indptr.tolist()) == (indices, starts)
    assert matrix.data.tolist() == blocks


@given(weights(), BLOCKS)
def test_back_to_dense_in_the_true_shape(drawn, block):
    weight, mask = drawn
    before = weight.copy(), mask.copy()
    for format in ("csr", "csc", "coo", "bsr"):
        found = to_sparse(weight, mask, format, block if format == "bsr" else None)
        same_bits(found.to_dense(), masked(weight, mask))
        assert (found.shape, found.dtype, found.format) == (weight.shape, weight.dtype, format)
        assert found.block == (block if format == "bsr" else None)
        assert found.kept == mask.sum() and found.sparsity == 1 - mask.sum() / mask.size
    same_bits(weight, before[0])
    same_bits(mask, before[1])


@given(weights(), BLOCKS)
def test_bytes_are_those_of_the_arrays_and_of_the_formula(drawn, block):
    weight, mask = drawn
    found = formats.sizes(weight, mask, block)
    for format in ("csr", "csc", "coo", "bsr"):
        stored = to_sparse(weight, mask, format, block if format == "bsr" else None)
        counted = oracle.n_bytes(weight, mask, format, weight.itemsize, block)
        assert stored.n_bytes == counted == found[format]
        assert stored.savings == pytest.approx(1 - 1 / stored.compression_ratio if counted else 1.0)
    assert found["dense"] == weight.nbytes == stored.dense_bytes
    assert list(found.values()) == sorted(found.values())
    assert smallest(weight, mask, block) == next(iter(found))


@given(weights(), BLOCKS)
def test_without_a_mask_what_is_not_zero(drawn, block):
    weight, _ = drawn
    for format in ("csr", "coo", "bsr"):
        found, wanted = (to_sparse(weight, mask, format, block if format == "bsr" else None)
                         for mask in (None, weight != 0))
        same_bits(found.to_dense(), wanted.to_dense())
        assert found.n_bytes == wanted.n_bytes and found.kept == np.count_nonzero(weight)


@given(weights())
def test_a_kept_zero_stays(drawn):
    weight, mask = drawn
    for format in ("csr", "csc", "coo"):
        found = to_sparse(np.zeros_like(weight), mask, format)
        assert found.kept == found.stored == mask.sum()
        assert found.to("coo").kept == mask.sum()
        assert found.rows()[2].size == mask.sum()


@given(weights(), BLOCKS, st.data())
def test_get(drawn, block, data):
    weight, mask = drawn
    format = data.draw(st.sampled_from(("csr", "csc", "coo", "bsr")))
    found = to_sparse(weight, mask, format, block if format == "bsr" else None)
    place = tuple(data.draw(st.integers(-n, n - 1)) for n in weight.shape)
    assert found.get(*place) == masked(weight, mask)[place]


@given(weights(), BLOCKS, st.data())
def test_from_one_format_to_another(drawn, block, data):
    weight, mask = drawn
    names = ("csr", "csc", "coo", "bsr")
    first, second = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    start = to_sparse(weight, mask, first, block if first == "bsr" else None)
    found = start.to(second, block if second == "bsr" else None)
    assert np.array_equal(found.to_dense(), masked(weight, mask)) and found.format == second
    assert found.kept == (np.count_nonzero(masked(weight, mask)) if first == "bsr" else mask.sum())


@given(weights(), BLOCKS)
def test_rows_are_what_products_read(drawn, block):
    weight, mask = drawn
    mask &= weight != 0
    data, indices, starts = oracle.csr(weight, mask)
    for format in ("csr", "csc", "coo", "bsr"):
        start, read, values = to_sparse(weight, mask, format, block if format == "bsr" else None).rows(np.float64)
        assert (start.tolist(), read.tolist(), values.tolist()) == (starts, indices, data)
        assert (start.dtype, read.dtype, values.dtype) == (np.int64, np.int32, np.float64)


# ---------------------------------------------------------------- packed N:M


@st.composite
def patterned(draw):
    """A weight whose groups keep at most `keep`, the mask, and the pattern; half of the masks are full."""
    group = draw(s.sizes(1, 9))
    keep = draw(s.sizes(0, group))
    weight, _ = draw(weights(group))
    rng = np.random.default_rng(draw(s.SEEDS))
    most = rng.integers(0, keep + 1, (weight.size // group, 1)) if draw(st.booleans()) else keep
    ranks = rng.random((weight.size // group, group)).argsort(axis=1)
    return weight, (ranks < most).reshape(weight.shape), keep, group


@given(patterned())
def test_packed_as_the_twin_lists_it(drawn):
    weight, mask, keep, group = drawn
    found = to_sparse(weight, mask, f"{keep}:{group}")
    values, bits = oracle.packed(weight, mask, keep, group)
    assert found.matrix.values.ravel().tolist() == values
    assert "".join(f"{byte:08b}"[::-1] for byte in found.matrix.positions.tolist()).startswith(bits)
    assert found.matrix.positions.size == -(-len(bits) // 8)
    assert found.n_bytes == oracle.n_bytes(weight, mask, f"{keep}:{group}", weight.itemsize)
    assert found.n_bytes == formats.sizes(weight, mask, pattern=f"{keep}:{group}")[f"{keep}:{group}"]
    assert (found.kept, found.stored) == (mask.sum(), weight.size // group * keep)


@given(patterned(), st.data())
def test_packed_restores_along_any_axis(drawn, data):
    weight, mask, keep, group = drawn
    axis = data.draw(st.integers(-weight.ndim, weight.ndim - 1))
    weight, mask = (np.moveaxis(part, -1, axis) for part in (weight, mask))
    found = to_sparse(weight, mask, NM(keep, group, axis))
    assert found.format == f"{keep}:{group}"
    assert found.n_bytes == formats.sizes(weight, mask, pattern=NM(keep, group, axis))[found.format]
    same_bits(found.to_dense(), np.ascontiguousarray(masked(weight, mask)))
    place = tuple(data.draw(st.integers(0, n - 1)) for n in weight.shape)
    assert found.get(*place) == masked(weight, mask)[place]
    same_bits(found.to("csr").to_dense() + 0, masked(weight, mask) + 0)  # + 0: no zeros with a sign


def test_two_of_four_takes_seventeen_bytes_of_thirty_two():
    weight = np.tile(np.array([1.0, 0.0, 0.0, 2.0], np.float32), (64, 16))
    found = to_sparse(weight, format="2:4")
    assert found.n_bytes == weight.nbytes * 17 // 32 and found.matrix.positions[0] == 0b11001100
    assert smallest(weight) == "2:4"


def test_the_pattern_is_left_out_where_the_weight_breaks_it():
    weight = np.tile([1.0, 1.0, 1.0, 0.0], (4, 4))
    assert "2:4" not in formats.sizes(weight) and "3:4" in formats.sizes(weight, pattern="3:4")
    assert "2:4" not in formats.sizes(np.eye(6)) and "2:4" in formats.sizes(np.eye(8))


# ---------------------------------------------------------------- libraries and copies


@pytest.mark.parametrize("library", ["numpy", "torch", "strict"])
@pytest.mark.parametrize("format", ["csr", "2:4"])
def test_every_library_gives_the_same(library, format):
    found = to_sparse(libraries.to(library, WEIGHT), libraries.to(library, WEIGHT != 0), format)
    same_bits(found.to_dense(), WEIGHT)
    product = found @ libraries.to(library, np.ones(4, np.float32))
    libraries.assert_same_place(product, libraries.to(library, WEIGHT))
    assert libraries.back(product).tolist() == [-1.5, 5.0]


def test_half_precision_becomes_single(torch):
    assert to_sparse(WEIGHT.astype(np.float16)).dtype == np.float32
    assert to_sparse(torch.tensor(WEIGHT, dtype=torch.bfloat16, requires_grad=True)).dtype == np.float32


def test_weights_in_any_order_of_memory():
    weight = np.asfortranarray(WEIGHT)
    assert to_sparse(weight).matrix.data.tolist() == to_sparse(WEIGHT).matrix.data.tolist()
    assert to_sparse(WEIGHT[:, ::-1], format="2:4").to_dense().tolist() == WEIGHT[:, ::-1].tolist()


def test_what_is_off_may_be_anything():
    weight = WEIGHT.copy()
    weight[0, 1] = np.nan
    same_bits(to_sparse(weight, WEIGHT != 0).to_dense(), WEIGHT)


def test_copies_are_whole():
    found = to_sparse(WEIGHT, format="2:4")
    found @ np.ones(4, np.float32)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        same_bits(other.to_dense(), WEIGHT)
        assert found._layouts and not other._layouts
        assert (other @ np.ones(4, np.float32)).tolist() == [-1.5, 5.0]


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "bsr", "2:4"])
def test_what_is_stored_cannot_be_written(format):
    """Products keep what they made of it, and would not see a change."""
    found = to_sparse(WEIGHT, format=format, block=(2, 2) if format == "bsr" else None)
    for other in (found, copy.deepcopy(found), pickle.loads(pickle.dumps(found)), found.to("csr")):
        matrix = other.matrix
        fields = ("values", "positions") if other.format == "2:4" else ("data", "indices", "indptr")
        held = [matrix.data, *matrix.coords] if other.format == "coo" else [getattr(matrix, name) for name in fields]
        for array in (*held, *other.rows(), *other.rows(np.float64)):
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0
        same_bits(other.to_dense(), WEIGHT)
        other.to_dense()[:] = 0  # a copy, as it always was


def test_sparsify_takes_what_has_a_mask():
    found = sparsify({"a": WEIGHT, "b": WEIGHT}, {"b": WEIGHT > 0}, "coo")
    assert list(found) == ["b"] and found["b"].kept == 3 and found["b"].format == "coo"


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("arguments, error, message", [
    (([[1.0]],), TypeError, "weight must be an array of floating numbers, got list"),
    ((np.ones((2, 2), int),), TypeError, "got int64"),
    ((np.ones(3),), ValueError, r"weight must have rank 2 or more and elements, got shape \(3,\)"),
    ((np.ones((0, 3)),), ValueError, r"got shape \(0, 3\)"),
    ((WEIGHT, WEIGHT), TypeError, "mask must be a boolean array, got float32"),
    ((WEIGHT, [[True]]), TypeError, "an array of numpy, torch or the array API standard is needed, got list"),
    ((WEIGHT, WEIGHT.T != 0), ValueError, r"mask must have the weight's shape \(2, 4\), got \(4, 2\)"),
    ((np.array([[1.0, np.nan]]),), ValueError, r"weight must be finite, got nan at index \(0, 1\)"),
    ((WEIGHT, None, "dia"), ValueError, "format must be a known one or keep:group such as '2:4', got 'dia'"),
    ((WEIGHT, None, "csrr"), ValueError, "got 'csrr': did you mean 'csr'?"),
    ((WEIGHT, None, "dense"), ValueError, "format must be sparse, got 'dense'"),
    ((WEIGHT, None, None), ValueError, "format must be a known one"),
    ((WEIGHT, None, "bsr"), ValueError, r"block must be \(height, width\), got None"),
    ((WEIGHT, None, "bsr", (2, 0)), ValueError, "block must be an integer at least 1, got 0"),
    ((WEIGHT, None, "bsr", (2, 1.5)), TypeError, "block must be an integer at least 1, got 1.5"),
    ((WEIGHT, None, "csr", (2, 2)), ValueError, r"block belongs to format 'bsr', got block=\(2, 2\) with 'csr'"),
    ((WEIGHT, None, "3:2"), ValueError, r"keep must be an integer in \[0, 2\], got 3"),
    ((WEIGHT, None, "1:4"), ValueError, "1:4 keeps 1 of each 4 along axis -1, got 2 in group 0"),
    ((WEIGHT, None, "2:3"), ValueError, "2:3 needs an axis whose length 3 divides, got 4 along axis -1"),
    ((WEIGHT, None, NM(1, 2, 2)), ValueError, r"1:2 runs along axis 2, got shape \(2, 4\)"),
])
def test_refused_in_one_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        to_sparse(*arguments)


def test_mixed_libraries_are_refused():
    with pytest.raises(TypeError, match="mask must be an array of numpy like the others, got one of array_api_strict"):
        to_sparse(WEIGHT, libraries.to("strict", WEIGHT != 0))


def test_refused_on_an_accelerator():
    with pytest.raises(ValueError, match="weight must lie in host memory, got device .*: move it first"):
        to_sparse(libraries.to("device", WEIGHT))


@pytest.mark.parametrize("place", [(2, 0), (0, -5), (0,), (0, 0, 0)])
def test_get_outside(place):
    with pytest.raises(IndexError, match=r"an index into shape \(2, 4\) is needed"):
        to_sparse(WEIGHT).get(*place)


def test_sparsify_names_the_weight():
    with pytest.raises(ValueError, match="masks must name weights, got 'c'"):
        sparsify({"a": WEIGHT}, {"c": WEIGHT > 0})
    with pytest.raises(ValueError, match=r"'a': mask must have the weight's shape"):
        sparsify({"a": WEIGHT}, {"a": WEIGHT.T > 0})
    for pattern in ("csr", Block((2, 2))):
        with pytest.raises(ValueError, match='pattern must be .?keep:group.? such as'):
            smallest(WEIGHT, pattern=pattern)


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        to_sparse(WEIGHT).shape = (8, 1)
    assert isinstance(to_sparse(WEIGHT), SparseWeight)


def test_an_array_on_the_left_is_an_error_of_python():
    with pytest.raises(TypeError, match="unsupported operand"):
        np.ones((3, 2)) @ to_sparse(np.eye(2))
