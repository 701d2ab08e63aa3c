"""Networks as dense layers and back: levels of nodes become weight matrices, skip connections become blocks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuroprune import activations, arrays, rng
from neuroprune.network.graph import Graph, check_size
from neuroprune.tensors.dense import DenseLayer, taken

if TYPE_CHECKING:
    from neuroprune.network.network import Network

LIMIT = 2**27  # weights of all layers together: 1 GiB in float64, and an eighth of that for masks


def to_dense(net: "Network", limit: int = LIMIT) -> list[DenseLayer]:
    """Turn an acyclic network into dense layers with the same outputs.

    A network made in layers gives one layer for each of its own, as long as no connection joins two nodes of one layer.
    Any other network is cut into levels: a node stands one level above the highest of its sources, in level 1 when it
    has none; all outputs stand in the last level. A layer takes the levels that feed it, whole ones, so every skip
    connection makes a block as wide as its level: **the layers of a deep and sparse network can be much larger than its
    graph**. The masks hold the wiring; a layer that has all its connections has none.

    Parameters
    ----------
    net : Network
        Acyclic.
    limit : int
        How many weights the layers may have together; more is refused before anything is made.

    Returns
    -------
    list of DenseLayer
        In float64. Units stand in activation order. Hidden nodes that nothing feeds, or that feed nothing, are there.

    Raises
    ------
    ValueError
        For a recurrent network, and above the limit.

    Examples
    --------
    >>> import neuroprune as npr
    >>> npr.Network.dense([3, 4, 2], seed=0).to_dense()
    [<DenseLayer: 3 inputs, 4 outputs, tanh>, <DenseLayer: 4 inputs, 2 outputs, identity>]
    >>> net = npr.Network.from_connections(2, 1, [(0, 3, 1.0), (3, 2, 1.0), (1, 2, 0.5)])
    >>> net.to_dense()[1]
    <DenseLayer: 3 inputs, 1 outputs, tanh, 2 of 3 weights, takes levels 0, 1>
    """
    graph = net.graph
    if graph.recurrent:
        raise ValueError("net must be acyclic to become dense layers, got a recurrent network: they have no delayed "
                         "connections")
    level = _levels(graph)
    sizes = np.bincount(level)
    place = np.empty(graph.n_nodes, np.int64)  # of each node inside its level
    nodes = np.argsort(level, kind="stable")
    place[nodes] = np.arange(graph.n_nodes) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    above, below = level[graph.target], level[graph.source]
    order = np.argsort(above, kind="stable")
    ends = np.cumsum(np.bincount(above, minlength=sizes.size))
    parts = [order[first:last] for first, last in zip(ends[:-1], ends[1:], strict=True)]
    fed = [np.unique(below[part]) if part.size else np.array([i]) for i, part in enumerate(parts)]
    total = sum(int(size) * int(sizes[levels].sum()) for size, levels in zip(sizes[1:], fed, strict=True))
    if total > limit:
        raise ValueError(f"the dense layers of this network must have at most {limit} weights, got {total} for "
                         f"{graph.n_connections} connections: pass limit={total} to have them all the same")
    names, bias, column = net.nodes.activation, net.nodes.bias, net.connections.weight
    layers = []
    for i, (part, levels, units) in enumerate(zip(parts, fed, np.split(nodes, np.cumsum(sizes)[:-1])[1:], strict=True)):
        starts = np.zeros(sizes.size, np.int64)
        starts[levels] = np.cumsum(sizes[levels]) - sizes[levels]
        row = place[graph.target[part]]
        col = starts[below[part]] + place[graph.source[part]]
        weight = np.zeros((units.size, int(sizes[levels].sum())))
        weight[row, col] = column[part]
        mask = None
        if part.size < weight.size:
            mask = np.zeros(weight.shape, np.bool_)
            mask[row, col] = True
        layers.append(DenseLayer(weight, bias[units], names[units].tolist(), mask,
                                 None if levels.tolist() == [i] else levels.tolist()))
    return layers


def from_dense(cls: type["Network"], layers: Sequence[DenseLayer], seed: int | np.random.Generator | None = None,
               ) -> "Network":
    """Make a network from dense layers, with the same outputs.

    Parameters
    ----------
    layers : list of DenseLayer
        Each weight becomes a connection, zeros too, unless the mask of its layer is off there. A layer without bias
        has biases of 0.
    seed : int, Generator or None
        For what is drawn later, `net.rng`.

    Returns
    -------
    Network
        Made in layers, with the ids of `Network.dense`: inputs, then outputs, then hidden nodes in the order of the
        layers. New nodes get the activation of the first layer, "tanh" where it has several or is the last. What
        `to_dense` made of a network comes back with the same wiring and numbers, under these ids.

    Raises
    ------
    ValueError
        When the layers do not fit together, or hold numbers that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import neuroprune as npr
    >>> mask = np.array([[True, False]])
    >>> net = npr.Network.from_dense([npr.DenseLayer(np.ones((2, 3))), npr.DenseLayer(np.ones((1, 2)), mask=mask)])
    >>> net
    <Network: 3 inputs, 2 hidden, 1 outputs, 7 connections>
    >>> net.connections.weight[:6].reshape(2, 3)
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    fed = taken(layers)
    for i, layer in enumerate(layers):
        arrays.require_finite(layer.kept, f"weight of layers[{i}]")
        if layer.bias is not None:
            arrays.require_finite(layer.bias, f"bias of layers[{i}]")
    sizes = (layers[0].n_inputs, *(layer.n_outputs for layer in layers))
    n, n_inputs, n_outputs = sum(sizes), sizes[0], sizes[-1]
    check_size(sum(layer.weight.size if layer.mask is None else np.count_nonzero(layer.mask) for layer in layers), n)
    starts = np.cumsum((0, *sizes))
    sources, weights, fan_in = [], [], [np.zeros(n_inputs, np.int64)]
    for layer, levels in zip(layers, fed, strict=True):
        columns = np.concatenate([np.arange(starts[level], starts[level + 1], dtype=np.int32) for level in levels])
        order = np.argsort(columns)  # connections are stored by ascending source
        columns, weight = columns[order], layer.weight[:, order]
        mask = np.ones(weight.shape, np.bool_) if layer.mask is None else layer.mask[:, order]
        sources.append(np.broadcast_to(columns, mask.shape)[mask])
        weights.append(weight[mask])
        fan_in.append(np.count_nonzero(mask, axis=1))
    incoming = np.concatenate([[0], np.cumsum(np.concatenate(fan_in))])
    ids = np.concatenate([np.arange(n_inputs), np.arange(n_inputs + n_outputs, n),
                          np.arange(n_inputs, n_inputs + n_outputs)])
    graph = Graph(n_inputs, n_outputs, ids, incoming, np.concatenate(sources), layer_sizes=sizes)
    bias = np.concatenate([np.zeros(n_inputs)]
                          + [np.zeros(layer.n_outputs) if layer.bias is None else layer.bias for layer in layers])
    names = ["identity"] * n_inputs + [name for layer in layers for name in layer.activations]
    code = np.array([activations.code(name) for name in names], np.uint8)
    first = layers[0].activation
    default = first if len(layers) > 1 and isinstance(first, str) else "tanh"
    return cls(graph, np.concatenate(weights), bias, code, activations.code(default), rng.check_seed(seed))


def _levels(graph: Graph) -> np.ndarray:
    """The level of each node: its layer where the network has layers, else one above its highest source."""
    if graph.layer_sizes is not None:
        level = np.repeat(np.arange(len(graph.layer_sizes)), graph.layer_sizes)
        if (level[graph.source] < level[graph.target]).all():
            return level
    level = np.zeros(graph.n_nodes, np.int64)
    first_output = graph.n_nodes - graph.n_outputs
    for node in range(graph.n_inputs, first_output):
        sources = graph.source[graph.incoming[node]:graph.incoming[node + 1]]
        level[node] = 1 + level[sources].max(initial=0)
    level[first_output:] = 1 + level[:first_output].max()
    return level
