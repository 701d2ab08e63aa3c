"""How kernels are compiled: lazily, cached on disk, without `fastmath` and without numba's own threads."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba


def _sources_digest() -> str:
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


_DIGEST = _sources_digest()


def jit(function: Callable) -> Callable:
    """Compile on first call for each combination of argument types, and keep the result on disk.

    numba throws a cached kernel away when its own file changes, but not when a kernel that it calls
    changes in another file. The digest of all kernel files is therefore made part of the stamp.
    """
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    cache = getattr(compiled, "_cache", None)
    if cache is not None:  # plain Python when NUMBA_DISABLE_JIT is set
        file = cache._cache_file
        file._source_stamp = (file._source_stamp, _DIGEST)
    return compiled


def entry(kernel: Callable, *arguments: Any) -> Callable:
    """The machine code of a kernel for arguments of these types, without numba's search for the right version.

    The search costs 0.3 us or more a call. What is returned trusts its arguments: dtype, rank and contiguity must be
    those of the given ones, else it reads wrong memory. Constness does not matter.
    """
    if not hasattr(kernel, "overloads"):  # plain Python when NUMBA_DISABLE_JIT is set
        return kernel
    types = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    kernel.compile(types)
    return kernel.overloads[types].entry_point
