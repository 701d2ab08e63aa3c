"""Patterns: masks that hardware or a smaller dense array can use. N of M neighbours, blocks, whole rows or filters.

They follow the same rules as all masks: True keeps, exact counts, the lowest goes first and among equals the earlier.
What goes together is a unit: a block, or all elements that share their place on the axes of an `Axis`. A unit is
scored by its sum, mean or maximum, taken in float64 in one fixed order, so that every library gets the same bits.
"""

import operator
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroprune import arrays, kernels
from neuroprune.pruning import checks, groups, selection, units

SMALL = 1 << 13  # below this many elements no compiled loop is asked for N:M
REDUCTIONS = ("sum", "mean", "max")


@dataclass(frozen=True)
class NM:
    """Of every `group` neighbours along `axis` the `keep` best stay: 2:4 is `NM(2, 4)`.

    Attributes
    ----------
    keep, group : int
        How many stay of how many; `keep` is in [0, group], `group` at least 1.
    axis : int
        Along which the neighbours lie; the last one, the inputs of a weight (out, in), by default.

    Examples
    --------
    >>> from neuroprune.pruning import masks
    >>> masks.pattern("2:4")
    NM(keep=2, group=4, axis=-1)
    >>> masks.NM(3, 2)
    Traceback (most recent call last):
    ...
    ValueError: keep must be an integer in [0, 2], got 3: it is how many of a group stay
    """

    keep: int
    group: int
    axis: int = -1

    def __post_init__(self) -> None:
        checks.integer(self.group, "group", 1, None, "how many neighbours make a group")
        checks.integer(self.keep, "keep", 0, self.group, "how many of a group stay")
        _axis_number(self.axis)

    @property
    def sparsity(self) -> float:
        """The share that goes, 1 - keep / group."""
        return (self.group - self.keep) / self.group

    def steps(self, shape: tuple[int, ...], name: str = "scores") -> units.Steps:
        """The lengths of a group along the axes of an array of that shape; ValueError where it does not fit."""
        own = _own_axes((self.axis,), shape, name)
        steps = tuple(self.group if number in own else 1 for number in range(len(shape)))
        return units.fit(steps, shape, name, str(self))


@dataclass(frozen=True)
class Block:
    """Blocks of `shape` stay or go as a whole.

    Attributes
    ----------
    shape : tuple of int
        Lengths over the last axes, such as (4, 4) for tiles of a matrix or of the kernels of a convolution.
    reduce : {"sum", "mean", "max"}
        How the scores of its elements make the score of a block.
    """

    shape: tuple[int, ...]
    reduce: str = "sum"

    def __post_init__(self) -> None:
        lengths = self.shape if isinstance(self.shape, (tuple, list)) else (self.shape,)
        if not lengths:
            raise ValueError("shape must hold one length per axis of a block, got none: for single elements use sparse")
        for length in lengths:
            checks.integer(length, "shape of a block", 1, None, "the length of a block along an axis")
        object.__setattr__(self, "shape", tuple(map(operator.index, lengths)))
        checks.one_of(self.reduce, "reduce", REDUCTIONS)

    def steps(self, shape: tuple[int, ...], name: str = "scores") -> units.Steps:
        """The lengths of a block along the axes of an array of that shape; ValueError where it does not fit."""
        if len(self.shape) > len(shape):
            raise ValueError(
                f"{name} must have at least the {len(self.shape)} axes of {self}, got shape {shape}: "
                "give the block fewer axes"
            )
        return units.fit((1,) * (len(shape) - len(self.shape)) + self.shape, shape, name, str(self))


@dataclass(frozen=True)
class Axis:
    """Whole slices stay or go: all elements that share their place on `axis`.

    Attributes
    ----------
    axis : int or tuple of int
        0 for rows of a matrix or filters of a convolution (out, in, height, width), 1 for columns or channels, (0, 1)
        for kernels.
    reduce : {"sum", "mean", "max"}
        How the scores of its elements make the score of a slice.
    """

    axis: int | tuple[int, ...]
    reduce: str = "sum"

    def __post_init__(self) -> None:
        numbers = self.axis if isinstance(self.axis, (tuple, list)) else (self.axis,)
        if not numbers:
            raise ValueError("axis must be an integer or a tuple of them, got none: for single elements use sparse")
        numbers = tuple(map(_axis_number, numbers))
        object.__setattr__(self, "axis", numbers if isinstance(self.axis, (tuple, list)) else numbers[0])
        checks.one_of(self.reduce, "reduce", REDUCTIONS)

    def steps(self, shape: tuple[int, ...], name: str = "scores") -> units.Steps:
        """The lengths of a slice along the axes of an array of that shape; ValueError where there is no such axis."""
        own = _own_axes(self.axis if isinstance(self.axis, tuple) else (self.axis,), shape, name)
        return tuple(1 if number in own else length for number, length in enumerate(shape))


Pattern = NM | Block | Axis


