"""The scientific scripts run, on their smallest sizes; what they find is not looked at."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.compiled_only


@pytest.fixture
def science(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/ is not installed, it lies beside the tests."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    from benchmarks import science
    from benchmarks.science import distribution, evolution, pruning_in_evolution, sparse_training  # noqa: F401

    return science


def test_a_summary(science: ModuleType) -> None:
    found = science.distribution.summary([1, 2, 3, 4, 100])
    assert (found["median"], found["mean"], found["lowest"], found["highest"]) == (3.0, 22.0, 1.0, 100.0)
    assert found["quartiles"] == [2.0, 4.0] and 1.0 < found["interval"][0] < 22.0 < found["interval"][1] < 100.0
    assert science.distribution.summary([7.0])["interval"] == [7.0, 7.0]
    assert science.distribution.median_cell([1, 2, 3, 4, 1000], 0) == "3 [2, 4]"


@pytest.mark.parametrize("task", ["xor", "double-pole", "double-pole-hidden", "double-pole-hidden-champion"])
def test_what_evolution_needs(science: ModuleType, task: str, tmp_path: Path,
                              capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "found.json"
    assert science.evolution.main([task, "--seeds", "2", "--cap", "3000", "--size", "30", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    assert found["solved"] == sum(run["solved"] for run in found["runs"])
    for run in found["runs"]:
        assert run["evaluations"] == 30 * run["generations"] <= 3000
        assert run["solved"] or run["evaluations"] == 3000
        if run["solved"] and "hidden" in task:
            assert run["generalization"] >= 200
    assert file.with_suffix(".md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize("study", ["digits", "digits-lamarckian", "double-pole", "double-pole-hidden"])
def test_whether_pruning_helps(science: ModuleType, study: str, tmp_path: Path,
                               capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    file = tmp_path / "found.json"
    command = [study, "--seeds", "1", "--generations", "2", "--size", "10", "--json", str(file)]
    assert science.pruning_in_evolution.main(command) == 0
    runs = json.loads(file.read_text())["runs"]
    assert len(runs) == 4 and all(len(found) == 1 for found in runs.values())
    assert runs["pruned at once"][0]["mean_connections"] < runs["no pruning"][0]["mean_connections"]
    table = capsys.readouterr().out
    assert all(f"| {way} |" in table for way in runs) and np.isfinite(runs["no pruning"][0]["seconds"])


@pytest.mark.parametrize("learner", ["graph", "torch"])
def test_sparse_training(science: ModuleType, learner: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    if learner == "torch":
        pytest.importorskip("torch")
    file = tmp_path / "found.json"
    command = ["--only", learner, "--seeds", "1", "--epochs", "2", "--density", "0.05", "--json", str(file)]
    assert science.sparse_training.main(command) == 0
    found = json.loads(file.read_text())
    runs = {run["way"]: run for run in found["runs"][learner]}
    assert tuple(runs) == science.sparse_training.LEARNERS[learner].ways
    assert runs["dense"].pop("connections") == 50_200
    assert {run["connections"] for run in runs.values() if "connections" in run} == {2510}
    assert all(20.0 < run["accuracy"] <= 100.0 for run in runs.values())
    assert all((run["skipping"] > 0.0) == ("anywhere" in way) for way, run in runs.items())
    order = runs["RigL"]["accuracy"] > runs["SET"]["accuracy"] > runs["static"]["accuracy"]
    assert found["orders"][learner]["RigL > SET > static"] == {"0.05": order}
    assert file.with_suffix(".md").read_text() in capsys.readouterr().out


def test_sparse_training_begins_alike_in_graph_and_torch(science: ModuleType) -> None:
    pytest.importorskip("torch")
    net = science.sparse_training.sparse(3, 0.02)
    model = science.sparse_training.Torch(net).model
    assert np.count_nonzero(net.connections.weight) == net.graph.n_connections == 1004
    for layer, linear in zip(net.to_dense(), model[::2], strict=True):
        np.testing.assert_allclose(linear.weight.detach().numpy(), layer.weight, rtol=1e-6)
        assert np.array_equal(linear.weight_mask.numpy(), layer.mask)


def test_sparse_weights_vary_with_the_connections_that_are_there(science: ModuleType) -> None:
    net = science.sparse_training.sparse(0, 0.01)
    graph = net.graph
    into = np.diff(graph.incoming)[graph.target]
    hidden = graph.target < graph.n_nodes - graph.n_outputs
    limit = np.sqrt(6 / into[hidden])
    weight = np.abs(net.connections.weight[hidden])
    assert (weight <= limit).all() and (weight > 0.5 * limit).mean() > 0.3
