"""The peers' side of evolution: populations of neat-python and MultiNEAT made from our networks, and their runs."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import neuroprune as npr
from benchmarks.wiring import TANH_RESPONSE, neat_id

XOR_ROWS = [((0.0, 0.0), 0.0), ((0.0, 1.0), 1.0), ((1.0, 0.0), 1.0), ((1.0, 1.0), 0.0)]

# What neat-python's XOR example says; the changes that a benchmark makes are its own
NEAT = {
    "fitness_criterion": "max", "fitness_threshold": 3.9, "pop_size": 150, "reset_on_extinction": False,
    "no_fitness_termination": False,
}
GENOME = {
    "num_inputs": 2, "num_hidden": 0, "num_outputs": 1, "feed_forward": True, "initial_connection": "full_direct",
    "compatibility_disjoint_coefficient": 1.0, "compatibility_weight_coefficient": 0.5,
    "conn_add_prob": 0.5, "conn_delete_prob": 0.5, "node_add_prob": 0.2, "node_delete_prob": 0.2,
    "single_structural_mutation": False, "structural_mutation_surer": "default",
    "activation_default": "sigmoid", "activation_options": "sigmoid", "activation_mutate_rate": 0.0,
    "aggregation_default": "sum", "aggregation_options": "sum", "aggregation_mutate_rate": 0.0,
    "enabled_default": True, "enabled_mutate_rate": 0.01, "enabled_rate_to_true_add": 0.0,
    "enabled_rate_to_false_add": 0.0,
}
# for each attribute: mean and deviation at first, limits, mutation power, mutation rate, replacement rate
NUMBERS = {"bias": (0.0, 1.0, -30.0, 30.0, 0.5, 0.7, 0.1), "weight": (0.0, 1.0, -30.0, 30.0, 0.5, 0.8, 0.1),
           "response": (1.0, 0.0, -30.0, 30.0, 0.0, 0.0, 0.0), "time_constant": (1.0, 0.0, 0.01, 10.0, 0.0, 0.0, 0.0)}
FIELDS = ("init_mean", "init_stdev", "min_value", "max_value", "mutate_power", "mutate_rate", "replace_rate")
OTHERS = {"DefaultSpeciesSet": {"compatibility_threshold": 3.0},
          "DefaultStagnation": {"species_fitness_func": "max", "max_stagnation": 20, "species_elitism": 2},
          "DefaultReproduction": {"elitism": 2, "survival_threshold": 0.2, "min_species_size": 2}}

# MultiNEAT's XOR example
MULTINEAT_XOR = {
    "PopulationSize": 150, "DynamicCompatibility": True, "NormalizeGenomeSize": True, "WeightDiffCoeff": 0.1,
    "CompatTreshold": 2.0, "YoungAgeTreshold": 15, "SpeciesDropoffAge": 15, "OldAgeTreshold": 35, "MinSpecies": 2,
    "MaxSpecies": 10, "RouletteWheelSelection": False, "RecurrentProb": 0.0, "OverallMutationRate": 1.0,
    "ArchiveEnforcement": False, "MutateWeightsProb": 0.05, "WeightMutationMaxPower": 0.5,
    "WeightReplacementMaxPower": 8.0, "MutateWeightsSevereProb": 0.0, "WeightMutationRate": 0.25,
    "WeightReplacementRate": 0.9, "MaxWeight": 8.0, "MutateAddNeuronProb": 0.001, "MutateAddLinkProb": 0.3,
    "MutateRemLinkProb": 0.0, "MinActivationA": 4.9, "MaxActivationA": 4.9,
    "ActivationFunction_SignedSigmoid_Prob": 0.0, "ActivationFunction_UnsignedSigmoid_Prob": 1.0,
    "ActivationFunction_Tanh_Prob": 0.0, "ActivationFunction_SignedStep_Prob": 0.0, "CrossoverRate": 0.0,
    "MultipointCrossoverRate": 0.0, "SurvivalRate": 0.2, "MutateNeuronTraitsProb": 0.0, "MutateLinkTraitsProb": 0.0,
    "AllowLoops": True, "AllowClones": True,
}


def neat_config(**changes: Any) -> Any:
    """A neat-python Config: the XOR example's, with changes to [NEAT] and [DefaultGenome]."""
    import neat

    genome = dict(GENOME)
    for name, values in NUMBERS.items():
        genome[f"{name}_init_type"] = "gaussian"
        genome |= {f"{name}_{field}": value for field, value in zip(FIELDS, values, strict=True)}
    sections = {"NEAT": {name: changes.pop(name, value) for name, value in NEAT.items()},
                "DefaultGenome": genome | changes, **OTHERS}
    lines = [line for section, values in sections.items()
             for line in (f"[{section}]", *(f"{name} = {value}" for name, value in values.items()))]
    with TemporaryDirectory() as folder:
        path = Path(folder, "config")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return neat.Config(neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet,
                           neat.DefaultStagnation, str(path))


