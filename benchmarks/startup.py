"""How long it takes to start: import, the first and the second run of the main job, compiling every kernel."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.report import Row, named, within
from benchmarks.timing import QUICK_REPEATS, REPEATS, summary

ROOT = Path(__file__).parents[1]
COMPILE_LIMIT = 30.0


def rows(quick: bool) -> Iterator[Row]:
    """All in processes of their own; an empty folder as compilation cache makes a run the first one."""
    turns = QUICK_REPEATS if quick else REPEATS
    ours, theirs = [], []
    for _ in range(turns):
        ours.append(_seconds(["-c", "import neuroprune"], {})[0])
        theirs.append(_seconds(["-c", "import numpy"], {})[0])
    yield Row("import neuroprune, a process", summary(ours), f"{named('numpy')}, import numpy", summary(theirs))
    if quick:
        return
    with TemporaryDirectory() as folder:
        empty = {"NUMBA_CACHE_DIR": str(Path(folder, "cache")), "MPLBACKEND": "Agg"}
        job = ["-m", "neuroprune", "digits", "--quick", "--out", str(Path(folder, "out"))]
        yield _run("first-ever run of `neuroprune digits --quick`", job, empty)
        yield _run("second run of `neuroprune digits --quick`", job, empty)
    with TemporaryDirectory() as folder:
        taken, output = _seconds(["-m", "benchmarks.compilation"], {"NUMBA_CACHE_DIR": folder})
        compiling, remark = output.split(" ", 1)
        yield Row("compile all kernels, empty cache", summary([float(compiling)]), target=within(COMPILE_LIMIT),
                  note=f"{remark}; the process took {taken:.1f} s; measured once")


def _run(work: str, job: list[str], variables: dict[str, str]) -> Row:
    try:
        return Row(work, summary([_seconds(job, variables)[0]]), note="measured once")
    except RuntimeError as error:
        return Row(work, None, note=str(error))


def _seconds(arguments: list[str], variables: dict[str, str]) -> tuple[float, str]:
    """Seconds of a Python process from start to end, and the last line that it printed."""
    start = perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **variables},
                          capture_output=True, text=True, check=False)
    taken = perf_counter() - start
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{' '.join(arguments[:4])} must succeed to be timed, got: {last}")
    return taken, (done.stdout.strip().splitlines() or [""])[-1]
