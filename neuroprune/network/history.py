"""What a training run did, as columns."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from neuroprune.network.atomic import write_atomically

COLUMNS = ("iteration", "loss", "validation_loss", "connections", "sparsity", "gradient_norm")


class History:
    """One row per optimizer step, as columns.

    Attributes
    ----------
    iteration, connections : int64 arrays
    loss, validation_loss, sparsity, gradient_norm : float64 arrays
        `loss` is that of the mini-batch before the step; `validation_loss` is NaN where it was not computed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([1, 1], seed=0)
    >>> history = net.train([[0.0], [1.0]], [[1.0], [3.0]], iterations=200, learning_rate=0.1)
    >>> len(history), bool(history.loss[-1] < history.loss[0])
    (200, True)
    """

    def __init__(self) -> None:
        self._count = 0
        self._columns = {name: np.zeros(0, np.int64 if name in ("iteration", "connections") else np.float64)
                         for name in COLUMNS}

    def _extend(self, first: int, losses: np.ndarray, norms: np.ndarray, connections: int, sparsity: float) -> None:
        rows = slice(self._count, self._count + losses.size)
        room = self._columns["loss"].size
        if rows.stop > room:  # training may stop long before its last iteration, so room grows with the steps
            more = max(rows.stop, 2 * room) - room
            self._columns = {name: np.append(column, np.zeros(more, column.dtype))
                             for name, column in self._columns.items()}
        self._columns["validation_loss"][rows] = np.nan
        self._columns["iteration"][rows] = np.arange(first, first + losses.size)
        self._columns["loss"][rows] = losses
        self._columns["gradient_norm"][rows] = norms
        self._columns["connections"][rows] = connections
        self._columns["sparsity"][rows] = sparsity
        self._count += losses.size

    def _validated(self, loss: float) -> None:
        self._columns["validation_loss"][self._count - 1] = loss

    def __len__(self) -> int:
        return self._count

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in COLUMNS:
            raise AttributeError(f"a history has the columns {', '.join(COLUMNS)}, got {name!r}")
        return self._columns[name][:self._count]

    def to_csv(self, path: Any) -> None:
        """Write the columns to a CSV file, atomically; numbers read back exactly."""
        def write(file: Any) -> None:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True))

        write_atomically(Path(path), write, text=True)

    def to_frame(self) -> Any:
        """The columns as a `pandas.DataFrame`; needs pandas."""
        try:
            import pandas
        except ImportError:
            raise ImportError("to_frame needs pandas, which is not installed: pip install pandas") from None
        return pandas.DataFrame({name: getattr(self, name) for name in COLUMNS})

    def __repr__(self) -> str:
        if not self._count:
            return "<History: no steps>"
        return (f"<History: {self._count} steps, loss {self.loss[0]:.4g} -> {self.loss[-1]:.4g}, "
                f"connections {self.connections[0]} -> {self.connections[-1]}>")
