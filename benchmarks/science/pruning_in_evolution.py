"""`python -m benchmarks.science.pruning_in_evolution STUDY`: does pruning help evolution? Over seeds.

Studies are "digits", "digits-lamarckian", "double-pole" and "double-pole-hidden". In each, populations evolve without
pruning, with half of all that a lineage grows pruned (at once, and along a ramp), and toward few connections as a
second objective; of a Pareto front the fittest network counts. Poles have the settings that ship, and a run ends when
they are balanced, under pruning not before half is pruned. Digits have 64 inputs and so smaller weights and steps. No
mutation removes connections in any of them, so that the Pareto objective can only restrain growth.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import neuroprune as npr
from benchmarks.science import distribution
from neuroprune import digits

SPARSITY = 0.5
CALM = npr.Settings(output_activation="identity", weight_power=0.3, weight_step=0.1, weight_rate=0.1, replace_rate=0.0)
PARETO = ("fitness", "connections")
LABELS = {"accuracy": ("test accuracy, %", 1), "evaluations": ("evaluations", 0), "connections": ("connections", 0),
          "mean_connections": ("connections, population", 0), "generalization": ("starts of 625", 0),
          "seconds": ("seconds", 2)}


@dataclass(frozen=True)
class Study:
    """How large, how long and for how many seeds; `steps` of gradient descent per lifetime, None for poles."""

    size: int
    generations: int
    seeds: int
    steps: int | None = None
    ramp: int = 10


STUDIES = {"digits": Study(100, 60, 10, 0, ramp=30), "digits-lamarckian": Study(50, 50, 10, 5, ramp=25),
           "double-pole": Study(150, 300, 20), "double-pole-hidden": Study(150, 300, 20)}


def ways(study: Study) -> dict[str, dict[str, Any]]:
    """What is compared, as arguments of a Population."""
    return {"no pruning": {}, "pruned at once": {"pruning": npr.GenerationPruning(SPARSITY)},
            f"pruned over {study.ramp} generations": {
                "pruning": npr.GenerationPruning(SPARSITY, ramp_generations=study.ramp)},
            "Pareto objective": {"objectives": PARETO}}


def classify(study: Study, seed: int, arguments: dict[str, Any]) -> dict[str, float]:
    """Evolve on three quarters of the digits, judge by the rest."""
    data = digits.load(seed)
    learning = npr.Lamarckian(study.steps, 0.01, batch_size=64) if study.steps else None
    problem = npr.Dataset(data.x, data.y, loss="softmax_cross_entropy", learning=learning)
    population, net, seconds = _evolve(study, seed, problem, CALM, arguments)
    right = np.mean(net(data.x_test).argmax(axis=1) == data.y_test)
    return {"seed": seed, "accuracy": 100.0 * float(right), "connections": len(net.connections),
            "mean_connections": float(population.history.connections[-1]), "seconds": seconds}


def balance(study: Study, seed: int, arguments: dict[str, Any], hidden: bool) -> dict[str, float]:
    """Evolve until two poles are balanced, or for all generations."""
    problem = npr.DoublePole(velocities=not hidden)
    settings = npr.Settings(recurrent=hidden)
    population, net, seconds = _evolve(study, seed, problem, settings, arguments)
    found = {"seed": seed, "solved": bool(problem.solved(net, population.best_fitness)),
             "evaluations": population.evaluations, "connections": len(net.connections),
             "mean_connections": float(population.history.connections[-1]), "seconds": seconds}
    if hidden:
        found["generalization"] = problem.generalization(net)
    return found


def _evolve(study: Study, seed: int, problem: Any, settings: npr.Settings,
            arguments: dict[str, Any]) -> tuple[npr.Population, npr.Network, float]:
    population = npr.Population(problem.n_inputs, problem.n_outputs, size=study.size, seed=seed, settings=settings,
                                **arguments)
    start = perf_counter()
    population.evolve(problem, study.generations)
    return population, population.best, perf_counter() - start


def run(name: str, study: Study, seed: int, arguments: dict[str, Any]) -> dict[str, float]:
    """One evolution of a study."""
    if study.steps is not None:
        return classify(study, seed, arguments)
    return balance(study, seed, arguments, hidden=name == "double-pole-hidden")


def table(runs: dict[str, list[dict[str, float]]]) -> str:
    """Median [quartiles] of everything, a line for each way."""
    first = next(iter(runs.values()))[0]
    shown = [name for name in LABELS if name in first]
    header = ["", *(["solved"] if "solved" in first else []), *(LABELS[name][0] for name in shown)]
    rows = []
    for way, found in runs.items():
        solved = [f"{sum(one['solved'] for one in found)} of {len(found)}"] if "solved" in first else []
        rows.append([way, *solved, *(distribution.median_cell([one[name] for one in found], LABELS[name][1])
                                     for name in shown)])
    return distribution.markdown(header, rows)


def differences(runs: dict[str, list[dict[str, float]]], measure: str) -> dict[str, dict[str, float]]:
    """Of each way the mean difference from no pruning, seed by seed, with its 95% interval."""
    plain, *others = runs
    return {way: distribution.summary([one[measure] - base[measure]
                                       for one, base in zip(runs[way], runs[plain], strict=True)]) for way in others}


def main(arguments: list[str] | None = None) -> int:
    """Print how evolution does with pruning and without, and write every run as JSON and the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.science.pruning_in_evolution", description=main.__doc__)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--seeds", type=int, help="how many, from the first on (default: 10 of digits, 20 of poles)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default %(default)s)")
    parser.add_argument("--size", type=int, help="of the population")
    parser.add_argument("--generations", type=int, help="at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: pruning-STUDY.json beside this file")
    options = parser.parse_args(arguments)
    study = STUDIES[options.study]
    study = Study(options.size or study.size, options.generations or study.generations, options.seeds or study.seeds,
                  study.steps, study.ramp)
    tiny = Study(10, 2, 1, study.steps)
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways(study)}
    for way in ways(tiny).values():
        run(options.study, tiny, 0, way)  # compiles
    for seed in range(options.first, options.first + study.seeds):
        print(f"seed {seed} ...", file=sys.stderr, flush=True)
        for way, what in ways(study).items():
            runs[way].append(run(options.study, study, seed, what))
    measure = "accuracy" if study.steps is not None else "evaluations"
    lines = [f"- {way}: {LABELS[measure][0]} differ from no pruning by {found['mean']:+,.1f} on average "
             f"({found['interval'][0]:+,.1f} to {found['interval'][1]:+,.1f})"
             for way, found in differences(runs, measure).items()]
    text = (f"`python -m benchmarks.science.pruning_in_evolution {options.study}`: populations of {study.size}, at "
            f"most {study.generations} generations, seeds {options.first} to {options.first + study.seeds - 1}; median "
            "[quartiles].\n\n" + table(runs) + "\n\nSeed by seed, with 95% intervals:\n\n" + "\n".join(lines) + "\n")
    print(text)
    path = options.json or Path(__file__).with_name(f"pruning-{options.study}.json")
    record = {"study": options.study, "size": study.size, "generations": study.generations,
              "lifetime_steps": study.steps, "runs": runs, "differences": differences(runs, measure)}
    distribution.write(path, record, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
