"""Learning in a lifetime: gradient steps that every genome takes before it is measured, inherited or not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from neuroprune import activations, kernels
from neuroprune.network.create import count_of
from neuroprune.network.gradient import MAX_BUFFER
from neuroprune.network.optimizers import Optimizer, optimizer
from neuroprune.network.run import tile_stride
from neuroprune.network.views import check_number

if TYPE_CHECKING:
    from neuroprune.evolution.genomes import Genomes

# Added to a network's index for the order of its mini-batches: the stream of the index itself bred the network, that
# of 2^31 more prunes it.
LEARNING_STREAMS = 2**30


@dataclass(frozen=True)
class Learning:
    """What `Lamarckian` and `Baldwinian` share; use one of these.

    Attributes
    ----------
    steps : int
        Optimizer steps that every genome takes each time it is evaluated, at least 1.
    learning_rate : float
        Positive.
    optimizer : "sgd", "rmsprop", "adam", "adamw", or one made by `neuroprune.network.optimizers`
        Its moments start at 0 in every evaluation.
    batch_size : int or None
        Rows (sequences) of a mini-batch; each epoch is shuffled, its last batch may be smaller. None takes all.
    l1, l2 : float
        Penalties on the weights, as in `Network.train`.
    clip_norm : float or None
        Largest norm of the gradient.
    """

    steps: int
    learning_rate: float = 0.01
    optimizer: str | Optimizer = "adam"
    batch_size: int | None = None
    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None

    inherits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if name == "steps" or self.batch_size is not None:
                object.__setattr__(self, name, count_of(getattr(self, name), name, 1))
        optimizer(self.optimizer)
        for name, least in (("l1", "at least 0"), ("l2", "at least 0"), ("learning_rate", "positive"),
                            ("clip_norm", "positive")):
            value = getattr(self, name)
            if name == "clip_norm" and value is None:
                continue
            number = check_number(value, name)
            if number < 0.0 or (least == "positive" and number == 0.0):
                raise ValueError(f"{name} must be {least}, got {value!r}")
            object.__setattr__(self, name, number)

    def arguments(self, rows: int) -> tuple[Any, ...]:
        """Steps, rate, rows of a batch, optimizer, its settings and the clip, as kernels.evaluate.learn takes them."""
        chosen = optimizer(self.optimizer)
        return (self.steps, self.learning_rate, min(self.batch_size or rows, rows), chosen.code,
                chosen.settings(self.l1, self.l2), self.clip_norm or 0.0)

    def check(self, genomes: "Genomes", rows: int, steps: int) -> None:
        """Refuse sequences whose every step would not fit in memory for the largest genome."""
        blocks = steps + genomes.recurrent
        nodes = int(genomes.n_nodes.max(initial=1))
        stride = tile_stride(nodes, blocks, self.arguments(rows)[2])
        if stride * blocks * nodes > MAX_BUFFER:
            raise ValueError(f"steps must be at most {MAX_BUFFER // (stride * nodes) - 1} for {nodes} nodes, as "
                             f"backpropagation keeps every step, got {steps}: cut the sequences")

    def learn(self, genomes: "Genomes", columns: Any, first: int, last: int, x: np.ndarray, y: np.ndarray, loss: int,
              seed: int, generation: int, index: int) -> None:
        """Train genomes first..last-1 in these columns; genome 0 is network number index of the generation.

        The mini-batches of genome i are in the order of the stream (seed, generation, LEARNING_STREAMS + index + i).
        """
        kernels.evaluate.learn(columns, activations.table(), genomes.n_inputs, genomes.n_outputs, genomes.recurrent,
                               first, last, x, y, loss, *self.arguments(len(x)), seed, generation,
                               LEARNING_STREAMS + index)


@dataclass(frozen=True)
class Lamarckian(Learning):
    """Every genome takes gradient steps on the problem's data, and its children inherit what it learned.

    Passed to a problem as `learning=`. The steps are those of `Network.train` and run inside the compiled batch; the
    order of the mini-batches of network i comes from the stream (seed, generation, 2^30 + i), which serves nothing
    else. A genome whose training does not stay finite keeps the numbers it had, and is measured with these.

    Parameters are those of `Learning`: ``Lamarckian(steps, learning_rate=0.01, optimizer="adam", batch_size=None,
    l1=0.0, l2=0.0, clip_norm=None)``.

    References
    ----------
    Whitley, Gordon & Mathias 1994, Lamarckian evolution, the Baldwin effect and function optimization.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.genomes import Genomes
    >>> from neuroprune.evolution.learning import Lamarckian
    >>> from neuroprune.evolution.problems import Dataset
    >>> x = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> genomes = Genomes.pack([npr.Network.dense([2, 8, 1], seed=seed) for seed in range(3)])
    >>> born = Dataset(x, [0, 1, 1, 0]).evaluate(genomes)
    >>> learned = Dataset(x, [0, 1, 1, 0], learning=Lamarckian(100, 0.05)).evaluate(genomes)
    >>> bool((learned > born).all()), bool((Dataset(x, [0, 1, 1, 0]).evaluate(genomes) == learned).all())
    (True, True)
    """

    inherits: ClassVar[bool] = True


@dataclass(frozen=True)
class Baldwinian(Learning):
    """Every genome takes gradient steps on a copy, which is measured; the genome itself stays as it was born.

    What is selected is the gift to learn (Hinton & Nowlan 1987). All else is as for `Lamarckian`.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.genomes import Genomes
    >>> from neuroprune.evolution.learning import Baldwinian
    >>> from neuroprune.evolution.problems import XOR
    >>> genomes = Genomes.pack([npr.Network.dense([2, 8, 1], seed=0)])
    >>> bool(XOR(learning=Baldwinian(100, 0.05)).evaluate(genomes)[0] > 3.9), bool(XOR().evaluate(genomes)[0] > 3.9)
    (True, False)
    """
