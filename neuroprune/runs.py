"""Runs of `neuroprune evolve`: tasks by name, and folders that a run can go on from.

A folder holds run.json (task, seed, versions), settings.json, checkpoint.npz, history.csv, history.jsonl, best.json
and, when the run is done, pictures.
"""

import difflib
import json
import platform
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from math import isfinite
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import __version__, digits
from neuroprune.evolution import generation as generations_of
from neuroprune.evolution.checkpoint import Checkpoint
from neuroprune.evolution.gym import Gym
from neuroprune.evolution.learning import Lamarckian
from neuroprune.evolution.poles import DoublePole, PoleBalancing
from neuroprune.evolution.population import Population
from neuroprune.evolution.problems import XOR, Dataset
from neuroprune.evolution.pruning import GenerationPruning
from neuroprune.evolution.settings import Settings
from neuroprune.network.atomic import write_atomically
from neuroprune.plot import film, layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neuroprune.network.network import Network

FORMAT, VERSION = "neuroprune run", 1
GENERATIONS = {"xor": 300, "pole": 100, "double-pole": 200, "double-pole-hidden": 500, "digits": 100}
GYM_GENERATIONS = 100
SIZE, QUICK_SIZE, QUICK_GENERATIONS = 150, 30, 5
EPISODES, TEST_EPISODES = 5, 20  # of a gymnasium environment: per evaluation, and of the best network at the end
LEARNING_RATE, BATCH = 3e-3, 64  # of gradient steps in a lifetime
MINUTES = 0.5  # between two savings of a run that goes on
CHECKPOINT = "checkpoint.npz"
TEXTS = ("run.json", "settings.json", "history.csv", "history.jsonl", "best.json")
PICTURES = ("evolution.png", "pareto.png", "best.png")


@dataclass(frozen=True)
class Run:
    """What run.json says of a run.

    Attributes
    ----------
    task : str
        A name of `GENERATIONS`, or the id of a gymnasium environment.
    seed : int
        Of the population and, for the digits, of the rows held out.
    generations : int
        How many the run is to have, including those done.
    target : float or None
        The fitness that ends it; None leaves that to the task.
    learn : int
        Gradient steps that every network takes in its lifetime, and hands on.
    """

    task: str
    seed: int
    generations: int
    target: float | None = None
    learn: int = 0


@dataclass(frozen=True)
class Task:
    """A problem, the settings in which it departs from the defaults, and what to say of a network in the end."""

    problem: Any
    settings: dict
    report: Callable[["Network"], dict[str, str]]


def task_of(run: Run) -> Task:
    """The task that a run names.

    Raises
    ------
    ValueError
        For a name that is neither ours nor that of an environment, and for learning without data.
    ImportError
        When scikit-learn or gymnasium is needed and not installed.

    Examples
    --------
    >>> from neuroprune import runs
    >>> runs.task_of(runs.Run("double-pole-hidden", seed=0, generations=1)).settings
    {'recurrent': True}
    """
    if run.learn and run.task not in ("xor", "digits"):
        raise ValueError(f"--learn must be for a task with data to learn from (xor, digits), got {run.task}: leave it "
                         "out")
    learning = Lamarckian(run.learn, LEARNING_RATE, batch_size=BATCH) if run.learn else None
    if run.task == "xor":
        return Task(XOR(learning), {}, lambda net: {})
    if run.task == "pole":
        return Task(PoleBalancing(), {}, lambda net: {})
    if run.task in ("double-pole", "double-pole-hidden"):
        problem = DoublePole(velocities=run.task != "double-pole-hidden")
        return Task(problem, {"recurrent": True} if problem.recurrent else {},
                    lambda net: {"generalization": f"{problem.generalization(net)} of 625 starts"})
    if run.task == "digits":
        data = digits.load(run.seed)
        problem = Dataset(data.x, data.y, "softmax_cross_entropy", learning=learning)
        return Task(problem, {"output_activation": "identity"}, lambda net: {
            "accuracy, training": f"{100 * (net(data.x).argmax(1) == data.y).mean():.2f}%",
            "accuracy, held out": f"{100 * digits.accuracy(net, data):.2f}%"})
    try:
        problem = Gym(run.task, episodes=EPISODES)
    except ModuleNotFoundError as error:  # of an id such as module:id
        raise ValueError(f"{run.task}: {error}") from None
    except ImportError as error:  # without gymnasium
        raise ImportError(f"{error}{_nearest(run.task, list(GENERATIONS), ', or ')}") from None
    except ValueError as error:
        from gymnasium import registry

        hint = "" if run.task in registry else _nearest(run.task, [*GENERATIONS, *registry], ", ")
        raise ValueError(f"TASK must be one of {', '.join(GENERATIONS)} or the id of a gymnasium environment: "
                         f"{error}{hint}") from None

    def play(net: "Network") -> dict[str, str]:
        returns = problem.play(net, TEST_EPISODES, run.seed + 1)
        return {f"{TEST_EPISODES} new episodes": f"return {returns.mean():.4g}, from {returns.min():.4g}"}

    return Task(problem, {}, play)