def pattern(text: str | Pattern) -> Pattern:
    """Return the pattern that a text such as "2:4" (keep 2 of every 4) means; a pattern is returned as it is.

    Raises
    ------
    ValueError
        The text is not "keep:group" with keep at most group.

    Examples
    --------
    >>> from neuroprune.pruning import masks
    >>> masks.pattern("1:4").sparsity
    0.75
    """
    if isinstance(text, Pattern):
        return text
    found = re.fullmatch(r"(\d+):(\d+)", text.strip(), re.ASCII) if isinstance(text, str) else None
    if found is None:
        wanted = '"keep:group" such as "2:4", or an NM, a Block or an Axis'
        raise (ValueError if isinstance(text, str) else TypeError)(f"pattern must be {wanted}, got {text!r}")
    return NM(int(found[1]), int(found[2]))


_parsed = pattern  # where an argument has the name


def n_of_m(scores: Any, keep: int, group: int, axis: int = -1, protect: Any = None) -> Any:
    """Keep the `keep` highest scores of every `group` neighbours along an axis.

    Parameters
    ----------
    scores : array of at least one axis
        Larger means keep.
    keep, group : int
        How many stay of how many neighbours: 2 and 4 for what NVIDIA's sparse tensor cores take (Mishra et al. 2021,
        https://arxiv.org/abs/2104.08378). Of equal scores the later one stays.
    axis : int, optional
        Along which the neighbours lie. A group never crosses from one row to the next.
    protect : boolean array, optional
        Of the scores' shape; True is never removed.

    Returns
    -------
    boolean array
        In the library, on the device and of the shape of `scores`; True in exactly `keep` places of each group.

    Raises
    ------
    ValueError
        The length of the axis is not a multiple of `group`; `keep` is not in [0, group]; a group has more protected
        elements than stay; a score is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.n_of_m(np.array([[4.0, 3.0, 2.0, 1.0], [5.0, 5.0, 5.0, 5.0]]), 2, 4)
    array([[ True,  True, False, False],
           [False, False,  True,  True]])
    """
    checks.scores(scores, "scores")
    checks.flags(protect, scores, "protect")
    chosen = NM(keep, group, axis)
    chosen.steps(arrays.shape(scores))
    arrays.require_finite(scores, "scores")
    return select_n_of_m(scores, chosen, protect)


def block(scores: Any, sparsity: float, shape: tuple[int, ...], reduce: str = "sum", protect: Any = None) -> Any:
    """Remove the share `sparsity` of the blocks, those with the lowest scores.

    Parameters
    ----------
    scores : array
        With at least as many axes as a block has.
    sparsity : float
        Share of the blocks to remove, in [0, 1].
    shape : tuple of int
        The lengths of a block over the last axes; they divide those of the scores.
    reduce : {"sum", "mean", "max"}, optional
        How the scores of its elements make the score of a block.
    protect : boolean array, optional
        Of the scores' shape; a block with an element that is True is never removed.

    Returns
    -------
    boolean array
        In the library, on the device and of the shape of `scores`.

    Raises
    ------
    ValueError
        A length is not a multiple of the block's; `sparsity` is outside [0, 1]; a score is NaN or infinite; fewer
        blocks are unprotected than have to go.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.block(np.array([[1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, 9.0]]), 0.5, (2, 2))
    array([[False, False,  True,  True],
           [False, False,  True,  True]])
    """
    return _select_units(scores, sparsity, Block(shape, reduce), protect)


def axis(
    scores: Any, sparsity: float, axis: int | tuple[int, ...], reduce: str = "sum", protect: Any = None
) -> Any:
    """Remove the share `sparsity` of the rows, columns, filters, channels or kernels, those with the lowest scores.

    Parameters
    ----------
    scores : array
        For L2 norms of the slices pass `npr.score("magnitude_l2", weight)`: the sum of squares has their order.
    sparsity : float
        Share of the slices to remove, in [0, 1].
    axis : int or tuple of int
        What stays or goes together are all elements that share their place on these axes: 0 for rows or filters, 1
        for columns or channels, (0, 1) for kernels.
    reduce : {"sum", "mean", "max"}, optional
        How the scores of its elements make the score of a slice.
    protect : boolean array, optional
        Of the scores' shape; a slice with an element that is True is never removed.

    Returns
    -------
    boolean array
        In the library, on the device and of the shape of `scores`.

    Raises
    ------
    ValueError
        There is no such axis; `sparsity` is outside [0, 1]; a score is NaN or infinite; fewer slices are unprotected
        than have to go.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.axis(np.array([[1.0, 5.0, 1.0], [1.0, 6.0, 2.0]]), 1 / 3, 1)
    array([[False,  True,  True],
           [False,  True,  True]])
    """
    return _select_units(scores, sparsity, Axis(axis, reduce), protect)


