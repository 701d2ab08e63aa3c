"""From a genome to something that runs, and copying a genome, against neat-python."""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np

import neuroprune as npr
from benchmarks.report import Row, faster, missing, named, within
from benchmarks.timing import Contestant, take_turns
from benchmarks.wiring import SIZES, neat_genome, network, same
from benchmarks.wiring import named as size

TARGET = 500.0  # asked for at 1,000 connections
COPY_LIMIT = 14e-6


def rows(quick: bool) -> Iterator[Row]:
    """Building from numpy columns and from a list of tuples, for each size; then copies."""
    for connections in [30] if quick else SIZES:
        yield from _build(connections, quick)
    yield _copy(30 if quick else 1_000, quick)


def _build(connections: int, quick: bool) -> Iterator[Row]:
    work = f"build, {size(connections)}"
    if find_spec("neat") is None:
        yield missing(work, "neat-python")
        return
    from neat.nn import FeedForwardNetwork

    net = network(connections, "relu")
    graph = net.graph
    shuffled = np.random.default_rng(2).permutation(connections)
    columns = tuple(column[shuffled] for column in (net.connections.source, net.connections.target,
                                                    net.connections.weight))
    tuples = list(zip(*(column.tolist() for column in columns), strict=True))
    biases = dict(zip(net.nodes.id[graph.n_inputs:].tolist(), net.nodes.bias[graph.n_inputs:].tolist(), strict=True))
    make = partial(npr.Network.from_connections, graph.n_inputs, graph.n_outputs, activation="relu")
    genome, config = neat_genome(net)
    slow = connections > 1_000
    create = Contestant(partial(FeedForwardNetwork.create, genome, config), turns=1 if slow else None)
    x = np.linspace(-1.0, 1.0, graph.n_inputs)
    if not slow:
        same(make(tuples, bias=biases)(x), create.work().activate(x.tolist()))
    same(make(columns, bias=biases)(x), net(x))
    from_columns, from_tuples, theirs = take_turns(partial(make, columns), partial(make, tuples), create, quick=quick)
    note = "one turn of the peer, which takes seconds" if slow else ""
    target = faster(TARGET) if connections == 1_000 else None
    yield Row(f"{work}, from columns", from_columns, named("neat-python"), theirs, target, note)
    yield Row(f"{work}, from a list of tuples", from_tuples, named("neat-python"), theirs, None, note)


def _copy(connections: int, quick: bool) -> Row:
    work = f"copy, {size(connections)}"
    net = network(connections, "relu")
    net.rng.random()  # a generator that is in use has a state to carry
    if not net.copy().equals(net):
        raise RuntimeError("a copy must equal its original before it is timed, got another network")
    if find_spec("neat") is None:
        return missing(work, "neat-python")
    genome, _ = neat_genome(net)

    def clone() -> tuple[dict, dict]:
        return ({key: gene.copy() for key, gene in genome.nodes.items()},
                {key: gene.copy() for key, gene in genome.connections.items()})

    ours, theirs = take_turns(net.copy, clone, quick=quick)
    return Row(work, ours, f"{named('neat-python')}, copy() of each gene", theirs, within(COPY_LIMIT))