def neat_genomes(networks: Sequence[npr.Network]) -> list[Any]:
    """The same wiring and numbers; a connection between the same nodes has the same innovation number everywhere."""
    from neat.genes import DefaultConnectionGene, DefaultNodeGene
    from neat.genome import DefaultGenome

    innovations: dict[tuple[int, int], int] = {}
    genomes = []
    for number, net in enumerate(networks):
        genome = DefaultGenome(number)
        for node in list(net.nodes)[net.graph.n_inputs:]:
            gene = DefaultNodeGene(neat_id(net, node.id))
            scale = TANH_RESPONSE if node.activation == "tanh" else 1.0
            gene.bias, gene.response, gene.time_constant = scale * node.bias, scale, 1.0
            gene.activation, gene.aggregation = node.activation, "sum"
            genome.nodes[gene.key] = gene
        for one in net.connections:
            key = neat_id(net, one.source), neat_id(net, one.target)
            gene = DefaultConnectionGene(key, innovation=innovations.setdefault(key, len(innovations) + 1))
            gene.weight, gene.enabled = one.weight, True
            genome.connections[key] = gene
        genomes.append(genome)
    return genomes


class NeatGenerations:
    """A neat-python population between evaluations: calling it reproduces, mutates and speciates."""

    def __init__(self, networks: Sequence[npr.Network], **changes: Any) -> None:
        from neat.reporting import ReporterSet

        graph = networks[0].graph
        self.config = neat_config(pop_size=len(networks), num_inputs=graph.n_inputs, num_outputs=graph.n_outputs,
                                  **changes)
        reporters = ReporterSet()
        stagnation = self.config.stagnation_type(self.config.stagnation_config, reporters)
        self.reproduction = self.config.reproduction_type(self.config.reproduction_config, reporters, stagnation)
        self.species = self.config.species_set_type(self.config.species_set_config, reporters)
        self.population = dict(enumerate(neat_genomes(networks), 1))
        for key, genome in self.population.items():
            genome.key = key
        for _ in self.population:
            next(self.reproduction.genome_indexer)
        self.reproduction.innovation_tracker.global_counter = max(
            gene.innovation for genome in self.population.values() for gene in genome.connections.values())
        ids = [node for genome in self.population.values() for node in genome.nodes]
        self.config.genome_config.get_new_node_key(dict.fromkeys(ids))
        self.generation = 0
        self.species.speciate(self.config, self.population, 0)

    def tell(self) -> tuple:
        """Random fitness, as a setup of what is timed."""
        for genome in self.population.values():
            genome.fitness = random.random()
        return ()

    def __call__(self) -> None:
        """The next generation."""
        self.population = self.reproduction.reproduce(self.config, self.species, self.config.pop_size,
                                                      self.generation)
        self.species.speciate(self.config, self.population, self.generation)
        self.generation += 1


def neat_run(seed: int, evaluate: Callable[[Any], float], generations: int, **changes: Any) -> int | None:
    """Evolve with neat-python; returns the generation that reached fitness_threshold, counted from 1, or None.

    `evaluate` gets a FeedForwardNetwork and returns its fitness.
    """
    import neat

    random.seed(seed)
    population = neat.Population(neat_config(**changes))
    threshold = population.config.fitness_threshold

    def measure(genomes: list, config: Any) -> None:
        for _, genome in genomes:
            genome.fitness = evaluate(neat.nn.FeedForwardNetwork.create(genome, config))

    try:
        best = population.run(measure, generations)
    except (neat.CompleteExtinctionException, RuntimeError):  # species too small, or none left: not solved
        return None
    return population.generation + 1 if best.fitness >= threshold else None


def neat_xor(net: Any) -> float:
    """4 minus the sum of squared errors."""
    return 4.0 - sum((net.activate(x)[0] - y) ** 2 for x, y in XOR_ROWS)


def multineat_parameters(**values: Any) -> Any:
    """MultiNEAT's Parameters."""
    import multineat

    parameters = multineat.Parameters()
    for name, value in values.items():
        setattr(parameters, name, value)
    return parameters


