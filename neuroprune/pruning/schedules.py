"""Schedules: when to prune, and how far. Frozen; `sparsity(step)` and `fires(step)` depend on nothing else.

A window runs from `start` to `end`, both included. It fires at `start`, every `frequency` steps after it, and at
`end` also where the frequency does not divide the window. With the progress p = (step - start) / (end - start),
clipped to [0, 1], the sparsity runs from 0 at the start to exactly the target at the end.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from numbers import Real
from operator import index


@dataclass(frozen=True)
class _Window:
    target: float
    start: int
    end: int
    frequency: int = 1

    def __post_init__(self) -> None:
        _check(self, start=0, end=0, frequency=1)

    def fires(self, step: int) -> bool:
        """Return whether this step prunes."""
        inside = self.start <= step <= self.end
        return inside and ((step - self.start) % self.frequency == 0 or step == self.end)

    def sparsity(self, step: int) -> float:
        """Return the sparsity to have reached by this step, in [0, target]."""
        if step >= self.end:
            return self.target
        return self._level((step - self.start) / (self.end - self.start) if step > self.start else 0.0)


@dataclass(frozen=True)
class Linear(_Window):
    """Sparsity in proportion to progress: `target * p`.

    Parameters
    ----------
    target : float
        Sparsity at the end, in (0, 1].
    start, end : int
        First and last step of the window; 0 <= start <= end.
    frequency : int, optional
        Steps between two prunings, at least 1.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> schedule = schedules.Linear(0.8, start=0, end=10, frequency=4)
    >>> [step for step in range(12) if schedule.fires(step)]
    [0, 4, 8, 10]
    >>> schedule.sparsity(5), schedule.sparsity(10)
    (0.4, 0.8)
    """

    def _level(self, progress: float) -> float:
        return self.target * progress


@dataclass(frozen=True)
class Cubic(_Window):
    """Fast first, slow at the end: `target * (1 - (1 - p)^3)`.

    Zhu & Gupta 2018, https://arxiv.org/abs/1710.01878, equation 1 with initial sparsity 0.

    Parameters
    ----------
    target : float
        Sparsity at the end, in (0, 1].
    start, end : int
        First and last step of the window; 0 <= start <= end.
    frequency : int, optional
        Steps between two prunings, at least 1.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> schedules.Cubic(1.0, start=0, end=10).sparsity(5)
    0.875
    """

    def _level(self, progress: float) -> float:
        return self.target * (1.0 - (1.0 - progress) ** 3)


@dataclass(frozen=True)
class Cosine(_Window):
    """Slow at both ends: `target * (1 - cos(pi p)) / 2`.

    Parameters
    ----------
    target : float
        Sparsity at the end, in (0, 1].
    start, end : int
        First and last step of the window; 0 <= start <= end.
    frequency : int, optional
        Steps between two prunings, at least 1.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> round(schedules.Cosine(0.8, start=0, end=10).sparsity(5), 12)
    0.4
    """

    def _level(self, progress: float) -> float:
        return self.target * (1.0 - math.cos(math.pi * progress)) / 2.0


@dataclass(frozen=True)
class Exponential(_Window):
    """The same share of what is left at every step: `1 - (1 - target)^p`.

    Parameters
    ----------
    target : float
        Sparsity at the end, in (0, 1].
    start, end : int
        First and last step of the window; 0 <= start <= end.
    frequency : int, optional
        Steps between two prunings, at least 1.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> schedules.Exponential(0.75, start=0, end=10).sparsity(5)
    0.5
    """

    def _level(self, progress: float) -> float:
        return 1.0 - (1.0 - self.target) ** progress


@dataclass(frozen=True)
class Curve(_Window):
    """A ramp of your own: `target * curve(p)`.

    Parameters
    ----------
    target : float
        Sparsity at the end, in (0, 1].
    start, end : int
        First and last step of the window; 0 <= start <= end.
    frequency : int, optional
        Steps between two prunings, at least 1.
    curve : callable
        From progress in [0, 1) to a share of the target in [0, 1]; anything else is a ValueError when it is met.
        At the end the target holds, whatever the curve says there.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> schedules.Curve(0.8, start=0, end=10, curve=lambda progress: progress**2).sparsity(5)
    0.2
    """

    curve: Callable[[float], float] = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.curve):
            raise TypeError(f"curve must be a function of progress, got {type(self.curve).__name__}")

    def _level(self, progress: float) -> float:
        share = float(self.curve(progress))
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"curve must return a share of the target in [0, 1], got {share} at progress {progress}")
        return self.target * share


@dataclass(frozen=True)
class OneShot:
    """Everything at one step.

    Parameters
    ----------
    target : float
        Sparsity from that step on, in (0, 1].
    step : int
        The step that prunes, at least 0.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> schedule = schedules.OneShot(0.8, step=3)
    >>> schedule.fires(3), schedule.sparsity(2), schedule.sparsity(3)
    (True, 0.0, 0.8)
    """

    target: float
    step: int

    def __post_init__(self) -> None:
        _check(self, step=0)

    def fires(self, step: int) -> bool:
        """Return whether this step prunes."""
        return step == self.step

    def sparsity(self, step: int) -> float:
        """Return the sparsity to have reached by this step: 0 or the target."""
        return self.target if step >= self.step else 0.0


@dataclass(frozen=True)
class Iterative:
    """Rounds that each remove the same share of what is left: `1 - (1 - target)^(r / rounds)` after round r.

    Frankle & Carbin 2019, https://arxiv.org/abs/1803.03635, section 2. The rounds are spaced evenly from `start`
    to `end`, the first at the start and the last at the end; a single round is at the end.

    Parameters
    ----------
    target : float
        Sparsity after the last round, in (0, 1].
    start, end : int
        Steps of the first and the last round; 0 <= start <= end.
    rounds : int
        How many, from 1 to the number of steps in the window.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> schedule = schedules.Iterative(0.75, start=10, end=30, rounds=2)
    >>> [(step, schedule.sparsity(step)) for step in range(40) if schedule.fires(step)]
    [(10, 0.5), (30, 0.75)]
    """

    target: float
    start: int
    end: int
    rounds: int

    def __post_init__(self) -> None:
        _check(self, start=0, end=0, rounds=1)
        if self.rounds > self.end - self.start + 1:
            raise ValueError(
                f"rounds must be at most the {self.end - self.start + 1} steps from start to end, got {self.rounds}"
            )

    def fires(self, step: int) -> bool:
        """Return whether a round happens at this step."""
        return self._round(step) != self._round(step - 1)

    def sparsity(self, step: int) -> float:
        """Return the sparsity to have reached by this step, in [0, target]."""
        done = self._round(step)
        return self.target if done == self.rounds else 1.0 - (1.0 - self.target) ** (done / self.rounds)

    def _round(self, step: int) -> int:
        """Return how many rounds are over after `step`."""
        if step >= self.end:
            return self.rounds
        if step < self.start or self.rounds == 1:
            return 0
        gaps = self.rounds - 1  # round r is at start + floor((r - 1) * length / gaps)
        return -(-(step - self.start + 1) * gaps // (self.end - self.start))


RAMPS = {"linear": Linear, "cubic": Cubic, "cosine": Cosine, "exponential": Exponential}


def make(ramp: str | Callable[[float], float], target: float, start: int, end: int, frequency: int = 1) -> _Window:
    """Return the schedule of a ramp that is given by name or as a function of progress.

    Parameters
    ----------
    ramp : {"linear", "cubic", "cosine", "exponential"} or callable
        A function takes progress in [0, 1) and returns a share of the target in [0, 1].
    target, start, end, frequency
        As in `Linear`.

    Raises
    ------
    ValueError
        No ramp has that name, or a number is out of range.

    Examples
    --------
    >>> from neuroprune.pruning import schedules
    >>> schedules.make("cubic", 0.9, start=1, end=100)
    Cubic(target=0.9, start=1, end=100, frequency=1)
    """
    if callable(ramp):
        return Curve(target, start, end, frequency, curve=ramp)
    if ramp in RAMPS:
        return RAMPS[ramp](target, start, end, frequency)
    near = get_close_matches(str(ramp), RAMPS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(RAMPS)} or pass a function"
    raise ValueError(f"ramp must be the name of a ramp or a function of progress, got {ramp!r}: {hint}")


def _check(schedule: object, **least: int) -> None:
    """Put plain numbers in place of what was given, or raise."""
    target = schedule.target
    if not isinstance(target, Real) or not 0 < target <= 1:
        raise ValueError(f"target must be a sparsity in (0, 1], got {target!r}")
    object.__setattr__(schedule, "target", float(target))
    for name, bound in least.items():
        value = getattr(schedule, name)
        try:
            number = index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer of at least {bound}, got {value!r}") from None
        if number < bound:
            raise ValueError(f"{name} must be an integer of at least {bound}, got {number}")
        object.__setattr__(schedule, name, number)
    if "end" in least and schedule.end < schedule.start:
        raise ValueError(f"end must be at least start, {schedule.start}, got {schedule.end}")
