"""Tables of numbers from CSV files, split into training and held-out rows, and scaled for a network.

A network learns on standardised columns, but the one that is kept takes and gives raw units: `Scaling.fold` moves the
standardisation into its weights and biases.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from neuroprune.network.network import Network

LEAST_ROWS = 10  # fewer cannot be split into some to learn from and some to judge by
LARGEST = 1e150  # squares of more overflow
MOST_CLASSES = 20  # a target of more different integers is a quantity
TASKS = ("auto", "classification", "regression")


@dataclass(frozen=True)
class Table:
    """A table with one column picked as the target.

    Attributes
    ----------
    columns : tuple of str
        Names of the input columns.
    x : float64 array (rows, len(columns))
    target : str
        Name of the target column.
    y : int64 array (rows,) of indices into `classes`, or float64 array (rows,)
    classes : tuple of str, int or float; None for regression
        Ascending.
    """

    columns: tuple[str, ...]
    x: np.ndarray
    target: str
    y: np.ndarray
    classes: tuple | None

    def __len__(self) -> int:
        return len(self.y)


def read(path: Any, target: str, task: str = "auto", ignore: Sequence[str] = ()) -> Table:
    """Read a CSV file with a header; all columns but the target must hold numbers.

    Cells are separated by commas, semicolons or tabs, whichever the header has most of. Blank lines are passed over.

    Parameters
    ----------
    path : path
    target : str
        The column to predict.
    task : "auto", "classification" or "regression"
        "auto" takes a target of numbers for a quantity, unless they are at most 20 different integers, each there
        twice on average; anything else is a class.
    ignore : sequence of str
        Columns to leave out.

    Raises
    ------
    ValueError
        For a column that does not exist (with the nearest name), one named twice, rows of another length than the
        header, a cell that is no finite number (by row and column), a column with only one value, fewer than 10
        rows, or a file that is not text.
    OSError
        When the file cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from neuroprune import tables
    >>> _ = Path("plants.csv").write_text("height,kind\\n" + "1.5,moss\\n2.5,fern\\n" * 5)
    >>> table = tables.read("plants.csv", "kind")
    >>> table.x[:2].tolist(), table.y[:2].tolist(), table.classes
    ([[1.5], [2.5]], [1, 0], ('fern', 'moss'))
    """
    header, rows, lines = _cells(Path(path))
    for name in (target, *ignore):
        if name not in header:
            near = get_close_matches(name, header, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(header)}"
            raise ValueError(f"column must be one of the {len(header)} of {path}, got {name!r}: {hint}")
    inputs = [i for i, name in enumerate(header) if name != target and name not in ignore]
    if not inputs:
        raise ValueError(f"{path} must have a column besides the target {target!r}, got none")
    if len(rows) < LEAST_ROWS:
        raise ValueError(f"{path} must have at least {LEAST_ROWS} rows, to learn from some and judge by the others, "
                         f"got {len(rows)}")
    x = np.empty((len(rows), len(inputs)))
    for j, i in enumerate(inputs):
        x[:, j] = _numbers([row[i] for row in rows], header[i], lines)
        if (x[:, j] == x[0, j]).all():
            raise ValueError(f"column {header[i]!r} must vary, got {x[0, j]:g} in every row: leave it out with "
                             f"--ignore")
    cells = [row[header.index(target)] for row in rows]
    y, classes = _target(cells, target, task, lines)
    return Table(tuple(header[i] for i in inputs), x, target, y, classes)


def _cells(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows of stripped cells, and the line of the file in which each row ends."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
            records = [([cell.strip() for cell in record], reader.line_num) for record in reader if record]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8, got one that is not: {error}") from None
    if not records:
        raise ValueError(f"{path} must have a header and rows, got an empty file")
    header = records[0][0]
    for place, name in enumerate(header, start=1):
        if not name:
            raise ValueError(f"every column of {path} must have a name, got none for column {place}: write a header")
        if header.index(name) < place - 1:
            raise ValueError(f"columns of {path} must have different names, got {name!r} twice")
    for number, (record, line) in enumerate(records[1:], start=1):
        if len(record) != len(header):
            raise ValueError(f"every row of {path} must have {len(header)} cells as the header, got {len(record)} in "
                             f"row {number} (line {line})")
    return header, [record for record, _ in records[1:]], [line for _, line in records[1:]]


def _number(cell: str) -> float:
    """The number in a cell; NaN where there is none. Python's underscores are none."""
    try:
        return float(cell) if "_" not in cell else np.nan
    except ValueError:
        return np.nan


def _numbers(cells: list[str], column: str, lines: list[int]) -> np.ndarray:
    """A column of numbers, or an error that names the first cell that is none."""
    values = np.array([_number(cell) for cell in cells])
    wrong = np.flatnonzero(~(np.abs(values) <= LARGEST))
    if wrong.size:
        row = int(wrong[0])
        hint = "fill it in" if not cells[row] else "leave the column out with --ignore, or correct it"
        wanted = f"a number of at most {LARGEST:g}" if np.isfinite(values[row]) else "a finite number"
        raise ValueError(f"a cell must hold {wanted}, got {cells[row]!r} in row {row + 1} (line {lines[row]}), "
                         f"column {column!r}: {hint}")
    return values


