"""A sparse layer of 4096 x 4096 in float32 on one thread, against dense and sparse products of numpy, torch and scipy.

Ours takes samples as rows and gives rows back, changes of layout included. Peers get their operands in the layout that
suits them best, made before the clock runs: every layout listed is timed, and the fastest is the peer's figure.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import Any
from warnings import catch_warnings

import numpy as np

from benchmarks.report import Row, at_most, faster, missing, named
from benchmarks.timing import seconds, take_turns
from benchmarks.wiring import same
from neuroprune.tensors.formats import to_sparse
from neuroprune.tensors.product import fastest, product

WIDTH = 4096
SPARSITIES = (0.9, 0.95, 0.99)
BATCHES = (1, 32, 256)
TARGET = 1.1  # times the best of the peers, everywhere
LEAD = 1.5  # somewhere


def rows(quick: bool) -> Iterator[Row]:
    """A row for each sparsity and batch against the best of four peers, then the row with the largest lead again."""
    rng = np.random.default_rng(6)
    width, sparsities, batches = (512, (0.9,), (1, 32)) if quick else (WIDTH, SPARSITIES, BATCHES)
    if find_spec("torch") is None:
        yield missing(f"sparse layer {width} x {width}", "torch", "torch")
    found = []
    with ExitStack() as stack:
        _one_thread(stack)
        for sparsity in sparsities:
            weight = rng.standard_normal((width, width), np.float32)
            weight *= rng.random(weight.shape, np.float32) >= sparsity
            for batch in batches:
                x = rng.standard_normal((batch, width), np.float32)
                work = f"sparse layer {width} x {width} float32, {sparsity:.0%} off, batch {batch}, one thread"
                found.append(_row(work, weight, x, quick))
                yield found[-1]
    lead = max(found, key=lambda row: row.theirs.median / row.ours.median)
    yield Row(f"largest lead: {lead.work}", lead.ours, lead.peer, lead.theirs, faster(LEAD))


def _row(work: str, weight: np.ndarray, x: np.ndarray, quick: bool) -> Row:
    sparse = to_sparse(weight)
    ours = partial(product, sparse, x)
    wanted = x.astype(np.float64) @ weight.T.astype(np.float64)
    peers = {**_dense_numpy(weight, x), **_scipy(sparse.matrix, x)}
    if find_spec("torch") is not None:
        peers |= _torch(weight, x)
    for call in (ours, *(call for calls in peers.values() for call in calls)):
        result = np.asarray(call())
        same(wanted, result.T if result.shape != wanted.shape and result.ndim == 2 else result.reshape(wanted.shape),
             1e-4 * np.abs(wanted).max())
    first, *others = take_turns(ours, *(call for calls in peers.values() for call in calls), quick=quick)
    timings = iter(others)
    best = {name: min((next(timings) for _ in calls), key=lambda timing: timing.median)
            for name, calls in peers.items()}
    name = min(best, key=lambda name: best[name].median)
    note = f"by our {fastest(sparse, x)!r}; " + ", ".join(f"{peer} {seconds(t.median)}" for peer, t in best.items())
    return Row(work, first, name, best[name], at_most(TARGET), note)


def _dense_numpy(weight: np.ndarray, x: np.ndarray) -> dict[str, list[Callable[[], Any]]]:
    if len(x) == 1:
        return {f"{named('numpy')} dense": [partial(np.matmul, weight, x[0])]}
    return {f"{named('numpy')} dense": [partial(np.matmul, x, weight.T),
                                        partial(np.matmul, weight, np.ascontiguousarray(x.T))]}


def _scipy(matrix: Any, x: np.ndarray) -> dict[str, list[Callable[[], Any]]]:
    operands = [x[0]] if len(x) == 1 else [np.ascontiguousarray(x.T), x.T]
    return {f"{named('scipy')} CSR": [partial(matrix.__matmul__, operand) for operand in operands]}


def _torch(weight: np.ndarray, x: np.ndarray) -> dict[str, list[Callable[[], Any]]]:
    import torch

    dense, samples = torch.from_numpy(weight), torch.from_numpy(x)
    with catch_warnings(action="ignore"):  # csr is called beta at its first use
        sparse = dense.to_sparse_csr()
    operands = [samples[0]] if len(x) == 1 else [samples.T.contiguous(), samples.T]
    linear = torch.nn.functional.linear
    return {f"{named('torch')} dense": [partial(linear, samples, dense), partial(torch.matmul, dense, operands[0])],
            f"{named('torch')} CSR": [partial(torch.matmul, sparse, operand) for operand in operands]}


def _one_thread(stack: ExitStack) -> None:
    """Hold the pools of threads behind numpy and torch to one; torch without a record for gradients."""
    if find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_limits

        stack.enter_context(threadpool_limits(1))
    if find_spec("torch") is not None:
        import torch

        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        stack.enter_context(torch.inference_mode())
