"""N:M, blocks and slices: exact, alike in every library, at any rank, and refused where they do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_masks as oracle
from bridge import assert_one_sentence
from libraries import LIBRARIES, back, to
from neuroprune.kernels import patterns as kernel
from neuroprune.pruning import masks, patterns, saliency
from test_masks import same_in_all, tied_scores

GOLDEN = Path(__file__).parent / "golden" / "prune"


def golden(family):
    return [pytest.param(case, id=case["id"]) for case in json.loads((GOLDEN / f"{family}.json").read_text())["cases"]]


@st.composite
def grids(draw, max_rank=5):
    """A shape of rank 1 to 5, sometimes empty, and lengths of units that divide it."""
    steps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=max_rank))
    counts = [draw(st.sampled_from((1, 1, 2, 3, 0))) for _ in steps]
    return tuple(count * step for count, step in zip(counts, steps, strict=True)), tuple(steps)


def some(data, shape, share):
    return np.asarray(np.random.default_rng(data.draw(st.integers(0, 99))).random(shape) < share)


# ---------------------------------------------------------------- N of M


@given(data=st.data(), grid=grids(), keep=st.integers(0, 5))
def test_n_of_m(data: st.DataObject, grid: tuple, keep: int) -> None:
    shape, steps = grid
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    group = steps[axis] * (2 if shape[axis] % (2 * steps[axis]) == 0 else 1)
    keep = min(keep, group)
    scores = data.draw(tied_scores(shape))
    mask = same_in_all(lambda array: masks.n_of_m(array, keep, group, axis), scores)
    assert np.array_equal(mask, oracle.n_of_m(scores, keep, group, axis))
    masks.validate(mask, masks.NM(keep, group, axis))


@given(data=st.data(), grid=grids(max_rank=3), keep=st.integers(0, 3))
def test_n_of_m_with_protected(data: st.DataObject, grid: tuple, keep: int) -> None:
    shape, steps = grid
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    group, keep = steps[axis], min(keep, steps[axis])
    scores, protect = data.draw(tied_scores(shape)), some(data, shape, 0.2)
    try:
        wanted = oracle.n_of_m(scores, keep, group, axis, protect)
    except ValueError:
        with pytest.raises(ValueError, match=f"protect must leave at most {keep} of every {group} elements"):
            masks.n_of_m(scores, keep, group, axis, protect)
        return
    found = same_in_all(lambda array, flags: masks.n_of_m(array, keep, group, axis, flags), scores, protect)
    assert np.array_equal(found, wanted) and found[protect].all()


@given(data=st.data(), grid=grids(max_rank=3), keep=st.integers(0, 3))
def test_n_of_m_of_what_is_left(data: st.DataObject, grid: tuple, keep: int) -> None:
    shape, steps = grid
    keep = min(keep, steps[-1])
    scores, there = data.draw(tied_scores(shape)), some(data, shape, 0.7)
    chosen = masks.NM(keep, steps[-1])
    found = same_in_all(lambda array, flags: patterns.select_n_of_m(array, chosen, None, flags), scores, there)
    assert np.array_equal(found, oracle.n_of_m(scores, keep, steps[-1], mask=there))
    assert not found[~there].any()


@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4), (0, 4), (4, 4), (1, 2), (4, 8), (3, 32), (20, 40), (1, 1)])
def test_the_compiled_loops(keep: int, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large arrays take them; here all do."""
    monkeypatch.setattr(patterns, "SMALL", 0)
    rng = np.random.default_rng(group)
    for dtype in (np.float32, np.float64, np.int8, np.uint8, np.int64):
        scores = rng.integers(0, 4, (2, 3 * group, 5)).astype(dtype)
        for axis in (1, -2):
            wanted = oracle.n_of_m(scores, keep, group, axis)
            assert np.array_equal(masks.n_of_m(scores, keep, group, axis), wanted)
        last = np.moveaxis(scores, 1, 2)  # not contiguous
        assert np.array_equal(masks.n_of_m(last, keep, group), np.moveaxis(wanted, 1, 2))
        flat, found = last.ravel(), np.full(last.size, 7, np.uint8)
        kernel.keep_n_of_m(flat, keep, group, found)
        assert np.array_equal(found, np.moveaxis(wanted, 1, 2).ravel())


