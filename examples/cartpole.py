"""CartPole from gymnasium: a whole generation plays together.

    python examples/cartpole.py [--quick] [--seed 0]

    pip install "neuroprune[examples]"

Every network has an environment of its own, and all step in one call, through the environment's vector form where it
has one. Any environment with Box, Discrete, MultiDiscrete or MultiBinary spaces works the same way.
"""

import argparse
import time

import neuroprune as npr

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="a small population, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

with npr.Gym("CartPole-v1", episodes=5) as problem:
    population = npr.Population(problem.n_inputs, problem.n_outputs, size=20 if options.quick else 150,
                                seed=options.seed)
    start = time.perf_counter()
    best = population.evolve(problem, 2 if options.quick else 50, target=500.0)
    print(f"mean return {population.best_fitness:.0f} after {population.generation} generations, "
          f"{time.perf_counter() - start:.2f} s")
    print(f"returns in 5 new episodes: {problem.play(best, seed=options.seed).astype(int).tolist()}")
