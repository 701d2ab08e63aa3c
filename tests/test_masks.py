"""Masks are exact, alike in every library, and refuse what they cannot do exactly."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_masks as plain
import oracle_pruning as oracle
from bridge import assert_one_sentence
from libraries import LIBRARIES, assert_same_place, back, to
from neuroprune.network.network import Network
from neuroprune.pruning import groups as within
from neuroprune.pruning import masks
from test_selection import twin

GOLDEN = Path(__file__).parent / "golden" / "prune"
DTYPES = (np.float16, np.float32, np.float64, np.int8, np.int64)


def golden(family):
    return [pytest.param(case, id=case["id"]) for case in json.loads((GOLDEN / f"{family}.json").read_text())["cases"]]


@st.composite
def shapes(draw, min_rank=0, max_rank=4):
    """Shapes with up to a few hundred elements, sometimes none."""
    return tuple(draw(st.lists(st.integers(0, 6), min_size=min_rank, max_size=max_rank)))


@st.composite
def tied_scores(draw, shape):
    """Scores of any of the types, mostly full of ties, with zeros of both signs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(DTYPES))
    scores = np.asarray(rng.integers(-1, draw(st.sampled_from((0, 1, 2, 100))) + 1, shape), dtype)
    if scores.dtype.kind == "f":
        scores = np.asarray(np.where(rng.random(shape) < 0.5, scores, -scores), dtype)
    return scores


def same_in_all(make, *values):
    """The mask as numpy, after checking that every library gives the same, where the scores are."""
    wanted = np.asarray(make(*values))
    for library in LIBRARIES:
        if library in ("strict", "device") and any(value.dtype == np.float16 for value in values):
            continue  # the standard has no half precision
        there = [to(library, value) for value in values]
        mask = make(*there)
        assert_same_place(mask, there[0])
        assert back(mask).dtype == np.bool_
        assert np.array_equal(back(mask), wanted), library
    return wanted


# ---------------------------------------------------------------- how many


@pytest.mark.parametrize(
    ("sparsity", "size", "wanted"),
    [(0.5, 1, 0), (0.5, 3, 2), (0.5, 5, 2), (0.0, 9, 0), (1.0, 9, 9), (0.9, 10, 9), (1, 3, 3), (0.3, 0, 0)],
)
def test_count(sparsity: float, size: int, wanted: int) -> None:
    assert masks.count(sparsity, size) == wanted
    assert type(masks.count(np.float64(sparsity), size)) is int


@pytest.mark.parametrize("sparsity", [-0.1, 1.0000001, np.nan, np.inf, -1, 2])
def test_count_refuses_what_is_no_share(sparsity: float) -> None:
    scores = np.ones((2, 2))
    for call in (
        lambda: masks.count(sparsity, 4),
        lambda: masks.sparse(scores, sparsity),
        lambda: masks.sparse(scores, sparsity, groups="row"),
        lambda: masks.sparse_jointly([scores], sparsity),
    ):
        with pytest.raises(ValueError, match=rf"^sparsity must be in \[0, 1\], got {sparsity}: it is the share"):
            call()


@pytest.mark.parametrize("sparsity", ["0.5", None, [0.5]])
def test_count_refuses_what_is_no_number(sparsity) -> None:
    with pytest.raises(TypeError, match="sparsity must be a number in"):
        masks.count(sparsity, 4)


# ---------------------------------------------------------------- one array


@given(data=st.data(), shape=shapes())
def test_top(data: st.DataObject, shape: tuple) -> None:
    scores = data.draw(tied_scores(shape))
    keep = data.draw(st.integers(0, scores.size))
    mask = same_in_all(lambda array: masks.top(array, keep), scores)
    assert mask.shape == shape and mask.sum() == keep
    assert np.array_equal(mask.ravel(), twin(scores.ravel(), scores.size - keep))
    assert mask.ravel().tolist() == oracle.top(scores.ravel().tolist(), keep)


@given(data=st.data(), shape=shapes(), sparsity=st.floats(0, 1))
def test_sparse(data: st.DataObject, shape: tuple, sparsity: float) -> None:
    scores = data.draw(tied_scores(shape))
    mask = same_in_all(lambda array: masks.sparse(array, sparsity), scores)
    assert mask.shape == shape and (~mask).sum() == round(sparsity * scores.size)
    assert mask.ravel().tolist() == oracle.sparse(scores.ravel().tolist(), sparsity)


