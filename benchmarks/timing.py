"""Timing: contestants take turns, and a microsecond of work is repeated until the clock can see it."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

REPEATS = 9  # turns of each contestant
QUICK_REPEATS = 5
TURN = 0.05  # seconds of one turn at least, where no fresh object is needed for each call
QUICK_TURN = 0.002


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median over the turns, the shortest and the longest."""

    median: float
    shortest: float
    longest: float
    turns: int

    def __str__(self) -> str:
        return f"{seconds(self.median)} ({seconds(self.shortest)} to {seconds(self.longest)})"


@dataclass(frozen=True)
class Contestant:
    """What is timed: `work(*setup())`. Without a setup the work is repeated within a turn."""

    work: Callable[..., Any]
    setup: Callable[[], tuple] | None = None
    turns: int | None = None  # fewer than usual for what takes seconds


def take_turns(*contestants: Contestant | Callable[[], Any], quick: bool = False) -> list[Timing]:
    """Time the contestants in turns (A B A B ...), so that a busy moment of the machine meets all of them.

    Each runs once before, which compiles and fills caches.
    """
    entered = [entry if isinstance(entry, Contestant) else Contestant(entry) for entry in contestants]
    turns = QUICK_REPEATS if quick else REPEATS
    counts = [_count(entry, QUICK_TURN if quick else TURN) for entry in entered]
    taken: list[list[float]] = [[] for _ in entered]
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(turns):
            for entry, count, times in zip(entered, counts, taken, strict=True):
                if entry.turns is None or turn < entry.turns:
                    times.append(_turn(entry, count))
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return [summary(times) for times in taken]


def summary(times: list[float]) -> Timing:
    """The timing that a list of seconds makes."""
    return Timing(median(times), min(times), max(times), len(times))


def _turn(entry: Contestant, count: int) -> float:
    arguments = () if entry.setup is None else entry.setup()
    work = entry.work
    start = perf_counter()
    for _ in range(count):
        work(*arguments)
    return (perf_counter() - start) / count


def _count(entry: Contestant, least: float) -> int:
    """How many calls fill a turn; one where each call needs a fresh object. Warms up on the way."""
    if entry.turns == 1:
        return 1
    _turn(entry, 1)
    if entry.setup is not None:
        return 1
    count = 1
    while (taken := _turn(entry, count) * count) < least:
        count = max(2 * count, min(int(1.2 * count * least / taken), 100 * count))
    return count


def seconds(value: float) -> str:
    """A duration with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:.0f} {unit}"
    return f"{value * 1e9:.3g} ns"
