"""Every script in examples/ is short, says what one sees, and runs with --quick."""

import ast
import configparser
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS_TORCH = {path for path in EXAMPLES if "import torch" in path.read_text(encoding="utf-8")}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "neat": "neat-python", "distributed": "dask"}
EACH = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


@cache
def quick_run(path: Path, folder: Path) -> str:
    """What the script prints: in an empty folder, with warnings as errors."""
    folder.mkdir()
    result = subprocess.run([sys.executable, "-W", "error", str(path), "--quick"], cwd=folder, text=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, capture_output=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


def rows(text: str) -> list[list[float]]:
    """The lines that begin with a number, as the numbers in them."""
    return [[float(word.strip("%")) for word in re.findall(r"-?\d+\.?\d*%?", line)]
            for line in text.splitlines() if re.match(r"\s*\d", line)]


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {"cma_parameters", "deap_toolbox", "digits", "neat_python_genome",
                                                "plain_loop", "pytorch_one_shot", "pytorch_rigl", "rigl_on_a_graph"}


@EACH
def test_an_example_has_at_most_80_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 80


@EACH
def test_an_example_says_how_it_is_called_and_what_it_needs(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    text = ast.get_docstring(tree) or ""
    assert f"python examples/{path.name} [--quick]" in text
    imported = {name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
                for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])}
    ours = {"neuroprune", "numpy", "torch"}  # torch has an extra of its own
    needed = {DISTRIBUTIONS.get(name, name) for name in imported - sys.stdlib_module_names - ours}
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg", encoding="utf-8")
    for extra in ("examples", "test"):
        lines = declared["options.extras_require"][extra].split()
        assert needed <= {re.split(r"[^\w.-]", line)[0] for line in lines}, extra
    extras = "examples,torch" if path in NEEDS_TORCH else "examples"
    assert not needed or f'pip install "neuroprune[{extras}]"' in text


@pytest.mark.compiled_only
@EACH
def test_an_example_runs(path: Path, folder: Path) -> None:
    if path in NEEDS_TORCH:
        pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    assert quick_run(path, folder / path.stem).strip()


@pytest.mark.compiled_only
def test_the_plain_loop_ends_with_a_quarter_of_the_connections(folder: Path) -> None:
    text = quick_run(ROOT / "examples" / "plain_loop.py", folder / "plain_loop")
    without, pruned = (rows(part) for part in text.split("with pruning"))
    assert len(without) == len(pruned) == 6
    assert without[-1][1] < without[0][1] and without[-1][2] >= 80
    assert pruned[0][2] == 80 and 20 <= pruned[-1][2] <= 25


@pytest.mark.compiled_only
def test_deap_finds_a_front(folder: Path) -> None:
    front = rows(quick_run(ROOT / "examples" / "deap_toolbox.py", folder / "deap_toolbox"))
    assert len(front) >= 2
    for small, large in zip(front, front[1:], strict=False):
        assert small[0] < large[0] and small[2] > large[2]


@pytest.mark.compiled_only
def test_cma_searches_fewer_and_fewer_parameters(folder: Path) -> None:
    table = rows(quick_run(ROOT / "examples" / "cma_parameters.py", folder / "cma_parameters"))
    sizes = [row[0] for row in table]
    assert sizes[0] == 49 and sizes == sorted(sizes, reverse=True) and sizes[-1] <= 18
    assert [row[0] for row in table] == [row[1] + row[2] + 1 for row in table]


@pytest.mark.compiled_only
def test_neat_python_learns_with_and_without_pruning(folder: Path) -> None:
    text = quick_run(ROOT / "examples" / "neat_python_genome.py", folder / "neat_python_genome")
    *ways, last = text.splitlines()
    assert [re.findall(r"\d+%: solved [01] of 1", line) != [] for line in ways] == [True, True]
    outputs = [float(number) for number in re.findall(r"\d\.\d+", last)]
    assert len(outputs) == 4 and sum((a - b) ** 2 for a, b in zip(outputs, (0, 1, 1, 0), strict=True)) < 1.1
