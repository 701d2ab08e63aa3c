"""Which array library is this? The only file that asks.

An array is a numpy array, a torch tensor, or any array that follows the Python array API standard
(https://data-apis.org/array-api) through `__array_namespace__`. No library is imported here: a torch
tensor can only exist when torch has been imported by whoever made it.

Most work happens on a *host view*, a numpy array over the same memory. Arrays on an accelerator have none;
the few operations they need, and that libraries spell differently, are here as functions.
"""

import math
import sys
from types import ModuleType
from typing import Any

import numpy as np

_DLPACK_CPU = 1
_CHUNK = 1 << 16  # elements checked at a time: small enough for the cache, large enough to hide Python


def _is_torch(array: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _is_numpy(array: Any) -> bool:
    return isinstance(array, (np.ndarray, np.generic))


def is_array(value: Any) -> bool:
    """Return whether `value` is an array of a library that we understand (a numpy scalar is one of rank 0)."""
    return _is_numpy(value) or _is_torch(value) or hasattr(value, "__array_namespace__")


def library(array: Any) -> ModuleType:
    """Return the module of the array's library: numpy, torch or the namespace of the array API standard.

    Raises
    ------
    TypeError
        `array` is not an array.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import arrays
    >>> arrays.library(np.ones(3)).__name__
    'numpy'
    """
    if _is_numpy(array):
        return np
    if _is_torch(array):
        return sys.modules["torch"]
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    raise TypeError(
        f"an array of numpy, torch or the array API standard is needed, got {type(array).__name__}: "
        "convert it first, for example with numpy.asarray"
    )


def same_place(first: Any, other: Any, name: str) -> None:
    """Raise unless `other`, called `name` in messages, is of the library and device of `first` and has values."""
    ours, theirs = library(first), library(other)
    if ours is not theirs:
        raise TypeError(
            f"{name} must be an array of {ours.__name__} like the others, got one of {theirs.__name__}: "
            "convert it first"
        )
    if not _is_numpy(first) and first.device != other.device:
        raise ValueError(f"{name} must be on device {first.device} like the others, got {other.device}: move it first")
    require_values(other, name)


def require_values(array: Any, name: str) -> None:
    """Raise where a torch tensor has no value for each of its elements: of a sparse layout, or on the device meta."""
    if not _is_torch(array):
        return
    if array.layout is not sys.modules["torch"].strided:
        raise TypeError(f"{name} must be a dense tensor, got layout {array.layout}: call to_dense() first")
    if array.device.type == "meta":
        raise ValueError(f"{name} must have values, got a tensor on device meta, which has none: load it first")


def shape(array: Any) -> tuple[int, ...]:
    """Return the shape as a tuple of Python integers."""
    return tuple(int(length) for length in array.shape)


def size(array: Any) -> int:
    """Return the number of elements."""
    return math.prod(shape(array))


def kind(array: Any) -> str:
    """Return "floating", "integer", "bool" or "other" (complex numbers, strings, objects)."""
    if _is_torch(array):
        if array.is_floating_point():
            return "floating"
        if array.is_complex():
            return "other"
        return "bool" if array.dtype is sys.modules["torch"].bool else "integer"
    if _is_numpy(array):
        return {"f": "floating", "i": "integer", "u": "integer", "b": "bool"}.get(array.dtype.kind, "other")
    isdtype = library(array).isdtype
    for name, standard in (("floating", "real floating"), ("integer", "integral"), ("bool", "bool")):
        if isdtype(array.dtype, standard):
            return name
    return "other"


def host(array: Any) -> np.ndarray | None:
    """Return the array as numpy, without a copy where it lies in host memory; None where it does not.

    Half precision (float16, bfloat16), which neither numpy nor the kernels rank natively, comes back as
    float32; nothing is lost. A numpy array in a foreign byte order comes back in the native one.

    Raises
    ------
    TypeError
        The elements are not real numbers or booleans of at most 64 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import arrays
    >>> weight = np.ones((2, 3))
    >>> arrays.host(weight) is weight
    True
    """
    if kind(array) == "other":
        raise TypeError(f"an array of real numbers is needed, got {array.dtype}: convert it first")
    if _is_torch(array):
        if array.device.type != "cpu":
            return None
        array = array.detach()
        torch = sys.modules["torch"]
        if array.is_floating_point() and array.dtype not in (torch.float32, torch.float64):
            array = array.float()
        return array.numpy()
    if not _is_numpy(array):
        if array.__dlpack_device__()[0] != _DLPACK_CPU:
            return None
        try:
            array = np.asarray(array)
        except RuntimeError:  # array-api-strict's pretended devices say that they are the host, and refuse
            return None
    view = np.asarray(array)
    if view.dtype == np.float16:
        return view.astype(np.float32)
    if view.dtype.itemsize > 8:
        raise TypeError(f"an array of real numbers of at most 64 bits is needed, got {view.dtype}: convert it first")
    return view.astype(view.dtype.newbyteorder("="), copy=False)


def like(values: np.ndarray, array: Any) -> Any:
    """Return the numpy array `values` in the library and on the device of `array`; its dtype stays."""
    if _is_numpy(array):
        return values
    if _is_torch(array):
        return sys.modules["torch"].from_numpy(values).to(array.device)
    return library(array).asarray(values, device=array.device)


def cast(array: Any, reference: Any) -> Any:
    """Return `array`, of the library of `reference`, in the dtype of `reference`."""
    if _is_torch(array):
        return array.to(reference.dtype)
    if _is_numpy(array):
        return np.asarray(array, dtype=reference.dtype)
    return library(array).astype(array, reference.dtype, copy=False)


def double(array: Any) -> Any:
    """Return the array as float64."""
    if _is_torch(array):
        return array.to(sys.modules["torch"].float64)
    if _is_numpy(array):
        return np.asarray(array, dtype=np.float64)
    return library(array).astype(array, library(array).float64, copy=False)


def at_least_single(array: Any) -> Any:
    """Return an array in half precision as float32; others as they are."""
    if _is_torch(array) and array.is_floating_point() and array.element_size() < 4:
        return array.float()
    return array.astype(np.float32) if _is_numpy(array) and array.dtype == np.float16 else array


def detach(array: Any) -> Any:
    """Return the array without the history that automatic differentiation keeps (torch); others as they are."""
    return array.detach() if _is_torch(array) else array


def nth_lowest(array: Any, rank: int) -> Any:
    """Return the element of 1-based `rank` in ascending order along the last axis, which is kept with length 1."""
    if _is_numpy(array):
        return np.partition(array, rank - 1, axis=-1)[..., rank - 1 : rank]
    if _is_torch(array):
        return sys.modules["torch"].sort(array, dim=-1).values[..., rank - 1 : rank]
    return library(array).sort(array, axis=-1)[..., rank - 1 : rank]


def running_count(flags: Any) -> Any:
    """Return how many of the boolean `flags` are True up to and including each place, along the last axis."""
    if _is_torch(flags):
        return sys.modules["torch"].cumsum(flags, dim=-1)
    if _is_numpy(flags):
        return np.cumsum(flags, axis=-1)
    xp = library(flags)
    return xp.cumulative_sum(xp.astype(flags, xp.int64), axis=-1)


def take(array: Any, index: Any) -> Any:
    """Return the elements of a one-dimensional array at the places of an integer array of the same library."""
    return array[index] if _is_torch(array) or _is_numpy(array) else library(array).take(array, index, axis=0)


def count_true(flags: Any) -> int:
    """Return how many of the boolean `flags` are True."""
    xp = library(flags)
    if _is_numpy(flags) or _is_torch(flags):
        return int(xp.count_nonzero(flags))
    return int(xp.sum(xp.astype(flags, xp.int64)))


def first_nonfinite(array: Any) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity in storage order, or None when all elements are finite."""
    if kind(array) != "floating" or size(array) == 0:
        return None
    view = host(array)
    if view is None:
        return first_true(~library(array).isfinite(array))
    flat = view.ravel()
    for start in range(0, flat.size, _CHUNK):
        finite = np.isfinite(flat[start : start + _CHUNK])
        if not finite.all():
            return _index(start + int(finite.argmin()), shape(array))
    return None


def first_true(flags: Any) -> tuple[int, ...] | None:
    """Return the index of the first True in storage order, or None where there is none."""
    if count_true(flags) == 0:
        return None
    flat = library(flags).reshape(flags, (-1,))
    place = count_true(running_count(flat) == 0)
    return _index(place, shape(flags))


def whole(flags: Any, array: Any) -> Any:
    """Return the flags as an array of the shape of `array`: numpy makes scalars of what has no axes."""
    return np.asarray(flags).reshape(shape(array)) if _is_numpy(flags) else flags


def _index(place: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(place, shape))


def require_finite(array: Any, name: str) -> None:
    """Raise ValueError, naming `name` and the first bad index, unless every element is finite.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import arrays
    >>> arrays.require_finite(np.array([[0.0, np.nan]]), "scores")
    Traceback (most recent call last):
    ...
    ValueError: scores must be finite, got nan at index (0, 1): remove or replace such values first
    """
    index = first_nonfinite(array)
    if index is None:
        return
    place = {0: "", 1: f" at index {index[0]}" if index else ""}.get(len(index), f" at index {index}")
    raise ValueError(f"{name} must be finite, got {float(array[index])}{place}: remove or replace such values first")