def test_two_of_four_in_every_order() -> None:
    """All 256 groups of four small numbers, so all orders and all ties."""
    scores = np.stack(np.meshgrid(*[np.arange(4.0)] * 4), axis=-1).reshape(-1, 4)
    found = np.full(scores.shape, 7, np.uint8)
    kernel.keep_two_of_four(scores.ravel(), found.reshape(-1))
    assert np.array_equal(found, oracle.n_of_m(scores, 2, 4))


@pytest.mark.parametrize("case", golden("nm"))
@pytest.mark.parametrize("library", LIBRARIES)
def test_golden_n_of_m(library: str, case: dict) -> None:
    scores, params, expected = np.asarray(case["inputs"]["scores"], np.float32), case["params"], case["expected"]
    wanted = expected.get("keep_mask", expected.get("keep_mask_ties_keep_later_index"))  # the earlier of equals goes
    found = masks.n_of_m(to(library, scores), params["n_kept_per_group"], params["m"], params["axis"])
    assert np.array_equal(back(found), np.asarray(wanted, bool))


# ---------------------------------------------------------------- blocks and slices


@given(data=st.data(), grid=grids(), sparsity=st.floats(0, 1), reduce=st.sampled_from(("sum", "mean", "max")))
def test_block(data: st.DataObject, grid: tuple, sparsity: float, reduce: str) -> None:
    shape, steps = grid
    last = steps[-data.draw(st.integers(1, len(steps))) :]
    scores = data.draw(tied_scores(shape))
    mask = same_in_all(lambda array: masks.block(array, sparsity, last, reduce), scores)
    wanted = oracle.whole_units(scores, sparsity, oracle.block_unit(len(shape), last), reduce)
    assert mask.shape == shape and np.array_equal(mask, wanted)
    masks.validate(mask, masks.Block(last, reduce))


@given(data=st.data(), grid=grids(), sparsity=st.floats(0, 1), reduce=st.sampled_from(("sum", "mean", "max")))
def test_axis(data: st.DataObject, grid: tuple, sparsity: float, reduce: str) -> None:
    shape, rank = grid[0], len(grid[0])
    own = data.draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))
    own = tuple(number - rank if data.draw(st.booleans()) else number for number in own)
    own = own[0] if len(own) == 1 and data.draw(st.booleans()) else own
    scores = data.draw(tied_scores(shape))
    mask = same_in_all(lambda array: masks.axis(array, sparsity, own, reduce), scores)
    assert np.array_equal(mask, oracle.whole_units(scores, sparsity, oracle.axis_unit(rank, own), reduce))
    masks.validate(mask, masks.Axis(own, reduce))


@given(data=st.data(), grid=grids(max_rank=3), sparsity=st.floats(0, 1))
def test_a_unit_with_a_protected_element_stays(data: st.DataObject, grid: tuple, sparsity: float) -> None:
    shape, steps = grid
    scores, protect = data.draw(tied_scores(shape)), some(data, shape, 0.1)
    for make, unit_of in (
        (lambda a, flags: masks.block(a, sparsity, steps, "max", flags), oracle.block_unit(len(shape), steps)),
        (lambda a, flags: masks.axis(a, sparsity, 0, "max", flags), oracle.axis_unit(len(shape), 0)),
    ):
        try:
            wanted = oracle.whole_units(scores, sparsity, unit_of, "max", protect)
        except ValueError:
            with pytest.raises(ValueError, match="may go: remove less or protect less"):
                make(scores, protect)
            continue
        mask = same_in_all(make, scores, protect)
        assert np.array_equal(mask, wanted) and mask[protect].all()


@given(data=st.data(), grid=grids(max_rank=4), seed=st.integers(0, 2**32))
def test_sums_have_the_same_bits_in_every_library(data: st.DataObject, grid: tuple, seed: int) -> None:
    """Sums of numbers of many sizes differ with the order of the additions, so the order is ours."""
    shape, steps = grid
    rng = np.random.default_rng(seed)
    scores = np.asarray(10.0 ** rng.uniform(-8, 8, shape) * rng.choice([-1, 1], shape))
    axis = data.draw(st.integers(0, len(shape) - 1))
    for make in (
        lambda a: masks.block(a, 0.5, steps),
        lambda a: masks.axis(a, 0.5, axis),
        lambda a: masks.axis(a, 0.5, axis, "mean"),
    ):
        same_in_all(make, scores)
    tensor = to("torch", scores)
    for order in (tensor, to("torch", np.asfortranarray(scores))):
        assert np.array_equal(back(masks.axis(order, 0.5, axis)), masks.axis(scores, 0.5, axis))