def validate(mask: Any, pattern: Any) -> None:
    """Raise ValueError unless a mask keeps to a pattern.

    An `NM` needs exactly `keep` elements that stay in each group; a `Block` or an `Axis` needs units that stay or go
    as a whole.

    Parameters
    ----------
    mask : boolean array
    pattern : str, NM, Block or Axis

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import masks
    >>> masks.validate(np.array([True, False, True, True]), "2:4")
    Traceback (most recent call last):
    ...
    ValueError: mask must keep 2 of every 4 elements along axis -1, got 3 in group 0: make it with n_of_m
    """
    chosen = _parsed(pattern)
    steps = chosen.steps(arrays.shape(checks.mask(mask)), "mask")
    if arrays.size(mask) == 0:
        return
    rows = units.rows(mask, steps)
    counts = arrays.running_count(rows)[:, -1]
    width = rows.shape[1]
    wrong = counts != chosen.keep if isinstance(chosen, NM) else (counts != 0) & (counts != width)
    if arrays.count_true(wrong) == 0:
        return
    number = arrays.count_true(arrays.running_count(wrong) == 0)
    if isinstance(chosen, NM):
        raise ValueError(
            f"mask must keep {chosen.keep} of every {chosen.group} elements along axis {chosen.axis}, "
            f"got {int(counts[number])} in group {number}: make it with n_of_m"
        )
    raise ValueError(
        f"mask must keep or remove whole units of {chosen}, got {int(counts[number])} of {width} elements "
        f"in unit {number}: make it with {'block' if isinstance(chosen, Block) else 'axis'}"
    )


def select_n_of_m(scores: Any, chosen: NM, protect: Any = None, mask: Any = None) -> Any:
    """Return the mask of finite scores; what `mask` has off counts among what goes."""
    shape = arrays.shape(scores)
    steps = chosen.steps(shape)
    if arrays.size(scores) == 0:
        return arrays.like(np.ones(shape, bool), scores)
    views = [None if array is None else arrays.host(array) for array in (scores, protect, mask)]
    on_host = views[0] is not None
    rows, held, there = (
        None if array is None else units.rows(array, steps) for array in (views if on_host else (scores, protect, mask))
    )
    if protect is not None or mask is not None:
        kept = _among_free(rows, held, there, chosen)
    elif not on_host or arrays.size(scores) < SMALL or chosen.group > kernels.patterns.PAIRWISE:
        kept = groups.select_rows(rows, chosen.group - chosen.keep)
    else:
        kept = np.empty(rows.shape, bool)
        flat, out = np.ascontiguousarray(rows).ravel(), kept.ravel().view(np.uint8)
        if (chosen.keep, chosen.group) == (2, 4):
            kernels.patterns.keep_two_of_four(flat, out)
        else:
            kernels.patterns.keep_n_of_m(flat, chosen.keep, chosen.group, out)
    kept = units.whole(kept, steps, shape)
    return arrays.like(np.ascontiguousarray(kept), scores) if on_host else kept


def _among_free(rows: Any, held: Any, there: Any, chosen: NM) -> Any:
    """Return the mask over (groups, group) where some elements are protected or off already."""
    xp = arrays.library(rows)
    there = rows == rows if there is None else there
    held = rows != rows if held is None else held & there
    flat, stays, fixed = (xp.reshape(array, (-1,)) for array in (rows, there, held))
    n_there, n_held = arrays.running_count(there)[:, -1], arrays.running_count(held)[:, -1]
    wrong = n_held > chosen.keep
    if arrays.count_true(wrong):
        number = arrays.count_true(arrays.running_count(wrong) == 0)
        raise ValueError(
            f"protect must leave at most {chosen.keep} of every {chosen.group} elements along axis {chosen.axis}, "
            f"got {int(n_held[number])} in group {number}: protect less or keep more"
        )
    drops = (n_there - chosen.keep) * arrays.cast(n_there > chosen.keep, n_there)
    first = (arrays.running_count(flat == flat) - 1) % chosen.group == 0
    return xp.reshape(groups.drop_in_runs(flat, first, drops, stays & ~fixed, stays), arrays.shape(rows))


def _select_units(scores: Any, sparsity: float, chosen: Block | Axis, protect: Any) -> Any:
    """Return the mask of a `Block` or an `Axis`."""
    checks.scores(scores, "scores")
    checks.flags(protect, scores, "protect")
    shape = arrays.shape(scores)
    steps = chosen.steps(shape)
    rated = units.scores(scores, steps, chosen.reduce, "scores")
    fixed = None if protect is None else units.flags(protect, steps)
    size = arrays.size(rated)
    drop = checks.count(sparsity, size)
    checks.room(size, checks.held(fixed, None), drop, f"sparsity={sparsity} of the units of {chosen}")
    return units.expand(selection.select([rated], drop, [fixed])[0], steps, shape)


def _own_axes(numbers: tuple[int, ...], shape: tuple[int, ...], name: str) -> set[int]:
    """Return the axes counted from the front, known to be axes of an array of that shape, each named once."""
    rank = len(shape)
    for number in numbers:
        if not -rank <= number < rank:
            raise ValueError(f"axis must be one of the {rank} of {name}, got {number}: its shape is {shape}")
    own = {number % rank for number in numbers}
    if len(own) < len(numbers):
        raise ValueError(f"axis must name each axis of {name} once, got {numbers}: its shape is {shape}")
    return own


def _axis_number(number: Any) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"axis must be an integer or a tuple of them, got {number!r}") from None
