"""What gives fitness: problems that evaluate a whole population at once.

A problem is any object with `evaluate(genomes, seed, generation, first) -> array (len(genomes),)`, higher is better.
`genomes` is a `Genomes`, all of a population or a chunk of it that begins with its network number `first`; what
network i gets must not depend on the chunk, so its random numbers come from the stream (seed, generation, first + i).
Further attributes: `n_inputs`, `n_outputs` (None: any), `recurrent` (whether it needs recurrent networks),
`solved_at` (the fitness that ends a run, or None), `learning` (None, or the learning within its evaluation).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroprune import activations, kernels
from neuroprune.evolution.genomes import Genomes, in_chunks
from neuroprune.evolution.learning import Learning
from neuroprune.network import losses
from neuroprune.network.create import count_of
from neuroprune.network.views import check_number

MEASURES = ("accuracy",)
WORK_PER_EDGE = 40  # connections times rows that take as long as breeding one connection, in which in_chunks counts


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Fitness from examples: minus the mean loss, or the accuracy, of all networks on all rows in one compiled call.

    Parameters
    ----------
    x : array (rows, n_inputs), or (sequences, steps, n_inputs) for recurrent networks
        Sequences start from a state of zeros. Rows are given to a recurrent network as sequences of one step.
    y : array (rows, n_outputs) or (sequences, steps, n_outputs)
        A single output may come without the last axis; for "softmax_cross_entropy" also integer classes without it.
    loss : "mse", "mae", "huber", "binary_cross_entropy", "softmax_cross_entropy", "hinge"
        See `neuroprune.network.losses`; the cross-entropies take raw outputs (logits).
    measure : None or "accuracy"
        None: fitness is minus the mean loss. "accuracy": the share of rows and steps whose highest output, the first
        of equals, is at the highest target; of a single output, for which y must hold two values, the share on the
        right side of the middle between them (of 0 for "binary_cross_entropy").
    learning : None, Lamarckian or Baldwinian
        Gradient steps on the loss that every network takes before it is measured.
    solved_at : float, optional
        Fitness at which the problem counts as solved; `Population.evolve` stops there unless told a `target`.
    n_outputs : int, optional
        Needed where y is integer classes and lacks the highest one.

    Attributes
    ----------
    n_inputs, n_outputs : int
    recurrent : bool
        True for sequences; these are refused by populations of acyclic networks.
    x, y : float64 arrays
        Copies, y with its last axis; do not write to them.

    Raises
    ------
    ValueError
        When shapes do not fit, there is no row, or a number is not finite.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.genomes import Genomes
    >>> from neuroprune.evolution.problems import Dataset
    >>> problem = Dataset([[1.0], [2.0]], [[2.0], [4.0]])
    >>> problem
    <Dataset: 2 rows, 1 inputs, 1 outputs, mse>
    >>> line = [(0, 1, 1.0)], [(0, 1, 2.0)]
    >>> nets = [npr.Network.from_connections(1, 1, one, activation="identity") for one in line]
    >>> problem.evaluate(Genomes.pack(nets)).tolist()
    [-2.5, 0.0]
    """

    x: Any
    y: Any
    loss: str = "mse"
    measure: str | None = None
    learning: Learning | None = None
    solved_at: float | None = None
    n_outputs: int | None = None

    def __post_init__(self) -> None:
        x = np.asarray(self.x)
        if x.ndim not in (2, 3) or not x.size:
            raise ValueError("x must have shape (rows, n_inputs) or (sequences, steps, n_inputs) and at least one "
                             f"number, got {x.shape}")
        y = np.asarray(self.y)
        losses.code(self.loss)
        if self.n_outputs is None:
            width = _width(x, y, self.loss)
        else:
            width = count_of(self.n_outputs, "n_outputs", 1)
        y = losses.targets_for(y, x.shape[:-1], width, self.loss)
        if self.measure is not None and self.measure not in MEASURES:
            raise ValueError(f"measure must be None or 'accuracy', got {self.measure!r}")
        if self.learning is not None and not isinstance(self.learning, Learning):
            raise TypeError(f"learning must be None, Lamarckian(...) or Baldwinian(...), got {self.learning!r}")
        if self.solved_at is not None:
            check_number(self.solved_at, "solved_at")
        fields = {"x": losses.finite(x, "x"), "y": y, "n_outputs": width,
                  "_cuts": np.empty(0) if self.measure is None else _cuts(y, self.loss)}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def n_inputs(self) -> int:
        """Numbers in a row of x."""
        return self.x.shape[-1]

    @property
    def recurrent(self) -> bool:
        """Whether x is sequences, which need recurrent networks."""
        return self.x.ndim == 3

    def evaluate(self, genomes: Genomes, seed: int = 0, generation: int = 0, first: int = 0) -> np.ndarray:
        """Fitness of every network, float64 (len(genomes),); NaN where an output or the loss is not finite.

        Under Lamarckian learning `genomes.columns.parameters` hold what was learned afterwards; nothing else is ever
        changed. `seed`, `generation` and `first`, the index of the first network in its population, choose the order
        of mini-batches.
        """
        self._check(genomes)
        sequences, steps = self.x.shape[0], self.x.shape[1] if self.recurrent else 1
        x = self.x.reshape(sequences, steps, self.n_inputs)
        y = self.y.reshape(sequences, steps, self.n_outputs)
        code, learning, columns = losses.code(self.loss), self.learning, genomes.columns
        work_size = int(columns.n_edges.sum()) * sequences * steps
        if learning is not None:
            learning.check(genomes, sequences, steps)
            work_size *= 1 + 3 * learning.steps
            if not learning.inherits:
                columns = columns._replace(parameters=columns.parameters.copy())
        out = np.empty(len(genomes))

        def work(start: int, stop: int) -> None:
            with np.errstate(all="ignore"):  # numbers that overflow give a fitness of NaN
                if learning is not None:
                    learning.learn(genomes, columns, start, stop, x, y, code, seed, generation, first)
                kernels.evaluate.dataset(columns, activations.table(), genomes.n_inputs, genomes.n_outputs,
                                         genomes.recurrent, start, stop, x, y, code, self._cuts, out)

        in_chunks(work, len(genomes), work_size // WORK_PER_EDGE)
        return self._fitness(out)

    def _fitness(self, measured: np.ndarray) -> np.ndarray:
        """Fitness from mean losses, or from accuracies."""
        return measured if self.measure else 0.0 - measured  # 0, not -0, for what is perfect

    def _check(self, genomes: Genomes) -> None:
        if (genomes.n_inputs, genomes.n_outputs) != (self.n_inputs, self.n_outputs):
            raise ValueError(f"networks must have {self.n_inputs} inputs and {self.n_outputs} outputs for this "
                             f"problem, got {genomes.n_inputs} and {genomes.n_outputs}")
        if self.recurrent and not genomes.recurrent:
            raise ValueError("networks must be recurrent for a problem of sequences, got acyclic ones: call "
                             "net.as_recurrent() or evolve a recurrent population")

    def __repr__(self) -> str:
        size = f"{len(self.x)} sequences of {self.x.shape[1]} steps" if self.recurrent else f"{len(self.x)} rows"
        more = "".join(f", {part}" for part in (self.measure, self.learning) if part is not None)
        return (f"<{type(self).__name__}: {size}, {self.n_inputs} inputs, {self.n_outputs} outputs, {self.loss}"
                f"{more}>")


class XOR(Dataset):
    """Exclusive or of two inputs: fitness is 4 minus the sum of squared errors on the four rows; solved at 3.9.

    The task of Stanley & Miikkulainen 2002, section 4.1, with outputs used as they are: which activation an output
    has, a population's settings say.

    Parameters
    ----------
    learning : None, Lamarckian or Baldwinian

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.genomes import Genomes
    >>> from neuroprune.evolution.problems import XOR
    >>> half = npr.Network.from_connections(2, 1, [], bias=0.5, activation="identity")
    >>> XOR().evaluate(Genomes.pack([half])).tolist(), XOR().solved_at
    ([3.0], 3.9)
    """

    def __init__(self, learning: Learning | None = None) -> None:
        super().__init__([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], learning=learning, solved_at=3.9)

    def _fitness(self, measured: np.ndarray) -> np.ndarray:
        return 4.0 - 4.0 * measured


def _width(x: np.ndarray, y: np.ndarray, loss: str) -> int:
    """How many outputs the targets are for."""
    if y.ndim == x.ndim:
        return y.shape[-1]
    if loss == "softmax_cross_entropy" and y.size and y.dtype.kind in "iub":
        return max(int(y.max()) + 1, 1)
    return 1


def _cuts(y: np.ndarray, loss: str) -> np.ndarray:
    """Above which number a single output, and a single target, is the second class."""
    if y.shape[-1] > 1:
        return np.zeros(2)
    low, high = y.min(), y.max()
    if low == high or not ((y == low) | (y == high)).all():
        raise ValueError(f"y must hold two different values for the accuracy of a single output, got "
                         f"{np.unique(y).size} of them: take one output a class, or another measure")
    middle = low + (high - low) / 2
    return np.array([0.0 if loss == "binary_cross_entropy" else middle, middle])
