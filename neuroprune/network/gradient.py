"""Exact gradients of a network's loss, of the connections it has and of those it might have."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels
from neuroprune.network import losses, run

if TYPE_CHECKING:
    from neuroprune.network.network import Network

MAX_BUFFER = 64_000_000  # float64 values of one buffer of a tile through time, 512 MB
DELTAS_BUFFER = 4_000_000  # the same where rows can be taken in smaller portions, 32 MB


def gradient(net: "Network", x: Any, y: Any, loss: str = "mse") -> tuple[np.ndarray, np.ndarray]:
    """Exact gradient of the mean loss by reverse mode, through time for a recurrent network.

    Parameters
    ----------
    x, y, loss
        As for `net.train`. Sequences start from zeros, whatever the network's state is.

    Returns
    -------
    weight_gradient : array (E,)
    bias_gradient : array (N,)
        0 for inputs.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(1, 1, [(0, 1, 2.0)], activation="identity")
    >>> weight, bias = net.gradient([[3.0]], [[5.0]])
    >>> weight.tolist(), bias.tolist()
    ([6.0], [0.0, 2.0])
    """
    x, y = data(net, x, y, loss)
    graph = net._graph
    stride, buffers = gradient_buffers(net, *x.shape[:2])
    weight_gradient, bias_gradient = np.empty(graph.n_connections), np.empty(graph.n_nodes)
    kernels.backward.gradient_rows(*wiring(net), graph.n_inputs, graph.n_outputs, graph.recurrent, stride,
                                   losses.code(loss), x, y, np.arange(len(x)), 0, len(x), *buffers, weight_gradient,
                                   bias_gradient)
    return weight_gradient, bias_gradient


class Deltas:
    """Products of activations and deltas over all rows, for pairs that need not be connected."""

    def __init__(self, net: "Network", x: Any, y: Any, loss: str) -> None:
        self._net, self._loss = net, loss
        self._x, self._y = data(net, x, y, loss)
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def _portions(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(values, delta), each (blocks, N, lanes), for one portion of rows after the other."""
        net, graph = self._net, self._net._graph
        rows, steps = self._x.shape[:2]
        blocks = steps + graph.recurrent
        stride = max(min(-(-rows // run.LANES), DELTAS_BUFFER // (graph.n_nodes * blocks * run.LANES)), 1) * run.LANES
        share = kernels.losses.mean_share(losses.code(self._loss), rows, steps, graph.n_outputs)
        if self._kept is not None:
            yield self._kept
            return
        for start in range(0, rows, stride):
            sums, values, delta = (np.zeros(blocks * graph.n_nodes * stride) for _ in range(3))
            kernels.backward.backpropagate(
                *wiring(net), graph.n_inputs, graph.n_outputs, graph.recurrent, stride, losses.code(self._loss),
                self._x, self._y, np.arange(rows), start, min(stride, rows - start), share, sums, values, delta,
                np.zeros(graph.n_connections), np.zeros(graph.n_nodes))
            portion = values.reshape(blocks, -1, stride), delta.reshape(blocks, -1, stride)
            if stride >= rows:
                self._kept = portion
            yield portion

    def products(self, first: int, last: int, lowest: int = 0,
                 highest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Sums over rows and steps of delta(target) * value(source), for targets first..last-1.

        One column for each source lowest..highest-1, all nodes by default. Once with the source's value of the same
        step, once with that of the step before.
        """
        recurrent = self._net._graph.recurrent
        present = previous = None
        for values, delta in self._portions():
            values = values[:, lowest:highest]
            for step in range(self._x.shape[1]):
                error = delta[step + recurrent, first:last]
                present = _plus(present, error @ values[step + recurrent].T)
                if recurrent:
                    previous = _plus(previous, error @ values[step].T)
        if present is None:  # no rows
            present = np.zeros((last - first, len(range(self._net._graph.n_nodes)[lowest:highest])))
        return present, present if previous is None else previous


def _plus(total: np.ndarray | None, more: np.ndarray) -> np.ndarray:
    """The sum, in the room of the total."""
    return more if total is None else np.add(total, more, out=total)


def wiring(net: "Network") -> tuple:
    graph = net._graph
    return graph.incoming, graph.read, net._weight, net._bias, net._code, activations.table()


def data(net: "Network", x: Any, y: Any, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """x (rows, steps, n_inputs) and y (rows, steps, n_outputs), checked, steps 1 for an acyclic network."""
    graph = net._graph
    x = np.asarray(x)
    if x.ndim != 2 + graph.recurrent or x.shape[-1] != graph.n_inputs:
        wanted = f"(sequences, steps, {graph.n_inputs})" if graph.recurrent else f"(rows, {graph.n_inputs})"
        raise ValueError(f"x must have shape {wanted}, got {x.shape}")
    lead = x.shape[:-1]
    y = losses.targets_for(y, lead, graph.n_outputs, loss)
    steps = lead[1] if graph.recurrent else 1
    return (losses.finite(x, "x").reshape(lead[0], steps, graph.n_inputs),
            y.reshape(lead[0], steps, graph.n_outputs))


def stride_for(net: "Network", rows: int, steps: int) -> int:
    """Rows of one tile of the backward pass; refuses sequences that would not fit in memory."""
    graph = net._graph
    blocks = steps + graph.recurrent
    stride = run.tile_stride(graph.n_nodes, blocks, rows)
    if stride * blocks * graph.n_nodes > MAX_BUFFER:
        most = MAX_BUFFER // (stride * graph.n_nodes) - 1
        raise ValueError(f"steps must be at most {most} for {graph.n_nodes} nodes, as backpropagation keeps every "
                         f"step, got {steps}: cut the sequences")
    return stride


def gradient_buffers(net: "Network", rows: int, steps: int) -> tuple[int, list[np.ndarray]]:
    """(lanes of a tile, its three buffers)."""
    stride = stride_for(net, rows, steps)
    size = (steps + net._graph.recurrent) * net._graph.n_nodes * stride
    return stride, [np.empty(size) for _ in range(3)]
