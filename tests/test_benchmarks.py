"""The benchmarks run, on their smallest sizes; what they measure is not looked at."""

import json
from pathlib import Path
from types import ModuleType

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
