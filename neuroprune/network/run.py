"""Running a network: one row, many rows, sequences. These are methods of Network."""

import os
import reprlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels
from neuroprune.network.views import numbers

if TYPE_CHECKING:
    from neuroprune.network.network import Network

LANES = 16  # as in kernels.lanes, which would load the compiler
TILE_VALUES = 65_536  # float64 values of one tile that stay in a second-level cache of 512 KiB
WIDE_VALUES = 1_048_576  # and those of one that is worth its width in a third-level cache
THREADED_WORK = 4_000_000  # connections times rows from which threads pay

_run_row = None  # the machine code of kernels.forward.run_row, once it is compiled


def activate(net: "Network", x: Any, dtype: Any = None) -> np.ndarray:
    """Compute the outputs for one row or for several; `net(x)` is the same.

    Parameters
    ----------
    x : array (n_inputs,) or (rows, n_inputs)
        A recurrent network takes one step; rows are independent streams with a state each.
    dtype : float32 or float64, default float64
        Type of the arithmetic and of the result.

    Returns
    -------
    array (n_outputs,) or (rows, n_outputs)

    Raises
    ------
    ValueError
        When x has another width, or another number of rows than the state has streams.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(1, 1, [(0, 1, 2.0)], activation="identity")
    >>> net.activate([3.0]).tolist(), net([[3.0], [4.0]]).tolist()
    ([6.0], [[6.0], [8.0]])
    """
    graph = net._graph
    if dtype is None and graph.delayed is None:
        try:
            x = np.array(x, np.float64)  # a fresh array, as the machine code wants it
        except (TypeError, ValueError):
            raise TypeError(f"x must be numbers, got {reprlib.repr(x)}") from None
        if x.ndim == 1 and x.size == graph.n_inputs:
            out = np.empty(graph.n_outputs)
            global _run_row
            arguments = graph.incoming, graph.source, net._parameters, net._code, activations.table(), x, out
            if _run_row is None:
                _run_row = kernels.compile.entry(kernels.forward.run_row, *arguments)
            _run_row(*arguments)
            return out
    x = numbers(x, "x")
    if x.ndim not in (1, 2) or x.shape[-1] != graph.n_inputs:
        raise ValueError(f"x must have shape ({graph.n_inputs},) or (rows, {graph.n_inputs}), got {x.shape}")
    rows = np.atleast_2d(x)
    out = _run(net, rows[:, None, :], dtype)[:, 0, :]
    return out if x.ndim == 2 else out[0]


def run(net: "Network", sequence: Any, dtype: Any = None) -> np.ndarray:
    """Continue through a sequence: (steps, n_inputs) to (steps, n_outputs), or (streams, steps, n) both.

    A recurrent network goes on from its state and leaves the new one; `net.reset()` clears it.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, 1.0)], activation="identity",
    ...                                    delayed=[False, True])
    >>> net.run([[1.0], [1.0], [1.0]]).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    sequence = numbers(sequence, "sequence")
    n_inputs = net._graph.n_inputs
    if sequence.ndim not in (2, 3) or sequence.shape[-1] != n_inputs:
        raise ValueError(f"sequence must have shape (steps, {n_inputs}) or (streams, steps, {n_inputs}), got "
                         f"{sequence.shape}")
    out = _run(net, sequence if sequence.ndim == 3 else sequence[None], dtype)
    return out if sequence.ndim == 3 else out[0]


def reset(net: "Network") -> None:
    """Forget the state of a recurrent network: its next step reads zeros."""
    net._state = None


def tile_stride(n_nodes: int, blocks: int, rows: int) -> int:
    """How many rows a tile holds: a multiple of LANES that keeps its values in the cache, no more than needed."""
    fitting = max(TILE_VALUES // (n_nodes * blocks) // LANES, min(WIDE_VALUES // (n_nodes * blocks) // LANES, 4), 1)
    return LANES * min(fitting, 8, -(-rows // LANES) or 1)


def threads() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(net: "Network", x: np.ndarray, dtype: Any) -> np.ndarray:
    """x (rows, steps, n_inputs) to (rows, steps, n_outputs); the state goes along."""
    if not net._graph.recurrent:
        return outputs(net, x, dtype)[0]
    if net._state is not None and len(net._state) != len(x):
        raise ValueError(f"the network's state has {len(net._state)} streams, got {len(x)} rows: call net.reset()")
    out, state = outputs(net, x, dtype, net._state)
    if out.size:  # without a row or a step no stream has begun
        net._state = state.astype(np.float64)
    return out


def outputs(net: "Network", x: np.ndarray, dtype: Any = None,
            state: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, state afterwards) of x (rows, steps, n_inputs) from a state (zeros when None); changes nothing."""
    try:
        dtype = np.dtype(dtype)  # float64 for None
    except TypeError:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}") from None
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    graph = net._graph
    rows, steps = x.shape[:2]
    x = np.array(x, dtype, order="C")
    out = np.empty((rows, steps, graph.n_outputs), dtype)
    state = np.zeros((rows, graph.n_nodes * graph.recurrent), dtype) if state is None else state.astype(dtype)
    weight, bias = net._weight, net._bias
    if dtype != np.float64:
        weight, bias = weight.astype(dtype), bias.astype(dtype)
    stride = tile_stride(graph.n_nodes, 1 + graph.recurrent, rows)
    fixed = (graph.incoming, graph.read, weight, bias, net._code, activations.table(), graph.n_inputs,
             graph.n_outputs, graph.recurrent, stride)

    def work(first: int, last: int) -> None:
        kernels.forward.run_rows(*fixed, x[first:last], state[first:last], out[first:last])

    tiles = -(-rows // stride)
    workers = min(threads(), tiles) if graph.n_connections * rows * steps >= THREADED_WORK else 1
    if workers <= 1:
        work(0, rows)
    else:  # rows do not meet, so their split changes no bit
        bounds = [stride * (tiles * i // workers) for i in range(workers)] + [rows]
        with ThreadPoolExecutor(workers - 1) as pool:
            others = [pool.submit(work, *pair) for pair in zip(bounds[1:-1], bounds[2:], strict=True)]
            work(*bounds[:2])
            for other in others:
                other.result()
    return out, state
