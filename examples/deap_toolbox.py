"""Networks in DEAP: our operators in its toolbox, its NSGA-II over error and size.

    python examples/deap_toolbox.py [--quick] [--seed 0]

An individual is a list that holds one network. `mate` and `mutate` call our operators, pruning among them; DEAP does
the rest: selection, variation, the Pareto front. What one sees at the end is that front, from the smallest network to
the most exact one: how much error each connection more is worth.

Needs DEAP: pip install "neuroprune[examples]".
"""

import argparse
import random

import numpy as np
from deap import algorithms, base, creator, tools

import neuroprune as npr
from neuroprune.evolution import mutation

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few generations, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
generations = 15 if options.quick else 300

random.seed(options.seed)  # DEAP draws from Python's generator, our operators from theirs
rng = np.random.default_rng(options.seed)

x = np.linspace(-2.0, 2.0, 60)[:, None]
y = np.sin(3.0 * x[:, 0]) + 0.3 * x[:, 0] ** 2

creator.create("Fitness", base.Fitness, weights=(-1.0, -1.0))  # less error, fewer connections
creator.create("Individual", list, fitness=creator.Fitness)

operators = mutation.Sequence([
    mutation.Choice([mutation.AddNode(), mutation.AddConnection(), mutation.Prune(0.2), mutation.RemoveNode()],
                    [0.1, 0.15, 0.1, 0.05]),
    mutation.PerturbWeights(rate=0.4, power=0.15, replace_rate=0.02),
    mutation.PerturbBiases(rate=0.4, power=0.15, replace_rate=0.02),
])


def individual() -> list:
    return creator.Individual([npr.Network.dense([1, 5, 1], seed=rng)])


def evaluate(one: list) -> tuple[float, float]:
    (net,) = one
    return float(np.mean((net(x)[:, 0] - y) ** 2)), float(len(net.connections))


def mate(a: list, b: list) -> tuple[list, list]:
    a[0], b[0] = npr.crossover(a[0], b[0], rng), npr.crossover(b[0], a[0], rng)
    return a, b


def mutate(one: list) -> tuple[list]:
    operators(one[0], rng)
    return (one,)


toolbox = base.Toolbox()
toolbox.register("population", tools.initRepeat, list, individual)
toolbox.register("evaluate", evaluate)
toolbox.register("mate", mate)
toolbox.register("mutate", mutate)
toolbox.register("select", tools.selNSGA2)

front = tools.ParetoFront(similar=lambda a, b: a.fitness == b.fitness)
algorithms.eaMuPlusLambda(toolbox.population(n=60), toolbox, mu=60, lambda_=60, cxpb=0.2, mutpb=0.8,
                          ngen=generations, halloffame=front, verbose=False)

print("connections  hidden   error")
for one in reversed(front):
    error, connections = one.fitness.values
    print(f"{connections:11.0f}  {one[0].graph.n_hidden:6}  {error:.4f}")
