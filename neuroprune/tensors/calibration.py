"""Calibration: what each weight is multiplied with, summed over samples.

For every weight of a PyTorch model or of a list of dense layers: the sum of the squares of its inputs, and on request
their products, from which the scorers that look at activations get their signals. Sums are in float64 over blocks of a
fixed number of rows, whatever the batches were: how the samples were batched does not matter, to the bit where the
inputs themselves agree to the bit.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import checks, saliency
from neuroprune.tensors.dense import DenseLayer, taken

BLOCK = 512  # rows that are summed at once


class Sums:
    """Sums over rows of (blocks, features) numbers, each block of features for itself.

    Parameters
    ----------
    hessian : bool
        Whether the products of the features are summed as well as their squares.
    """

    def __init__(self, hessian: bool) -> None:
        self.hessian = hessian
        self.rows = 0
        self.squares: Any = None
        self.products: Any = None
        self._waiting: list[Any] = []
        self._waits = 0

    def add(self, rows: Any) -> None:
        """Take rows of shape (rows, blocks, features)."""
        start, length = 0, int(rows.shape[0])
        while self._waits + length - start >= BLOCK:
            stop = start + BLOCK - self._waits
            self._sum([*self._waiting, rows[start:stop]])
            self._waiting, self._waits, start = [], 0, stop
        if start < length:
            self._waiting.append(rows[start:] + 0)  # a copy: what it came from may change, and need not stay
            self._waits += length - start

    def finish(self) -> None:
        """Sum what still waits for a whole block."""
        if self._waiting:
            self._sum(self._waiting)
            self._waiting, self._waits = [], 0

    def _sum(self, parts: list[Any]) -> None:
        xp = arrays.library(parts[0])
        rows = arrays.double(xp.concat(parts))
        squares = (rows * rows).sum(0)
        products = xp.matmul(xp.moveaxis(rows, 0, 2), xp.moveaxis(rows, 0, 1)) if self.hessian else None
        self.rows += int(rows.shape[0])
        self.squares = squares if self.squares is None else self.squares + squares
        if products is not None:
            self.products = products if self.products is None else self.products + products


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one weight was multiplied with.

    The rows of a weight `(out, ...)` come in blocks of equal size that see different inputs: one for a linear layer,
    one per group of a convolution, three for the joint projection of query, key and value.

    Attributes
    ----------
    shape : tuple of int
        Of the weight.
    rows : tuple of int
        How many inputs each block saw: samples, times positions where a weight is used at several of them.
    squares : float64 array (blocks, features)
        Sum of the squares.
    products : float64 array (blocks, features, features) or None
        Sum of the products of any two features.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.calibration import Inputs
    >>> inputs = Inputs(shape=(3, 2), rows=(4,), squares=np.array([[16.0, 4.0]]))
    >>> inputs.input_norm, inputs.second_moment
    (array([4., 2.]), array([4., 1.]))
    """

    shape: tuple[int, ...]
    rows: tuple[int, ...]
    squares: Any
    products: Any = None

    @property
    def input_norm(self) -> Any:
        """The L2 norm of each input over all rows, in a shape that broadcasts to the weight."""
        return self._spread(self.squares**0.5)

    @property
    def second_moment(self) -> Any:
        """The mean square of each input, in a shape that broadcasts to the weight."""
        return self._spread(self.squares / self._per_block(1))

    @property
    def hessian(self) -> Any:
        """H = 2/n X^T X of each block, (blocks, features, features): that of the squared error of the layer's outputs.

        Raises
        ------
        ValueError
            The calibration did not collect Hessians.
        """
        if self.products is None:
            raise ValueError("the calibration must have collected Hessians, got none: pass hessian=True to calibrate")
        return self.products * (2.0 / self._per_block(2))

    def inverse_hessian_diagonal(self, damping: float = 0.01) -> Any:
        """Return the diagonal of (H + damping mean(diag H) I)^-1, in a shape that broadcasts to the weight.

        Where all inputs were 0, the damping alone is added, so that there is an inverse.

        Raises
        ------
        ValueError
            The Hessian is not positive definite, or was not collected.
        """
        if not 0 <= damping < math.inf:
            raise ValueError(f"damping must be at least 0 and finite, got {damping}")
        found = []
        for matrix in self.hessian:
            matrix = np.array(arrays.host(matrix.cpu() if hasattr(matrix, "cpu") else matrix))
            mean = matrix.diagonal().mean()
            matrix[np.diag_indices_from(matrix)] += damping * (mean if mean > 0 else 1.0)  # inputs may all be 0
            try:
                root = np.linalg.inv(np.linalg.cholesky(matrix))
            except np.linalg.LinAlgError:
                raise ValueError(
                    f"the Hessian must be positive definite, got one that is not with damping={damping}: "
                    "raise the damping, or calibrate on more samples"
                ) from None
            found.append((root**2).sum(0))
        return self._spread(arrays.like(np.stack(found), self.squares))

    def _per_block(self, axes: int) -> Any:
        """The number of rows of each block as an array with so many axes of length 1 after it."""
        return arrays.like(np.array(self.rows, float).reshape(-1, *[1] * axes), self.squares)

    def _spread(self, values: Any) -> Any:
        """Numbers per block and feature, for every row of the weight where blocks differ."""
        blocks, out, xp = len(self.rows), self.shape[0], arrays.library(values)
        if blocks == 1:
            return xp.reshape(values, self.shape[1:])
        whole = xp.broadcast_to(xp.reshape(values, (blocks, 1, -1)), (blocks, out // blocks, int(values.shape[1])))
        return xp.reshape(whole, self.shape)


class Calibration(Mapping[str, Inputs]):
    """What each weight was multiplied with, by name; weights that saw nothing are not in it.

    Names are those of `Masking` for a PyTorch model, "0", "1", ... for a list of dense layers. A mapping from name to
    `Inputs`.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.calibration import calibrate
    >>> from neuroprune.tensors.dense import DenseLayer
    >>> calibration = calibrate([DenseLayer(np.eye(2)), DenseLayer(np.ones((1, 2)))], [np.ones((4, 2))])
    >>> list(calibration), calibration["0"].rows
    (['0', '1'], (4,))
    """

    def __init__(self, inputs: Mapping[str, Inputs]) -> None:
        self._inputs = dict(inputs)

    def __getitem__(self, name: str) -> Inputs:
        if name not in self._inputs:
            raise KeyError(f"no inputs of {name!r} were seen{checks.nearest(name, self._inputs)}")
        return self._inputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    def __repr__(self) -> str:
        rows = max(sum(inputs.rows) // len(inputs.rows) for inputs in self._inputs.values())
        return f"<Calibration of {len(self)} weights on up to {rows:,} inputs>"

    def signals(self, method: str | saliency.Scorer, damping: float = 0.01) -> dict[str, dict[str, Any]]:
        """Return what a scorer needs of each weight, as `npr.prune_tensors` takes it.

        Parameters
        ----------
        method : str or scorer
            One that needs `input_norm` or `inverse_hessian_diagonal`, such as "wanda" and "obs_diagonal", or
            `second_moment`.
        damping : float, optional
            Share of the mean of the Hessian's diagonal that is added to the diagonal.

        Raises
        ------
        ValueError
            The scorer needs what a calibration does not have, or a Hessian is not positive definite; the message names
            the weight.

        Examples
        --------
        >>> import numpy as np
        >>> from neuroprune.tensors.calibration import calibrate
        >>> from neuroprune.tensors.dense import DenseLayer
        >>> calibration = calibrate([DenseLayer(np.ones((1, 2)))], [np.array([[3.0, 1.0], [4.0, 0.0]])])
        >>> calibration.signals("wanda")["0"]["input_norm"]
        array([5., 1.])
        """
        known = ("input_norm", "second_moment", "inverse_hessian_diagonal")
        keywords = saliency.requires(method)
        for keyword in keywords:
            if keyword not in known:
                raise ValueError(
                    f"the scorer must need signals of a calibration, {', '.join(known)}, got one that needs {keyword!r}"
                )
        found: dict[str, dict[str, Any]] = {}
        for name, inputs in self._inputs.items():
            try:
                found[name] = {keyword: inputs.inverse_hessian_diagonal(damping) if keyword == known[2]
                               else getattr(inputs, keyword) for keyword in keywords}  # fmt: skip
            except ValueError as error:
                raise ValueError(f"{name!r}: {error}") from None
        return found


def calibrate(model: Any, batches: Iterable[Any], *, hessian: bool = False, progress: bool = False) -> Calibration:
    """Run a model on samples and sum up what each weight is multiplied with.

    Parameters
    ----------
    model : torch.nn.Module, or list of DenseLayer
        A module runs in evaluation mode and is left in the one it was in; nothing of it changes.
    batches : iterable
        Inputs of the model, rows first. Of a tuple or list, as a DataLoader gives them, the first is taken; a dict is
        passed to a module by keyword. Tensors are moved to the device of the model.
    hessian : bool, optional
        Whether to collect Hessians: a square of the number of inputs for each weight.
    progress : bool, optional
        Whether to show a bar.

    Returns
    -------
    Calibration
        For a module, of the weights of Linear and Conv1d to 3d and the projections of MultiheadAttention.

    Raises
    ------
    ValueError
        There are no batches or no such weights, or an input is NaN or infinite; the message names the weight.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.calibration import calibrate
    >>> from neuroprune.tensors.dense import DenseLayer
    >>> layers = [DenseLayer(np.ones((2, 3))), DenseLayer(np.ones((1, 2)))]
    >>> calibration = calibrate(layers, [np.ones((4, 3)), np.ones((6, 3))])
    >>> calibration
    <Calibration of 2 weights on up to 10 inputs>
    >>> calibration["0"].second_moment
    array([1., 1., 1.])
    """
    if arrays.is_array(batches) or isinstance(batches, (str, Mapping)) or not hasattr(batches, "__iter__"):
        raise TypeError(f"batches must be an iterable of batches, got {type(batches).__name__}: put it in a list")
    if progress:
        from tqdm import tqdm

        batches = tqdm(batches, desc="calibrate", unit="batch")
    if isinstance(model, (list, tuple)):
        sums = _dense(model, batches, hessian)
        shapes = {str(i): layer.weight.shape for i, layer in enumerate(model)}
    else:
        from neuroprune.tensors import inputs

        sums, shapes = inputs.observe(model, batches, lambda: Sums(hessian))
    return _calibration(sums, shapes)


def _calibration(sums: Mapping[str, Sequence[Sums]], shapes: Mapping[str, tuple[int, ...]]) -> Calibration:
    found = {}
    for name, parts in sums.items():
        for part in parts:
            part.finish()
        if not all(part.rows for part in parts):
            continue
        xp = arrays.library(parts[0].squares)
        squares = xp.concat([part.squares for part in parts])
        arrays.require_finite(squares, f"squared inputs of {name!r}")
        products = xp.concat([part.products for part in parts]) if parts[0].hessian else None
        rows = tuple(part.rows for part in parts for _ in range(int(part.squares.shape[0])))
        found[name] = Inputs(tuple(shapes[name]), rows, squares, products)
    if not found:
        raise ValueError("batches must have at least one sample that reaches a weight, got none")
    return Calibration(found)


def _dense(layers: Sequence[DenseLayer], batches: Iterable[Any], hessian: bool) -> dict[str, list[Sums]]:
    """Run a list of dense layers."""
    levels = taken(layers)
    sums = {str(i): [Sums(hessian)] for i in range(len(layers))}
    for batch in batches:
        x = np.asarray(batch[0] if isinstance(batch, (tuple, list)) else batch)
        if x.ndim != 2 or x.shape[1] != layers[0].n_inputs:
            raise ValueError(f"a batch must have shape (rows, {layers[0].n_inputs}), got {x.shape}")
        values = [x]
        for i, (layer, sources) in enumerate(zip(layers, levels, strict=True)):
            rows = np.concatenate([values[level] for level in sources], axis=1)
            sums[str(i)][0].add(rows[:, None, :])
            values.append(layer(rows))
    return sums