def test_units_that_are_added_up_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroprune.pruning import units

    scores = np.random.default_rng(1).standard_normal((12, 18, 5)).astype(np.float32)
    for steps in ((12, 1, 5), (1, 18, 5), (3, 6, 1), (12, 18, 5), (1, 1, 1)):
        whole = units.scores(scores, steps, "sum", "scores")
        monkeypatch.setattr(units, "_AT_ONCE", 7)
        pieces = units.scores(scores, steps, "sum", "scores")
        monkeypatch.undo()
        assert whole.tobytes() == pieces.tobytes()
        assert np.array_equal(units.whole(units.rows(scores, steps), steps, scores.shape), scores)


def test_half_precision_and_gradients(torch) -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, -4.0, 2.0, 3.0], [0.5, 0.5, 0.5, 9.0]]))
    for scores in (weight.abs(), weight.abs().half(), weight.abs().bfloat16()):
        assert masks.n_of_m(scores, 2, 4).tolist() == [[False, True, False, True], [False, False, True, True]]
        assert masks.axis(scores, 0.5, 0).tolist() == [[False] * 4, [True] * 4]
        assert masks.block(scores, 0.5, (2, 2)).tolist() == [[False, False, True, True]] * 2
        assert not masks.block(scores, 0.5, 2).requires_grad


def test_integers_beyond_the_floats_keep_their_order_in_a_maximum() -> None:
    scores = np.array([[2**60 + 1, 0], [2**60, 0]])
    assert masks.axis(scores, 0.5, 0, "max").tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("case", golden("block"))
@pytest.mark.parametrize("library", LIBRARIES)
def test_golden_block(library: str, case: dict) -> None:
    scores, params = np.asarray(case["inputs"]["scores"], np.float32), case["params"]
    reduce = "max" if params["pool"] == "max" else "sum"
    found = masks.block(to(library, scores), params["sparsity"], tuple(params["block"]), reduce)
    assert np.array_equal(back(found), np.asarray(case["expected"]["keep_mask"], bool))


@pytest.mark.parametrize("case", golden("structured"))
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_golden_structured(library: str, case: dict) -> None:
    """Sums of squares have the order of L2 norms, the maximum of |w| is the infinity norm."""
    weight, params = np.asarray(case["inputs"]["W"], np.float32), case["params"]
    slices = weight.shape[params["dim"]]
    amount = params["amount"]
    sparsity = amount if isinstance(amount, float) else amount / slices
    method, reduce = ("magnitude", "max") if params["norm_p"] == "inf" else ("magnitude_l2", "sum")
    found = back(masks.axis(saliency.score(method, to(library, weight)), sparsity, params["dim"], reduce))
    others = tuple(number for number in range(weight.ndim) if number != params["dim"])
    wanted = np.asarray(case["expected"]["keep_mask"], bool)
    assert np.array_equal(found, np.broadcast_to(wanted, weight.shape))
    assert np.flatnonzero(found.all(axis=others)).tolist() == case["expected"]["kept_index"]


# ---------------------------------------------------------------- patterns as objects


def test_texts() -> None:
    assert masks.pattern("2:4") == masks.NM(2, 4) and masks.pattern(" 1:16 ").sparsity == 15 / 16
    block = masks.Block([4, 4])
    assert masks.pattern(block) is block and block.shape == (4, 4) and masks.Block(4).shape == (4,)
    assert masks.Axis([0, 1]).axis == (0, 1) and hash(masks.Axis(0)) == hash(masks.Axis(0))
    for text in ("2", "2:", "a:b", "2:4:8", "-2:4", "2.0:4", ""):
        with pytest.raises(ValueError, match=f'pattern must be "keep:group" such as "2:4", .* got {text!r}') as error:
            masks.pattern(text)
        assert_one_sentence(error)
    with pytest.raises(TypeError, match="pattern must be"):
        masks.pattern(0.5)


def refused(error, words, call):
    with pytest.raises(error, match=words) as caught:
        call()
    assert_one_sentence(caught)


