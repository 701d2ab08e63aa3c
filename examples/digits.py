"""Train a graph network on handwritten digits, prune it while it learns, and see what is left.

    python examples/digits.py [--quick]

Needs scikit-learn and matplotlib: pip install "neuroprune[examples]". The command `neuroprune digits` does the same
with more options, and keeps everything in a folder.
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import neuroprune as npr
from neuroprune import plot

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few steps, to see that it works")
steps = 300 if parser.parse_args().quick else 5000

# 1,797 pictures of 8 x 8 pixels, ten classes.
pixels, classes = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(pixels / 16, classes, test_size=0.25, stratify=classes, random_state=0)


def accuracy(net: npr.Network) -> float:
    return (net(x_test).argmax(axis=1) == y_test).mean()


def train(net: npr.Network, pruning: npr.PruningSchedule | None = None) -> npr.History:
    return net.train(x, y, steps, learning_rate=3e-3, loss="softmax_cross_entropy", batch_size=32, pruning=pruning,
                     seed=0)


# Two networks with the same weights: one learns as it is ...
dense = npr.Network.dense([64, 128, 64, 10], activation="relu", seed=0)
pruned = dense.copy()
train(dense)

# ... the other loses nine connections of ten meanwhile: 10% of the steps dense, then every 1% a pruning that also
# moves a fifth of what goes to random free places, and the last quarter of the steps to mend.
schedule = npr.PruningSchedule(0.9, start=steps // 10, end=steps * 3 // 4, frequency=steps // 100, ramp="cubic",
                               regrow_fraction=0.2)
history = train(pruned, schedule)

print(f"dense:  {len(dense.connections):6,} connections, accuracy {accuracy(dense):.1%}")
print(f"pruned: {len(pruned.connections):6,} connections, accuracy {accuracy(pruned):.1%}")

# What grew at random had to prove itself: connections that no layered network has, such as those that skip a layer.
layer = {node.id: 0 if node.kind == "input" else 3 if node.kind == "output" else 1 + (node.id >= 74 + 128)
         for node in pruned.nodes}
skips = sum(layer[c.target] - layer[c.source] != 1 for c in pruned.connections)
print(f"{skips:,} of them skip a layer or stay inside one")

# Hidden nodes that lost all they fed, or all that fed them, can go; what the network says stays the same.
print(f"trimming removes {pruned.trim()} hidden nodes, accuracy {accuracy(pruned):.1%}")

plot.training(history).figure.savefig("digits-training.png")
plot.input_use(pruned, shape=(8, 8)).figure.savefig("digits-pixels.png")
pruned.save("digits.npz")
print("wrote digits.npz, digits-training.png and digits-pixels.png")
