"""One row through a network, against neat-python's FeedForwardNetwork.activate."""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np

from benchmarks.report import Row, faster, missing, named
from benchmarks.timing import take_turns
from benchmarks.wiring import SIZES, neat_network, network, same
from benchmarks.wiring import named as size

TARGETS = {30: 4.0, 1_000: 20.0, 10_000: 35.0}


def rows(quick: bool) -> Iterator[Row]:
    """A row of the table for each size and activation. Both get a list of floats."""
    for connections in [30] if quick else SIZES:
        for activation in ("relu", "tanh"):
            work = f"one row, {size(connections)}, {activation}"
            if find_spec("neat") is None:
                yield missing(work, "neat-python")
                continue
            net = network(connections, activation)
            peer = neat_network(net)
            x = np.random.default_rng(1).standard_normal(net.graph.n_inputs).tolist()
            same(net(x), peer.activate(x))
            ours, theirs = take_turns(partial(net, x), partial(peer.activate, x), quick=quick)
            yield Row(work, ours, named("neat-python"), theirs, faster(TARGETS[connections]))
