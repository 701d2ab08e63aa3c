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

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroprune import arrays, kernels

SMALL = 1 << 17  # below this many elements numpy's own partition is used
SAMPLE = 1 << 13  # elements that place the bracket
_SPREADS = 5.0  # half width of the bracket in standard deviations of a sample quantile
_GOLDEN = 0.6180339887498949  # its multiples spread evenly, so that no period of the data is met
_ROWS_AT_ONCE = 1 << 16  # elements of rows that are ranked together on the host


def select(scores: Sequence[Any], drop: int, protect: Sequence[Any] | None = None) -> list[Any]:
    """Return one mask per array, all False in exactly `drop` places taken together, True elsewhere.

    Parameters
    ----------
    scores : sequence of arrays
        Of one library, on one device, any shapes, all floating or all integer.
    drop : int
        How many go; at most as many as are not protected.
    protect : sequence of boolean arrays or None, optional
        One per array, or None; True is never removed.
    """
    numbers = {arrays.kind(array) for array in scores}
    if len(numbers) > 1 or not numbers <= {"floating", "integer"}:
        raise TypeError(
            "scores must be all floating or all integers, got "
            f"{', '.join(sorted({str(array.dtype) for array in scores}))}: convert them to one type first"
        )
    hosts = [arrays.host(array) for array in scores]
    if any(view is None for view in hosts):
        return select_anywhere(scores, drop, protect)
    flags = None if protect is None else [None if flag is None else arrays.host(flag) for flag in protect]
    masks = select_host(hosts, drop, flags)
    return [arrays.like(mask, array) for mask, array in zip(masks, scores, strict=True)]


def select_host(
    scores: Sequence[np.ndarray],
    drop: int,
    protect: Sequence[np.ndarray | None] | None = None,
    small: int = SMALL,
    sample: int = SAMPLE,
) -> list[np.ndarray]:
    """`select` for numpy arrays; `small` and `sample` are there for the tests."""
    scores = _one_type(scores)
    if protect is None:
        value, equals = threshold(scores, drop, small, sample)
        if sum(array.size for array in scores) >= small:
            small = 0  # what is compiled once serves the small arrays too
        masks = []
        for array in scores:
            mask, equals = keep_above(array, value, equals, small)
            masks.append(mask)
        return masks
    for number, array in enumerate(scores):
        arrays.require_finite(array, _name(number, scores))
    free = [array if flag is None else array[~flag] for array, flag in zip(scores, protect, strict=True)]
    masks = select_host(free, drop, None, small, sample)
    for number, (kept, flag) in enumerate(zip(masks, protect, strict=True)):
        if flag is not None:
            masks[number] = np.ones(flag.shape, bool)
            masks[number][~flag] = kept
    return masks


