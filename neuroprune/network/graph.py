"""The frozen wiring of a network: who feeds whom, and everything derived from that."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neuroprune import kernels

NO_DELAY = np.zeros(0, np.bool_)
NO_DELAY.flags.writeable = False
MAX_CONNECTIONS = 2**31 - 1
COLUMN_TYPES = (("ids", np.dtype(np.int64)), ("incoming", np.dtype(np.int64)), ("source", np.dtype(np.int32)))


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """Nodes in activation order and connections sorted by (target, source); never changed, only replaced.

    Positions count nodes in activation order: inputs first, outputs last. Whatever follows from the wiring is
    computed on first use and kept here, so a network with a new graph can show nothing stale.

    Attributes
    ----------
    n_inputs, n_outputs : int
    ids : int64 array (N,)
        The id of the node at each position.
    incoming : int64 array (N + 1,)
        The connections of the node at position p are `incoming[p]:incoming[p + 1]`.
    source : int32 array (E,)
        Position of each connection's source, ascending within each target.
    delayed : bool array (E,) or None
        True where a connection reads its source's value of the previous step; None for acyclic graphs.
    layer_sizes : tuple of int, or None
        Sizes of the layers, inputs first, of a graph made in layers.

    Examples
    --------
    >>> import neuroprune as npr
    >>> graph = npr.Network.dense([2, 3, 1], seed=0).graph
    >>> graph.source.tolist(), graph.target.tolist()
    ([0, 1, 0, 1, 0, 1, 2, 3, 4], [2, 2, 3, 3, 4, 4, 5, 5, 5])
    """

    n_inputs: int
    n_outputs: int
    ids: np.ndarray
    incoming: np.ndarray
    source: np.ndarray
    delayed: np.ndarray | None = None
    layer_sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, dtype in COLUMN_TYPES:  # kernels trust them
            column = getattr(self, name)
            if column.dtype != dtype or column.ndim != 1 or not column.flags.c_contiguous:
                raise TypeError(f"{name} must be a contiguous array of {dtype}, got {column.dtype} of shape "
                                f"{column.shape}")
        delayed = self.delayed
        if delayed is not None and (delayed.dtype != np.bool_ or delayed.shape != self.source.shape):
            raise TypeError(f"delayed must be a boolean array of shape {self.source.shape}, got {delayed.dtype} of "
                            f"shape {delayed.shape}")
        if self.incoming.size != self.ids.size + 1 or self.incoming[0] != 0 or self.incoming[-1] != self.source.size:
            raise ValueError(f"incoming must have {self.ids.size + 1} entries from 0 to {self.source.size}, got "
                             f"{self.incoming.size}")
        self.ids.flags.writeable = self.incoming.flags.writeable = self.source.flags.writeable = False
        if self.delayed is not None:
            self.delayed.flags.writeable = False

    def __reduce__(self) -> tuple:
        # what is derived stays behind, and the copy freezes its columns again
        return Graph, (self.n_inputs, self.n_outputs, self.ids, self.incoming, self.source, self.delayed,
                       self.layer_sizes)

    def __repr__(self) -> str:
        kind = "recurrent" if self.recurrent else "acyclic"
        return (f"<Graph: {self.n_inputs} inputs, {self.n_hidden} hidden, {self.n_outputs} outputs, "
                f"{self.n_connections} connections, {kind}>")

    @property
    def n_nodes(self) -> int:
        """Number of nodes, inputs included."""
        return self.ids.size

    @property
    def n_hidden(self) -> int:
        """Number of nodes that are neither input nor output."""
        return self.ids.size - self.n_inputs - self.n_outputs

    @property
    def n_connections(self) -> int:
        """Number of connections."""
        return self.source.size

    @property
    def recurrent(self) -> bool:
        """Whether connections may be delayed."""
        return self.delayed is not None

    @property
    def delays(self) -> np.ndarray:
        """`delayed`, or an empty array for acyclic graphs, as kernels take it."""
        return NO_DELAY if self.delayed is None else self.delayed

    @cached_property
    def target(self) -> np.ndarray:
        """Position of each connection's target, int32 (E,)."""
        return _frozen(kernels.structure.targets(self.incoming))

    @cached_property
    def read(self) -> np.ndarray:
        """Where a connection finds its value: source, less N when it reads the previous step; int32 (E,)."""
        if self.delayed is None:
            return self.source
        return _frozen(self.source - (np.int32(self.n_nodes) * self.delayed).astype(np.int32))

    @cached_property
    def source_ids(self) -> np.ndarray:
        """Id of each connection's source, int64 (E,)."""
        return _frozen(self.ids[self.source])

    @cached_property
    def target_ids(self) -> np.ndarray:
        """Id of each connection's target, int64 (E,)."""
        return _frozen(np.repeat(self.ids, np.diff(self.incoming)))

    @cached_property
    def _by_id(self) -> tuple[np.ndarray, np.ndarray]:
        """(sorted ids, their positions)."""
        order = np.argsort(self.ids)
        return self.ids[order], order

    def positions(self, ids: np.ndarray) -> np.ndarray:
        """Positions of nodes by id, int64, -1 where there is no such node."""
        known, order = self._by_id
        ids = np.asarray(ids)
        if ids.dtype.kind == "u":
            ids = np.minimum(ids, np.iinfo(np.int64).max).astype(np.int64)  # compared as they are, not as floats
        place = np.minimum(np.searchsorted(known, ids), known.size - 1)
        return np.where(known[place] == ids, order[place], -1)

    def position(self, node_id: int) -> int:
        """Position of one node by id; `LookupError` when there is none."""
        if isinstance(node_id, bool) or not isinstance(node_id, (int, np.integer)):
            raise TypeError(f"a node's id must be an integer, got {node_id!r}")
        known, order = self._by_id
        place = int(np.searchsorted(known, node_id)) if -1 <= node_id <= known[-1] else known.size
        if place == known.size or known[place] != node_id:
            raise LookupError(f"node must be one of the network's ids, got {node_id}: see net.nodes.id")
        return int(order[place])

    def find(self, source: int, target: int) -> int:
        """Index of the connection between two positions, or -1."""
        first, last = self.incoming[target], self.incoming[target + 1]
        place = int(first + np.searchsorted(self.source[first:last], source))
        return place if place < last and self.source[place] == source else -1

    def find_pairs(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Index of each connection between two positions, or -1, for arrays."""
        if not self.n_connections:
            return np.full(len(source), -1, np.int64)
        keys = self._keys
        wanted = np.asarray(target, np.int64) * self.n_nodes + source
        place = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
        return np.where(keys[place] == wanted, place, -1)

    @cached_property
    def _keys(self) -> np.ndarray:
        """target * N + source, ascending."""
        return self.target.astype(np.int64) * self.n_nodes + self.source

    @cached_property
    def depth(self) -> np.ndarray:
        """Longest forward path that leads to each node; 0 for inputs and for nodes that nothing feeds; int64 (N,)."""
        return _frozen(kernels.structure.depths(self.incoming, self.source, self.delays, self.n_inputs))

    @cached_property
    def reaches_output(self) -> np.ndarray:
        """Which nodes have a path to an output, delayed connections included; bool (N,)."""
        return _frozen(kernels.structure.reaching(self.incoming, self.source, self.n_outputs))

    @cached_property
    def reached_from_input(self) -> np.ndarray:
        """Which nodes an input has a path to, delayed connections included; bool (N,)."""
        return _frozen(kernels.structure.reached_from_inputs(self.incoming, self.source, self.n_inputs))

    @cached_property
    def slots(self) -> tuple[np.ndarray, np.ndarray]:
        """Legal sources of each target as positions lowest <= s < highest, in the present order; int64 (N,) each."""
        n = self.n_nodes
        highest = np.full(n, n) if self.recurrent else np.minimum(np.arange(n), n - self.n_outputs)
        highest[:self.n_inputs] = 0
        return _frozen(np.zeros(n, np.int64)), _frozen(highest)

    @cached_property
    def layer_slots(self) -> tuple[np.ndarray, np.ndarray]:
        """As `slots`, for connections between adjacent layers only."""
        if self.layer_sizes is None:
            raise ValueError("candidates='layers' needs a network made in layers, got one that is not: "
                             "use candidates='order'")
        sizes = np.array(self.layer_sizes)
        starts = np.cumsum(sizes) - sizes
        lowest = np.repeat(np.concatenate([[0], starts[:-1]]), sizes)
        highest = np.repeat(starts, sizes)
        return _frozen(lowest), _frozen(highest)

    def is_delayed(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The rule of a recurrent graph: delayed unless the source comes before the target and is no output."""
        return (source >= target) | (source >= self.n_nodes - self.n_outputs)

    def match(self, new: "Graph") -> np.ndarray:
        """For each connection of `new`, the index of the same (source id, target id) here, or -1; int64 (E,)."""
        former = np.arange(self.n_nodes) if new.ids is self.ids else self.positions(new.ids)
        return kernels.structure.match(former, self.incoming, self.source, new.incoming, new.source)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def build(n_inputs: int, n_outputs: int, source_ids: np.ndarray, target_ids: np.ndarray, other_ids: np.ndarray,
          delayed: np.ndarray | None, hidden: np.ndarray | None = None) -> tuple[Graph, np.ndarray]:
    """Make a graph from connections by id; also returns the storage order of the given connections.

    Hidden nodes are ordered by Kahn's algorithm, taking the ready node with the lowest id, or the first one in
    `hidden` (all hidden ids) when given. `other_ids` names nodes that exist without connections.
    """
    if n_inputs < 1 or n_outputs < 1:
        raise ValueError(f"a network must have at least one input and one output, got {n_inputs} and {n_outputs}")
    n_fixed = n_inputs + n_outputs
    check_size(source_ids.size)
    lowest, highest = kernels.structure.id_range(source_ids, target_ids, other_ids)
    if lowest < 0:
        raise ValueError(f"node ids must be at least 0, got {lowest}")
    if hidden is None and highest < n_fixed + 16 * source_ids.size + 8 * other_ids.size + 1024:
        hidden, source, target = kernels.structure.number_nodes(n_inputs, n_outputs, source_ids, target_ids,
                                                                other_ids, max(highest + 1, n_fixed))
    else:
        if hidden is None:
            hidden = np.unique(np.concatenate([source_ids, target_ids, other_ids]))
            hidden = hidden[np.searchsorted(hidden, n_fixed):]
        source = _number(source_ids, n_inputs, n_outputs, hidden)
        target = _number(target_ids, n_inputs, n_outputs, hidden)
    n = n_fixed + hidden.size
    delays = NO_DELAY if delayed is None else delayed
    if not kernels.structure.ends_fit(n, n_inputs, n_outputs, source, target, delays):
        check_ends(n, n_inputs, n_outputs, source, target, delayed, source_ids, target_ids)  # says which
    ids = np.concatenate([np.arange(n_inputs), hidden, np.arange(n_inputs, n_fixed)])
    return sort_nodes(n_inputs, n_outputs, ids, source, target, delayed)[:2]


def check_size(connections: int, nodes: int = 0) -> None:
    """Refuse what int32 positions could not count."""
    for count, name in ((connections, "connections"), (nodes, "nodes")):
        if count > MAX_CONNECTIONS:
            raise ValueError(f"a network must have at most {MAX_CONNECTIONS} {name}, got {count}")


def _number(ids: np.ndarray, n_inputs: int, n_outputs: int, hidden: np.ndarray) -> np.ndarray:
    """Provisional positions: inputs, hidden in the given order, outputs."""
    order = np.argsort(hidden)
    place = np.searchsorted(hidden, ids, sorter=order)
    ranks = order[np.minimum(place, order.size - 1)] if order.size else place
    moved = np.where(ids < n_inputs + n_outputs, ids + hidden.size, ranks + n_inputs)
    return np.where(ids < n_inputs, ids, moved)


def check_ends(n: int, n_inputs: int, n_outputs: int, source: np.ndarray, target: np.ndarray,
               delayed: np.ndarray | None, source_ids: np.ndarray, target_ids: np.ndarray) -> None:
    """Refuse connections into inputs, and forward ones out of outputs or from a node to itself."""
    into_input = target < n_inputs
    if into_input.any():
        i = int(into_input.argmax())
        raise ValueError(f"a connection must not lead into an input, got {source_ids[i]} -> {target_ids[i]}")
    out_of_output = source >= n - n_outputs
    to_itself = source == target
    if delayed is not None:
        out_of_output &= ~delayed
        to_itself &= ~delayed
    if out_of_output.any():
        i = int(out_of_output.argmax())
        hint = "mark it delayed" if delayed is not None else "use net.as_recurrent() first"
        raise ValueError(f"a forward connection must not leave an output, got {source_ids[i]} -> {target_ids[i]}: "
                         f"{hint}")
    if to_itself.any():
        i = int(to_itself.argmax())
        hint = "mark it delayed" if delayed is not None else "use net.as_recurrent() first"
        raise ValueError(f"a forward connection must join two nodes, got {source_ids[i]} -> {target_ids[i]}: {hint}")


def sort_nodes(n_inputs: int, n_outputs: int, ids: np.ndarray, source: np.ndarray, target: np.ndarray,
               delayed: np.ndarray | None) -> tuple[Graph, np.ndarray, np.ndarray]:
    """Order nodes (given with inputs first, outputs last) and connections; names a cycle or a duplicate.

    Returns the graph, the order of the connections and the order of the nodes (former numbers).
    """
    delays = NO_DELAY if delayed is None else delayed
    position, placed = kernels.structure.arrange(ids.size, n_inputs, n_outputs, source, target, delays)
    if placed < ids.size:
        names = " -> ".join(str(ids[node]) for node in _cycle(position, source, target, delays))
        raise ValueError(f"forward connections must not close a cycle, got {names}: use a recurrent network")
    order, incoming, duplicate = kernels.structure.pack(ids.size, position[source], position[target])
    if duplicate >= 0:
        raise ValueError("two nodes must be joined by at most one connection, got a second one "
                         f"{ids[source[duplicate]]} -> {ids[target[duplicate]]}")
    nodes = np.empty_like(position)
    nodes[position] = np.arange(ids.size)
    graph = Graph(n_inputs, n_outputs, ids[nodes], incoming, position[source[order]].astype(np.int32),
                  None if delayed is None else delayed[order])
    return graph, order, nodes


def _cycle(position: np.ndarray, source: np.ndarray, target: np.ndarray, delays: np.ndarray) -> list[int]:
    """A cycle among the nodes that Kahn's algorithm could not place, first node repeated at the end."""
    inside = (position[source] < 0) & (position[target] < 0)
    if delays.size:
        inside &= ~delays
    before = dict(zip(target[inside].tolist(), source[inside].tolist(), strict=True))
    node = next(iter(before))
    seen: dict[int, int] = {}
    path: list[int] = []
    while node not in seen:
        seen[node] = len(path)
        path.append(node)
        node = before[node]
    cycle = [*path[seen[node]:], node]
    return cycle[::-1]
