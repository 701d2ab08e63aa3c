"""The command `neuroprune`: results go to stdout, progress and errors to stderr.

Exit codes: 0 when it is done, 2 for bad arguments or input (one line says what), 130 after Ctrl-C.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from math import isfinite, nan
from pathlib import Path
from threading import Timer
from typing import Any, NoReturn

import numpy as np

from neuroprune import __version__, digits, plot, rng, runs, tables
from neuroprune.evolution.population import OBJECTIVES
from neuroprune.network import optimizers
from neuroprune.network.atomic import write_atomically
from neuroprune.network.network import Network
from neuroprune.network.prune import PruningSchedule
from neuroprune.plot import layout
from neuroprune.pruning import masks, saliency

EXAMPLES = """examples:
  neuroprune digits                                    the main job, into the folder neuroprune-digits
  neuroprune digits --sparsity 0.95 --method snip --out digits-95
  neuroprune train plants.csv --target kind --sparsity 0.8 --out plants.json
  neuroprune prune plants.json --sparsity 0.9 --trim   writes plants-pruned.json
  neuroprune show plants-pruned.json --picture plants.png
  neuroprune evolve xor                                a population, into the folder neuroprune-xor
  neuroprune evolve CartPole-v1 --pruning 0.5 --out cart
  neuroprune evolve --resume cart --generations 50     goes on where it stopped, to the same bits
"""
HELD_OUT = 0.25
TRAIN_STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 1000, 32, 3e-3, 1.0
SLOW_START = 2.0  # seconds after which the first call of the kernels must be compiling them


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default those of the process) and return its exit code.

    Examples
    --------
    >>> from neuroprune.cli import main
    >>> main(["show", "nothing.json"])  # and on stderr: neuroprune: error: nothing.json: No such file or directory
    2
    """
    options = _parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        return _fail(": ".join(["stopped by Ctrl-C", *map(str, stop.args)]), 130)
    except BrokenPipeError:  # the reader has seen enough; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", 2)
    except (ValueError, LookupError, FloatingPointError, ImportError) as error:
        return _fail(f"error: {' '.join(str(error).split())}", 2)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"neuroprune: {message}", file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="neuroprune", description="Train, evolve, prune and look at graph networks.", epilog=EXAMPLES,
                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"neuroprune {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, function: Callable, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False)
        sub.set_defaults(command=function)
        return sub

    network = _path(".json", ".npz")
    sub = command("digits", _digits, "train a network on handwritten digits and prune it meanwhile")
    _add_training(sub, digits.STEPS, 0.9)
    sub.add_argument("--batch", type=_integer(1), default=digits.BATCH, metavar="N",
                     help="rows of a step (default %(default)s)")
    sub.add_argument("--out", type=Path, default=Path("neuroprune-digits"), metavar="FOLDER",
                     help="where networks, histories and pictures go (default %(default)s)")
    sub.add_argument("--quick", action="store_true", help=f"{digits.QUICK_STEPS} steps, to see that it works")

    sub = command("train", _train, "train a network on a CSV file of numbers with a header")
    sub.add_argument("data", type=Path, metavar="DATA.csv")
    sub.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    sub.add_argument("--task", choices=tables.TASKS, default="auto",
                     help="auto: integers of few values and words are classes, other numbers quantities")
    sub.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="leave it out; may be repeated")
    sub.add_argument("--hidden", type=_sizes, default=(32, 16), metavar="N,N", help="hidden layers (default 32,16)")
    _add_training(sub, TRAIN_STEPS, None)
    sub.add_argument("--out", type=network, metavar="NET",
                     help="a .json or .npz file; what its columns and classes mean goes into a file beside it")

    sub = command("evolve", _evolve, "evolve a population of networks for a task, or go on with a run")
    sub.add_argument("task", nargs="?", metavar="TASK",
                     help=f"{', '.join(runs.GENERATIONS)}, or the id of a gymnasium environment such as CartPole-v1")
    sub.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with the run in this folder")
    sub.add_argument("--generations", type=_integer(1), metavar="N",
                     help="at most so many (default: by task); with --resume so many more (default: those left)")
    sub.add_argument("--target", type=_number, metavar="FITNESS", help="stop there (default: when the task is solved)")
    sub.add_argument("--size", type=_integer(2), metavar="N", help=f"networks (default {runs.SIZE})")
    sub.add_argument("--seed", type=_integer(0), metavar="N", help="(default 0)")
    sub.add_argument("--settings", type=_path(".json"), metavar="FILE.json",
                     help="what differs from the defaults, such as the settings.json of a run")
    sub.add_argument("--pruning", type=_sparsity, metavar="SHARE",
                     help="prune all networks, along a ramp over the first half of the generations")
    sub.add_argument("--objectives", type=_objectives, metavar="NAME,NAME",
                     help=f"of {', '.join(OBJECTIVES)}: evolve a Pareto front instead of species")
    sub.add_argument("--learn", type=_integer(1), metavar="N",
                     help="gradient steps that every network takes and hands on (xor, digits)")
    sub.add_argument("--workers", type=_integer(1), default=1, metavar="N", help="processes (default %(default)s)")
    sub.add_argument("--out", type=Path, metavar="FOLDER", help="where the run goes (default neuroprune-TASK)")
    sub.add_argument("--quick", action="store_true",
                     help=f"{runs.QUICK_GENERATIONS} generations of {runs.QUICK_SIZE}, to see that it works")
    sub.add_argument("--quiet", "--no-progress", action="store_true", help="show no progress")

    sub = command("prune", _prune, "remove connections from a saved network")
    sub.add_argument("network", type=network, metavar="NET", help="a .json or .npz file")
    sub.add_argument("--sparsity", type=_sparsity, required=True, metavar="SHARE",
                     help="share to remove of the connections that the network began with (at most 0.999)")
    sub.add_argument("--method", choices=list(saliency.SCORERS), default="magnitude",
                     help="(default %(default)s); those by gradient need a network that net.save wrote after training")
    sub.add_argument("--trim", action="store_true", help="then remove nodes that do nothing; outputs stay the same")
    sub.add_argument("--out", type=network, metavar="FILE", help="default: NET with -pruned before the extension")

    sub = command("show", _show, "say what a saved network is like")
    sub.add_argument("network", type=network, metavar="NET", help="a .json or .npz file")
    sub.add_argument("--picture", type=_path(".png"), metavar="FILE.png", help="draw it, too")
    return parser


