"""Genomes of neat-python and networks compute the same, and what is done to a network arrives in its genome."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuroprune as npr
import strategies as s
from bridge import assert_one_sentence, assert_sound
from neuroprune.activations import ACTIVATIONS
from neuroprune.interop import neat_python

neat = pytest.importorskip("neat", reason="neat-python is not installed: pip install neat-python")

FILE = Path(__file__).parents[1] / "examples" / "neat_python_genome.cfg"
ALL = sorted(neat.activations.ActivationFunctionSet().functions)
GENTLE = [name for name in ALL if name not in ("inv", "log", "exp", "square", "cube")]  # those multiply rounding errors


def configuration(**changes):
    """The configuration of the example, with other genome settings, and a tracker as a population sets it."""
    config = neat.Config(neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet, neat.DefaultStagnation,
                         FILE)
    settings = config.genome_config
    wide = {"response_init_stdev": 0.5, "response_mutate_rate": 0.3, "response_mutate_power": 0.5,
            "enabled_mutate_rate": 0.05, "activation_options": GENTLE, "activation_mutate_rate": 0.2,
            "activation_default": "random", "weight_max_value": 4.0, "weight_min_value": -4.0,
            "bias_max_value": 4.0, "bias_min_value": -4.0, "num_inputs": 3, "num_outputs": 2,
            "initial_connection": "full_direct"}
    for name, value in (wide | changes).items():
        assert hasattr(settings, name)
        setattr(settings, name, value)
    settings.input_keys = [-1 - i for i in range(settings.num_inputs)]
    settings.output_keys = list(range(settings.num_outputs))
    settings.innovation_tracker = neat.innovation.InnovationTracker()
    return config


def grown(config, seed, mutations, hidden=0):
    """A genome that neat-python made and mutated."""
    random.seed(seed)
    settings = config.genome_config
    settings.num_hidden, settings.node_indexer = hidden, None
    genome = neat.DefaultGenome(0)
    genome.configure_new(settings)
    for _ in range(mutations):
        genome.mutate(settings)
    return genome


def theirs(genome, config, x):
    """Outputs of neat-python, row after row."""
    kind = neat.nn.FeedForwardNetwork if config.genome_config.feed_forward else neat.nn.RecurrentNetwork
    network = kind.create(genome, config)
    return [network.activate(row) for row in x.tolist()]


def assert_same(genome, net, config, seed):
    x = np.random.default_rng(seed).uniform(-2.0, 2.0, (6, net.graph.n_inputs))
    net.reset()
    out = net.run(x)
    net.reset()
    assert np.allclose(out, theirs(genome, config, x), rtol=1e-9, atol=1e-9)


def listed(genome):
    """All numbers of a genome, in its order."""
    nodes = [(key, gene.bias, gene.response, gene.activation, gene.aggregation) for key, gene in genome.nodes.items()]
    return nodes, [(key, gene.weight, gene.enabled, gene.innovation) for key, gene in genome.connections.items()]


def assert_whole(genome, config):
    """A genome that neat-python can go on with."""
    settings = config.genome_config
    assert set(settings.output_keys) <= set(genome.nodes)
    numbers = [gene.innovation for gene in genome.connections.values()]
    assert len(set(numbers)) == len(numbers)
    for key, gene in genome.connections.items():
        assert gene.key == key and key[1] in genome.nodes
        assert key[0] in genome.nodes or key[0] in settings.input_keys
    for key, gene in genome.nodes.items():
        assert gene.key == key
    if settings.feed_forward:
        for key in genome.connections:
            assert not neat.graphs.creates_cycle([other for other in genome.connections if other != key], key)
    for _ in range(3):
        genome.mutate(settings)


FEED_FORWARD, RECURRENT = configuration(), configuration(feed_forward=False)
KINDS = pytest.mark.parametrize("config", [FEED_FORWARD, RECURRENT], ids=["feed-forward", "recurrent"])


# ---------------------------------------------------------------- there


@KINDS
@given(seed=s.SEEDS, mutations=s.sizes(0, 60), hidden=s.sizes(0, 4))
def test_a_network_computes_what_neat_python_does(config, seed, mutations, hidden):
    genome = grown(config, seed, mutations, hidden)
    net = neat_python.to_network(genome, config)
    assert_sound(net)
    assert len(net.connections) == sum(gene.enabled for gene in genome.connections.values())
    assert_same(genome, net, config, seed)


@pytest.mark.parametrize("name", ALL)
def test_every_activation_is_the_same_function(name):
    config = configuration(num_inputs=1, num_outputs=1, activation_default=name, activation_options=[name])
    genome = grown(config, 0, 0)
    genome.nodes[0].bias, genome.nodes[0].response = 0.0, 1.0
    next(iter(genome.connections.values())).weight = 1.0
    net = neat_python.to_network(genome, config)
    function = config.genome_config.activation_defs.get(name)
    for z in (*np.linspace(-4.0, 4.0, 161), -1e3, -30.0, -13.0, -12.0, -3.4, 1e-8, 3.4, 12.0, 13.0, 30.0, 1e3):
        expected = function(float(z))
        assert math.isclose(net([z])[0], expected, rel_tol=1e-12, abs_tol=1e-15), z
    assert net.default_activation == net.node(1).activation


@pytest.mark.parametrize("name", sorted(neat_python.OWN))
def test_derivatives_of_the_registered_functions(name):
    ours = ACTIVATIONS[neat_python._of_theirs(name)[0]]
    z = np.array([-3.0, -0.7, -0.2, 0.15, 0.4, 0.8, 2.0])
    assert np.allclose(ours.df(z), (ours.f(z + 1e-6) - ours.f(z - 1e-6)) / 2e-6, rtol=1e-6, atol=1e-8)


def test_ids_follow_keys():
    config = configuration()
    genome = grown(config, 1, 0, hidden=2)
    net = neat_python.to_network(genome, config, seed=3)
    assert sorted(genome.nodes) == [0, 1, 2, 3]
    assert net.nodes.id.tolist() == [0, 1, 2, 5, 6, 3, 4]
    assert net.connection(1, 6).weight != 0.0 and (-2, 3) in genome.connections
    assert net.seed == 3


def test_a_configuration_may_be_that_of_the_genomes_alone():
    genome = grown(FEED_FORWARD, 1, 9)
    net = neat_python.to_network(genome, FEED_FORWARD.genome_config)
    assert net.equals(neat_python.to_network(genome, FEED_FORWARD))
    neat_python.update_genome(genome, net, FEED_FORWARD.genome_config)


def test_recurrent_genomes_read_inputs_at_once_and_the_rest_a_step_later():
    genome = grown(RECURRENT, 2, 30)
    net = neat_python.to_network(genome, RECURRENT)
    assert np.array_equal(net.connections.delayed, net.connections.source >= 3)


# ---------------------------------------------------------------- and back


@KINDS
@given(seed=s.SEEDS, mutations=s.sizes(0, 40))
def test_what_did_not_change_comes_back_bit_for_bit(config, seed, mutations):
    genome = grown(config, seed, mutations)
    before = listed(genome)
    neat_python.update_genome(genome, neat_python.to_network(genome, config))
    assert listed(genome) == before


@KINDS
@given(seed=s.SEEDS, mutations=s.sizes(0, 40), hidden=s.sizes(0, 4), sparsity=s.sparsities())
def test_two_lines_prune_a_genome(config, seed, mutations, hidden, sparsity):
    genome = grown(config, seed, mutations, hidden)
    nodes, connections = listed(genome)
    net = neat_python.to_network(genome, config)
    net.prune_to_sparsity(sparsity)
    neat_python.update_genome(genome, net)
    assert_same(genome, net, config, seed)
    assert listed(genome)[0] == nodes
    enabled = {key for key, gene in genome.connections.items() if gene.enabled}
    left = {(neat_python._key(c.source, 3), neat_python._key(c.target, 3)) for c in net.connections}
    kept = {key for key in enabled - left if genome.connections[key].weight == 0.0}
    assert enabled == left | kept and (not kept or not config.genome_config.feed_forward)
    now = {row[0]: row for row in listed(genome)[1]}
    for row in connections:  # disabled genes and those that stay are as they were
        if row[0] in left or not row[2] and row[0] not in kept:
            assert now[row[0]] == row
    assert_whole(genome, config)


def change(net, operation, rng):
    """One thing that a user may do; in recurrent networks only with delays that neat-python knows."""
    recurrent, ids = net.graph.recurrent, net.nodes.id
    hidden = ids[net.graph.n_inputs:net.graph.n_nodes - net.graph.n_outputs]
    if operation == "prune":
        npr.mutation.Prune(0.3)(net, rng)
    elif operation == "weights":
        npr.mutation.PerturbWeights(rate=0.5)(net, rng)
    elif operation == "biases":
        npr.mutation.PerturbBiases(rate=0.5)(net, rng)
    elif operation == "activations":
        npr.mutation.ChangeActivation(("sigmoid", "tanh", "hard_tanh", "neat_hat", "gaussian"), 0.3)(net, rng)
    elif operation == "remove" and hidden.size:
        net.remove_node(int(rng.choice(hidden)))
    elif operation == "trim":
        net.trim()
    elif operation == "add" and not recurrent:
        npr.mutation.AddNode()(net, rng)
    elif operation == "connect" and not recurrent:
        npr.mutation.AddConnection()(net, rng)
    elif operation == "connect":
        source, target = int(rng.choice(ids)), int(rng.choice(ids[net.graph.n_inputs:]))
        if (source, target) not in net.connections:
            net.connect(source, target, rng.normal(), delayed=source >= net.graph.n_inputs)


CHANGES = st.lists(st.sampled_from(("prune", "weights", "biases", "activations", "remove", "trim", "add", "connect")),
                   min_size=1, max_size=8)


@pytest.fixture(autouse=True, scope="module")
def registered():
    for name in neat_python.OWN:
        neat_python._of_theirs(name)


@KINDS
@given(seed=s.SEEDS, mutations=s.sizes(0, 40), hidden=s.sizes(0, 4), operations=CHANGES)
def test_what_is_done_to_a_network_arrives_in_the_genome(config, seed, mutations, hidden, operations):
    genome = grown(config, seed, mutations, hidden)
    net = neat_python.to_network(genome, config)
    for key, gene in genome.nodes.items():  # nothing can be divided by 0
        if seed % 3 == 0 and key % 2:
            gene.response = 0.0
    net = neat_python.to_network(genome, config)
    rng = np.random.default_rng(seed)
    for operation in operations:
        change(net, operation, rng)
    neat_python.update_genome(genome, net, config)
    assert_same(genome, net, config, seed)
    assert len(genome.nodes) == net.graph.n_nodes - net.graph.n_inputs
    again = neat_python.to_network(genome, config)
    x = rng.uniform(-2.0, 2.0, (5, 3))
    net.reset()
    assert np.allclose(again.run(x), net.run(x), rtol=1e-9, atol=1e-9)
    assert_whole(genome, config)


def test_new_genes_are_numbered_by_neat_python():
    config = configuration(num_inputs=1, num_outputs=1, weight_init_stdev=0.0, activation_default="tanh")
    settings = config.genome_config
    genome, other = grown(config, 0, 0), neat.DefaultGenome(1)
    other.configure_new(settings)
    settings.get_new_node_key(genome.nodes)  # a key that another genome got
    last = settings.innovation_tracker.get_current_innovation_number()
    for one in (genome, other):
        net = neat_python.to_network(one, config)
        assert net.add_node(0, 1) == 2
        neat_python.update_genome(one, net, config)
    assert sorted(genome.nodes) == [0, 2] and sorted(other.nodes) == [0, 3]
    assert [(key, gene.innovation) for key, gene in genome.connections.items()] == [((-1, 2), last + 1),
                                                                                    ((2, 0), last + 2)]
    assert genome.nodes[2].aggregation == "sum" and genome.nodes[2].activation == "tanh"


def test_a_connection_that_grows_where_a_disabled_gene_is_enables_it():
    config = configuration(num_inputs=1, num_outputs=1)
    genome = grown(config, 0, 0)
    gene = genome.connections[-1, 0]
    gene.enabled, number = False, gene.innovation
    net = neat_python.to_network(genome, config)
    assert len(net.connections) == 0
    net.connect(0, 1, 2.0)
    neat_python.update_genome(genome, net)
    assert gene.enabled and gene.innovation == number and genome.connections[-1, 0] is gene
    assert_same(genome, net, config, 0)


def test_disabled_genes_that_would_close_a_cycle_go():
    config = configuration(num_inputs=1, num_outputs=1)
    genome = grown(config, 0, 0, hidden=2)
    genome.add_connection(config.genome_config, 1, 2, 1.0, False)
    net = neat_python.to_network(genome, config)
    net.connect(3, 2, 0.5)
    neat_python.update_genome(genome, net, config)
    assert (1, 2) not in genome.connections and (2, 1) in genome.connections


def test_disabled_genes_of_a_removed_node_go_with_it():
    config = configuration(num_inputs=1, num_outputs=1)
    genome = grown(config, 0, 0, hidden=1)
    genome.connections[-1, 1].enabled = False
    net = neat_python.to_network(genome, config)
    net.remove_node(2)
    neat_python.update_genome(genome, net)
    assert list(genome.nodes) == [0] and list(genome.connections) == [(-1, 0)]


def test_a_node_that_acts_alone_keeps_a_gene_in_recurrent_genomes():
    config = configuration(num_inputs=1, num_outputs=1, feed_forward=False, activation_default="sigmoid",
                           initial_connection="full_nodirect")
    genome = grown(config, 0, 0, hidden=1)
    net = neat_python.to_network(genome, config)
    net.disconnect([0, 2], [2, 2])
    neat_python.update_genome(genome, net)
    assert genome.connections[-1, 1].weight == 0.0 and (1, 1) not in genome.connections
    assert_same(genome, net, config, 0)
    net = neat_python.to_network(genome, config)
    net.remove_node(2)
    net.disconnect(1, 1)
    del genome.connections[0, 0]
    with pytest.raises(ValueError, match="config must be given for the 0 nodes and 1 connections") as raised:
        neat_python.update_genome(genome, net)
    assert_one_sentence(raised)
    neat_python.update_genome(genome, net, config)
    assert list(genome.connections) == [(0, 0)] and genome.connections[0, 0].weight == 0.0
    assert_same(genome, net, config, 0)


def test_a_population_goes_on_with_pruned_genomes():
    config = configuration(feed_forward=True)
    config.genome_config.innovation_tracker = None
    config.pop_size, config.no_fitness_termination = 20, True
    population = neat.Population(config, seed=1)
    sizes = []

    def evaluate(genomes, config):
        for key, genome in genomes:
            net = neat_python.to_network(genome, config)
            npr.mutation.Sequence([npr.mutation.Prune(0.2), npr.mutation.Regrow(1)])(net, key)
            neat_python.update_genome(genome, net, config)
            genome.fitness = float(net([1.0, 0.5, -1.0]).sum())
            sizes.append(len(net.connections))

    population.run(evaluate, 10)
    assert len(sizes) >= 180 and max(sizes) > 3


# ---------------------------------------------------------------- own activations


def test_a_function_of_the_users_is_known_by_its_name_in_both():
    config = configuration(num_inputs=1, num_outputs=1, activation_default="neat_python_ramp")
    config.genome_config.add_activation("neat_python_ramp", lambda z: 2.0 * z)
    config.genome_config.activation_options = ["neat_python_ramp"]
    genome = grown(config, 0, 0)
    with pytest.raises(ValueError, match="known here too, got 'neat_python_ramp': call npr.register_activation"):
        neat_python.to_network(genome, config)
    npr.register_activation("neat_python_ramp", lambda z: 2.0 * z, lambda z: 2.0)
    net = neat_python.to_network(genome, config)
    assert_same(genome, net, config, 0)
    net.node(1).activation = "swish"
    config.genome_config.add_activation("swish", lambda z: z / (1.0 + math.exp(-z)))
    neat_python.update_genome(genome, net, config)
    assert genome.nodes[0].activation == "swish"
    assert_same(genome, neat_python.to_network(genome, config), config, 0)


@pytest.mark.parametrize(("name", "function", "named"), [
    ("softsign", lambda z: 2.0 * z, "activation 'softsign' of node 0 must be the same function here and in"),
    ("tanh", lambda z: 2.0 * z, "activation 'tanh' of node 0 must be neat-python's own, got another function"),
])
def test_another_function_under_a_known_name_is_refused(name, function, named):
    config = configuration(num_inputs=1, num_outputs=1, activation_default=name, activation_options=[name])
    config.genome_config.add_activation(name, function)
    with pytest.raises(ValueError, match=named) as raised:
        neat_python.to_network(grown(config, 0, 0), config)
    assert_one_sentence(raised)


# ---------------------------------------------------------------- refused


def refused(call, error, named, genome=None):
    before = None if genome is None else listed(genome)
    with pytest.raises(error, match=named) as raised:
        call()
    assert_one_sentence(raised)
    assert genome is None or listed(genome) == before


@pytest.mark.parametrize("name", ["product", "max", "min", "maxabs", "median", "mean"])
def test_other_aggregations_are_refused(name):
    config = configuration(aggregation_default=name, aggregation_options=[name])
    refused(lambda: neat_python.to_network(grown(config, 0, 0), config), ValueError,
            f"aggregation of node 0 must be 'sum', got '{name}': set aggregation_options = sum")


def test_genomes_that_are_no_network_are_refused():
    config = configuration(num_inputs=1, num_outputs=2)

    def with_gene(key):
        genome = grown(config, 0, 0, hidden=1)
        genome.add_connection(config.genome_config, *key, 1.0, True)
        return genome

    for key in ((-1, 9), (9, 0), (-2, 0)):
        refused(lambda key=key: neat_python.to_network(with_gene(key), config), ValueError, "must join nodes of the")
    refused(lambda: neat_python.to_network(with_gene((0, 2)), config), ValueError, "must not leave an output, got")
    refused(lambda: neat_python.to_network(with_gene((2, 2)), config), ValueError, "must join two nodes")
    genome = grown(config, 0, 0)
    genome.nodes[0] = neat.iznn.IZNodeGene(0)
    refused(lambda: neat_python.to_network(genome, config), TypeError, "must have bias, response, activation")


def test_networks_that_do_not_fit_are_refused():
    config = configuration()
    genome = grown(config, 0, 5)
    net = neat_python.to_network(genome, config)
    update = neat_python.update_genome
    refused(lambda: update(genome, None), TypeError, "network must be a Network, got NoneType", genome)
    for other in (npr.Network.dense([2, 2]), npr.Network.dense([3, 9])):
        refused(lambda other=other: update(genome, other), ValueError, "does not fit the genome", genome)
    for other in (npr.Network.dense([4, 2]), net.copy().as_recurrent()):
        refused(lambda other=other: update(genome, other, config), ValueError, "does not fit the genome", genome)
    grew = net.copy()
    grew.add_node(grew.connections[0].source, grew.connections[0].target)
    refused(lambda: update(genome, grew), ValueError, "config must be given for the 1 nodes and 2 connections", genome)
    config.genome_config.innovation_tracker = None
    refused(lambda: update(genome, grew, config), ValueError, "must have an innovation_tracker", genome)
    net.node(3).activation = "swish"
    for given_config in (None, config):
        refused(lambda given_config=given_config: update(genome, net, given_config), ValueError,
                "must have a name in neat-python, got 'swish'", genome)


def test_delays_that_neat_python_does_not_know_are_refused():
    genome = grown(RECURRENT, 3, 0, hidden=1)
    for source, target, delayed in ((5, 5, True), (0, 4, True), (5, 3, False)):
        net = neat_python.to_network(genome, RECURRENT)
        if (source, target) in net.connections:
            net.disconnect(source, target)
        net.connect(source, target, 1.0, delayed=delayed)
        if source == target:
            neat_python.update_genome(genome, net, RECURRENT)
        else:
            refused(lambda net=net: neat_python.update_genome(genome, net, RECURRENT), ValueError,
                    f"connection {source} -> {target} must be {'not ' if delayed else ''}delayed", genome)