def multineat_genomes(networks: Sequence[npr.Network]) -> list[Any]:
    """The same wiring and weights, with an input of 1 for the biases of outputs, as MultiNEAT has them."""
    import multineat

    innovations: dict[tuple[int, int], int] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder, "genome")
        genomes = []
        for number, net in enumerate(networks):
            path.write_text("\n".join(_multineat_lines(number, net, innovations)) + "\n", encoding="utf-8")
            genomes.append(multineat.Genome(str(path)))
    return genomes


def _multineat_lines(number: int, net: npr.Network, innovations: dict[tuple[int, int], int]) -> Iterator[str]:
    graph = net.graph
    kinds = [1] * graph.n_inputs + [3] * graph.n_hidden + [4] * graph.n_outputs
    yield f"GenomeStart {number}"
    for place, (kind, node_id) in enumerate(zip(kinds, graph.ids.tolist(), strict=True)):
        yield f"Neuron {node_id + 1} {kind} {place / graph.n_nodes:.8f} 1 1.0 0.0 0.0 0.0"
    for one in net.connections:
        pair = one.source + 1, one.target + 1
        innovation = innovations.setdefault(pair, len(innovations) + 1)
        yield f"Link {pair[0]} {pair[1]} {innovation} 0 {one.weight:.8f}"
    yield "GenomeEnd"


def multineat_xor(seed: int, generations: int) -> int | None:
    """Evolve XOR as MultiNEAT's example does; returns the generation that reached 3.9, counted from 1, or None."""
    import multineat

    sigmoid = multineat.ActivationFunction.UNSIGNED_SIGMOID
    parameters = multineat_parameters(**MULTINEAT_XOR)
    first = multineat.Genome(0, 3, 0, 1, False, sigmoid, sigmoid, 0, parameters, 0)
    population = multineat.Population(first, parameters, True, 1.0, seed)
    population.RNG.Seed(seed)
    rows = [([*x, 1.0], y) for x, y in XOR_ROWS]
    for generation in range(1, generations + 1):
        best = 0.0
        for genome in multineat.GetGenomeList(population):
            net = multineat.NeuralNetwork()
            genome.BuildPhenotype(net)
            errors = [abs(_multineat_output(net, x) - y) for x, y in rows]
            genome.SetFitness((4.0 - sum(errors)) ** 2)
            genome.SetEvaluated()
            best = max(best, 4.0 - sum(error * error for error in errors))
        if best > 3.9:
            return generation
        population.Epoch()
    return None


def _multineat_output(net: Any, x: list[float]) -> float:
    net.Flush()
    net.Input(x)
    net.Activate()
    net.Activate()
    return net.Output()[0]


def cartpole(episodes: int) -> SimpleNamespace:
    """One CartPole-v1, played by neat-python's networks: the mean return of some episodes."""
    import gymnasium

    env = gymnasium.make("CartPole-v1")
    seeds = iter(range(10**9))

    def play(net: Any) -> float:
        total = 0.0
        for _ in range(episodes):
            observation, _ = env.reset(seed=next(seeds))
            over = False
            while not over:
                left, right = net.activate(observation.tolist())
                observation, reward, fell, late, _ = env.step(int(right > left))
                total += reward
                over = fell or late
        return total / episodes

    return SimpleNamespace(evaluate=play, close=env.close)


def neat_clone(genome: Any) -> Any:
    """A genome with copies of all genes."""
    from neat.genome import DefaultGenome

    clone = DefaultGenome(genome.key)
    clone.nodes = {key: gene.copy() for key, gene in genome.nodes.items()}
    clone.connections = {key: gene.copy() for key, gene in genome.connections.items()}
    return clone


def neat_cross(first: Any, second: Any, config: Any) -> Any:
    """A child of two genomes with fitness."""
    from neat.genome import DefaultGenome

    child = DefaultGenome(0)
    child.configure_crossover(first, second, config.genome_config)
    return child


def built_and_run(genomes: Sequence[Any], config: Any, rows: list[list[float]]) -> list[list[list[float]]]:
    """neat-python: every genome made runnable and run on all rows."""
    from neat.nn import FeedForwardNetwork

    outputs = []
    for genome in genomes:
        net = FeedForwardNetwork.create(genome, config)
        outputs.append([net.activate(row) for row in rows])
    return outputs


def config_of(networks: Sequence[npr.Network], **changes: Any) -> Any:
    """A neat-python Config for networks of this shape."""
    graph = networks[0].graph
    return neat_config(num_inputs=graph.n_inputs, num_outputs=graph.n_outputs, **changes)