def threshold(
    scores: Sequence[np.ndarray], drop: int, small: int = SMALL, sample: int = SAMPLE
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

    Raises
    ------
    ValueError
        A score is NaN or infinite; the message names the array, if there are several, and the index.

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
    if total < small or drop == 0:
        for number, array in enumerate(scores):
            arrays.require_finite(array, _name(number, scores))
        if drop == 0:
            return _limits(flats[0].dtype if flats else np.dtype(float))[0], 0
        ordered = flats[0] if len(flats) == 1 else np.concatenate(flats)
        return _nth(np.partition(ordered, drop - 1), drop)
    value, equals = _bracketed(flats, total, drop, sample)
    if value is None:
        for number, array in enumerate(scores):
            arrays.require_finite(array, _name(number, scores))
    return value, equals


def _bracketed(flats: list[np.ndarray], total: int, drop: int, sample: int) -> tuple[np.generic | None, int]:
    """`threshold` by scanning; the value is None when a score is not finite."""
    dtype = flats[0].dtype
    lowest, highest = _limits(dtype)
    smallest, largest = (lowest, highest) if dtype.kind != "f" else (np.finfo(dtype).min, np.finfo(dtype).max)
    low, high, share = _bracket(flats, total, drop, sample)
    capacity = int(1.25 * share * total) + kernels.select.BLOCK
    while True:
        inside = np.empty(capacity + kernels.select.BLOCK, dtype)
        below = at_low = at_high = found = 0
        for flat in flats:
            n_below, n_low, found, n_high, n_bad = kernels.select.scan(
                flat, low, high, smallest, largest, inside, found, capacity
            )
            if n_bad:
                return None, 0
            below, at_low, at_high = below + n_below, at_low + n_low, at_high + n_high
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
        elif low != high and drop <= below + at_low + found + at_high:
            return high + 0, drop - below - at_low - found
        else:
            low, high, capacity = high, highest, total - below - at_low - found


def _bracket(flats: list[np.ndarray], total: int, drop: int, sample: int) -> tuple[np.generic, np.generic, float]:
    """Return two values that very likely enclose the one of rank `drop`, and the share expected between them."""
    strata = np.arange(min(sample, total))
    places = ((strata + (strata * _GOLDEN) % 1.0) * (total / strata.size)).astype(np.int64)
    np.minimum(places, total - 1, out=places)
    ends = np.cumsum([flat.size for flat in flats])
    cuts = np.searchsorted(places, ends)
    drawn = np.concatenate(
        [
            flat[places[first:last] - (end - flat.size)]
            for flat, end, first, last in zip(flats, ends, [0, *cuts[:-1]], cuts, strict=True)
        ]
    )
    drawn.sort()
    quantile = (drop - 0.5) / total
    middle = quantile * drawn.size
    reach = _SPREADS * (drawn.size * quantile * (1.0 - quantile)) ** 0.5 + 1.0
    first, last = int(middle - reach), int(middle + reach) + 1
    lowest, highest = _limits(drawn.dtype)
    low = drawn[first] if middle >= reach else lowest
    high = drawn[last] if last < drawn.size else highest
    return low, high, 2.0 * reach / drawn.size


def _nth(ordered: np.ndarray, rank: int) -> tuple[np.generic, int]:
    """Return the value of 1-based `rank` of an array partitioned there, and how many equal to it come up to it."""
    value = ordered[rank - 1]
    return value + 0, rank - int(np.count_nonzero(ordered[:rank] < value))  # + 0 turns -0.0 into 0.0


def keep_above(array: np.ndarray, value: np.generic, equals: int, small: int = SMALL) -> tuple[np.ndarray, int]:
    """Return the mask of one array that `threshold` decided, and how many equals are left for the next array.

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

    Returns
    -------
    (numpy array of bool, int)
        The mask, in the shape of the scores, True where they stay; and what is left of `equals`.
    """
    flat = array.ravel()
    if flat.size < small:
        mask = flat > value
        ties = np.flatnonzero(flat == value)
        mask[ties[equals:]] = True
        return mask.reshape(array.shape), max(0, equals - ties.size)
    mask = np.empty(flat.size, bool)
    equals = kernels.select.keep_above(flat, value, equals, mask.view(np.uint8))
    return mask.reshape(array.shape), int(equals)


def select_anywhere(scores: Sequence[Any], drop: int, protect: Sequence[Any] | None = None) -> list[Any]:
    """`select` in terms of the array API alone, for arrays without a host view."""
    for number, array in enumerate(scores):
        arrays.require_finite(array, _name(number, scores))
    xp = arrays.library(scores[0])
    flat = xp.concat([xp.reshape(array, (-1,)) for array in scores])
    held = None
    if protect is not None:
        flags = [array != array if flag is None else flag for array, flag in zip(scores, protect, strict=True)]
        held = xp.concat([xp.reshape(flag, (-1,)) for flag in flags])
    kept = _keep_rows(flat[None, :], drop, held)[0, :]
    masks = []
    start = 0
    for array in scores:
        stop = start + arrays.size(array)
        masks.append(xp.reshape(kept[start:stop], arrays.shape(array)))
        start = stop
    return masks


def select_rows(scores: Any, drop: int) -> Any:
    """Return the mask that removes the `drop` lowest of each row: along axis 0, with the other axes as one."""
    shape = arrays.shape(scores)
    arrays.require_finite(scores, "scores")
    if arrays.size(scores) == 0:
        return arrays.like(np.ones(shape, bool), scores)
    view = arrays.host(scores)
    if view is None:
        xp = arrays.library(scores)
        return xp.reshape(_keep_rows(xp.reshape(scores, (shape[0], -1)), drop), shape)
    rows = view.reshape(shape[0], -1)
    mask = np.empty(rows.shape, bool)
    step = max(1, _ROWS_AT_ONCE // rows.shape[1])
    for start in range(0, shape[0], step):
        mask[start : start + step] = _keep_rows(rows[start : start + step], drop)
    return arrays.like(mask.reshape(shape), scores)


def _keep_rows(rows: Any, drop: int, held: Any = None) -> Any:
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


def _name(number: int, scores: Sequence[Any]) -> str:
    return "scores" if len(scores) == 1 else f"scores[{number}]"
