"""The command `neuroprune evolve`: runs in folders, from which they go on to the same bits."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuroprune as npr
from neuroprune import cli, digits, runs
from test_cli import COMMAND, ENVIRONMENT, run, succeed

SMALL = "--size 10 --seed 3 --target 5 --quiet"  # nothing reaches a fitness of 5


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(out: str) -> dict[str, str]:
    """Names and values of a printed list."""
    return dict(line.split("  ", 1) for line in out.split("\n\n")[0].splitlines())


def history(name: str) -> list[dict]:
    with open(Path(name, "history.csv"), encoding="utf-8") as file:
        return list(csv.DictReader(file))


def evolved(generations: int) -> npr.Population:
    """What the small run is without the command."""
    population = npr.Population(2, 1, size=10, seed=3)
    population.evolve(npr.XOR(), generations, target=5.0)
    return population


def assert_same_files(*names: str) -> None:
    for file in ("history.csv", "history.jsonl", "best.json", "settings.json"):
        first, *others = (Path(name, file).read_bytes() for name in names)
        assert all(other == first for other in others), file


@pytest.mark.parametrize(("command", "message"), [
    ("evolve", "evolve must have either a TASK or --resume FOLDER, got neither"),
    ("evolve xor --resume done", "evolve must have either a TASK or --resume FOLDER, got both"),
    ("evolve zzz", "TASK must be one of xor, pole, double-pole, double-pole-hidden, digits or the id of a gymnasium "
                   "environment: env_id must name a registered environment"),
    ("evolve xorr", "got 'xorr', did you mean 'xor'?"),
    ("evolve double-pole-hiden", "got 'double-pole-hiden', did you mean 'double-pole-hidden'?"),
    ("evolve double-pole2", "got 'double-pole2', did you mean 'double-pole'?"),
    ("evolve Cartpole-v1", "got 'Cartpole-v1', did you mean 'CartPole-v1'?"),
    ("evolve no_such_module:Thing-v0", "no_such_module:Thing-v0: No module named 'no_such_module'"),
    ("evolve xor --generations 0", "--generations: must be an integer of at least 1, got '0'"),
    ("evolve xor --size 1", "--size: must be an integer of at least 2, got '1'"),
    ("evolve xor --seed -1", "--seed: must be an integer of at least 0, got '-1'"),
    ("evolve xor --seed 9223372036854775808", "seed of a population must be below 2**63"),
    ("evolve xor --target nan", "--target: must be a finite number, got 'nan'"),
    ("evolve xor --target high", "--target: must be a finite number, got 'high'"),
    ("evolve xor --pruning 0", "--pruning: must be a number in (0, 1], got '0'"),
    ("evolve xor --objectives fitness", "--objectives: must be at least two different ones of fitness, connections"),
    ("evolve xor --objectives fitness,size", "--objectives: must be at least two different ones of fitness, conn"),
    ("evolve xor --learn 0", "--learn: must be an integer of at least 1, got '0'"),
    ("evolve pole --learn 3", "--learn must be for a task with data to learn from (xor, digits), got pole: leave it"),
    ("evolve xor --workers 0", "--workers: must be an integer of at least 1, got '0'"),
    ("evolve xor --settings some.txt", "--settings: must be a file that ends in .json, got 'some.txt'"),
    ("evolve xor --settings nothing.json", "nothing.json: No such file or directory"),
    ("evolve xor --settings typo.json", "typo.json: settings must have known names, got 'ad_node': did you mean 'add"),
    ("evolve xor --settings wrong.json", "wrong.json: add_node must be a"),
    ("evolve xor --settings list.json", "list.json: settings must be a mapping of names to values, got list"),
    ("evolve xor --out done", "--out must be a folder without a run, got done, which holds run.json: name another, or "
                              "go on with neuroprune evolve --resume done"),
    ("evolve xor --out typo.json", "typo.json: File exists"),
    ("evolve --resume nowhere", "nowhere/run.json: No such file or directory"),
    ("evolve --resume done", "the run in done must have generations left, but all 7 are done: say how many more with"),
    ("evolve --resume done --size 5", "--size must be left out with --resume, which takes it from the run"),
    ("evolve --resume done --quick", "--quick must be left out with --resume, which takes it from the run"),
    ("evolve --resume damaged", "damaged/run.json must be written by neuroprune evolve of this version, got another"),
    ("evolve --resume foreign", "foreign/run.json must be written by neuroprune evolve of this version, got another"),
    ("evolve --resume solved", "the run in solved must have something left to do, but is solved: go on with a higher "
                               "--target"),
    ("evolve --resume truncated", "truncated/checkpoint.npz must be a population written by population.save"),
])
def test_what_is_wrong_takes_one_line(command: str, message: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    texts = {"typo.json": '{"ad_node": 1}', "wrong.json": '{"add_node": "often"}', "list.json": "[1]"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    population = npr.Population(2, 1, size=10, seed=3)
    for name in ("done", "damaged", "foreign", "solved", "truncated"):
        runs.write_begin(folder / name, runs.Run("xor", 3, 7), population, [])
        path = folder / name / "run.json"
        document = json.loads(path.read_text())
        if name == "damaged":
            path.write_text(path.read_text()[:40])
        elif name == "foreign":
            path.write_text(json.dumps(document | {"seed": "3"}))
        elif name == "solved":
            path.write_text(json.dumps(document | {"solved": True}))
        elif name == "truncated":
            checkpoint = folder / name / "checkpoint.npz"
            checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    for _ in range(7):
        population.ask()
        population.tell(np.zeros(10))
    population.save(folder / "done" / "checkpoint.npz")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, err = run(command, capsys)
    assert (code, out) == (2, "")
    assert message in err and err.startswith("neuroprune") and err.count("\n") == 1 and err.endswith("\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, "nothing was written"


def test_help(capsys: pytest.CaptureFixture) -> None:
    out = succeed("evolve --help", capsys)
    assert out.startswith("usage: neuroprune evolve") and "double-pole-hidden" in out


def test_a_run_leaves_everything_in_its_folder(capsys: pytest.CaptureFixture) -> None:
    command = f"evolve xor {SMALL} --generations 4 --out a/b"
    out = succeed(command, capsys)
    names = sorted(path.name for path in Path("a/b").iterdir())
    assert names == sorted((*runs.TEXTS, runs.CHECKPOINT, *runs.PICTURES))
    assert sorted(out.splitlines()[-1].removeprefix("a/b: ").split(", ")) == names
    population = evolved(4)
    assert npr.Network.load("a/b/best.json").equals(population.best)
    assert npr.Settings.from_json(Path("a/b/settings.json").read_text()) == npr.Settings()
    assert npr.Population.load("a/b/checkpoint.npz").generation == 4
    population.history.to_csv("history.csv")
    assert Path("history.csv").read_bytes() == Path("a/b/history.csv").read_bytes()
    lines = Path("a/b/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["generation"] for line in lines] == [0, 1, 2, 3]
    document = json.loads(Path("a/b/run.json").read_text())
    assert document["arguments"] == command.split() and document["solved"] is False
    assert (document["task"], document["seed"], document["generations"], document["target"]) == ("xor", 3, 4, 5.0)
    assert document["versions"]["neuroprune"] == npr.__version__ and document["versions"]["numpy"] == np.__version__
    assert set(document["versions"]) == {"neuroprune", "numpy", "numba", "python", "machine"}
    for name in runs.PICTURES:
        assert Path("a/b", name).read_bytes()[:4] == b"\x89PNG"
    told = rows_of(out)
    assert told["solved"].strip() == "no" and told["generations"].strip() == "4, 40 evaluations"
    assert told["best fitness"].strip() == f"{population.best_fitness:.6g}"


def test_a_run_goes_on_to_the_same_bits(capsys: pytest.CaptureFixture) -> None:
    succeed(f"evolve xor {SMALL} --generations 6 --out whole", capsys)
    succeed(f"evolve xor {SMALL} --generations 2 --out parts", capsys)
    succeed("evolve --resume parts --generations 1 --quiet", capsys)
    out = succeed("evolve --resume parts --generations 3 --quiet", capsys)
    assert rows_of(out)["generations"].strip() == "6, 60 evaluations"
    assert_same_files("whole", "parts")
    assert json.loads(Path("parts/run.json").read_text())["generations"] == 6
    assert len(history("parts")) == 6


def test_the_same_command_gives_the_same_files_and_takes_a_new_folder(capsys: pytest.CaptureFixture) -> None:
    for _ in range(3):
        succeed(f"evolve xor {SMALL} --generations 2", capsys)
    assert_same_files("neuroprune-xor", "neuroprune-xor-2", "neuroprune-xor-3")
    succeed(f"evolve xor {SMALL} --generations 2 --seed 4 --out other", capsys)
    assert Path("other/history.csv").read_bytes() != Path("neuroprune-xor/history.csv").read_bytes()


def test_a_solved_run_stops_and_goes_on_with_a_higher_target(capsys: pytest.CaptureFixture) -> None:
    out = succeed("evolve xor --size 10 --generations 9 --target -100 --quiet --out run", capsys)
    assert rows_of(out)["solved"].strip() == "yes" and len(history("run")) == 1
    assert json.loads(Path("run/run.json").read_text())["solved"] is True
    out = succeed("evolve --resume run --target 5 --generations 2 --quiet", capsys)
    assert rows_of(out)["solved"].strip() == "no" and len(history("run")) == 3
    document = json.loads(Path("run/run.json").read_text())
    assert (document["solved"], document["target"], document["generations"]) == (False, 5.0, 3)


def test_pruning_and_objectives(capsys: pytest.CaptureFixture) -> None:
    out = succeed(f"evolve xor {SMALL} --generations 4 --pruning 0.5 --out a", capsys)
    assert [float(row["level"]) for row in history("a")] == [0.0, 0.25, 0.5, 0.5]
    assert rows_of(out)["mean sparsity"].strip().endswith("asked for 50.0%")
    out = succeed(f"evolve xor {SMALL} --generations 2 --objectives fitness,connections --out b", capsys)
    assert npr.Population.load("b/checkpoint.npz").objectives == ("fitness", "connections")
    assert "network" in rows_of(out)["Pareto front"] and "species" not in rows_of(out)
    succeed("evolve --resume b --generations 1 --quiet", capsys)


def test_settings_of_a_file(capsys: pytest.CaptureFixture) -> None:
    Path("mine.json").write_text('{"add_node": 0.5, "activation": "relu"}')
    succeed(f"evolve xor {SMALL} --generations 1 --settings mine.json --out a", capsys)
    assert npr.Settings.from_json(Path("a/settings.json").read_text()) == npr.Settings(add_node=0.5, activation="relu")
    succeed(f"evolve xor {SMALL} --generations 1 --settings a/settings.json --out b", capsys)
    assert_same_files("a", "b")
    task = runs.Task(None, {"recurrent": True, "output_activation": "identity"}, lambda net: {})
    Path("mine.json").write_text('{"output_activation": "sigmoid"}')
    merged = runs.settings_of(Path("mine.json"), task)
    assert merged == npr.Settings(recurrent=True, output_activation="sigmoid"), "the task's where the file is silent"


def test_learning_in_a_lifetime(capsys: pytest.CaptureFixture) -> None:
    succeed(f"evolve xor {SMALL} --generations 2 --out a", capsys)
    succeed(f"evolve xor {SMALL} --generations 2 --learn 5 --out b", capsys)
    assert float(history("b")[-1]["mean"]) > float(history("a")[-1]["mean"])
    assert json.loads(Path("b/run.json").read_text())["learn"] == 5
    succeed("evolve --resume b --generations 1 --quiet", capsys)


def test_pictures_need_matplotlib_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = succeed(f"evolve xor {SMALL} --generations 1 --out a", capsys)
    assert ".png" not in out and not list(Path("a").glob("*.png"))


def test_other_versions_are_named(capsys: pytest.CaptureFixture) -> None:
    succeed(f"evolve xor {SMALL} --generations 1 --out a", capsys)
    path = Path("a/run.json")
    document = json.loads(path.read_text())
    document["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(document))
    code, _, err = run("evolve --resume a --generations 1", capsys)
    assert code == 0
    assert f"numpy was 1.0, is {np.__version__}: the bits may differ from those of an uninterrupted run\n" in err
    assert err.count("the bits may differ") == 1 and "xor: generations 2 to 2, in a\n" in err


class Stumbles:
    """A problem that raises in one generation."""

    n_inputs, n_outputs = 2, 1

    def __init__(self, error: BaseException, generation: int) -> None:
        self.error, self.generation = error, generation

    def evaluate(self, genomes, seed, generation, first):
        if generation == self.generation:
            raise self.error
        return npr.XOR().evaluate(genomes, seed, generation, first)


@pytest.fixture
def stumbles(monkeypatch: pytest.MonkeyPatch):
    """A function that makes the tasks of all runs raise."""
    def install(error: BaseException, generation: int) -> None:
        task = runs.Task(Stumbles(error, generation), {}, lambda net: {})
        monkeypatch.setattr(runs, "task_of", lambda run: task)
        monkeypatch.setattr(runs, "rehearse", lambda task: None)

    yield install


@pytest.mark.parametrize("generation", [0, 3])
def test_ctrl_c_leaves_a_run_to_go_on_from(generation: int, stumbles, capsys: pytest.CaptureFixture) -> None:
    stumbles(KeyboardInterrupt(), generation)
    code, out, err = run(f"evolve xor {SMALL} --generations 6 --out my_run", capsys)
    assert (code, out) == (130, "")
    assert err == "neuroprune: stopped by Ctrl-C: go on with neuroprune evolve --resume my_run\n"
    assert npr.Population.load("my_run/checkpoint.npz").generation == generation
    assert Path("my_run/history.csv").exists() == (generation > 0) == Path("my_run/best.json").exists()
    stumbles(KeyboardInterrupt(), -1)
    succeed("evolve --resume my_run --quiet", capsys)
    succeed(f"evolve xor {SMALL} --generations 6 --out whole", capsys)
    assert_same_files("my_run", "whole")


def test_what_a_task_raises_is_not_hidden_and_the_run_is_there(stumbles, monkeypatch: pytest.MonkeyPatch,
                                                              capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(runs, "MINUTES", 0.0)
    stumbles(ValueError("broken pole"), 3)
    with pytest.raises(RuntimeError, match="broken pole"):
        cli.main(f"evolve xor {SMALL} --generations 6 --out a".split())
    assert len(history("a")) == 3 and npr.Population.load("a/checkpoint.npz").generation == 3
    stumbles(ValueError(), -1)
    succeed("evolve --resume a --quiet", capsys)
    succeed(f"evolve xor {SMALL} --generations 6 --out b", capsys)
    assert_same_files("a", "b")


@pytest.mark.compiled_only
@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_in_the_middle_of_a_run(workers: str, capsys: pytest.CaptureFixture) -> None:
    command = [*COMMAND, "evolve", "xor", "--size", "10", "--seed", "3", "--target", "5", "--generations", "10000000",
               "--workers", workers, "--out", "a b"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # shells may ignore it
    seen = b""
    while b"best=" not in seen:  # so the evolution is on
        part = os.read(process.stderr.fileno(), 1000)
        assert part, seen
        seen += part
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes of a command
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and out == b""
    assert err.endswith(b"neuroprune: stopped by Ctrl-C: go on with neuroprune evolve --resume 'a b'\n")
    assert b"Traceback" not in err
    done = npr.Population.load("a b/checkpoint.npz").generation
    assert done == len(history("a b")) > 0
    assert sorted(path.name for path in Path("a b").iterdir()) == sorted((*runs.TEXTS, runs.CHECKPOINT))
    assert cli.main(["evolve", "--resume", "a b", "--generations", "2", "--quiet"]) == 0
    capsys.readouterr()
    evolved(done + 2).history.to_csv("history.csv")
    assert Path("history.csv").read_bytes() == Path("a b/history.csv").read_bytes()


@pytest.mark.compiled_only
def test_digits(capsys: pytest.CaptureFixture) -> None:
    out = succeed("evolve digits --generations 2 --size 6 --learn 20 --quiet --out a", capsys)
    best, data = npr.Network.load("a/best.json"), digits.load(0)
    told = rows_of(out)
    assert told["accuracy, held out"].strip() == f"{100 * digits.accuracy(best, data):.2f}%"
    assert told["accuracy, training"].strip() == f"{100 * (best(data.x).argmax(1) == data.y).mean():.2f}%"
    assert set(best.nodes.activation[64:]) == {"identity"}


@pytest.mark.compiled_only
@pytest.mark.parametrize(("task", "inputs", "recurrent"), [
    ("pole", 4, False), ("double-pole", 6, False), ("double-pole-hidden", 3, True), ("CartPole-v1", 4, False)])
def test_tasks(task: str, inputs: int, recurrent: bool, capsys: pytest.CaptureFixture) -> None:
    out = succeed(f"evolve {task} --quick --quiet --target 1e9", capsys)
    best = npr.Network.load(f"neuroprune-{task}/best.json")
    assert best.graph.n_inputs == inputs and best.graph.recurrent == recurrent
    assert rows_of(out)["generations"].strip() == "5, 150 evaluations"
    assert ("generalization" in rows_of(out)) == task.startswith("double")
    assert ("20 new episodes" in rows_of(out)) == (task == "CartPole-v1")


@pytest.mark.compiled_only
def test_workers_change_no_bit(capsys: pytest.CaptureFixture) -> None:
    succeed(f"evolve xor {SMALL} --generations 3 --out a", capsys)
    succeed(f"evolve xor {SMALL} --generations 3 --out b --workers 2", capsys)
    assert_same_files("a", "b")
