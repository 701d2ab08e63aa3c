"""An epoch of truly sparse training with SET's evolution step, against SET on scipy and dense training, on one core.

1,200 rows of the digits in mini-batches of 32 through three hidden layers of 1,000 nodes, with the links that SET
draws: epsilon (inputs + outputs) times at random places of each layer, where several draws may meet. That is 3.9% of
the weights between hidden layers.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from importlib.util import find_spec

import numpy as np

import neuroprune as npr
from benchmarks.perceptrons import DenseNumpy, DenseTorch, SparseScipy
from benchmarks.report import Row, faster, missing, named
from benchmarks.timing import Contestant, take_turns
from benchmarks.wiring import same
from neuroprune.network import optimizers

SIZES, QUICK_SIZES = (64, 1000, 1000, 1000, 10), (64, 60, 60, 60, 10)
EPSILON = 20
ROWS, BATCH = 1200, 32
STEPS = -(-ROWS // BATCH)
RATE, MOMENTUM = 0.02, 0.9
EPOCHS = 15  # of what the notes say of accuracy
TARGET = 3.0


def rows(quick: bool) -> Iterator[Row]:
    """Every turn is a first epoch from the same weights and in the same order of rows; making copies is not timed."""
    sizes = QUICK_SIZES if quick else SIZES
    for package, words in (("sklearn", "scikit-learn (digits)"), ("scipy", "scipy")):
        if find_spec(package) is None:
            yield missing(f"epoch of sparse {'-'.join(map(str, sizes))}", words)
            return
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x / 16.0
    net = network(sizes, seed=0)
    dense = npr.Network.dense(sizes, activation="relu", seed=0)
    work = f"epoch of sparse {'-'.join(map(str, sizes))}, {len(net.connections):,} links, one core"
    fixed, evolving = _Ours(net, None), _Ours(net, npr.Rewire.set(every=STEPS))
    steepest = _Ours(net, npr.Rewire.rigl(every=STEPS))
    scipy = _Peer(SparseScipy(net.to_dense(), RATE, MOMENTUM))
    evolved = _Peer(SparseScipy(net.to_dense(), RATE, MOMENTUM), evolve=True)
    numpy = _Peer(DenseNumpy(dense.to_dense(), RATE, MOMENTUM, np.float32))
    entered = [fixed, evolving, steepest, scipy, evolved, numpy]
    if find_spec("torch") is not None:
        entered.append(_Peer(DenseTorch(dense.to_dense(), RATE, MOMENTUM)))
    with ExitStack() as stack:
        _one_core(stack)
        _check(net, dense, x[:ROWS], y[:ROWS], torch=len(entered) > 6)
        timings = take_turns(*(Contestant(one.epochs, one.setup(x[:ROWS], y[:ROWS])) for one in entered), quick=quick)
        shares = [] if quick else [_accuracy(one, x, y) for one in (evolving, evolved, numpy, steepest)]
    note = f"held-out accuracy after {EPOCHS} epochs: ours {{}}, SET {{}}, dense {{}}".format(*shares) if shares else ""
    rigl_note = f"held-out accuracy after {EPOCHS} epochs: {shares[3]}" if shares else ""
    on_scipy, on_numpy = f"SET, {named('scipy')}, float64", f"dense, {named('numpy')}, float32"
    yield Row(f"{work}, wiring fixed", timings[0], on_scipy, timings[3])
    yield Row(f"{work}, and its evolution step", timings[1], on_scipy, timings[4], faster(TARGET), note)
    yield Row(f"{work}, and its evolution step", timings[1], on_numpy, timings[5], faster(TARGET))
    if len(entered) > 6:
        on_torch = f"dense, {named('torch')}, float32"
        yield Row(f"{work}, and its evolution step", timings[1], on_torch, timings[6], faster(TARGET))
    else:
        yield missing(f"{work}, and its evolution step", "torch", "torch")
    yield Row(f"{work}, and an update of RigL", timings[2], on_numpy, timings[5], note=rigl_note)


def network(sizes: tuple[int, ...], seed: int) -> npr.Network:
    """The sparse network, with the weights of each node drawn for the connections that it has."""
    net = npr.Network.dense(sizes, activation="relu", seed=seed)
    rng = np.random.default_rng(seed)
    masks = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        mask = np.zeros(inputs * outputs, bool)
        mask[rng.integers(mask.size, size=EPSILON * (inputs + outputs))] = True
        masks.append(mask)
    before = np.diff(net.graph.incoming)
    net.keep(np.concatenate(masks))
    target = net.graph.target
    net.connections.weight *= np.sqrt(before[target] / np.diff(net.graph.incoming)[target])
    return net


class _Ours:
    """A network of ours, rewired between its layers at the end of each epoch."""

    def __init__(self, net: npr.Network, rewire: npr.Rewire | None) -> None:
        self.net, self.rewire = net, rewire

    def setup(self, x: np.ndarray, y: np.ndarray) -> Callable[[], tuple]:
        """What makes the arguments of a turn."""
        return lambda: (self.net.copy(), x, y, 1)

    def epochs(self, net: npr.Network, x: np.ndarray, y: np.ndarray, number: int) -> npr.Network:
        """Train a copy."""
        rewiring = {} if self.rewire is None else {"rewire": self.rewire, "candidates": "layers"}
        net.train(x, y, number * STEPS, learning_rate=RATE, optimizer=optimizers.sgd(MOMENTUM),
                  loss="softmax_cross_entropy", batch_size=BATCH, seed=0, **rewiring)
        return net


class _Peer:
    """A perceptron of another kind, and whether it evolves at the end of each epoch."""

    def __init__(self, net: DenseNumpy | DenseTorch | SparseScipy, evolve: bool = False) -> None:
        self.net, self.evolve = net, evolve

    def setup(self, x: np.ndarray, y: np.ndarray) -> Callable[[], tuple]:
        """What makes the arguments of a turn."""
        return lambda: (deepcopy(self.net), x, y, 1)

    def epochs(self, net: DenseNumpy | DenseTorch | SparseScipy, x: np.ndarray, y: np.ndarray,
               number: int) -> DenseNumpy | DenseTorch | SparseScipy:
        """Train a copy."""
        rng = np.random.default_rng(0)
        for _ in range(number):
            net.epoch(x, y, rng.permutation(len(x)), BATCH)
            if self.evolve:
                net.evolve(rng)
        return net


def _check(net: npr.Network, dense: npr.Network, x: np.ndarray, y: np.ndarray, torch: bool) -> None:
    """Three steps from the same weights end in the same outputs, sparse and dense."""
    some = slice(0, 3 * BATCH)
    order = np.random.default_rng(0).permutation(3 * BATCH)
    peers = [(net, SparseScipy(net.to_dense(), RATE, MOMENTUM), 1e-9),
             (dense, DenseNumpy(dense.to_dense(), RATE, MOMENTUM, np.float32), 1e-3)]
    if torch:
        peers.append((dense, DenseTorch(dense.to_dense(), RATE, MOMENTUM), 1e-3))
    for own, peer, tolerance in peers:
        own = own.copy()
        own.train(x[some], y[some], 3, learning_rate=RATE, optimizer=optimizers.sgd(MOMENTUM),
                  loss="softmax_cross_entropy", batch_size=BATCH, seed=0)
        peer.epoch(x[some], y[some], order, BATCH)
        same(own(x), peer(x), tolerance)


def _accuracy(one: _Ours | _Peer, x: np.ndarray, y: np.ndarray) -> str:
    """What a copy that was trained for some epochs gets right of the rows that it has not seen."""
    copy, *rest = one.setup(x[:ROWS], y[:ROWS])()
    trained = one.epochs(copy, *rest[:-1], EPOCHS)
    return f"{np.mean(trained(x[ROWS:]).argmax(1) == y[ROWS:]):.1%}"


def _one_core(stack: ExitStack) -> None:
    """Hold the pools of threads behind numpy and torch to one."""
    from threadpoolctl import threadpool_limits  # scikit-learn needs it, so it is there

    stack.enter_context(threadpool_limits(1))
    if find_spec("torch") is not None:
        import torch

        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
