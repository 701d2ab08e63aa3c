"""A population that prunes itself while it grows.

    python examples/evolve_and_prune.py [--quick] [--seed 0]

Two runs on the same task, a function of three of eight inputs: without pruning, and with every network pruned each
generation until nine tenths of all that its lineage ever grew are gone. Watch how many connections there are, which
share of them does nothing, and what that costs in error.
"""

import argparse

import numpy as np

import neuroprune as npr

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few generations, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
generations = 20 if options.quick else 300

data = np.random.default_rng(7)
x = data.uniform(-1.0, 1.0, (200, 8))
problem = npr.Dataset(x, np.sin(3.0 * x[:, 2]) + x[:, 5] - 0.5 * x[:, 7], loss="mse")
settings = npr.Settings(output_activation="identity", add_node=0.2, add_connection=0.5)

for pruning in (None, npr.GenerationPruning(0.9, ramp_generations=generations // 2, regrow_fraction=0.2)):
    population = npr.Population(8, 1, seed=options.seed, settings=settings, pruning=pruning)
    best = population.evolve(problem, generations)
    print(f"\n{'with' if pruning else 'without'} pruning\ngeneration    error  connections  dead weight  sparsity")
    history = population.history
    for i in range(0, generations, generations // 5):
        print(f"{history.generation[i]:10}  {-history.best[i]:7.4f}  {history.connections[i]:11.1f}  "
              f"{history.dead_connections[i]:11.0%}  {history.sparsity[i]:8.0%}")
    removed = best.trim()
    used = sorted({int(source) for source in best.connections.source if source < 8})
    print(f"best: {len(best.connections)} connections after {removed} idle nodes are gone; looks at inputs {used}")
