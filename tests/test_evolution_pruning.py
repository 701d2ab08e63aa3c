"""Sparsity over generations: along a ramp, and steered by the population's mean size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuroprune as npr
from bridge import assert_one_sentence


def test_the_ramp_rises_from_its_start_to_the_target_and_stays() -> None:
    pruning = npr.GenerationPruning(0.8, start_generation=2, interval=3, ramp_generations=6)
    assert [generation for generation in range(12) if pruning.fires(generation)] == [2, 5, 8, 11]
    assert [pruning.sparsity(generation) for generation in (0, 2, 5, 8, 11)] == [0.0, 0.0, 0.4, 0.8, 0.8]


def test_without_a_ramp_the_target_holds_at_once() -> None:
    pruning = npr.GenerationPruning(0.5)
    assert pruning.start_generation == 0 and pruning.fires(0) and pruning.sparsity(0) == 0.5


@given(target=st.floats(0.01, 1.0), start=st.integers(0, 20), ramp=st.integers(0, 20))
def test_the_ramp_never_falls_nor_leaves_its_range(target: float, start: int, ramp: int) -> None:
    pruning = npr.GenerationPruning(target, start_generation=start, ramp_generations=ramp)
    asked = [pruning.sparsity(generation) for generation in range(start, start + ramp + 3)]
    assert asked == sorted(asked) and asked[-1] == target and min(asked) >= 0.0


@given(target=st.floats(0.05, 0.95), fraction=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_pruning_with_regrowth_lands_on_the_target(target: float, fraction: float, seed: int) -> None:
    net = npr.Network.random(3, 2, 6, 30, seed=seed)
    pruning = npr.GenerationPruning(target, regrow_fraction=fraction)
    result = pruning.prune(net, generation=0)
    assert len(net.connections) == max(1, 30 - round(target * 30)) and net.evolution_baseline == 30
    assert len(result.regrown) == len(result.removed) - (30 - len(net.connections))
    again = pruning.prune(net, generation=1)
    assert len(again.removed) == 0, "the share is that of the first count, so nothing compounds"


def test_a_generation_that_is_not_due_is_left_alone() -> None:
    net = npr.Network.dense([2, 3], seed=0)
    before = net.copy()
    assert npr.GenerationPruning(0.5, start_generation=3).prune(net, generation=2) is None
    assert net.equals(before) and net.evolution_baseline is None


def test_the_level_follows_the_mean() -> None:
    pruning = npr.AdaptivePruning(0.5, tolerance=0.1, adjust_rate=0.2)
    assert pruning.next_level(0.0, 100.0, 100.0) == 0.2
    assert pruning.next_level(0.4, 100.0, 100.0) == 0.5  # never beyond the target
    assert pruning.next_level(0.4, 55.0, 100.0) is None
    assert pruning.next_level(0.4, 30.0, 100.0) == pytest.approx(0.2)
    assert pruning.next_level(0.1, 30.0, 100.0) == 0.0
    assert npr.AdaptivePruning(0.5).next_level(0.3, 0.0, 0.0) is None  # nobody has a connection


@pytest.mark.parametrize(("options", "message"), [
    ({"target_sparsity": -0.1}, r"target_sparsity must be in \[0, 1\], got -0.1"),
    ({"target_sparsity": float("nan")}, "target_sparsity must be finite, got nan"),
    ({"target_sparsity": 0.5, "interval": 0}, "interval must be at least 1, got 0"),
    ({"target_sparsity": 0.5, "start_generation": -1}, "start_generation must be at least 0"),
    ({"target_sparsity": 0.5, "regrow_fraction": 1.1}, r"regrow_fraction must be in \[0, 1\]"),
    ({"target_sparsity": 0.5, "method": "snap"}, "did you mean 'snip'"),
])
def test_generation_pruning_refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        npr.GenerationPruning(**options)


@pytest.mark.parametrize(("options", "message"), [
    ({"target_sparsity": 1.5}, "target_sparsity must be in"),
    ({"target_sparsity": 0.5, "tolerance": -0.1}, "tolerance must be at least 0"),
    ({"target_sparsity": 0.5, "adjust_rate": float("inf")}, "adjust_rate must be finite, got inf"),
])
def test_adaptive_pruning_refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        npr.AdaptivePruning(**options)


@pytest.mark.parametrize(("kind", "options", "message"), [
    (npr.GenerationPruning, {"ramp_generations": 1.5}, "ramp_generations must be an integer, got 1.5"),
    (npr.GenerationPruning, {"interval": True}, "interval must be an integer, got True"),
    (npr.GenerationPruning, {"target_sparsity": "0.5"}, "target_sparsity must be a number, got '0.5'"),
    (npr.GenerationPruning, {"regrow_fraction": None}, "regrow_fraction must be a number, got None"),
    (npr.AdaptivePruning, {"target_sparsity": "0.5"}, "target_sparsity must be a number, got '0.5'"),
    (npr.AdaptivePruning, {"tolerance": [0.1]}, r"tolerance must be a number, got \[0.1\]"),
    (npr.AdaptivePruning, {"adjust_rate": "fast"}, "adjust_rate must be a number, got 'fast'"),
])
def test_other_types_are_refused(kind: type, options: dict, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$") as caught:
        kind(**{"target_sparsity": 0.5} | options)
    assert_one_sentence(caught)


def test_numbers_of_numpy_are_numbers() -> None:
    pruning = npr.GenerationPruning(np.float32(0.5), np.int64(1), np.uint8(2), np.int16(3), regrow_fraction=np.int64(0))
    assert pruning == npr.GenerationPruning(0.5, 1, 2, 3) and pruning.sparsity(4) == 0.5
    assert {type(value) for value in (pruning.start_generation, pruning.interval, pruning.ramp_generations)} == {int}
    adaptive = npr.AdaptivePruning(np.float64(0.5), np.float32(0.25), np.int64(0))
    assert adaptive == npr.AdaptivePruning(0.5, 0.25, 0.0) and type(adaptive.adjust_rate) is float
