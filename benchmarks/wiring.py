"""The same network twice: ours, and in the forms of neat-python."""

from types import SimpleNamespace
from typing import Any

import numpy as np

import neuroprune as npr

# connections: inputs, hidden nodes, outputs. Nodes are counted as neat-python does, without the inputs.
SIZES = {30: (4, 8, 2), 1_000: (10, 95, 5), 10_000: (20, 990, 10)}
TANH_RESPONSE = 0.4  # neat-python's tanh is tanh(2.5 z)


def network(connections: int, activation: str) -> npr.Network:
    """A random acyclic network of one activation, the outputs included; biases are small numbers."""
    inputs, hidden, outputs = SIZES[connections]
    net = npr.Network.random(inputs, outputs, hidden, connections, seed=connections, activation=activation,
                             output_activation=activation)
    net.nodes.bias[inputs:] = np.random.default_rng(connections).uniform(-0.1, 0.1, hidden + outputs)
    return net


def named(connections: int) -> str:
    """'100 nodes, 1,000 connections'."""
    inputs, hidden, outputs = SIZES[connections]
    return f"{hidden + outputs} nodes, {connections:,} connections"


def neat_id(net: npr.Network, node_id: int) -> int:
    """neat-python counts inputs -1, -2, ... and outputs 0, 1, ...; hidden ids are free."""
    graph = net.graph
    if node_id < graph.n_inputs:
        return -1 - node_id
    return node_id - graph.n_inputs if node_id < graph.n_inputs + graph.n_outputs else node_id


def neat_network(net: npr.Network) -> Any:
    """neat-python's runnable form of the same wiring as its `create` makes it, but with every node included."""
    from neat.nn import FeedForwardNetwork

    genome, config = neat_genome(net)
    links: dict[int, list] = {key: [] for key in genome.nodes}
    for (source, target), gene in genome.connections.items():
        links[target].append((source, gene.weight))
    inner = config.genome_config
    evaluations = [(key, inner.activation_defs.get(gene.activation),
                    inner.aggregation_function_defs.get(gene.aggregation), gene.bias, gene.response, links[key])
                   for key, gene in genome.nodes.items()]
    return FeedForwardNetwork(inner.input_keys, inner.output_keys, evaluations)


def neat_genome(net: npr.Network) -> tuple[Any, Any]:
    """The genome of the same wiring, and what of a config its runnable form is made with."""
    from neat.activations import ActivationFunctionSet
    from neat.aggregations import AggregationFunctionSet
    from neat.genes import DefaultConnectionGene, DefaultNodeGene
    from neat.genome import DefaultGenome

    genome = DefaultGenome(0)
    for node in list(net.nodes)[net.graph.n_inputs:]:
        key = neat_id(net, node.id)
        gene = DefaultNodeGene(key)
        scale = TANH_RESPONSE if node.activation == "tanh" else 1.0
        gene.bias, gene.response, gene.time_constant = scale * node.bias, scale, 1.0
        gene.activation, gene.aggregation = node.activation, "sum"
        genome.nodes[key] = gene
    for innovation, connection in enumerate(net.connections):
        key = neat_id(net, connection.source), neat_id(net, connection.target)
        gene = DefaultConnectionGene(key, innovation=innovation)
        gene.weight, gene.enabled = connection.weight, True
        genome.connections[key] = gene
    inner = SimpleNamespace(input_keys=[-1 - i for i in range(net.graph.n_inputs)],
                            output_keys=list(range(net.graph.n_outputs)), activation_defs=ActivationFunctionSet(),
                            aggregation_function_defs=AggregationFunctionSet())
    return genome, SimpleNamespace(genome_config=inner)


def same(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    """Refuse to time two things that do not compute the same."""
    apart = float(np.max(np.abs(np.asarray(ours) - np.asarray(theirs)), initial=0.0))
    if not apart <= tolerance:
        raise RuntimeError(f"both must compute the same before they are timed, got outputs {apart} apart")
