"""Schedules fire where they say and land on the target exactly."""

import json
import math
import pickle
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_pruning as oracle
from neuroprune.pruning import schedules

GOLDEN = Path(__file__).parent / "golden" / "prune" / "zhu_gupta.json"
WINDOWS = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted)
TARGETS = st.floats(0, 1, exclude_min=True)
RAMPS = sorted(schedules.RAMPS)


def square(progress):
    return progress**2


@pytest.mark.parametrize("ramp", [*RAMPS, square])
@given(target=TARGETS, window=WINDOWS, frequency=st.integers(1, 70))
def test_ramps(ramp, target: float, window: list, frequency: int) -> None:
    start, end = window
    schedule = schedules.make(ramp, target, start, end, frequency)
    levels = [schedule.sparsity(step) for step in range(130)]
    wanted = [oracle.ramp(ramp, target, start, end, step) if step >= start else 0.0 for step in range(130)]
    assert np.allclose(levels, wanted, rtol=1e-12, atol=1e-15)
    assert levels == sorted(levels)
    assert levels[end:] == [target] * (130 - end)  # not 0.8999999
    assert not any(levels[: start + (start != end)])
    fired = [step for step in range(130) if schedule.fires(step)]
    assert fired == [step for step in range(130) if oracle.schedule_fires(step, start, end, frequency)]
    assert fired[0] == start and fired[-1] == end


@given(target=TARGETS, window=WINDOWS, data=st.data())
def test_iterative(target: float, window: list, data: st.DataObject) -> None:
    start, end = window
    rounds = data.draw(st.integers(1, end - start + 1))
    schedule = schedules.Iterative(target, start, end, rounds)
    fired = [step for step in range(130) if schedule.fires(step)]
    assert len(fired) == rounds and fired[-1] == end
    assert rounds == 1 or fired[0] == start
    gaps = np.diff(fired)
    assert rounds == 1 or gaps.max() - gaps.min() <= 1
    for step in range(130):
        done = sum(place <= step for place in fired)
        assert schedule.sparsity(step) == pytest.approx(oracle.iterative(target, rounds, done), rel=1e-12, abs=1e-15)
    assert schedule.sparsity(end) == schedule.sparsity(1000) == target
    assert start == 0 or schedule.sparsity(start - 1) == 0


@given(target=TARGETS, place=st.integers(0, 50))
def test_one_shot(target: float, place: int) -> None:
    schedule = schedules.OneShot(target, place)
    assert [step for step in range(60) if schedule.fires(step)] == [place]
    assert [schedule.sparsity(step) for step in range(60)] == [0.0] * place + [target] * (60 - place)


def test_formulas_half_way() -> None:
    halves = {ramp: schedules.make(ramp, 0.75, 0, 10).sparsity(5) for ramp in RAMPS}
    assert halves["linear"] == 0.375
    assert halves["cubic"] == 0.75 * 0.875
    assert halves["cosine"] == pytest.approx(0.375, rel=1e-15)
    assert halves["exponential"] == 0.5
    assert schedules.Cosine(1.0, 0, 4).sparsity(1) == pytest.approx((1 - math.sqrt(0.5)) / 2, rel=1e-15)


def test_a_window_of_one_step() -> None:
    for ramp in RAMPS:
        schedule = schedules.make(ramp, 0.9, 7, 7, frequency=3)
        assert [step for step in range(20) if schedule.fires(step)] == [7]
        assert schedule.sparsity(6) == 0 and schedule.sparsity(7) == 0.9


def test_everything_may_go() -> None:
    for ramp in RAMPS:
        schedule = schedules.make(ramp, 1, 0, 10)
        assert schedule.sparsity(0) == 0 and schedule.sparsity(10) == 1
    assert schedules.Iterative(1, 0, 4, 2).sparsity(4) == 1


def test_they_are_values() -> None:
    first = schedules.Cubic(0.5, 1, 9)
    assert first == schedules.Cubic(np.float32(0.5), np.int64(1), 9, frequency=1) != schedules.Linear(0.5, 1, 9)
    assert hash(first) == hash(schedules.Cubic(0.5, 1, 9))
    with pytest.raises(FrozenInstanceError):
        first.target = 0.9
    for schedule in (first, schedules.OneShot(0.5, 3), schedules.Iterative(0.5, 0, 9, 3)):
        assert pickle.loads(pickle.dumps(schedule)) == schedule
        assert {type(value) for value in json.loads(json.dumps(asdict(schedule))).values()} <= {int, float}


