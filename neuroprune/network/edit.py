"""Rewiring a network by hand: each call makes a new graph or leaves everything as it was. Methods of Network."""

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels
from neuroprune.network.graph import Graph, check_ends, check_size, sort_nodes
from neuroprune.network.views import check_column, check_input_bias, numbers

if TYPE_CHECKING:
    from neuroprune.network.network import Network

NEW_WEIGHT = 0.1  # weights at random places are drawn from U(-NEW_WEIGHT, NEW_WEIGHT)


def set_parameters(net: "Network", values: Any) -> None:
    """Write all weights, then the biases of non-inputs."""
    n_weights, n_inputs = net._weight.size, net._graph.n_inputs
    size = net._parameters.size - n_inputs
    values = numbers(values, "net.parameters")
    if values.shape != (size,):
        raise ValueError(f"net.parameters must have shape ({size},), got {values.shape}")
    values = check_column(values, size, "net.parameters")
    net._weight[:] = values[:n_weights]
    net._bias[n_inputs:] = values[n_weights:]


def as_recurrent(net: "Network") -> "Network":
    """Turn this network recurrent, in place, and return it; no connection becomes delayed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(1, 1, [(0, 1, 1.0)]).as_recurrent()
    >>> net.connect(1, 1, 0.5)
    >>> net.connections.delayed.tolist()
    [False, True]
    """
    graph = net._graph
    if not graph.recurrent:
        delayed = np.zeros(graph.n_connections, np.bool_)
        recurrent = Graph(graph.n_inputs, graph.n_outputs, graph.ids, graph.incoming, graph.source, delayed,
                          graph.layer_sizes)
        net._replace(recurrent, net._weight, net._signals)
    return net


def connect(net: "Network", source_id: Any, target_id: Any, weight: Any = None, delayed: Any = None) -> None:
    """Add one connection, or several given as arrays.

    Parameters
    ----------
    source_id, target_id : int or int array (k,)
    weight : float or array (k,), optional
        Drawn from U(-0.1, 0.1) with `net.rng` when not given.
    delayed : bool or array (k,), optional
        Recurrent networks only. By default delayed exactly when the source does not come before the target or is
        an output.

    Raises
    ------
    ValueError
        For a second connection between the same nodes, one into an input or out of an output (acyclic), an unknown
        id, a weight that is not finite, or a cycle (named). The network is unchanged then.

    Notes
    -----
    A connection against the present order is legal when it closes no cycle: the order is derived anew (Kahn, the
    ready node with the lowest former position first).

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(2, 1, [(0, 2, 1.0)])
    >>> net.connect(1, 2, 0.5)
    >>> net.connections.weight.tolist()
    [1.0, 0.5]
    """
    graph = net._graph
    source_ids, target_ids = np.atleast_1d(np.asarray(source_id)), np.atleast_1d(np.asarray(target_id))
    if source_ids.ndim != 1 or source_ids.shape != target_ids.shape:
        raise ValueError(f"source and target ids must have one length, got shapes {source_ids.shape} and "
                         f"{target_ids.shape}")
    source, target = _positions(graph, source_ids), _positions(graph, target_ids)
    check_size(graph.n_connections + source.size)
    weights = None if weight is None else check_column(weight, source.size, "weight")
    if delayed is None:
        late = graph.is_delayed(source, target) if graph.recurrent else None
    elif graph.recurrent:
        late = np.asarray(delayed, np.bool_)
        if late.shape not in ((), source.shape):
            raise ValueError(f"delayed must have shape {source.shape}, got {late.shape}")
        late = np.broadcast_to(late, source.shape)
    elif np.any(delayed):
        raise ValueError("a delayed connection needs a recurrent network, got an acyclic one: use net.as_recurrent()")
    else:
        late = None
    check_ends(graph.n_nodes, graph.n_inputs, graph.n_outputs, source, target, late, source_ids, target_ids)
    known = graph.find_pairs(source, target)
    if (known >= 0).any():
        i = int((known >= 0).argmax())
        raise ValueError("two nodes must be joined by at most one connection, got a second one "
                         f"{source_ids[i]} -> {target_ids[i]}")
    if not source.size:
        return
    backward = source >= target if late is None else (source >= target) & ~late
    if backward.any():
        place = _reorder(net, source, target, late)
    else:
        place = insert(net, source, target, late)
    net._weight[place] = net.rng.uniform(-NEW_WEIGHT, NEW_WEIGHT, source.size) if weights is None else weights


