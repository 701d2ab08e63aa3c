"""Making networks: in layers, at random, from a list of connections. These are class methods of Network."""

import reprlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels, rng
from neuroprune.network.graph import Graph, build, check_size
from neuroprune.network.views import check_number, numbers
from neuroprune.pruning import growth

if TYPE_CHECKING:
    from neuroprune.network.network import Network

RECTIFIERS = ("relu", "leaky_relu", "elu", "selu", "softplus", "swish", "gelu", "mish")


def dense(cls: type["Network"], sizes: Iterable[int], activation: str = "tanh", output_activation: str = "identity",
          seed: int | np.random.Generator | None = None) -> "Network":
    """Make a fully connected network in layers.

    Weights are drawn from U(-a, a): a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16), or
    sqrt(6 / fan_in) into a layer of rectifiers (He et al. 2015, eq. 10). Biases are 0.

    Parameters
    ----------
    sizes : iterable of int
        Nodes per layer, inputs first, at least two layers of at least one node.
    activation, output_activation : str
        Of the hidden nodes and of the outputs.
    seed : int, Generator or None

    Examples
    --------
    >>> import neuroprune as npr
    >>> npr.Network.dense([64, 32, 10], activation="relu", seed=0)
    <Network: 64 inputs, 32 hidden, 10 outputs, 2368 connections>
    """
    if not isinstance(sizes, Iterable):
        raise TypeError(f"sizes must list the nodes of each layer, inputs first, got {sizes!r}")
    sizes = tuple(count_of(size, "a layer", 1) for size in sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes must name at least the inputs and the outputs, got {len(sizes)}")
    hidden_code, output_code = activations.code(activation), activations.code(output_activation)
    n_inputs, n_outputs, n_hidden = sizes[0], sizes[-1], sum(sizes[1:-1])
    n = sum(sizes)
    check_size(sum(sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1)), n)
    fan_in = np.repeat((0, *sizes[:-1]), sizes)
    incoming = np.concatenate([[0], np.cumsum(fan_in)])
    starts = np.cumsum((0, *sizes))
    source = np.concatenate([np.tile(np.arange(starts[i], starts[i + 1], dtype=np.int32), sizes[i + 1])
                             for i in range(len(sizes) - 1)])
    ids = np.concatenate([np.arange(n_inputs), np.arange(n_inputs + n_outputs, n),
                          np.arange(n_inputs, n_inputs + n_outputs)])
    graph = Graph(n_inputs, n_outputs, ids, incoming, source, layer_sizes=sizes)
    generator = rng.generator(seed := rng.check_seed(seed))
    weights = []
    for i in range(len(sizes) - 1):
        rectified = (output_activation if i == len(sizes) - 2 else activation) in RECTIFIERS
        limit = np.sqrt(6 / (sizes[i] if rectified else sizes[i] + sizes[i + 1]))
        weights.append(generator.uniform(-limit, limit, sizes[i] * sizes[i + 1]))
    code = np.repeat(np.array([activations.code("identity"), hidden_code, output_code], np.uint8),
                     [n_inputs, n_hidden, n_outputs])
    return _with_rng(cls(graph, np.concatenate(weights), np.zeros(n), code, hidden_code, seed), generator)


def random(cls: type["Network"], n_inputs: int, n_outputs: int, n_hidden: int, n_connections: int,
           recurrent: bool = False, seed: int | np.random.Generator | None = None, activation: str = "tanh",
           output_activation: str = "identity") -> "Network":
    """Make a network with exactly `n_connections`, drawn uniformly from all legal pairs.

    Weights are drawn from a normal distribution of variance 1 / fan_in; biases are 0. Hidden ids follow those of
    the outputs.

    Raises
    ------
    ValueError
        When there are fewer legal pairs than connections asked for.

    Examples
    --------
    >>> import neuroprune as npr
    >>> npr.Network.random(3, 2, 4, 20, recurrent=True, seed=0)
    <Network: 3 inputs, 4 hidden, 2 outputs, 20 connections, recurrent>
    """
    n_inputs, n_outputs = count_of(n_inputs, "n_inputs", 1), count_of(n_outputs, "n_outputs", 1)
    n_hidden, n_connections = count_of(n_hidden, "n_hidden", 0), count_of(n_connections, "n_connections", 0)
    hidden_code, output_code = activations.code(activation), activations.code(output_activation)
    n = n_inputs + n_hidden + n_outputs
    check_size(n_connections, n)
    ids = np.concatenate([np.arange(n_inputs), np.arange(n_inputs + n_outputs, n),
                          np.arange(n_inputs, n_inputs + n_outputs)])
    nothing = np.zeros(0, np.bool_) if recurrent else None
    empty = Graph(n_inputs, n_outputs, ids, np.zeros(n + 1, np.int64), np.zeros(0, np.int32), nothing)
    lowest, highest = empty.slots
    before = kernels.structure.free_before(empty.incoming, empty.source, lowest, highest)
    if n_connections > before[-1]:
        raise ValueError(f"n_connections must be at most {before[-1]}, the number of legal pairs, got {n_connections}")
    generator = rng.generator(seed := rng.check_seed(seed))
    ranks = growth.sample(int(before[-1]), n_connections, generator)
    target, source = kernels.structure.free_slots(empty.incoming, empty.source, lowest, before, ranks)
    fan_in = np.bincount(target, minlength=n)
    incoming = np.concatenate([[0], np.cumsum(fan_in)])
    delayed = empty.is_delayed(source, target) if recurrent else None
    graph = Graph(n_inputs, n_outputs, ids, incoming, source, delayed)
    weight = generator.standard_normal(n_connections) / np.sqrt(fan_in[target])
    code = np.repeat(np.array([activations.code("identity"), hidden_code, output_code], np.uint8),
                     [n_inputs, n_hidden, n_outputs])
    return _with_rng(cls(graph, weight, np.zeros(n), code, hidden_code, seed), generator)


