"""Writing a file whole or not at all."""

import os
import secrets
from collections.abc import Callable
from errno import EISDIR, ENOENT
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Any], None], text: bool = False) -> None:
    """Call `write(file)` on a temporary file beside `path`, flush it to disk, and rename it over `path`.

    Whatever goes wrong, `path` holds its former content and the temporary file is gone.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from neuroprune.network.atomic import write_atomically
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "a.txt"), lambda file: file.write("done"), text=True)
    ...     Path(folder, "a.txt").read_text()
    'done'
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(EISDIR, "a file must be written there, not a folder", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(ENOENT, "no such folder, make it first", str(path.parent))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    options = {"mode": "x", "encoding": "utf-8", "newline": ""} if text else {"mode": "xb"}
    try:
        with open(temporary, **options) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # after closing: some systems rename no open file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
