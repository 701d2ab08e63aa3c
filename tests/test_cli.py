"""The command: results on stdout, everything else on stderr, one line and exit code 2 for what is wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import neuroprune as npr
from neuroprune import cli, digits, tables

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-W", "error", "-m", "neuroprune"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, capsys: pytest.CaptureFixture) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command given as one line."""
    try:
        code = cli.main(command.split())
    except SystemExit as stop:  # how argparse ends
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def succeed(command: str, capsys: pytest.CaptureFixture) -> str:
    code, out, err = run(command, capsys)
    assert code == 0, err
    return out


def table_of(out: str) -> dict[str, list[str]]:
    """The rows of a printed table, by the name in front."""
    lines = out.split("\n\n")[0].splitlines()
    return {line.split("  ")[0]: [cell for cell in line.split("  ")[1:] if cell.strip()] for line in lines}


def stripped(cells: list[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def write_plants(folder: Path, classes: bool = True) -> Path:
    """A table that a small network can learn: two columns in very different units, one that says nothing."""
    rng = np.random.default_rng(0)
    height, weight, noise = rng.uniform(0, 1e-3, 120), rng.uniform(5e4, 6e4, 120), rng.normal(size=120)
    signal = 1e3 * height + 1e-4 * weight
    target = np.where(signal > 6.0, "fern", "moss") if classes else 10.0 * signal
    lines = [f"{a!r},{b!r},{c!r},{t}" for a, b, c, t in
             zip(height.tolist(), weight.tolist(), noise.tolist(), target.tolist(), strict=True)]
    path = folder / "plants.csv"
    path.write_text("\n".join(["height,weight,noise,kind", *lines]) + "\n")
    return path


def test_version_and_module() -> None:
    result = subprocess.run([*COMMAND, "--version"], env=ENVIRONMENT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"neuroprune {npr.__version__}\n", "")


@pytest.mark.parametrize("command", ["--help", "digits --help", "train --help", "prune --help", "show --help"])
def test_help(command: str, capsys: pytest.CaptureFixture) -> None:
    out = succeed(command, capsys)
    assert out.startswith("usage: neuroprune")
    if command == "--help":
        assert "neuroprune prune plants.json --sparsity 0.9" in out, "examples"


@pytest.mark.parametrize(("command", "message"), [
    ("", "required: COMMAND"),
    ("digit", "invalid choice: 'digit'"),
    ("digits --sparsity 1.5", "--sparsity: must be a number in [0, 1], got '1.5'"),
    ("digits --sparsity 0", "--sparsity: must be a number in (0, 1], got '0'"),
    ("digits --sparsity nan", "--sparsity: must be a number in [0, 1], got 'nan'"),
    ("digits --regrow -0.1", "--regrow: must be a number in [0, 1], got '-0.1'"),
    ("digits --steps 0", "--steps: must be an integer of at least 1, got '0'"),
    ("digits --steps 1e3", "--steps: must be an integer of at least 1, got '1e3'"),
    ("digits --batch 0", "--batch: must be an integer of at least 1, got '0'"),
    ("digits --seed -1", "--seed: must be an integer of at least 0, got '-1'"),
    ("digits --method taylor", "--method: invalid choice: 'taylor'"),
    ("digits --spar 0.5", "unrecognized arguments: --spar"),
    ("train plants.csv", "required: --target"),
    ("train plants.csv --target a --hidden 3,x", "--hidden: must be an integer of at least 1, got 'x'"),
    ("train plants.csv --target a --out net.txt", "--out: must be a file that ends in .json or .npz, got 'net.txt'"),
    ("prune net.json", "required: --sparsity"),
    ("prune net.txt --sparsity 0.5", "NET: must be a file that ends in .json or .npz, got 'net.txt'"),
    ("show net.json --picture net.pdf", "--picture: must be a file that ends in .png, got 'net.pdf'"),
    ("show nothing.json", "nothing.json: No such file or directory"),
    ("prune nothing.npz --sparsity 0.5", "nothing.npz: No such file or directory"),
    ("train nothing.csv --target a", "nothing.csv: No such file or directory"),
    ("train plants.csv --target kind --out no/net.json", "must go into an existing folder, got no/net.json: make no"),
    ("prune net.json --sparsity 0.5 --out no/net.json", "must go into an existing folder"),
    ("show net.json --picture no/net.png", "must go into an existing folder"),
    ("prune net.json --sparsity 0.5 --out net.json", "--out must be another file than the network, got net.json"),
    ("prune net.json --sparsity 0.5 --method taylor", "--method taylor needs the gradient of a training"),
    ("prune net.json --sparsity 0.5 --method snip", "--method snip needs the gradient of a training"),
    ("train plants.csv --target kinds", "got 'kinds': did you mean 'kind'?"),
    ("train plants.csv --target noise --ignore nose", "got 'nose': did you mean 'noise'?"),
    ("train plants.csv --target noise", "got 'moss' in row 1 (line 2), column 'kind': leave the column out"),
    ("show broken.json", "broken.json must be a network written by net.save"),
    ("digits --out plants.csv", "plants.csv: File exists"),
])
def test_what_is_wrong_takes_one_line(command: str, message: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    write_plants(folder)
    npr.Network.dense([2, 3, 1], seed=0).save("net.json")
    (folder / "broken.json").write_text('{"format": "neuroprune network",\n"version": 7}')
    before = sorted(folder.iterdir())
    code, out, err = run(command, capsys)
    assert (code, out) == (2, "")
    assert message in err and err.startswith("neuroprune") and err.count("\n") == 1 and err.endswith("\n")
    assert sorted(folder.iterdir()) == before, "nothing was written"


def test_missing_packages_take_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    code, out, err = run("digits", capsys)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert 'pip install "neuroprune[examples]"' in err


def test_an_error_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(seed: int) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(digits, "load", broken)
    with pytest.raises(TypeError, match="a bug"):
        cli.main(["digits"])


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(seed: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(digits, "load", interrupted)
    assert run("digits", capsys) == (130, "", "neuroprune: stopped by Ctrl-C\n")


@pytest.mark.compiled_only
@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_in_the_middle_of_a_training(folder: Path) -> None:
    write_plants(folder)
    command = [*COMMAND, "train", "plants.csv", "--target", "kind", "--steps", "100000000", "--out", "net.json"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # shells may ignore it
    seen = b""
    while b"/100000000 [" not in seen:  # the bar is there, so the training is on
        part = os.read(process.stderr.fileno(), 1000)
        assert part, seen
        seen += part
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and out == b""
    assert err.endswith(b"neuroprune: stopped by Ctrl-C\n") and b"Traceback" not in err
    assert [path.name for path in folder.iterdir()] == ["plants.csv"]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    npr.Network.dense([2, 3, 1], seed=0).save("net.json")
    process = subprocess.Popen([*COMMAND, "show", "net.json"], env=ENVIRONMENT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (0, b"")
    process.stderr.close()


@pytest.mark.compiled_only
def test_digits(folder: Path, capsys: pytest.CaptureFixture) -> None:
    options = "--quick --steps 40 --sparsity 0.8 --regrow 0 --method snip --batch 16 --out a/b"
    code, out, err = run(f"digits {options}", capsys)
    assert code == 0
    table = table_of(out)
    assert stripped(table["connections"]) == ["17,024", f"{17024 - round(0.8 * 17024):,}"]
    assert stripped(table["sparsity"]) == ["0.0%", "80.0%"]
    sizes = [f"{Path('a/b', name).stat().st_size:,}" for name in ("dense.npz", "pruned.npz")]
    assert stripped(table["bytes on disk"]) == sizes
    assert all(float(cell) > 0.0 for cell in table["ms per 1,000 predictions"])
    data, nets = digits.load(0), [npr.Network.load(Path("a/b", name)) for name in ("dense.npz", "pruned.npz")]
    assert stripped(table["test accuracy"]) == [f"{100 * digits.accuracy(net, data):.2f}%" for net in nets]
    assert nets[1].pruning.method == "snip" and nets[1].pruning.regrow_fraction == 0.0 and nets[1].iteration == 40
    files = sorted(path.name for path in Path("a/b").iterdir())
    assert sorted(out.splitlines()[-1].removeprefix("a/b: ").split(", ")) == files
    assert "dense: 40 steps" in err and "training:" in err and "writing a/b" in err


@pytest.mark.compiled_only
@pytest.mark.parametrize("flag", ["--quiet", "--no-progress"])
def test_quiet_leaves_stderr_empty(flag: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    write_plants(folder)
    code, out, err = run(f"train plants.csv --target kind --steps 20 {flag}", capsys)
    assert (code, err) == (0, "") and "accuracy" in out


def test_compiling_is_announced_when_it_takes_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
                                                   folder: Path) -> None:
    class Impatient(threading.Thread):
        """A timer that goes off at once, before the work it waits for begins."""

        def __init__(self, seconds: float, function: Callable, args: list, kwargs: dict) -> None:
            assert seconds == cli.SLOW_START > 0.0
            super().__init__(target=function, args=args, kwargs=kwargs)

        def start(self) -> None:
            super().start()
            self.join()

        def cancel(self) -> None:
            cancelled.append(self)

    write_plants(folder)
    cancelled: list = []
    with monkeypatch.context() as patch:
        patch.setattr(cli, "Timer", Impatient)
        assert run("train plants.csv --target kind --steps 1", capsys)[2].startswith("compiling kernels, once")
    assert len(cancelled) == 1
    monkeypatch.setattr(cli, "SLOW_START", 3600.0)
    assert "compiling" not in run("train plants.csv --target kind --steps 1", capsys)[2]


@pytest.mark.compiled_only
def test_train_classes(folder: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_plants(folder)
    out = succeed("train plants.csv --target kind --hidden 8 --out net.json", capsys)
    table = table_of(out)
    assert stripped(table["rows"]) == ["90", "30"]
    assert min(float(cell.strip(" %")) for cell in table["accuracy"]) > 90.0
    assert "classes: fern, moss" in out and "connections: 40, sparsity 0.0%" in out
    columns = json.loads(Path("net.columns.json").read_text())
    assert columns["inputs"] == ["height", "weight", "noise"] and columns["target"] == "kind"
    rows = tables.read(path, "kind")
    right = (npr.Network.load("net.json")(rows.x).argmax(1) == rows.y).mean()
    assert right > 0.9 and columns["classes"] == list(rows.classes), "the saved network takes raw rows"


@pytest.mark.compiled_only
def test_train_a_quantity(folder: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_plants(folder, classes=False)
    out = succeed("train plants.csv --target kind --ignore noise --out net.npz --seed 1", capsys)
    table = table_of(out)
    assert min(float(cell) for cell in table["R^2"]) > 0.9
    rows = tables.read(path, "kind", ignore=["noise"])
    error = npr.Network.load("net.npz")(rows.x)[:, 0] - rows.y
    printed = [float(cell) for cell in table["RMSE"]]
    assert min(printed) <= np.sqrt((error**2).mean()) <= max(printed), "the saved network gives raw units"
    assert json.loads(Path("net.columns.json").read_text())["classes"] is None


@pytest.mark.compiled_only
def test_train_prunes_and_repeats(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write_plants(folder)
    command = "train plants.csv --target kind --hidden 8,4 --sparsity 0.75 --regrow 0.5 --steps 60 --quiet"
    out = succeed(f"{command} --out a.npz", capsys)
    net = npr.Network.load("a.npz")
    assert len(net.connections) == 64 - 48 and net.sparsity == 0.75
    assert "connections: 16, sparsity 75.0%" in out
    succeed(f"{command} --out b.npz", capsys)
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    assert Path("a.columns.json").read_bytes() == Path("b.columns.json").read_bytes()
    succeed(f"{command} --seed 1 --out b.npz", capsys)
    assert Path("a.npz").read_bytes() != Path("b.npz").read_bytes()


def test_prune_writes_another_file(capsys: pytest.CaptureFixture) -> None:
    net = npr.Network.dense([4, 5, 2], seed=0)
    net.save("net.json")
    before = Path("net.json").read_bytes()
    table = table_of(succeed("prune net.json --sparsity 0.5", capsys))
    pruned = npr.Network.load("net-pruned.json")
    net.prune_to_sparsity(0.5)
    assert pruned.equals(net) and Path("net.json").read_bytes() == before
    assert stripped(table["connections"]) == ["30", "15"] and stripped(table["sparsity"]) == ["0.0%", "50.0%"]


def test_prune_counts_from_where_the_network_began(capsys: pytest.CaptureFixture) -> None:
    """Of 30 connections a schedule left 15; a sparsity of 0.8 leaves 6, not 3, and 0.9 in a second go leaves 3."""
    net = npr.Network.dense([4, 5, 2], seed=0)
    net.pruning = npr.PruningSchedule(0.5, start=1, end=1)
    net.maybe_prune(1)
    net.save("net.npz")
    succeed("prune net.npz --sparsity 0.8 --out a.npz", capsys)
    assert len(npr.Network.load("a.npz").connections) == 6
    succeed("prune a.npz --sparsity 0.9 --out b.npz", capsys)
    last = npr.Network.load("b.npz")
    assert len(last.connections) == 3 and last.sparsity == 0.9
    table = table_of(succeed("prune b.npz --sparsity 0.2 --out c.npz", capsys))
    assert stripped(table["connections"]) == ["3", "3"], "it is sparser already"


def test_prune_and_trim(capsys: pytest.CaptureFixture) -> None:
    net = npr.Network.dense([4, 9, 2], seed=0)
    net.save("net.json")
    table = table_of(succeed("prune net.json --sparsity 0.9 --method random --trim", capsys))
    trimmed = npr.Network.load("net-pruned.json")
    net.prune_to_sparsity(0.9, method="random")
    x = np.random.default_rng(0).normal(size=(5, 4))
    assert np.allclose(trimmed(x), net(x)) and trimmed.graph.n_hidden < 9
    assert stripped(table["hidden nodes"]) == ["9", str(trimmed.graph.n_hidden)]


def test_prune_compares_weights_without_their_units(capsys: pytest.CaptureFixture) -> None:
    """The first input is in thousandths: its raw weights are large, but it matters less than the second."""
    net = npr.Network.from_connections(2, 1, [(0, 2, 0.5), (1, 2, 2.0)], activation="identity")
    scaling = tables.Scaling(np.zeros(2), np.array([1e-3, 1e3]), 5.0, 2.0)
    scaling.fold(net)
    net.save("net.json")
    columns = {"inputs": ["a", "b"], "mean": [0.0, 0.0], "scale": [1e-3, 1e3], "target_mean": 5.0, "target_scale": 2.0}
    Path("net.columns.json").write_text(json.dumps(columns))
    succeed("prune net.json --sparsity 0.5", capsys)
    assert npr.Network.load("net-pruned.json").connections.source.tolist() == [1]
    assert json.loads(Path("net-pruned.columns.json").read_text()) == columns
    Path("net.columns.json").unlink()
    succeed("prune net.json --sparsity 0.5", capsys)
    assert npr.Network.load("net-pruned.json").connections.source.tolist() == [0]


@pytest.mark.parametrize(("text", "message"), [
    ("{", "net.columns.json must be what neuroprune train wrote, got a damaged file: remove it"),
    ("[]", "must be what neuroprune train wrote"),
    ('{"mean": [0], "scale": ["x"], "target_mean": 0, "target_scale": 1}', "must be what neuroprune train wrote"),
    ('{"mean": [0], "scale": [1], "target_mean": 0, "target_scale": 1}', "scale for each of the 2 inputs of net.json"),
    ('{"mean": [0, 0], "scale": [1, 0], "target_mean": 0, "target_scale": 1}', "must have a positive scale"),
    ('{"mean": [0, 0], "scale": [1, NaN], "target_mean": 0, "target_scale": 1}', "must have a positive scale"),
])
def test_a_damaged_description_of_columns_is_refused(text: str, message: str, capsys: pytest.CaptureFixture) -> None:
    npr.Network.dense([2, 1], seed=0).save("net.json")
    Path("net.columns.json").write_text(text)
    code, out, err = run("prune net.json --sparsity 0.5", capsys)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err
    assert not Path("net-pruned.json").exists()


def test_show(capsys: pytest.CaptureFixture) -> None:
    net = npr.Network.dense([3, 4, 2], activation="relu", seed=0)
    plan = npr.PruningSchedule(0.5, 1, 9, 2, ramp="cubic", regrow_fraction=0.25)
    net.train(np.eye(3), np.eye(3)[:, :2], 10, pruning=plan)
    net.save("net.npz")
    before = Path("net.npz").read_bytes()
    lines = dict(line.split("  ", 1) for line in succeed("show net.npz", capsys).splitlines())
    lines = {name: value.strip() for name, value in lines.items()}
    assert lines["nodes"] == "3 inputs, 4 hidden, 2 outputs" and lines["kind"] == "acyclic"
    assert (lines["connections"], lines["sparsity"], lines["trained"]) == ("10", "50.0%", "10 steps")
    assert lines["activations"] == "identity 2, relu 4" and lines["file"] == f"{len(before):,} bytes"
    assert lines["schedule"] == "magnitude, cubic to 50.0% from iteration 1 to 9 every 2, regrowing 25.0%"
    assert lines["depth"] == str(net.graph.depth.max())
    assert lines["dead hidden nodes"].isdecimal() and lines["unused inputs"].isdecimal()
    assert Path("net.npz").read_bytes() == before


def test_show_counts_what_is_dead(capsys: pytest.CaptureFixture) -> None:
    net = npr.Network.from_connections(3, 1, [(0, 3, 1.0), (1, 7, 1.0), (8, 3, 1.0), (3, 3, 1.0)],
                                       delayed=[False, False, False, True])
    net.save("net.json")
    out = succeed("show net.json", capsys)
    assert "dead hidden nodes  2\n" in out and "unused inputs      2\n" in out
    assert "recurrent, 1 delayed connections" in out and "schedule           none\n" in out


def test_show_a_network_without_connections(capsys: pytest.CaptureFixture) -> None:
    net = npr.Network.dense([2, 1], seed=0)
    net.keep(np.zeros(2, bool))
    net.save("net.json")
    assert "|weight|           none\n" in succeed("show net.json", capsys)


def test_show_draws(capsys: pytest.CaptureFixture) -> None:
    npr.Network.dense([2, 3, 1], seed=0).save("net.json")
    assert succeed("show net.json --picture net.png", capsys).endswith("\n\nnet.png\n")
    assert Path("net.png").read_bytes().startswith(b"\x89PNG")
