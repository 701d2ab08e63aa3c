"""Genomes of neat-python 2 as networks and back, so that a genome is pruned, trained or looked at in between.

Node keys and ids: input -1 - i is id i, and any other key k is id k + n_inputs, so outputs 0, 1, ... come right after
the inputs and hidden nodes behind them.

neat-python computes act(bias + response * sum(weight * value)) with slopes of its own inside act, such as
sigmoid(5 z). Slope and response are multiplied into the weights and the bias on the way in and divided out on the way
back; a number that did not change comes back bit for bit. So a scorer ranks by the weight that works, response and
slope included. Functions that are no scaled one of ours are registered here as neat_sin, neat_log and so on.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from neuroprune import activations
from neuroprune.network import create
from neuroprune.network.network import Network

if TYPE_CHECKING:
    from neat import Config, DefaultGenome

# neat-python's name: our name, and the slope s for which theirs is ours of s * z. Their clipping is where both
# functions are constant to 1e-25.
SCALED = {
    "sigmoid": ("sigmoid", 5.0), "tanh": ("tanh", 2.5), "gauss": ("gaussian", math.sqrt(5.0)), "relu": ("relu", 1.0),
    "elu": ("elu", 1.0), "selu": ("selu", 1.0), "identity": ("identity", 1.0), "clamped": ("clamp", 1.0),
    "abs": ("abs", 1.0), "square": ("square", 1.0),
}  # fmt: skip
OWN = {  # f and df of those that are neat-python's alone
    "sin": (lambda z: math.sin(max(-60.0, min(60.0, 5.0 * z))),
            lambda z: 5.0 * math.cos(5.0 * z) if abs(z) < 12.0 else 0.0),
    "lelu": (lambda z: z if z > 0.0 else 0.005 * z,
             lambda z: 1.0 if z > 0.0 else 0.005),
    "softplus": (lambda z: 0.2 * math.log(1.0 + math.exp(max(-60.0, min(60.0, 5.0 * z)))),
                 lambda z: 1.0 / (1.0 + math.exp(-5.0 * z)) if abs(z) < 12.0 else 0.0),
    "inv": (lambda z: 1.0 / z if z != 0.0 else 0.0,
            lambda z: -1.0 / z / z if z != 0.0 else 0.0),
    "log": (lambda z: math.log(max(1e-7, z)),
            lambda z: 1.0 / z if z > 1e-7 else 0.0),
    "exp": (lambda z: math.exp(max(-60.0, min(60.0, z))),
            lambda z: math.exp(z) if abs(z) < 60.0 else 0.0),
    "hat": (lambda z: max(0.0, 1.0 - abs(z)),
            lambda z: (-1.0 if z > 0.0 else 1.0) if abs(z) < 1.0 else 0.0),
    "cube": (lambda z: z * z * z,
             lambda z: 3.0 * z * z),
}
BACK = {ours: (theirs, slope) for theirs, (ours, slope) in SCALED.items()}
BACK |= {"hard_tanh": ("clamped", 1.0)} | {f"neat_{theirs}": (theirs, 1.0) for theirs in OWN}
POINTS = (-2.5, -1.0, -0.3, 0.0, 0.3, 1.0, 2.5)  # where a user's function must agree with ours of the same name


def to_network(genome: "DefaultGenome", config: "Config", seed: int | np.random.Generator | None = None) -> Network:
    """Make the network that a genome encodes; its outputs are neat-python's.

    Parameters
    ----------
    genome : neat.DefaultGenome
        Its disabled genes are not imported. Aggregations must be "sum"; activations are neat-python's 18, or
        functions of your own that `register_activation` knows by the same name.
    config : neat.Config
        With `feed_forward` the network computes what `neat.nn.FeedForwardNetwork` does, else what
        `neat.nn.RecurrentNetwork` does: every connection that does not leave an input is delayed by one step, and a
        node without enabled genes into it gives 0.
    seed : int, Generator or None
        For what is drawn later, `net.rng`.

    Raises
    ------
    ValueError
        For another aggregation or an unknown activation, a gene that leads to a node that is not there, and, in
        feed-forward genomes, a cycle or a gene out of an output.

    Notes
    -----
    A genome holds no baseline, so `net.prune_to_sparsity(0.5)` halves what is there at each import. To prune the
    same lineage in every generation, use `npr.mutation.Prune` with a small share.

    Examples
    --------
    >>> from pathlib import Path
    >>> import neat
    >>> import neuroprune as npr
    >>> from neuroprune.interop import neat_python
    >>> file = Path(npr.__file__).parents[1] / "examples" / "neat_python_genome.cfg"
    >>> config = neat.Config(neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet,
    ...                      neat.DefaultStagnation, file)
    >>> genome = neat.Population(config).population[1]
    >>> net = neat_python.to_network(genome, config)
    >>> theirs = neat.nn.FeedForwardNetwork.create(genome, config).activate([1.0, 2.0])
    >>> bool(abs(net([1.0, 2.0])[0] - theirs[0]) < 1e-9)
    True
    """
    settings = getattr(config, "genome_config", config)
    n_inputs, n_outputs = settings.num_inputs, settings.num_outputs
    recurrent = not settings.feed_forward
    fed = {target for (_, target), gene in genome.connections.items() if gene.enabled}
    bias, activation, scale = {}, {}, {}
    for key, node in genome.nodes.items():
        name, slope = _ours(key, node, settings)
        silent = recurrent and key not in fed
        activation[key + n_inputs] = "identity" if silent else name
        bias[key + n_inputs] = 0.0 if silent else slope * node.bias
        scale[key] = slope * node.response
    rows, delayed = [], []
    for (source, target), gene in genome.connections.items():
        if not gene.enabled:
            continue
        if target not in genome.nodes or not (source in genome.nodes or -n_inputs <= source < 0):
            raise ValueError(f"a gene must join nodes of the genome, got {(source, target)}: delete it")
        if not recurrent and 0 <= source < n_outputs:
            raise ValueError("a gene of a feed-forward genome must not leave an output, got "
                             f"{(source, target)}: set feed_forward = False")
        rows.append((_id(source, n_inputs), target + n_inputs, scale[target] * gene.weight))
        delayed.append(source >= 0)
    return create.assemble(Network, n_inputs, n_outputs, create.columns(rows), bias, activation,
                           _default(settings), delayed if recurrent else None, seed)


def update_genome(genome: "DefaultGenome", network: Network, config: "Config | None" = None) -> None:
    """Bring what was done to a network back into the genome that it came from.

    Genes of connections that are gone are deleted, and so are nodes that are gone with all genes that touch them;
    other disabled genes stay as they are, unless the network has such a connection again. Weights, biases and
    activations follow the network's, so that neat-python computes the same outputs from the genome.

    Parameters
    ----------
    genome : neat.DefaultGenome
        Changed in place; its fitness stays.
    network : Network
        From `to_network(genome, config)`, changed since.
    config : neat.Config, optional
        Needed where the network has connections or nodes that the genome lacks: they become genes of its types, with
        the next node keys and with innovation numbers from its tracker, which `neat.Population` sets.

    Raises
    ------
    ValueError
        When the network does not fit the genome, an activation has no name in neat-python, something grew but there
        is no `config`, or, in a recurrent network, a connection has a delay that neat-python does not know. The
        genome is unchanged then.

    Notes
    -----
    `neat.nn.RecurrentNetwork` gives 0 for a node without genes into it, whatever its bias. Where such a node gives
    something else in a recurrent network, one gene into it stays, with weight 0.

    Examples
    --------
    >>> from pathlib import Path
    >>> import neat
    >>> import neuroprune as npr
    >>> from neuroprune.interop import neat_python
    >>> file = Path(npr.__file__).parents[1] / "examples" / "neat_python_genome.cfg"
    >>> config = neat.Config(neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet,
    ...                      neat.DefaultStagnation, file)
    >>> genome = neat.Population(config).population[1]
    >>> net = neat_python.to_network(genome, config)
    >>> result = net.prune_to_sparsity(0.5)
    >>> neat_python.update_genome(genome, net)
    >>> len(genome.connections)
    1
    """
    settings = getattr(config, "genome_config", config)
    _check_fit(genome, network, settings)
    graph = network.graph
    n_inputs, n_outputs = graph.n_inputs, graph.n_outputs
    rows = _wiring(network)
    keys = {node_id: _key(node_id, n_inputs) for node_id in graph.ids.tolist()}
    _keep_constants(genome, network, rows, keys)
    plans = _plan_nodes(genome, network, settings, rows)
    added = [node_id for node_id in keys if node_id >= n_inputs and keys[node_id] not in genome.nodes]
    grown = [(source, target) for target in rows for source in rows[target]
             if (keys[source], keys[target]) not in genome.connections]
    if (added or grown) and settings is None:
        raise ValueError(f"config must be given for the {len(added)} nodes and {len(grown)} connections that the "
                         "genome lacks, got None: use update_genome(genome, network, config)")
    if grown and settings.innovation_tracker is None:
        raise ValueError("config.genome_config must have an innovation_tracker to number new genes, got None: make the "
                         "neat.Population first, or assign neat.innovation.InnovationTracker()")
    keys |= {node_id: settings.get_new_node_key(genome.nodes) for node_id in added}
    for node_id in added:
        genome.nodes[keys[node_id]] = node = genome.create_node(settings, keys[node_id])
        node.aggregation = "sum"
    for node_id, plan in plans.items():
        node = genome.nodes[keys[node_id]]
        node.bias, node.response, node.activation = plan.bias, plan.response, plan.activation
    wanted = {(keys[source], keys[target]): plans[target].weights[source]
              for target in rows for source in rows[target]}
    present = set(keys.values())
    for key, gene in list(genome.connections.items()):
        if key not in wanted and (gene.enabled or not present.issuperset(key)):
            del genome.connections[key]
    for key in [key for key in genome.nodes if key >= n_outputs and key not in present]:
        del genome.nodes[key]
    for key, weight in wanted.items():
        if key in genome.connections:
            genome.connections[key].weight, genome.connections[key].enabled = weight, True
        else:
            genome.add_connection(settings, *key, weight, True)
    if grown and not graph.recurrent:
        _drop_cycles(genome)


def _ours(key: int, node: Any, settings: Any) -> tuple[str, float]:
    """Name and slope of a node's activation; refuses what a network cannot compute."""
    if not all(hasattr(node, name) for name in ("bias", "response", "activation", "aggregation")):
        raise TypeError(f"node {key} must have bias, response, activation and aggregation, got {type(node).__name__}: "
                        "use neat.DefaultGenome")
    if node.aggregation != "sum":
        raise ValueError(f"aggregation of node {key} must be 'sum', got {node.aggregation!r}: set aggregation_options "
                         "= sum in the configuration")
    name = node.activation
    function = settings.activation_defs.functions.get(name)
    if name in SCALED or name in OWN:
        if getattr(function, "__module__", None) != "neat.activations":
            raise ValueError(f"activation {name!r} of node {key} must be neat-python's own, got another function: add "
                             "yours to the configuration under a name of its own")
        return _of_theirs(name)
    if name not in activations.ACTIVATIONS:
        raise ValueError(f"activation of node {key} must be known here too, got {name!r}: call "
                         f"npr.register_activation({name!r}, f, df)")
    if not np.allclose([function(z) for z in POINTS], activations.ACTIVATIONS[name].f(np.array(POINTS)), 1e-9, 1e-9):
        raise ValueError(f"activation {name!r} of node {key} must be the same function here and in neat-python, got "
                         "two: give yours another name in both")
    return name, 1.0


