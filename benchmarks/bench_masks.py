"""Masks at 90% sparsity against `np.partition` of the same scores, which finds the threshold and makes no mask.

    python benchmarks/bench_masks.py [--quick]

Medians of at least 5 alternating runs on one thread; a ratio above 1 means that the mask is ready before the
partition. "plain" is the mask made the plain way, by partition and comparison, as small inputs still are.
"""

import argparse
from statistics import median
from time import perf_counter

import numpy as np

from neuroprune.pruning import masks, selection

SPARSITY = 0.9


def inputs(size: int, dtype: type) -> dict[str, np.ndarray]:
    """Scores as they come: magnitudes of fresh weights, of weights pruned before, of weights in order."""
    rng = np.random.default_rng(0)
    fresh = np.abs(rng.standard_normal(size)).astype(dtype)
    again = np.where(rng.random(size) < 0.85, dtype(0), fresh)
    return {"normal": fresh, "85% zeros": again, "sorted": np.sort(fresh)}


def alternate(calls: dict, runs: int) -> dict[str, float]:
    """Median milliseconds of each call, all taken in turn after one round that is not measured."""
    times = {name: [] for name in calls}
    for turn in range(runs + 1):
        for name, call in calls.items():
            start = perf_counter()
            call()
            if turn:
                times[name].append(1e3 * (perf_counter() - start))
    return {name: median(values) for name, values in times.items()}


def compare(scores: np.ndarray, runs: int = 7) -> dict[str, float]:
    """Median milliseconds of the peer, the plain mask and ours, of one array and of eight."""
    drop = masks.count(SPARSITY, scores.size)
    parts = np.array_split(scores, 8)
    calls = {
        "partition": lambda: np.partition(scores, drop - 1),
        "plain": lambda: selection.select_host([scores], drop, small=scores.size + 1),
        "sparse": lambda: masks.sparse(scores, SPARSITY),
        "jointly, 8 arrays": lambda: masks.sparse_jointly(parts, SPARSITY),
    }
    return alternate(calls, runs)


def measure(sizes: tuple[int, ...]) -> list[dict]:
    """One row per size, type and kind of scores."""
    return [
        {"scores": name, "size": size, "dtype": dtype.__name__, **compare(scores)}
        for size in sizes
        for dtype in (np.float32, np.float64)
        for name, scores in inputs(size, dtype).items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10^6 scores only")
    rows = measure((10**6,) if parser.parse_args().quick else (10**6, 10**7))
    timed = ("plain", "sparse", "jointly, 8 arrays")
    print(f"{'scores':>10} {'size':>9} {'dtype':>8} {'partition':>12}", *(f"{name:>24}" for name in timed))
    for row in rows:
        cells = (f"{row[name]:9.2f} ms {row['partition'] / row[name]:8.2f} x " for name in timed)
        print(f"{row['scores']:>10} {row['size']:9d} {row['dtype']:>8} {row['partition']:9.2f} ms", *cells)


if __name__ == "__main__":
    main()
