"""One epoch on the handwritten digits, dense and at 90% sparsity, against PyTorch on one thread."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

import neuroprune as npr
from benchmarks.report import Row, faster, missing, named
from benchmarks.timing import take_turns

SIZES = [64, 128, 64, 10]
ROWS = 1437  # 80% of the digits
BATCH = 32
RATE = 1e-3
SPARSITY = 0.9
TARGET = 3.0  # ours pruned against ours dense


def rows(quick: bool) -> Iterator[Row]:
    """Adam, softmax cross-entropy, tanh; both shuffle and both start from the same weights."""
    size = "-".join(map(str, SIZES))
    dense_work, pruned_work = f"epoch of {size}, dense", f"epoch of {size}, {SPARSITY:.0%} pruned"
    if find_spec("sklearn") is None:
        yield missing(dense_work, "scikit-learn (digits)")
        return
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x, y = x[:ROWS] / 16.0, y[:ROWS]
    dense = npr.Network.dense(SIZES, seed=5)
    pruned = dense.copy()
    pruned.prune_to_sparsity(SPARSITY)
    ours = [_epoch(net.copy(), x, y) for net in (dense, pruned)]
    if find_spec("torch") is None:
        timings = take_turns(*ours, quick=quick)
        yield Row(pruned_work, timings[1], "ours, dense", timings[0], faster(TARGET))
        yield missing(dense_work, "torch", "torch")
        yield missing(pruned_work, "torch", "torch")
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        peers = [_torch_epoch(net, x, y, dtype) for net in (dense, pruned) for dtype in (torch.float32, torch.float64)]
        timings = take_turns(*ours, *peers, quick=quick)
    finally:
        torch.set_num_threads(threads)
    yield Row(pruned_work, timings[1], "ours, dense", timings[0], faster(TARGET))
    for work, own, peer in ((dense_work, timings[0], timings[2:4]), (pruned_work, timings[1], timings[4:6])):
        masked = ", masked" if work is pruned_work else ""
        for dtype, theirs in zip(("float32", "float64"), peer, strict=True):
            yield Row(work, own, f"{named('torch')}, {dtype}{masked}, 1 thread", theirs)


def _epoch(net: npr.Network, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    steps = -(-ROWS // BATCH)

    def epoch() -> Any:
        return net.train(x, y, steps, learning_rate=RATE, loss="softmax_cross_entropy", batch_size=BATCH, seed=6)

    return epoch


def _torch_epoch(net: npr.Network, x: np.ndarray, y: np.ndarray, dtype: Any) -> Callable[[], Any]:
    """The same net in PyTorch; where connections are gone, the weight is multiplied by a mask."""
    import torch
    from torch.nn import functional

    layers = [torch.nn.Linear(a, b, dtype=dtype) for a, b in zip(SIZES, SIZES[1:], strict=False)]
    starts = np.concatenate([[0], np.cumsum(SIZES)])
    masks = []
    for i, layer in enumerate(layers):
        weight = np.zeros((SIZES[i + 1], SIZES[i]))
        target, source = net.graph.target - starts[i + 1], net.graph.source - starts[i]
        here = (target >= 0) & (target < SIZES[i + 1])
        weight[target[here], source[here]] = net.connections.weight[here]
        layer.weight.data = torch.tensor(weight, dtype=dtype)
        layer.bias.data.zero_()
        masks.append(torch.tensor(weight != 0.0, dtype=dtype) if here.sum() < weight.size else None)
    inputs, classes = torch.tensor(x, dtype=dtype), torch.tensor(y)
    optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=RATE)

    def forward(rows: Any) -> Any:
        values = rows
        for i, (layer, mask) in enumerate(zip(layers, masks, strict=True)):
            weight = layer.weight if mask is None else layer.weight * mask
            values = functional.linear(values, weight, layer.bias)
            values = torch.tanh(values) if i < len(layers) - 1 else values
        return values

    own = net(x[:5])
    with torch.no_grad():
        apart = np.abs(forward(inputs[:5]).numpy() - own).max()
    if not apart < (1e-9 if dtype is torch.float64 else 1e-4):
        raise RuntimeError(f"both must compute the same before they are timed, got outputs {apart} apart")

    def epoch() -> None:
        shuffled = torch.randperm(ROWS)
        for start in range(0, ROWS, BATCH):
            rows = shuffled[start:start + BATCH]
            optimizer.zero_grad()
            functional.cross_entropy(forward(inputs[rows]), classes[rows]).backward()
            optimizer.step()

    return epoch