def test_what_is_no_pattern() -> None:
    for error, words, call in (
        (ValueError, r"keep must be an integer in \[0, 4\], got 5: it is how many of a group stay",
         lambda: masks.NM(5, 4)),
        (ValueError, "group must be an integer at least 1, got 0", lambda: masks.NM(0, 0)),
        (TypeError, "keep must be an integer", lambda: masks.NM(1.5, 4)),
        (TypeError, "axis must be an integer or a tuple of them, got 'in'", lambda: masks.NM(2, 4, "in")),
        (ValueError, "shape of a block must be an integer at least 1, got 0", lambda: masks.Block((0, 4))),
        (ValueError, "shape must hold one length per axis of a block, got none", lambda: masks.Block(())),
        (ValueError, "reduce must be 'sum' or 'mean' or 'max', got 'men': did you mean 'mean'",
         lambda: masks.Axis(0, "men")),
        (ValueError, "axis must be an integer or a tuple of them, got none", lambda: masks.Axis(())),
    ):
        refused(error, words, call)


def test_what_does_not_fit() -> None:
    scores = np.ones((4, 6))
    flags = np.zeros((4, 6), bool)
    for words, call in (
        (r"scores must have a multiple of 4 along axis 1 for NM\(keep=2, group=4, axis=-1\), got 6",
         lambda: masks.n_of_m(scores, 2, 4)),
        (r"must have a multiple of 4 along axis 1 for Block\(shape=\(2, 4\), reduce='sum'\), got 6",
         lambda: masks.block(scores, 0.5, (2, 4))),
        (r"must have at least the 3 axes of Block", lambda: masks.block(scores, 0.5, (1, 1, 1))),
        (r"axis must be one of the 2 of scores, got 2: its shape is \(4, 6\)", lambda: masks.n_of_m(scores, 1, 2, 2)),
        (r"axis must be one of the 2 of scores, got -3", lambda: masks.axis(scores, 0.5, -3)),
        (r"axis must name each axis of scores once, got \(0, -2\)", lambda: masks.axis(scores, 0.5, (0, -2))),
        (r"axis must be one of the 0 of scores", lambda: masks.axis(np.array(1.0), 0.5, 0)),
        (r"sparsity must be in \[0, 1\], got 1.5", lambda: masks.block(scores, 1.5, (2, 2))),
        (r"sparsity must be in \[0, 1\], got nan", lambda: masks.axis(scores, np.nan, 0)),
        (r"protect must be a boolean array of the scores' shape", lambda: masks.axis(scores, 0.5, 0, "sum", flags[0])),
    ):
        refused(ValueError, words, call)
    scores[1, 2] = np.nan
    for call in (
        lambda: masks.n_of_m(scores, 1, 2), lambda: masks.block(scores, 0.5, (2, 2)), lambda: masks.axis(scores, 0, 0)
    ):
        refused(ValueError, r"scores must be finite, got nan at index \(1, 2\)", call)
    refused(ValueError, "the sum over the units of scores must be finite, got inf at index 0",
            lambda: masks.axis(np.full((2, 3), 1e308), 0.5, 0))


@pytest.mark.parametrize("library", LIBRARIES)
def test_masks_that_break_their_pattern(library: str) -> None:
    mask = np.ones((2, 8), bool)
    mask[:, ::2] = False
    there = to(library, mask)
    for fits in ("2:4", "1:2", masks.Axis(1), masks.Block((2, 1))):
        assert masks.validate(there, fits) is None
    refused(ValueError, "mask must keep 0 of every 2 elements along axis 0, got 2 in group 1: make it with n_of_m",
            lambda: masks.validate(there, masks.NM(0, 2, 0)))
    refused(ValueError, "mask must keep 3 of every 4 elements along axis -1, got 2 in group 0",
            lambda: masks.validate(there, "3:4"))
    refused(ValueError, r"mask must keep or remove whole units of Block\(.*\), got 2 of 4 elements in unit 0: make it "
            "with block", lambda: masks.validate(there, masks.Block((2, 2))))
    refused(ValueError, "got 4 of 8 elements in unit 0: make it with axis",
            lambda: masks.validate(there, masks.Axis(0)))
    refused(ValueError, "mask must have a multiple of 3 along axis 1", lambda: masks.validate(there, "1:3"))
    refused(TypeError, "mask must be a boolean array", lambda: masks.validate(to(library, np.ones(4)), "2:4"))
    masks.validate(to(library, np.ones((0, 4), bool)), "2:4")


@pytest.mark.compiled_only
def test_units_are_added_up_without_a_copy_of_the_scores() -> None:
    import tracemalloc

    scores = np.ones((1000, 1000), np.float32)
    for make in (lambda: masks.axis(scores, 0.5, 1), lambda: masks.block(scores, 0.5, (4, 4))):
        make()
        tracemalloc.start()
        make()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < scores.nbytes
