"""Mutation operators: each changes one network in place, `operator(network, rng)`, and many in compiled programs.

An operator is a frozen dataclass that says which rows of a program (see `kernels.mutate`) it is. Called on a network
it runs that program on a batch of one; a Population runs the same program on all its children.
"""

from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroprune import activations
from neuroprune.evolution import program
from neuroprune.evolution.innovation import Innovations
from neuroprune.network import prune as pruning
from neuroprune.network.create import count_of
from neuroprune.network.graph import MAX_CONNECTIONS
from neuroprune.network.network import Network
from neuroprune.network.views import check_column, check_number
from neuroprune.pruning import masks, saliency
from neuroprune.rng import generator

IN_PROGRAMS = ("magnitude", "magnitude_l2", "random")  # methods by their code in kernels.mutate


class Operator:
    """What all operators share: `operator(network, rng)` changes the network in place.

    `rng` is a numpy Generator or a seed. Every invariant of the network is kept; an operator that cannot act (nothing
    left to remove, no room) leaves the network alone. Recorded gradients and state follow the connections and nodes;
    a grown connection sets the accumulated gradient to None, as `net.connect` does.
    """

    def __call__(self, network: Network, rng: np.random.Generator | int | None = None) -> None:
        """Change the network in place."""
        _check_network(network)
        program.run(program.compiled(self), network, generator(rng), getattr(self, "innovations", None))

    def rows(self, choices: list[int]) -> list[list]:
        """The rows of the operator; activation codes are appended to `choices`."""
        raise NotImplementedError(f"{type(self).__name__} has no rows")


def _check_network(network: Any) -> None:
    if not isinstance(network, Network):
        raise TypeError(f"an operator needs a Network, got {type(network).__name__}")


def _check_rate(operator: Operator, *names: str) -> None:
    for name in names:
        if not 0.0 <= check_number(getattr(operator, name), name) <= 1.0:
            raise ValueError(f"{name} must be in [0, 1], got {getattr(operator, name)}")


def _check_power(operator: Operator, *names: str) -> None:
    for name in names:
        if check_number(getattr(operator, name), name) < 0.0:
            raise ValueError(f"{name} must be at least 0, got {getattr(operator, name)}")


@dataclass(frozen=True)
class AddNode(Operator):
    """Split a random connection (Stanley & Miikkulainen 2002, section 3.1).

    The new node has bias 0 and the network's default activation; the connection into it has weight 1, the one out of
    it the old weight. It stands just before the target, or before the first output.

    Attributes
    ----------
    innovations : Innovations, optional
        Gives the same split the same node id in every network it is used on; without it the id is one more than the
        network's highest.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(1, 1, [(0, 1, 0.5)])
    >>> npr.mutation.AddNode()(net, 0)
    >>> net.connections.source.tolist(), net.connections.weight.tolist()
    ([0, 2], [1.0, 0.5])
    """

    innovations: Innovations | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.innovations, Innovations | None):
            raise TypeError(f"innovations must be npr.Innovations or None, got {type(self.innovations).__name__}")

    def rows(self, choices: list[int]) -> list[list]:
        return [["ADD_NODE"]]


@dataclass(frozen=True)
class RemoveNode(Operator):
    """Remove a random hidden node with its connections, unless these are all there are.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 3, 1], seed=0)
    >>> npr.mutation.RemoveNode()(net, 0)
    >>> net
    <Network: 2 inputs, 2 hidden, 1 outputs, 6 connections>
    """

    def rows(self, choices: list[int]) -> list[list]:
        return [["REMOVE_NODE"]]


