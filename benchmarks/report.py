"""What the benchmarks found: rows, the table, JSON and the file of results."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.timing import Timing, seconds

PACKAGES = ("numpy", "numba", "scipy", "torch", "neat-python", "multineat", "gymnasium")
HEADER = ("work", "ours", "peer", "peer's figure", "ratio", "target", "met")


@dataclass(frozen=True)
class Target:
    """What has to hold for a row; `holds` gets our seconds and the peer's."""

    words: str
    holds: Callable[[float, float], bool]


def faster(times: float) -> Target:
    """The peer takes at least `times` as long as we do."""
    return Target(f"at least {times:g}x faster", lambda ours, peer: peer >= times * ours)


def at_most(times: float) -> Target:
    """We take at most `times` as long as the peer."""
    return Target(f"at most {times:g}x the peer", lambda ours, peer: ours <= times * peer)


def within(limit: float) -> Target:
    """We take at most so many seconds, whatever the peer does."""
    return Target(f"at most {seconds(limit)}", lambda ours, peer: ours <= limit)


@dataclass(frozen=True)
class Row:
    """One line of the table. A row without our timing or the peer's says why in `note`."""

    work: str
    ours: Timing | None
    peer: str = ""
    theirs: Timing | None = None
    target: Target | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target holds; None without a target or without what it compares."""
        if self.target is None or self.ours is None or (self.theirs is None and self.peer):
            return None
        return self.target.holds(self.ours.median, self.theirs.median if self.theirs else float("nan"))

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of HEADER."""
        return (self.work, str(self.ours or ""), self.peer, str(self.theirs or self.note), self._ratio(),
                self.target.words if self.target else "", {True: "yes", False: "NO", None: ""}[self.met])

    def _ratio(self) -> str:
        if self.ours is None or self.theirs is None:
            return ""
        ratio = self.theirs.median / self.ours.median
        return f"{ratio:.3g}x faster" if ratio >= 1.0 else f"{1.0 / ratio:.3g}x as long"

    def record(self) -> dict:
        """The row as plain types for JSON; times in seconds."""
        return {"work": self.work, "ours": _times(self.ours), "peer": self.peer, "theirs": _times(self.theirs),
                "target": self.target.words if self.target else None, "met": self.met, "note": self.note}


def missing(work: str, peer: str, extra: str = "'.[bench]'") -> Row:
    """The row of a peer that is not installed."""
    return Row(work, None, peer, note=f"peer missing: pip install {extra}")


def named(package: str) -> str:
    """The package with its version."""
    return f"{package} {version(package)}"


def machine() -> dict:
    """What the numbers were taken on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
            else os.cpu_count(), "system": platform.system(), "python": platform.python_version(), **versions,
            "date": date.today().isoformat()}


def table(rows: list[Row]) -> str:
    """The rows as a table of Markdown with aligned columns."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in lines]
    text.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(text)


def notes(rows: list[Row]) -> str:
    """The remarks of rows that have figures, one a line."""
    return "\n".join(f"- {row.work}: {row.note}" for row in rows if row.note and row.ours)


def write_json(path: Path, rows: list[Row], command: str) -> None:
    """Write machine, command and rows."""
    record = {"command": command, "machine": machine(), "rows": [row.record() for row in rows]}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def write_markdown(path: Path, rows: list[Row], command: str) -> None:
    """Write the results for readers."""
    place = machine()
    text = f"""# Results

`{command}` on {place["date"]}: {place["processor"]}, {place["cores"]} cores, {place["system"]}, \
Python {place["python"]}, {", ".join(f"{package} {place[package]}" for package in PACKAGES)}.

Each figure is the median of at least 5 turns, with the shortest and the longest in brackets. Ours and the peer take
turns in one process; both compute in float64 unless the row says otherwise, and their results were compared first.

{table(rows)}

{notes(rows)}
"""
    path.write_text(text.rstrip() + "\n", encoding="utf-8")


def _times(timing: Timing | None) -> dict | None:
    return None if timing is None else {"median": timing.median, "shortest": timing.shortest,
                                        "longest": timing.longest, "turns": timing.turns}


def _processor() -> str:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
