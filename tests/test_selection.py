"""The k-th lowest score by bracketing, against a stable sort, on friendly and on hostile data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libraries import back, to
from neuroprune.kernels import select as kernel
from neuroprune.pruning import selection


def twin(scores, drop, protect=None):
    """Mask of one flat array: False for the first `drop` of the unprotected in the order of a stable sort."""
    order = np.argsort(scores, kind="stable")
    if protect is not None:
        order = order[~protect[order]]
    mask = np.ones(scores.size, bool)
    mask[order[:drop]] = False
    return mask


def joined(masks):
    return np.concatenate([np.ravel(mask) for mask in masks])


N = 3 * kernel.BLOCK + 17
RNG = np.random.default_rng(5)
HOSTILE = {
    "constant": np.full(N, 3.0),
    "two values": RNG.integers(0, 2, N).astype(float),
    "few values": RNG.integers(0, 9, N).astype(float),
    "mostly zero": np.where(RNG.random(N) < 0.85, 0.0, RNG.random(N)),
    "both zeros": np.where(RNG.random(N) < 0.5, 0.0, -0.0),
    "sorted": np.arange(N) - N / 2,
    "reversed": np.arange(N)[::-1] / 7,
    "sawtooth": np.arange(N) % 64 + 0.0,
    "outliers": np.where(RNG.random(N) < 0.01, 1e300, RNG.standard_normal(N)),
    "extremes": RNG.choice([np.finfo(float).min, np.finfo(float).max, 0.0, 1.0], N),
    "denormal": RNG.integers(-5, 5, N) * 5e-324,
    "many scales": 10.0 ** RNG.uniform(-300, 300, N),
}


@pytest.mark.parametrize("sample", [4, 64, 1024])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data(name: str, sample: int) -> None:
    scores = HOSTILE[name]
    for drop in (0, 1, 2, N // 10, N // 2, round(0.85 * N), round(0.9 * N), N - 1, N):
        (mask,), _ = selection.select_host([scores], drop, small=0, sample=sample)
        assert np.array_equal(mask, twin(scores, drop)), drop


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8, np.uint64, np.float32])
def test_hostile_types(dtype: type) -> None:
    info = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    scores = RNG.choice(np.array([info.min, info.max, 0, 1, 2, 3], dtype), N)
    for drop in (0, 1, N // 3, N // 2, N - 1, N):
        (mask,), _ = selection.select_host([scores], drop, small=0, sample=64)
        assert np.array_equal(mask, twin(scores, drop)), drop


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("outliers", "many scales", "extremes")])
def test_magnitudes_without_a_copy(name: str, dtype: type) -> None:
    """Absolute values taken as the arrays are scanned, or before where these are small."""
    weights = (HOSTILE[name] * np.where(np.arange(N) % 3 == 0, -1, 1)).astype(dtype)
    before = weights.copy()
    for drop in (0, 1, N // 10, N // 2, round(0.9 * N), N):
        for small in (0, 10**9):
            masks, counts = selection.select_host(
                [weights[:1000], weights[1000:]], drop, magnitude=True, small=small, sample=64
            )
            assert np.array_equal(joined(masks), twin(abs(weights), drop)), drop
            assert counts == [int(mask.sum()) for mask in masks]
    assert np.array_equal(weights, before)


@pytest.mark.parametrize("small", [0, 10**9])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_magnitudes_are_named(small: int, bad: float) -> None:
    weights = -np.ones((40, 50))
    weights[3, 4] = bad
    with pytest.raises(ValueError, match=rf"^fc must be finite, got {bad} at index \(3, 4\): remove or"):
        selection.select_host([weights], 1000, magnitude=True, names=["fc"], small=small)


def test_many_arrays_share_the_room_for_their_masks() -> None:
    scores = [RNG.integers(0, 9, shape).astype(float) for shape in ((30, 40), (0,), (7,))]
    for drop in (0, 500, 1207):
        for small in (0, 10**9):
            masks, _ = selection.select_host(scores, drop, small=small)
            assert [mask.shape for mask in masks] == [array.shape for array in scores]
            assert np.array_equal(joined(masks), twin(joined(scores), drop))


def test_integers_beyond_the_floats() -> None:
    scores = 2**60 + RNG.permutation(N)
    assert len(np.unique(scores.astype(float))) < N  # floats could not tell them apart
    for small in (0, 10**9):
        (mask,), _ = selection.select_host([scores], N // 2, small=small)
        assert np.array_equal(mask, scores >= 2**60 + N // 2)


@pytest.mark.parametrize("drop", [1, N // 2, N - 1])
def test_a_sample_that_misleads(drop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bracket beside the rank costs another pass and no more; one that holds too much is stored the second time."""
    scores = RNG.standard_normal(N)
    scanned = []
    scan = kernel.scan

    def counted(flat, *arguments):
        scanned.append(flat.size)
        return scan(flat, *arguments)

    monkeypatch.setattr(kernel, "scan", counted)
    for low, high in ((-9.0, -8.0), (8.0, 9.0), (0.0, 0.0), (-9.0, 9.0), (-np.inf, np.inf)):
        monkeypatch.setattr(
            selection, "_bracket", lambda *_, low=low, high=high: (np.float64(low), np.float64(high), 0.0)
        )
        scanned.clear()
        (mask,), _ = selection.select_host([scores], drop, small=0)
        assert np.array_equal(mask, twin(scores, drop))
        assert len(scanned) <= 3


