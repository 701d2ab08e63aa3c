"""What pruning gains and costs: sparsity, compression, bytes in a stated format, multiply-adds, accuracy.

Weights or masks come by name: `{name: array}`, of any rank and library. An element is off where a mask is False or a
weight is exactly 0. Everything counts what it is given and nothing else: biases and norms count when you pass them.

Formats are "dense", "csr", "csc", "coo", "bsr" (blocks of a stated shape) and packed N:M, written "keep:group" as in
"2:4" or as an `NM`. Except for "dense" and N:M, an array of rank 2 or more is the matrix of its first axis by the rest.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import checks, patterns
from neuroprune.pruning.patterns import NM

FORMATS = ("dense", "csr", "csc", "coo", "bsr")


@dataclass(frozen=True)
class Count:
    """How many elements are off, of how many, in how many arrays.

    Examples
    --------
    >>> from neuroprune.pruning.metrics import Count
    >>> print(Count(905, 1000, 3))
    905 of 1,000 elements of 3 arrays are off (90.5%)
    """

    off: int
    size: int
    arrays: int = 1

    @property
    def sparsity(self) -> float:
        """The share that is off, in [0, 1]."""
        return self.off / self.size

    @property
    def compression_ratio(self) -> float:
        """Elements before over elements after, 1 / (1 - sparsity); infinite when nothing is left."""
        return self.size / (self.size - self.off) if self.off < self.size else math.inf

    def __str__(self) -> str:
        plural = "" if self.arrays == 1 else "s"
        return f"{self.off:,} of {self.size:,} elements of {self.arrays} array{plural} are off ({self.sparsity:.1%})"


@dataclass(frozen=True)
class Memory:
    """Bytes of a model: all elements as they are (`before`), and in a sparse format with its indices (`after`)."""

    before: int
    after: int

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes after; below 1 when the format takes more than it saves."""
        return self.before / self.after if self.after else math.inf

    @property
    def savings(self) -> float:
        """The share of the bytes that is saved; negative when the format takes more."""
        return 1.0 - self.after / self.before


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of one sample: of all weights, of those that are on, and what a format really executes.

    A format without zeros in storage executes what is on; blocks and packed N:M also multiply the zeros they store.
    """

    dense: int
    sparse: int
    executed: int


def total(weights: Mapping[str, Any]) -> Count:
    """Count what is off in all arrays together.

    Parameters
    ----------
    weights : mapping from name to array
        Masks (boolean, True keeps) or weights (0 is off) of any shape; the arrays that were prunable.

    Raises
    ------
    TypeError
        Not a mapping of arrays of real numbers or booleans.
    ValueError
        There is no array, or one is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import metrics
    >>> found = metrics.total({"in": np.array([[0.0, 2.0], [0.0, 0.0]]), "out": np.array([True, False])})
    >>> found.off, found.size, found.sparsity
    (4, 6, 0.6666666666666666)
    """
    found = counts(weights).values()
    return Count(sum(one.off for one in found), sum(one.size for one in found), len(found))


def counts(weights: Mapping[str, Any]) -> dict[str, Count]:
    """Count what is off in each array, as `total` does for all.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import metrics
    >>> print(metrics.counts({"in": np.array([True, False, False])})["in"])
    2 of 3 elements of 1 array are off (66.7%)
    """
    return {name: Count(arrays.size(array) - arrays.count_true(_on(array, name)), arrays.size(array))
            for name, array in _checked(weights).items()}


def sparsity(weights: Mapping[str, Any]) -> float:
    """Return the share of all given elements that is off: zeros / elements, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import metrics
    >>> metrics.sparsity({"a": np.array([0.0, 1.0]), "b": np.array([False, False])})
    0.75
    """
    return total(weights).sparsity


def compression_ratio(weights: Mapping[str, Any]) -> float:
    """Return elements before over elements after, 1 / (1 - sparsity); infinite when nothing is left.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import metrics
    >>> metrics.compression_ratio({"a": np.array([0.0, 1.0, 0.0, 0.0])})
    4.0
    """
    return total(weights).compression_ratio


def memory(weights: Mapping[str, Any], format: str | NM = "csr", itemsize: int = 4, index_bytes: int = 4,
           block: tuple[int, int] | None = None) -> Memory:
    """Bytes of all arrays, dense and in one format, indices included.

    Parameters
    ----------
    weights : mapping from name to array
        Masks or weights of rank 2 or more (any rank for "dense").
    format : str or NM
        "dense", "csr", "csc", "coo", "bsr", or packed N:M such as "2:4" (along the last axis) or `NM(2, 4, axis=1)`.
    itemsize : int
        Bytes of one value: 4 for float32.
    index_bytes : int
        Bytes of one index or offset; scipy stores 4.
    block : (int, int), optional
        Shape of the blocks of "bsr".

    Raises
    ------
    ValueError
        Unknown format; an array that it cannot hold.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import metrics
    >>> metrics.memory({"a": np.eye(100)})
    Memory(before=40000, after=1204)
    """
    before = after = 0
    for name, array in _checked(weights).items():
        shape, on = arrays.shape(array), _on(array, name)
        before += bytes_of(shape, 0, "dense", itemsize)
        with about(name):
            kept, blocks = _kept_and_blocks(on, format, block)
            after += bytes_of(shape, kept, format, itemsize, index_bytes, block, blocks)
    return Memory(before, after)


def bytes_of(shape: Sequence[int], kept: int, format: str | NM = "csr", itemsize: int = 4, index_bytes: int = 4,
             block: tuple[int, int] | None = None, blocks: int | None = None) -> int:
    """Bytes of one array in a format: values and indices.

    With m rows (the first axis), n columns (all others) and k kept elements: dense `m n v`; csr
    `k (v + i) + (m + 1) i`; csc the same with n; coo `k (v + 2 i)`; bsr with b blocks of h x w
    `b (h w v + i) + (ceil(m / h) + 1) i`; N:M `s v` and s positions of ceil(log2(group)) bits, s = m n keep / group;
    v is `itemsize` and i `index_bytes`.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    kept : int
        How many elements are stored; without meaning for "dense" and N:M, which store a fixed number.
    format, itemsize, index_bytes, block
        As for `memory`.
    blocks : int, optional
        How many blocks "bsr" stores.

    Raises
    ------
    ValueError
        Unknown format; a shape or counts that it cannot hold.

    Examples
    --------
    >>> from neuroprune.pruning import metrics
    >>> metrics.bytes_of((1000, 1000), 100_000), metrics.bytes_of((1000, 1000), 500_000, "2:4")
    (804004, 2125000)
    """
    shape = tuple(checks.integer(length, "every length in shape", 1, None, "one of the lengths of the array")
                  for length in shape)
    itemsize = checks.integer(itemsize, "itemsize", 1, None, "the bytes of one value")
    index_bytes = checks.integer(index_bytes, "index_bytes", 1, None, "the bytes of one index")
    size, pattern = math.prod(shape), packed(format)
    if format == "dense":
        return size * itemsize
    if pattern:
        stored = slots(shape, pattern)
        return stored * itemsize + (stored * position_bits(pattern.group) + 7) // 8
    rows, columns = _matrix_shape(shape, format)
    if format == "bsr":
        height, width = block_shape(block)
        high = -(-rows // height)
        blocks = checks.integer(blocks, "blocks", 0, high * -(-columns // width), "how many blocks hold something")
        return blocks * (height * width * itemsize + index_bytes) + (high + 1) * index_bytes
    kept = checks.integer(kept, "kept", 0, size, "how many elements are stored")
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": kept}[format]
    return kept * (itemsize + index_bytes) + pointers * index_bytes


def multiply_adds(weights: Mapping[str, Any], positions: Mapping[str, int] | None = None,
                  format: str | NM = "csr", block: tuple[int, int] | None = None) -> MultiplyAdds:
    """Count the multiply-adds of linear and convolution layers for one sample.

    Parameters
    ----------
    weights : mapping from name to array
        Masks or weights. Linear (out, in); convolution (out, in / groups, kernel...). Biases and activations are not
        counted, so pass none.
    positions : mapping from name to int, optional
        How often the weights of a layer are used: its number of output positions (see `output_positions`), times
        tokens where a linear layer sees several. 1 for names that are left out.
    format, block
        As for `memory`: what executes.

    Returns
    -------
    MultiplyAdds
        `dense`, `sparse` (in theory), `executed` (by that format).

    Raises
    ------
    ValueError
        `positions` names a layer that is not there, or a count below 1; unknown format.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import metrics
    >>> conv = np.zeros((8, 3, 3, 3), bool)
    >>> conv[:, :, 1, 1] = True
    >>> metrics.multiply_adds({"conv": conv}, {"conv": metrics.output_positions((32, 32), 3, padding=1)})
    MultiplyAdds(dense=221184, sparse=24576, executed=24576)
    """
    if positions is not None and not isinstance(positions, Mapping):
        raise TypeError(f"positions must map names to counts, got {type(positions).__name__}: pass {{'name': count}}")
    positions = dict(positions or {})
    dense = sparse = executed = 0
    for name, array in _checked(weights).items():
        times = checks.integer(positions.pop(name, 1), f"positions of {name!r}", 1, None, "how often a weight is used")
        size, pattern = arrays.size(array), packed(format)
        on = _on(array, name)
        with about(name):
            kept, blocks = _kept_and_blocks(on, format, block)
            stored = size if format == "dense" else slots(arrays.shape(array), pattern) if pattern else kept
        if format == "bsr":
            stored = blocks * math.prod(block_shape(block))
        dense, sparse, executed = dense + times * size, sparse + times * kept, executed + times * stored
    if positions:
        name = next(iter(positions))
        raise ValueError(f"positions must name layers of weights, got {name!r}{checks.nearest(name, weights)}")
    return MultiplyAdds(dense, sparse, executed)


def output_positions(size: Sequence[int], kernel: int | Sequence[int], stride: int | Sequence[int] = 1,
                     padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1) -> int:
    """Number of places at which a convolution is computed: the product of its output lengths.

    Along each axis: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Parameters
    ----------
    size : sequence of int
        Lengths of the input's spatial axes, such as (height, width).
    kernel, stride, padding, dilation : int or sequence of int
        One number for all axes, or one for each.

    Raises
    ------
    ValueError
        A number is too small, a sequence has another length than `size`, or the kernel does not fit.

    Examples
    --------
    >>> from neuroprune.pruning import metrics
    >>> metrics.output_positions((32, 32), 3, stride=2, padding=1)
    256
    """
    if not isinstance(size, Iterable):
        raise TypeError(f"size must be the lengths of the input's spatial axes, got {size!r}: pass such as (32, 32)")
    size = tuple(checks.integer(length, "every length in size", 1, None, "a length of the input") for length in size)
    each = [_per_axis(value, len(size), name, least) for value, name, least in (
        (kernel, "kernel", 1), (stride, "stride", 1), (padding, "padding", 0), (dilation, "dilation", 1))]
    places = 1
    for length, extent, step, pad, spread in zip(size, *each, strict=True):
        room = length + 2 * pad - spread * (extent - 1) - 1
        if room < 0:
            raise ValueError(f"kernel must fit into the padded input, got kernel {kernel}, dilation {dilation} and "
                             f"padding {padding} for size {size}: enlarge the padding or the input")
        places *= room // step + 1
    return places


def accuracy_drop(before: float, after: float) -> float:
    """Return how many percentage points of accuracy pruning cost: 100 (before - after); negative when it helped.

    Parameters
    ----------
    before, after : float
        Shares of right answers on the same held-out data, in [0, 1].

    Raises
    ------
    ValueError
        A share outside [0, 1].

    Examples
    --------
    >>> from neuroprune.pruning import metrics
    >>> metrics.accuracy_drop(0.75, 0.5)
    25.0
    """
    for name, share in (("before", before), ("after", after)):
        if not isinstance(share, Real):
            raise TypeError(f"{name} must be a number in [0, 1], got {type(share).__name__}: pass a share")
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {share}: pass a share of right answers, not a percentage")
    return 100.0 * (float(before) - float(after))


def packed(format: str | NM) -> NM | None:
    """Return the pattern of a packed format such as "2:4", or None for one of `FORMATS`.

    Raises
    ------
    ValueError
        The format is unknown, or keeps more than there are in a group.
    """
    if isinstance(format, str) and format in FORMATS:
        return None
    if isinstance(format, NM) or (isinstance(format, str) and ":" in format):
        return patterns.pattern(format)
    raise ValueError(f"format must be a known one or keep:group such as '2:4', got {format!r}"
                     f"{checks.nearest(format, FORMATS)}")


def slots(shape: tuple[int, ...], pattern: NM) -> int:
    """Return how many values packed N:M stores for an array, which the groups must divide."""
    text = f"{pattern.keep}:{pattern.group}"
    if not -len(shape) <= pattern.axis < len(shape):
        raise ValueError(f"{text} runs along axis {pattern.axis}, got shape {shape}: choose one of its axes")
    if shape[pattern.axis] % pattern.group:
        raise ValueError(f"{text} needs an axis whose length {pattern.group} divides, got {shape[pattern.axis]} along "
                         f"axis {pattern.axis} of shape {shape}: choose another axis or format")
    return math.prod(shape) // pattern.group * pattern.keep


def position_bits(group: int) -> int:
    """Return how many bits tell the elements of a group apart: 2 for a group of 4."""
    return (group - 1).bit_length()


def block_shape(block: Any) -> tuple[int, int]:
    """Return the shape of the blocks of "bsr", known to be two lengths of at least 1."""
    if not isinstance(block, tuple | list) or len(block) != 2:
        raise ValueError(f"block must be (height, width), got {block!r}: pass the shape of the blocks, such as (4, 4)")
    height, width = (checks.integer(length, "block", 1, None, "the height and the width of the blocks")
                     for length in block)
    return height, width


def filled_blocks(kept: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Return which blocks of a boolean matrix hold a True, as a boolean matrix; blocks may stick out of the edges."""
    height, width = block
    rows, columns = kept.shape
    across = np.logical_or.reduceat(kept, np.arange(0, columns, width), axis=1)
    return np.logical_or.reduceat(across, np.arange(0, rows, height), axis=0)