@given(data=st.data(), shape=shapes(min_rank=2), sparsity=st.floats(0, 1))
def test_sparse_in_rows(data: st.DataObject, shape: tuple, sparsity: float) -> None:
    scores = data.draw(tied_scores(shape))
    mask = same_in_all(lambda array: masks.sparse(array, sparsity, groups="row"), scores)
    assert mask.shape == shape
    if scores.size:
        rows = scores.reshape(shape[0], -1)
        assert mask.reshape(rows.shape).tolist() == oracle.sparse_rows(rows.tolist(), sparsity)


def test_rows_of_a_large_array() -> None:
    scores = np.random.default_rng(0).integers(0, 50, (3000, 8, 9)).astype(np.float32)  # more than are ranked at once
    mask = masks.sparse(scores, 0.4, groups="row").reshape(3000, 72)
    rows = scores.reshape(3000, 72)
    assert all(np.array_equal(mask[i], twin(rows[i], 29)) for i in range(3000))


@given(data=st.data(), shape=shapes())
def test_protected(data: st.DataObject, shape: tuple) -> None:
    scores = data.draw(tied_scores(shape))
    protect = np.asarray(np.random.default_rng(data.draw(st.integers(0, 99))).random(shape) < 0.4)
    held = int(protect.sum())
    keep = data.draw(st.integers(held, scores.size))
    mask = same_in_all(lambda array, flags: masks.top(array, keep, protect=flags), scores, protect)
    assert mask.sum() == keep and mask[protect].all()
    assert np.array_equal(mask.ravel(), twin(scores.ravel(), scores.size - keep, protect.ravel()))
    if scores.size:
        sparsity = 1 - keep / scores.size
        again = masks.sparse(scores, sparsity, protect=protect)
        assert np.array_equal(again, mask)


@given(data=st.data(), shape=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 4)))
def test_protected_in_rows(data: st.DataObject, shape: tuple) -> None:
    scores = data.draw(tied_scores(shape))
    protect = np.asarray(np.random.default_rng(data.draw(st.integers(0, 99))).random(shape) < 0.3)
    width = shape[1] * shape[2]
    most = int(protect.reshape(shape[0], width).sum(axis=1).max()) if scores.size else 0
    drop = data.draw(st.integers(0, width - most))
    sparsity = drop / width if width else 0.0
    mask = same_in_all(lambda array, flags: masks.sparse(array, sparsity, "row", flags), scores, protect)
    for row in range(shape[0] if scores.size else 0):
        assert np.array_equal(mask[row].ravel(), twin(scores[row].ravel(), drop, protect[row].ravel()))


OF = st.sampled_from(("all", "remaining"))


def flags_like(data: st.DataObject, shape: tuple, share: float) -> np.ndarray:
    return np.asarray(np.random.default_rng(data.draw(st.integers(0, 10**6))).random(shape) < share)


def agree(make, wanted, *values):
    """The call gives what the plain twin gives, in every library, or both refuse."""
    try:
        mask = wanted(*values)
    except ValueError:
        for library in LIBRARIES:
            with pytest.raises(ValueError, match=r"may go: remove less or protect less$|are off, but \d+ are already"):
                make(*[to(library, np.asarray(value, np.float32) if value.dtype == np.float16 else value)
                       for value in values])
        return None
    assert np.array_equal(same_in_all(make, *values), mask)
    return mask


@given(data=st.data(), shape=shapes(), sparsity=st.floats(0, 1), of=OF)
def test_pruning_again(data: st.DataObject, shape: tuple, sparsity: float, of: str) -> None:
    scores, there, protect = data.draw(tied_scores(shape)), flags_like(data, shape, 0.7), flags_like(data, shape, 0.1)
    mask = agree(
        lambda array, on, held: masks.sparse(array, sparsity, None, held, on, of),
        lambda array, on, held: plain.sparse(array, sparsity, None, held, on, of), scores, there, protect,
    )  # fmt: skip
    if mask is not None:
        assert not mask[~there].any() and mask[there & protect].all()