@given(data=st.data(), seed=st.integers(0, 2**32), sample=st.sampled_from((1, 2, 16, 300)))
def test_many_arrays_are_one_sequence(data: st.DataObject, seed: int, sample: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = data.draw(st.lists(st.sampled_from((0, 1, 3, 50, kernel.BLOCK, kernel.BLOCK + 1)), min_size=1, max_size=5))
    levels = data.draw(st.sampled_from((1, 3, 40, 10**6)))
    dtype = data.draw(st.sampled_from((np.float32, np.float64, np.int32)))
    scores = [rng.integers(-levels, levels, size).astype(dtype) for size in sizes]
    whole = np.concatenate(scores)
    drop = data.draw(st.integers(0, whole.size))
    wanted = twin(whole, drop)
    for small in (0, 60, 10**9):
        masks, counts = selection.select_host(scores, drop, small=small, sample=sample)
        assert counts == [mask.sum() for mask in masks]
        assert [mask.shape for mask in masks] == [array.shape for array in scores]
        assert np.array_equal(joined(masks), wanted)
    for library in ("strict", "device"):
        masks = selection.select_anywhere([to(library, array) for array in scores], drop)
        assert np.array_equal(joined([back(mask) for mask in masks]), wanted)


@given(data=st.data(), seed=st.integers(0, 2**32))
def test_protected_elements_stay(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = data.draw(st.lists(st.sampled_from(((), (0,), (5,), (3, 4), (2, 1, 30))), min_size=1, max_size=4))
    scores = [rng.integers(0, 4, shape).astype(float) for shape in shapes]
    scores = [np.asarray(array) for array in scores]
    protect = [None if rng.random() < 0.2 else np.asarray(rng.random(shape) < 0.4) for shape in shapes]
    flags = joined(
        [np.zeros(array.shape, bool) if flag is None else flag for array, flag in zip(scores, protect, strict=True)]
    )
    drop = data.draw(st.integers(0, int((~flags).sum())))
    wanted = twin(joined(scores), drop, flags)
    for small in (0, 10**9):
        assert np.array_equal(joined(selection.select_host(scores, drop, protect, small=small, sample=5)[0]), wanted)
    for library in ("strict", "device"):
        masks = selection.select_anywhere(
            [to(library, array) for array in scores],
            drop,
            [None if flag is None else to(library, flag) for flag in protect],
        )
        assert np.array_equal(joined([back(mask) for mask in masks]), wanted)


def test_anywhere_serves_torch(torch) -> None:
    scores = [torch.tensor([[1.0, 2.0], [2.0, 0.0]]), torch.tensor([2.0, 5.0, -0.0, 0.0])]
    masks = selection.select_anywhere(scores, 5)
    assert torch.cat([mask.reshape(-1) for mask in masks]).tolist() == [0, 0, 1, 0, 1, 1, 0, 0]
    masks = selection.select_anywhere(scores, 3, [scores[0] == 0, None])
    assert torch.cat([mask.reshape(-1) for mask in masks]).tolist() == [0, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("small", [0, 10**9])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("drop", [0, 1, 2500])
def test_bad_scores_are_named(small: int, bad: float, drop: int) -> None:
    scores = [np.ones((2, 2)), np.ones((50, 60))]
    scores[1][1, 7] = scores[1][1, 8] = bad
    with pytest.raises(ValueError, match=rf"^scores\[1\] must be finite, got {bad} at index \(1, 7\): remove or"):
        selection.threshold(scores, drop, small=small, sample=100)
    with pytest.raises(ValueError, match=r"^scores must be finite, got .* at index \(1, 7\)"):
        selection.select_host(scores[1:], drop, [np.ones((50, 60), bool)], small=small)


@given(data=st.data(), seed=st.integers(0, 2**32), levels=st.sampled_from((1, 4, 10**6)))
def test_threshold_separates(data: st.DataObject, seed: int, levels: int) -> None:
    scores = np.random.default_rng(seed).integers(0, levels, kernel.BLOCK + 30).astype(np.float32)
    drop = data.draw(st.integers(1, scores.size))
    for small in (0, 10**9):
        value, equals = selection.threshold([scores], drop, small=small, sample=32)
        assert type(value) is np.float32 and value == np.sort(scores)[drop - 1]
        assert equals == drop - int((scores < value).sum())


def test_threshold_has_one_zero() -> None:
    for small in (0, 10**9):
        value, _ = selection.threshold([np.full(9, -0.0)], 4, small=small)
        assert not np.signbit(value)


def test_layout_and_permission_do_not_matter() -> None:
    scores = RNG.integers(0, 50, (40, 90)).astype(float)
    wanted = twin(scores.ravel(), 1800).reshape(scores.shape)
    fortran = np.asfortranarray(scores)
    spaced = np.zeros((80, 180))
    spaced[::2, ::2] = scores
    frozen = scores.copy()
    frozen.setflags(write=False)
    for given_ in (fortran, spaced[::2, ::2], frozen):
        before = given_.copy()
        for small in (0, 10**9):
            (mask,), _ = selection.select_host([given_], 1800, small=small)
            assert np.array_equal(mask, wanted)
        assert np.array_equal(given_, before)


def test_types_that_do_not_mix() -> None:
    floats, integers = np.ones(3), np.ones(3, np.int64)
    assert [mask.sum() for mask in selection.select([floats, np.zeros(3, np.float32)], 3)] == [3, 0]
    assert [mask.sum() for mask in selection.select([integers, np.zeros(3, np.int8)], 3)] == [3, 0]
    with pytest.raises(TypeError, match="all floating or all integers, got float64, int64: convert them to one type"):
        selection.select([floats, integers], 1)
    with pytest.raises(TypeError, match="must not mix uint64 with signed integers"):
        selection.select([integers, np.ones(3, np.uint64)], 1)


def test_no_arrays_no_masks() -> None:
    assert selection.select([], 0) == []


@pytest.mark.compiled_only
def test_scores_are_copied_at_most_once() -> None:
    import tracemalloc

    scores = [RNG.standard_normal(300_000) for _ in range(4)]
    size = sum(array.nbytes for array in scores)
    selection.select_host(scores, 1_000_000)
    tracemalloc.start()
    selection.select_host(scores, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * size  # a mask is an eighth, the bracket a few hundredths
