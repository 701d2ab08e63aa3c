"""RigL without layers: a network of any wiring moves its few connections to where the gradient asks for them.

    pip install "neuroprune[examples]"
    python examples/rigl_on_a_graph.py [--quick] [--seed 0]

A random acyclic network of 200 hidden nodes, which no layers order, learns digits with 600 connections, 2% of those
that its order allows. Every 20 steps some of its smallest connections go and as many grow anywhere in the order, at
random (SET) or where the gradient is largest (RigL). Watch the accuracy: wiring that may move is worth fifteen points,
and RigL needs fewer hidden nodes than SET.
"""

import argparse
import math

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import neuroprune as npr
from neuroprune.network import optimizers

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few steps, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
steps = 200 if options.quick else 2000

x, y = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.25, stratify=y, random_state=options.seed)

WAYS = {
    "fixed wiring": None,
    "SET": npr.Rewire.set(every=20, until=round(0.75 * steps), fraction=0.3),
    "RigL": npr.Rewire.rigl(every=20, until=round(0.75 * steps), fraction=0.3),
}


def rate(iteration: int) -> float:
    """Half a cosine from 0.1 to 0."""
    return 0.05 * (1 + math.cos(math.pi * iteration / steps))


for name, rewire in WAYS.items():
    net = npr.Network.random(64, 10, n_hidden=200, n_connections=600, seed=options.seed)
    net.train(x, y, steps, learning_rate=rate, optimizer=optimizers.sgd(momentum=0.9), batch_size=32, seed=options.seed,
              loss="softmax_cross_entropy", rewire=rewire)
    accuracy = np.mean(net(x_test).argmax(1) == y_test)
    net.trim()
    hidden = len(net.nodes) - 74
    print(f"{name:13} {100 * accuracy:5.1f}%, {hidden} hidden nodes and {len(net.connections)} connections at work")
