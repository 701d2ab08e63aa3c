"""CMA-ES finds the parameters of a network that is pruned on the way.

    python examples/cma_parameters.py [--quick] [--seed 0]

The hidden nodes are steps: they have no gradient to follow, so an evolution strategy searches `net.parameters`, the
flat vector of all weights and biases. Between two searches the network loses some of its weakest connections, and the
next search starts from what is left, in fewer dimensions. What one sees is how far the number of parameters falls
before points come to lie on the wrong side.

Needs cma: pip install "neuroprune[examples]".
"""

import argparse

import cma
import numpy as np

import neuroprune as npr

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="short searches, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
iterations = 10 if options.quick else 300

# Points in a square, and whether they lie in the diamond |a| + |b| < 1: four straight edges, so four steps are enough.
rng = np.random.default_rng(options.seed)
x = rng.uniform(-1.5, 1.5, (400, 2))
inside = np.abs(x).sum(axis=1) < 1.0


def loss(net: npr.Network, parameters: np.ndarray) -> float:
    """Mean hinge loss of the signed output, with a small price on large parameters."""
    net.parameters = parameters
    margin = np.where(inside, 1.0, -1.0) * net(x)[:, 0]
    return float(np.maximum(0.0, 1.0 - margin).mean() + 1e-4 * np.abs(parameters).sum())


net = npr.Network.dense([2, 12, 1], activation="bipolar", seed=options.seed)
print("parameters  connections  hidden  points on the right side")
for sparsity in (0.0, 0.3, 0.5, 0.6, 0.7, 0.8):
    net.prune_to_sparsity(sparsity)  # always of the 36 connections that there were at first
    net.trim()  # hidden nodes that lost their inputs or their outputs go, too
    search = cma.CMAEvolutionStrategy(net.parameters, 0.5, {"seed": options.seed + 1, "maxiter": iterations,
                                                            "verbose": -9})
    while not search.stop():
        candidates = search.ask()
        search.tell(candidates, [loss(net, candidate) for candidate in candidates])
    net.parameters = search.result.xbest
    right = ((net(x)[:, 0] > 0.0) == inside).mean()
    print(f"{net.parameters.size:10}  {len(net.connections):11}  {net.graph.n_hidden:6}  {right:.1%}")