def _of_theirs(name: str) -> tuple[str, float]:
    """Our name and the slope for a name of neat-python's; a function that is theirs alone is registered."""
    if name not in OWN:
        return SCALED.get(name, (name, 1.0))
    ours = f"neat_{name}"
    if ours not in activations.ACTIVATIONS:
        activations.register_activation(ours, *OWN[name])
    return ours, 1.0


def _to_theirs(name: str, node_id: int, settings: Any) -> tuple[str, float]:
    """neat-python's name and the slope for an activation of ours."""
    if name in BACK:
        return BACK[name]
    if settings is None or not settings.activation_defs.is_valid(name):
        raise ValueError(f"activation of node {node_id} must have a name in neat-python, got {name!r}: add it with "
                         f"config.genome_config.add_activation({name!r}, f) and pass config")
    return name, 1.0


def _default(settings: Any) -> str:
    """The activation of nodes that the network will get."""
    name = settings.activation_default
    return _of_theirs(name if settings.activation_defs.is_valid(name) else settings.activation_options[0])[0]


def _id(key: int, n_inputs: int) -> int:
    return key + n_inputs if key >= 0 else -1 - key


def _key(node_id: int, n_inputs: int) -> int:
    return node_id - n_inputs if node_id >= n_inputs else -1 - node_id


