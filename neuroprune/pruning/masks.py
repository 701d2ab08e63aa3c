"""Masks: which elements stay. Boolean arrays in the library, on the device and of the shape of the scores.

True keeps. One rounding (`count`) and one tie rule everywhere: the lowest score goes first, and among equals the
earlier element in storage order (row-major) goes first. Counts are exact, ties or not.

Scores are arrays of numpy, torch or the array API standard, floating or integer, of any rank; NaN and infinity
are refused with their index. Nothing is changed in place.
"""

from collections.abc import Sequence
from typing import Any

from neuroprune import arrays
from neuroprune.pruning import checks
from neuroprune.pruning.checks import count
from neuroprune.pruning.groups import select_in_groups, select_rows
from neuroprune.pruning.patterns import NM, Axis, Block, axis, block, n_of_m, pattern, validate
from neuroprune.pruning.selection import select, select_jointly

__all__ = [
    "NM", "Axis", "Block", "apply", "axis", "block", "count", "kept", "n_of_m", "pattern", "pruned", "sparse",
    "sparse_jointly", "sparsity", "swap", "top", "validate",
]


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
    size = arrays.size(checks.scores(scores, "scores"))
    keep = checks.integer(keep, "keep", 0, size, "the number of elements that stay")
    held = 0 if checks.flags(protect, scores, "protect") is None else arrays.count_true(protect)
    checks.room(size, held, size - keep, f"keep={keep}")
    return select([scores], size - keep, None if protect is None else [protect])[0]


