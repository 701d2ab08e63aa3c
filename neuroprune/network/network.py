"""The Network: a frozen graph with columns of numbers."""

from typing import Any

import numpy as np

from neuroprune import activations, kernels, rng
from neuroprune.network import create, edit, prune, run
from neuroprune.network.gradient import gradient
from neuroprune.network.graph import Graph
from neuroprune.network.prune import PruningSchedule
from neuroprune.network.regrow import regrow
from neuroprune.network.signals import signals
from neuroprune.network.train import train
from neuroprune.network.views import Connections, Nodes


class Network:
    """A neural network of any topology that is evolved, trained and pruned while it lives.

    The wiring (`net.graph`) is frozen and replaced as a whole when it changes; weights and biases are plain columns
    that change in place. Nodes are listed in activation order, inputs first, outputs last.

    Make one with `Network.dense`, `Network.random`, `Network.from_connections`, `Network.from_dense` or `Network.load`.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 3, 1], seed=0)
    >>> net([0.5, -1.0]).shape, net([[0.5, -1.0], [1.0, 1.0]]).shape
    ((1,), (2, 1))
    >>> result = net.prune_to_sparsity(0.5)
    >>> len(net.connections), net.sparsity
    (5, 0.4444444444444444)
    """

    __slots__ = ("_graph", "_parameters", "_weight", "_bias", "_code", "_default_code", "_signals", "_signals_end",
                 "_state", "_schedule", "_training_baseline", "_evolution_baseline", "_last_prune_iteration",
                 "_iteration", "_seed", "_rng", "_rng_state", "_trail")

    def __init__(self, graph: Graph, weight: np.ndarray, bias: np.ndarray, code: np.ndarray, default_code: int,
                 seed: int | np.random.Generator | None = None) -> None:
        if not kernels.structure.sound(graph.incoming, graph.source, graph.delays, graph.n_inputs, graph.n_outputs):
            raise ValueError("a graph must have its connections sorted by target and source and forward unless "
                             "delayed: make networks with Network.from_connections")
        if (weight.shape, bias.shape, code.shape) != ((graph.n_connections,), (graph.n_nodes,), (graph.n_nodes,)):
            raise ValueError(f"weight, bias and code must have shapes ({graph.n_connections},), ({graph.n_nodes},) and "
                             f"({graph.n_nodes},), got {weight.shape}, {bias.shape} and {code.shape}")
        self._graph = graph
        self._hold(weight, bias)
        self._code = np.array(code, np.uint8)  # kernels trust its type
        self._default_code = default_code
        self._signals: tuple[np.ndarray, ...] | None = None  # sums of g, -w g and g^2; of g alone if a user set it
        self._signals_end = False
        self._state: np.ndarray | None = None
        self._schedule: PruningSchedule | None = None
        self._training_baseline: int | None = None
        self._evolution_baseline: int | None = None
        self._last_prune_iteration: int | None = None
        self._iteration = 0
        self._rng_state: dict | None = None
        self._trail: list[Graph] | None = None  # the graphs that came since, while a training wants to know
        seed = rng.check_seed(seed)
        self._rng = seed if isinstance(seed, np.random.Generator) else None
        self._seed = None if self._rng is not None else seed

    def _hold(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Lay weights and biases side by side in one block, of which the columns are views."""
        count = weight.size
        self._parameters = np.empty(count + bias.size)
        self._weight = self._parameters[:count]
        self._bias = self._parameters[count:]
        self._weight[:] = weight
        self._bias[:] = bias

    def _replace(self, graph: Graph, weight: np.ndarray, signals: tuple[np.ndarray, ...] | None,
                 nodes: np.ndarray | None = None) -> None:
        """Put a new graph in place; nodes holds the former position of each node, -1 for a new one, None for all."""
        self._weight.flags.writeable = self._bias.flags.writeable = False
        if self._signals is not signals:
            self._retire_signals()
        if self._trail is not None:
            self._trail.append(graph)
        if nodes is None:
            bias = self._bias
        else:
            fresh = nodes < 0
            bias = np.where(fresh, 0.0, self._bias[nodes])
            self._code = np.where(fresh, self._default_code, self._code[nodes]).astype(np.uint8)
            if self._state is not None:
                self._state = np.where(fresh, 0.0, self._state[:, nodes])
        self._graph = graph
        self._hold(weight, bias)
        self._signals = signals

    def _retire_signals(self) -> None:
        """From now on the columns of the accumulated signals can only be read."""
        for column in self._signals or ():
            column.flags.writeable = False

    def _record(self, signals: tuple[np.ndarray, ...] | None) -> None:
        """Put other accumulated signals in place; columns that are there already stay, with new numbers."""
        if signals is None:
            self._retire_signals()
            self._signals = None
        else:
            there = self._signals or ()
            for column, values in zip(there, signals, strict=False):
                column[:] = values
            self._signals = there + signals[len(there):]
        self._signals_end = False

    # Making one

    dense = classmethod(create.dense)
    random = classmethod(create.random)
    from_connections = classmethod(create.from_connections)

    def copy(self) -> "Network":
        """Return a network that shares the frozen graph and has its own numbers, state and RNG state.

        Copies draw the same random numbers as the original would; assign `rng` where they are to differ.
        """
        other = object.__new__(type(self))
        other._graph = self._graph
        count = self._weight.size
        other._parameters = parameters = self._parameters.copy()
        other._weight = parameters[:count]
        other._bias = parameters[count:]
        other._code = self._code.copy()
        other._default_code = self._default_code
        other._signals = None if self._signals is None else tuple(column.copy() for column in self._signals)
        other._signals_end = self._signals_end
        other._state = None if self._state is None else self._state.copy()
        other._schedule = self._schedule
        other._training_baseline = self._training_baseline
        other._evolution_baseline = self._evolution_baseline
        other._last_prune_iteration = self._last_prune_iteration
        other._iteration = self._iteration
        other._seed = self._seed
        other._rng = None
        other._trail = None
        other._rng_state = self._rng_state if self._rng is None else self._rng.bit_generator.state
        return other

    __copy__ = copy

    def __deepcopy__(self, memo: dict) -> "Network":
        return self.copy()

    def __reduce__(self) -> tuple:
        names = [activations.name(int(code)) for code in self._code]
        rest = {"default": activations.name(self._default_code), "signals": self._signals,
                "signals_end": self._signals_end, "state": self._state, "schedule": self._schedule,
                "training_baseline": self._training_baseline, "evolution_baseline": self._evolution_baseline,
                "last_prune_iteration": self._last_prune_iteration, "iteration": self._iteration,
                "seed": self._seed,
                "rng_state": self._rng_state if self._rng is None else self._rng.bit_generator.state}
        return create.restore, (type(self), self._graph, self._weight, self._bias, names, rest)

    def equals(self, other: "Network") -> bool:
        """Whether ids, wiring, weights, biases and activations are the same; RNG, schedule and baselines may differ.

        Examples
        --------
        >>> import neuroprune as npr
        >>> net = npr.Network.dense([2, 1], seed=0)
        >>> twin = net.copy()
        >>> net.equals(twin)
        True
        >>> twin.connections.weight += 1.0
        >>> net.equals(twin)
        False
        """
        if not isinstance(other, Network):
            return False
        mine, theirs = self._graph, other._graph
        return mine is theirs and np.array_equal(self._parameters, other._parameters) and self._same_codes(other) or (
            mine.n_inputs == theirs.n_inputs and mine.n_outputs == theirs.n_outputs
            and np.array_equal(mine.ids, theirs.ids) and np.array_equal(mine.incoming, theirs.incoming)
            and np.array_equal(mine.source, theirs.source) and mine.recurrent == theirs.recurrent
            and np.array_equal(mine.delays, theirs.delays)
            and np.array_equal(self._parameters, other._parameters) and self._same_codes(other))

    def _same_codes(self, other: "Network") -> bool:
        first = self._graph.n_inputs
        return np.array_equal(self._code[first:], other._code[first:])

    # Looking

    @property
    def graph(self) -> Graph:
        """The frozen wiring."""
        return self._graph

    @property
    def connections(self) -> Connections:
        """The connections, a list-like view."""
        return Connections(self)

    @property
    def nodes(self) -> Nodes:
        """The nodes in activation order, a list-like view."""
        return Nodes(self)

    def node(self, node_id: int) -> Any:
        """The node with this id; `LookupError` when there is none."""
        return self.nodes[self._graph.position(node_id)]

    def connection(self, source_id: int, target_id: int) -> Any:
        """The connection between two nodes; `LookupError` when there is none."""
        graph = self._graph
        index = graph.find(graph.position(source_id), graph.position(target_id))
        if index < 0:
            raise LookupError(f"connection must exist, got {source_id} -> {target_id}: see net.connections")
        return self.connections[index]

    @property
    def parameters(self) -> np.ndarray:
        """All weights, then the biases of the non-input nodes, as one flat float64 vector (a copy); assignable."""
        first = self._weight.size
        return np.concatenate([self._weight, self._parameters[first + self._graph.n_inputs:]])

    @parameters.setter
    def parameters(self, values: Any) -> None:
        edit.set_parameters(self, values)

    @property
    def default_activation(self) -> str:
        """Name of the activation that a new node gets."""
        return activations.name(self._default_code)

    @property
    def seed(self) -> int | None:
        """The seed this network was made with (recorded when it was drawn), None when it was given a Generator."""
        return self._seed

    @property
    def rng(self) -> np.random.Generator:
        """The network's random generator, made on first use; assignable."""
        if self._rng is None:
            self._rng = rng.generator(self._seed) if self._rng_state is None else rng.from_state(self._rng_state)
            self._rng_state = None
        return self._rng

    @rng.setter
    def rng(self, generator: np.random.Generator) -> None:
        if not isinstance(generator, np.random.Generator):
            raise TypeError(f"net.rng must be a numpy.random.Generator, got {type(generator).__name__}")
        self._rng = generator
        self._rng_state = None

    @property
    def rng_state(self) -> dict:
        """The exact state of `net.rng` as plain JSON types; assign it to continue from there."""
        return rng.to_json(self.rng.bit_generator.state)

    @rng_state.setter
    def rng_state(self, state: dict) -> None:
        self._rng = rng.from_state(state)
        self._rng_state = None

    # Running

    activate = run.activate
    __call__ = run.activate
    reset = run.reset
    run = run.run

    # Rewiring

    as_recurrent = edit.as_recurrent
    connect = edit.connect
    disconnect = edit.disconnect
    keep = edit.keep
    add_node = edit.add_node
    remove_node = edit.remove_node
    trim = edit.trim

    # Pruning

    @property
    def pruning(self) -> PruningSchedule | None:
        """The pruning schedule; assigning one captures the training baseline, None removes both."""
        return self._schedule

    @pruning.setter
    def pruning(self, schedule: PruningSchedule | None) -> None:
        prune.set_schedule(self, schedule)

    @property
    def initial_connection_count(self) -> int | None:
        """The training baseline: how many connections there were when the schedule was set."""
        return self._training_baseline

    @property
    def evolution_baseline(self) -> int | None:
        """How many connections there were at the first `prune_to_sparsity`, plus what mutation added since."""
        return self._evolution_baseline

    @property
    def last_prune_iteration(self) -> int | None:
        """The iteration at which the schedule last fired, or found its target met at its end."""
        return self._last_prune_iteration

    @property
    def iteration(self) -> int:
        """Optimizer steps taken so far, over all calls of `train`."""
        return self._iteration

    @property
    def sparsity(self) -> float:
        """1 - connections / baseline, in [0, 1]: the training baseline, else the evolutionary one, else 0."""
        baseline = self._training_baseline or self._evolution_baseline
        return min(max(1.0 - self._graph.n_connections / baseline, 0.0), 1.0) if baseline else 0.0

    def get_current_sparsity(self) -> float:
        """The same as `net.sparsity`, under the name that people of the TypeScript library look for."""
        return self.sparsity

    maybe_prune = prune.maybe_prune
    prune_to_sparsity = prune.prune_to_sparsity
    regrow = regrow
    maybePrune = prune.maybe_prune  # noqa: N815 (the names of the TypeScript library)
    pruneToSparsity = prune.prune_to_sparsity  # noqa: N815
    getCurrentSparsity = get_current_sparsity  # noqa: N815

    # Training

    gradient = gradient
    signals = signals
    train = train

    # Files and pictures

    def save(self, path: Any) -> None:
        """Write everything to a `.json` (readable) or `.npz` (compact) file, atomically."""
        from neuroprune.network import files

        files.save(self, path)

    @classmethod
    def load(cls, path: Any) -> "Network":
        """Read a network back, bit for bit; a damaged file gives a `ValueError` and never runs code."""
        from neuroprune.network import files

        return files.load(cls, path)

    def to_networkx(self) -> Any:
        """A `networkx.DiGraph` with all attributes; see `neuroprune.interop.networkx`."""
        from neuroprune.interop import networkx

        return networkx.to_networkx(self)

    @classmethod
    def from_networkx(cls, graph: Any, inputs: Any = None, outputs: Any = None) -> "Network":
        """Make a network from a `networkx.DiGraph`; see `neuroprune.interop.networkx`."""
        from neuroprune.interop import networkx

        return networkx.from_networkx(cls, graph, inputs, outputs)

    def to_dense(self, limit: int = 2**27) -> list:
        """Dense layers with the same outputs, as a list of `npr.DenseLayer`; see `neuroprune.interop.dense`."""
        from neuroprune.interop import dense

        return dense.to_dense(self, limit)

    @classmethod
    def from_dense(cls, layers: Any, seed: int | np.random.Generator | None = None) -> "Network":
        """Make a network from a list of `npr.DenseLayer`; see `neuroprune.interop.dense`."""
        from neuroprune.interop import dense

        return dense.from_dense(cls, layers, seed)

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the network and return the Axes; see `neuroprune.plot.network`."""
        from neuroprune import plot

        return plot.network(self, ax=ax, **options)

    def _repr_html_(self) -> str:
        from neuroprune import plot

        return plot.network_svg(self)

    def __repr__(self) -> str:
        graph = self._graph
        recurrent = ", recurrent" if graph.recurrent else ""
        return (f"<Network: {graph.n_inputs} inputs, {graph.n_hidden} hidden, {graph.n_outputs} outputs, "
                f"{graph.n_connections} connections{recurrent}>")
