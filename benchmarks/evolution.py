"""Evolution: reproduction, evaluation of whole populations, tasks solved over seeds, and how large it may be."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

import neuroprune as npr
from benchmarks import breeding, peers
from benchmarks.report import Row, faster, missing, named, within
from benchmarks.timing import Contestant, Timing, summary, take_turns
from benchmarks.wiring import same
from neuroprune.evolution.genomes import Genomes

ROOT = Path(__file__).parents[1]
EVALUATION, SMALL_EVALUATION = 150.0, 40.0  # times as fast as neat-python
XOR_NEAT, XOR_MULTINEAT, CARTPOLE = 10.0, 4.0, 5.0
CAP = 300  # generations
SEEDS, CARTPOLE_SEEDS, EPISODES = 100, 5, 5
MANY, GENERATION_LIMIT, MEMORY_LIMIT = 100_000, 0.5, 2**30


def rows(quick: bool) -> Iterator[Row]:
    """Reproduction, evaluation, XOR and CartPole over seeds, then large populations in processes of their own."""
    yield from breeding.rows(quick)
    yield from _evaluation(quick)
    yield from _xor(1 if quick else SEEDS)
    yield _cartpole(1 if quick else CARTPOLE_SEEDS)
    yield _many(1_000 if quick else MANY)
    yield _large(*(20, 50, 200) if quick else (1_000, 1_000, 10_000))


def _evaluation(quick: bool) -> Iterator[Row]:
    count, steps = (10, 20) if quick else (150, 1_000)
    inputs, hidden, outputs, connections = breeding.MIDDLE
    net = npr.Network.random(inputs, outputs, hidden, connections, seed=1)
    networks = [net.copy() for _ in range(count)]
    rng = np.random.default_rng(1)
    for one in networks:
        one.connections.weight[:] = rng.standard_normal(connections)
    x = rng.standard_normal((steps, inputs))
    y = np.zeros((steps, outputs))
    problem = npr.Dataset(x, y)
    yield _evaluated(f"{count} genomes of 50 nodes, 200 connections over {steps:,} rows", networks, problem.evaluate, x,
                     lambda answers: -np.mean(np.square(answers), axis=(1, 2)), EVALUATION, quick, not quick)
    networks = list(breeding.xor_lineage(30 if quick else 150).ask())
    yield _evaluated(f"{len(networks)} XOR genomes over 4 rows", networks, npr.XOR().evaluate,
                     np.array([x for x, _ in peers.XOR_ROWS]), lambda answers: 4.0 - np.sum(
                         np.square(answers[:, :, 0] - [y for _, y in peers.XOR_ROWS]), axis=1),
                     SMALL_EVALUATION, quick, False)


def _evaluated(what: str, networks: list[npr.Network], evaluate: Callable, x: np.ndarray, fitness: Callable,
               times: float, quick: bool, slow: bool) -> Row:
    work = f"{what}, built and evaluated, one core"
    if find_spec("neat") is None:
        return missing(work, "neat-python")
    genomes, theirs = Genomes.pack(networks), peers.neat_genomes(networks)
    graph = networks[0].graph
    config = peers.neat_config(num_inputs=graph.n_inputs, num_outputs=graph.n_outputs)
    same(evaluate(genomes)[:5], fitness(np.array(peers.built_and_run(theirs[:5], config, x.tolist()))))
    with breeding.one_core():
        ours, taken = take_turns(partial(evaluate, genomes), Contestant(
            partial(peers.built_and_run, theirs, config, x.tolist()), turns=1 if slow else None), quick=quick)
    return Row(work, ours, named("neat-python"), taken, faster(times),
               "one turn of the peer, which takes seconds" if slow else "")


def _xor(seeds: int) -> Iterator[Row]:
    """All contestants solve a seed before any comes to the next."""
    work = f"XOR to fitness > 3.9, seeds 0 to {seeds - 1}, one core"
    contestants: dict[str, Callable[[int], int | None]] = {"ours": _our_xor}
    if find_spec("neat") is not None:
        contestants[named("neat-python")] = lambda seed: peers.neat_run(seed, peers.neat_xor, CAP)
    if find_spec("multineat") is not None:
        contestants[named("multineat")] = lambda seed: peers.multineat_xor(seed, CAP)
    runs = _seeded(contestants, seeds)
    times = {name: summary([taken for taken, _ in found]) for name, found in runs.items()}
    for peer, target, missed in (("neat-python", XOR_NEAT, "neat"), ("multineat", XOR_MULTINEAT, "multineat")):
        if find_spec(missed) is None:
            yield missing(work, peer)
            continue
        name = named(peer)
        yield Row(work, times["ours"], name, times[name], faster(target),
                  f"ours {_solved(runs['ours'])}; the peer {_solved(runs[name])}; seconds of a run, at most {CAP} "
                  "generations")


def _our_xor(seed: int) -> int | None:
    population = npr.Population(2, 1, seed=seed)
    population.evolve(npr.XOR(), CAP)
    return population.generation if population.best_fitness > 3.9 else None


def _cartpole(seeds: int) -> Row:
    work = f"CartPole-v1 to mean 500 over {EPISODES} episodes, seeds 0 to {seeds - 1}, one core"
    if find_spec("neat") is None or find_spec("gymnasium") is None:
        return missing(work, "neat-python, gymnasium")
    problem = npr.Gym("CartPole-v1", episodes=EPISODES)

    def ours(seed: int) -> int | None:
        population = npr.Population(problem.n_inputs, problem.n_outputs, seed=seed)
        population.evolve(problem, CAP, target=500.0)
        return population.generation if population.best_fitness >= 500.0 else None

    game = peers.cartpole(EPISODES)
    name = named("neat-python")
    runs = _seeded({"ours": ours, name: lambda seed: peers.neat_run(
        seed, game.evaluate, CAP, num_inputs=4, num_outputs=2, fitness_threshold=500.0)}, seeds)
    game.close()
    mine, theirs = (summary([taken for taken, _ in found]) for found in runs.values())
    return Row(work, mine, name, theirs, faster(CARTPOLE),
               f"ours {_solved(runs['ours'])}; the peer {_solved(runs[name])}")


def _seeded(contestants: dict[str, Callable], seeds: int) -> dict[str, list[tuple[float, int | None]]]:
    """Seconds and result of each seed, after a run that compiles."""
    runs: dict[str, list] = {name: [] for name in contestants}
    with breeding.one_core():
        contestants["ours"](seeds)
        for seed in range(seeds):
            for name, run in contestants.items():
                start = perf_counter()
                result = run(seed)
                runs[name].append((perf_counter() - start, result))
    return runs


def _solved(runs: list[tuple[float, int | None]]) -> str:
    """How many were solved, and in how many generations."""
    generations = [result for _, result in runs if result is not None]
    middle = f", median {median(generations):g} generations" if generations else ""
    return f"{len(generations)} of {len(runs)} solved{middle}"


def _many(size: int) -> Row:
    taken, peak = _in_a_process("many", size)
    return Row(f"a generation of {size:,} XOR-size genomes: evaluate, speciate, reproduce, mutate, all cores", taken,
               target=within(GENERATION_LIMIT),
               note=f"{taken.turns} generations; the process held at most {peak / 2**20:.0f} MiB, allowed are "
                    f"{MEMORY_LIMIT / 2**20:.0f}: {'yes' if peak <= MEMORY_LIMIT else 'NO'}")


def _large(size: int, nodes: int, connections: int) -> Row:
    taken, peak = _in_a_process("large", size, nodes, connections)
    return Row(f"a generation of {size:,} genomes of {nodes:,} nodes, {connections:,} connections: evaluate on 10 "
               "rows, speciate, reproduce, mutate, all cores", taken,
               note=f"{taken.turns} generations; the process held at most {peak / 2**20:.0f} MiB")


def _in_a_process(*arguments: object) -> tuple[Timing, int]:
    """Generations in a fresh process, for its peak memory: their times, and bytes."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.evolution", *map(str, arguments)], cwd=ROOT,
                          env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"the process of a large population must succeed to be timed, got: {last}")
    *times, peak = map(float, done.stdout.split())
    return summary(times), int(peak)


def _generations(kind: str, size: int, nodes: int = 0, connections: int = 0) -> None:
    """Print the seconds of five generations, and the most bytes that this process held."""
    if kind == "many":
        problem, population = npr.XOR(), npr.Population(2, 1, size, seed=1)
    else:
        inputs, outputs = 20, 10
        net = npr.Network.random(inputs, outputs, nodes - inputs - outputs, connections, seed=1)
        problem = npr.Dataset(np.random.default_rng(1).standard_normal((10, inputs)), np.zeros((10, outputs)))
        population = npr.Population.from_network(net, size, seed=1)
    for generation in range(8):
        start = perf_counter()
        population.tell(problem.evaluate(population.ask(), population.seed, generation, 0))
        if generation > 2:  # the first ones compile, and find the threshold of species
            print(perf_counter() - start)
    print(_peak())


def _peak() -> int:
    """Most bytes that this process held; 0 where the system does not tell. Its parent's would count in getrusage."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    _generations(sys.argv[1], *map(int, sys.argv[2:]))
