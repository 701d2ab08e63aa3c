"""List-like views of a network's nodes and connections: columns as arrays, rows as light handles."""

import operator
import reprlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations

if TYPE_CHECKING:
    from neuroprune.network.network import Network


class _View:
    """What nodes and connections share: length, iteration, index, slice, boolean mask.

    A whole view follows its network; a part of one (`rows` given) and a handle belong to one graph.
    """

    __slots__ = ("_network", "_graph", "_rows")
    _word = ""  # how messages and error texts call the view
    _size = ""  # the attribute of the graph that counts its rows
    _row: type  # the handle of one row

    def __init__(self, network: "Network", rows: np.ndarray | None = None) -> None:
        self._network = network
        self._graph = None if rows is None else network.graph
        self._rows = rows

    def _check(self) -> None:
        if self._graph is not None and self._graph is not self._network.graph:
            raise LookupError(f"these {self._word} must belong to the present wiring, but the network was rewired: "
                              f"take them again from net.{self._word}")

    def _total(self) -> int:
        return getattr(self._network.graph, self._size)

    def _column(self, column: np.ndarray) -> np.ndarray:
        """The whole column as it is, or a read-only part of it."""
        self._check()
        if self._rows is None:
            return column
        part = column[self._rows]
        part.flags.writeable = False
        return part

    def _write(self, column: np.ndarray, values: Any, name: str) -> None:
        if self._rows is not None:
            raise ValueError(f"columns of a part are read-only, got an assignment to .{name}: assign "
                             f"net.{self._word}.{name}[...] instead")
        column[:] = check_column(values, column.size, f"net.{self._word}.{name}")

    def __len__(self) -> int:
        self._check()
        return self._total() if self._rows is None else self._rows.size

    def __iter__(self) -> Iterator:
        self._check()
        rows = range(self._total()) if self._rows is None else self._rows.tolist()
        return iter([self._row(self._network, row) for row in rows])

    def __getitem__(self, key: Any) -> Any:
        self._check()
        rows = np.arange(self._total()) if self._rows is None else self._rows
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            if not -rows.size <= key < rows.size:
                raise IndexError(f"index must be in [-{rows.size}, {rows.size}), got {key}")
            return self._row(self._network, int(rows[key]))
        if isinstance(key, slice):
            return type(self)(self._network, rows[key])
        mask = np.asarray(key)
        if mask.dtype != np.bool_ or mask.shape != rows.shape:
            raise IndexError(f"index must be an integer, a slice or a boolean mask of length {rows.size}, got "
                             f"{mask.dtype} of shape {mask.shape}")
        return type(self)(self._network, rows[mask])


class _Handle:
    """One row; raises LookupError after a rewiring."""

    __slots__ = ("_network", "_graph", "_index")
    _word = ""

    def __init__(self, network: "Network", index: int) -> None:
        object.__setattr__(self, "_network", network)
        object.__setattr__(self, "_graph", network.graph)
        object.__setattr__(self, "_index", index)

    def __setattr__(self, name: str, value: Any) -> None:
        descriptor = getattr(type(self), name, None)
        if not isinstance(descriptor, property) or descriptor.fset is None:
            raise AttributeError(f"a {self._word} has no writable attribute {name!r}")
        object.__setattr__(self, name, value)

    def _row(self) -> int:
        if self._graph is not self._network.graph:
            raise LookupError(f"this {self._word} must belong to the present wiring, but the network was rewired: "
                              f"take it again from net.{self._word}s")
        return self._index


class Connection(_Handle):
    """One connection: `.source` and `.target` (ids), `.weight` (writable), `.delayed`."""

    __slots__ = ()
    _word = "connection"

    @property
    def source(self) -> int:
        """Id of the source node."""
        row = self._row()
        return int(self._graph.ids[self._graph.source[row]])

    @property
    def target(self) -> int:
        """Id of the target node."""
        row = self._row()
        return int(self._graph.ids[np.searchsorted(self._graph.incoming, row, side="right") - 1])

    @property
    def weight(self) -> float:
        """The weight; assignable."""
        return float(self._network.connections.weight[self._row()])

    @weight.setter
    def weight(self, value: float) -> None:
        row = self._row()
        self._network.connections.weight[row] = check_number(value, "weight")

    @property
    def delayed(self) -> bool:
        """Whether it reads its source's value of the previous step."""
        row = self._row()
        return bool(self._graph.recurrent and self._graph.delayed[row])

    def __repr__(self) -> str:
        delayed = ", delayed" if self.delayed else ""
        return f"<Connection {self.source} -> {self.target}, weight {self.weight:.6g}{delayed}>"


