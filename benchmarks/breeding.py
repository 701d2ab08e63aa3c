"""Cloning, distance, crossover and whole steps of reproduction on packed genomes, against genomes of objects."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import neuroprune as npr
from benchmarks import peers
from benchmarks.report import Row, Target, faster, missing, named, within
from benchmarks.timing import Contestant, Timing, take_turns
from neuroprune import kernels
from neuroprune.evolution.genomes import Genomes

BATCH = 100  # genomes of 1,000 connections
LARGE = (10, 85, 5, 1_000)  # inputs, hidden nodes, outputs, connections
MIDDLE = (5, 42, 3, 200)
GENERATIONS = 20  # of random selection that make a lineage
CLONE_LIMIT, DISTANCE_LIMIT = 3e-6, 10e-6
CROSSOVER, REPRODUCTION, SMALL_REPRODUCTION = 200.0, 80.0, 50.0
BYTES_PER_CONNECTION, BYTES_PER_XOR_GENOME = 32, 10_000
# our rates of mutation, which the peer gets too
RATES = {"conn_add_prob": 0.1, "conn_delete_prob": 0.0, "node_add_prob": 0.03, "node_delete_prob": 0.0,
         "bias_mutate_rate": 0.8, "enabled_mutate_rate": 0.0, "activation_default": "tanh",
         "activation_options": "tanh"}


def rows(quick: bool) -> Iterator[Row]:
    """Single operations on genomes of one lineage, then steps from a generation with its fitness to the next."""
    yield from _operations(quick)
    sizes = [30] if quick else [150, 10_000]
    for size in sizes:
        yield _step("50 nodes, 200 connections", middle_lineage(size), REPRODUCTION, quick)
    yield _step("XOR size", xor_lineage(sizes[-1]), SMALL_REPRODUCTION, quick)
    yield from _memory(quick)


@contextmanager
def one_core() -> Iterator[None]:
    """Hold the process to one processor, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def drift(population: npr.Population, generations: int) -> npr.Population:
    """Let a population breed under random fitness."""
    rng = np.random.default_rng(population.seed)
    for _ in range(generations):
        population.ask()
        population.tell(rng.random(population.size))
    return population


def middle_lineage(size: int) -> npr.Population:
    """Descendants of one network of 50 nodes and 200 connections."""
    inputs, hidden, outputs, connections = MIDDLE
    net = npr.Network.random(inputs, outputs, hidden, connections, seed=1)
    return drift(npr.Population.from_network(net, size, seed=1), 3)


def xor_lineage(size: int) -> npr.Population:
    """Genomes as an evolution of XOR has them: three to six nodes."""
    return drift(npr.Population(2, 1, size, seed=1), GENERATIONS)


def share(timing: Timing, count: int) -> Timing:
    """What one of so many takes."""
    return replace(timing, median=timing.median / count, shortest=timing.shortest / count,
                   longest=timing.longest / count)


def _operations(quick: bool) -> Iterator[Row]:
    inputs, hidden, outputs, connections = MIDDLE if quick else LARGE
    count = 10 if quick else BATCH
    net = npr.Network.random(inputs, outputs, hidden, connections, seed=1)
    genomes = drift(npr.Population.from_network(net, count, seed=1), GENERATIONS).ask()
    networks = list(genomes)
    what = f"{hidden + outputs + inputs} nodes, {connections:,} connections, of a batch of {count}"
    index = np.arange(count)
    other = np.roll(index, 1)
    apart = np.empty(count)
    work = {
        "clone": partial(genomes.take, index),
        "distance": partial(kernels.genomes.distances, genomes.columns, index, genomes.columns, other, 1.0, 0.4, apart),
        "crossover": _crossing(genomes),
    }
    targets: dict[str, Target] = {"clone": within(CLONE_LIMIT), "distance": within(DISTANCE_LIMIT),
                                  "crossover": faster(CROSSOVER)}
    with one_core():
        for peer, theirs in (("neat-python", _neat_operations), ("multineat", _multineat_operations)):
            if find_spec("neat" if peer == "neat-python" else peer) is None:
                yield missing(f"{', '.join(work)}, {what}", peer)
                continue
            for name, operation in theirs(networks).items():
                ours, taken = take_turns(work[name], operation, quick=quick)
                target = targets[name] if peer == "neat-python" else None
                yield Row(f"{name}, {what}", share(ours, count), named(peer), taken, target)