def _positions(graph: Graph, ids: np.ndarray) -> np.ndarray:
    """Positions of existing nodes by id."""
    if ids.size and ids.dtype.kind not in "iu":
        raise TypeError(f"node ids must be integers, got {ids.dtype}")
    positions = graph.positions(ids)
    if (positions < 0).any():
        raise ValueError(f"node must be one of the network's ids, got {ids[(positions < 0).argmax()]}: "
                         "see net.nodes.id")
    return positions


def insert(net: "Network", source: np.ndarray, target: np.ndarray, late: np.ndarray | None) -> np.ndarray:
    """Add connections that obey the order, with weight 0; returns their indices as given."""
    graph = net._graph
    order = np.lexsort((source, target))
    source, target = source[order].astype(np.int32), target[order].astype(np.int32)
    same = (source[1:] == source[:-1]) & (target[1:] == target[:-1])
    if same.any():
        i = int(same.argmax())
        raise ValueError("two nodes must be joined by at most one connection, got a second one "
                         f"{graph.ids[source[i]]} -> {graph.ids[target[i]]}")
    landed = merge(net, source, target, None if late is None else late[order], np.zeros(source.size))
    place = np.empty_like(landed)
    place[order] = landed
    return place


def merge(net: "Network", source: np.ndarray, target: np.ndarray, late: np.ndarray | None,
          weight: np.ndarray) -> np.ndarray:
    """Add connections sorted by (target, source) that obey the order; returns their indices."""
    graph = net._graph
    incoming, sources, weights, landed = kernels.structure.insert(graph.incoming, graph.source, net._weight, target,
                                                                  source, weight)
    delayed = None
    if late is not None:
        delayed = np.empty(sources.size, np.bool_)
        old = np.ones(sources.size, np.bool_)
        old[landed] = False
        delayed[old] = graph.delayed
        delayed[landed] = late
    graph = Graph(graph.n_inputs, graph.n_outputs, graph.ids, incoming, sources, delayed, graph.layer_sizes)
    net._replace(graph, weights, None)
    return landed


def _reorder(net: "Network", source: np.ndarray, target: np.ndarray, late: np.ndarray | None) -> np.ndarray:
    """Add connections and derive the order anew; returns their indices as given."""
    graph = net._graph
    delayed = None if late is None else np.concatenate([graph.delayed, late])
    new, order, nodes = sort_nodes(graph.n_inputs, graph.n_outputs, graph.ids, np.concatenate([graph.source, source]),
                                   np.concatenate([graph.target, target]), delayed)
    weights = np.concatenate([net._weight, np.zeros(source.size)])[order]
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    net._replace(new, weights, None, nodes)
    return place[graph.n_connections:]


def disconnect(net: "Network", source_id: Any, target_id: Any) -> None:
    """Remove one connection, or several given as arrays; may leave none.

    Raises
    ------
    LookupError
        When a connection does not exist; the network is unchanged then.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 1], seed=0)
    >>> net.disconnect([0, 1], [2, 2])
    >>> len(net.connections)
    0
    """
    graph = net._graph
    source_ids, target_ids = np.atleast_1d(np.asarray(source_id)), np.atleast_1d(np.asarray(target_id))
    if source_ids.ndim != 1 or source_ids.shape != target_ids.shape:
        raise ValueError(f"source and target ids must have one length, got shapes {source_ids.shape} and "
                         f"{target_ids.shape}")
    source, target = graph.positions(source_ids), graph.positions(target_ids)
    index = graph.find_pairs(np.maximum(source, 0), np.maximum(target, 0))
    missing = (index < 0) | (source < 0) | (target < 0)
    if missing.any():
        i = int(missing.argmax())
        raise LookupError(f"connection must exist, got {source_ids[i]} -> {target_ids[i]}: see net.connections")
    mask = np.ones(graph.n_connections, np.bool_)
    mask[index] = False
    keep(net, mask)