@given(data=st.data(), shape=shapes(max_rank=3), sparsity=st.floats(0, 1), of=OF, names=st.integers(1, 5))
def test_groups_by_name(data: st.DataObject, shape: tuple, sparsity: float, of: str, names: int) -> None:
    scores = data.draw(tied_scores(shape))
    groups = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-1, names, shape)
    groups = np.asarray(groups, data.draw(st.sampled_from((np.int32, np.int64))))
    agree(lambda array, names: masks.sparse(array, sparsity, names),
          lambda array, names: plain.sparse(array, sparsity, names), scores, groups)
    there, protect = flags_like(data, shape, 0.8), flags_like(data, shape, 0.1)
    agree(
        lambda array, names, on, held: masks.sparse(array, sparsity, names, held, on, of),
        lambda array, names, on, held: plain.sparse(array, sparsity, names, held, on, of),
        scores, groups, there, protect,
    )  # fmt: skip


@given(data=st.data(), shape=shapes(min_rank=2, max_rank=3), sparsity=st.floats(0, 1), of=OF)
def test_rows_of_what_is_left(data: st.DataObject, shape: tuple, sparsity: float, of: str) -> None:
    scores, there = data.draw(tied_scores(shape)), flags_like(data, shape, 0.8)
    agree(lambda array, on: masks.sparse(array, sparsity, "row", None, on, of),
          lambda array, on: plain.sparse(array, sparsity, "row", None, on, of), scores, there)


