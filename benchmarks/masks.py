"""Masks of dense weights: all magnitudes ranked together, groups of 2:4, and scores of several kinds.

One thread for everybody. What numpy and torch do by themselves finds a threshold, or the best of each group, and makes
no mask; ours makes the masks, and so does torch.nn.utils.prune, which also multiplies with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.report import Row, at_most, faster, missing, named
from benchmarks.timing import Contestant, take_turns
from neuroprune.pruning import masks
from neuroprune.tensors.prune import prune_tensors

SPARSITY = 0.9
LAYERS = 8
SHAPES = {10**6: (250, 500), 10**7: (1250, 1000), 10**8: (2500, 5000)}  # of each of the layers
PRUNE_LEAD = 60.0  # over torch.nn.utils.prune
PARTITION = {10**6: 1.25, 10**7: 1.0, 10**8: 1.0}  # times np.partition
GROUPS_LEAD = 4.0  # over torch.topk


def rows(quick: bool) -> Iterator[Row]:
    """The joint mask by size, the 2:4 mask, and single arrays of several kinds."""
    if find_spec("torch") is None:
        yield missing("masks", "torch", "torch")
    with _one_thread():
        for size in (10**6,) if quick else SHAPES:
            yield from _joint(size, quick)
        yield from _two_of_four(10**5 if quick else 10**7, quick)
        yield from _kinds(10**6 if quick else 10**7, quick)


def _joint(size: int, quick: bool) -> Iterator[Row]:
    """All weights ranked together, against what finds the threshold in the magnitudes as one array."""
    rng = np.random.default_rng(7)
    weights = {f"layer {i}": rng.standard_normal(SHAPES[size], np.float32) for i in range(LAYERS)}
    magnitudes = np.abs(np.concatenate([weight.ravel() for weight in weights.values()]))
    drop = round(SPARSITY * size)
    ours = partial(prune_tensors, weights, SPARSITY, scope="global")
    _check(weights, ours(), magnitudes, drop)
    work = f"joint {SPARSITY:.0%} magnitude mask over {LAYERS} tensors, {size:,} float32 weights"
    own, partition = take_turns(ours, partial(np.partition, magnitudes, drop - 1), quick=quick)
    yield Row(work, own, f"{named('numpy')}, np.partition of |w|", partition, at_most(PARTITION[size]))
    if find_spec("torch") is None:
        return
    import torch

    flat = torch.from_numpy(magnitudes)
    turns = 1 if size > 10**7 else 3 if size > 10**6 else None
    calls = {
        "nn.utils.prune.global_unstructured": Contestant(_global_unstructured, partial(_modules, weights), turns),
        "topk of the largest": Contestant(partial(torch.topk, flat, size - drop), tuple, turns),
        "kthvalue": Contestant(partial(torch.kthvalue, flat, drop), tuple, turns),
    }
    for (name, theirs), timing in zip(calls.items(), take_turns(*calls.values(), quick=quick), strict=True):
        target = faster(PRUNE_LEAD) if theirs.work is _global_unstructured and size > 10**6 else None
        yield Row(work, own, f"{named('torch')}, {name}", timing, target)


def _two_of_four(size: int, quick: bool) -> Iterator[Row]:
    scores = np.abs(np.random.default_rng(8).standard_normal((size // 1000, 1000), np.float32))
    work = f"2:4 mask of {size:,} float32 scores"
    if find_spec("torch") is None:
        return
    import torch

    groups = torch.from_numpy(scores).reshape(-1, 4)
    ours = partial(masks.n_of_m, scores, 2, 4)
    theirs = partial(torch.topk, groups, 2, dim=1)
    best = torch.zeros(groups.shape, dtype=torch.bool).scatter_(1, theirs().indices, True)
    if not np.array_equal(ours().reshape(-1, 4), best.numpy()):
        raise RuntimeError("both must keep the same two of four before they are timed, got others")
    own, timing = take_turns(ours, theirs, quick=quick)
    yield Row(work, own, f"{named('torch')}, topk of groups of 4", timing, faster(GROUPS_LEAD))


def _kinds(size: int, quick: bool) -> Iterator[Row]:
    """Scores as they come: of fresh weights, of weights pruned before, of weights in order."""
    rng = np.random.default_rng(0)
    fresh = np.abs(rng.standard_normal(size))
    again = np.where(rng.random(size) < 0.85, 0.0, fresh)
    for kind, scores in {"normal": fresh, "85% zeros": again, "sorted": np.sort(fresh)}.items():
        for dtype in (np.float32, np.float64):
            array = scores.astype(dtype)
            own, partition = take_turns(partial(masks.sparse, array, SPARSITY),
                                        partial(np.partition, array, round(SPARSITY * size) - 1), quick=quick)
            yield Row(f"{SPARSITY:.0%} mask of {size:,} {array.dtype} scores, {kind}", own,
                      f"{named('numpy')}, np.partition", partition)


@contextmanager
def _one_thread() -> Iterator[None]:
    """numpy ranks on one thread anyway, and so do we; torch is told."""
    if find_spec("torch") is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _modules(weights: dict[str, np.ndarray]) -> tuple[list[tuple[Any, str]]]:
    """Fresh modules over the same weights, as torch.nn.utils.prune wants them."""
    import torch

    pairs = []
    for weight in weights.values():
        module = torch.nn.Module()
        module.weight = torch.nn.Parameter(torch.from_numpy(weight))
        pairs.append((module, "weight"))
    return (pairs,)


def _global_unstructured(pairs: list[tuple[Any, str]]) -> None:
    from torch.nn.utils import prune

    prune.global_unstructured(pairs, prune.L1Unstructured, amount=SPARSITY)


def _check(weights: dict[str, np.ndarray], found: dict[str, np.ndarray], magnitudes: np.ndarray, drop: int) -> None:
    """As many go as asked, and no one that stays is smaller than one that goes."""
    kept = np.concatenate([found[name].ravel() for name in weights])
    if (~kept).sum() != drop or magnitudes[kept].min() < magnitudes[~kept].max():
        raise RuntimeError("the largest weights must stay before that is timed, got others")