@dataclass(frozen=True)
class AddConnection(Operator):
    """Join two nodes: every legal pair is equally likely, those against the present order included.

    Legal is what closes no cycle, leads into no input and, in an acyclic network, leaves no output; a recurrent one
    takes any pair into a non-input, delayed where the source does not come before the target.

    Attributes
    ----------
    power : float
        Standard deviation of the new weight, which is normal with mean 0; at least 0.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(2, 1, [(0, 2, 0.5)])
    >>> npr.mutation.AddConnection()(net, 0)
    >>> net.connections.source.tolist()
    [0, 1]
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        _check_power(self, "power")

    def rows(self, choices: list[int]) -> list[list]:
        return [["ADD_CONNECTION", self.power]]


@dataclass(frozen=True)
class RemoveConnection(Operator):
    """Remove a random connection, unless it is the last.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 1], seed=0)
    >>> npr.mutation.RemoveConnection()(net, 0)
    >>> len(net.connections)
    1
    """

    def rows(self, choices: list[int]) -> list[list]:
        return [["REMOVE_CONNECTION"]]


@dataclass(frozen=True)
class _Perturb(Operator):
    rate: float = 0.8
    power: float = 0.5
    replace_rate: float = 0.1
    replace_power: float = 1.0

    def __post_init__(self) -> None:
        _check_rate(self, "rate", "replace_rate")
        _check_power(self, "power", "replace_power")


@dataclass(frozen=True)
class PerturbWeights(_Perturb):
    """Change weights: each with probability `rate`, by a normal step or, more rarely, to a new number.

    Attributes
    ----------
    rate : float
        Probability that a weight changes, in [0, 1].
    power : float
        Standard deviation of a step.
    replace_rate : float
        Share of the changes that draw a new weight, in [0, 1].
    replace_power : float
        Standard deviation of a new weight.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 1], seed=0)
    >>> before = net.parameters
    >>> npr.mutation.PerturbWeights(rate=1.0)(net, 0)
    >>> bool((net.parameters[:2] != before[:2]).all()), bool(net.parameters[2] == before[2])
    (True, True)
    """

    def rows(self, choices: list[int]) -> list[list]:
        return [["PERTURB_WEIGHTS", self.rate, self.power, self.replace_rate, self.replace_power]]


@dataclass(frozen=True)
class PerturbBiases(_Perturb):
    """As `PerturbWeights`, for the biases of hidden nodes and outputs.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 1], seed=0)
    >>> npr.mutation.PerturbBiases(rate=1.0)(net, 0)
    >>> net.nodes.bias[:2].tolist(), bool(net.nodes.bias[2] != 0.0)
    ([0.0, 0.0], True)
    """

    def rows(self, choices: list[int]) -> list[list]:
        return [["PERTURB_BIASES", self.rate, self.power, self.replace_rate, self.replace_power]]


@dataclass(frozen=True)
class ChangeActivation(Operator):
    """Draw activations of hidden nodes and outputs anew.

    Attributes
    ----------
    choices : tuple of str
        Names to draw from, each equally likely.
    rate : float
        Probability for each node, in [0, 1].

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([1, 1], seed=0)
    >>> npr.mutation.ChangeActivation(("sin",), rate=1.0)(net, 0)
    >>> net.node(1).activation
    'sin'
    """

    choices: tuple[str, ...] = ("tanh", "sigmoid", "relu", "sin", "gaussian", "identity")
    rate: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, Listed) or not self.choices:
            raise ValueError(f"choices must be a tuple of names of activations, got {self.choices!r}")
        object.__setattr__(self, "choices", tuple(self.choices))
        for name in self.choices:
            activations.code(name)
        _check_rate(self, "rate")

    def rows(self, choices: list[int]) -> list[list]:
        first = len(choices)
        choices += [activations.code(name) for name in self.choices]
        return [["CHANGE_ACTIVATION", self.rate, first, len(self.choices)]]


class _Pruning(Operator):
    method: str | Callable

    def __call__(self, network: Network, rng: np.random.Generator | int | None = None) -> None:
        _check_network(network)
        if self.method not in IN_PROGRAMS:
            self._prune(network, generator(rng))
            return
        count = len(network.connections)
        check_column(network.connections.weight, count, "net.connections.weight")
        super().__call__(network, rng)
        network._signals_end |= len(network.connections) < count  # the next training step records anew

    def _code(self) -> int:
        if self.method not in IN_PROGRAMS:
            raise ValueError(f"method of a pruning that runs inside a program must be one of {', '.join(IN_PROGRAMS)}, "
                             f"got {self.method!r}: prune the population with GenerationPruning instead")
        return IN_PROGRAMS.index(self.method)

    def _prune(self, network: Network, rng: np.random.Generator) -> None:
        """What a scorer that needs more than the weight takes."""
        raise NotImplementedError(f"{type(self).__name__} ranks by what a program knows")


def _signals(method: str | Callable, rng: np.random.Generator) -> dict:
    return {"rng": rng} if "rng" in saliency.requires(method) else {}


@dataclass(frozen=True)
class Prune(_Pruning):
    """Remove a share of the present connections, lowest scores first; at least one stays.

    Attributes
    ----------
    fraction : float
        In [0, 1]: round(fraction * connections) go.
    method : str or function
        A scorer of `npr.saliency.SCORERS` or any `f(weight, **signals)`.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(3, 1, [(0, 3, 0.1), (1, 3, -2.0), (2, 3, 0.5)])
    >>> npr.mutation.Prune(0.3)(net, 0)
    >>> net.connections.weight.tolist()
    [-2.0, 0.5]
    """

    fraction: float = 0.1
    method: str | Callable = "magnitude"

    def __post_init__(self) -> None:
        _check_rate(self, "fraction")
        saliency.scorer(self.method)

    def rows(self, choices: list[int]) -> list[list]:
        return [["PRUNE", self.fraction, self._code()]]

    def _prune(self, network: Network, rng: np.random.Generator) -> None:
        count = network.graph.n_connections
        pruning.prune_to(network, max(1, count - masks.count(self.fraction, count)), self.method, None,
                         _signals(self.method, rng))


@dataclass(frozen=True)
class PruneToSparsity(_Pruning):
    """Prune to a share of the evolutionary baseline, exactly as `net.prune_to_sparsity` does.

    Attributes
    ----------
    target : float
        At most 0.999 counts; 0 or less does nothing.
    method : str or function
        A scorer of `npr.saliency.SCORERS` or any `f(weight, **signals)`.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([4, 5, 2], seed=0)
    >>> npr.mutation.PruneToSparsity(0.5)(net, 0)
    >>> len(net.connections), net.sparsity
    (15, 0.5)
    """

    target: float
    method: str | Callable = "magnitude"

    def __post_init__(self) -> None:
        check_number(self.target, "target")
        saliency.scorer(self.method)

    def rows(self, choices: list[int]) -> list[list]:
        return [["PRUNE_TO_SPARSITY", self.target, self._code()]]

    def _prune(self, network: Network, rng: np.random.Generator) -> None:
        network.prune_to_sparsity(self.target, self.method, **_signals(self.method, rng))


@dataclass(frozen=True)
class Regrow(Operator):
    """Grow connections at random free places of the present order, as many as there is room for.

    Attributes
    ----------
    count : int
        How many; at least 0. Weights are drawn from U(-0.1, 0.1).

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(3, 1, [(0, 3, 0.1)])
    >>> npr.mutation.Regrow(5)(net, 0)
    >>> len(net.connections)
    3
    """

    count: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", count_of(self.count, "count", 0))

    def rows(self, choices: list[int]) -> list[list]:
        return [["REGROW", min(self.count, MAX_CONNECTIONS)]]


@dataclass(frozen=True)
class Sequence(Operator):
    """Several operators, one after the other; without any it does nothing.

    Attributes
    ----------
    operators : tuple of operators

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([4, 5, 2], seed=0)
    >>> npr.mutation.Sequence([npr.mutation.Prune(0.5), npr.mutation.Regrow(3)])(net, 0)
    >>> len(net.connections)
    18
    """

    operators: Listed[Operator] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", _operators(self.operators))

    def __call__(self, network: Network, rng: np.random.Generator | int | None = None) -> None:
        _check_network(network)
        rng = generator(rng)
        for operator in self.operators:
            operator(network, rng)

    def rows(self, choices: list[int]) -> list[list]:
        return [row for operator in self.operators for row in operator.rows(choices)]


@dataclass(frozen=True)
class Choice(Operator):
    """One of several operators, drawn by weight.

    Attributes
    ----------
    operators : tuple of operators
    weights : tuple of float, optional
        How often each is drawn; equal by default. Weights that sum to more than 1 count in proportion and are stored
        so that they sum to 1; those that sum to less leave the network alone for the rest, so that
        `Choice([AddNode()], [0.03])` adds a node in 3 of 100 calls.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([4, 5, 2], seed=0)
    >>> npr.mutation.Choice([npr.mutation.AddNode(), npr.mutation.RemoveNode()], [1.0, 0.0])(net, 0)
    >>> net.graph.n_hidden
    6
    """

    operators: Listed[Operator]
    weights: Listed[float] | None = None

    def __post_init__(self) -> None:
        operators, weights = _operators(self.operators), self.weights
        count = len(operators)
        if not count:
            raise ValueError("a choice must have at least one operator, got none")
        if weights is not None and not isinstance(weights, Listed | np.ndarray):
            raise TypeError(f"weights must be a sequence of {count} numbers, got {weights!r}")
        values = [1.0 / count] * count if weights is None else [check_number(one, "a weight") for one in weights]
        if len(values) != count or min(values) < 0.0 or sum(values) == 0.0:
            raise ValueError(f"weights must be {count} numbers of at least 0, not all 0, got {weights!r}")
        object.__setattr__(self, "operators", operators)
        object.__setattr__(self, "weights", tuple(value / max(sum(values), 1.0) for value in values))

    def __call__(self, network: Network, rng: np.random.Generator | int | None = None) -> None:
        _check_network(network)
        rng = generator(rng)
        place = int(np.searchsorted(np.cumsum(self.weights), rng.random(), side="right"))
        if place < len(self.operators):
            self.operators[place](network, rng)

    def rows(self, choices: list[int]) -> list[list]:
        left = 1.0
        parts = []
        for operator, weight in zip(self.operators, self.weights, strict=True):
            inner = operator.rows(choices)
            parts.append([["SKIP", min(weight / left, 1.0) if left > 0.0 else 0.0, len(inner) + 1], *inner])
            left -= weight
        rows: list[list] = []
        for part in reversed(parts):  # whoever was drawn passes over all that come after
            rows = [*part, ["JUMP", 0, len(rows)], *rows]
        return rows


def _operators(operators: Any) -> tuple[Operator, ...]:
    """Operators as a tuple."""
    if not isinstance(operators, Listed):
        raise TypeError(f"operators must be a sequence of those of npr.mutation, got {type(operators).__name__}")
    for operator in operators:
        if not isinstance(operator, Operator):
            raise TypeError(f"an operator must be one of npr.mutation, got {type(operator).__name__}")
    return tuple(operators)