@given(data=st.data(), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_runs_by_the_compiled_loop(data: st.DataObject, sizes: list) -> None:
    """The compiled loop, the sorts in terms of the array API, and one run at a time."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    sizes = [size for size in sizes if size] or [1]
    flat = rng.integers(0, 4, sum(sizes)).astype(data.draw(st.sampled_from((np.float32, np.float64, np.int16))))
    free, stays = rng.random(flat.size) < 0.7, rng.random(flat.size) < 0.8
    free &= stays
    starts = np.cumsum([0, *sizes])
    first = np.zeros(flat.size, bool)
    first[starts[:-1]] = True
    loose = [int(free[a:b].sum()) for a, b in zip(starts[:-1], starts[1:], strict=True)]
    drops = np.array([rng.integers(0, count + 1) for count in loose])
    wanted = stays.copy()
    for a, b, drop in zip(starts[:-1], starts[1:], drops, strict=True):
        wanted[a:b] &= twin(flat[a:b], drop, ~free[a:b])
    for small in (0, 10**9):
        assert np.array_equal(within.drop_in_runs(flat, first, drops, free, stays, small), wanted)
    there = [to("device", value) for value in (flat, first, drops, free, stays)]
    assert np.array_equal(back(within.drop_in_runs(*there)), wanted)


def test_groups_of_a_graph() -> None:
    """Each node of a graph keeps the share of what comes in."""
    net = Network.random(5, 3, 12, 60, seed=1)
    scores = abs(net.connections.weight)
    mask = masks.sparse(scores, 0.5, groups=net.graph.target)
    assert np.array_equal(mask, plain.sparse(scores, 0.5, net.graph.target))
    dense = Network.dense([6, 4], seed=0)
    weight = abs(dense.connections.weight)
    by_row = masks.sparse(weight.reshape(4, 6), 0.5, groups="row")
    assert np.array_equal(masks.sparse(weight, 0.5, groups=dense.graph.target), by_row.ravel())


def test_rounds_of_the_remaining_are_those_of_the_whole() -> None:
    scores = np.random.default_rng(2).random((8, 10))
    mask = None
    for _ in range(3):
        mask = masks.sparse(scores, 0.5, mask=mask, of="remaining")
    assert np.array_equal(mask, masks.top(scores, 10))
    assert np.array_equal(masks.sparse(scores, 0.9, mask=mask), masks.top(scores, 8))
    with pytest.raises(ValueError, match="sparsity=0.5 means that 40 of 80 elements are off, but 70 are already: ask"):
        masks.sparse(scores, 0.5, mask=mask)


def test_half_precision(torch) -> None:
    scores = torch.tensor([[0.5, 0.25, 0.5], [2.0, 0.5, -0.0]], dtype=torch.bfloat16)
    assert masks.top(scores, 3).tolist() == [[False, False, True], [True, True, False]]
    assert masks.top(scores.half(), 3).tolist() == [[False, False, True], [True, True, False]]


def test_a_tensor_that_wants_a_gradient(torch) -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0, 1.0, 2.0]))
    mask = masks.sparse(weight.abs(), 1 / 3)
    assert type(mask) is torch.Tensor and mask.tolist() == [True, False, True] and not mask.requires_grad


def test_nothing_is_changed() -> None:
    scores = np.array([2.0, 1.0, 3.0])
    protect = np.array([False, True, False])
    masks.top(scores, 2, protect=protect)
    masks.swap(protect, scores, scores, 1)
    assert scores.tolist() == [2.0, 1.0, 3.0] and protect.tolist() == [False, True, False]


def test_rank_zero() -> None:
    for scores in (np.array(2.0), np.float64(2.0)):
        assert masks.top(scores, 1).shape == () and masks.top(scores, 1)
        assert not masks.sparse(scores, 1.0)


# ---------------------------------------------------------------- several arrays


@given(data=st.data(), all_shapes=st.lists(shapes(max_rank=3), min_size=1, max_size=4), least=st.integers(0, 3))
def test_sparse_jointly(data: st.DataObject, all_shapes: list, least: int) -> None:
    scores = [data.draw(tied_scores(shape)).astype(np.float32) for shape in all_shapes]
    sizes = [array.size for array in scores]
    free = sum(sizes) - sum(min(least, size) for size in sizes)
    drop = data.draw(st.integers(0, free))
    sparsity = drop / sum(sizes) if sum(sizes) else 0.5
    wanted = oracle.sparse_jointly([array.ravel().tolist() for array in scores], sparsity, least)
    for library in LIBRARIES:
        there = [to(library, array) for array in scores]
        kept = masks.sparse_jointly(there, sparsity, min_per_layer=least)
        for mask, array in zip(kept, there, strict=True):
            assert_same_place(mask, array)
        assert [back(mask).shape for mask in kept] == all_shapes
        assert [back(mask).ravel().tolist() for mask in kept] == wanted, library
    assert sum(mask.size - mask.sum() for mask in map(back, kept)) == drop
    assert all(back(mask).sum() >= min(least, size) for mask, size in zip(kept, sizes, strict=True))


@given(data=st.data(), sizes=st.lists(st.integers(0, 8), min_size=1, max_size=4), least=st.integers(0, 3))
def test_sparse_jointly_with_protected(data: st.DataObject, sizes: list, least: int) -> None:
    """Reserved are the best of the others, as many as the protected ones leave to be reserved."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scores = [rng.integers(0, 3, size).astype(float) for size in sizes]
    protect = [rng.random(size) < 0.3 if rng.random() < 0.8 else None for size in sizes]
    held = []
    for array, flags in zip(scores, protect, strict=True):
        flags = np.zeros(array.size, bool) if flags is None else flags.copy()
        for place in np.argsort(array, kind="stable")[::-1]:
            if flags.sum() < least:
                flags[place] = True
        held.append(flags)
    drop = data.draw(st.integers(0, sum(sizes) - int(np.concatenate(held).sum())))
    sparsity = drop / sum(sizes) if sum(sizes) else 0.5
    wanted = twin(np.concatenate(scores), drop, np.concatenate(held))
    for library in LIBRARIES:
        flags = [None if flag is None else to(library, flag) for flag in protect]
        kept = masks.sparse_jointly([to(library, array) for array in scores], sparsity, least, flags)
        assert np.concatenate([back(mask) for mask in kept]).tolist() == wanted.tolist()


@given(data=st.data(), all_shapes=st.lists(shapes(max_rank=2), min_size=1, max_size=4), least=st.integers(0, 3), of=OF)
def test_sparse_jointly_again(data: st.DataObject, all_shapes: list, least: int, of: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scores = [np.asarray(rng.integers(0, 4, shape)).astype(np.float32) for shape in all_shapes]
    protect = [np.asarray(rng.random(shape) < 0.1) if rng.random() < 0.7 else None for shape in all_shapes]
    there = [np.asarray(rng.random(shape) < 0.8) if rng.random() < 0.8 else None for shape in all_shapes]
    sparsity = data.draw(st.floats(0, 1))
    try:
        wanted = plain.sparse_jointly(scores, sparsity, least, protect, there, of)
    except ValueError:
        wanted = None
    for library in LIBRARIES:
        arrays = [to(library, array) for array in scores]
        flags = [[None if flag is None else to(library, flag) for flag in some] for some in (protect, there)]
        if wanted is None:
            with pytest.raises(ValueError, match=r"may go: remove less or protect less$|are off, but \d+ are already"):
                masks.sparse_jointly(arrays, sparsity, least, *flags, of)
            continue
        kept = masks.sparse_jointly(arrays, sparsity, least, *flags, of)
        assert [back(mask).tolist() for mask in kept] == [mask.tolist() for mask in wanted], library


def test_joint_types_are_ranked_together() -> None:
    kept = masks.sparse_jointly([np.float32([0.1, 0.5]), np.float64([0.1, 0.2])], 0.5, min_per_layer=0)
    assert [mask.tolist() for mask in kept] == [[False, True], [False, True]]
    assert masks.sparse_jointly([], 0.5) == []


def test_layers_that_run_short_one_after_the_other() -> None:
    scores = [np.array([2.0 * layer, 2.0 * layer + 1]) for layer in range(10)]
    for drop in range(11):
        kept = masks.sparse_jointly(scores, drop / 20)
        assert [mask.tolist() for mask in kept] == [[layer >= drop, True] for layer in range(10)]
    scores = [np.array([3.0 * layer, 3.0 * layer + 1, 3.0 * layer + 2]) for layer in range(30)]
    for least in (1, 2):
        for drop in range(0, 90 - 30 * least + 1):
            kept = masks.sparse_jointly(scores, drop / 90, min_per_layer=least)
            wanted = oracle.sparse_jointly([array.tolist() for array in scores], drop / 90, least)
            assert [mask.tolist() for mask in kept] == wanted


def test_an_emptied_layer_is_asked_for() -> None:
    scores = [np.array([1.0, 2.0]), np.array([5.0, 6.0, 7.0, 8.0])]
    assert [mask.tolist() for mask in masks.sparse_jointly(scores, 0.5)] == [[False, True], [False, False, True, True]]
    emptied = masks.sparse_jointly(scores, 0.5, min_per_layer=0)
    assert [mask.tolist() for mask in emptied] == [[False, False], [False, True, True, True]]
    with pytest.raises(
        ValueError, match="sparsity=0.9 with min_per_layer=1 removes 5 of 6 elements, but only 4 may go: remove less"
    ):
        masks.sparse_jointly(scores, 0.9)


# ---------------------------------------------------------------- swap


@given(data=st.data(), shape=shapes())
def test_swap(data: st.DataObject, shape: tuple) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    mask = np.asarray(rng.random(shape) < rng.random())
    drop, grow = data.draw(tied_scores(shape)), data.draw(tied_scores(shape))
    n = data.draw(st.integers(0, int(mask.sum())))
    swapped = same_in_all(lambda m, d, g: masks.swap(m, d, g, n), mask, drop, grow)
    assert swapped.shape == shape and swapped.sum() == mask.sum()
    wanted = oracle.swap(mask.ravel().tolist(), drop.ravel().tolist(), grow.ravel().tolist(), n)
    assert swapped.ravel().tolist() == wanted


def test_what_was_dropped_may_come_back() -> None:
    mask = np.array([True, True, False])
    assert masks.swap(mask, np.array([0.0, 1.0, 0.0]), np.array([9.0, 0.0, 1.0]), 1).tolist() == mask.tolist()


# ---------------------------------------------------------------- what is done with a mask


@given(data=st.data(), shape=shapes(max_rank=5))
def test_apply_and_indices(data: st.DataObject, shape: tuple) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    weight = np.asarray(rng.choice(np.array([np.nan, np.inf, -0.0, 1.5, -2.0], np.float32), shape))
    mask = np.asarray(rng.random(shape) < 0.5)
    wanted = weight.copy()
    wanted[~mask] = 0.0
    for library in LIBRARIES:
        there, flags = to(library, weight), to(library, mask)
        done = masks.apply(there, flags)
        assert_same_place(done, there)
        assert back(done).dtype == np.float32 and back(done).tobytes() == wanted.tobytes()
        assert back(there).tobytes() == weight.tobytes()  # nothing is changed
        own = to(library, weight.copy())
        assert masks.apply(own, flags, in_place=True) is own and back(own).tobytes() == wanted.tobytes()
        assert back(masks.kept(flags)).tolist() == np.flatnonzero(mask).tolist()
        assert back(masks.pruned(flags)).tolist() == np.flatnonzero(~mask).tolist()
        assert masks.sparsity(flags) == (float((~mask).mean()) if mask.size else 0.0)


def test_apply_lets_the_gradient_through_where_it_keeps(torch) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    mask = torch.tensor([True, False])
    masks.apply(weight * 3.0, mask).sum().backward()
    assert weight.grad.tolist() == [3.0, 0.0]
    masks.apply(weight, mask, in_place=True)
    assert weight.tolist() == [1.0, 0.0] and weight.requires_grad
    half = torch.tensor([1.0, float("nan")], dtype=torch.bfloat16)
    assert masks.apply(half, mask).tolist() == [1.0, 0.0] and masks.apply(half, mask).dtype is torch.bfloat16


def test_what_cannot_be_applied(torch) -> None:
    frozen = np.ones(2)
    frozen.setflags(write=False)
    mask = np.array([True, False])
    for array, flags in (
        (frozen, mask), (np.broadcast_to(np.ones(1), 2), mask), (torch.ones(1).expand(2), torch.tensor([True, False]))
    ):
        with pytest.raises(ValueError, match="weight must be writable to be changed in place, got a read-only array"):
            masks.apply(array, flags, in_place=True)
        assert masks.apply(array, flags).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="mask must be a boolean array of the weight's shape"):
        masks.apply(np.ones(3), mask)
    with pytest.raises(TypeError, match="mask must be a boolean array, got None"):
        masks.apply(np.ones(3), None)
    with pytest.raises(TypeError, match="mask must be a boolean array, got int64: True keeps"):
        masks.sparsity(np.ones(3, np.int64))


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_scores_are_refused_by_index(library: str, bad: float) -> None:
    values = np.ones((2, 3), np.float32)
    values[1, 2] = bad
    scores, good = to(library, values), to(library, np.ones((2, 3), np.float32))
    flags = to(library, np.zeros((2, 3), bool))
    for call, name in (
        (lambda: masks.top(scores, 6), "scores"),
        (lambda: masks.top(scores, 3), "scores"),
        (lambda: masks.sparse(scores, 0.0), "scores"),
        (lambda: masks.sparse(scores, 0.5, protect=flags), "scores"),
        (lambda: masks.sparse(scores, 0.5, groups="row"), "scores"),
        (lambda: masks.sparse(scores, 0.5, groups="row", protect=flags), "scores"),
        (lambda: masks.sparse_jointly([good, scores], 0.5), r"scores\[1\]"),
        (lambda: masks.swap(flags, scores, good, 0), "drop_scores"),
        (lambda: masks.swap(flags, good, scores, 0), "grow_scores"),
    ):
        with pytest.raises(ValueError, match=rf"^{name} must be finite, got {bad} at index \(1, 2\): remove or"):
            call()


@pytest.mark.parametrize(
    ("keep", "kind", "words"),
    [
        (-1, ValueError, r"keep must be an integer in \[0, 3\], got -1: it is the number of elements that stay"),
        (4, ValueError, r"keep must be an integer in \[0, 3\], got 4"),
        (1.5, TypeError, r"keep must be an integer in \[0, 3\], got 1.5"),
        (None, TypeError, "keep must be an integer"),
    ],
)
def test_keep_is_a_count(keep, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        masks.top(np.ones(3), keep)
    assert masks.top(np.ones(3), np.int8(2)).tolist() == [False, True, True]


def test_too_many_are_protected() -> None:
    scores, flags = np.ones((2, 2)), np.array([[True, True], [True, False]])
    words = "removes 2 of 4 elements, but only 1 may go: remove less or protect less"
    with pytest.raises(ValueError, match=f"^keep=2 {words}"):
        masks.top(scores, 2, protect=flags)
    with pytest.raises(ValueError, match=f"^sparsity=0.5 {words}"):
        masks.sparse(scores, 0.5, protect=flags)
    with pytest.raises(ValueError, match=f"^sparsity=0.5 with min_per_layer=1 {words}"):
        masks.sparse_jointly([scores], 0.5, protect=[flags])
    with pytest.raises(ValueError, match="^sparsity=0.5 in row 0 removes 1 of 2 elements, but only 0 may go"):
        masks.sparse(scores, 0.5, groups="row", protect=flags)


def test_what_is_no_protection(torch) -> None:
    scores = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"boolean array of the scores' shape \(2, 2\), got bool of shape \(2,\)"):
        masks.top(scores, 1, protect=np.ones(2, bool))
    with pytest.raises(ValueError, match="boolean array .* got float64"):
        masks.sparse(scores, 0.5, protect=np.ones((2, 2)))
    with pytest.raises(TypeError, match="protect must be an array of numpy like the others, got one of torch"):
        masks.top(scores, 1, protect=torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="protect must have one entry per array, 1, got 2"):
        masks.sparse_jointly([scores], 0.5, protect=[None, None])
    with pytest.raises(ValueError, match=r"protect\[0\] must be a boolean array"):
        masks.sparse_jointly([scores], 0.5, protect=[scores])


@pytest.mark.parametrize("call", [
    lambda t: masks.top(t, 1), lambda t: masks.sparse(t, 0.5), lambda t: masks.sparse(t, 0.5, groups="row"),
    lambda t: masks.sparse_jointly([t, t], 0.5), lambda t: masks.n_of_m(t, 2, 4), lambda t: masks.axis(t, 0.5, 0),
    lambda t: masks.block(t, 0.5, (2, 2)), lambda t: masks.apply(t, t.bool()), lambda t: masks.sparsity(t.bool()),
    lambda t: masks.kept(t.bool()), lambda t: masks.pruned(t.bool()), lambda t: masks.validate(t.bool(), "2:4"),
    lambda t: masks.swap(t.bool(), t, t, 1),
])  # fmt: skip
def test_tensors_without_values(torch, call) -> None:
    for tensor, kind, words in ((torch.eye(4).to_sparse(), TypeError, "must be a dense tensor, got layout"),
                                (torch.eye(4, device="meta"), ValueError, "must have values, got a tensor on device")):
        with pytest.raises(kind, match=words) as error:
            call(tensor)
        assert_one_sentence(error)


@pytest.mark.parametrize("argument", ["protect", "mask"])
@pytest.mark.parametrize("value", [np.ones((2, 3), bool), 5, {0: None, 1: None}])
def test_flags_of_several_arrays_are_a_list(argument: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be a list of boolean arrays, got .*: one per array") as error:
        masks.sparse_jointly([np.ones(3), np.ones(3)], 0.5, **{argument: value})
    assert_one_sentence(error)


def test_what_are_no_scores(torch) -> None:
    for call in (lambda s: masks.top(s, 1), lambda s: masks.sparse(s, 0.5), lambda s: masks.sparse_jointly([s], 0.5)):
        with pytest.raises(TypeError, match="array of numpy, torch or the array API standard is needed, got tuple"):
            call((1.0, 2.0))
        with pytest.raises(TypeError, match="must be floating or integer numbers, got bool"):
            call(np.ones(3, bool))
        with pytest.raises(TypeError, match="must be floating or integer numbers, got complex128"):
            call(np.ones(3, complex))
    with pytest.raises(TypeError, match="scores must be a list of arrays, got ndarray: for one array use sparse"):
        masks.sparse_jointly(np.ones((2, 2)), 0.5)
    with pytest.raises(TypeError, match=r"scores\[1\] must be an array of numpy like the others, got one of torch"):
        masks.sparse_jointly([np.ones(2), torch.ones(2)], 0.5)
    with pytest.raises(TypeError, match="all floating or all integers"):
        masks.sparse_jointly([np.ones(2), np.ones(2, int)], 0.5)


def test_groups_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="groups must be None, \"row\" or an integer array, got 'column'"):
        masks.sparse(np.ones((2, 2)), 0.5, groups="column")
    with pytest.raises(ValueError, match=r'groups="row" needs scores with at least two axes, got shape \(4,\)'):
        masks.sparse(np.ones(4), 0.5, groups="row")


def test_what_are_no_groups(torch) -> None:
    scores = np.ones((2, 2))
    for error, words, arguments in (
        (ValueError, r"groups must be None, \"row\" or an integer array of the scores' shape \(2, 2\), got float64 of",
         (scores,)),
        (ValueError, "groups must be .* got int64 of shape", (np.ones(4, np.int64),)),
        (TypeError, "groups must be an array of numpy like the others, got one of torch", (torch.ones(2, 2).long(),)),
        (ValueError, "of must be 'all' or 'remaining', got 'rest'", (None, None, None, "rest")),
        (ValueError, "mask must be a boolean array of the scores' shape", (None, None, scores)),
    ):
        with pytest.raises(error, match=words) as caught:
            masks.sparse(scores, 0.5, *arguments)
        assert_one_sentence(caught)
    names, flags = np.array([[3, 3], [7, 7]]), np.array([[False, False], [True, True]])
    with pytest.raises(ValueError, match="sparsity=0.5 in group 7 removes 1 of 2 elements, but only 0 may go"):
        masks.sparse(scores, 0.5, names, flags)
    with pytest.raises(ValueError, match="sparsity=0.5 in row 0 means that 1 of 2 elements are off, but 2 are already"):
        masks.sparse(scores, 0.5, "row", mask=flags)
    with pytest.raises(ValueError, match="sparsity=0.5 means that 2 of 4 elements are off, but 4 are already"):
        masks.sparse_jointly([scores], 0.5, mask=[flags & ~flags])
    with pytest.raises(ValueError, match="mask must have one entry per array, 1, got 2"):
        masks.sparse_jointly([scores], 0.5, mask=[None, None])


def test_swaps_that_cannot_be() -> None:
    mask, scores = np.array([True, False]), np.ones(2)
    with pytest.raises(ValueError, match=r"n must be an integer in \[0, 1\], got 2: it is the number of elements to"):
        masks.swap(mask, scores, scores, 2)
    with pytest.raises(ValueError, match=r"mask must be a boolean array of the scores' shape \(3,\)"):
        masks.swap(mask, scores, np.ones(3), 1)
    with pytest.raises(ValueError, match="mask must be a boolean array .* got float64"):
        masks.swap(scores, scores, scores, 1)
    with pytest.raises(ValueError, match="min_per_layer must be an integer at least 0, got -1"):
        masks.sparse_jointly([scores], 0.5, min_per_layer=-1)


# ---------------------------------------------------------------- golden numbers


@pytest.mark.parametrize("case", golden("magnitude"))
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_golden_magnitude(library: str, case: dict) -> None:
    expected = case["expected"]
    if "keep_masks" in expected:
        weights = [np.asarray(weight, np.float32) for weight in case["inputs"]["W"]]
        scores = [to(library, abs(weight)) for weight in weights]
        kept = masks.sparse_jointly(scores, case["params"]["amount"], min_per_layer=0)  # it empties a layer
        for mask, reference in zip(kept, expected["keep_masks"], strict=True):
            assert np.array_equal(back(mask), np.asarray(reference, bool))
        return
    weight = np.asarray(case["inputs"]["W"], np.float32)
    mask = np.ones(weight.shape, bool)
    steps = zip(
        case["params"]["amounts_applied_in_order"],
        expected["keep_masks_after_each"],
        expected["pruned_counts"],
        strict=True,
    )
    for amount, reference, pruned in steps:
        keep = int(mask.sum()) - masks.count(amount, int(mask.sum()))
        mask = back(masks.top(to(library, abs(weight) * mask), keep))
        assert mask.size - mask.sum() == pruned
        assert np.array_equal(mask, np.asarray(reference, bool))


@pytest.mark.parametrize("case", golden("ties"))
def test_golden_ties(case: dict) -> None:
    """The reference keeps the earlier of two equals and at least one; counts agree where it has no choice."""
    scores, sparsity = np.asarray(case["inputs"]["scores"]), case["params"]["sparsity"]
    reference = np.asarray(case["expected"]["keep_mask"], bool)
    keep = max(1, scores.size - masks.count(sparsity, scores.size))
    assert keep == reference.sum()
    mask = masks.top(scores, keep)
    assert mask.sum() == keep
    assert scores[mask].sum() == scores[reference].sum()
