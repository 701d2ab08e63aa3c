"""Figures over seeds: summaries, tables of Markdown, and JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import machine

DRAWS = 10_000  # samples of the bootstrap
SPREAD = (25, 75)  # percentiles that bracket the median
SURE = (2.5, 97.5)  # percentiles of the bootstrapped means that bracket the mean


def summary(values: list[float]) -> dict[str, float]:
    """Median with quartiles, mean with its bootstrapped 95% interval, lowest and highest."""
    values = np.asarray(values, float)
    drawn = np.random.default_rng(0).integers(values.size, size=(DRAWS, values.size))
    low, high = np.percentile(values, SPREAD)
    least, most = np.percentile(values[drawn].mean(axis=1), SURE)
    return {"median": float(np.median(values)), "quartiles": [float(low), float(high)], "mean": float(values.mean()),
            "interval": [float(least), float(most)], "lowest": float(values.min()), "highest": float(values.max())}


def median_cell(values: list[float], digits: int) -> str:
    """Median [lower quartile, upper quartile]."""
    found = summary(values)
    return f"{found['median']:,.{digits}f} [{', '.join(f'{value:,.{digits}f}' for value in found['quartiles'])}]"


def mean_cell(values: list[float], digits: int) -> str:
    """Mean (95% interval)."""
    found = summary(values)
    return f"{found['mean']:,.{digits}f} ({' to '.join(f'{value:,.{digits}f}' for value in found['interval'])})"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(path: Path, record: dict[str, Any], text: str) -> None:
    """The record as JSON with the machine, and the tables beside it as Markdown."""
    record = {"machine": machine(), **record}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
