"""The main job: a graph network learns handwritten digits and is pruned meanwhile, beside a twin that is not.

The 1,797 pictures of 8 x 8 pixels that come with scikit-learn, a quarter of them held out. The numbers below were
chosen on the seeds 100 to 115; the results in the README are those of other seeds.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import rng, tables
from neuroprune.network.atomic import write_atomically
from neuroprune.network.history import History
from neuroprune.network.network import Network
from neuroprune.network.prune import PruningSchedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = (64, 128, 64, 10)
SHAPE = (8, 8)
HELD_OUT = 0.25
STEPS, QUICK_STEPS, BATCH, LEARNING_RATE = 5000, 400, 32, 3e-3
LOSS = "softmax_cross_entropy"
PREDICTIONS, REPEATS = 1000, 25  # rows of one timed call, and calls


@dataclass(frozen=True)
class Digits:
    """Pixels in [0, 1], float64 (rows, 64), and classes, int64 (rows,), to learn from and to judge by."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Run:
    """A trained network, what happened to it, and its accuracy on the held-out rows after some iterations."""

    net: Network
    history: History
    iterations: list[int]
    accuracies: list[float]

    @property
    def accuracy(self) -> float:
        """The accuracy after the last step."""
        return self.accuracies[-1]


def load(seed: int) -> Digits:
    """Load the digits and hold a quarter out, the same share of each class.

    Raises
    ------
    ImportError
        When scikit-learn or matplotlib, which the pictures need, is not installed.
    """
    try:
        import matplotlib  # noqa: F401 (it is missed now, not after the training)
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(f"the digits need scikit-learn and matplotlib, and {error.name or 'one'} is not installed: "
                          'pip install "neuroprune[examples]"') from None
    x, y = load_digits(return_X_y=True)
    x, y = x / 16.0, y.astype(np.int64)
    kept, held_out = tables.split(y, HELD_OUT, rng.stream(seed, 0, 1))
    return Digits(x[kept], y[kept], x[held_out], y[held_out])


def schedule(steps: int, sparsity: float, regrow: float = 0.2, method: str = "magnitude") -> PruningSchedule:
    """A cubic ramp from 10% to 75% of the steps that prunes every 1% of them; the last quarter mends.

    Examples
    --------
    >>> from neuroprune import digits
    >>> plan = digits.schedule(5000, 0.9)
    >>> plan.start, plan.end, plan.frequency
    (500, 3750, 50)
    """
    start = max(round(0.1 * steps), 1)
    return PruningSchedule(sparsity, start=start, end=max(round(0.75 * steps), start), frequency=max(steps // 100, 1),
                           method=method, regrow_fraction=regrow, ramp="cubic")


def train(data: Digits, steps: int, seed: int, batch: int = BATCH, pruning: PruningSchedule | None = None,
          progress: bool = False) -> Run:
    """Train a network of 64-128-64-10 nodes, and take its held-out accuracy every 1% of the steps.

    The same seed gives the same first weights and the same batches, whether it is pruned or not.
    """
    net = Network.dense(SIZES, activation="relu", seed=seed)
    iterations, accuracies = [], []
    every = max(steps // 100, 1)

    def watch(net: Network, history: History) -> None:
        if net.iteration % every == 0 or net.iteration == steps:
            iterations.append(net.iteration)
            accuracies.append(accuracy(net, data))

    history = net.train(data.x, data.y, steps, learning_rate=LEARNING_RATE, loss=LOSS, batch_size=batch,
                        pruning=pruning, progress=progress, callback=watch, seed=seed)
    return Run(net, history, iterations, accuracies)


def accuracy(net: Network, data: Digits) -> float:
    """Share of the held-out digits that the network names right."""
    return float((net(data.x_test).argmax(1) == data.y_test).mean())


def milliseconds(net: Network, data: Digits) -> float:
    """Time of one call with 1,000 rows, the shortest of several: whatever else the machine does only adds to it."""
    x = np.resize(data.x_test, (PREDICTIONS, data.x_test.shape[1]))
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        net(x)
        times.append(1e3 * (perf_counter() - start))
    return min(times)


def save(folder: Path, dense: Run, pruned: Run) -> list[Path]:
    """Write networks, histories and pictures into an existing folder; returns the files."""
    for run, name in ((dense, "dense"), (pruned, "pruned")):
        run.net.save(folder / f"{name}.npz")
        run.history.to_csv(folder / f"{name}-history.csv")
    write_atomically(folder / "accuracy.csv", lambda file: csv.writer(file).writerows(
        [("iteration", "dense", "pruned"), *zip(dense.iterations, dense.accuracies, pruned.accuracies, strict=True)]),
        text=True)
    draw(folder, dense, pruned)
    return [folder / name for name in ("dense.npz", "pruned.npz", "dense-history.csv", "pruned-history.csv",
                                       "accuracy.csv", "training.png", "networks.png", "pixels.png")]


def draw(folder: Path, dense: Run, pruned: Run) -> None:
    """Write training.png, networks.png and pixels.png."""
    from neuroprune import plot

    _picture(folder / "training.png", (13.0, 4.5),
             lambda ax: plot.training(pruned.history, accuracy=(pruned.iterations, pruned.accuracies), ax=ax),
             lambda ax: _draw_accuracies(ax, {"dense": dense, "pruned": pruned}))
    _picture(folder / "networks.png", (15.0, 6.0), lambda ax: plot.network(dense.net, ax=ax, max_connections=0),
             lambda ax: plot.network(pruned.net, ax=ax, max_connections=0))
    _picture(folder / "pixels.png", (5.5, 4.5), lambda ax: plot.input_use(pruned.net, shape=SHAPE, ax=ax))


def _draw_accuracies(ax: "Axes", runs: dict[str, Run]) -> None:
    """Both curves from where the worst of their last halves begins, since that is where they differ."""
    for name, run in runs.items():
        ax.plot(run.iterations, [100 * value for value in run.accuracies],
                label=f"{name}, {len(run.net.connections):,} connections: {100 * run.accuracy:.2f}%")
    ax.set_ylim(100 * min(min(run.accuracies[len(run.accuracies) // 2:]) for run in runs.values()) - 1.0, 100.0)
    ax.set_xlabel("iteration")
    ax.set_ylabel("accuracy on held-out digits, %")
    ax.legend(loc="lower right")


def _picture(path: Path, size: tuple[float, float], *draws: Callable[["Axes"], Any]) -> None:
    """One PNG with the drawings side by side; it is drawn without pyplot, so no display is asked for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    for ax, draw in zip(figure.subplots(1, len(draws), squeeze=False)[0], draws, strict=True):
        draw(ax)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=130))