def keep(net: "Network", mask: Any) -> None:
    """Keep the connections marked True in `mask`, bool (E,); may leave none.

    The accumulated signals keep the same entries.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 2], seed=0)
    >>> net.keep(net.connections.source == 0)
    >>> net.connections.target.tolist()
    [2, 3]
    """
    graph = net._graph
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.shape != graph.source.shape:
        raise ValueError(f"mask must be boolean with shape ({graph.n_connections},), got {mask.dtype} {mask.shape}")
    keep_counted(net, mask, int(np.count_nonzero(mask)))


def keep_counted(net: "Network", mask: np.ndarray, count: int) -> None:
    """Keep the marked connections, of which there are `count`."""
    if count < net._graph.n_connections:
        net._replace(*kept_columns(net, mask, count))


def kept_columns(net: "Network", mask: np.ndarray, count: int) -> tuple[Graph, np.ndarray, np.ndarray | None]:
    """Graph, weights and accumulated signals after keeping the marked connections; the network stays as it is."""
    graph, structure = net._graph, kernels.structure
    if not (mask.flags.c_contiguous and mask.flags.writeable):
        mask = mask.copy()  # another kind of array would compile the kernels again
    source, weight = structure.compact_pair(mask, count, graph.source, net._weight)
    delayed = None if graph.delayed is None else structure.compact(mask, count, graph.delayed)
    signals = None
    if net._signals is not None:
        signals = tuple(structure.compact(mask, count, column) for column in net._signals)
    incoming = structure.compact_incoming(mask, graph.incoming)
    new = Graph(graph.n_inputs, graph.n_outputs, graph.ids, incoming, source, delayed, graph.layer_sizes)
    return new, weight, signals


def add_node(net: "Network", source_id: int, target_id: int) -> int:
    """Split a connection and return the new node's id, one more than the highest of the present ids.

    The new node stands just before the target (before the first output when the target is one), has bias 0 and the
    default activation; the connection into it has weight 1 and takes over the delay, the one out of it the old
    weight (Stanley & Miikkulainen 2002, section 3.1).

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(1, 1, [(0, 1, 0.5)])
    >>> net.add_node(0, 1)
    2
    >>> net.connections.weight.tolist()
    [1.0, 0.5]
    """
    graph = net._graph
    index = net.connection(source_id, target_id)._index
    n = graph.n_nodes
    target = int(graph.target[index])
    place = min(target, n - graph.n_outputs)
    node_id = int(graph.ids.max()) + 1
    if node_id > np.iinfo(np.int64).max:
        raise ValueError(f"node ids must fit in 64 bits, got {node_id} for the new one: renumber the network")
    ids = np.insert(graph.ids, place, node_id)
    moved = np.arange(n) + (np.arange(n) >= place)
    sources = np.append(moved[graph.source], place)
    targets = np.append(moved[graph.target], moved[target])
    targets[index] = place
    delayed = None if graph.delayed is None else np.append(graph.delayed, False)
    weights = np.append(net._weight, net._weight[index])
    weights[index] = 1.0
    order, incoming, _ = kernels.structure.pack(n + 1, sources, targets)
    new = Graph(graph.n_inputs, graph.n_outputs, ids, incoming, sources[order].astype(np.int32),
                None if delayed is None else delayed[order])
    net._replace(new, weights[order], None, np.insert(np.arange(n), place, -1))
    return node_id


