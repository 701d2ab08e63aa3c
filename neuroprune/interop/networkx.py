"""Networks as `networkx.DiGraph` and back, with all attributes."""

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuroprune.network import create

if TYPE_CHECKING:
    import networkx

    from neuroprune.network.network import Network


def to_networkx(net: "Network") -> "networkx.DiGraph":
    """Turn a network into a `networkx.DiGraph`, nodes in activation order, connections in storage order.

    Nodes are the ids, with `kind`, `bias` and `activation`; edges carry `weight` and `delayed`; the graph carries
    `inputs`, `outputs`, `recurrent` and `default_activation`.

    Examples
    --------
    >>> import neuroprune as npr
    >>> graph = npr.Network.from_connections(1, 1, [(0, 1, 0.5)]).to_networkx()
    >>> graph.edges[0, 1], graph.nodes[1]["kind"]
    ({'weight': 0.5, 'delayed': False}, 'output')
    """
    import networkx

    wiring = net.graph
    graph = networkx.DiGraph(inputs=list(range(wiring.n_inputs)),
                             outputs=list(range(wiring.n_inputs, wiring.n_inputs + wiring.n_outputs)),
                             recurrent=wiring.recurrent, default_activation=net.default_activation)
    nodes, connections = net.nodes, net.connections
    for node_id, kind, bias, activation in zip(nodes.id.tolist(), nodes.kind.tolist(), nodes.bias.tolist(),
                                               nodes.activation.tolist(), strict=True):
        graph.add_node(node_id, kind=kind, bias=bias, activation=activation)
    for source, target, weight, delayed in zip(connections.source.tolist(), connections.target.tolist(),
                                               connections.weight.tolist(), connections.delayed.tolist(), strict=True):
        graph.add_edge(source, target, weight=weight, delayed=delayed)
    return graph


def from_networkx(cls: type["Network"], graph: "networkx.DiGraph", inputs: Sequence[Hashable] | None = None,
                  outputs: Sequence[Hashable] | None = None) -> "Network":
    """Make a network from a `networkx.DiGraph`.

    Parameters
    ----------
    graph : networkx.DiGraph
        Node attributes `bias` (default 0) and `activation` (default "tanh"), which inputs do not have: their
        activation is passed over and their bias must be 0. Edge attributes `weight` (required) and `delayed`
        (default False; any True one, or the graph attribute `recurrent`, makes the network recurrent).
    inputs, outputs : sequences of nodes, optional
        Which nodes are inputs and outputs, in this order; by default the graph attributes of the same name, as
        written by `to_networkx`.

    Returns
    -------
    Network
        Hidden nodes keep their names as ids when all of them are integers that no input or output takes; otherwise
        they are numbered in the graph's order. The activation order is that of the graph's nodes as far as its
        edges allow, so that a network comes back from `to_networkx` as it was.

    Examples
    --------
    >>> import networkx
    >>> import neuroprune as npr
    >>> graph = networkx.DiGraph()
    >>> graph.add_edge("a", "b", weight=2.0)
    >>> graph.nodes["b"]["activation"] = "identity"
    >>> npr.Network.from_networkx(graph, inputs=["a"], outputs=["b"])([3.0]).tolist()
    [6.0]
    """
    import networkx

    if not isinstance(graph, networkx.DiGraph) or graph.is_multigraph():
        raise TypeError(f"graph must be a networkx.DiGraph, got {type(graph).__name__}")
    inputs = _ends(graph, inputs, "inputs")
    outputs = _ends(graph, outputs, "outputs")
    both = set(inputs) & set(outputs)
    if both:
        raise ValueError(f"a node must not be input and output at once, got {next(iter(both))!r}")
    fixed = len(inputs) + len(outputs)
    ends = {*inputs, *outputs}
    hidden = [node for node in graph if node not in ends]
    keep = all(isinstance(node, (int, np.integer)) and not isinstance(node, bool) and fixed <= node < 2**63
               for node in hidden)
    for node in inputs:
        if graph.nodes[node].get("bias", 0.0) != 0.0:
            raise ValueError(f"an input has no bias, got {graph.nodes[node]['bias']} for node {node!r}")
    ids = {node: i for i, node in enumerate([*inputs, *outputs])}
    ids.update({node: int(node) if keep else fixed + i for i, node in enumerate(hidden)})
    rows, delayed = [], []
    for source, target, attributes in graph.edges(data=True):
        if "weight" not in attributes:
            raise ValueError(f"every edge must have a weight, got none on {source!r} -> {target!r}")
        rows.append((ids[source], ids[target], attributes["weight"]))
        delayed.append(bool(attributes.get("delayed", False)))
    inner = {ids[node]: attributes for node, attributes in graph.nodes(data=True) if node not in set(inputs)}
    recurrent = any(delayed) or bool(graph.graph.get("recurrent", False))
    return create.assemble(
        cls, len(inputs), len(outputs), create.columns(rows),
        {key: value.get("bias", 0.0) for key, value in inner.items()},
        {key: value.get("activation", "tanh") for key, value in inner.items()},
        graph.graph.get("default_activation", "tanh"), delayed if recurrent else None, None,
        np.array([ids[node] for node in hidden], np.int64))


def _ends(graph: "networkx.DiGraph", nodes: Sequence[Hashable] | None, what: str) -> list[Hashable]:
    if nodes is None:
        nodes = graph.graph.get(what)
    if nodes is None:
        raise ValueError(f"{what} must be given for a graph that was not made by to_networkx: pass {what}=[...]")
    if not isinstance(nodes, Iterable):
        raise TypeError(f"{what} must be a sequence of nodes, got {nodes!r}")
    nodes = list(nodes)
    if not nodes:
        raise ValueError(f"{what} must name at least one node, got none")
    missing = [node for node in nodes if node not in graph]
    if missing:
        raise ValueError(f"{what} must be nodes of the graph, got {missing[0]!r}")
    if len(set(nodes)) < len(nodes):
        raise ValueError(f"{what} must be different nodes, got {nodes!r}")
    return nodes
