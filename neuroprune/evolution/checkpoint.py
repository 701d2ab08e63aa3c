"""When a run is saved while it goes on."""

import time
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroprune.evolution import files
from neuroprune.network.create import count_of
from neuroprune.network.views import check_number

if TYPE_CHECKING:
    from neuroprune.evolution.population import Population

PLAIN_MINUTES = 1.0 / 6.0  # between two savings where only a path is given


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `evolve` saves the population; at the end it always does.

    Attributes
    ----------
    path : path of a `.npz` file
        Replaced atomically: whenever the process dies, a complete former state is there.
    generations : int or None
        Save after every so many generations.
    minutes : float or None
        Save after the generation that ends this long after the last saving.

    Examples
    --------
    >>> import os, tempfile
    >>> import neuroprune as npr
    >>> population = npr.Population(2, 1, size=20, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run.npz")
    ...     _ = population.evolve(npr.XOR(), 4, checkpoint=npr.Checkpoint(path, generations=2))
    ...     npr.Population.load(path).generation
    4
    """

    path: Any
    generations: int | None = 1
    minutes: float | None = None

    def __post_init__(self) -> None:
        if Path(self.path).suffix != ".npz":
            raise ValueError(f"a checkpoint must be a .npz file, got {str(self.path)!r}")
        if not Path(self.path).parent.is_dir():
            raise FileNotFoundError(f"a checkpoint needs a folder that exists, got {str(Path(self.path).parent)!r}: "
                                    "make it first")
        if self.generations is not None:
            object.__setattr__(self, "generations", count_of(self.generations, "generations", 1))
        if self.minutes is not None and check_number(self.minutes, "minutes") < 0.0:
            raise ValueError(f"minutes must be at least 0, got {self.minutes}")


class Saver:
    """Saves a population as one Checkpoint says, or never."""

    def __init__(self, plan: Checkpoint | None) -> None:
        self._plan = plan
        self._since = 0
        self._last = time.monotonic()
        self._saved: tuple | None = None

    def after_generation(self, population: "Population") -> None:
        """Save when it is time to."""
        plan = self._plan
        self._since += 1
        if plan is None:
            return
        by_time = plan.minutes is not None and time.monotonic() - self._last >= 60.0 * plan.minutes
        if by_time or (plan.generations is not None and self._since >= plan.generations):
            self._save(population)

    def at_end(self, population: "Population") -> None:
        """Save what was not saved yet."""
        if self._plan is not None and self._saved != _state_of(population):
            self._save(population)

    def _save(self, population: "Population") -> None:
        population.save(self._plan.path)
        self._saved = _state_of(population)
        self._since, self._last = 0, time.monotonic()


def _state_of(population: "Population") -> tuple:
    return population.generation, population._fitness is None


def saver(checkpoint: Any, population: "Population") -> Saver:
    """The saver of a Checkpoint, of a path, or of None; refuses at once what could not be saved later."""
    if isinstance(checkpoint, (str, PathLike)):
        checkpoint = Checkpoint(checkpoint, generations=None, minutes=PLAIN_MINUTES)
    if checkpoint is not None:
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(f"checkpoint must be a path or a Checkpoint, got {type(checkpoint).__name__}")
        files.pruning_to_json(population.pruning)
    return Saver(checkpoint)
