"""Units: elements of an array that stay or go together, such as blocks, rows, filters or groups of neighbours.

A unit is a box, and the boxes tile the array: `steps` are its lengths along the axes, one each, which divide those of
the array. Units are numbered row-major, by their places in the grid that they make.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from neuroprune import arrays

Steps = tuple[int, ...]

_AT_ONCE = 1 << 16  # elements of units that are brought together and added up at a time


def fit(steps: Steps, shape: tuple[int, ...], name: str, title: str) -> Steps:
    """Return the steps, known to divide the shape of the array called `name`; `title` is what they are steps of."""
    for number, (length, step) in enumerate(zip(shape, steps, strict=True)):
        if step and length % step:
            raise ValueError(
                f"{name} must have a multiple of {step} along axis {number} for {title}, got {length}: "
                "choose other lengths, or leave the array out"
            )
    return steps


def apart(array: Any, steps: Steps) -> Any:
    """Return the array with twice as many axes: first which unit along each axis, then where in the unit."""
    split = tuple(n for count, step in zip(grid(arrays.shape(array), steps), steps, strict=True) for n in (count, step))
    xp = arrays.library(array)
    rank = len(steps)
    return xp.moveaxis(xp.reshape(array, split), tuple(range(0, 2 * rank, 2)), tuple(range(rank)))


def rows(array: Any, steps: Steps) -> Any:
    """Return the array as (units, elements of each); a copy where these do not lie together."""
    size = math.prod(steps)
    return arrays.library(array).reshape(apart(array, steps), (arrays.size(array) // size if size else 0, size))


def whole(units: Any, steps: Steps, shape: tuple[int, ...]) -> Any:
    """Return the array of that shape from its (units, elements of each): the inverse of `rows`."""
    xp = arrays.library(units)
    parts = xp.reshape(units, (*grid(shape, steps), *steps))
    rank = len(shape)
    return xp.reshape(xp.moveaxis(parts, tuple(range(rank)), tuple(range(0, 2 * rank, 2))), shape)


def expand(kept: Any, steps: Steps, shape: tuple[int, ...]) -> Any:
    """Return the mask of that shape from the flat one of its units; all True where there are no elements."""
    if math.prod(shape) == 0:
        return arrays.like(np.ones(shape, bool), kept)
    xp = arrays.library(kept)
    counts = grid(shape, steps)
    thin = xp.reshape(kept, tuple(n for count in counts for n in (count, 1)))
    wide = tuple(n for count, step in zip(counts, steps, strict=True) for n in (count, step))
    return xp.reshape(xp.broadcast_to(thin, wide), shape)


def grid(shape: tuple[int, ...], steps: Steps) -> tuple[int, ...]:
    """Return how many units there are along every axis."""
    return tuple(length // step if step else 0 for length, step in zip(shape, steps, strict=True))


def scores(array: Any, steps: Steps, reduce: str, name: str) -> Any:
    """Return the flat "sum", "mean" or "max" over each unit, the first two in float64; refuses what is not finite.

    The order of the additions is fixed by the width of a unit alone, so that every library gets the same bits.
    """
    arrays.require_finite(array, name)
    if arrays.size(array) == 0:
        return arrays.like(np.zeros(0), array)
    view = arrays.host(array)
    if view is None:
        rated = _reduced(rows(array, steps), reduce)
    else:
        with np.errstate(over="ignore"):  # refused below
            rated = arrays.like(_reduced_in_pieces(view, steps, reduce), array)
    arrays.require_finite(rated, f"the {reduce} over the units of {name}")
    return rated


def flags(array: Any, steps: Steps) -> Any:
    """Return one flag per unit, flat: whether any of its elements is True."""
    if arrays.size(array) == 0:
        return arrays.like(np.zeros(0, bool), array)
    return _folded(rows(array, steps), operator.or_)


def _reduced_in_pieces(view: np.ndarray, steps: Steps, reduce: str) -> np.ndarray:
    """Return the flat unit scores of a host array, bringing a piece of it together at a time."""
    parts = apart(view, steps)
    counts = parts.shape[: view.ndim]
    rated = np.empty(counts, view.dtype if reduce == "max" else np.float64)
    along = int(np.argmax(counts))
    step = max(1, _AT_ONCE * counts[along] // view.size)
    for start in range(0, counts[along], step):
        piece = (slice(None),) * along + (slice(start, start + step),)
        part = parts[piece]
        inner = part.shape[: view.ndim]
        rated[piece] = _reduced(part.reshape(math.prod(inner), -1), reduce).reshape(inner)
    return rated.ravel()


def _reduced(units: Any, reduce: str) -> Any:
    """Return the sum, mean or maximum of each row of (units, elements)."""
    if reduce == "max":
        return _folded(units, arrays.library(units).maximum)
    total = _folded(arrays.double(units), operator.add)
    return total if reduce == "sum" else total / units.shape[1]


def _folded(units: Any, operation: Callable[[Any, Any], Any]) -> Any:
    """Join the columns by halves: log2(width) operations on whole arrays."""
    rest = None
    while (width := units.shape[1]) > 1:
        half = width // 2
        if width % 2:
            rest = units[:, -1] if rest is None else operation(rest, units[:, -1])
        units = operation(units[:, :half], units[:, half : 2 * half])
    return units[:, 0] if rest is None else operation(units[:, 0], rest)
