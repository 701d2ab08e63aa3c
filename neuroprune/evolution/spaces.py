"""Spaces of gymnasium: observations become rows of numbers, outputs of networks become actions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

SCALINGS = ("linear", "tanh", "clip")


@dataclass(frozen=True)
class Observation:
    """How observations become rows of numbers: as they are, one-hot from these offsets, or part by part."""

    width: int
    offsets: np.ndarray | None = None
    parts: tuple[tuple[Any, "Observation"], ...] | None = None

    def write(self, observation: Any, x: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Write one observation, or a batch of them, or these rows of a batch, to x (rows, width)."""
        if self.parts is not None:
            at = 0
            for key, part in self.parts:
                part.write(observation[key], x[:, at:at + part.width], rows)
                at += part.width
            return
        numbers = np.asarray(observation)
        numbers = (numbers if rows is None else numbers[rows]).reshape(len(x), -1)
        if self.offsets is None:
            x[...] = numbers
        else:
            x[...] = 0.0
            x[np.arange(len(x))[:, None], numbers + self.offsets] = 1.0


class Choice:
    """Discrete actions: groups of outputs, of which the highest is chosen."""

    def __init__(self, sizes: list[int], start: np.ndarray, dtype: np.dtype) -> None:
        self._sizes = sizes
        self._start = start  # of the shape of one action
        self._plain = not start.any() and dtype == np.intp  # what argmax returns is the action
        self._dtype = dtype
        self.width = sum(sizes)

    def read(self, out: np.ndarray) -> np.ndarray:
        """Actions (n, ...) of the outputs (n, width)."""
        n, sizes = len(out), self._sizes
        if min(sizes) == max(sizes):
            chosen = out.reshape(n, *self._start.shape, sizes[0]).argmax(axis=-1)
        else:
            ends = np.cumsum(sizes)
            groups = [out[:, end - size:end].argmax(axis=1) for end, size in zip(ends, sizes, strict=True)]
            chosen = np.stack(groups, axis=1).reshape(n, *self._start.shape)
        return chosen if self._plain else (chosen + self._start).astype(self._dtype)


class Continuous:
    """Actions of a Box."""

    def __init__(self, low: np.ndarray, high: np.ndarray, dtype: np.dtype, scaling: str) -> None:
        self._shape = low.shape
        self._dtype = dtype
        self._scaling = scaling
        self.width = low.size
        low, high = low.astype(np.float64).ravel(), high.astype(np.float64).ravel()
        self._stretched = np.isfinite(low) & np.isfinite(high) & (scaling != "clip")
        bottom, top = np.where(self._stretched, (low, high), 0.0)
        self._middle, self._half = bottom / 2 + top / 2, top / 2 - bottom / 2
        # what the type holds; the largest 64-bit integers are no floats, and rounding brings the smaller ones back
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        largest = np.nextafter(float(limits.max), 0.0) if dtype.kind in "iu" else float(limits.max)
        self._low, self._high = np.maximum(low, float(limits.min)), np.minimum(high, largest)

    def read(self, out: np.ndarray) -> np.ndarray:
        """Actions (n, ...) of the outputs (n, width)."""
        unit = np.tanh(out) if self._scaling == "tanh" else np.clip(out, -1.0, 1.0)
        out = np.clip(np.where(self._stretched, self._middle + self._half * unit, out), self._low, self._high)
        if self._dtype.kind in "iu":
            out = np.rint(out)
        return out.reshape(len(out), *self._shape).astype(self._dtype)


def observation_of(space: Any, env_id: str) -> Observation:
    from gymnasium import spaces

    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        return Observation(int(np.prod(space.shape)))
    if isinstance(space, spaces.Discrete):
        return Observation(int(space.n), np.array([-int(space.start)]))
    if isinstance(space, spaces.MultiDiscrete):
        sizes = np.ravel(space.nvec).astype(np.int64)
        return Observation(int(sizes.sum()), np.cumsum(sizes) - sizes - np.ravel(space.start))
    if isinstance(space, (spaces.Tuple, spaces.Dict)):
        inner = space.spaces
        pairs = inner.items() if isinstance(space, spaces.Dict) else enumerate(inner)
        parts = tuple((key, observation_of(part, env_id)) for key, part in pairs)
        return Observation(sum(part.width for _, part in parts), None, parts)
    raise ValueError(f"the observation space of {env_id} must be made of Box, Discrete, MultiDiscrete, MultiBinary, "
                     f"Tuple and Dict, got {space}: wrap the environment")


def action_of(space: Any, env_id: str, scaling: str) -> Choice | Continuous:
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return Choice([int(space.n)], np.array(int(space.start)), space.dtype)
    if isinstance(space, spaces.MultiDiscrete):
        return Choice(np.ravel(space.nvec).tolist(), np.array(space.start), space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return Choice([2] * int(np.prod(space.shape)), np.zeros(space.shape, np.int64), space.dtype)
    if isinstance(space, spaces.Box):
        return Continuous(space.low, space.high, space.dtype, scaling)
    raise ValueError(f"the action space of {env_id} must be Box, Discrete, MultiDiscrete or MultiBinary, got {space}: "
                     "wrap the environment")
