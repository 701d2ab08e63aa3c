"""Which elements go: the k-th lowest score, and the mask it makes, over one array or many as one sequence.

Lowest score first; among equals the earlier in storage order first (for several arrays, the earlier array
first). Nothing is sorted. On host arrays:

1. sort a sample of some 10^4 elements and take a bracket around the wanted rank from it;
2. in one pass count what is below the bracket and copy what is inside;
3. partition the few inside;
4. in one pass write the mask, counting off those equal to the value.

A bracket that misses the rank is replaced by the side that has it, so the answer is always exact and the cost
linear. Arrays on an accelerator take the same steps in terms of the array API, with a sort of the scores.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from neuroprune import arrays, kernels
from neuroprune.pruning import checks

SMALL = 1 << 17  # below this many elements numpy's own partition is used
SAMPLE = 1 << 13  # elements that place the bracket
_SPREADS = 3.5  # half width of the bracket in standard deviations of a sample quantile: 1 in 2000 misses the rank
_GOLDEN = 0.6180339887498949  # its multiples spread evenly, so that no period of the data is met


def select(
    scores: Sequence[Any],
    drop: int,
    protect: Sequence[Any] | None = None,
    mask: Sequence[Any] | None = None,
    magnitude: bool = False,
    names: Sequence[str] | None = None,
) -> list[Any]:
    """Return one mask per array, in which `drop` places taken together go.

    Parameters
    ----------
    scores : sequence of arrays
        Of one library, on one device, any shapes, all floating or all integer.
    drop : int
        How many go; at most as many as are there and not protected.
    protect : sequence of boolean arrays or None, optional
        One per array, or None; True is never removed.
    mask : sequence of boolean arrays or None, optional
        One per array, or None; False is off already, stays off and is not counted.
    magnitude : bool, optional
        Rank the absolute values of floating scores. Large arrays on the host are not copied for that.
    names : sequence of str, optional
        What a message calls the arrays.
    """
    return select_counted(scores, drop, protect, mask, magnitude, names)[0]


def select_counted(
    scores: Sequence[Any],
    drop: int,
    protect: Sequence[Any] | None = None,
    mask: Sequence[Any] | None = None,
    magnitude: bool = False,
    names: Sequence[str] | None = None,
) -> tuple[list[Any], list[int]]:
    """Return the masks of `select`, and how many elements each of them keeps."""
    kinds = {arrays.kind(array) for array in scores}
    if len(kinds) > 1 or not kinds <= {"floating", "integer"}:
        raise TypeError(
            "scores must be all floating or all integers, got "
            f"{', '.join(sorted({str(array.dtype) for array in scores}))}: convert them to one type first"
        )
    protect, mask = _wanted(protect), _wanted(mask)
    hosts = [arrays.host(array) for array in scores]
    names = names or ["scores" if len(scores) == 1 else f"scores[{number}]" for number in range(len(scores))]
    if any(view is None for view in hosts):
        for array, name in zip(scores, names, strict=True):
            arrays.require_finite(array, name)
        masks = select_anywhere([abs(array) for array in scores] if magnitude else scores, drop, protect, mask)
        return masks, [arrays.count_true(kept) for kept in masks]
    protect, mask = (
        None if flags is None else [None if flag is None else arrays.host(flag) for flag in flags]
        for flags in (protect, mask)
    )
    masks, counts = select_host(hosts, drop, protect, mask, magnitude, names)
    return [arrays.like(kept, array) for kept, array in zip(masks, scores, strict=True)], counts


def select_host(
    scores: Sequence[np.ndarray],
    drop: int,
    protect: Sequence[np.ndarray | None] | None = None,
    mask: Sequence[np.ndarray | None] | None = None,
    magnitude: bool = False,
    names: Sequence[str] | None = None,
    small: int = SMALL,
    sample: int = SAMPLE,
) -> tuple[list[np.ndarray], list[int]]:
    """`select_counted` for numpy arrays; `small` and `sample` are there for the tests."""
    names = names or ["scores" if len(scores) == 1 else f"scores[{number}]" for number in range(len(scores))]
    scores = _one_type(scores)
    if protect is None and mask is None:
        value, equals = threshold(scores, drop, small, sample, magnitude, names)
        total = sum(array.size for array in scores)
        if total >= small:
            small = 0  # what is compiled once serves the small arrays too
        # In one piece: fresh pages cost more than writing to them, and large pieces get huge ones or used ones.
        together = np.empty(total, bool)
        masks, counts = [], []
        start = 0
        for array in scores:
            stop = start + array.size
            kept, equals, count = keep_above(array, value, equals, small, magnitude, together[start:stop])
            masks.append(kept)
            counts.append(count)
            start = stop
        return masks, counts
    for array, name in zip(scores, names, strict=True):
        arrays.require_finite(array, name)
    nothing = [None] * len(scores)
    stays, free = [], []  # what is not ranked and on, what is ranked
    for array, held, there in zip(scores, protect or nothing, mask or nothing, strict=True):
        stays.append(np.ones(array.shape, bool) if there is None else there.copy())
        free.append(stays[-1] if held is None else stays[-1] & ~held)
    ranked = [array[flags] for array, flags in zip(scores, free, strict=True)]
    for final, flags, kept in zip(
        stays, free, select_host(ranked, drop, None, None, magnitude, names, small, sample)[0], strict=True
    ):
        final[flags] = kept
    return stays, [int(np.count_nonzero(final)) for final in stays]


def threshold(
    scores: Sequence[np.ndarray],
    drop: int,
    small: int = SMALL,
    sample: int = SAMPLE,
    magnitude: bool = False,
    names: Sequence[str] | None = None,
) -> tuple[np.generic, int]:
    """Return the value and the number of its equals that separate the `drop` lowest scores from the rest.

    Removing everything below the value and the first `equals` elements equal to it removes exactly `drop`.
    With `drop` 0 the value is the lowest one of the type and the number is 0.

    Parameters
    ----------
    scores : sequence of numpy arrays
        Of one dtype (float32, float64 or an integer type); any shapes, ranked as one sequence. Arrays that are
        not C-contiguous are copied.
    drop : int
        From 0 to the number of elements.
    small : int, optional
        From this many elements on the scores are bracketed instead of copied.
    sample : int, optional
        How many elements place the bracket.
    magnitude : bool, optional
        Rank the absolute values of floating scores.
    names : sequence of str, optional
        What a message calls the arrays.

    Raises
    ------
    ValueError
        A score is NaN or infinite; the message names the array and the index.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import selection
    >>> value, equals = selection.threshold([np.array([3.0, 1.0, 2.0]), np.array([2.0, 2.0])], 3)
    >>> float(value), equals
    (2.0, 2)
    """
    flats = [array.ravel() for array in scores]
    total = sum(flat.size for flat in flats)
    value, equals = None, 0
    if total >= small and drop > 0:
        value, equals = _bracketed(flats, total, drop, sample, magnitude)
    if value is not None:
        return value, equals
    for number, array in enumerate(scores):
        arrays.require_finite(array, names[number] if names else f"scores[{number}]")
    if drop == 0:
        return _limits(flats[0].dtype if flats else np.dtype(float))[0], 0
    ordered = flats[0] if len(flats) == 1 else np.concatenate(flats)
    return _nth(np.partition(np.abs(ordered) if magnitude else ordered, drop - 1), drop)


def _bracketed(
    flats: list[np.ndarray], total: int, drop: int, sample: int, magnitude: bool
) -> tuple[np.generic | None, int]:
    """`threshold` by scanning; the value is None when a score is not finite."""
    dtype = flats[0].dtype
    lowest, highest = _limits(dtype)
    smallest, largest = (lowest, highest) if dtype.kind != "f" else (np.finfo(dtype).min, np.finfo(dtype).max)
    low, high, share = _bracket(flats, total, drop, sample, magnitude)
    capacity = int(1.25 * share * total) + kernels.select.BLOCK
    while True:
        inside = np.empty(capacity + kernels.select.BLOCK, dtype)
        below = at_low = found = 0
        for flat in flats:
            n_below, n_low, found, n_bad = kernels.select.scan(
                flat, magnitude, low, high, smallest, largest, inside, found, capacity
            )
            if n_bad:
                return None, 0
            below, at_low = below + n_below, at_low + n_low
        if drop <= below:
            low, high, capacity = lowest, low, below
        elif drop <= below + at_low:
            return low + 0, drop - below
        elif drop <= below + at_low + found:
            if found <= capacity:
                inside = inside[:found]
                rank = drop - below - at_low
                inside.partition(rank - 1)
                return _nth(inside, rank)
            capacity = found
        else:
            low, high, capacity = high, highest, total - below - at_low - found


def _bracket(
    flats: list[np.ndarray], total: int, drop: int, sample: int, magnitude: bool
) -> tuple[np.generic, np.generic, float]:
    """Return two values that very likely enclose the one of rank `drop`, and the share expected between them."""
    strata = _strata(min(sample, total))
    places = (strata * (total / strata.size)).astype(np.int64)
    np.minimum(places, total - 1, out=places)
    ends = np.cumsum([flat.size for flat in flats])
    cuts = np.searchsorted(places, ends)
    drawn = np.concatenate(
        [
            flat[places[first:last] - (end - flat.size)]
            for flat, end, first, last in zip(flats, ends, [0, *cuts[:-1]], cuts, strict=True)
        ]
    )
    if magnitude:
        np.abs(drawn, out=drawn)
    drawn.sort()
    quantile = (drop - 0.5) / total
    middle = quantile * drawn.size
    reach = _SPREADS * (drawn.size * quantile * (1.0 - quantile)) ** 0.5 + 1.0
    first, last = int(middle - reach), int(middle + reach) + 1
    lowest, highest = _limits(drawn.dtype)
    low = drawn[first] if middle >= reach else lowest
    high = drawn[last] if last < drawn.size else highest
    return low, high, 2.0 * reach / drawn.size


@lru_cache(maxsize=4)
def _strata(size: int) -> np.ndarray:
    """Return one place in each of `size` strata of length 1, the same ones every time."""
    numbers = np.arange(size)
    return numbers + (numbers * _GOLDEN) % 1.0


def _nth(ordered: np.ndarray, rank: int) -> tuple[np.generic, int]:
    """Return the value of 1-based `rank` of an array partitioned there, and how many equal to it come up to it."""
    value = ordered[rank - 1]
    return value + 0, rank - int(np.count_nonzero(ordered[:rank] < value))  # + 0 turns -0.0 into 0.0


def keep_above(
    array: np.ndarray,
    value: np.generic,
    equals: int,
    small: int = SMALL,
    magnitude: bool = False,
    room: np.ndarray | None = None,
) -> tuple[np.ndarray, int, int]:
    """Return the mask of one array that `threshold` decided, how many equals are left for the next, and its count.

    Parameters
    ----------
    array : numpy array
        The scores; any shape.
    value : numpy scalar
        Everything below it goes, everything above it stays.
    equals : int
        How many of those equal to it go, the earlier ones first.
    small : int, optional
        From this many elements on the compiled loop is used.
    magnitude : bool, optional
        Compare the absolute values.
    room : numpy array of bool, optional
        Where a mask made by the compiled loop is written, flat and of the size of the scores.

    Returns
    -------
    (numpy array of bool, int, int)
        The mask, in the shape of the scores, True where they stay; what is left of `equals`; how many stay.
    """
    flat = array.ravel()
    if flat.size < small:
        flat = np.abs(flat) if magnitude else flat
        mask = flat > value
        ties = np.flatnonzero(flat == value)
        mask[ties[equals:]] = True
        return mask.reshape(array.shape), max(0, equals - ties.size), int(np.count_nonzero(mask))
    mask = np.empty(flat.size, bool) if room is None else room
    equals, kept = kernels.select.keep_above(flat, magnitude, value, equals, mask.view(np.uint8))
    return mask.reshape(array.shape), int(equals), int(kept)


def select_anywhere(
    scores: Sequence[Any], drop: int, protect: Sequence[Any] | None = None, mask: Sequence[Any] | None = None
) -> list[Any]:
    """`select` in terms of the array API alone, for finite scores without a host view; the masks only."""
    xp = arrays.library(scores[0])
    flat = _joined(scores)
    nothing = [None] * len(scores)
    there = _joined([a == a if flag is None else flag for a, flag in zip(scores, mask or nothing, strict=True)])
    held = _joined([a != a if flag is None else flag for a, flag in zip(scores, protect or nothing, strict=True)])
    unranked = None if protect is None and mask is None else held | ~there
    kept = keep_rows(flat[None, :], drop, unranked)[0, :] & there
    masks = []
    start = 0
    for array in scores:
        stop = start + arrays.size(array)
        masks.append(xp.reshape(kept[start:stop], arrays.shape(array)))
        start = stop
    return masks


def _joined(parts: Sequence[Any]) -> Any:
    """Return several arrays as one flat one."""
    xp = arrays.library(parts[0])
    return xp.concat([xp.reshape(part, (-1,)) for part in parts])


def select_jointly(
    scores: Sequence[Any],
    sparsity: float,
    of: str,
    min_per_layer: int,
    protect: Sequence[Any] | None = None,
    mask: Sequence[Any] | None = None,
    magnitude: bool = False,
    names: Sequence[str] | None = None,
    request: str = "sparsity",
) -> list[Any]:
    """Return one mask per array, ranked together, each keeping its best `min_per_layer` (or all of a smaller one).

    `masks.sparse_jointly` says what the arguments are; here they are known to be right, but for the counts. `request`
    is what a message calls the sparsity; the others are those of `select`.
    """
    protect, mask = protect or [None] * len(scores), mask or [None] * len(scores)
    there = [arrays.size(a) if flag is None else arrays.count_true(flag) for a, flag in zip(scores, mask, strict=True)]
    held = [checks.held(*flags) for flags in zip(protect, mask, strict=True)]
    size = sum(arrays.size(array) for array in scores)
    drop = checks.going(sparsity, size, size - sum(there), of, f"{request}={sparsity}")
    least = [min(min_per_layer, count) for count in there]
    reserved = sum(max(0, wanted - count) for wanted, count in zip(least, held, strict=True))
    words = f"{request}={sparsity} with min_per_layer={min_per_layer}"
    checks.room(size, size - sum(there) + sum(held) + reserved, drop, words)

    def lacking(counts: Sequence[int]) -> int:
        return sum(max(0, wanted - count) for wanted, count in zip(least, counts, strict=True))

    def surplus(more: int) -> int:  # never falls as `more` grows, so that it can be bisected
        return more - lacking(select_counted(scores, drop + more, protect, mask, magnitude, names)[1])

    kept, counts = select_counted(scores, drop, protect, mask, magnitude, names)
    extra = lacking(counts)
    if extra == 0:
        return kept  # what is reserved has stayed anyway
    # As many more go as there are reserved ones among the lowest; those come back at the end.
    kept, counts = select_counted(scores, drop + extra, protect, mask, magnitude, names)
    if lacking(counts) > extra:  # other arrays ran short as well
        extra = bisect_left(range(reserved), 0, lo=extra + 1, key=surplus)
        kept, counts = select_counted(scores, drop + extra, protect, mask, magnitude, names)
    for i, count in enumerate(counts):
        if count < least[i]:
            kept[i] = select([scores[i]], there[i] - least[i], [protect[i]], [mask[i]], magnitude)[0]
    return kept


def keep_rows(rows: Any, drop: int, held: Any = None) -> Any:
    """Return the mask over (rows, width) that drops `drop` of each row; `held` protects places of a single row."""
    if drop == 0:
        return rows == rows
    candidates = rows if held is None else rows[0, :][~held][None, :]
    value = arrays.nth_lowest(candidates, drop)
    equals = drop - arrays.running_count(candidates < value)[:, -1:]
    ties = rows == value
    if held is None:
        return (rows > value) | (ties & (arrays.running_count(ties) > equals))
    ties = ties & ~held
    return held | (rows > value) | (ties & (arrays.running_count(ties) > equals))


def _wanted(flags: Sequence[Any] | None) -> Sequence[Any] | None:
    """Return the flags, or None where no array has any."""
    return None if flags is None or all(flag is None for flag in flags) else flags


def _one_type(scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return C-contiguous arrays of one dtype that holds all values exactly; no copy where they are so already."""
    if not scores:
        return []
    dtype = np.result_type(*{array.dtype for array in scores})
    if dtype.kind == "f" and scores[0].dtype.kind != "f":
        raise TypeError("scores must not mix uint64 with signed integers: convert them to one type first")
    return [np.asarray(array, dtype=dtype, order="C") for array in scores]


def _limits(dtype: np.dtype) -> tuple[np.generic, np.generic]:
    """Return values that no finite score of the type is below or above."""
    if dtype.kind == "f":
        return dtype.type(-np.inf), dtype.type(np.inf)
    return dtype.type(np.iinfo(dtype).min), dtype.type(np.iinfo(dtype).max)
