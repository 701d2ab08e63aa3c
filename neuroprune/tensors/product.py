"""Products with sparse weights, by whatever is fastest here: our loops, scipy or the dense matrix.

What is fastest depends on the machine, the density and the batch, so it is measured: at the first product of its
kind all contenders run on the given numbers, and the winner is remembered for as long as the process lives. Kinds are
told apart by format, shape, dtype, layout of x, density (to a factor of the square root of 2) and batch (of 2).
All contenders compute the same sums in different orders: results agree up to rounding, and to the bit under `by=`.
"""

from math import inf, log2
from threading import local
from time import perf_counter
from typing import Any

import numpy as np

from neuroprune import arrays, kernels
from neuroprune.tensors.formats import Packed, SparseWeight

CONTENDERS = ("rows", "lanes", "scipy", "dense")
_TILE = 1 << 22  # bytes of the inputs of one tile of 64 samples; beyond that, 16 at a time were faster
_MOST_ROWS = 16  # samples from which on "rows", one after the other, has no chance
_LEAST_DENSE = 0.05  # density below which the dense matrix has no chance: it would have to be read 20 times as fast
_TURNS = 5, 100  # of each contender: at least, at most
_LONGEST = 0.05  # seconds after which the least number of turns is enough
_FAIR = 3  # turns that each gets, so that one bad moment decides nothing; later
_BEHIND = 3.0  # times as long as the best gets no more

_winners: dict[tuple, str] = {}
_scratch = local()


def product(weight: SparseWeight, x: Any, by: str | None = None) -> Any:
    """y = W x for one sample or for each row of x, as in a dense layer: `x @ W.T`.

    Parameters
    ----------
    weight : SparseWeight
        Of a weight that is (out, in) as a matrix.
    x : array (in,) or (batch, in)
        Floating, of numpy, torch or the array API standard, in host memory; finite, as a number that is not reaches
        outputs through zeros of the dense matrix but not where nothing is stored.
    by : str, optional
        "rows", "lanes" (our loops), "scipy" or "dense". None measures once for each kind of product and takes the
        fastest; with a fixed `by` of "rows" or "lanes" the sums run in one order on every machine.

    Returns
    -------
    array (out,) or (batch, out)
        Of the library of x, in the wider of both dtypes (float32 or float64). No gradient flows through it.

    Raises
    ------
    TypeError
        x is not a floating array.
    ValueError
        Another width or rank, memory of an accelerator, an unknown `by`.

    Notes
    -----
    The first use takes some turns of each contender, up to 0.05 s where a product is short. It keeps, on `weight`, what
    the winner needs besides the stored format: rows of csr, or the dense matrix.
    "rows" runs eight sums per output; "lanes" works on up to 64 samples at a time in vector registers. All of it runs
    on one thread, except "dense", which has the threads that numpy has.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.formats import to_sparse
    >>> from neuroprune.tensors.product import product
    >>> weight = to_sparse(np.array([[0.0, 2.0], [0.0, 0.0], [3.0, 4.0]]))
    >>> product(weight, np.array([[1.0, 10.0], [1.0, 0.0]]), by="lanes")
    array([[20.,  0., 43.],
           [ 0.,  0.,  3.]])
    """
    rows = _rows(weight, x)
    if by is not None and by not in CONTENDERS:
        raise ValueError(f"by must be one of {', '.join(CONTENDERS)} or None, got {by!r}: use one of these")
    if len(rows) == 0:
        return arrays.like(np.zeros((0, weight.shape[0]), rows.dtype), x)
    out = _run(_winner(weight, rows) if by is None else by, weight, rows)
    return arrays.like(out[0] if len(arrays.shape(x)) == 1 else out, x)


def fastest(weight: SparseWeight, x: Any) -> str:
    """Return the contender that `product` takes for x; measures when no product of this kind was seen before."""
    return _winner(weight, _samples(weight, x))


def timings(weight: SparseWeight, x: Any) -> dict[str, float]:
    """Seconds of one product by each contender that has a chance: the shortest of a few turns, on this machine, now.

    They take turns, so that a busy moment of the machine meets all of them; those far behind drop out on the way.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.formats import to_sparse
    >>> from neuroprune.tensors.product import timings
    >>> sorted(timings(to_sparse(np.eye(50)), np.ones((32, 50))))
    ['lanes', 'scipy']
    """
    rows = _samples(weight, x)
    names = [name for name in CONTENDERS
             if (name != "rows" or len(rows) <= _MOST_ROWS)
             and (name != "dense" or weight.kept >= _LEAST_DENSE * weight.size)]
    for name in names:
        _run(name, weight, rows)  # compiles, lays out
    taken = dict.fromkeys(names, inf)
    begun, turns = perf_counter(), 0
    while turns < _TURNS[0] or (turns < _TURNS[1] and perf_counter() - begun < _LONGEST):
        close = [name for name in names if turns < _FAIR or taken[name] <= _BEHIND * min(taken.values())]
        for name in close:
            taken[name] = min(taken[name], _seconds(name, weight, rows))
        turns += 1
    return taken


