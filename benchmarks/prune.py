"""Pruning nine tenths of a network and growing a tenth back, against np.partition of the same column."""

from collections.abc import Iterator
from functools import partial

import numpy as np

import neuroprune as npr
from benchmarks.report import Row, at_most, named
from benchmarks.timing import Contestant, take_turns

SPARSITY = 0.9
PRUNE_TARGET = 3.5
REGROW_TARGET = 10.0
NODES = {100_000: 1_000, 1_000_000: 2_500, 10_000_000: 7_500}


def rows(quick: bool) -> Iterator[Row]:
    """Each call gets a fresh copy, which shares the graph; making it is not timed."""
    for connections in [100_000] if quick else [1_000_000, 10_000_000]:
        net = npr.Network.random(100, 10, NODES[connections] - 110, connections, seed=4)
        _ = net.rng  # made on first use, and not part of what is compared
        magnitude = np.abs(net.connections.weight)
        rank = round(SPARSITY * connections) - 1
        grown = connections // 10
        _check(net, magnitude, rank)
        prune, regrow, partition = take_turns(
            Contestant(_prune, lambda net=net: (net.copy(),)),
            Contestant(partial(_regrow, count=grown), lambda net=net: (_pruned(net),)),
            Contestant(partial(np.partition, magnitude, rank), tuple), quick=quick)
        peer = f"{named('numpy')}, np.partition of |w|"
        yield Row(f"prune_to_sparsity({SPARSITY}), {connections:,} connections", prune, peer, partition,
                  at_most(PRUNE_TARGET))
        yield Row(f"regrow {grown:,} after it, {connections:,} connections", regrow, peer, partition,
                  at_most(REGROW_TARGET))


def _prune(net: npr.Network) -> npr.PruneResult:
    return net.prune_to_sparsity(SPARSITY)


def _regrow(net: npr.Network, count: int) -> int:
    return net.regrow(count)


def _pruned(net: npr.Network) -> npr.Network:
    copy = net.copy()
    copy.prune_to_sparsity(SPARSITY)
    _ = copy.rng
    return copy


def _check(net: npr.Network, magnitude: np.ndarray, rank: int) -> None:
    """What stays is exactly what np.partition puts above the rank."""
    kept = np.sort(np.abs(_pruned(net).connections.weight))
    if not np.array_equal(kept, np.sort(np.partition(magnitude, rank)[rank + 1:])):
        raise RuntimeError("pruning must keep the largest weights before it is timed, got others")
