"""`python -m benchmarks.science.evolution TASK`: what evolution needs for the standard tasks, over seeds.

Tasks are "xor", "double-pole" and "double-pole-hidden", which is without velocities: there the champion of every
species is tested, as `Population.evolve` does, and with "double-pole-hidden-champion" only the fittest network of each
generation, as in the literature. All have the settings that ship.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import neuroprune as npr
from benchmarks.science import distribution

UNREACHABLE = 1e300
COLUMNS = {"generations": 1, "evaluations": 0, "hidden": 1, "connections": 1, "generalization": 0, "seconds": 2}


@dataclass(frozen=True)
class Task:
    """A problem, who is to solve it, within how many evaluations, and what the literature needs."""

    problem: Any
    settings: npr.Settings
    size: int
    seeds: int
    cap: int
    published: str
    champion_only: bool = False


HIDDEN = ("NEAT (Stanley & Miikkulainen 2002): 33,184 evaluations on average with a population of 1,000, "
          "generalization 286; ESP 169,466 and 289")
TASKS = {
    "xor": Task(npr.XOR(), npr.Settings(), 150, 100, 45_000,
                "NEAT (Stanley & Miikkulainen 2002): 4,755 evaluations on average, 2.35 hidden nodes, "
                "7.48 connections"),
    "double-pole": Task(npr.DoublePole(), npr.Settings(), 150, 50, 45_000,
                        "NEAT (Stanley & Miikkulainen 2002): 3,600 evaluations on average, ESP 3,800"),
    "double-pole-hidden": Task(npr.DoublePole(velocities=False), npr.Settings(recurrent=True), 150, 50, 150_000,
                               HIDDEN),
    "double-pole-hidden-champion": Task(npr.DoublePole(velocities=False), npr.Settings(recurrent=True), 150, 50,
                                        150_000, HIDDEN, champion_only=True),
}


def solve(task: Task, seed: int, cap: int) -> dict[str, Any]:
    """One run until the problem is solved, or for `cap` evaluations; the network counts as it is without dead parts."""
    problem = task.problem
    population = npr.Population(problem.n_inputs, problem.n_outputs, size=task.size, seed=seed,
                                settings=task.settings)
    only: dict[str, Any] = {}
    if task.champion_only:  # a target that is out of reach keeps `evolve` from asking the problem
        only = {"target": UNREACHABLE, "callback": lambda now: _solved(problem, now.best, now.best_fitness)}
    start = perf_counter()
    net = population.evolve(problem, max(cap // task.size, 1), **only)
    seconds = perf_counter() - start
    solved = _solved(problem, net, population.best_fitness)
    found = {"seed": seed, "solved": solved, "generations": population.generation,
             "evaluations": population.evaluations, "hidden": net.graph.n_hidden, "connections": len(net.connections),
             "seconds": round(seconds, 4)}
    if isinstance(problem, npr.DoublePole) and not problem.velocities:
        found["generalization"] = problem.generalization(net)
    return found


def _solved(problem: Any, net: npr.Network, fitness: float) -> bool:
    """As strictly as the task has it: of hidden velocities 100,000 actions, and 200 of the 625 starts."""
    return bool(problem.solved(net, fitness) if hasattr(problem, "solved") else fitness >= problem.solved_at)


def table(runs: list[dict[str, Any]]) -> str:
    """What the runs needed."""
    rows = []
    for name, digits in COLUMNS.items():
        if name in runs[0]:
            values = [run[name] for run in runs]
            rows.append([name, distribution.median_cell(values, digits), distribution.mean_cell(values, digits),
                         f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"])
    header = ["", "median [quartiles]", "mean (95% interval)", "lowest", "highest"]
    return distribution.markdown(header, rows)


def main(arguments: list[str] | None = None) -> int:
    """Print what evolution needs over the seeds, and write every run as JSON and the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.science.evolution", description=main.__doc__)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--seeds", type=int, help="how many, from the first on (default: 100 for xor, 50 else)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default %(default)s)")
    parser.add_argument("--size", type=int, default=150, help="of the population (default %(default)s)")
    parser.add_argument("--cap", type=int, help="evaluations after which a run counts as not solved")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: evolution-TASK.json beside this file")
    options = parser.parse_args(arguments)
    task = TASKS[options.task]
    task = replace(task, size=options.size, seeds=options.seeds or task.seeds, cap=options.cap or task.cap)
    solve(replace(task, size=10), 0, 30)  # compiles
    runs = []
    for seed in range(options.first, options.first + task.seeds):
        runs.append(solve(task, seed, task.cap))
        print(f"seed {seed}: {runs[-1]}", file=sys.stderr, flush=True)
    solved = sum(run["solved"] for run in runs)
    command = f"python -m benchmarks.science.evolution {options.task} --size {task.size}"
    text = (f"`{command}`: {solved} of {len(runs)} runs solved, seeds {options.first} to "
            f"{options.first + len(runs) - 1}, populations of {task.size}.\n\n{table(runs)}\n\nPublished: "
            f"{task.published}.\n")
    print(text)
    path = options.json or Path(__file__).with_name(f"evolution-{options.task}.json")
    figures = {name: distribution.summary([run[name] for run in runs]) for name in COLUMNS if name in runs[0]}
    distribution.write(path, {"task": options.task, "size": task.size, "cap": task.cap, "solved": solved,
                              "summary": figures, "runs": runs}, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
