"""Decays: which share of what is present an update of dynamic sparse training drops. Frozen; `rate(step)`.

Steps count optimizer steps, as schedules do. A rate is a share in [0, 1]; from `until` on it stays where it ends.
`npr.Rewire(fraction=...)` takes any of these, a number, or a function of the step.
"""

import math
from dataclasses import dataclass
from numbers import Real

from neuroprune.pruning.checks import integer


@dataclass(frozen=True)
class Constant:
    """The same share at every update.

    Parameters
    ----------
    initial : float
        The share, in [0, 1].

    Examples
    --------
    >>> from neuroprune.pruning import decay
    >>> decay.Constant(0.3).rate(1000)
    0.3
    """

    initial: float

    def __post_init__(self) -> None:
        _check_shares(self, "initial")

    def rate(self, step: int) -> float:
        """Return the share of this step."""
        return self.initial


@dataclass(frozen=True)
class _Falling:
    initial: float
    until: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check_shares(self, "initial", "floor")
        object.__setattr__(self, "until", integer(self.until, "until", 1, None, "the step at which the decay ends"))


@dataclass(frozen=True)
class Cosine(_Falling):
    """Half a cosine from `initial` down to `floor`: `floor + (initial - floor) (1 + cos(pi step / until)) / 2`.

    Evci et al. 2020 (RigL), https://arxiv.org/abs/1911.11134, section 3, equation for f_decay.

    Parameters
    ----------
    initial : float
        The share at step 0, in [0, 1].
    until : int
        The step from which on the share is `floor`, at least 1.
    floor : float, optional
        The share at the end, in [0, 1].

    Examples
    --------
    >>> from neuroprune.pruning import decay
    >>> [round(decay.Cosine(0.3, until=100).rate(step), 12) for step in (0, 50, 100, 150)]
    [0.3, 0.15, 0.0, 0.0]
    """

    def rate(self, step: int) -> float:
        """Return the share of this step."""
        if step >= self.until:
            return self.floor
        return self.floor + (self.initial - self.floor) * (1.0 + math.cos(math.pi * step / self.until)) / 2.0


@dataclass(frozen=True)
class Linear(_Falling):
    """A straight line from `initial` down to `floor`.

    Parameters
    ----------
    initial : float
        The share at step 0, in [0, 1].
    until : int
        The step from which on the share is `floor`, at least 1.
    floor : float, optional
        The share at the end, in [0, 1].

    Examples
    --------
    >>> from neuroprune.pruning import decay
    >>> [decay.Linear(0.5, until=100).rate(step) for step in (0, 50, 100, 150)]
    [0.5, 0.25, 0.0, 0.0]
    """

    def rate(self, step: int) -> float:
        """Return the share of this step."""
        if step >= self.until:
            return self.floor
        return float(self.initial + (self.floor - self.initial) * (step / self.until))


@dataclass(frozen=True)
class Magnitude:
    """What gradual magnitude pruning removes at each update, as a share of the whole array, not of what is present.

    Zhu & Gupta 2018, https://arxiv.org/abs/1710.01878, equation 1:
    cumulative(t) = target + (initial - target) (1 - (t - start) / (end - start))^3 between `start` and `end`,
    `initial` before and `target` after. `schedules.Cubic` is the same curve from 0 for what prunes on schedule.

    Parameters
    ----------
    target : float
        Sparsity from `end` on, in [0, 1].
    start, end : int
        The window of steps; 0 <= start < end.
    frequency : int, optional
        Steps between two updates, at least 1.
    initial : float, optional
        Sparsity before `start`, in [0, target].

    Examples
    --------
    >>> from neuroprune.pruning import decay
    >>> amounts = decay.Magnitude(0.8, start=0, end=100, frequency=50)
    >>> [round(amounts.rate(step), 12) for step in (0, 50, 100, 150)]
    [0.0, 0.7, 0.1, 0.0]
    >>> round(amounts.rate(50, current=0.6), 12)
    0.1
    """

    target: float
    start: int
    end: int
    frequency: int = 1
    initial: float = 0.0

    def __post_init__(self) -> None:
        _check_shares(self, "target", "initial")
        if self.initial > self.target:
            raise ValueError(f"initial must be at most the target, {self.target}, got {self.initial}: sparsity only "
                             "rises")
        for name, least in (("start", 0), ("frequency", 1)):
            object.__setattr__(self, name, integer(getattr(self, name), name, least, None, "a number of steps"))
        object.__setattr__(self, "end", integer(self.end, "end", self.start + 1, None, "the end of the window"))

    def cumulative(self, step: int) -> float:
        """Return the sparsity to have reached by this step."""
        if step < self.start:
            return self.initial
        if step >= self.end:
            return self.target
        left = 1.0 - (step - self.start) / (self.end - self.start)
        return float(self.target + (self.initial - self.target) * left**3)

    def rate(self, step: int, current: float | None = None) -> float:
        """Return the share to remove at this step, from the sparsity `current` or that of the update before."""
        before = self.cumulative(step - self.frequency) if current is None else current
        return max(0.0, self.cumulative(step) - before)


def _check_shares(decay: object, *names: str) -> None:
    for name in names:
        value = getattr(decay, name)
        if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be a share in [0, 1], got {value!r}")
        object.__setattr__(decay, name, float(value))
