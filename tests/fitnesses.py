"""Fitness functions and problems that the tests of evaluation send to workers, and what they must come to.

They are at the top of a module that loads nothing heavy, so that a worker can import them.
"""

import functools
import os
import signal
import time
from pathlib import Path

import numpy as np

from neuroprune import Network, rng
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.learning import Baldwinian, Lamarckian

X = np.random.default_rng(5).uniform(-1, 1, (4, 2))


@functools.cache
def assorted(recurrent):
    """Packed networks to take some of."""
    return population(200, recurrent)


def population(count=23, recurrent=False, seed=0):
    """Packed networks of different sizes, some with hardly any connection."""
    random = np.random.default_rng(seed)
    sizes = [(int(random.integers(0, 6)), int(random.integers(0, 4))) for _ in range(count)]
    return Genomes.pack([Network.random(2, 1, hidden, edges if hidden else min(edges, 2), recurrent, seed=seed + i)
                         for i, (hidden, edges) in enumerate(sizes)])  # fmt: skip


def behaviour(net):
    """A fitness that depends on weights, stream and size, and that leaves nothing of its network as it was."""
    fitness = net(X).sum() + net.rng.random() + len(net.connections)
    net.parameters = net.parameters + 1
    net.keep(np.zeros(len(net.connections), bool))
    return fitness


def by_hand(genomes, seed, generation):
    """What `behaviour` must come to: one network after the other, nothing packed."""
    values = []
    for i, net in enumerate(genomes):
        net = net.copy()
        net.rng = rng.stream(seed, generation, i)
        values.append(net(X).sum() + net.rng.random() + len(net.connections))
    return np.array(values)


class Learner:
    """A problem that changes the weights of what it is given; `inherits` says whether they stay so."""

    n_inputs, n_outputs, recurrent = 2, 1, False

    def __init__(self, inherits, ballast=0, whole=False):
        self.learning = (Lamarckian if inherits else Baldwinian)(1)
        self.ballast = np.zeros(ballast)
        self.whole = whole
        self.pause = 0.0

    def evaluate(self, genomes, seed, generation, first):
        fitness = np.empty(len(genomes))
        for i, net in enumerate(genomes):
            time.sleep(self.pause)
            stream = rng.stream(seed, generation, first + i)
            net.parameters = net.parameters + stream.random()
            fitness[i] = net(X).sum() + self.ballast.sum()
        return fitness

    def by_hand(self, genomes, seed, generation):
        """(fitness, parameters of each network afterwards)."""
        nets = [net.copy() for net in genomes]
        for i, net in enumerate(nets):
            net.parameters = net.parameters + rng.stream(seed, generation, i).random()
        return np.array([net(X).sum() for net in nets]), [net.parameters for net in nets]


class Size:
    """A problem that tells sizes and positions."""

    def evaluate(self, genomes, seed, generation, first):
        return genomes.n_connections * 1000 + first + np.arange(len(genomes))


class Bad:
    """A problem that returns or raises what it was made with."""

    def __init__(self, result=None, error=None):
        self.result, self.error = result, error

    def evaluate(self, genomes, seed, generation, first):
        if self.error is not None:
            raise self.error
        return self.result


def index_of(net):
    """Of `numbered` networks, the index."""
    return round(float(net.nodes.bias[-1]))


def numbered(count):
    """Networks that bear their index as the bias of the output."""
    nets = [Network.dense([2, 1], seed=0) for _ in range(count)]
    for i, net in enumerate(nets):
        net.nodes.bias[-1] = i
    return Genomes.pack(nets)


class UnsendableError(Exception):
    """An error that neither `pickle` takes nor, if it did, could be made again."""

    def __init__(self, one, two):
        super().__init__("it is of no use")
        self.call = lambda: (one, two)


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no words")


def fails_late(net):
    """Fails for networks 7 and 11 and all behind; 11 is the first to fail in time."""
    index = index_of(net)
    if index >= 11:
        raise ValueError("too many\nof them")
    if index == 7:
        time.sleep(0.1)
        raise ValueError("seven is not\nfor us")
    return index


def fails_unsendably(net):
    if index_of(net) == 3:
        raise UnsendableError(1, 2)
    return 0.0


def fails_unprintably(net):
    raise UnprintableError


def leaves(net):
    if index_of(net) == 2:
        raise SystemExit(3)
    return 0.0


def kills(net):
    """Ends the process, whichever it is, at network 5."""
    if index_of(net) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


class KillsOnce:
    """`behaviour`, but the first time that the network of this index comes, its process ends."""

    def __init__(self, folder, index):
        self.mark, self.index, self.calls = Path(folder) / "killed", index, 0

    def __call__(self, net):
        self.calls += 1
        if self.calls > self.index % 3 and not self.mark.exists():
            self.mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return behaviour(net)


class Meeting:
    """Where a network was evaluated: the number of the process; waits until two of them are at work."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, net):
        (self.folder / str(os.getpid())).touch()
        end = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        return float(os.getpid())


def nothing(net):
    """What a function returns that forgot to."""


def sleeps(net):
    time.sleep(0.1)
    return 0.0


class NeedsFile:
    """A fitness that a file holds."""

    def __init__(self, path):
        self.path = path

    def __call__(self, net):
        return float(self.path.read_text())
