"""The main job on few steps, its files, and what it loses by pruning."""

import csv
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest

import neuroprune as npr
from neuroprune import digits

STEPS = 60


@pytest.fixture(scope="module")
def data() -> digits.Digits:
    return digits.load(0)


def test_a_quarter_of_each_class_is_held_out(data: digits.Digits) -> None:
    assert data.x.shape == (len(data.y), 64) and data.x_test.shape == (len(data.y_test), 64)
    assert len(data.y) + len(data.y_test) == 1797
    whole = np.bincount(data.y) + np.bincount(data.y_test)
    assert np.bincount(data.y_test).tolist() == [round(0.25 * count) for count in whole]
    assert (data.x.min(), data.x.max()) == (0.0, 1.0)


def test_the_split_follows_the_seed(data: digits.Digits) -> None:
    assert np.array_equal(digits.load(0).x_test, data.x_test)
    assert not np.array_equal(digits.load(1).y_test, data.y_test)


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sklearn", "matplotlib"):
        with monkeypatch.context() as patch:
            for name in [name for name in sys.modules if name.split(".")[0] == package]:
                patch.delitem(sys.modules, name)
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ImportError, match=rf'{package}.* not installed: pip install "neuroprune\[examples\]"'):
                digits.load(0)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 99, 100, 101, 5000])
def test_the_schedule_ends_at_three_quarters(steps: int) -> None:
    plan = digits.schedule(steps, 0.8, 0.1, "snip")
    assert 1 <= plan.start <= plan.end <= max(round(0.75 * steps), 1) <= steps
    assert (plan.target_sparsity, plan.regrow_fraction, plan.method, plan.ramp) == (0.8, 0.1, "snip", "cubic")


@pytest.mark.compiled_only
def test_training_prunes_to_the_target_and_watches(data: digits.Digits) -> None:
    run = digits.train(data, STEPS, seed=3, pruning=digits.schedule(STEPS, 0.9))
    assert len(run.net.connections) == 17024 - round(0.9 * 17024) and run.net.sparsity == pytest.approx(0.9, abs=1e-4)
    assert run.history.connections[-1] == len(run.net.connections) and len(run.history) == STEPS
    assert run.iterations == list(range(1, STEPS + 1)), "fewer than 100 steps are all watched"
    assert run.accuracy == digits.accuracy(run.net, data) == run.accuracies[-1]
    assert run.accuracies[0] < 0.5 < run.accuracies[-1]


@pytest.mark.compiled_only
def test_watching_changes_nothing(data: digits.Digits) -> None:
    run = digits.train(data, 230, seed=3, pruning=digits.schedule(230, 0.5))
    assert run.iterations == [*range(2, 231, 2)]
    net = npr.Network.dense(digits.SIZES, activation="relu", seed=3)
    net.train(data.x, data.y, 230, learning_rate=digits.LEARNING_RATE, loss=digits.LOSS, batch_size=digits.BATCH,
              pruning=digits.schedule(230, 0.5), seed=3)
    assert net.equals(run.net)


@pytest.mark.compiled_only
def test_the_same_seed_writes_the_same_bytes(data: digits.Digits, tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        plan = digits.schedule(STEPS, 0.9, method="snip")
        files = digits.save(folder, digits.train(data, STEPS, 5), digits.train(data, STEPS, 5, pruning=plan))
        assert set(files) == set(folder.iterdir())
    for name in ("dense.npz", "pruned.npz", "dense-history.csv", "pruned-history.csv", "accuracy.csv"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    for name in ("training.png", "networks.png", "pixels.png"):
        assert (folders[0] / name).read_bytes().startswith(b"\x89PNG")
    with open(folders[0] / "accuracy.csv", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["iteration", "dense", "pruned"] and len(table) == 1 + STEPS
    assert npr.Network.load(folders[0] / "pruned.npz").sparsity == pytest.approx(0.9, abs=1e-4)


def test_the_time_of_predictions_is_positive(data: digits.Digits) -> None:
    assert digits.milliseconds(npr.Network.dense([64, 2, 10], seed=0), data) > 0.0


@pytest.mark.slow
@pytest.mark.compiled_only
def test_pruning_nine_of_ten_connections_costs_at_most_one_point() -> None:
    """Median over seeds on which nothing was chosen."""
    lost = []
    for seed in range(5):
        data = digits.load(seed)
        dense = digits.train(data, digits.STEPS, seed)
        pruned = digits.train(data, digits.STEPS, seed, pruning=digits.schedule(digits.STEPS, 0.9))
        assert len(pruned.net.connections) == 1702 and dense.accuracy > 0.97
        lost.append(100 * (dense.accuracy - pruned.accuracy))
    assert statistics.median(lost) <= 1.0