def from_connections(cls: type["Network"], n_inputs: int, n_outputs: int, connections: Iterable, bias: Any = None,
                     activation: str | Mapping[int, str] = "tanh", delayed: Iterable[bool] | None = None,
                     seed: int | np.random.Generator | None = None) -> "Network":
    """Make a network from a list of connections.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Inputs have the ids 0 .. n_inputs - 1, outputs n_inputs .. n_inputs + n_outputs - 1; any other
        non-negative id is a hidden node.
    connections : iterable of (source_id, target_id, weight), or a tuple of three columns
        Columns are arrays or lists: ``(sources, targets, weights)``.
    bias : float, mapping of id to float, or None
        Of hidden nodes and outputs; 0 where not given.
    activation : str, or mapping of id to str
        Of hidden nodes and outputs; "tanh" where not given. A hidden id named here or in `bias` exists even
        without connections.
    delayed : iterable of bool, or None
        One for each connection; makes the network recurrent.
    seed : int, Generator or None
        For what is drawn later, `net.rng`.

    Raises
    ------
    ValueError
        For a cycle (named), a second connection between two nodes, one into an input or out of an output, a
        weight or bias that is not finite, an unknown activation.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(2, 1, [(0, 9, 1.0), (1, 9, 1.0), (9, 2, 2.0)],
    ...                                    bias={9: -1.0}, activation={9: "relu", 2: "identity"})
    >>> net([1.0, 1.5]).tolist()
    [3.0]
    """
    if not isinstance(activation, (str, Mapping)):
        raise TypeError(f"activation must be a name or a mapping of id to name, got {type(activation).__name__}")
    default = activation if isinstance(activation, str) else "tanh"
    return assemble(cls, n_inputs, n_outputs, columns(connections), bias, activation, default, delayed, seed)


def assemble(cls: type["Network"], n_inputs: int, n_outputs: int, columns: tuple[np.ndarray, np.ndarray, np.ndarray],
             bias: Any, activation: str | Mapping[int, str], default_activation: str, delayed: Any, seed: Any,
             hidden: np.ndarray | None = None) -> "Network":
    """A network from columns by id; `hidden` gives the hidden ids in the order in which ready ones are taken."""
    n_inputs, n_outputs = count_of(n_inputs, "n_inputs", 1), count_of(n_outputs, "n_outputs", 1)
    source, target, weight = columns
    if not np.isfinite(weight).all():
        i = int(np.argmin(np.isfinite(weight)))
        raise ValueError(f"weights must be finite, got {weight[i]} for connection {source[i]} -> {target[i]}")
    if delayed is not None:
        delayed = np.array(list(delayed) if not isinstance(delayed, np.ndarray) else delayed, np.bool_)
        if delayed.shape != source.shape:
            raise ValueError(f"delayed must have one entry for each of {source.size} connections, got {delayed.size}")
    named = [key for mapping in (bias, activation) if isinstance(mapping, Mapping) for key in mapping]
    graph, order = build(n_inputs, n_outputs, source, target, _ids(named, "an id"), delayed, hidden)
    default_code = activations.code(default_activation)
    code = np.full(graph.n_nodes, default_code if isinstance(activation, Mapping) else activations.code(activation),
                   np.uint8)
    code[:n_inputs] = activations.code("identity")
    biases = np.zeros(graph.n_nodes)
    if isinstance(activation, Mapping):
        for key, value in activation.items():
            code[_free_position(graph, key, "activation")] = activations.code(value)
    if isinstance(bias, Mapping):
        for key, value in bias.items():
            biases[_free_position(graph, key, "bias")] = check_number(value, f"bias of node {key}")
    elif bias is not None:
        if np.ndim(bias):
            raise TypeError(f"bias must be a number or a mapping of id to number, got {type(bias).__name__}")
        biases[n_inputs:] = check_number(bias, "bias")
    return cls(graph, weight[order], biases, code, default_code, seed)