def remove_node(net: "Network", node_id: int) -> None:
    """Remove a hidden node with all its connections; inputs and outputs cannot go.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([1, 2, 1], seed=0)
    >>> net.remove_node(3)
    >>> net.nodes.id.tolist(), len(net.connections)
    ([0, 2, 1], 2)
    """
    graph = net._graph
    position = graph.position(node_id)
    if not graph.n_inputs <= position < graph.n_nodes - graph.n_outputs:
        raise ValueError(f"only hidden nodes can be removed, got the {net.nodes[position].kind} {node_id}")
    stay = np.ones(graph.n_nodes, np.bool_)
    stay[position] = False
    _keep_nodes(net, stay)


def _keep_nodes(net: "Network", stay: np.ndarray) -> None:
    """Drop the other nodes with their connections."""
    graph = net._graph
    mask = stay[graph.source] & stay[graph.target]
    keep_counted(net, mask, int(np.count_nonzero(mask)))
    graph = net._graph
    moved = (np.cumsum(stay) - 1).astype(np.int32)
    incoming = np.concatenate([graph.incoming[:-1][stay], graph.incoming[-1:]])
    new = Graph(graph.n_inputs, graph.n_outputs, graph.ids[stay], incoming, moved[graph.source],
                None if graph.delayed is None else graph.delayed.copy())
    net._replace(new, net._weight, net._signals, np.flatnonzero(stay))


def trim(net: "Network") -> int:
    """Remove hidden nodes that do nothing and return how many; outputs stay the same up to rounding.

    Folds constant hidden nodes (those without incoming connections) into the biases downstream, then drops hidden
    nodes that reach no output. A constant node with delayed outgoing connections stays, with those, since before
    the first step it gives 0.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(1, 1, [(5, 1, 2.0), (0, 1, 1.0), (0, 7, 1.0)], bias={5: 3.0},
    ...                                    activation="identity")
    >>> net.trim(), net.node(1).bias, len(net.connections)
    (2, 6.0, 1)
    """
    graph = net._graph
    first_output = graph.n_nodes - graph.n_outputs
    bias = net._bias.copy()
    left = np.diff(graph.incoming)
    mask = np.ones(graph.n_connections, np.bool_)
    outgoing = np.argsort(graph.source, kind="stable")
    starts = np.searchsorted(graph.source[outgoing], np.arange(graph.n_nodes + 1))
    late = graph.delays if graph.recurrent else np.zeros(graph.n_connections, np.bool_)
    for node in range(graph.n_inputs, first_output):
        if left[node] == 0:
            value = activations.ACTIVATIONS[activations.name(int(net._code[node]))].f(bias[node])
            edges = outgoing[starts[node]:starts[node + 1]]
            edges = edges[~late[edges]]
            followers = graph.target[edges]
            with np.errstate(over="ignore", invalid="ignore"):  # looked at below
                bias[followers] += net._weight[edges] * value
            left[followers] -= 1
            mask[edges] = False
    if not np.isfinite(bias).all():
        raise ValueError(f"a folded bias must be finite, got {bias[~np.isfinite(bias)][0]} at node "
                         f"{graph.ids[(~np.isfinite(bias)).argmax()]}: lower its weights")
    keep_counted(net, mask, int(np.count_nonzero(mask)))
    net._bias[:] = bias
    stay = net._graph.reaches_output.copy()
    stay[:graph.n_inputs] = stay[first_output:] = True
    if not stay.all():
        _keep_nodes(net, stay)
    return int(np.count_nonzero(~stay))


def check_finite(net: "Network") -> None:
    """Refuse weights or biases that are not finite, and biases of inputs, by name and index."""
    check_column(net._weight, net._weight.size, "net.connections.weight")
    check_column(net._bias, net._bias.size, "net.nodes.bias")
    check_input_bias(net, net._bias)
