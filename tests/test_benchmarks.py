"""The benchmarks run, on their smallest sizes; what they measure is not looked at."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.compiled_only


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/ is not installed, it lies beside the tests."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    from benchmarks import run

    return run


def test_a_quick_run_writes_table_and_json(run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    json_file, markdown_file = tmp_path / "figures.json", tmp_path / "RESULTS.md"
    command = ["--only", "activation", "--only", "batch", "--quick", "--json", str(json_file), "--markdown",
               str(markdown_file)]
    assert run.main(command) == 0
    figures = json.loads(json_file.read_text())
    products = [row for row in figures["rows"] if "CSR product" in row["peer"]]
    assert products
    for row in products:
        assert row["ours"]["turns"] >= 5 and row["theirs"]["turns"] >= 5
        assert 0.0 < row["ours"]["shortest"] <= row["ours"]["median"] <= row["ours"]["longest"]
    table = capsys.readouterr().out
    for row in figures["rows"]:
        assert f"| {row['work']} " in table and f"| {row['work']} " in markdown_file.read_text()
    assert figures["machine"]["numpy"] in markdown_file.read_text()


def test_a_peer_that_is_not_installed_leaves_a_remark(run: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(run.activation, "find_spec", lambda name: None)
    assert run.main(["--only", "activation", "--quick"]) == 0
    assert "peer missing: pip install '.[bench]'" in capsys.readouterr().out


def test_results_that_differ_are_not_timed(run: ModuleType) -> None:
    from benchmarks.wiring import same

    same([1.0, 2.0], [1.0, 2.0 + 1e-12])
    with pytest.raises(RuntimeError, match="both must compute the same"):
        same([1.0, 2.0], [1.0, 2.1])


def test_targets_hold_on_the_right_side(run: ModuleType) -> None:
    from benchmarks.report import at_most, faster, within

    assert faster(4.0).holds(1.0, 4.0) and not faster(4.0).holds(1.0, 3.9)
    assert at_most(3.5).holds(3.5, 1.0) and not at_most(3.5).holds(3.6, 1.0)
    assert within(14e-6).holds(14e-6, 1.0) and not within(14e-6).holds(15e-6, 1.0)


def test_contestants_take_turns(run: ModuleType) -> None:
    from benchmarks.timing import QUICK_REPEATS, Contestant, take_turns

    calls: list[str] = []
    contestants = [Contestant(lambda name: calls.append(name), lambda name=name: (name,)) for name in "AB"]
    timings = take_turns(*contestants, quick=True)
    assert "".join(calls) == "AB" * (1 + QUICK_REPEATS)
    assert [timing.turns for timing in timings] == [QUICK_REPEATS] * 2


def test_sparse_training_stands_beside_its_peers(run: ModuleType, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    file = tmp_path / "figures.json"
    found = run.sparse_training.find_spec
    monkeypatch.setattr(run.sparse_training, "find_spec", lambda name: None if name == "torch" else found(name))
    assert run.main(["--only", "sparse training", "--quick", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row["peer"].split()[0] for row in rows] == ["SET,", "SET,", "dense,", "torch", "dense,"]
    assert [row["theirs"] is None for row in rows] == [False, False, False, True, False]


def test_sparse_training_needs_digits_and_scipy(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.sparse_training, "find_spec", lambda name: None)
    assert [row.note for row in run.sparse_training.rows(True)] == ["peer missing: pip install '.[bench]'"]


def test_the_peer_of_sparse_training_evolves_as_set_does(run: ModuleType) -> None:
    pytest.importorskip("scipy")
    from benchmarks.perceptrons import SparseScipy

    net = run.sparse_training.network(run.sparse_training.QUICK_SIZES, 0)
    peer = SparseScipy(net.to_dense(), 0.1, 0.9)
    before = [weight.toarray() for weight in peer.weights]
    peer.evolve(np.random.default_rng(0))
    for old, weight in zip(before, peer.weights, strict=True):
        new = weight.toarray()
        assert np.count_nonzero(new) == weight.nnz == np.count_nonzero(old)
        kept = (old != 0) & (new == old)
        for side in (old > 0, old < 0):
            assert np.count_nonzero(side & ~kept) == int(0.3 * np.count_nonzero(side))
            assert np.abs(old[side & kept]).min() > np.abs(old[side & ~kept]).max()


def test_peers_of_sparse_training_compute_what_ours_does(run: ModuleType) -> None:
    pytest.importorskip("scipy")
    import neuroprune as npr
    from benchmarks.perceptrons import DenseNumpy, SparseScipy
    from neuroprune.network import optimizers

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 64)), rng.integers(10, size=50)
    net = run.sparse_training.network((64, 20, 10), 1)
    dense = npr.Network.dense((64, 20, 10), activation="relu", seed=1)
    for own, peer in ((net, SparseScipy(net.to_dense(), 0.1, 0.9)),
                      (dense, DenseNumpy(dense.to_dense(), 0.1, 0.9, np.float64))):
        peer.epoch(x, y, np.random.default_rng(3).permutation(50), 16)
        own.train(x, y, 4, learning_rate=0.1, optimizer=optimizers.sgd(0.9), loss="softmax_cross_entropy",
                  batch_size=16, seed=3)
        np.testing.assert_allclose(peer(x), own(x), atol=1e-11)
