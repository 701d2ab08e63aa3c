"""Tasks that need a memory: a `Dataset` of all sequences of one length each, for recurrent networks.

Fitness is minus the mean squared error over all sequences and steps, solved at -0.01. Nothing is drawn at random.
"""

from itertools import product
from typing import Any

import numpy as np

from neuroprune.evolution.learning import Learning
from neuroprune.evolution.problems import Dataset
from neuroprune.network.create import count_of

SOLVED_AT = -0.01
MOST_SEQUENCES = 65_536


def recall(delay: int = 2, length: int = 6, learning: Learning | None = None) -> Dataset:
    """Say the bit that was shown `delay` steps ago, 0 before there was one (Jaeger 2001, short-term memory).

    Parameters
    ----------
    delay : int
        Steps to remember a bit, at least 1.
    length : int
        Steps of a sequence, more than delay, at most 16.
    learning : None, Lamarckian or Baldwinian

    Returns
    -------
    Dataset
        All 2^length sequences of bits.

    Examples
    --------
    >>> from neuroprune.evolution import sequences
    >>> task = sequences.recall(delay=2, length=4)
    >>> task.x[13].ravel().tolist(), task.y[13].ravel().tolist()
    ([1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    """
    delay = count_of(delay, "delay", 1)
    x = _all((0.0, 1.0), length, least=delay + 1)
    y = np.zeros_like(x)
    y[:, delay:] = x[:, :-delay]
    return _dataset(x, y, learning)


def temporal_xor(length: int = 6, learning: Learning | None = None) -> Dataset:
    """Say the exclusive or of the present bit and the one before, which is 0 at first (after Elman 1990).

    Parameters
    ----------
    length : int
        Steps of a sequence, 2 to 16.
    learning : None, Lamarckian or Baldwinian

    Returns
    -------
    Dataset
        All 2^length sequences of bits.

    Examples
    --------
    >>> from neuroprune.evolution import sequences
    >>> task = sequences.temporal_xor(length=4)
    >>> task.x[13].ravel().tolist(), task.y[13].ravel().tolist()
    ([1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0])
    """
    x = _all((0.0, 1.0), length, least=2)
    before = np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    return _dataset(x, np.abs(x - before), learning)


def parity(length: int = 6, learning: Learning | None = None) -> Dataset:
    """Say whether the bits so far hold an odd number of ones (Minsky & Papert 1969, here one bit a step).

    Parameters
    ----------
    length : int
        Steps of a sequence, 2 to 16.
    learning : None, Lamarckian or Baldwinian

    Returns
    -------
    Dataset
        All 2^length sequences of bits.

    Examples
    --------
    >>> from neuroprune.evolution import sequences
    >>> task = sequences.parity(length=4)
    >>> task.x[13].ravel().tolist(), task.y[13].ravel().tolist()
    ([1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0])
    """
    x = _all((0.0, 1.0), length, least=2)
    return _dataset(x, np.cumsum(x, axis=1) % 2.0, learning)


def flip_flop(length: int = 5, learning: Learning | None = None) -> Dataset:
    """Say the last pulse that was not 0, and 0 before the first (one bit of Sussillo & Barak 2013).

    Parameters
    ----------
    length : int
        Steps of a sequence of pulses -1, 0 and 1; 2 to 10.
    learning : None, Lamarckian or Baldwinian

    Returns
    -------
    Dataset
        All 3^length sequences of pulses.

    Examples
    --------
    >>> from neuroprune.evolution import sequences
    >>> task = sequences.flip_flop(length=4)
    >>> task
    <Dataset: 81 sequences of 4 steps, 1 inputs, 1 outputs, mse>
    >>> task.x[12].ravel().tolist(), task.y[12].ravel().tolist()
    ([-1.0, 0.0, 0.0, -1.0], [-1.0, -1.0, -1.0, -1.0])
    """
    x = _all((-1.0, 0.0, 1.0), length, least=2)
    y = x.copy()
    for step in range(1, x.shape[1]):
        y[:, step] = np.where(x[:, step] != 0.0, x[:, step], y[:, step - 1])
    return _dataset(x, y, learning)


def _all(symbols: tuple[float, ...], length: Any, least: int) -> np.ndarray:
    """Every sequence of these symbols, (sequences, length, 1), counted up from the first symbol."""
    length = count_of(length, "length", least)
    most = next(n for n in range(1, 99) if len(symbols) ** (n + 1) > MOST_SEQUENCES)
    if length > most:
        raise ValueError(f"length must be at most {most}, as the task holds every sequence, got {length}")
    return np.array(list(product(symbols, repeat=length)))[:, :, None]


def _dataset(x: np.ndarray, y: np.ndarray, learning: Learning | None) -> Dataset:
    return Dataset(x, y, learning=learning, solved_at=SOLVED_AT)