class Node(_Handle):
    """One node: `.id`, `.kind`, `.bias` and `.activation` (both writable)."""

    __slots__ = ()
    _word = "node"

    @property
    def id(self) -> int:
        """The id, which stays the same for the node's whole life."""
        row = self._row()
        return int(self._graph.ids[row])

    @property
    def kind(self) -> str:
        """'input', 'hidden' or 'output'."""
        return str(self._network.nodes.kind[self._row()])

    @property
    def bias(self) -> float:
        """The bias; assignable for nodes that are no inputs."""
        return float(self._network.nodes.bias[self._row()])

    @bias.setter
    def bias(self, value: float) -> None:
        row = self._row()
        value = check_number(value, "bias")
        if row < self._graph.n_inputs and value != 0.0:
            raise ValueError(f"an input has no bias, got {value} for node {self.id}")
        self._network.nodes.bias[row] = value

    @property
    def activation(self) -> str:
        """Name of the activation; assignable for nodes that are no inputs."""
        return activations.name(int(self._network._code[self._row()]))

    @activation.setter
    def activation(self, name: str) -> None:
        row = self._row()
        code = activations.code(name)
        if row < self._graph.n_inputs:
            raise ValueError(f"an input has no activation, got {name!r} for node {self.id}")
        self._network._code[row] = code

    def __repr__(self) -> str:
        return f"<Node {self.id}, {self.kind}, {self.activation}, bias {self.bias:.6g}>"


class Connections(_View):
    """The connections of a network in storage order: by target, then source.

    `.weight` is live and writable; `.source` and `.target` are read-only ids; `.accumulated_gradient`,
    `.accumulated_movement` and `.accumulated_squared_gradient` are what training summed up since the last pruning, or
    None.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(2, 1, [(0, 2, 0.5), (1, 2, -1.0)])
    >>> len(net.connections), net.connections.weight.tolist(), (1, 2) in net.connections
    (2, [0.5, -1.0], True)
    >>> net.connections[-1].weight = 3.0
    >>> net.connections.weight.tolist()
    [0.5, 3.0]
    """

    __slots__ = ()
    _word = "connections"
    _size = "n_connections"
    _row = Connection

    @property
    def source(self) -> np.ndarray:
        """Ids of the sources, int64, read-only."""
        return self._column(self._network.graph.source_ids)

    @property
    def target(self) -> np.ndarray:
        """Ids of the targets, int64, read-only."""
        return self._column(self._network.graph.target_ids)

    @property
    def delayed(self) -> np.ndarray:
        """Which connections read the previous step, bool, read-only; all False in an acyclic network."""
        graph = self._network.graph
        column = graph.delayed if graph.recurrent else np.zeros(graph.n_connections, np.bool_)
        column.flags.writeable = False
        return self._column(column)

    @property
    def weight(self) -> np.ndarray:
        """Weights, float64, live; assignment writes in place."""
        return self._column(self._network._weight)

    @weight.setter
    def weight(self, values: Any) -> None:
        self._write(self._network._weight, values, "weight")

    @property
    def accumulated_gradient(self) -> np.ndarray | None:
        """Signed sum of the mini-batch gradients g since the last pruning, float64, live; None before any."""
        return self._signal(0)

    @accumulated_gradient.setter
    def accumulated_gradient(self, values: Any) -> None:
        network = self._network
        if values is None:
            network._record(None)
        elif network._signals is None:
            column = np.zeros(network.graph.n_connections)
            self._write(column, values, "accumulated_gradient")
            network._record((column,))
        else:
            self._write(network._signals[0], values, "accumulated_gradient")
            network._signals_end = False

    @property
    def accumulated_movement(self) -> np.ndarray | None:
        """Sum of -w g over the steps of training since the last pruning, float64, live; None before any."""
        return self._signal(1)

    @property
    def accumulated_squared_gradient(self) -> np.ndarray | None:
        """Sum of g^2 over the steps of training since the last pruning, float64, live; None before any."""
        return self._signal(2)

    def _signal(self, row: int) -> np.ndarray | None:
        columns = self._network._signals
        return None if columns is None or row >= len(columns) else self._column(columns[row])

    def __contains__(self, pair: Any) -> bool:
        graph = self._network.graph
        self._check()
        try:
            source, target = map(graph.position, map(operator.index, pair))
        except (TypeError, ValueError, LookupError):  # no pair, no integers, no such nodes
            return False
        index = graph.find(source, target)
        return index >= 0 and (self._rows is None or bool((self._rows == index).any()))

    def __repr__(self) -> str:
        return f"<Connections: {len(self)} rows; columns source, target, weight, delayed, accumulated_gradient>"