def _check_fit(genome: Any, network: Network, settings: Any) -> None:
    """Refuse a network of other inputs or outputs."""
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    graph = network.graph
    shape = graph.n_inputs, graph.n_outputs, graph.recurrent
    if settings is not None:
        wanted = settings.num_inputs, settings.num_outputs, not settings.feed_forward
        fits = shape == wanted
    else:
        fits = all(key in genome.nodes for key in range(graph.n_outputs))
        fits &= all(source >= -graph.n_inputs for source, _ in genome.connections)
    if not fits:
        raise ValueError(f"network must come from to_network(genome, config), got one of {shape[0]} inputs and "
                         f"{shape[1]} outputs{', recurrent' if shape[2] else ''}, which does not fit the genome")


def _wiring(network: Network) -> dict[int, dict[int, float]]:
    """Weights by target id and source id, in storage order; refuses delays that neat-python does not know."""
    n_inputs, recurrent = network.graph.n_inputs, network.graph.recurrent
    connections = network.connections
    rows: dict[int, dict[int, float]] = {}
    for source, target, weight, late in zip(connections.source.tolist(), connections.target.tolist(),
                                            connections.weight.tolist(), connections.delayed.tolist(), strict=True):
        if recurrent and late != (source >= n_inputs):
            rule = "delayed" if source >= n_inputs else "not delayed"
            raise ValueError(f"connection {source} -> {target} must be {rule} for neat-python's RecurrentNetwork: "
                             f"use net.connect(..., delayed={source >= n_inputs})")
        rows.setdefault(target, {})[source] = weight
    return rows


