"""What arguments must be, said in one sentence; and the one rounding of counts.

Everything that turns a sparsity into a number of elements calls `count`. The other functions return their argument
once it is known to be what a mask can be made from, or raise before anything is computed.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Real
from operator import index
from typing import Any

import numpy as np

from neuroprune import arrays

OF = ("all", "remaining")  # what a sparsity is a share of


def share(sparsity: float, name: str = "sparsity") -> float:
    """Return a sparsity as a float, known to be in [0, 1]; `name` is what the message calls it.

    Examples
    --------
    >>> from neuroprune.pruning import checks
    >>> checks.share(1.5)
    Traceback (most recent call last):
    ...
    ValueError: sparsity must be in [0, 1], got 1.5: it is the share of elements that go
    """
    if not isinstance(sparsity, Real):
        raise TypeError(f"{name} must be a number in [0, 1], got {type(sparsity).__name__}: pass a float")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {sparsity}: it is the share of elements that go")
    return float(sparsity)


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
    return round(share(sparsity) * size)


def count_each(sparsity: float, sizes: Any) -> Any:
    """Return `count` of every number in an integer array, of any library.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import checks
    >>> checks.count_each(0.5, np.array([5, 7]))
    array([2, 4])
    """
    exact = arrays.double(sizes)
    return arrays.cast(arrays.library(sizes).round(exact * share(sparsity)), sizes)


def going(sparsity: float, size: int, off: int, of: str, request: str | None = None) -> int:
    """Return how many more elements go when `off` of `size` are off already.

    Parameters
    ----------
    sparsity : float
        In [0, 1].
    size, off : int
        Number of elements, and how many of them are off.
    of : {"all", "remaining"}
        Whether the sparsity is the share of all elements that are off afterwards, or the share of those still there
        that goes now.
    request : str, optional
        What the message calls that; `sparsity=` and the number by default.

    Raises
    ------
    ValueError
        More are off already than the sparsity asks for.

    Examples
    --------
    >>> from neuroprune.pruning import checks
    >>> checks.going(0.5, 10, 3, "all"), checks.going(0.5, 10, 3, "remaining")
    (2, 4)
    """
    if one_of(of, "of", OF) == "remaining":
        return count(sparsity, size - off)
    wanted = count(sparsity, size)
    if wanted < off:
        request = request or f"sparsity={sparsity}"
        raise ValueError(
            f"{request} means that {wanted} of {size} elements are off, but {off} are already: "
            'ask for more, or pass of="remaining"'
        )
    return wanted - off


def scores(array: Any, name: str) -> Any:
    """Return the scores, known to be an array of real numbers (their values are checked where they are ranked)."""
    arrays.library(array)
    arrays.require_values(array, name)
    if arrays.kind(array) not in ("floating", "integer"):
        raise TypeError(f"{name} must be floating or integer numbers, got {array.dtype}: convert them first")
    return array


def flags(value: Any, like: Any, name: str, whose: str = "scores'") -> Any:
    """Return the flags, known to be booleans of the shape, library and device of the array `like`, or None.

    `whose` is what the message calls that array, such as "weight's".
    """
    if value is None:
        return None
    arrays.same_place(like, value, name)
    if arrays.kind(value) != "bool" or arrays.shape(value) != arrays.shape(like):
        raise ValueError(
            f"{name} must be a boolean array of the {whose} shape {arrays.shape(like)}, "
            f"got {value.dtype} of shape {arrays.shape(value)}"
        )
    return value


def labels(value: Any, like: Any, name: str) -> Any:
    """Return the names of groups, known to be integers of the shape, library and device of the array `like`."""
    arrays.same_place(like, value, name)
    if arrays.kind(value) != "integer" or arrays.shape(value) != arrays.shape(like):
        raise ValueError(
            f'{name} must be None, "row" or an integer array of the scores\' shape {arrays.shape(like)}, '
            f"got {value.dtype} of shape {arrays.shape(value)}"
        )
    return value


def mask(value: Any) -> Any:
    """Return a mask, known to be a boolean array."""
    arrays.library(value)
    arrays.require_values(value, "mask")
    if arrays.kind(value) != "bool":
        raise TypeError(f"mask must be a boolean array, got {value.dtype}: True keeps")
    return value


def writable(array: Any, name: str) -> Any:
    """Return an array, known to be one that can be written in place, each element for itself."""
    view = arrays.host(array) if arrays.kind(array) != "other" else None
    if view is None:
        return array
    repeated = any(step == 0 and length > 1 for step, length in zip(view.strides, view.shape, strict=True))
    if view.size and (repeated or (arrays.library(array) is np and not array.flags.writeable)):
        raise ValueError(f"{name} must be writable to be changed in place, got a read-only array: copy it first")
    return array


def integer(value: Any, name: str, least: int, most: int | None, meaning: str) -> int:
    """Return an integer, known to lie in [least, most]; `most` None is no bound.

    Examples
    --------
    >>> from neuroprune.pruning import checks
    >>> checks.integer(4, "keep", 0, 3, "the number of elements that stay")
    Traceback (most recent call last):
    ...
    ValueError: keep must be an integer in [0, 3], got 4: it is the number of elements that stay
    """
    bounds = f"at least {least}" if most is None else f"in [{least}, {most}]"
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer {bounds}, got {value!r}: it is {meaning}") from None
    if number < least or (most is not None and number > most):
        raise ValueError(f"{name} must be an integer {bounds}, got {number}: it is {meaning}")
    return number


def one_of(value: Any, name: str, known: Sequence[str]) -> str:
    """Return a string, known to be one of a few."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, got {value!r}{nearest(value, known)}")
    return value


def nearest(value: Any, known: Iterable[str]) -> str:
    """Return the end of a message that proposes the known name nearest to a wrong one, or lists them all.

    Examples
    --------
    >>> from neuroprune.pruning import checks
    >>> checks.nearest("fc", ["fc1", "conv"])
    ": did you mean 'fc1'?"
    """
    names = list(known)
    near = get_close_matches(value, names, n=1) if isinstance(value, str) else []
    return f": did you mean {near[0]!r}?" if near else f": choose from {', '.join(names)}"


def same_names(values: Any, wanted: Mapping[str, Any], name: str) -> None:
    """Raise unless `values` maps exactly the names of `wanted`."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} must be a mapping of names, got {type(values).__name__}: pass a dict")
    for key in values:
        if key not in wanted:
            raise ValueError(f"{name} must name what is there, got {key!r}{nearest(key, map(str, wanted))}")
    for key in wanted:
        if key not in values:
            raise ValueError(f"{name} must have an entry for every name, got none for {key!r}")


def unit_axes(unit: Any) -> tuple[int, ...]:
    """Return the axes that tell units apart, known to be different ones."""
    if not isinstance(unit, (tuple, list)):
        raise TypeError(f"unit must be a tuple of axes, got {unit!r}: (0, 1) is for whole kernels")
    axes = tuple(integer(axis, "unit", 0, None, "one of the axes that tell units apart") for axis in unit)
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"unit must be different axes, at least one, got {tuple(unit)}: (0, 1) is for whole kernels")
    return axes


def held(protect: Any, mask: Any) -> int:
    """Return how many elements are protected and still there."""
    if protect is None:
        return 0
    return arrays.count_true(protect if mask is None else protect & mask)


def room(size: int, held: int, drop: int, request: str) -> None:
    """Raise unless `drop` of `size` elements may go when `held` are protected, reserved or off already."""
    if drop > size - held:
        raise ValueError(
            f"{request} removes {drop} of {size} elements, but only {size - held} may go: "
            "remove less or protect less"
        )
