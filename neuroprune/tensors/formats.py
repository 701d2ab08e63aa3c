"""Sparse formats: a pruned weight stored without what is off, through scipy.sparse, and packed N:M.

A weight of rank 2 or more is the matrix of its first axis (outputs) by all others (inputs), and its true shape is
kept. What a mask keeps is stored, also where the kept weight is 0; without a mask, what is not 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, prod
from operator import index
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning.checks import nearest
from neuroprune.pruning.metrics import about, block_shape, bytes_of, filled_blocks, packed, position_bits, slots
from neuroprune.pruning.patterns import NM
from neuroprune.pruning.patterns import pattern as pattern_of


@dataclass(frozen=True, eq=False)
class Packed:
    """Packed N:M: of each group of neighbours along an axis, as many values as stay and where in the group they are.

    `values` (groups, keep), the groups in the storage order of the weight with the axis moved to the end; `positions`
    holds, for each value in that order, ceil(log2(group)) bits, the lowest first, bytes filled from the lowest bit.
    A group that keeps fewer fills up with zeros at places that are off.
    """

    values: np.ndarray
    positions: np.ndarray
    pattern: NM

    def places(self) -> np.ndarray:
        """Where in its group each value is: (groups, keep), ascending in each group."""
        width = position_bits(self.pattern.group)
        bits = np.unpackbits(self.positions, count=self.values.size * width, bitorder="little")
        return (bits.reshape(*self.values.shape, width) << np.arange(width)).sum(axis=-1)


@dataclass(frozen=True, eq=False)
class SparseWeight:
    """A weight in a sparse format; made by `to_sparse`.

    Attributes
    ----------
    format : str
        "csr", "csc", "coo", "bsr", or "keep:group" such as "2:4".
    shape : tuple of int
        The true shape of the weight.
    kept : int
        How many elements are on. Blocks and packed N:M store zeros besides.
    matrix : scipy.sparse array or Packed
        What is stored. The array of scipy is (out, in), for "bsr" rounded up to whole blocks. All its arrays are
        read-only, as products keep copies of them: for other values make another weight.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.formats import to_sparse
    >>> sparse = to_sparse(np.array([[0.0, 2.0], [0.0, 0.0], [3.0, 4.0]]))
    >>> sparse @ np.array([1.0, 10.0])
    array([20.,  0., 43.])
    >>> sparse.get(0, 1), sparse.get(1, 1), sparse.stored, sparse.n_bytes
    (2.0, 0.0, 3, 52)
    """

    format: str
    shape: tuple[int, ...]
    kept: int
    matrix: Any
    _layouts: dict[Any, Any] = field(default_factory=dict, repr=False)  # what products made of it

    def __post_init__(self) -> None:
        stored = self.matrix
        if isinstance(stored, Packed):
            held = stored.values, stored.positions
        elif self.format == "coo":
            held = stored.data, *stored.coords
        else:
            held = stored.data, stored.indices, stored.indptr
        for array in held:
            array.flags.writeable = False

    @property
    def dtype(self) -> np.dtype:
        """Type of the values: float32 or float64."""
        return self._values.dtype

    @property
    def block(self) -> tuple[int, int] | None:
        """Height and width of the blocks of "bsr"; None in other formats."""
        return self.matrix.blocksize if self.format == "bsr" else None

    @property
    def size(self) -> int:
        """Number of elements of the weight, on and off."""
        return prod(self.shape)

    @property
    def stored(self) -> int:
        """Number of stored values: `kept`, and the zeros in blocks and in groups that are not full."""
        return self._values.size

    @property
    def sparsity(self) -> float:
        """The share of elements that is off, in [0, 1]."""
        return 1.0 - self.kept / self.size

    @property
    def n_bytes(self) -> int:
        """Bytes of values and indices as they are stored; scipy's indices take 4 bytes (8 beyond 2^31 elements)."""
        if isinstance(self.matrix, Packed):
            return self.matrix.values.nbytes + self.matrix.positions.nbytes
        if self.format == "coo":
            return self._values.nbytes + sum(places.nbytes for places in self.matrix.coords)
        return self._values.nbytes + self.matrix.indices.nbytes + self.matrix.indptr.nbytes

    @property
    def dense_bytes(self) -> int:
        """Bytes of the weight with all its zeros."""
        return self.size * self.dtype.itemsize

    @property
    def compression_ratio(self) -> float:
        """Bytes dense over bytes stored; below 1 when the format takes more than it saves."""
        return self.dense_bytes / self.n_bytes if self.n_bytes else inf

    @property
    def savings(self) -> float:
        """The share of the dense bytes that is saved; negative when the format takes more."""
        return 1.0 - self.n_bytes / self.dense_bytes

    def to_dense(self) -> np.ndarray:
        """Return the weight in its true shape, zeros where nothing is stored."""
        rows, columns, values = self.entries()
        dense = np.zeros((self.shape[0], self.size // self.shape[0]), self.dtype)
        dense[rows, columns] = values
        return dense.reshape(self.shape)

    def to(self, format: str | NM, block: tuple[int, int] | None = None) -> "SparseWeight":
        """Return the same weight in another format.

        Zeros that a mask kept go along, except those of blocks and packed N:M, where nothing tells them from filling.

        Examples
        --------
        >>> import numpy as np
        >>> from neuroprune.tensors.formats import to_sparse
        >>> to_sparse(np.eye(4), format="coo").to("bsr", block=(2, 2)).stored
        8
        """
        rows, columns, values = self.entries()
        real = np.ones(values.size, bool) if self._exact else values != 0
        mask = np.zeros((self.shape[0], self.size // self.shape[0]), bool)
        mask[rows[real], columns[real]] = True
        return to_sparse(self.to_dense(), mask.reshape(self.shape), format, block)

    def get(self, *place: int) -> float:
        """Return one element by its index in the true shape: 0 where nothing is stored.

        Raises
        ------
        IndexError
            The index is not one of the weight's.
        """
        try:
            flat = int(np.ravel_multi_index([index(i) + n * (index(i) < 0) for i, n in
                                             zip(place, self.shape, strict=True)], self.shape))
        except ValueError:
            raise IndexError(f"an index into shape {self.shape} is needed, got {place}: pass one number in range for "
                             "each axis") from None
        row, column = divmod(flat, self.size // self.shape[0])
        start, read, weight = self.rows(self.dtype)
        at = start[row] + int(np.searchsorted(read[start[row] : start[row + 1]], column))
        return float(weight[at]) if at < start[row + 1] and read[at] == column else 0.0

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, columns and values of what is stored inside the (out, in) matrix, zeros in blocks included."""
        width = self.size // self.shape[0]
        if isinstance(self.matrix, Packed):
            chosen = self.matrix.pattern
            order = _in_groups(np.arange(self.size).reshape(self.shape), chosen)
            flat = np.take_along_axis(order, self.matrix.places(), axis=1).ravel()
            return flat // width, flat % width, self.matrix.values.ravel()
        stored = self.matrix.tocoo()
        rows, columns = stored.coords
        inside = (rows < self.shape[0]) & (columns < width)
        return rows[inside], columns[inside], stored.data[inside]

    def rows(self, dtype: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is on as `start` (out + 1,) int64, `read` int32 and `weight`: output r has start[r]:start[r + 1].

        This is the layout of our products. It is made once for each dtype, read-only, and shares memory with csr.
        """
        dtype = np.dtype(dtype or self.dtype)
        if dtype not in self._layouts:
            if self.format == "csr":
                start, read, values = self.matrix.indptr, self.matrix.indices, self.matrix.data
            else:
                rows, read, values = self.entries()
                real = np.flatnonzero(values != 0) if not self._exact else np.arange(values.size)
                real = real[np.lexsort((read[real], rows[real]))]
                start = np.concatenate([[0], np.cumsum(np.bincount(rows[real], minlength=self.shape[0]))])
                read, values = read[real], values[real]
            columns = (np.ascontiguousarray(start, np.int64), np.ascontiguousarray(read, np.int32),
                       np.ascontiguousarray(values, dtype))
            for column in columns:  # all of them, shared or not: compiled code is made for one kind alone
                column.flags.writeable = False
            self._layouts[dtype] = columns
        return self._layouts[dtype]

    def __reduce__(self) -> tuple:
        """Copies and pickles hold what is stored, and leave what products made of it behind."""
        return SparseWeight, (self.format, self.shape, self.kept, self.matrix)

    __array_ufunc__ = None  # so that x @ weight is a TypeError of Python, not a message about dimensions from numpy

    def __matmul__(self, x: Any) -> Any:
        """W x as for matrices: x is (in,) or (in, batch). For samples as rows, see `product`."""
        from neuroprune.tensors.product import product

        arrays.require_values(x, "x")
        turned = arrays.is_array(x) and len(arrays.shape(x)) == 2
        width = self.size // self.shape[0]
        if turned and arrays.shape(x)[0] != width:
            raise ValueError(f"x must have shape ({width},) or ({width}, batch) for a weight of {self.shape} @ x, "
                             f"got {arrays.shape(x)}: for samples as rows use neuroprune.tensors.product.product")
        return product(self, x.T).T if turned else product(self, x)

    @property
    def _values(self) -> np.ndarray:
        return self.matrix.values if isinstance(self.matrix, Packed) else self.matrix.data

    @property
    def _exact(self) -> bool:
        """Whether nothing is stored but what is on."""
        return self.format in ("csr", "csc", "coo")


def to_sparse(weight: Any, mask: Any = None, format: str | NM = "csr",
              block: tuple[int, int] | None = None) -> SparseWeight:
    """Store a weight without what is off.

    Parameters
    ----------
    weight : array of rank 2 or more
        Of numpy, torch or the array API standard, in host memory, floating. Half precision becomes float32.
    mask : boolean array, optional
        Of the weight's shape; True is stored. Without it, what is not 0 is stored.
    format : str or NM
        "csr", "csc", "coo" or "bsr" of scipy.sparse, or packed N:M: "2:4" keeps 2 of every 4 along the last axis,
        `npr.masks.NM(2, 4, axis=1)` along another.
    block : (int, int), optional
        Height and width of the blocks of "bsr". They need not divide the weight: only storage is rounded up.

    Returns
    -------
    SparseWeight

    Raises
    ------
    TypeError
        The weight is not a floating array, or the mask not a boolean one of the same library.
    ValueError
        A weight of rank below 2, empty, on an accelerator, or not finite where it is kept; a mask of another shape;
        an unknown format; no block for "bsr"; a length that the group does not divide; a group that keeps too many.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.formats import to_sparse
    >>> weight = np.array([[0.5, 0.0, -2.0, 0.0], [0.0, 1.0, 0.0, 4.0]], np.float32)
    >>> packed = to_sparse(weight, format="2:4")
    >>> packed.n_bytes, packed.compression_ratio
    (17, 1.8823529411764706)
    >>> (packed.to_dense() == weight).all()
    np.True_
    """
    pattern = packed(format)
    values, kept = _values_and_kept(weight, mask)
    if format == "dense":
        raise ValueError("format must be sparse, got 'dense': keep the array as it is")
    if block is not None and format != "bsr":
        raise ValueError(f"block belongs to format 'bsr', got block={block!r} with {format!r}: leave one out")
    if pattern:
        format, matrix = f"{pattern.keep}:{pattern.group}", _packed(values, kept, pattern)
    else:
        flat = values.reshape(values.shape[0], -1), kept.reshape(values.shape[0], -1)
        matrix = _blocks(*flat, block_shape(block)) if format == "bsr" else _entrywise(*flat, format)
    return SparseWeight(format, values.shape, int(np.count_nonzero(kept)), matrix)


def sizes(weight: Any, mask: Any = None, block: tuple[int, int] = (4, 4), pattern: str | NM = "2:4") -> dict[str, int]:
    """Bytes of a weight in every format that can hold it, the smallest first; among equals in the order listed here.

    Parameters
    ----------
    weight, mask
        As for `to_sparse`.
    block : (int, int)
        Shape of the blocks of "bsr".
    pattern : str or NM
        Packed N:M; left out where the weight does not follow it.

    Returns
    -------
    dict from format to bytes
        Of "dense", "csr", "csc", "coo", "bsr" and the pattern, indices of 4 bytes (2 bits a position in "2:4").

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.formats import sizes
    >>> sizes(np.kron(np.eye(4), np.ones((4, 4))).astype(np.float32))
    {'bsr': 292, 'csr': 580, 'csc': 580, 'coo': 768, 'dense': 1024}
    """
    values, kept = _values_and_kept(weight, mask)
    block, chosen = block_shape(block), pattern_of(pattern)
    if not isinstance(chosen, NM):
        raise ValueError(f"pattern must be keep:group such as '2:4' or an NM, got {pattern!r}: for blocks pass block")
    n_blocks = int(filled_blocks(kept.reshape(values.shape[0], -1), block).sum())
    formats: dict[str, str | NM] = {format: format for format in ("dense", "csr", "csc", "coo", "bsr")}
    if _follows(kept, chosen):
        formats[f"{chosen.keep}:{chosen.group}"] = chosen
    found = {name: bytes_of(values.shape, int(kept.sum()), format, values.dtype.itemsize, 4, block, n_blocks)
             for name, format in formats.items()}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def smallest(weight: Any, mask: Any = None, block: tuple[int, int] = (4, 4), pattern: str | NM = "2:4") -> str:
    """Return the format that takes the fewest bytes, as `sizes` counts them; it may be "dense".

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.formats import smallest
    >>> smallest(np.ones((8, 8))), smallest(np.eye(100))
    ('dense', 'coo')
    """
    return next(iter(sizes(weight, mask, block, pattern)))


def sparsify(weights: Mapping[str, Any], masks: Mapping[str, Any], format: str | NM = "csr",
             block: tuple[int, int] | None = None) -> dict[str, SparseWeight]:
    """Store every weight that has a mask, as `to_sparse` does; errors name the weight.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.formats import sparsify
    >>> sparsify({"first": np.ones((2, 2))}, {"first": np.eye(2, dtype=bool)})["first"].stored
    2
    """
    if missing := [name for name in masks if name not in weights]:
        raise ValueError(f"masks must name weights, got {missing[0]!r}{nearest(missing[0], weights)}")
    found = {}
    for name, mask in masks.items():
        with about(name):
            found[name] = to_sparse(weights[name], mask, format, block)
    return found


def _values_and_kept(weight: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """The weight as numpy, exactly 0 where it is off, and where it is on."""
    shape = arrays.shape(weight) if arrays.is_array(weight) else ()
    arrays.require_values(weight, "weight")
    if not arrays.is_array(weight) or arrays.kind(weight) != "floating":
        what = getattr(weight, "dtype", type(weight).__name__)
        raise TypeError(f"weight must be an array of floating numbers, got {what}: convert it first")
    if len(shape) < 2 or not prod(shape):
        raise ValueError(f"weight must have rank 2 or more and elements, got shape {shape}: reshape it first")
    values = _on_host(weight, "weight")
    if mask is None:
        kept = values != 0
    else:
        arrays.same_place(weight, mask, "mask")
        if arrays.kind(mask) != "bool":
            raise TypeError(f"mask must be a boolean array, got {mask.dtype}: compare first, such as mask != 0")
        if arrays.shape(mask) != shape:
            raise ValueError(f"mask must have the weight's shape {shape}, got {arrays.shape(mask)}: make it anew")
        kept = _on_host(mask, "mask")
    values = np.where(kept, values, values.dtype.type(0))  # also without a mask: no zero has a sign
    arrays.require_finite(values, "weight")
    return values, kept


def _on_host(array: Any, name: str) -> np.ndarray:
    """The array as numpy."""
    view = arrays.host(array)
    if view is None:
        raise ValueError(f"{name} must lie in host memory, got device {array.device}: move it first")
    return view


def _follows(kept: np.ndarray, pattern: NM) -> bool:
    """Whether packed N:M can hold what is kept."""
    if not -kept.ndim <= pattern.axis < kept.ndim or kept.shape[pattern.axis] % pattern.group:
        return False
    return bool(_in_groups(kept, pattern).sum(axis=1).max() <= pattern.keep)


def _in_groups(array: np.ndarray, pattern: NM) -> np.ndarray:
    """The groups of a pattern as rows."""
    return np.moveaxis(array, pattern.axis, -1).reshape(-1, pattern.group)


def _entrywise(values: np.ndarray, kept: np.ndarray, format: str) -> Any:
    """CSR, CSC or COO of the kept elements, in order."""
    from scipy import sparse

    if format == "csc":
        turned = _entrywise(values.T, kept.T, "csr")
        return sparse.csc_array((turned.data, turned.indices, turned.indptr), shape=values.shape)
    dtype = np.int32 if max(values.shape) < 2**31 and values.size < 2**31 else np.int64
    rows, columns = (places.astype(dtype) for places in np.nonzero(kept))
    if format == "coo":
        return sparse.coo_array((values[kept], (rows, columns)), shape=values.shape)
    start = np.concatenate([[0], np.cumsum(np.count_nonzero(kept, axis=1))]).astype(dtype)
    return sparse.csr_array((values[kept], columns, start), shape=values.shape)


def _blocks(values: np.ndarray, kept: np.ndarray, block: tuple[int, int]) -> Any:
    """BSR of the blocks that keep something, filled up with zeros to whole blocks."""
    from scipy import sparse

    (height, width), filled = block, filled_blocks(kept, block)
    rows, columns = filled.shape
    whole = np.zeros((rows * height, columns * width), values.dtype)
    whole[: values.shape[0], : values.shape[1]] = values
    blocks = whole.reshape(rows, height, columns, width).swapaxes(1, 2)[filled]
    start = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
    return sparse.bsr_array((blocks, np.nonzero(filled)[1].astype(np.int32), start), shape=whole.shape)


def _packed(values: np.ndarray, kept: np.ndarray, pattern: NM) -> Packed:
    """The kept elements of each group, in order, then elements that are off; and where they are."""
    slots(values.shape, pattern)
    flags = _in_groups(kept, pattern)
    full = np.count_nonzero(flags, axis=1)
    if full.max() > pattern.keep:
        raise ValueError(f"{pattern.keep}:{pattern.group} keeps {pattern.keep} of each {pattern.group} along axis "
                         f"{pattern.axis}, got {full.max()} in group {int((full > pattern.keep).argmax())}: prune to "
                         "that pattern first")
    places = np.sort(np.argsort(~flags, axis=1, kind="stable")[:, : pattern.keep], axis=1)
    bits = (places[:, :, None] >> np.arange(position_bits(pattern.group))) & 1
    return Packed(np.take_along_axis(_in_groups(values, pattern), places, axis=1),
                  np.packbits(bits.astype(np.uint8).ravel(), bitorder="little"), pattern)
