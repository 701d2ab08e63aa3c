"""Two poles on a cart without velocities: the network must remember, so it is recurrent.

    python examples/double_pole.py [--quick] [--seed 0] [--folder .]

Evolution stops when a network balances both poles for 100,000 steps (33 minutes) and from at least 200 of 625 other
starts. The run is saved while it goes on: stop it with Ctrl-C and call it again, and it goes on where it was, to the
same bits.
"""

import argparse
from pathlib import Path

import neuroprune as npr

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few generations, to see that it works")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--folder", type=Path, default=Path("."))
options = parser.parse_args()

file = options.folder / f"double-pole-{options.seed}.npz"
problem = npr.DoublePole(velocities=False)
if file.exists():
    population = npr.Population.load(file)
    print(f"{file} is there: on from generation {population.generation}")
else:
    population = npr.Population(problem.n_inputs, 1, seed=options.seed, settings=npr.Settings(recurrent=True))

best = population.evolve(problem, 5 if options.quick else 1000, progress=not options.quick,
                         checkpoint=npr.Checkpoint(file, generations=10))
print(f"{population.evaluations} evaluations, {len(population.species)} species, best {best}")
print(f"balances for {problem.steps(best)} steps, from {problem.generalization(best)} of 625 other starts")