def over(graph: Graph, parameters: np.ndarray, code: np.ndarray, default_code: int, evolution_baseline: int | None,
         seed: Any) -> "Network":
    """A network on a block of weights and biases that is used as it is; the parts come from a sound network."""
    from neuroprune.network.network import Network

    net = object.__new__(Network)
    count = graph.n_connections
    net._graph = graph
    net._parameters = parameters
    net._weight = parameters[:count]
    net._bias = parameters[count:]
    net._code = code
    net._default_code = default_code
    net._signals = net._state = net._schedule = net._training_baseline = net._last_prune_iteration = None
    net._rng_state = net._trail = None
    net._signals_end = False
    net._evolution_baseline = evolution_baseline
    net._iteration = 0
    net._rng = seed if isinstance(seed, np.random.Generator) else None
    net._seed = None if net._rng is not None else seed
    return net


def restore(cls: type["Network"], graph: Graph, weight: np.ndarray, bias: np.ndarray, names: list[str],
            rest: dict) -> "Network":
    """Put a network together from its parts, as `pickle` and `load` do."""
    code = np.array([activations.code(name) for name in names], np.uint8)
    net = cls(graph, weight, bias, code, activations.code(rest["default"]), 0)
    net._signals, net._signals_end = rest["signals"], rest["signals_end"]
    net._state, net._schedule = rest["state"], rest["schedule"]
    net._training_baseline, net._evolution_baseline = rest["training_baseline"], rest["evolution_baseline"]
    net._last_prune_iteration, net._iteration = rest["last_prune_iteration"], rest["iteration"]
    net._seed, net._rng_state = rest["seed"], rest["rng_state"]
    return net


def _with_rng(net: "Network", generator: np.random.Generator) -> "Network":
    """Let `net.rng` go on where the drawing of the weights stopped."""
    net._rng = generator
    return net


def count_of(value: Any, name: str, least: int) -> int:
    """An integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def columns(connections: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows or columns as (source ids, target ids, weights)."""
    kinds = (np.ndarray, list) if isinstance(connections, tuple) else np.ndarray
    if not (isinstance(connections, (tuple, list)) and len(connections) == 3
            and all(isinstance(column, kinds) for column in connections)):
        try:
            rows = [tuple(row) for row in connections]
        except TypeError:
            raise TypeError("connections must be (source_id, target_id, weight) rows or a tuple of three columns, got "
                            f"{reprlib.repr(connections)}") from None
        for i, row in enumerate(rows):
            if len(row) != 3:
                raise ValueError(f"a connection must be (source_id, target_id, weight), got {row} at index {i}")
        connections = tuple(zip(*rows, strict=True)) if rows else ((), (), ())
    source, target = _ids(connections[0], "a source id"), _ids(connections[1], "a target id")
    weight = numbers(connections[2], "weights")
    if not source.shape == target.shape == weight.shape or weight.ndim != 1:
        raise ValueError("the columns of connections must have one length, got "
                         f"{source.shape}, {target.shape} and {weight.shape}")
    return source, target, weight


def _ids(values: Any, name: str) -> np.ndarray:
    """Integer ids as int64."""
    ids = np.asarray(values)
    if ids.size == 0:
        return np.zeros(0, np.int64)
    if ids.dtype.kind == "f" and np.array_equal(ids, np.floor(ids)) and np.abs(ids).max() < 2**53:
        ids = ids.astype(np.int64)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an integer, got an array of {ids.dtype}")
    fresh = not (ids.flags.c_contiguous and ids.flags.writeable)  # another kind of array would compile kernels again
    return ids.astype(np.int64, copy=fresh)


def _free_position(graph: Graph, node_id: Any, what: str) -> int:
    """Position of a node that is no input."""
    position = graph.position(node_id)
    if position < graph.n_inputs:
        raise ValueError(f"{what} must name hidden nodes and outputs, got the input {node_id}")
    return position
