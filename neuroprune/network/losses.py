"""The losses by name, and targets brought into the shape that the kernels take."""

from difflib import get_close_matches
from typing import Any

import numpy as np

from neuroprune import kernels
from neuroprune.network.views import numbers

# name -> code of kernels.losses
LOSSES = {
    "mse": 0,  # mean of (y - t)^2
    "mae": 1,  # mean of |y - t|
    "huber": 2,  # mean of e^2 / 2 where |e| <= 1, else |e| - 1/2 (Huber 1964)
    "binary_cross_entropy": 3,  # of logits: mean of log(1 + exp(y)) - t y
    "softmax_cross_entropy": 4,  # of logits: mean over rows of -sum t log softmax(y)
    "hinge": 5,  # mean of max(0, 1 - t y), targets -1 and 1
}


def code(loss: str) -> int:
    """The code of a loss by name."""
    if not isinstance(loss, str) or loss not in LOSSES:
        near = get_close_matches(str(loss), LOSSES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(LOSSES)}"
        raise ValueError(f"loss must be the name of a loss, got {loss!r}: {hint}")
    return LOSSES[loss]


def value(loss: str, outputs: Any, targets: Any) -> float:
    """Mean loss of outputs (rows, n_outputs) or (sequences, steps, n_outputs) against targets.

    Parameters
    ----------
    loss : str
        "mse", "mae", "huber", "hinge", "binary_cross_entropy": mean over rows and outputs; "softmax_cross_entropy":
        mean over rows. The cross-entropies take raw outputs (logits).
    outputs : array
    targets : array
        Of the outputs' shape; for "softmax_cross_entropy" also integer classes without the last axis.

    Examples
    --------
    >>> from neuroprune.network import losses
    >>> losses.value("mse", [[1.0, 3.0]], [[0.0, 1.0]])
    2.5
    """
    outputs = np.asarray(outputs, np.float64)
    if outputs.ndim not in (2, 3):
        raise ValueError(f"outputs must have shape (rows, n) or (sequences, steps, n), got {outputs.shape}")
    lead, width = outputs.shape[:-1], outputs.shape[-1]
    y = targets_for(targets, lead, width, loss).reshape(lead[0], *lead[1:] or (1,), width)
    return float(kernels.losses.mean_loss(code(loss), np.array(outputs.reshape(y.shape)), y))


def targets_for(y: Any, lead: tuple[int, ...], n_outputs: int, loss: str) -> np.ndarray:
    """Targets as a float64 array (*lead, n_outputs); classes become one-hot rows, single outputs gain their axis."""
    y = np.asarray(y)
    if code(loss) == LOSSES["softmax_cross_entropy"] and y.shape == lead and y.dtype.kind in "iub":
        if y.size and not 0 <= y.min() <= y.max() < n_outputs:
            raise ValueError(f"classes must be in [0, {n_outputs}), got {y.min()} to {y.max()}")
        return np.eye(n_outputs)[y.astype(np.int64)]
    if n_outputs == 1 and y.shape == lead:
        y = y[..., None]
    if y.shape != (*lead, n_outputs):
        classes = f", or be integer classes of shape {lead}" if loss == "softmax_cross_entropy" else ""
        raise ValueError(f"y must have shape {(*lead, n_outputs)}{classes}, got {y.shape}")
    return finite(y, "y")


def finite(values: Any, name: str) -> np.ndarray:
    """A fresh float64 array, or an error that names the first value that is not finite."""
    array = numbers(values, name, fresh=True)
    good = np.isfinite(array)
    if not good.all():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmin(good)), array.shape))
        raise ValueError(f"{name} must be finite, got {array[index]} at index {index}")
    return array
