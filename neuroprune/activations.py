"""The activation functions: one table of name, code, f and df.

A network stores codes, files store names. The loops behind the codes are `kernels.functions`; a function of the
user's gets a code of its own and is called by its machine address, which kernels receive as an argument (`table`).
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import CO_VARARGS, CO_VARKEYWORDS, signature
from threading import Lock
from types import CodeType, FunctionType, MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from neuroprune import kernels

FIRST_USER = 64
_LAST_USER = 255  # codes are stored as uint8

_BUILT_IN = (
    "identity", "tanh", "sigmoid", "relu", "step", "softsign", "sin", "gaussian", "bent_identity", "bipolar",
    "bipolar_sigmoid", "hard_tanh", "abs", "inverse", "selu", "softplus", "swish", "gelu", "mish",
    "leaky_relu", "elu", "cos", "square", "clamp",
)  # fmt: skip


@dataclass(frozen=True)
class Activation:
    """One row of the table of activation functions.

    Attributes
    ----------
    name : str
        What files and users call it.
    code : int
        What networks and kernels call it: 0 to 63 for the built-in ones, the same in every version of the
        library; from 64 on for those of the user, in the order of registration in this process.
    f, df : callable
        The function and its derivative. Both take a number or an array of any shape and return float64 of the
        same shape (float32 for float32).

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.activations import ACTIVATIONS
    >>> relu = ACTIVATIONS["relu"]
    >>> relu.f(np.array([-1.0, 0.5])), relu.df(np.array([-1.0, 0.5]))
    (array([0. , 0.5]), array([0., 1.]))
    """

    name: str
    code: int
    f: Callable
    df: Callable


def _flat(x: ArrayLike) -> tuple[np.ndarray, tuple[int, ...]]:
    """A fresh one-dimensional float copy of x, and the shape to give back."""
    x = np.asarray(x)
    return x.astype(np.float32 if x.dtype == np.float32 else np.float64).reshape(-1), x.shape


def _value(code: int, x: ArrayLike) -> np.ndarray:
    flat, shape = _flat(x)
    kernels.functions.apply(np.uint8(code), flat, 0, flat, 0, flat.size, table())
    return flat.reshape(shape)[()]


def _slope(code: int, x: ArrayLike) -> np.ndarray:
    flat, shape = _flat(x)
    value = np.empty_like(flat)
    slope = np.ones_like(flat)
    kernels.functions.apply(np.uint8(code), flat, 0, value, 0, flat.size, table())
    kernels.functions.apply_slope(np.uint8(code), flat, 0, value, 0, slope, 0, flat.size, table())
    return slope.reshape(shape)[()]


def _row(name: str, code: int) -> Activation:
    return Activation(name, code, partial(_value, code), partial(_slope, code))


_rows = {name: _row(name, code) for code, name in enumerate(_BUILT_IN)}
_names = dict(enumerate(_BUILT_IN))
_addresses = np.empty((0, 2), np.int64)
_registered: dict[str, tuple] = {}
_lock = Lock()

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(_rows)
"""Every activation function by name, the registered ones included."""


def code(name: str) -> int:
    """Code of the activation function called `name`.

    Parameters
    ----------
    name : str
        A built-in name or one given to `register_activation`.

    Returns
    -------
    int
        From 0 to 255.

    Raises
    ------
    TypeError
        When `name` is not a string.
    ValueError
        When nothing has that name.

    Examples
    --------
    >>> from neuroprune import activations
    >>> activations.code("tanh")
    1
    >>> activations.code("tahn")
    Traceback (most recent call last):
        ...
    ValueError: activation must be a known name, got 'tahn': did you mean 'tanh', or register_activation('tahn', f, df)?
    """
    if not isinstance(name, str):
        raise TypeError(f"activation must be a name such as 'tanh', got {name!r}: take one of activations.ACTIVATIONS")
    row = _rows.get(name)
    if row is None:
        own = f"register_activation({name!r}, f, df)"
        near = difflib.get_close_matches(name, _rows, 1)
        hint = f"did you mean {near[0]!r}, or {own}?" if near else f"make it known by {own}"
        raise ValueError(f"activation must be a known name, got {name!r}: {hint}")
    return row.code


def name(code: int) -> str:
    """Name of the activation function with this code; the inverse of `code`.

    Raises
    ------
    ValueError
        When no function has that code.

    Examples
    --------
    >>> from neuroprune import activations
    >>> activations.name(1)
    'tanh'
    """
    if code not in _names:
        raise ValueError(
            f"activation code must be below {len(_BUILT_IN)} or belong to a registered function, got {code}: "
            "call register_activation first"
        )
    return _names[code]


def table() -> np.ndarray:
    """Machine addresses of the registered functions, as kernels take them: do not write to it.

    Returns
    -------
    (k, 2) int64 array
        Row i belongs to code 64 + i and holds the addresses of f and df, which are valid in this process only.

    Examples
    --------
    >>> from neuroprune import activations
    >>> activations.table().shape[1]
    2
    """
    return _addresses


def _python_function(name: str, part: str, function: Callable) -> FunctionType:
    """The plain function behind `function`, which may be one compiled by numba."""
    plain = getattr(function, "py_func", function)
    if not isinstance(plain, FunctionType):
        raise TypeError(
            f"{part} of activation {name!r} must be a Python function of one number, got {function!r}: "
            "wrap it in one, such as lambda x: np.sin(x)"
        )
    body = plain.__code__
    if body.co_argcount != 1 or body.co_kwonlyargcount or body.co_flags & (CO_VARARGS | CO_VARKEYWORDS):
        raise ValueError(
            f"{part} of activation {name!r} must take one number, got {plain.__name__}{signature(plain)}: "
            "bind the rest in a closure"
        )
    return plain


def _global_names(body: CodeType) -> set[str]:
    nested = (_global_names(constant) for constant in body.co_consts if isinstance(constant, CodeType))
    return set(body.co_names).union(*nested)


def _meaning(function: FunctionType) -> tuple:
    """What decides the values of a function: two that agree in this are the same, as when a cell is run again."""
    names = sorted(_global_names(function.__code__))
    used = [(key, function.__globals__[key]) for key in names if key in function.__globals__]
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return function.__code__, function.__defaults__, used, cells


def _same(one: object, other: object) -> bool:
    """Identity, or equality of plain values; anything else that is not the same object counts as different."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, int | float | str | CodeType) and one == other


