"""Masks: which elements stay. Boolean arrays in the library, on the device and of the shape of the scores.

True keeps. One rounding (`count`) and one tie rule everywhere: the lowest score goes first, and among equals the
earlier element in storage order (row-major) goes first. Counts are exact, ties or not.

Scores are arrays of numpy, torch or the array API standard, floating or integer, of any rank; NaN and infinity
are refused with their index. Nothing is changed in place.
"""

from bisect import bisect_left
from collections.abc import Sequence
from numbers import Real
from operator import index
from typing import Any

from neuroprune import arrays
from neuroprune.pruning.selection import select, select_rows


def count(sparsity: float, size: int) -> int:
    """Return how many of `size` elements a sparsity removes: `round(sparsity * size)`, half to even.

    Parameters
    ----------
    sparsity : float
        Share to remove, in [0, 1].
    size : int
        Number of elements.

    Raises
    ------
    ValueError
        `sparsity` is NaN or outside [0, 1].

    Examples
    --------
    >>> from neuroprune.pruning import masks
    >>> masks.count(0.5, 5), masks.count(0.5, 7)
    (2, 4)
    """
    if not isinstance(sparsity, Real):
        raise TypeError(f"sparsity must be a number in [0, 1], got {type(sparsity).__name__}: pass a float")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity must be in [0, 1], got {sparsity}: it is the share of elements that go")
    return round(float(sparsity) * size)


def top(scores: Any, keep: int, protect: Any = None) -> Any:
    """Keep the `keep` highest scores.

    Parameters
    ----------
    scores : array of any shape
        Larger means keep.
    keep : int
        How many stay, from 0 to the number of elements.
    protect : boolean array, optional
        Of the scores' shape; True is never removed and counts among the kept.

    Returns
    -------
    boolean array
        In the library, on the device and of the shape of `scores`; True in exactly `keep` places.

    Raises
    ------
    ValueError
        `keep` is out of range or less than the protected ones; a score is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.top(np.array([3.0, 1.0, 2.0, 1.0]), 3)
    array([ True, False,  True,  True])
    """
    size = arrays.size(_checked(scores, "scores"))
    keep = _integer(keep, "keep", 0, size, "the number of elements that stay")
    protect = _checked_flags(protect, scores, "protect")
    _room([scores], [protect], size - keep, f"keep={keep}")
    return select([scores], size - keep, None if protect is None else [protect])[0]