def _crossing(genomes: Genomes) -> Any:
    """All children of pairs, without mutation, into room that is there."""
    count = len(genomes)
    room = np.array([genomes.n_nodes.max(), genomes.n_connections.max()])
    children = Genomes.room_for(genomes.n_inputs, genomes.n_outputs, genomes.recurrent, genomes.default_code,
                                np.full(count, room[0]), np.full(count, room[1]))
    return partial(kernels.breed.breed, genomes.columns, np.arange(count), np.array([0, count]),
                   np.arange(count, dtype=float), 1, 1.0, 0.0, np.zeros(count, np.int64), np.full(count, -1),
                   genomes.n_inputs, genomes.n_outputs, genomes.default_code, np.zeros((0, 5)), np.zeros(0, np.uint8),
                   1, 1, 0, count, room, children.columns, np.zeros((count, 0, 2), np.int64), np.zeros(count, np.int64))


def _neat_operations(networks: list[npr.Network]) -> dict[str, Any]:
    config = peers.neat_config(num_inputs=networks[0].graph.n_inputs, num_outputs=networks[0].graph.n_outputs)
    first, second = peers.neat_genomes(networks[:2])
    first.fitness, second.fitness = 2.0, 1.0
    return {"clone": partial(peers.neat_clone, first),
            "distance": partial(first.distance, second, config.genome_config),
            "crossover": partial(peers.neat_cross, first, second, config)}


def _multineat_operations(networks: list[npr.Network]) -> dict[str, Any]:
    import multineat

    parameters = peers.multineat_parameters()
    first, second = peers.multineat_genomes(networks[:2])
    draws = multineat.RNG()
    draws.Seed(1)
    return {"clone": partial(multineat.Genome, first),
            "distance": partial(first.CompatibilityDistance, second, parameters),
            "crossover": partial(first.Mate, second, False, False, draws, parameters)}


def _step(what: str, population: npr.Population, times: float, quick: bool) -> Row:
    size = population.size
    work = f"speciate, reproduce, mutate: {size:,} genomes of {what}, one core"
    if find_spec("neat") is None:
        return missing(work, "neat-python")
    genomes = population.ask()
    theirs = peers.NeatGenerations(list(genomes), **RATES)
    fitness = np.random.default_rng(2).random(size)
    heavy = size * int(genomes.n_connections.mean()) > 1_000_000
    with one_core():
        ours, taken = take_turns(
            Contestant(_generation, lambda: (copy.deepcopy(population), fitness)),
            Contestant(theirs, theirs.tell, turns=1 if heavy else None), quick=quick)
    note = (f"{share(ours, size).median * 1e6:.3g} us a child; {len(population.species)} species, the peer has "
            f"{len(theirs.species.species)}; ours keeps its history, too")
    if heavy:
        note += "; one turn of the peer, which takes long"
    return Row(work, ours, named("neat-python"), taken, faster(times), note)


def _generation(population: npr.Population, fitness: np.ndarray) -> None:
    population.tell(fitness)
    population.ask()


def _memory(quick: bool) -> Iterator[Row]:
    middle, small = middle_lineage(30 if quick else 150).ask(), xor_lineage(30 if quick else 150).ask()
    each = middle.nbytes / int(middle.n_connections.sum())
    yield Row("memory of a connection, 50 nodes and 200 connections", None, note=(
        f"{each:.1f} bytes with all that belongs to the genome, at most {BYTES_PER_CONNECTION}: "
        f"{'yes' if each <= BYTES_PER_CONNECTION else 'NO'}"))
    each = small.nbytes / len(small)
    yield Row("memory of an XOR genome", None, note=(
        f"{each:.0f} bytes, at most {BYTES_PER_XOR_GENOME:,}: {'yes' if each <= BYTES_PER_XOR_GENOME else 'NO'}"))