def test_make() -> None:
    assert schedules.make("linear", 0.5, 1, 9, 2) == schedules.Linear(0.5, 1, 9, 2)
    assert schedules.make(square, 0.5, 1, 9) == schedules.Curve(0.5, 1, 9, curve=square)
    with pytest.raises(ValueError, match="^ramp must be .*, got 'qubic': did you mean 'cubic'"):
        schedules.make("qubic", 0.5, 1, 9)
    with pytest.raises(
        ValueError, match="^ramp must be .*, got 'x': choose from linear, cubic, cosine, exponential or"
    ):
        schedules.make("x", 0.5, 1, 9)
    with pytest.raises(ValueError, match="^ramp must be .*, got None"):
        schedules.make(None, 0.5, 1, 9)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_curve_must_give_shares(share: float) -> None:
    schedule = schedules.Curve(0.5, 0, 10, curve=lambda progress: share)
    with pytest.raises(
        ValueError, match=rf"^curve must return a share of the target in \[0, 1\], got {share} at progres"
    ):
        schedule.sparsity(5)
    assert schedule.sparsity(10) == 0.5
    with pytest.raises(TypeError, match="curve must be a function of progress, got str"):
        schedules.Curve(0.5, 0, 10, curve="linear")


BUILDERS = {
    "linear": lambda target=0.5, start=0, end=9: schedules.Linear(target, start, end),
    "cubic": lambda target=0.5, start=0, end=9: schedules.Cubic(target, start, end),
    "cosine": lambda target=0.5, start=0, end=9: schedules.Cosine(target, start, end),
    "exponential": lambda target=0.5, start=0, end=9: schedules.Exponential(target, start, end),
    "curve": lambda target=0.5, start=0, end=9: schedules.Curve(target, start, end, curve=square),
    "iterative": lambda target=0.5, start=0, end=9: schedules.Iterative(target, start, end, 2),
    "one shot": lambda target=0.5, start=0, end=9: schedules.OneShot(target, start),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_what_is_out_of_range(name: str) -> None:
    build = BUILDERS[name]
    first = "step" if name == "one shot" else "start"
    for target in (0, 0.0, -0.5, 1.5, math.nan, math.inf, "0.5", None):
        with pytest.raises(ValueError, match=rf"^target must be a sparsity in \(0, 1\], got {target!r}$"):
            build(target=target)
    with pytest.raises(ValueError, match=f"^{first} must be an integer of at least 0, got -1$"):
        build(start=-1)
    with pytest.raises(TypeError, match=f"^{first} must be an integer of at least 0, got 0.5$"):
        build(start=0.5)
    if name != "one shot":
        with pytest.raises(ValueError, match="^end must be at least start, 5, got 4$"):
            build(start=5, end=4)
        with pytest.raises(TypeError, match="^end must be an integer of at least 0, got '9'$"):
            build(end="9")


def test_frequency_and_rounds() -> None:
    for frequency, kind in ((0, ValueError), (-3, ValueError), (0.5, TypeError)):
        with pytest.raises(kind, match=f"^frequency must be an integer of at least 1, got {frequency}$"):
            schedules.Linear(0.5, 0, 9, frequency)
    with pytest.raises(ValueError, match="^rounds must be an integer of at least 1, got 0$"):
        schedules.Iterative(0.5, 0, 9, 0)
    with pytest.raises(ValueError, match="^rounds must be at most the 10 steps from start to end, got 11$"):
        schedules.Iterative(0.5, 0, 9, 11)
    assert [schedules.Iterative(0.5, 0, 9, 10).fires(step) for step in range(10)] == [True] * 10


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text())["cases"], ids=lambda case: case["id"])
def test_golden_zhu_gupta(case: dict) -> None:
    params, expected, tol = case["params"], case["expected"], case["tol"]
    if "power" in params:  # counts the step that is about to be taken, and fires by the step modulo the frequency
        schedule = schedules.Cubic(params["target"], params["start"], params["end"], params["freq"])
        levels = [schedule.sparsity(step + 1) if step >= params["start"] else 0.0 for step in case["inputs"]["step"]]
        assert np.allclose(levels, expected["sparsity"], **tol)
        return
    first, last = params["initial_sparsity"], params["final_sparsity"]
    schedule = schedules.Cubic(last - first, params["T_start"], params["T_max"], params["interval"])
    levels = [first + schedule.sparsity(step) for step in case["inputs"]["steps"]]
    assert np.allclose(levels, expected["cumulative_sparsity"], **tol)