def _winner(weight: SparseWeight, rows: np.ndarray) -> str:
    """The contender for these samples, looked up at the weight, then among all of its kind, then measured."""
    samples = rows.dtype, rows.flags.c_contiguous, (len(rows) - 1).bit_length()
    by = weight._layouts.get(samples)
    if by is None:
        density = max(weight.kept, 1) / weight.size
        kind = weight.format, weight.shape, weight.dtype, weight.block, round(2 * log2(density)), samples
        if kind not in _winners:
            taken = timings(weight, rows)
            _winners[kind] = min(taken, key=taken.__getitem__)
            if _winners[kind] != "dense":
                weight._layouts.pop(("dense", rows.dtype), None)
        by = weight._layouts[samples] = _winners[kind]
    return by


def _seconds(by: str, weight: SparseWeight, rows: np.ndarray) -> float:
    start = perf_counter()
    _run(by, weight, rows)
    return perf_counter() - start


def _samples(weight: SparseWeight, x: Any) -> np.ndarray:
    """The rows of x, known to be something that takes time."""
    rows = _rows(weight, x)
    if len(rows) == 0:
        raise ValueError(f"x must have at least one sample to be timed, got shape {rows.shape}")
    return rows


def _rows(weight: SparseWeight, x: Any) -> np.ndarray:
    """The samples as a contiguous matrix (batch, in) of the dtype in which to compute."""
    if not isinstance(weight, SparseWeight):
        raise TypeError(f"weight must be a SparseWeight, got {type(weight).__name__}: make it with to_sparse")
    if not arrays.is_array(x) or arrays.kind(x) != "floating":
        what = x.dtype if arrays.is_array(x) else type(x).__name__
        raise TypeError(f"x must be an array of floating numbers, got {what}: convert it first")
    arrays.require_values(x, "x")
    view = arrays.host(x)
    if view is None:
        raise ValueError(f"x must lie in host memory, got device {x.device}: move it first")
    width = weight.size // weight.shape[0]
    if view.ndim not in (1, 2) or view.shape[-1] != width:
        raise ValueError(f"x must have shape ({width},) or (batch, {width}) for a weight of shape {weight.shape}, got "
                         f"{view.shape}: reshape it")
    dtype = np.result_type(view.dtype, weight.dtype)
    view = np.atleast_2d(view).astype(dtype, copy=False)
    return view if view.flags.f_contiguous else np.ascontiguousarray(view)


def _run(by: str, weight: SparseWeight, rows: np.ndarray) -> np.ndarray:
    """The product by one contender, as a matrix (batch, out)."""
    if by == "dense":
        dense = weight._layouts.get(key := ("dense", rows.dtype))
        if dense is None:
            dense = weight.to_dense().reshape(weight.shape[0], -1).astype(rows.dtype)
            weight._layouts[key] = dense
        return rows @ dense.T
    if by == "scipy":
        return _by_scipy(weight, rows)
    order = "C" if rows.flags.c_contiguous else "F"
    out = np.empty((len(rows), weight.shape[0]), rows.dtype, order=order)
    if by == "rows":
        kernels.products.by_rows(*weight.rows(rows.dtype), rows, out)
    else:
        lanes, wide = kernels.lanes.LANES, kernels.lanes.WIDE
        lead = len(rows) > wide - lanes and wide * rows.shape[1] * rows.itemsize <= _TILE
        widest = wide if lead else lanes
        scratch = _scratch_of((rows.shape[1] + lanes) * widest, rows.dtype)
        kernels.products.by_lanes(*weight.rows(rows.dtype), rows, out, widest, scratch)
    return out


def _scratch_of(size: int, dtype: np.dtype) -> np.ndarray:
    """Room for that many numbers, kept by each thread: memory fresh from the system costs more than some products."""
    room = getattr(_scratch, dtype.name, None)
    if room is None or room.size < size:
        room = kernels.forward.lane_buffer(size, np.empty(0, dtype))
        setattr(_scratch, dtype.name, room)
    return room


def _by_scipy(weight: SparseWeight, rows: np.ndarray) -> np.ndarray:
    """By scipy, in the weight's own format where that has a fast product."""
    if weight.format in ("csr", "csc", "bsr") and not isinstance(weight.matrix, Packed):
        matrix = weight.matrix
        spare = matrix.shape[1] - rows.shape[1]
        turned = np.pad(rows.T, ((0, spare), (0, 0))) if spare else rows.T
    else:
        matrix, turned = _csr(weight, rows.dtype), rows.T
    if len(rows) == 1:
        return (matrix @ turned[:, 0])[None, : weight.shape[0]]
    return np.ascontiguousarray((matrix @ turned)[: weight.shape[0]].T)


def _csr(weight: SparseWeight, dtype: Any) -> Any:
    """The rows of a weight as scipy's csr."""
    from scipy import sparse

    start, read, values = weight.rows(dtype)
    return sparse.csr_array((values, read, start), shape=(weight.shape[0], weight.size // weight.shape[0]))