def sparse(
    scores: Any, sparsity: float, groups: Any = None, protect: Any = None, mask: Any = None, of: str = "all"
) -> Any:
    """Remove the share `sparsity` with the lowest scores.

    Parameters
    ----------
    scores : array of any shape
        Larger means keep.
    sparsity : float
        Share to remove, in [0, 1]; `count` says how many that is.
    groups : {None, "row"} or integer array, optional
        None ranks all elements together. "row" ranks inside each output row, that is each index of axis 0 with
        the other axes taken as one, and removes `count(sparsity, row length)` from each. An array of the scores'
        shape names the group of each element (a graph passes `net.graph.target`).
    protect : boolean array, optional
        Of the scores' shape; True is never removed.
    mask : boolean array, optional
        What is still there, from an earlier pruning. False stays off and is not ranked.
    of : {"all", "remaining"}, optional
        "all": `sparsity` is the share of the whole array (of each group) that is off afterwards. "remaining": the
        share of what is still there that goes now.

    Returns
    -------
    boolean array
        In the library, on the device and of the shape of `scores`.

    Raises
    ------
    ValueError
        `sparsity` is outside [0, 1] or NaN; a score is NaN or infinite; `groups="row"` with less than two axes;
        fewer elements are unprotected than have to go; more are off already than `sparsity` asks for.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> scores = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    >>> half = masks.sparse(scores, 0.5)
    >>> half
    array([[False, False, False, False],
           [ True,  True,  True,  True]])
    >>> masks.sparse(scores, 0.5, groups="row")
    array([[False, False,  True,  True],
           [False, False,  True,  True]])
    >>> masks.sparse(scores, 0.5, mask=half, of="remaining")
    array([[False, False, False, False],
           [False, False,  True,  True]])
    """
    size = arrays.size(checks.scores(scores, "scores"))
    checks.flags(protect, scores, "protect")
    checks.flags(mask, scores, "mask")
    checks.share(sparsity)
    checks.one_of(of, "of", checks.OF)
    if groups is None:
        off = 0 if mask is None else size - arrays.count_true(mask)
        drop = checks.going(sparsity, size, off, of)
        checks.room(size, off + checks.held(protect, mask), drop, f"sparsity={sparsity}")
        return select([scores], drop, [protect], [mask])[0]
    if not isinstance(groups, str):
        checks.labels(groups, scores, "groups")
    elif groups != "row":
        raise ValueError(f'groups must be None, "row" or an integer array, got {groups!r}')
    shape = arrays.shape(scores)
    if isinstance(groups, str) and len(shape) < 2:
        raise ValueError(f'groups="row" needs scores with at least two axes, got shape {shape}: use groups=None')
    arrays.require_finite(scores, "scores")
    if size == 0 or (isinstance(groups, str) and protect is None and mask is None):
        return select_rows(scores, count(sparsity, size // shape[0] if size else 0))
    return select_in_groups(scores, None if isinstance(groups, str) else groups, sparsity, of, protect, mask)


def sparse_jointly(
    scores: Sequence[Any],
    sparsity: float,
    min_per_layer: int = 1,
    protect: Sequence[Any] | None = None,
    mask: Sequence[Any] | None = None,
    of: str = "all",
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
    mask : list of boolean arrays or None, optional
        One per array, or None for an array without: what is still there. False stays off and is not ranked.
    of : {"all", "remaining"}, optional
        "all": `sparsity` is the share of all elements that is off afterwards. "remaining": the share of those still
        there that goes now.

    Returns
    -------
    list of boolean arrays
        One per array of scores.

    Raises
    ------
    ValueError
        `sparsity` is outside [0, 1] or NaN; a score is NaN or infinite; more would have to go than are neither
        reserved nor protected; more are off already than `sparsity` asks for.

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
        arrays.same_place(scores[0], checks.scores(array, f"scores[{number}]"), f"scores[{number}]")
    for flags, name in ((protect, "protect"), (mask, "mask")):
        if flags is not None and not isinstance(flags, (list, tuple)):
            raise TypeError(f"{name} must be a list of boolean arrays, got {type(flags).__name__}: one per array")
        if flags is not None and len(flags) != len(scores):
            raise ValueError(f"{name} must have one entry per array, {len(scores)}, got {len(flags)}")
        for number, flag in enumerate(flags or ()):
            checks.flags(flag, scores[number], f"{name}[{number}]")
    least = checks.integer(min_per_layer, "min_per_layer", 0, None, "the number that each array keeps")
    return select_jointly(scores, sparsity, of, least, protect, mask)


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
        checks.flags(mask, checks.scores(scores, name), "mask")
        arrays.require_finite(scores, name)
    present = arrays.count_true(mask)
    n = checks.integer(n, "n", 0, present, "the number of elements to swap among those kept")
    left = select([drop_scores], n, None, [mask])[0]
    absent = arrays.size(mask) - present + n
    return select([grow_scores], absent - n, [left])[0]


def apply(weight: Any, mask: Any, in_place: bool = False) -> Any:
    """Set what is off to exactly 0, whatever was there (NaN as well); what stays keeps its bits.

    Parameters
    ----------
    weight : array of any shape
        Of numpy, torch or the array API standard. For torch, automatic differentiation sees what is not in place: the
        gradient of what is off is 0.
    mask : boolean array of the weight's shape
        True keeps.
    in_place : bool, optional
        Write into `weight` and return it.

    Raises
    ------
    ValueError
        The mask is not a boolean array of the weight's shape, or the weight cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.apply(np.array([1.0, np.nan, 3.0]), np.array([True, False, True]))
    array([1., 0., 3.])
    """
    arrays.library(weight)
    arrays.require_values(weight, "weight")
    if checks.flags(mask, weight, "mask", "weight's") is None:
        raise TypeError("mask must be a boolean array, got None: make one with a mask function, such as sparse")
    if in_place:
        checks.writable(weight, "weight")
        arrays.detach(weight)[~mask] = 0
        return weight
    return arrays.library(weight).where(mask, weight, arrays.cast(mask & ~mask, weight))


def sparsity(mask: Any) -> float:
    """Return the share of a mask that is off, in [0, 1]; 0 for a mask without elements.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.sparsity(np.array([True, False, True, True]))
    0.25
    """
    size = arrays.size(checks.mask(mask))
    return (size - arrays.count_true(mask)) / size if size else 0.0


def kept(mask: Any) -> Any:
    """Return the flat (row-major) indices of what stays, ascending, in the mask's library.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.kept(np.array([[True, False], [False, True]]))
    array([0, 3])
    """
    flat = arrays.library(checks.mask(mask)).reshape(mask, (-1,))
    return (arrays.running_count(flat == flat) - 1)[flat]


def pruned(mask: Any) -> Any:
    """Return the flat (row-major) indices of what is off, ascending, in the mask's library.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.pruned(np.array([[True, False], [False, True]]))
    array([1, 2])
    """
    return kept(~checks.mask(mask))
