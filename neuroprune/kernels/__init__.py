"""Every compiled loop. The only folder that names numba, which is imported at the first use.

Kernels take arrays and scalars, never objects. They release the interpreter lock, draw no random numbers
of their own, and add in the order of the source: the same input gives the same bits on any machine.
With `NUMBA_DISABLE_JIT=1` the same source runs as plain Python; that is the definition of record.
"""

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