class Nodes(_View):
    """The nodes of a network in activation order.

    `.bias` is live and writable (input rows stay 0); `.id` and `.kind` are read-only; `.activation` gives names,
    and takes one name for all or one for each node.
    """

    __slots__ = ()
    _word = "nodes"
    _size = "n_nodes"
    _row = Node

    @property
    def id(self) -> np.ndarray:
        """Ids in activation order, int64, read-only."""
        return self._column(self._network.graph.ids)

    @property
    def kind(self) -> np.ndarray:
        """'input', 'hidden' or 'output' of each node, read-only."""
        graph = self._network.graph
        kinds = np.repeat(np.array(["input", "hidden", "output"]), [graph.n_inputs, graph.n_hidden, graph.n_outputs])
        kinds.flags.writeable = False
        return self._column(kinds)

    @property
    def bias(self) -> np.ndarray:
        """Biases, float64, live; assignment writes in place and wants 0 for inputs."""
        return self._column(self._network._bias)

    @bias.setter
    def bias(self, values: Any) -> None:
        network = self._network
        if self._rows is None:
            values = check_column(values, network.graph.n_nodes, "net.nodes.bias")
            check_input_bias(network, values)
        self._write(network._bias, values, "bias")

    @property
    def activation(self) -> np.ndarray:
        """Names of the activations, read-only; assign one name, or one for each node (inputs are passed over)."""
        names = np.array([activations.name(int(code)) for code in self._network._code])
        names.flags.writeable = False
        return self._column(names)

    @activation.setter
    def activation(self, names: Any) -> None:
        network = self._network
        if self._rows is not None:
            raise ValueError("columns of a part are read-only, got an assignment to .activation: assign "
                             "net.nodes[i].activation instead")
        n_inputs, n = network.graph.n_inputs, network.graph.n_nodes
        if isinstance(names, str):
            names = [names] * n
        if not isinstance(names, (Sequence, np.ndarray)):
            raise TypeError(f"net.nodes.activation must be a name or {n} names, got {names!r}")
        if len(names) != n:
            raise ValueError(f"net.nodes.activation must have {n} names, got {len(names)}")
        network._code[n_inputs:] = [activations.code(str(name)) for name in names[n_inputs:]]

    def __repr__(self) -> str:
        return f"<Nodes: {len(self)} rows; columns id, kind, bias, activation>"


def check_number(value: Any, name: str) -> float:
    """A finite float, or an error of one sentence."""
    if isinstance(value, (bool, str)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not np.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def numbers(values: Any, name: str, fresh: bool = False) -> np.ndarray:
    """A float64 array in C order, a new one when `fresh`, or an error that says what should have been one."""
    try:
        array = np.asarray(values)
        if array.size and array.dtype.kind not in "iufb":
            raise TypeError
        return array.astype(np.float64, order="C", copy=fresh)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be numbers, got {' '.join(reprlib.repr(values).split())}") from None


def check_column(values: Any, size: int, name: str) -> np.ndarray:
    """A float64 array of one value or `size` finite values."""
    column = numbers(values, name)
    if column.shape not in ((), (size,)):
        raise ValueError(f"{name} must have shape ({size},), got {column.shape}")
    finite = np.isfinite(column)
    if not finite.all():
        index = int(np.argmin(finite)) if column.ndim else 0
        raise ValueError(f"{name} must be finite, got {column.reshape(-1)[index]} at index {index}")
    return np.broadcast_to(column, (size,))


def check_input_bias(network: "Network", bias: np.ndarray) -> None:
    """Refuse biases of inputs other than 0."""
    wrong = np.flatnonzero(bias[:network.graph.n_inputs])
    if wrong.size:
        raise ValueError(f"net.nodes.bias must be 0 for inputs, got {bias[wrong[0]]} at index {wrong[0]}")