def _keep_constants(genome: Any, network: Network, rows: dict, keys: dict[int, int]) -> None:
    """Give each node of a recurrent network that acts without connections into it one of weight 0."""
    graph = network.graph
    if not graph.recurrent:
        return
    sources = {source for target in rows for source in rows[target]}
    ids = {key: node_id for node_id, key in keys.items()}
    for node in network.nodes:
        acts = node.kind == "output" or node.id in sources
        if node.kind == "input" or node.id in rows or not acts:
            continue
        if activations.ACTIVATIONS[node.activation].f(node.bias) != 0.0:
            genes = sorted((not gene.enabled, ids[source]) for (source, target), gene in genome.connections.items()
                           if target == keys[node.id] and source in ids)
            rows[node.id] = {genes[0][1] if genes else node.id: 0.0}


class _Plan(NamedTuple):
    bias: float
    response: float
    activation: str
    weights: dict[int, float]


def _plan_nodes(genome: Any, network: Network, settings: Any, rows: dict) -> dict[int, _Plan]:
    """What the node genes and the genes into them are to hold, by node id."""
    n_inputs = network.graph.n_inputs
    fed = {target for (_, target), gene in genome.connections.items() if gene.enabled}
    plans = {}
    for node_id, name, bias in zip(network.nodes.id.tolist(), network.nodes.activation.tolist(),
                                   network.nodes.bias.tolist(), strict=True):
        key = _key(node_id, n_inputs)
        gene = genome.nodes.get(key)
        incoming = rows.get(node_id, {})
        silent = network.graph.recurrent and key not in fed and not incoming
        if node_id < n_inputs or (silent and gene is not None and name == "identity" and bias == 0.0):
            continue
        theirs, response = None, 1.0
        if gene is not None:
            ours, slope = _of_theirs(gene.activation)
            theirs, response = gene.activation, gene.response
        if theirs is None or name != ours:
            theirs, slope = _to_theirs(name, node_id, settings)
        kept = gene.bias if gene is not None and slope * gene.bias == bias else bias / slope
        weights = _weights(genome, key, incoming, n_inputs, slope * response)
        if weights is None:  # nothing to divide by
            response, weights = 1.0, {source: weight / slope for source, weight in incoming.items()}
        plans[node_id] = _Plan(kept, response, theirs, weights)
    return plans


def _weights(genome: Any, key: int, incoming: dict[int, float], n_inputs: int, scale: float) -> dict | None:
    """Weights of the genes into a node, those that did not change as they are; None when the scale does not allow."""
    weights = {}
    for source, weight in incoming.items():
        gene = genome.connections.get((_key(source, n_inputs), key))
        if gene is not None and scale * gene.weight == weight:
            weights[source] = gene.weight
            continue
        weights[source] = weight / scale if scale else math.inf
        if not math.isfinite(weights[source]):
            return None
    return weights


def _drop_cycles(genome: Any) -> None:
    """Delete disabled genes that would close a cycle with what grew: mutation may enable them again."""
    for key in [key for key, gene in genome.connections.items() if not gene.enabled]:
        ahead, stack = {key[1]}, [key[1]]
        while stack:
            node = stack.pop()
            new = {target for source, target in genome.connections if source == node} - ahead
            ahead |= new
            stack += new
        if key[0] in ahead:
            del genome.connections[key]
