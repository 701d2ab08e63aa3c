"""What an evolution did, a row for each generation and one for each of its species."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroprune.network.atomic import write_atomically

INTEGERS = ("generation", "evaluations", "failed", "species", "best_connections", "removed", "regrown")
COLUMNS = ("generation", "evaluations", "best", "mean", "q10", "q25", "median", "q75", "q90", "failed", "species",
           "threshold", "hidden", "connections", "best_connections", "dead_nodes", "dead_connections", "sparsity",
           "removed", "regrown", "level")
SPECIES_COLUMNS = ("generation", "species", "size", "best")
QUANTILES = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}


class EvolutionHistory:
    """One row per generation, as columns.

    Attributes
    ----------
    generation, evaluations : int64 arrays
        Counted from 0, and evaluated networks so far.
    best, mean, q10, q25, median, q75, q90 : float64 arrays
        Of the fitness (higher is better) of the networks whose fitness is finite; NaN where there is none.
    failed : int64 array
        Networks whose fitness was NaN.
    species, threshold : arrays
        Number of species, and the compatibility distance that separated them.
    hidden, connections : float64 arrays
        Means over the population.
    best_connections : int64 array
        Connections of the generation's best network.
    dead_nodes, dead_connections : float64 arrays
        Dead weight: share of the hidden nodes that no input reaches or that reach no output, and of the connections
        from or to them. `net.trim()` removes such nodes without changing an output.
    sparsity : float64 array
        Mean over the population of 1 - connections / evolutionary baseline; 0 where there is no baseline.
    removed, regrown : int64 arrays
        Connections that pruning took and grew before this generation was evaluated.
    level : float64 array
        The sparsity that pruning asked for.
    species_sizes : dict of arrays
        Columns generation, species (its id), size and best: a row for each species of each generation.

    Examples
    --------
    >>> import neuroprune as npr
    >>> population = npr.Population(2, 1, size=20, seed=0)
    >>> _ = population.evolve(npr.XOR(), generations=3)
    >>> population.history.evaluations.tolist()
    [20, 40, 60]
    """

    def __init__(self) -> None:
        self._generations = _Rows(len(COLUMNS))
        self._species = _Rows(len(SPECIES_COLUMNS))

    def _append(self, row: dict, species: list[tuple]) -> None:
        self._generations.add([tuple(row[name] for name in COLUMNS)])
        self._species.add(species)

    def __len__(self) -> int:
        return self._generations.count

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in COLUMNS:
            raise AttributeError(f"a history has the columns {', '.join(COLUMNS)} and species_sizes, got {name!r}")
        return _column(self._generations.table[:, COLUMNS.index(name)], name in INTEGERS)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *COLUMNS]

    @property
    def last(self) -> dict[str, float]:
        """The row of the last generation."""
        return dict(zip(COLUMNS, self._generations.table[-1].tolist(), strict=True))

    @property
    def species_sizes(self) -> dict[str, np.ndarray]:
        """A row for each species of each generation, as columns."""
        table = self._species.table
        return {name: _column(table[:, i], name != "best") for i, name in enumerate(SPECIES_COLUMNS)}

    def _listed(self) -> list[tuple]:
        """Rows of Python numbers, whole ones as integers."""
        return list(zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True))

    def to_csv(self, path: Any) -> None:
        """Write the columns to a CSV file, atomically; numbers read back exactly."""
        def write(file: Any) -> None:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self._listed())

        write_atomically(Path(path), write, text=True)

    def to_jsonl(self, path: Any) -> None:
        """Write a JSON object for each generation, with its species, atomically; NaN and infinities become null."""
        species: dict[int, list] = {}
        columns = [column.tolist() for column in self.species_sizes.values()]
        for generation, name, size, best in zip(*columns, strict=True):
            species.setdefault(generation, []).append({"species": name, "size": size, "best": _plain(best)})

        def write(file: Any) -> None:
            for row in self._listed():
                values = {name: _plain(value) for name, value in zip(COLUMNS, row, strict=True)}
                values["species_sizes"] = species.get(row[0], [])
                file.write(json.dumps(values, allow_nan=False) + "\n")

        write_atomically(Path(path), write, text=True)

    def to_frame(self) -> Any:
        """The columns as a `pandas.DataFrame`; needs pandas."""
        try:
            import pandas
        except ImportError:
            raise ImportError("to_frame needs pandas, which is not installed: pip install pandas") from None
        return pandas.DataFrame({name: getattr(self, name) for name in COLUMNS})

    def __repr__(self) -> str:
        if not len(self):
            return "<EvolutionHistory: no generations>"
        return (f"<EvolutionHistory: {len(self)} generations, best {self.best[0]:.4g} -> {self.best[-1]:.4g}, "
                f"connections {self.connections[0]:.4g} -> {self.connections[-1]:.4g}>")


class _Rows:
    """A table of float64 that grows."""

    def __init__(self, width: int) -> None:
        self._room = np.zeros((0, width))
        self.count = 0

    def add(self, rows: Sequence[Sequence[float]]) -> None:
        """Append rows; the room doubles when it is full, so that a long run costs no more a row than a short one."""
        last = self.count + len(rows)
        if last > len(self._room):
            more = np.zeros((max(last, 2 * len(self._room)) - len(self._room), self._room.shape[1]))
            self._room = np.concatenate([self._room, more])
        if len(rows):
            self._room[self.count:last] = rows
        self.count = last

    @property
    def table(self) -> np.ndarray:
        """The rows (count, width)."""
        return self._room[:self.count]


def _column(column: np.ndarray, whole: bool) -> np.ndarray:
    return column.astype(np.int64 if whole else np.float64)


def _plain(value: Any) -> Any:
    return value if np.isfinite(value) else None


def fitness_row(fitness: np.ndarray) -> dict:
    """Mean and quantiles of the finite ones; how many are NaN."""
    finite = fitness[np.isfinite(fitness)]
    row = {"failed": int(np.isnan(fitness).sum())}
    if not finite.size:
        return row | {name: float("nan") for name in ("best", "mean", *QUANTILES)}
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers whose sum or difference is beyond floats
        quantiles = np.quantile(finite, list(QUANTILES.values())).tolist()
        mean = float(finite.mean())
    return row | dict(zip(QUANTILES, quantiles, strict=True)) | {"best": float(finite.max()), "mean": mean}