def _nearest(task: str, known: list[str], before: str) -> str:
    """The question whether the task of the nearest name was meant, or nothing when none is near."""
    near = difflib.get_close_matches(task, known, 1)
    return f"{before}did you mean {near[0]!r}?" if near else ""


def settings_of(path: Path | None, task: Task) -> Settings:
    """Settings from a file over those of the task over the defaults."""
    if path is None:
        return Settings.from_dict(task.settings)
    try:
        given = Settings.from_json(path.read_text(encoding="utf-8"))
        named = json.loads(path.read_text(encoding="utf-8"))
        return Settings.from_dict({**task.settings, **{name: getattr(given, name) for name in named}})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def begin(run: Run, task: Task, size: int, settings: Settings, pruning: float | None,
          objectives: tuple[str, ...] | None) -> Population:
    """The first generation of a new run; it prunes along a ramp over the first half of the generations."""
    ramp = None if pruning is None else GenerationPruning(pruning, ramp_generations=max(run.generations // 2, 1))
    return Population(task.problem.n_inputs, task.problem.n_outputs, size, run.seed, settings, ramp, objectives)


def rehearse(task: Task) -> None:
    """Evolve next to nothing, so that the kernels are compiled; environments, which may be slow, are left alone."""
    Population(2, 1, 4, seed=0, pruning=GenerationPruning(0.5)).evolve(XOR(), 2)
    problem = task.problem
    if not isinstance(problem, Gym):
        Population(problem.n_inputs, problem.n_outputs, 2, seed=0, settings=settings_of(None, task)).evolve(problem, 1)


def new_folder(run: Run, out: Path | None) -> Path:
    """The folder of a new run: as asked for if no run is there, else the first free name of the task."""
    if out is None:
        name = "neuroprune-" + re.sub(r"[^\w.-]+", "-", run.task)
        out = Path(name)
        number = 2
        while out.exists():
            out, number = Path(f"{name}-{number}"), number + 1
    present = [name for name in (*TEXTS, CHECKPOINT, *PICTURES) if (out / name).exists()]
    if present:
        raise ValueError(f"--out must be a folder without a run, got {out}, which holds {present[0]}: name another, "
                         f"or go on with neuroprune evolve --resume {shlex.quote(str(out))}")
    return out


def write_begin(folder: Path, run: Run, population: Population, arguments: list[str]) -> None:
    """Make the folder, with what the run is, what it runs on, and the first generation to go on from."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_run(folder, run, {"versions": versions(), "arguments": arguments, "solved": False})
    write_atomically(folder / "settings.json", lambda file: file.write(population.settings.to_json()), text=True)
    population.save(folder / CHECKPOINT)


def versions() -> dict[str, str]:
    """Of what has a say in the bits of a run."""
    return {"neuroprune": __version__, "numpy": np.__version__, "numba": metadata.version("numba"),
            "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}


def other_versions(folder: Path) -> list[str]:
    """What has another version now than when the run began, in words."""
    then = _read_run(folder)[1].get("versions", {})
    return [f"{name} was {then.get(name)}, is {now}" for name, now in versions().items() if then.get(name) != now]


def _write_run(folder: Path, run: Run, rest: dict) -> None:
    document = {"format": FORMAT, "version": VERSION, **asdict(run), **rest}
    write_atomically(folder / "run.json", lambda file: file.write(json.dumps(document, indent=2) + "\n"), text=True)


def resume(folder: Path, more: int | None, target: float | None) -> tuple[Run, Population, Task]:
    """The run of a folder where it stopped, to do what is left of it or so many more generations.

    Raises
    ------
    ValueError
        When nothing is left to do, the run is solved and no target is named, or a file is damaged.
    FileNotFoundError
        When there is no run.
    """
    run, rest = _read_run(folder)
    population = Population.load(folder / CHECKPOINT)
    if rest.get("solved") and target is None:
        raise ValueError(f"the run in {folder} must have something left to do, but is solved: go on with a higher "
                         "--target")
    generations = run.generations if more is None else population.generation + more
    if generations <= population.generation:
        raise ValueError(f"the run in {folder} must have generations left, but all {population.generation:,} are done: "
                         "say how many more with --generations")
    changed = Run(run.task, run.seed, generations, run.target if target is None else target, run.learn)
    task = task_of(changed)
    if changed != run:
        _write_run(folder, changed, {**rest, "solved": False})
    return changed, population, task


def _read_run(folder: Path) -> tuple[Run, dict]:
    """What run.json says, and the rest of it."""
    path = folder / "run.json"
    text = path.read_bytes()
    try:
        document = json.loads(text)
        head = document.pop("format"), document.pop("version")
        run = Run(**{name: document.pop(name) for name in Run.__dataclass_fields__})
        whole = all(type(value) is int and value >= 0 for value in (run.seed, run.generations, run.learn))
        if head != (FORMAT, VERSION) or type(run.task) is not str or not whole or (
                run.target is not None and not isfinite(run.target)) or type(document["versions"]) is not dict:
            raise ValueError
        return run, document
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} must be written by neuroprune evolve of this version, got another file: name the "
                         "folder of a run") from None


def go(folder: Path, run: Run, population: Population, task: Task, workers: int, progress: bool) -> bool:
    """Evolve to the end and write everything; returns whether the task is solved.

    After Ctrl-C the checkpoint, the history and the best network are there, and `KeyboardInterrupt` says how to go on.
    """
    last = monotonic()

    def save(population: Population) -> None:
        nonlocal last
        if monotonic() - last >= 60.0 * MINUTES:
            write(folder, population)
            last = monotonic()

    try:
        with _workers(workers) as executor:
            population.evolve(task.problem, run.generations - population.generation, run.target, executor,
                              Checkpoint(folder / CHECKPOINT, generations=None, minutes=MINUTES), progress, save)
        solved = generations_of.solved(population, task.problem, run.target, 1.0)
        write(folder, population)
        if solved:
            _write_run(folder, run, {**_read_run(folder)[1], "solved": True})
        draw(folder, population)
        return solved
    except KeyboardInterrupt:
        write(folder, population)
        raise KeyboardInterrupt(f"go on with neuroprune evolve --resume {shlex.quote(str(folder))}") from None


@contextmanager
def _workers(count: int) -> Iterator[Executor | None]:
    """Processes that start afresh and leave Ctrl-C to us; none for 1."""
    if count <= 1:
        yield None
        return
    with ProcessPoolExecutor(count, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as executor:
        yield executor


def write(folder: Path, population: Population) -> None:
    """Write the history and the best network, when a generation was evaluated."""
    if population.generation:
        population.history.to_csv(folder / "history.csv")
        population.history.to_jsonl(folder / "history.jsonl")
        population.best.save(folder / "best.json")


def draw(folder: Path, population: Population) -> None:
    """Write the pictures, where matplotlib is installed."""
    from neuroprune import plot

    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return
    _picture(folder / "evolution.png", plot.evolution(population))
    _picture(folder / "best.png", plot.network(population.best).figure)
    if np.isfinite(population.fitness).any():
        _picture(folder / "pareto.png", plot.pareto(population).figure)


def _picture(path: Path, figure: "Figure") -> None:
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def files(folder: Path) -> list[str]:
    """Names of the files of a run that are there."""
    return [name for name in (*TEXTS, CHECKPOINT, *PICTURES) if (folder / name).exists()]


def report(run: Run, population: Population, task: Task, solved: bool) -> list[tuple[str, str]]:
    """What the run came to, in words."""
    best, history = population.best, population.history
    trimmed = best.copy()
    trimmed.trim()
    useful = len(trimmed.connections)
    rows = [("task", f"{run.task}, seed {run.seed}"),
            ("generations", f"{population.generation:,}, {population.evaluations:,} evaluations"),
            ("solved", "yes" if solved else "no"),
            ("best fitness", f"{population.best_fitness:.6g}"),
            *task.report(best).items(),
            ("its size", film.caption(best) + (f", {useful:,} of use" if useful < len(best.connections) else "")),
            ("mean connections", f"{history.connections[-1]:.4g}, "
                                 f"{100 * history.dead_connections[-1]:.1f}% of them dead weight")]
    if population.pruning is not None:
        rows.append(("mean sparsity", f"{100 * history.sparsity[-1]:.1f}%, asked for {100 * history.level[-1]:.1f}%"))
    if population.objectives:
        front = population.front
        sizes = [len(net.connections) for net in front]
        rows.append(("Pareto front", f"{layout.counted(len(front), 'network')}, {min(sizes):,} to "
                                     f"{layout.counted(max(sizes), 'connection')}"))
    else:
        rows.append(("species", f"{history.species[-1]:,}"))
    return rows
