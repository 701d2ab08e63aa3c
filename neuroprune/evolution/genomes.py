"""Networks stored packed: columns with offsets, no object per gene, and none per network until it is asked for."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels
from neuroprune.network import create
from neuroprune.network.graph import Graph
from neuroprune.network.run import threads
from neuroprune.rng import stream

if TYPE_CHECKING:
    from neuroprune.network.network import Network

THREADED_EDGES = 100_000  # connections of a batch from which threads pay


class Genomes(Sequence):
    """Networks of one shape of inputs and outputs, packed; a sequence of Networks over its columns.

    `genomes[i]` is a Network whose numbers are those of the columns: writing a weight writes it here. Rewiring it
    detaches it: it gets columns of its own. A slice, a list or an array of indices gives copies.

    Attributes
    ----------
    n_inputs, n_outputs : int
    recurrent : bool
    default_code : int
        Activation code of new nodes.
    columns : kernels.genomes.Columns
        The columns, as kernels take them.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.genomes import Genomes
    >>> genomes = Genomes.pack([npr.Network.dense([2, 3, 1], seed=seed) for seed in range(4)])
    >>> len(genomes), genomes.n_connections.tolist(), genomes[3]
    (4, [9, 9, 9, 9], <Network: 2 inputs, 3 hidden, 1 outputs, 9 connections>)
    """

    def __init__(self, n_inputs: int, n_outputs: int, recurrent: bool, default_code: int, columns: Any) -> None:
        self.n_inputs = n_inputs
        self.n_outputs = n_outputs
        self.recurrent = recurrent
        self.default_code = default_code
        self.columns = columns
        self.streams: tuple[int, int] | None = None  # seed and generation of the streams of its networks

    @classmethod
    def room_for(cls, n_inputs: int, n_outputs: int, recurrent: bool, default_code: int, n_nodes: np.ndarray,
                 n_edges: np.ndarray) -> "Genomes":
        """Room for genomes of at most so many nodes and connections each; they have none yet."""
        n_nodes, n_edges = np.asarray(n_nodes, np.int64), np.asarray(n_edges, np.int64)
        nodes, edges = int(n_nodes.sum()) + n_nodes.size, int(n_edges.sum())
        columns = kernels.genomes.Columns(
            node_start=np.cumsum(n_nodes + 1) - (n_nodes + 1), n_nodes=np.zeros(n_nodes.size, np.int64),
            edge_start=np.cumsum(n_edges) - n_edges, n_edges=np.zeros(n_nodes.size, np.int64),
            baseline=np.zeros(n_nodes.size, np.int64), ids=np.zeros(nodes, np.int64),
            incoming=np.zeros(nodes, np.int64), code=np.zeros(nodes, np.uint8), source=np.zeros(edges, np.int32),
            delayed=np.zeros(max(edges, 1) if recurrent else 0, np.bool_), parameters=np.zeros(nodes + edges))
        return cls(n_inputs, n_outputs, recurrent, default_code, columns)

    @classmethod
    def pack(cls, networks: Sequence["Network"]) -> "Genomes":
        """Copy networks, which must agree in inputs, outputs and recurrence; new nodes get the first one's default."""
        if not networks:
            raise ValueError("genomes must be at least one network, got none")
        kinds = {(net.graph.n_inputs, net.graph.n_outputs, net.graph.recurrent) for net in networks}
        if len(kinds) > 1:
            raise ValueError("networks must agree in inputs, outputs and recurrence, got "
                             f"{len(kinds)} kinds: bring them to one shape first")
        result = cls.room_for(*kinds.pop(), networks[0]._default_code, [net.graph.n_nodes for net in networks],
                              [net.graph.n_connections for net in networks])
        columns = result.columns
        for i, net in enumerate(networks):
            graph = net.graph
            node, edge = int(columns.node_start[i]), int(columns.edge_start[i])
            n, e = graph.n_nodes, graph.n_connections
            columns.n_nodes[i], columns.n_edges[i], columns.baseline[i] = n, e, net.evolution_baseline or 0
            columns.ids[node:node + n] = graph.ids
            columns.incoming[node:node + n + 1] = graph.incoming
            columns.code[node:node + n] = net._code
            columns.source[edge:edge + e] = graph.source
            columns.parameters[node + edge:node + edge + e + n] = net._parameters
            if graph.recurrent:
                columns.delayed[edge:edge + e] = graph.delayed
        return result

    def __len__(self) -> int:
        return self.columns.n_nodes.size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (slice, list, np.ndarray)):
            return self.take(np.arange(len(self))[index])
        i = range(len(self))[index]
        return self.network(i, self._block(i), 0 if self.streams is None else stream(*self.streams, i))

    def __iter__(self) -> Iterator["Network"]:
        return (self[i] for i in range(len(self)))

    def _block(self, i: int) -> np.ndarray:
        """Parameters of genome i, as a view."""
        columns = self.columns
        at = int(columns.node_start[i] + columns.edge_start[i])
        return columns.parameters[at:at + int(columns.n_edges[i] + columns.n_nodes[i])]

    def network(self, i: int, parameters: np.ndarray | None = None, seed: Any = 0) -> "Network":
        """Genome i as a Network on these parameters, by default on copies of all its numbers."""
        columns = self.columns
        node, edge = int(columns.node_start[i]), int(columns.edge_start[i])
        n, e = int(columns.n_nodes[i]), int(columns.n_edges[i])
        code = columns.code[node:node + n]
        graph = Graph(self.n_inputs, self.n_outputs, columns.ids[node:node + n], columns.incoming[node:node + n + 1],
                      columns.source[edge:edge + e], columns.delayed[edge:edge + e] if self.recurrent else None)
        if parameters is None:
            parameters, code = self._block(i).copy(), code.copy()
        return create.over(graph, parameters, code, self.default_code, int(columns.baseline[i]) or None, seed)

    def take(self, indices: Any) -> "Genomes":
        """A compact copy of the genomes of these indices, which may repeat."""
        indices = np.asarray(indices, np.int64)
        result = self.room_for(self.n_inputs, self.n_outputs, self.recurrent, self.default_code,
                               self.columns.n_nodes[indices], self.columns.n_edges[indices])
        if indices.size:
            kernels.genomes.gather(self.columns, indices, result.columns)
        return result

    def __reduce__(self) -> tuple:
        compact = self.take(np.arange(len(self)))
        return unpack, (self.n_inputs, self.n_outputs, self.recurrent, activations.name(self.default_code),
                        names_of(compact.columns.code), tuple(compact.columns))

    @property
    def n_nodes(self) -> np.ndarray:
        """Nodes of each genome, int64 (G,)."""
        return self.columns.n_nodes

    @property
    def n_connections(self) -> np.ndarray:
        """Connections of each genome, int64 (G,)."""
        return self.columns.n_edges

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in self.columns)

    def __repr__(self) -> str:
        kind = ", recurrent" if self.recurrent else ""
        return (f"<Genomes: {len(self)} networks, {self.n_inputs} inputs, {self.n_outputs} outputs{kind}, "
                f"{int(self.n_connections.sum())} connections>")


def names_of(code: np.ndarray) -> dict[int, str]:
    """What the activation codes of a column are called; codes of registered functions differ between processes."""
    return {int(one): activations.name(int(one)) for one in np.unique(code)}


def unpack(n_inputs: int, n_outputs: int, recurrent: bool, default: str, names: dict[int, str],
           columns: tuple) -> Genomes:
    """Put genomes together from their parts, as `pickle` does."""
    columns = kernels.genomes.Columns(*columns)
    table = np.zeros(256, np.uint8)
    for code, name in names.items():
        table[code] = activations.code(name)
    columns = columns._replace(code=table[columns.code])
    return Genomes(n_inputs, n_outputs, recurrent, activations.code(default), columns)


def in_chunks(work: Callable[[int, int], Any], count: int, edges: int) -> None:
    """Call work(first, last) over range(count), in threads when there is enough to do; the split changes no bit."""
    workers = min(threads(), count) if edges >= THREADED_EDGES else 1
    if workers <= 1:
        work(0, count)
        return
    bounds = [count * i // workers for i in range(workers + 1)]
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(work, *pair) for pair in zip(bounds[1:-1], bounds[2:], strict=True)]
        work(*bounds[:2])
        for other in others:
            other.result()
