"""Accuracy against size: the Pareto front of a population that also learns by gradient.

    python examples/pareto_digits.py [--quick] [--seed 0]

    pip install "neuroprune[examples]"

Networks of handwritten digits begin with a tenth of the possible connections. Each takes a few gradient steps in every
generation and hands on what it learned (Lamarckian); who is better with as many connections, or as good with fewer,
lives on. The table shows the front: what each size costs on digits that nobody learned from.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

import neuroprune as npr

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few generations, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

x, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(x))
x, y = x[order] / 16.0, y[order]
learning = npr.Lamarckian(steps=5, learning_rate=0.01, batch_size=64)
problem = npr.Dataset(x[:1200], y[:1200], loss="softmax_cross_entropy", learning=learning)

settings = npr.Settings(activation="relu", output_activation="identity", start_density=0.1, add_connection=0.5,
                        remove_connection=0.5, mutate_weights=0.0)
population = npr.Population(64, 10, size=20 if options.quick else 100, seed=options.seed, settings=settings,
                            objectives=("fitness", "connections"))
front = population.evolve(problem, 5 if options.quick else 100, progress=not options.quick)

print("connections  held-out accuracy")
for net in front[:: max(len(front) // 10, 1)]:
    print(f"{len(net.connections):11}  {np.mean(net(x[1200:]).argmax(axis=1) == y[1200:]):17.1%}")
