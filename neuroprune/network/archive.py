"""Columns in `.npz` archives with a JSON header: written whole or not at all, read without ever running code.

Whoever reads says which columns there may be, of which type and with how many axes; sizes are checked before numbers
are read.
"""

import io
import json
import math
import re
import reprlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuroprune.network.atomic import write_atomically

MAX_BYTES = 2**33  # 8 GiB of columns; a file that claims more is refused before anything is read
MAX_INTEGER = 2**63 - 1
SMALL, MAX_RATIO = 2**26, 100  # columns beyond 64 MiB may have at most so many times the bytes of their file
NPY_MAGIC = b"\x93NUMPY\x01\x00"
NPY_HEADER = re.compile(r"\{'descr': '(.{3})', 'fortran_order': False, "
                        r"'shape': \((\d{1,18}),(?: (\d{1,18}))?\), \} *\n")
DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError, MemoryError, OSError,
          RecursionError, NotImplementedError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


def write(path: Path, header: dict, columns: Mapping[str, np.ndarray]) -> None:
    """Write a header of JSON types and columns of one or two axes, atomically."""
    members = {"header": np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8), **columns}
    size = sum(column.nbytes for column in members.values())
    if size > MAX_BYTES:
        raise ValueError(f"a file must hold at most {MAX_BYTES} bytes of columns, got {size}")

    def write_both(file: Any) -> None:
        _write_members(file, members, zipfile.ZIP_DEFLATED)
        if size > _most_bytes(file.tell()):
            file.seek(0)
            file.truncate()
            _write_members(file, members, zipfile.ZIP_STORED)

    write_atomically(path, write_both)


def load(path: Path, what: str, assemble: Callable[[bytes], Any]) -> Any:
    """Give the content of a file to `assemble`; whatever is wrong with it becomes one ValueError."""
    size = path.stat().st_size
    content = path.read_bytes() if size <= MAX_BYTES else b""
    try:
        if size > MAX_BYTES:
            raise ValueError(f"it must have at most {MAX_BYTES} bytes, got {size}")
        return assemble(content)
    except DAMAGE as error:
        reason = " ".join(str(error).split()).split(". ")[0].rstrip(".") or type(error).__name__
        raise ValueError(f"{path} must be {what}, got a file that is not: {reason}") from None


def _write_members(file: Any, members: dict[str, np.ndarray], compression: int) -> None:
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
        for name, column in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:  # dated 1980 whenever it is written
                np.lib.format.write_array(member, np.ascontiguousarray(column), allow_pickle=False)


def _most_bytes(size: int) -> int:
    """How many bytes of columns a file of this size may claim to hold."""
    return min(max(SMALL, MAX_RATIO * size), MAX_BYTES)


def read(content: bytes, known: Mapping[str, str], tables: tuple[str, ...]) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and columns; `known` gives the dtype of each column that may be there, `tables` those of two axes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: info for info in archive.infolist()}
        unknown = members.keys() - {f"{name}.npy" for name in ("header", *known)}
        if unknown or "header.npy" not in members or len(members) != len(archive.infolist()):
            raise ValueError("the archive must hold a header and each known column once")
        if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members.values()):
            raise ValueError("the columns must be stored as they are or deflated")
        total, most = sum(info.file_size for info in members.values()), _most_bytes(len(content))
        if total > most:
            raise ValueError(f"the columns must have at most {most} bytes in a file of {len(content)}, got {total}")
        header = object_of(_member(archive, members["header.npy"], "header", np.dtype("|u1"), False).tobytes())
        columns = {name: _member(archive, members[f"{name}.npy"], name, np.dtype(dtype), name in tables)
                   for name, dtype in known.items() if f"{name}.npy" in members}
    return header, columns


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, dtype: np.dtype, table: bool) -> np.ndarray:
    """One column; its declared shape must fit its declared size before its numbers are read."""
    with archive.open(info) as member:
        start = member.read(len(NPY_MAGIC) + 2)
        length = int.from_bytes(start[-2:], "little")
        match = NPY_HEADER.fullmatch(member.read(length).decode("latin-1"))
        if not start.startswith(NPY_MAGIC) or match is None or match[1] != dtype.str:
            raise ValueError(f"the column {name!r} must be an array of {dtype.name} in npy format 1.0")
        shape = tuple(int(length) for length in match.groups()[1:] if length is not None)
        if len(shape) != 1 + table:
            raise ValueError(f"the column {name!r} must have {1 + table} axes, got shape {shape}")
        if math.prod(shape) * dtype.itemsize != info.file_size - len(start) - length:
            raise ValueError(f"the column {name!r} must have as many bytes as its shape {shape} says")
        body = member.read()
    if dtype.kind == "b" and np.frombuffer(body, np.uint8).max(initial=0) > 1:
        raise ValueError(f"the column {name!r} must hold only true and false")
    return np.frombuffer(body, dtype).reshape(shape)


def object_of(text: bytes) -> dict:
    """The one JSON object of a text, each entry of it there once."""
    data = json.loads(text.decode("utf-8"), object_pairs_hook=_entries)
    if not isinstance(data, dict):
        raise ValueError(f"there must be one JSON object, got {type(data).__name__}")
    return data


def _entries(pairs: list[tuple[str, Any]]) -> dict:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("each entry of a JSON object must be there once")
    return entries


def integer(value: Any, name: str, least: int = 0, most: int | None = MAX_INTEGER) -> int:
    """A JSON integer within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {reprlib.repr(value)}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most}, got {reprlib.repr(value)}")
    return value


def sized(column: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A column of that shape."""
    if column.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {column.shape}")
    return column