@contextmanager
def about(name: str) -> Iterator[None]:
    """Put the name of an array before what is said about it in an error."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name!r}: {error}") from None


def _kept_and_blocks(on: Any, format: str | NM, block: Any) -> tuple[int, int | None]:
    """How many elements are on and, for "bsr", how many blocks hold one."""
    kept, pattern, shape = arrays.count_true(on), packed(format), arrays.shape(on)
    if format == "bsr":
        matrix = arrays.host(on)
        if matrix is None:
            raise ValueError(f"blocks are counted in host memory, got device {on.device}: move the array first")
        return kept, int(filled_blocks(matrix.reshape(_matrix_shape(shape, format)), block_shape(block)).sum())
    if pattern and kept > slots(shape, pattern):
        raise ValueError(f"{pattern.keep}:{pattern.group} has room for {slots(shape, pattern)} elements, got {kept}: "
                         "prune to that pattern first")
    return kept, None


def _matrix_shape(shape: tuple[int, ...], format: str) -> tuple[int, int]:
    """Lengths of the first axis and of all others together."""
    if len(shape) < 2:
        raise ValueError(f"{format} needs an array of rank 2 or more, got shape {shape}: reshape it, or use dense")
    return shape[0], math.prod(shape[1:])


def _on(array: Any, name: str) -> Any:
    """Where the array is on, as booleans of its library."""
    what = arrays.kind(array)
    if what == "other":
        raise TypeError(f"{name!r} must hold real numbers or booleans, got {array.dtype}: convert it first")
    return array if what == "bool" else array != 0


def _checked(weights: Any) -> Mapping[str, Any]:
    """The mapping, known to hold arrays that are not empty."""
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map names to arrays, got {type(weights).__name__}: pass {{'name': array}}")
    if not weights:
        raise ValueError("weights must hold at least one array, got none: pass the prunable ones by name")
    for name, array in weights.items():
        if not arrays.is_array(array):
            raise TypeError(f"{name!r} must be an array, got {type(array).__name__}: convert it first")
        arrays.require_values(array, repr(name))
        if not arrays.size(array):
            raise ValueError(f"{name!r} must have elements, got shape {arrays.shape(array)}: leave it out")
    return weights


def _per_axis(value: Any, axes: int, name: str, least: int) -> list[int]:
    """One number for each axis."""
    values = list(value) if isinstance(value, Sequence) else [value] * axes
    if len(values) != axes:
        raise ValueError(f"{name} must be one number or {axes}, one for each axis of size, got {len(values)}: "
                         "pass as many")
    return [checks.integer(one, name, least, None, "a number of places along an axis") for one in values]