def _add_training(sub: argparse.ArgumentParser, steps: int, sparsity: float | None) -> None:
    """The options that digits and train share."""
    sub.add_argument("--sparsity", type=_sparsity, default=sparsity,
                     metavar="SHARE", help=f"share of the connections to remove (default {sparsity or 'none'})")
    sub.add_argument("--regrow", type=_share, default=0.2, metavar="SHARE",
                     help="of what goes in a pruning, the share that grows elsewhere (default %(default)s)")
    sub.add_argument("--method", choices=("magnitude", "snip"), default="magnitude", help="(default %(default)s)")
    sub.add_argument("--seed", type=_integer(0), default=0, metavar="N", help="(default %(default)s)")
    sub.add_argument("--steps", type=_integer(1), metavar="N", help=f"optimizer steps (default {steps})")
    sub.add_argument("--quiet", "--no-progress", action="store_true", help="show no progress")


def _integer(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, got {text!r}")
        return int(text)

    return parse


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return number


def _objectives(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < 2 or len(set(names)) < len(names) or not set(names) <= set(OBJECTIVES):
        raise argparse.ArgumentTypeError(f"must be at least two different ones of {', '.join(OBJECTIVES)}, got "
                                         f"{text!r}")
    return names


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = nan
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a number in [0, 1], got {text!r}")
    return share


def _sparsity(text: str) -> float:
    if (share := _share(text)) == 0.0:
        raise argparse.ArgumentTypeError(f"must be a number in (0, 1], got {text!r}")
    return share


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(_integer(1)(size.strip()) for size in text.split(","))


def _path(*suffixes: str) -> Callable[[str], Path]:
    def parse(text: str) -> Path:
        if Path(text).suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"must be a file that ends in {' or '.join(suffixes)}, got {text!r}")
        return Path(text)

    return parse


def _digits(options: argparse.Namespace) -> None:
    steps = options.steps or (digits.QUICK_STEPS if options.quick else digits.STEPS)
    data = digits.load(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    plan = digits.schedule(steps, options.sparsity, options.regrow, options.method)
    _warm_up()
    runs = []
    for name, pruning in (("dense", None), ("pruned", plan)):
        _say(options, f"{name}: {steps:,} steps")
        runs.append(digits.train(data, steps, options.seed, options.batch, pruning, progress=not options.quiet))
    dense, pruned = runs
    _say(options, f"writing {options.out}")
    files = digits.save(options.out, dense, pruned)
    nets = [run.net for run in runs]
    _table(["", "dense", "pruned"], [
        ["connections", *(f"{len(net.connections):,}" for net in nets)],
        ["sparsity", *(_percent(net.sparsity) for net in nets)],
        ["test accuracy", *(_percent(run.accuracy, 2) for run in runs)],
        ["bytes on disk", *(f"{file.stat().st_size:,}" for file in files[:2])],
        ["ms per 1,000 predictions", *(f"{digits.milliseconds(net, data):.3f}" for net in nets)],
    ])
    print(f"\n{options.out}: {', '.join(file.name for file in files)}")


def _train(options: argparse.Namespace) -> None:
    _check_folder(options.out)
    table = tables.read(options.data, options.target, options.task, options.ignore)
    kept, held_out = tables.split(table.y, HELD_OUT, rng.stream(options.seed, 0, 1))
    scaling = tables.Scaling.of(table.x[kept], table.y[kept])
    classes = table.classes
    net = Network.dense([len(table.columns), *options.hidden, len(classes) if classes else 1], "relu",
                        seed=options.seed)
    steps = options.steps or TRAIN_STEPS
    if options.sparsity is not None:
        net.pruning = digits.schedule(steps, options.sparsity, options.regrow, options.method)
    _warm_up()
    _say(options, f"{options.data}: {len(table):,} rows, {'classification' if classes else 'regression'}, "
                  f"{steps:,} steps")
    net.train(*scaling.standardise(table.x[kept], table.y[kept]), steps, learning_rate=LEARNING_RATE,
              optimizer=optimizers.adamw(weight_decay=WEIGHT_DECAY),
              loss="softmax_cross_entropy" if classes else "mse", batch_size=BATCH, progress=not options.quiet,
              seed=options.seed)
    scaling.fold(net)
    measured = [_measures(net, table, rows) for rows in (kept, held_out)]
    _table(["", "training", "held out"], [
        ["rows", f"{kept.size:,}", f"{held_out.size:,}"],
        *([name, *(measures[name] for measures in measured)] for name in measured[0])])
    print(f"\n{'classes' if classes else 'target'}: {', '.join(map(str, classes)) if classes else table.target}")
    print(f"connections: {len(net.connections):,}, sparsity {_percent(net.sparsity)}")
    if options.out is not None:
        net.save(options.out)
        _write_columns(options.out, {
            "inputs": list(table.columns), "target": table.target, "classes": classes and list(classes),
            "mean": scaling.mean.tolist(), "scale": scaling.scale.tolist(), "target_mean": scaling.target_mean,
            "target_scale": scaling.target_scale})
        print(f"{options.out} takes raw rows; its columns are in {_columns_path(options.out)}")
    else:
        print("the network is not saved: name a file with --out")


def _measures(net: Network, table: tables.Table, rows: np.ndarray) -> dict[str, str]:
    """How well the network does on these rows, in words."""
    outputs, y = net(table.x[rows]), table.y[rows]
    if table.classes is not None:
        return {"accuracy": _percent((outputs.argmax(1) == y).mean(), 2)}
    error, spread = ((outputs[:, 0] - y) ** 2).mean(), ((y - y.mean()) ** 2).mean()
    return {"R^2": f"{1.0 - error / spread:.4f}" if spread > 0.0 else "undefined", "RMSE": f"{np.sqrt(error):.6g}"}


def _evolve(options: argparse.Namespace) -> None:
    if (options.task is None) == (options.resume is None):
        raise ValueError("evolve must have either a TASK or --resume FOLDER, got "
                         + ("neither" if options.task is None else "both"))
    if options.resume is None:
        run, folder, population, task = _new_run(options)
    else:
        run, folder, population, task = _old_run(options)
    _say(options, f"{run.task}: generations {population.generation + 1:,} to {run.generations:,}, in {folder}")
    solved = runs.go(folder, run, population, task, options.workers, progress=not options.quiet)
    _list(runs.report(run, population, task, solved))
    print(f"\n{folder}: {', '.join(runs.files(folder))}")


def _new_run(options: argparse.Namespace) -> tuple:
    generations = options.generations or (
        runs.QUICK_GENERATIONS if options.quick else runs.GENERATIONS.get(options.task, runs.GYM_GENERATIONS))
    run = runs.Run(options.task, options.seed or 0, generations, options.target, options.learn or 0)
    folder = runs.new_folder(run, options.out)
    task = runs.task_of(run)
    settings = runs.settings_of(options.settings, task)
    _warm_up(lambda: runs.rehearse(task))
    population = runs.begin(run, task, options.size or (runs.QUICK_SIZE if options.quick else runs.SIZE), settings,
                            options.pruning, options.objectives)
    runs.write_begin(folder, run, population, options.arguments)
    return run, folder, population, task


def _old_run(options: argparse.Namespace) -> tuple:
    for name in ("size", "seed", "settings", "pruning", "objectives", "learn", "out", "quick"):
        if getattr(options, name) not in (None, False):
            raise ValueError(f"--{name} must be left out with --resume, which takes it from the run")
    run, population, task = runs.resume(options.resume, options.generations, options.target)
    for difference in runs.other_versions(options.resume):
        _say(options, f"{difference}: the bits may differ from those of an uninterrupted run")
    _warm_up(lambda: runs.rehearse(task))
    return run, options.resume, population, task


def _prune(options: argparse.Namespace) -> None:
    source = options.network
    out = options.out or source.with_name(f"{source.stem}-pruned{source.suffix}")
    if out.resolve() == source.resolve():
        raise ValueError(f"--out must be another file than the network, got {out}: name another one")
    _check_folder(out)
    net = Network.load(source)
    columns = _read_columns(source, net)
    before = _state(net)
    method: Any = options.method
    for signal in saliency.requires(method):
        if signal != "rng" and method != "synflow" and getattr(net.connections, f"accumulated_{signal}", None) is None:
            raise ValueError(f"--method {method} needs the {signal.replace('_', ' ')} of a training, which {source} "
                             "does not hold: use --method magnitude")
    if columns is not None and method in ("magnitude", "magnitude_l2"):
        scorer, units = saliency.scorer(method), _scaling(columns).units(net)
        method = lambda weight: scorer(weight * units)  # noqa: E731 (sizes in the units that the network learned in)
    began_with = net.initial_connection_count or net.evolution_baseline or len(net.connections)
    left = max(began_with - masks.count(options.sparsity, began_with), 1)
    net.prune_to_sparsity(1.0 - left / (net.evolution_baseline or len(net.connections)), method)
    if options.trim:
        net.trim()
    net.save(out)
    if columns is not None:
        _write_columns(out, columns)
    _table(["", "before", "after"], [[name, before[name], value] for name, value in _state(net).items()]
           + [["bytes on disk", f"{source.stat().st_size:,}", f"{out.stat().st_size:,}"]])
    print(f"\n{out}")


def _show(options: argparse.Namespace) -> None:
    _check_folder(options.picture)
    net = Network.load(options.network)
    graph, schedule = net.graph, net.pruning
    weight, names = np.abs(net.connections.weight), net.nodes.activation[graph.n_inputs:].tolist()
    if options.picture is not None:
        figure = plot.network(net).figure
        write_atomically(options.picture, lambda file: figure.savefig(file, format="png", dpi=130))
    rows = [["nodes", f"{graph.n_inputs:,} inputs, {graph.n_hidden:,} hidden, {graph.n_outputs:,} outputs"],
            ["kind", f"recurrent, {np.count_nonzero(graph.delayed):,} delayed connections" if graph.recurrent
             else "acyclic"],
            *([name, value] for name, value in _state(net).items()),
            ["depth", f"{graph.depth.max()}"],
            ["activations", ", ".join(f"{name} {count:,}" for name, count in sorted(Counter(names).items()))],
            ["|weight|", f"{weight.min():.4g} to {weight.max():.4g}" if weight.size else "none"],
            ["trained", f"{net.iteration:,} steps"],
            ["schedule", _schedule(schedule)],
            ["file", f"{options.network.stat().st_size:,} bytes"]]
    _list(rows)
    if options.picture is not None:
        print(f"\n{options.picture}")


def _schedule(schedule: PruningSchedule | None) -> str:
    if schedule is None:
        return "none"
    return (f"{schedule.method}, {schedule.ramp} to {_percent(schedule.target_sparsity)} from iteration "
            f"{schedule.start:,} to {schedule.end:,} every {schedule.frequency:,}, regrowing "
            f"{_percent(schedule.regrow_fraction)}")


def _check_folder(path: Path | None) -> None:
    """Refuse a file in a folder that does not exist before any work is done."""
    if path is not None and not path.parent.is_dir():
        raise ValueError(f"a file must go into an existing folder, got {path}: make {path.parent} first")


def _state(net: Network) -> dict[str, str]:
    """What pruning changes, in words."""
    graph = net.graph
    return {"connections": f"{graph.n_connections:,}", "sparsity": _percent(net.sparsity),
            "hidden nodes": f"{graph.n_hidden:,}",
            "dead hidden nodes": f"{np.count_nonzero(layout.dead(graph)):,}",
            "unused inputs": f"{np.count_nonzero(layout.unused(graph)):,}"}


def _columns_path(network: Path) -> Path:
    return network.with_suffix(".columns.json")


def _write_columns(network: Path, columns: dict) -> None:
    text = json.dumps(columns, indent=1) + "\n"
    write_atomically(_columns_path(network), lambda file: file.write(text), text=True)


def _read_columns(network: Path, net: Network) -> dict | None:
    """What `train` wrote beside the network, None where there is nothing."""
    path = _columns_path(network)
    if not path.exists():
        return None
    try:
        columns = json.loads(path.read_text(encoding="utf-8"))
        scaling = _scaling(columns)
        scales = np.append(scaling.scale, scaling.target_scale)
        if scaling.scale.shape == (net.graph.n_inputs,) and ((scales > 0.0) & np.isfinite(scales)).all():
            return columns
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{path} must be what neuroprune train wrote, got a damaged file: remove it") from None
    raise ValueError(f"{path} must have a positive scale for each of the {net.graph.n_inputs} inputs of {network}, "
                     f"got {scaling.scale.size}: remove it")


def _scaling(columns: dict) -> tables.Scaling:
    return tables.Scaling(np.asarray(columns["mean"], float), np.asarray(columns["scale"], float),
                          float(columns["target_mean"]), float(columns["target_scale"]))


def _warm_up(work: Callable[[], Any] | None = None) -> None:
    """Call the kernels on next to nothing, so that they are compiled; say so where it takes long."""
    timer = Timer(SLOW_START, print, ["compiling kernels, once (about 20 s) ..."], {"file": sys.stderr, "flush": True})
    timer.start()
    try:
        (work or _train_a_little)()
    finally:
        timer.cancel()


def _train_a_little() -> None:
    net = Network.dense([2, 3, 2], "relu", seed=0)
    net.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], 2, loss="softmax_cross_entropy", seed=0,
              pruning=PruningSchedule(0.5, start=1, end=2, regrow_fraction=0.5))
    net([[0.0, 1.0]])


def _say(options: argparse.Namespace, message: str) -> None:
    if not options.quiet:
        print(message, file=sys.stderr, flush=True)


def _percent(share: float, digits: int = 1) -> str:
    return f"{100.0 * share:.{digits}f}%"


def _list(rows: Sequence[Sequence[str]]) -> None:
    """Print names and values."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def _table(header: list[str], rows: list[list[str]]) -> None:
    """Print columns, the first to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        cells = [f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("   ".join([f"{line[0]:<{widths[0]}}", *cells]))
