"""Selection, counts and schedules: against hand-made cases, a stable sort and golden numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles as o
import strategies as s


def test_selection_by_hand():
    assert o.lowest_first([2, 1, 2, 1]) == [1, 3, 0, 2]
    assert o.top([1, 1, 1, 1], 1) == [False, False, False, True]
    assert o.sparse([5, 4, 3, 2, 1], 0.5) == [True, True, True, False, False]  # 2.5 rounds to 2
    assert o.sparse_rows([[1, 2], [2, 1]], 0.5) == [[False, True], [True, False]]
    assert o.sparse_jointly([[1, 2, 3], [9, 9]], 0.4) == [[False, False, True], [True, True]]
    assert o.sparse_jointly([[1, 2, 3], [9, 9]], 0.6) == [[False, False, True], [False, True]]
    assert o.sparse_jointly([[1, 2, 3], [9, 9]], 0.6, 0) == [[False] * 3, [True, True]]
    with pytest.raises(ValueError):
        o.sparse_jointly([[1, 2, 3], [9, 9]], 1.0)
    assert o.swap([True, True, False, False], [3, 1, 0, 0], [0, 5, 5, 1], 1) == [True, False, True, False]
    assert o.swap([True, True, False, False], [3, 1, 0, 0], [0, 6, 5, 1], 1) == [True, True, False, False]
    assert o.prune_lowest([1, 2, 3], 1, [True, False, False]) == [True, False, True]
    with pytest.raises(ValueError):
        o.prune_lowest([1, 2], 2, [True, False])
    assert o.snip([-2.0, 3.0], None) == [2.0, 3.0] and o.snip([-2.0, 3.0], [0.0, -1.0]) == [0.0, 3.0]


@given(s.scores(), s.sparsities())
def test_selection_equals_a_stable_sort(scores, fraction):
    mask = np.ones(len(scores), bool)
    mask[np.argsort(scores, kind="stable")[: round(fraction * len(scores))]] = False
    assert o.sparse(scores.tolist(), fraction) == mask.tolist()
    assert o.sparse_jointly([scores.tolist()], fraction, 0) == [mask.tolist()]


@given(s.layer_scores(), s.sparsities(), st.integers(0, 3))
def test_joint_selection_keeps_its_reserve_and_its_count(layers, fraction, least):
    size = sum(map(len, layers))
    if round(fraction * size) > sum(max(0, len(layer) - least) for layer in layers):
        with pytest.raises(ValueError):
            o.sparse_jointly(layers, fraction, least)
        return
    masks = o.sparse_jointly(layers, fraction, least)
    assert sum(map(sum, masks)) == size - round(fraction * size)
    assert all(sum(mask) >= min(least, len(mask)) for mask in masks)


def test_counts_and_ramps_by_hand():
    assert o.desired_count(0.9, 100) == 10 and o.desired_count(1.0, 5) == 1 and o.desired_count(0.5, 0) == 0
    assert o.prune_to_sparsity(100, None, 0.9) == (90, 100)
    assert o.prune_to_sparsity(50, 100, 5.0) == (49, 100) and o.prune_to_sparsity(5, None, -1) == (0, None)
    with pytest.raises(ValueError):
        o.prune_to_sparsity(5, 5, math.nan)
    assert o.sparsity(5) == 0.0 and o.sparsity(5, 10, 6) == 0.5 and o.sparsity(12, None, 10) == 0.0
    assert [o.ramp("cubic", 0.8, 0, 2, i) for i in (-1, 0, 1, 2, 3)] == [0, 0, 0.8 * 0.875, 0.8, 0.8]
    assert o.ramp("exponential", 0.75, 0, 2, 1) == 0.5 and math.isclose(o.ramp("cosine", 0.8, 0, 2, 1), 0.4)
    assert o.ramp(lambda p: p * p, 0.8, 2, 6, 4) == 0.2 and o.ramp("linear", 0.8, 3, 3, 3) == 0.8
    assert o.iterative(0.75, 2, 1) == 0.5
    assert [i for i in range(15) if o.schedule_fires(i, 2, 10, 3)] == [2, 5, 8, 10]
    calls = [0, 4, 4, 7, 9, 12, 13]  # 12 is the first at or after the end
    assert o.scheduled(calls, 100, 0.9, 4, 10, 3) == list(
        zip([False, True, False, True, False, True, False], [100, 100, 100, 55, 55, 10, 10], strict=True)
    )
    assert o.scheduled([1, 2, 3, 4], 10, 0.5, 3, 3) == [(False, 10), (False, 10), (True, 5), (False, 5)]
    assert o.regrow_count(0.2, 30, 70) == 6 and o.regrow_count(1.0, 90, 10) == 9 and o.regrow_count(1, -3, 9) == 0
    assert o.regrow_count(1.0, 10, 10, lambda removed: 4) == 4


@pytest.mark.parametrize("case", o.golden("prune_to_sparsity")["cases"], ids=lambda case: f"{case['tag']}{case['id']}")
def test_prune_to_sparsity_against_golden(case):
    edges, baseline = case["net"]["edges"], None
    weights, deltas = [edge[2] for edge in edges], case["net"].get("total_delta") or case["net"].get("previous_delta")
    present = list(range(len(edges)))
    for step in case["steps"]:
        if step["op"] == "connect":
            present.append(len(weights))
            weights.append(step["weight"])
            continue
        target = float(step["target"])
        gone, baseline = o.prune_to_sparsity(len(present), baseline, target)
        assert baseline == step["baseline"]
        if target > 0:
            reference = max(min(1, baseline), math.floor(baseline * (1 - min(target, 0.999))))
            assert step["remaining"] == min(len(present), reference)
            assert reference <= o.desired_count(min(target, 0.999), baseline) <= reference + 1
        if not (step["method"] == "snip" and deltas and 0 in deltas):
            gradients = deltas and [deltas[e] for e in present] if step["method"] == "snip" else None
            scores = o.snip([weights[e] for e in present], gradients)
            mask = o.prune_lowest(scores, gone)
            ours = sorted((score for score, stays in zip(scores, mask, strict=True) if stays), reverse=True)
            theirs = sorted((scores[present.index(e)] for e in step["survivors"]), reverse=True)
            assert all(a == b for a, b in zip(ours, theirs, strict=False)) and len(ours) - len(theirs) in (0, 1)
        present = step["survivors"]


def refused(case):
    """The reference ran a configuration that we refuse: put in place unvalidated, or a fractional frequency."""
    return case["direct"] or case["tag"] == "fractional_frequency"


SCHEDULED = [case for case in o.golden("maybe_prune")["cases"] if not refused(case)]


@pytest.mark.parametrize("case", SCHEDULED, ids=lambda case: f"{case['tag']}{case['id']}")
def test_firing_and_counts_against_golden(case):
    config = case["config"]
    frequency = 1 if config["frequency"] is None else config["frequency"]
    count, baseline = len(case["net"]["edges"]), case["baseline"]
    start, end, target, last = config["start"], config["end"], config["targetSparsity"], None
    for step in case["steps"]:
        if step["op"] == "connect":
            count += 1
        if step["op"] == "configure":
            start, end, target = (step["config"][key] for key in ("start", "end", "targetSparsity"))
            baseline, last = count, None
        if step["op"] != "prune":
            continue
        fired = o.fires(step["iter"], last, start, end, frequency)
        theirs = step["last_prune_iter"] == step["iter"] != last
        assert fired == theirs or (fired and step["iter"] >= end)  # we also fire for the last time
        last = step["iter"] if fired else last
        if fired and theirs and start < end:
            wanted = o.desired_count(o.ramp("linear", target, start, end, step["iter"]), baseline)
            assert min(count, wanted) - step["remaining"] in (0, 1)
        count = step["remaining"]