def sparse(scores: Any, sparsity: float, groups: str | None = None, protect: Any = None) -> Any:
    """Remove the share `sparsity` with the lowest scores.

    Parameters
    ----------
    scores : array of any shape
        Larger means keep.
    sparsity : float
        Share to remove, in [0, 1]; `count` says how many that is.
    groups : {None, "row"}, optional
        None ranks all elements together. "row" ranks inside each output row, that is each index of axis 0 with
        the other axes taken as one, and removes `count(sparsity, row length)` from each.
    protect : boolean array, optional
        Of the scores' shape; True is never removed.

    Returns
    -------
    boolean array
        In the library, on the device and of the shape of `scores`.

    Raises
    ------
    ValueError
        `sparsity` is outside [0, 1] or NaN; a score is NaN or infinite; `groups="row"` with less than two axes;
        fewer elements are unprotected than have to go.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> scores = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    >>> masks.sparse(scores, 0.5)
    array([[False, False, False, False],
           [ True,  True,  True,  True]])
    >>> masks.sparse(scores, 0.5, groups="row")
    array([[False, False,  True,  True],
           [False, False,  True,  True]])
    """
    size = arrays.size(_checked(scores, "scores"))
    protect = _checked_flags(protect, scores, "protect")
    if groups is None:
        drop = count(sparsity, size)
        _room([scores], [protect], drop, f"sparsity={sparsity}")
        return select([scores], drop, None if protect is None else [protect])[0]
    if groups != "row":
        raise ValueError(f'groups must be None or "row", got {groups!r}')
    shape = arrays.shape(scores)
    if len(shape) < 2:
        raise ValueError(f'groups="row" needs scores with at least two axes, got shape {shape}: use groups=None')
    drop = count(sparsity, size // shape[0] if size else 0)
    if protect is None or size == 0:
        return select_rows(scores, drop)
    arrays.require_finite(scores, "scores")
    rows = [(scores[row, ...], protect[row, ...]) for row in range(shape[0])]
    for row, (_, flags) in enumerate(rows):
        _room([flags], [flags], drop, f"sparsity={sparsity} in row {row}")
    kept = [select([row], drop, [flags])[0] for row, flags in rows]
    return arrays.library(scores).stack(kept)


def sparse_jointly(
    scores: Sequence[Any], sparsity: float, min_per_layer: int = 1, protect: Sequence[Any] | None = None
) -> list[Any]:
    """Remove the share `sparsity` with the lowest scores of several arrays ranked together.

    Each array keeps at least `min_per_layer` elements: its best ones are reserved first, and the total stays
    exact. An array with fewer elements than that keeps them all.

    Parameters
    ----------
    scores : list of arrays
        Of one library and on one device, of any shapes. Among equal scores an earlier array goes first.
    sparsity : float
        Share of all elements to remove, in [0, 1].
    min_per_layer : int, optional
        0 allows an array to be emptied.
    protect : list of boolean arrays or None, optional
        One per array, or None for an array without; True is never removed and counts for `min_per_layer`.

    Returns
    -------
    list of boolean arrays
        One per array of scores.

    Raises
    ------
    ValueError
        `sparsity` is outside [0, 1] or NaN; a score is NaN or infinite; more would have to go than are neither
        reserved nor protected.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.sparse_jointly([np.array([1.0, 2.0]), np.array([7.0, 8.0, 3.0, 9.0])], 0.5)
    [array([False,  True]), array([False,  True, False,  True])]
    """
    if not isinstance(scores, (list, tuple)):
        raise TypeError(f"scores must be a list of arrays, got {type(scores).__name__}: for one array use sparse")
    for number, array in enumerate(scores):
        arrays.same_place(scores[0], _checked(array, f"scores[{number}]"), f"scores[{number}]")
    if protect is None:
        flags = [None] * len(scores)
    elif len(protect) != len(scores):
        raise ValueError(f"protect must have one entry per array, {len(scores)}, got {len(protect)}")
    else:
        flags = [_checked_flags(flag, scores[i], f"protect[{i}]") for i, flag in enumerate(protect)]
    min_per_layer = _integer(min_per_layer, "min_per_layer", 0, None, "the number that each array keeps")
    drop = count(sparsity, sum(arrays.size(array) for array in scores))
    least = [min(min_per_layer, arrays.size(array)) for array in scores]
    reserved = sum(
        wanted if flag is None else max(0, wanted - arrays.count_true(flag))
        for wanted, flag in zip(least, flags, strict=True)
    )
    _room(scores, flags, drop, f"sparsity={sparsity} with min_per_layer={min_per_layer}", reserved)
    held = None if protect is None else flags
    kept = select(scores, drop, held)
    extra = _lacking(kept, least)
    if extra == 0:
        return kept  # what is reserved has stayed anyway
    # As many more go as there are reserved ones among the lowest; those come back at the end.
    kept = select(scores, drop + extra, held)
    if _lacking(kept, least) > extra:  # other arrays ran short as well

        def surplus(more: int) -> int:  # never falls as `more` grows, so that it can be bisected
            return more - _lacking(select(scores, drop + more, held), least)

        extra = bisect_left(range(reserved), 0, lo=extra + 1, key=surplus)
        kept = select(scores, drop + extra, held)
    return [
        top(array, wanted, flag) if arrays.count_true(mask) < wanted else mask
        for array, wanted, flag, mask in zip(scores, least, flags, kept, strict=True)
    ]


def _lacking(kept: Sequence[Any], least: Sequence[int]) -> int:
    """Return how many elements the masks lack of what each has to keep."""
    return sum(max(0, wanted - arrays.count_true(mask)) for mask, wanted in zip(kept, least, strict=True))


def swap(mask: Any, drop_scores: Any, grow_scores: Any, n: int) -> Any:
    """Drop the `n` lowest of the kept elements, then grow the `n` best of the absent ones.

    The candidates for growth are all places that are off after the drop, the just dropped ones included, as in
    RigL (Evci et al. 2020, https://arxiv.org/abs/1911.11134, algorithm 1). The number of kept elements does not
    change. Ties follow the one rule both times: an earlier element is dropped first and, of equally good
    candidates, the later one is grown.

    Parameters
    ----------
    mask : boolean array
        True keeps.
    drop_scores, grow_scores : arrays of the mask's shape
        Larger means keep, and grow. Both are finite everywhere, also where they are not looked at.
    n : int
        From 0 to the number of kept elements.

    Returns
    -------
    boolean array
        The new mask.

    Raises
    ------
    ValueError
        A shape differs, a score is NaN or infinite, or `n` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> mask = np.array([True, True, False, False])
    >>> masks.swap(mask, np.array([2.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 5.0, 6.0]), 1)
    array([ True, False, False,  True])
    """
    for scores, name in ((drop_scores, "drop_scores"), (grow_scores, "grow_scores")):
        _checked_flags(mask, _checked(scores, name), "mask")
        arrays.require_finite(scores, name)
    present = arrays.count_true(mask)
    n = _integer(n, "n", 0, present, "the number of elements to swap among those kept")
    left = select([drop_scores], n, [~mask])[0] & mask
    absent = arrays.size(mask) - present + n
    return select([grow_scores], absent - n, [left])[0]


def _checked(scores: Any, name: str) -> Any:
    """Return the scores, known to be an array of numbers."""
    arrays.library(scores)
    if arrays.kind(scores) not in ("floating", "integer"):
        raise TypeError(f"{name} must be floating or integer numbers, got {scores.dtype}: convert them first")
    return scores


def _checked_flags(flags: Any, scores: Any, name: str) -> Any:
    """Return the flags, known to be booleans of the shape, library and device of the scores, or None."""
    if flags is None:
        return None
    arrays.same_place(scores, flags, name)
    if arrays.kind(flags) != "bool" or arrays.shape(flags) != arrays.shape(scores):
        raise ValueError(
            f"{name} must be a boolean array of the scores' shape {arrays.shape(scores)}, "
            f"got {flags.dtype} of shape {arrays.shape(flags)}"
        )
    return flags


def _integer(value: Any, name: str, least: int, most: int | None, meaning: str) -> int:
    bounds = f"at least {least}" if most is None else f"in [{least}, {most}]"
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer {bounds}, got {value!r}: it is {meaning}") from None
    if number < least or (most is not None and number > most):
        raise ValueError(f"{name} must be an integer {bounds}, got {number}: it is {meaning}")
    return number


def _room(scores: Sequence[Any], held: Sequence[Any], drop: int, request: str, reserved: int = 0) -> None:
    """Raise unless `drop` elements are neither held nor among the `reserved`."""
    size = sum(arrays.size(array) for array in scores)
    free = size - reserved - sum(arrays.count_true(flags) for flags in held if flags is not None)
    if drop > free:
        raise ValueError(
            f"{request} removes {drop} of {size} elements, but only {free} may go: remove less or protect less"
        )