def register_activation(name: str, f: Callable, df: Callable) -> None:
    """Make an activation function known, by name, in this process.

    Both functions are compiled at once, so that mistakes show here. Networks that use the name can be saved and
    loaded; whoever loads them registers it first. Registering the same functions again changes nothing.

    Parameters
    ----------
    name : str
        Not one of the built-in names.
    f, df : callable
        The function and its derivative: Python functions (compiled by numba or not) that take one number and
        return one, in terms that numba compiles to ``float64(float64)``, and never raise. Values they take from
        outside are frozen now.

    Raises
    ------
    TypeError
        When `name` is not a string, or `f` or `df` not a Python function.
    ValueError
        When the name is built in, taken by different functions, or empty, when a function takes more than one
        number or does not compile, or when 192 functions are registered already.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.activations import ACTIVATIONS
    >>> npr.register_activation("cube", lambda x: x**3, lambda x: 3 * x**2)
    >>> float(ACTIVATIONS["cube"].f(2.0)), float(ACTIVATIONS["cube"].df(2.0))
    (8.0, 12.0)
    """
    global _addresses
    if not isinstance(name, str):
        raise TypeError(f"name of an activation must be a string, got {name!r}: pass one such as 'cube'")
    if not name:
        raise ValueError("name of an activation must not be empty, got '': pass one such as 'cube'")
    if name in _BUILT_IN:
        raise ValueError(f"name of an activation must be new, got {name!r}, which is built in: choose another")
    parts = {part: _python_function(name, part, function) for part, function in (("f", f), ("df", df))}
    meaning = tuple(map(_meaning, parts.values()))
    with _lock:
        if name in _registered:
            if not _same(_registered[name], meaning):
                raise ValueError(
                    f"activation {name!r} must keep the functions it was registered with, got different ones: "
                    "choose another name"
                )
            return
        code = FIRST_USER + len(_registered)
        if code > _LAST_USER:
            raise ValueError(
                f"registered activations must be at most {_LAST_USER - FIRST_USER + 1}, got one more: "
                f"do without {name!r}"
            )
        addresses = []
        for part, function in parts.items():
            try:
                addresses.append(kernels.functions.compile_user_function(function))
            except ValueError as error:
                raise ValueError(
                    f"{part} of activation {name!r} must compile to float64(float64), got an error ({error}): "
                    "use only what numba supports"
                ) from error
        _addresses = np.concatenate((_addresses, np.array([addresses], np.int64)))
        _registered[name] = meaning
        _names[code] = name
        _rows[name] = _row(name, code)
