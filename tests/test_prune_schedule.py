"""Scheduled pruning: when it fires, how far it goes, and regrowth that lands on the target, against the oracles."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import oracles as o
import strategies as s
from bridge import assert_one_sentence, assert_sound, plain
from living import candidates, everything, living, pairs, star
from neuroprune import Network, PruningSchedule

RAMPS = {"linear": "linear", "cubic": "cubic", "cosine": "cosine", "exponential": "exponential", "square": np.square}


# ---------------------------------------------------------------- when the schedule fires, and how far it goes


@st.composite
def schedules(draw, max_end=12):
    start = draw(st.integers(0, max_end))
    end = draw(st.integers(start, max_end))
    target = draw(st.one_of(st.sampled_from((0.5, 0.9, 0.999, 1.0, 1e-9)), st.floats(0.001, 1.0)))
    return target, start, end, draw(st.integers(1, max_end + 3)), draw(st.sampled_from(list(RAMPS)))


@given(schedules(), st.integers(1, 60), st.data())
@example((0.5, 3, 3, 1, "linear"), 10, None)
def test_fires_and_counts_as_the_oracle_says(schedule, count, data):
    target, start, end, frequency, ramp = schedule
    in_turn = range(end + 3)
    any_order = st.lists(st.integers(0, end + 4), max_size=12)  # repeated, backwards, late
    calls = list(in_turn) if data is None or data.draw(st.booleans()) else data.draw(any_order)
    net = star(np.random.default_rng(count).permutation(count) + 1.0)
    net.pruning = PruningSchedule(target, start, end, frequency, ramp=RAMPS[ramp])
    history = []
    for iteration in calls:
        result = net.maybe_prune(iteration)
        history.append((result is not None, len(net.connections)))
        if result is not None:
            assert net.last_prune_iteration == iteration and result.sparsity == net.sparsity
            assert result.kept.sum() == len(net.connections)
    assert history == o.scheduled(calls, count, target, start, end, frequency, RAMPS[ramp])
    if calls == list(in_turn):
        assert len(net.connections) == max(1, count - round(target * count))


@given(schedules(), st.integers(2, 60))
def test_a_call_after_the_end_meets_the_target_once(schedule, count):
    target, start, end, frequency, ramp = schedule
    net = star(np.arange(count) + 1.0)
    net.pruning = PruningSchedule(target, start, end, frequency, ramp=RAMPS[ramp])
    assert (net.maybe_prune(end + 7) is not None) == (o.desired_count(target, count) < count)
    assert len(net.connections) == o.desired_count(target, count)
    assert net.maybe_prune(end + 8) is None and net.maybe_prune(end + 7) is None
    net.regrow(min(1, count - len(net.connections)))
    assert net.maybe_prune(end + 9) is None  # what grows after the end stays


def test_the_ramp_runs_from_0_at_the_start():
    net = star(np.arange(10) + 1.0)
    net.pruning = PruningSchedule(0.8, start=2, end=4)
    net.maybe_prune(2)
    assert len(net.connections) == 10
    net.connect(0, 10, 1.0) if (0, 10) not in net.connections else None
    net.maybe_prune(3)
    assert len(net.connections) == 6


def test_growth_between_calls_is_trimmed_back():
    net = Network.random(4, 3, 3, 20, seed=0)
    net.pruning = PruningSchedule(0.5, start=1, end=3)
    for iteration, left in ((1, 20), (2, 15), (3, 10)):
        net.regrow(4)
        net.maybe_prune(iteration)
        assert len(net.connections) == left


def test_setting_a_schedule_again_captures_the_baseline_again():
    net, schedule = star(np.arange(20) + 1.0), PruningSchedule(0.5, start=1, end=1)
    net.pruning = schedule
    assert net.initial_connection_count == 20 and net.last_prune_iteration is None
    net.maybe_prune(1)
    assert (len(net.connections), net.sparsity, net.last_prune_iteration) == (10, 0.5, 1)
    net.pruning = schedule
    assert (net.initial_connection_count, net.sparsity, net.last_prune_iteration) == (10, 0.0, None)
    net.maybe_prune(1)
    assert len(net.connections) == 5
    net.pruning = None
    assert net.pruning is net.initial_connection_count is net.last_prune_iteration is None and net.sparsity == 0.0
    assert net.maybe_prune(1) is None and len(net.connections) == 5


def test_without_a_schedule_nothing_happens():
    net = star([1.0, 2.0])
    before = everything(net)
    assert net.maybe_prune(1) is None and everything(net) == before


@pytest.mark.parametrize("iteration", [True, 1.0, "1", None])
def test_an_iteration_is_an_integer(iteration):
    net = star([1.0, 2.0])
    net.pruning = PruningSchedule(0.5, 1, 1)
    with pytest.raises(TypeError, match="iteration must be an integer") as error:
        net.maybe_prune(iteration)
    assert_one_sentence(error)
    assert net.maybe_prune(np.int64(1)) is not None and type(net.last_prune_iteration) is int


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"target_sparsity": 0.0}, ValueError, "target"),
        ({"target_sparsity": 1.01}, ValueError, "target"),
        ({"target_sparsity": math.nan}, ValueError, "target"),
        ({"start": -1}, ValueError, "start"),
        ({"start": 6}, ValueError, "end"),
        ({"end": 2.5}, TypeError, "end"),
        ({"frequency": 0}, ValueError, "frequency"),
        ({"frequency": 1.5}, TypeError, "frequency"),
        ({"method": "magnitud"}, ValueError, "magnitude"),
        ({"method": 3}, TypeError, "method"),
        ({"regrow_fraction": 1.1}, ValueError, "regrow_fraction"),
        ({"regrow_fraction": -0.1}, ValueError, "regrow_fraction"),
        ({"regrow_fraction": math.nan}, ValueError, "regrow_fraction"),
        ({"ramp": "cubik"}, ValueError, "cubic"),
        ({"candidates": "layer"}, ValueError, "candidates"),
        ({"signals": {}}, TypeError, "signals"),
    ],
)
def test_a_schedule_refuses_nonsense(wrong, error, named):
    right = {"target_sparsity": 0.5, "start": 1, "end": 5}
    with pytest.raises(error, match=named) as raised:
        PruningSchedule(**right | wrong)
    assert_one_sentence(raised)


def test_a_schedule_is_a_frozen_value():
    schedule = PruningSchedule(0.5, 1, 5, ramp="cubic")
    with pytest.raises(FrozenInstanceError):
        schedule.target_sparsity = 0.9
    assert schedule == PruningSchedule(0.5, 1, 5, ramp="cubic") != replace(schedule, ramp="linear")
    places = np.array([[0, 3], [1, 3]])
    first, second = PruningSchedule(0.5, 1, 5, candidates=places), PruningSchedule(0.5, 1, 5, candidates=places.copy())
    assert first == second != schedule and first != PruningSchedule(0.5, 1, 5, candidates=places[:1])
    assert hash(first) == hash(second) and first != PruningSchedule(0.5, 1, 5, candidates=places == 0)
    places[:] = 9
    assert first == second  # what is done to the caller's array does not reach it
    with pytest.raises(TypeError, match="net.pruning must be a PruningSchedule or None, got dict") as error:
        star([1.0]).pruning = {"target_sparsity": 0.5}
    assert_one_sentence(error)


# ---------------------------------------------------------------- regrowth within a schedule


@given(living(), s.sparsities(), s.sparsities(), st.data())
def test_regrowth_lands_on_the_target_exactly(net, target, fraction, data):
    if target == 0:
        target = 0.5
    places, allowed = data.draw(candidates(net))
    before, stored, delays = plain(net), pairs(net.connections), net.graph.recurrent
    scores, bound = np.abs(net.connections.weight), len(before.connections)
    net.pruning = PruningSchedule(target, 1, 1, regrow_fraction=fraction, candidates=places)
    result = net.maybe_prune(1)
    if not bound:
        assert result is None and len(net.connections) == 0
        return
    desired = o.desired_count(target, bound)
    excess = bound - desired

    def free_after(n):
        kept = o.prune_lowest(scores.tolist(), n)
        return len(allowed - {pair for pair, stays in zip(stored, kept, strict=True) if stays})

    grown = o.regrow_count(fraction, excess, desired, free_after) if excess > 0 else 0
    assert len(result.regrown) == grown and len(result.removed) == max(0, excess) + grown
    assert len(net.connections) == desired
    assert result.kept.tolist() == o.prune_lowest(scores.tolist(), max(0, excess) + grown)
    assert_sound(net)
    kept = {pair for pair, stays in zip(stored, result.kept, strict=True) if stays}
    assert set(pairs(result.regrown)) <= allowed - kept
    assert set(pairs(net.connections)) == kept | set(pairs(result.regrown))
    assert np.all(np.abs(result.regrown.weight) < 0.1)
    after = plain(net)
    for pair, weight in zip(pairs(result.regrown), result.regrown.weight.tolist(), strict=True):
        assert after.connections[pair] == (weight, o.is_delayed(before, *pair) if delays else False)
    assert {pair: after.connections[pair] for pair in kept} == {pair: before.connections[pair] for pair in kept}


@pytest.mark.parametrize(("fraction", "grown"), [(0.0, 0), (0.25, 1), (0.4, 2), (0.5, 2), (0.99, 3), (1.0, 3)])
def test_what_is_regrown_is_a_share_of_the_smaller_of_excess_and_target(fraction, grown):
    net = Network.dense([4, 5], seed=0)
    net.pruning = PruningSchedule(0.8, 1, 1, regrow_fraction=fraction)  # 16 too many, 4 wanted
    result = net.maybe_prune(1)
    assert (len(result.removed), len(result.regrown), len(net.connections)) == (16 + grown, grown, 4)


@pytest.mark.parametrize(
    ("places", "grown"),
    [((), 0), ((0,), 1), ((0, 1), 2), ((0, 1, 4), 3), ((9,), 0), ((0, 7), 1), ((0, 1, 6), 3), ((0, 5), 2), ((5,), 1)],
)
def test_fewer_are_regrown_where_there_is_less_room(places, grown):
    net = star(np.arange(10) + 1.0)  # the first 5 go; each one regrown takes the next along
    net.pruning = PruningSchedule(0.5, 1, 1, regrow_fraction=1.0, candidates=[(place, 10) for place in places])
    result = net.maybe_prune(1)
    assert (len(result.removed), len(result.regrown), len(net.connections)) == (5 + grown, grown, 5)


def test_bad_candidates_are_refused_when_the_schedule_is_set():
    net = Network.dense([2, 2], seed=0)
    for places in ([[2, 0]], [[0, 9]], np.ones((3, 3), bool), [[0.5, 2.0]], "layer"):
        with pytest.raises(ValueError, match="candidates") as error:
            net.pruning = PruningSchedule(0.5, 1, 2, regrow_fraction=0.5, candidates=places)
        assert_one_sentence(error)
        assert net.pruning is None and net.initial_connection_count is None
    with pytest.raises(ValueError, match="use candidates='order'"):
        Network.random(2, 2, 0, 2, seed=0).pruning = PruningSchedule(0.5, 1, 2, regrow_fraction=1, candidates="layers")
