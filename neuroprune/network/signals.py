"""What scorers need besides the weights, computed for a network on data. A method of Network."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import kernels
from neuroprune.network import losses
from neuroprune.network.gradient import data, gradient, gradient_buffers, wiring
from neuroprune.network.run import tile_stride
from neuroprune.network.views import check_number, numbers
from neuroprune.pruning import saliency

if TYPE_CHECKING:
    from neuroprune.network.network import Network

NUDGE = 1e-5  # length of the step that differentiates the gradient, by the largest weight where that is above 1
DAMPING = 0.01


def signals(net: "Network", method: str | Callable, x: Any = None, y: Any = None, loss: str = "mse",
            damping: float = DAMPING) -> dict[str, np.ndarray]:
    """Compute what a scorer needs besides the weights, one number per connection.

    `net.prune_to_sparsity(0.9, "wanda", **net.signals("wanda", x))` prunes by it at once; in a schedule write
    `signals=lambda net: net.signals("wanda", x)`.

    Parameters
    ----------
    method : str or function
        A scorer. Its `requires` decide: "gradient" of the mean loss (for "synflow" of the synaptic flow, which needs no
        data, and in whose single step delayed connections carry nothing); "input_norm", the L2 norm over all rows of
        what each connection reads; "squared_gradient", the mean over rows of the squared gradient of each row's own
        loss; "hessian_gradient", the Hessian of the mean loss times its gradient; "inverse_hessian_diagonal", for each
        node the diagonal of the inverse of the Hessian 2 X^T X / rows of its squared error, X what its connections
        read.
    x, y, loss
        As for `net.train`; y is needed where a loss is.
    damping : float
        Above 0: this times the mean of the Hessian's diagonal, or this alone where that is 0, is added to the
        diagonal before it is inverted.

    Returns
    -------
    dict of keyword to float64 array (E,)

    Raises
    ------
    ValueError
        When data is missing, or a signal is one that only training (movement) or the caller can give.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(2, 1, [(0, 2, 1.0), (1, 2, -0.5)])
    >>> signals = net.signals("wanda", [[3.0, 1.0], [4.0, 0.0]])
    >>> signals["input_norm"].tolist(), npr.score("wanda", net.connections.weight, **signals).tolist()
    ([5.0, 1.0], [5.0, 0.5])
    """
    function = saliency.scorer(method)
    if function is saliency.synflow:
        return {"gradient": flow_gradient(net)}
    found = {}
    for keyword in saliency.requires(function):
        if keyword == "rng":
            continue  # pruning takes the network's own
        if keyword not in ("gradient", "input_norm", "squared_gradient", "hessian_gradient",
                           "inverse_hessian_diagonal"):
            raise ValueError(f"signal {keyword!r} must come from training or from you, got a request to compute it on "
                             f"data: pass {keyword}= to the pruning")
        if x is None:
            raise ValueError(f"signal {keyword!r} needs data, got none: pass x")
        if keyword in ("input_norm", "inverse_hessian_diagonal"):
            found[keyword] = _input_norm(net, x) if keyword == "input_norm" else _inverse_diagonal(net, x, damping)
        elif y is None:
            raise ValueError(f"signal {keyword!r} needs targets, got none: pass y")
        elif keyword == "gradient":
            found[keyword] = gradient(net, x, y, loss)[0]
        elif keyword == "squared_gradient":
            found[keyword] = _squared_gradient(net, x, y, loss)
        else:
            found[keyword] = _hessian_gradient(net, x, y, loss)
    return found


def _values(net: "Network", x: Any) -> Iterator[np.ndarray]:
    """What the nodes say, (blocks, N, rows), for one portion of rows after the other; block 0 is the step before."""
    graph = net._graph
    x = numbers(x, "x")
    if x.ndim != 2 + graph.recurrent or x.shape[-1] != graph.n_inputs:
        wanted = f"(sequences, steps, {graph.n_inputs})" if graph.recurrent else f"(rows, {graph.n_inputs})"
        raise ValueError(f"x must have shape {wanted}, got {x.shape}")
    rows, steps = len(x), x.shape[1] if graph.recurrent else 1
    x = losses.finite(x, "x").reshape(rows, steps, graph.n_inputs)
    n, blocks, order = graph.n_nodes, steps + graph.recurrent, np.arange(rows)
    stride = tile_stride(n, blocks, rows)
    for start in range(0, rows, stride):
        count = min(stride, rows - start)
        values, sums = np.zeros(blocks * n * stride), np.zeros(blocks * n * stride)
        for step in range(steps):
            base = (step + graph.recurrent) * n
            kernels.forward.load_lanes(x, order, start, count, step, graph.n_inputs, base, stride, values)
            kernels.forward.step_tile(*wiring(net), graph.n_inputs, base, stride, values, sums)
        yield values.reshape(blocks, n, stride)[:, :, :count]


def _read(net: "Network", values: np.ndarray) -> Iterator[np.ndarray]:
    """The values of all nodes as connections of the present step, and of the one before, see them, step by step."""
    recurrent = net._graph.recurrent
    for step in range(values.shape[0] - recurrent):
        yield np.concatenate([values[step + recurrent], values[step]]) if recurrent else values[step]


def _places(net: "Network") -> np.ndarray:
    """For each connection, the row of `_read` that it reads."""
    graph = net._graph
    return np.where(graph.delayed, graph.source + graph.n_nodes, graph.source) if graph.recurrent else graph.source


def _input_norm(net: "Network", x: Any) -> np.ndarray:
    total = np.zeros(net._graph.n_nodes * (1 + net._graph.recurrent))
    for values in _values(net, x):
        for seen in _read(net, values):
            total += np.einsum("nr,nr->n", seen, seen)
    return np.sqrt(total)[_places(net)]


def _inverse_diagonal(net: "Network", x: Any, damping: float) -> np.ndarray:
    if check_number(damping, "damping") <= 0.0:
        raise ValueError(f"damping must be positive, got {damping}: without it a Hessian may have no inverse")
    graph = net._graph
    seen = [step for values in _values(net, x) for step in _read(net, values)]
    if not seen:
        raise ValueError("x must have at least one row for a Hessian, got none")
    seen = np.concatenate(seen, axis=1)
    places, result = _places(net), np.empty(graph.n_connections)
    known: dict[bytes, np.ndarray] = {}
    for first, last in zip(graph.incoming[:-1], graph.incoming[1:], strict=True):
        if first == last:
            continue
        key = places[first:last].tobytes()
        if key not in known:  # the nodes of a layer read the same
            inputs = seen[places[first:last]]
            hessian = 2.0 * (inputs @ inputs.T) / seen.shape[1]
            mean = hessian.trace() / len(hessian)
            hessian[np.diag_indices_from(hessian)] += damping * (mean if mean > 0.0 else 1.0)
            factor = np.linalg.inv(np.linalg.cholesky(hessian))
            known[key] = np.einsum("ij,ij->j", factor, factor)
        result[first:last] = known[key]
    return result


def _squared_gradient(net: "Network", x: Any, y: Any, loss: str) -> np.ndarray:
    x, y = data(net, x, y, loss)
    graph = net._graph
    stride, buffers = gradient_buffers(net, 1, x.shape[1])
    weight_gradient, bias_gradient = np.empty(graph.n_connections), np.empty(graph.n_nodes)
    total, order = np.zeros(graph.n_connections), np.arange(len(x))
    for row in range(len(x)):
        kernels.backward.gradient_rows(*wiring(net), graph.n_inputs, graph.n_outputs, graph.recurrent, stride,
                                       losses.code(loss), x, y, order, row, 1, *buffers, weight_gradient, bias_gradient)
        total += weight_gradient * weight_gradient
    return total / max(len(x), 1)


def _hessian_gradient(net: "Network", x: Any, y: Any, loss: str) -> np.ndarray:
    """The change of the gradient along itself, by central differences: exact up to about 1e-7 of its size."""
    direction = gradient(net, x, y, loss)[0]
    length = np.linalg.norm(direction)
    if length == 0.0:
        return np.zeros_like(direction)
    step = NUDGE * max(1.0, np.abs(net._weight).max()) / length
    there, back = net.copy(), net.copy()
    there._weight += step * direction
    back._weight -= step * direction
    return (gradient(there, x, y, loss)[0] - gradient(back, x, y, loss)[0]) / (2.0 * step)


def flow_gradient(net: "Network") -> np.ndarray:
    """dR/d|w|: what flows into each connection's source from inputs of 1, times what flows out of its target.

    |w| are all weights, there are no biases, and every node is linear (Tanaka et al. 2020). Delayed connections carry
    nothing in a single step.
    """
    graph = net._graph
    flowing = np.abs(net._weight)
    if graph.recurrent:
        flowing = np.where(graph.delayed, 0.0, flowing)
    into, out_of = np.zeros(graph.n_nodes), np.zeros(graph.n_nodes)
    into[:graph.n_inputs] = 1.0
    out_of[graph.n_nodes - graph.n_outputs:] = 1.0
    for node in range(graph.n_inputs, graph.n_nodes):
        edges = slice(graph.incoming[node], graph.incoming[node + 1])
        into[node] = flowing[edges] @ into[graph.source[edges]]
    for node in range(graph.n_nodes - 1, graph.n_inputs - 1, -1):
        edges = slice(graph.incoming[node], graph.incoming[node + 1])
        out_of[graph.source[edges]] += flowing[edges] * out_of[node]  # a node's sources differ
    slopes = into[graph.source] * out_of[graph.target] * np.sign(net._weight)
    return np.where(graph.delayed, 0.0, slopes) if graph.recurrent else slopes
