"""256 rows through a large network, against scipy's CSR product with the same weights."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import neuroprune as npr
from benchmarks.report import Row, faster, named
from benchmarks.timing import take_turns
from benchmarks.wiring import same

ROWS = 256
TARGET = 3.0


def rows(quick: bool) -> Iterator[Row]:
    """The peer multiplies once, without activations; we compute every node in order."""
    from scipy.sparse import csr_array

    nodes, connections = (1_000, 10_000) if quick else (10_000, 100_000)
    inputs, outputs = nodes // 100, 10
    rng = np.random.default_rng(3)
    x = rng.standard_normal((ROWS, inputs))
    operand = rng.standard_normal((nodes, ROWS))
    for activation in ("identity", "tanh"):
        net = npr.Network.random(inputs, outputs, nodes - inputs - outputs, connections, seed=3,
                                 activation=activation)
        graph = net.graph
        matrix = csr_array((net.connections.weight.copy(), graph.source, graph.incoming), shape=(nodes, nodes))
        same(net(x)[:3], [net(row) for row in x[:3]])
        ours, single, theirs = take_turns(partial(net, x), partial(_on_one_core, net, x),
                                          partial(matrix.__matmul__, operand), quick=quick)
        work = f"{ROWS} rows, {nodes:,} nodes, {connections:,} connections, {activation}"
        peer = f"{named('scipy')}, CSR product"
        yield Row(f"{work}, one core", single, peer, theirs, faster(TARGET))
        yield Row(f"{work}, all cores", ours, peer, theirs, faster(TARGET))


def _on_one_core(work: Callable[[Any], Any], argument: Any) -> Any:
    """Call with the process held to one core, where the system can do that; the cost is some microseconds."""
    if not hasattr(os, "sched_setaffinity"):
        return work(argument)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return work(argument)
    finally:
        os.sched_setaffinity(0, cores)