def _target(cells: list[str], column: str, task: str, lines: list[int]) -> tuple[np.ndarray, tuple | None]:
    """(y, classes) of the target column."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if "" in cells:
        row = cells.index("")
        raise ValueError(f"a cell of the target must not be empty, got '' in row {row + 1} (line {lines[row]}), column "
                         f"{column!r}: fill it in")
    numbers = np.array([_number(cell) for cell in cells])
    numeric = bool(np.isfinite(numbers).all())
    if task == "auto":
        distinct = np.unique(numbers).size
        few = distinct <= MOST_CLASSES and 2 * distinct <= len(cells)
        whole = numeric and bool((numbers == np.floor(numbers)).all())
        task = "regression" if numeric and not (whole and few) else "classification"
    if task == "regression":
        y, classes = _numbers(cells, column, lines), None
        alone = bool((y == y[0]).all())
    else:
        labels = [int(value) if value.is_integer() else value for value in numbers.tolist()] if numeric else cells
        classes = tuple(sorted(set(labels)))
        index = {label: i for i, label in enumerate(classes)}
        y, alone = np.array([index[label] for label in labels]), len(classes) == 1
    if alone:
        raise ValueError(f"the target {column!r} must vary, got {cells[0]} in every row: choose another column")
    return y, classes


def split(y: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw (training rows, held-out rows), both ascending; integer classes keep their shares.

    Of n rows of a class, round(share * n) are held out, at least one of all and never all of a class.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import tables
    >>> kept, held_out = tables.split(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, np.random.default_rng(0))
    >>> len(kept), len(held_out)
    (6, 2)
    """
    groups = [np.flatnonzero(y == label) for label in np.unique(y)] if y.dtype.kind in "iu" else [np.arange(len(y))]
    chosen = [rng.permutation(rows)[:min(round(share * rows.size), rows.size - 1)] for rows in groups]
    held_out = np.sort(np.concatenate(chosen))
    if not held_out.size:
        largest = max(groups, key=len)
        if largest.size < 2:
            raise ValueError(f"a class must have at least two rows, one to learn from and one to judge by, got "
                             f"{len(groups)} classes in {len(y)} rows: choose another target or another task")
        held_out = rng.permutation(largest)[:1]
    return np.setdiff1d(np.arange(len(y)), held_out), held_out


@dataclass(frozen=True)
class Scaling:
    """Means and standard deviations of the columns, and of a target that is a quantity.

    Attributes
    ----------
    mean, scale : float64 arrays (n_inputs,)
        Scales are positive: 1 for a column without spread.
    target_mean, target_scale : float
        0 and 1 for classes.
    """

    mean: np.ndarray
    scale: np.ndarray
    target_mean: float = 0.0
    target_scale: float = 1.0

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> "Scaling":
        """That of these rows: x (rows, n_inputs), y (rows,) of classes (integers) or quantities."""
        mean, scale = _moments(x)
        if y.dtype.kind in "iu":
            return cls(mean, scale)
        return cls(mean, scale, *(float(moment) for moment in _moments(y)))

    def standardise(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows as a network learns from them."""
        inputs = (x - self.mean) / self.scale
        return inputs, y if y.dtype.kind in "iu" else (y - self.target_mean) / self.target_scale

    def fold(self, net: "Network") -> None:
        """Let a network of standardised columns take and give raw units: the same outputs, up to rounding.

        With z = (x - mean) / scale, a connection from an input gets w / scale, its target's bias loses
        w * mean / scale; what leads into an output, and its bias, are multiplied by the target's scale, and the
        target's mean is added. The activation of the outputs must be the identity. An accumulated gradient, which
        was that of the former weights, is dropped.

        Examples
        --------
        >>> import numpy as np
        >>> import neuroprune as npr
        >>> from neuroprune import tables
        >>> net = npr.Network.from_connections(1, 1, [(0, 1, 3.0)], activation="identity")
        >>> tables.Scaling(np.array([10.0]), np.array([2.0])).fold(net)
        >>> net([10.0]).tolist(), net([12.0]).tolist()
        ([0.0], [3.0])
        """
        graph, weight, bias = net.graph, net.connections.weight, net.nodes.bias
        first = np.flatnonzero(graph.source < graph.n_inputs)
        weight[first] /= self.scale[graph.source[first]]
        np.subtract.at(bias, graph.target[first], weight[first] * self.mean[graph.source[first]])
        outputs = slice(graph.n_nodes - graph.n_outputs, None)
        weight[graph.target >= outputs.start] *= self.target_scale
        bias[outputs] = bias[outputs] * self.target_scale + self.target_mean
        net.connections.accumulated_gradient = None

    def units(self, net: "Network") -> np.ndarray:
        """What each weight of a folded network has to be multiplied by to be as it was before, float64 (E,).

        Sizes of weights say something about their importance only before folding.
        """
        graph = net.graph
        factor = np.where(graph.target >= graph.n_nodes - graph.n_outputs, 1.0 / self.target_scale, 1.0)
        first = np.flatnonzero(graph.source < graph.n_inputs)
        factor[first] *= self.scale[graph.source[first]]
        return factor


def _moments(values: np.ndarray) -> tuple[Any, Any]:
    """Mean and standard deviation over the rows, 1 where all are equal."""
    return values.mean(axis=0), np.where(np.ptp(values, axis=0) > 0.0, values.std(axis=0), 1.0)
