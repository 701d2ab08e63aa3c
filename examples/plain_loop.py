"""Pruning as one more mutation, in an evolutionary loop written by hand.

    python examples/plain_loop.py [--quick] [--seed 0]

Three of sixteen inputs decide the target. Networks start with 80 random connections; children are mutated copies of
good parents, and in the second run every network is pruned a little more each generation, in the end to a quarter of
what its lineage ever had. Watch which inputs are left: without pruning a network looks at all sixteen to the end, a
pruned one keeps 2, 5 and 11, and its error is no higher.
"""

import argparse

import numpy as np

import neuroprune as npr
from neuroprune.evolution.mutation import (
    AddConnection,
    AddNode,
    Choice,
    Operator,
    PerturbBiases,
    PerturbWeights,
    PruneToSparsity,
    Sequence,
)

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few generations, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
generations = 20 if options.quick else 400

data = np.random.default_rng(7)
x = data.uniform(-1.0, 1.0, (200, 16))
y = np.sin(3.0 * x[:, 2]) + x[:, 5] - 0.5 * x[:, 11]

weights = Sequence([PerturbWeights(rate=0.2, power=0.1, replace_rate=0.02), PerturbBiases(rate=0.2, power=0.1)])
growth = Choice([AddConnection(), AddNode()], [0.1, 0.02])  # one child in ten gets a connection, one in fifty a node
mutate = Sequence([growth, weights])


def error(net: npr.Network) -> float:
    return float(np.mean((net(x)[:, 0] - y) ** 2))


def inputs_used(net: npr.Network) -> list[int]:
    """Inputs from which a path leads to the output."""
    lean = net.copy()
    lean.trim()
    return [i for i in range(16) if (lean.connections.source == i).any()]


def pruning(generation: int) -> Operator:
    """More from generation to generation: 75% after three quarters of the run."""
    return PruneToSparsity(0.75 * min(1.0, generation / (0.75 * generations)))


def evolve(pruned: bool) -> None:
    rng = np.random.default_rng(options.seed)
    population = [npr.Network.random(16, 1, 4, 80, output_activation="identity", seed=rng) for _ in range(40)]
    print(f"\n{'with' if pruned else 'without'} pruning\ngeneration    error  connections  inputs used")
    for generation in range(generations + 1):
        population.sort(key=error)
        best = population[0]
        if generation % (generations // 5) == 0:
            used = inputs_used(best)
            print(f"{generation:10}  {error(best):7.4f}  {len(best.connections):11}  "
                  f"{used if len(used) < 9 else 'many'}")
        parents = population[:10]
        children = [parents[rng.integers(10)].copy() for _ in range(30)]
        for child in children:
            mutate(child, rng)  # in place; every operator is called like this
        population = parents + children
        if pruned:
            for net in population:
                pruning(generation)(net, rng)


evolve(pruned=False)
evolve(pruned=True)
