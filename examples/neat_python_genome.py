"""Prune the genomes of a neat-python run, in two lines each generation.

    python examples/neat_python_genome.py [--quick] [--runs 5]

neat-python learns XOR twice with the same seeds: as it is, and with a tenth of the weakest connections removed from
every genome before it is evaluated. Genes that are pruned are gone from the genome, so its children do not have them
either. Both runs are evaluated by neuroprune; neat-python itself gives the same outputs. Watch the genomes stay small.

Needs neat-python: pip install "neuroprune[examples]".
"""

import argparse
import statistics
from pathlib import Path

import neat
import numpy as np

import neuroprune as npr
from neuroprune.interop import neat_python

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="one short run, to see that it works")
parser.add_argument("--runs", type=int, default=5, help="seeds per way")
options = parser.parse_args()
runs, generations = (1, 40) if options.quick else (options.runs, 150)

x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([0.0, 1.0, 1.0, 0.0])
file = Path(__file__).with_name("neat_python_genome.cfg")


def run(seed: int, fraction: float) -> tuple[bool, int, float, neat.DefaultGenome, neat.Config]:
    """Whether XOR was solved, generations, connections per genome at the end, the best genome and its configuration."""
    config = neat.Config(neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet, neat.DefaultStagnation,
                         file)
    population = neat.Population(config, seed=seed)
    rng = np.random.default_rng(seed)
    prune = npr.mutation.Prune(fraction)
    sizes = []

    def evaluate(genomes: list, config: neat.Config) -> None:
        sizes.clear()
        for _, genome in genomes:
            net = neat_python.to_network(genome, config)
            prune(net, rng)
            neat_python.update_genome(genome, net)
            genome.fitness = 4.0 - float(np.sum((net(x)[:, 0] - y) ** 2))
            sizes.append(len(net.connections))

    best = population.run(evaluate, generations)
    solved = best.fitness >= config.fitness_threshold
    return solved, population.generation, statistics.mean(sizes), best, config


for fraction in (0.0, 0.1):
    results = [run(seed, fraction) for seed in range(runs)]
    solved, ran, sizes = ([result[i] for result in results] for i in range(3))
    print(f"prune {fraction:3.0%}: solved {sum(solved)} of {runs}, generations {statistics.median(ran):g} (median), "
          f"connections per genome {statistics.mean(sizes):.1f} (mean at the end)")

# What was pruned is pruned for neat-python, too: its own network of the last best genome.
_, _, _, best, config = results[-1]
network = neat.nn.FeedForwardNetwork.create(best, config)
print("neat-python computes from the last pruned genome:", [round(network.activate(row)[0], 3) for row in x.tolist()])
