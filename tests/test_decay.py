"""The share that is dropped, over the steps: formulas, ends, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_rewiring as oracle
from bridge import assert_one_sentence
from neuroprune.pruning import decay

RATES = st.floats(0, 1)
STEPS = st.integers(0, 10_000)


@given(rate=RATES, step=STEPS)
def test_constant(rate: float, step: int) -> None:
    assert decay.Constant(rate).rate(step) == rate


@given(rate=RATES, until=st.integers(1, 5000), step=STEPS, share=st.floats(0, 1))
def test_cosine(rate: float, until: int, step: int, share: float) -> None:
    floor = rate * share
    assert decay.Cosine(rate, until, floor).rate(step) == pytest.approx(
        oracle.cosine(rate, until, step, floor), rel=1e-12, abs=1e-15
    )
    assert decay.Cosine(rate, until).rate(step) == pytest.approx(oracle.cosine(rate, until, step), abs=1e-15)


@given(rate=RATES, until=st.integers(1, 5000), step=STEPS)
def test_linear(rate: float, until: int, step: int) -> None:
    assert decay.Linear(rate, until).rate(step) == pytest.approx(oracle.linear(rate, until, step), abs=1e-12)
    lifted = decay.Linear(rate, until, rate / 2).rate(step)
    assert lifted == pytest.approx(rate / 2 + oracle.linear(rate / 2, until, step), abs=1e-12)


@given(
    target=st.floats(0.01, 1), share=st.floats(0, 1), start=st.integers(0, 500), length=st.integers(1, 2000),
    frequency=st.integers(1, 300), step=STEPS, current=st.none() | RATES,
)  # fmt: skip
def test_magnitude(target, share, start, length, frequency, step, current) -> None:
    initial, end = target * share, start + length
    curve = decay.Magnitude(target, start, end, frequency, initial=initial)
    assert curve.cumulative(step) == pytest.approx(oracle.zhu_gupta(target, start, end, step, initial), abs=1e-12)
    amount = curve.rate(step) if current is None else curve.rate(step, current=current)
    wanted = oracle.zhu_gupta_amount(target, start, end, frequency, step, initial, current)
    assert amount == pytest.approx(wanted, abs=1e-12) and 0 <= amount <= 1


def test_the_ends() -> None:
    for curve in (decay.Cosine(0.3, 10), decay.Linear(0.3, 10)):
        assert curve.rate(0) == 0.3 and curve.rate(5) == pytest.approx(0.15)
        assert curve.rate(10) == 0.0 and curve.rate(99) == 0.0  # exactly: nothing is left over by rounding
    assert decay.Cosine(0.3, 10, floor=0.1).rate(10) == 0.1 and decay.Cosine(0.3, 10, floor=0.1).rate(0) == 0.3
    curve = decay.Magnitude(0.9, 100, 200, 10)
    assert curve.cumulative(100) == 0.0 and curve.cumulative(200) == curve.cumulative(10_000) == 0.9
    assert curve.rate(100) == 0.0 and curve.rate(210) == 0.0
    assert curve.rate(200, current=0.95) == 0.0  # more is gone already


@given(target=st.floats(0.1, 0.99), frequency=st.integers(1, 50), rounds=st.integers(1, 40))
def test_amounts_add_up_to_the_target(target: float, frequency: int, rounds: int) -> None:
    """The finite differences at every period sum to the target; what is given as current is only topped up."""
    curve = decay.Magnitude(target, 0, frequency * rounds, frequency)
    steps = range(0, frequency * rounds + 1, frequency)
    assert math.fsum(curve.rate(step) for step in steps) == pytest.approx(target)
    gone = 0.0
    for step in steps:
        gone += curve.rate(step, current=gone)
        assert gone == pytest.approx(curve.cumulative(step))


@given(rate=RATES, until=st.integers(1, 300))
def test_rates_never_rise(rate: float, until: int) -> None:
    for curve in (decay.Constant(rate), decay.Cosine(rate, until, rate / 2), decay.Linear(rate, until)):
        values = [curve.rate(step) for step in range(until + 3)]
        assert all(a >= b for a, b in zip(values, values[1:], strict=False)) and values[0] == rate


def test_frozen_and_comparable() -> None:
    curves = [decay.Constant(0.3), decay.Cosine(0.3, 9), decay.Linear(0.3, 9), decay.Magnitude(0.3, 0, 9, 1)]
    for curve in curves:
        assert dataclasses.is_dataclass(curve) and curve == dataclasses.replace(curve) and hash(curve)
        with pytest.raises(dataclasses.FrozenInstanceError):
            curve.rate = None
        assert type(curve.rate(3)) is float
    assert len(set(curves)) == 4


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, math.inf])
def test_rates_out_of_range(bad: float) -> None:
    for make in (
        lambda: decay.Constant(bad), lambda: decay.Cosine(bad, 10), lambda: decay.Linear(bad, 10),
        lambda: decay.Cosine(0.5, 10, floor=bad), lambda: decay.Magnitude(bad, 0, 10, 1),
        lambda: decay.Magnitude(0.5, 0, 10, 1, initial=bad),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"must be .*got {bad}") as error:
            make()
        assert_one_sentence(error)


def test_steps_out_of_range() -> None:
    for make in (
        lambda: decay.Cosine(0.3, 0), lambda: decay.Linear(0.3, -1), lambda: decay.Magnitude(0.3, -1, 10, 1),
        lambda: decay.Magnitude(0.3, 10, 9, 1), lambda: decay.Magnitude(0.3, 0, 10, 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must be .*got") as error:
            make()
        assert_one_sentence(error)
    for make in (
        lambda: decay.Constant("0.3"), lambda: decay.Cosine(0.3, 9.5), lambda: decay.Linear(0.3, None),
        lambda: decay.Magnitude(0.3, 0, 10, "1"),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match="must be .*got") as error:
            make()
        assert_one_sentence(error)


def test_a_numpy_step_gives_a_float():
    assert type(decay.Linear(0.3, 9).rate(np.int64(3))) is float
