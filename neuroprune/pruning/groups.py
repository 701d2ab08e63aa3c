"""Which elements go inside each of many groups: the rows of a matrix, the connections into each node.

The rules are those of `selection`, group by group. Groups become runs of neighbours, by a stable sort of their names
where they are not rows; then a compiled loop selects inside each run. Small arrays, and those on an accelerator, are
ranked by two stable sorts in terms of the array API instead.
"""

from typing import Any

import numpy as np

from neuroprune import arrays, kernels
from neuroprune.pruning import checks
from neuroprune.pruning.selection import SMALL, keep_rows

_ROWS_AT_ONCE = 1 << 16  # elements of rows that are ranked together on the host


def select_rows(scores: Any, drop: int) -> Any:
    """Return the mask that removes the `drop` lowest of each row: along axis 0, with the other axes as one."""
    shape = arrays.shape(scores)
    if arrays.size(scores) == 0:
        return arrays.like(np.ones(shape, bool), scores)
    view = arrays.host(scores)
    if view is None:
        xp = arrays.library(scores)
        return xp.reshape(keep_rows(xp.reshape(scores, (shape[0], -1)), drop), shape)
    rows = view.reshape(shape[0], -1)
    mask = np.empty(rows.shape, bool)
    step = max(1, _ROWS_AT_ONCE // rows.shape[1])
    for start in range(0, shape[0], step):
        mask[start : start + step] = keep_rows(rows[start : start + step], drop)
    return arrays.like(mask.reshape(shape), scores)


def select_in_groups(
    scores: Any,
    groups: Any,
    sparsity: float,
    of: str = "all",
    protect: Any = None,
    mask: Any = None,
    request: str = "sparsity",
) -> Any:
    """Return the mask that removes the same share of each group of finite scores, the lowest of each.

    Parameters
    ----------
    scores : array of any shape
    groups : integer array of the scores' shape, or None
        The group of each element; None makes each index of axis 0 a group.
    sparsity, of : float, {"all", "remaining"}
        The share, and what it is a share of; see `checks.going`.
    protect, mask : boolean arrays or None
        True is never removed; False is off already.
    request : str, optional
        What a message calls the sparsity.
    """
    shape = arrays.shape(scores)
    views = [None if array is None else arrays.host(array) for array in (scores, groups, protect, mask)]
    if views[0] is None:
        views = [scores, groups, protect, mask]
    xp = arrays.library(views[0])
    flat, labels, held, stays = (None if array is None else xp.reshape(array, (-1,)) for array in views)
    places = arrays.running_count(flat == flat) - 1
    order = None
    if labels is None:
        labels = places // (arrays.size(scores) // shape[0])
    else:
        order = xp.argsort(labels, stable=True)
        flat, labels, held, stays = (None if a is None else arrays.take(a, order) for a in (flat, labels, held, stays))
    stays = flat == flat if stays is None else stays
    free = stays if held is None else stays & ~held
    first = (places == 0) | (labels != xp.roll(labels, 1))
    sizes = _per_run(flat == flat, first)
    there = _per_run(stays, first)
    drops = checks.count_each(sparsity, sizes if of == "all" else there)
    drops = drops - (sizes - there) if of == "all" else drops
    wrong = (drops < 0) | (drops > _per_run(free, first))
    if arrays.count_true(wrong):
        worst = arrays.count_true(arrays.running_count(wrong) == 0)
        size, on, loose = (int(counts[worst]) for counts in (sizes, there, _per_run(free, first)))
        name = f"{request}={sparsity} in {'row' if groups is None else 'group'} {int(labels[first][worst])}"
        checks.room(size, size - loose, checks.going(sparsity, size, size - on, of, name), name)
    kept = drop_in_runs(flat, first, drops, free, stays)
    if order is not None:
        kept = arrays.take(kept, xp.argsort(order))
    return arrays.like(xp.reshape(kept, shape), scores) if views[0] is not scores else xp.reshape(kept, shape)


def drop_in_runs(flat: Any, first: Any, drops: Any, free: Any, stays: Any, small: int = SMALL) -> Any:
    """Return `stays` without the lowest free elements of each run, as many as `drops` says for it.

    All are flat arrays; a run begins where `first` is True, and has at least as many free elements as it drops.
    From `small` elements on the compiled loop is used.
    """
    xp = arrays.library(flat)
    if xp is np and flat.size >= small:
        mask = stays.copy()
        starts = np.append(np.flatnonzero(first), flat.size)
        kernels.select.drop_in_runs(flat, free, starts, drops, mask.view(np.uint8))
        return mask
    if arrays.count_true(free) == 0:
        return stays
    # Among the free ones alone: by score, then by run, and so each has its rank in its run.
    running = arrays.running_count(free)
    run = (arrays.running_count(first) - 1)[free]
    order = xp.argsort(flat[free], stable=True)
    order = arrays.take(order, xp.argsort(arrays.take(run, order), stable=True))
    place = xp.argsort(order)
    before = running[first] - arrays.cast(free, running)[first]  # free ones in the runs before
    kept = place >= arrays.take(before + drops, run)
    last = arrays.cast(running > 0, running)
    return stays & (~free | arrays.take(kept, running - last))


def _per_run(flags: Any, first: Any) -> Any:
    """Return how many of the flat `flags` are True in each run; a run begins where `first` is True."""
    running = arrays.running_count(flags)
    last = arrays.library(first).roll(first, -1)
    return running[last] - running[first] + arrays.cast(flags, running)[first]
