"""What an import costs, what it may need, and that a changed kernel is never answered from an old cache."""

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from test_layers import HEAVY

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "neuroprune"


def run_python(script: str, folder: Path, **environment: str) -> str:
    """What the script prints in a new process whose imports come from `folder` first."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def loaded_by(modules: list[str]) -> set[str]:
    """The top-level packages that importing these modules, and touching each of their names, loads."""
    script = f"""
import importlib, json, sys
before = set(sys.modules)
for name in {modules!r}:
    module = importlib.import_module(name)
    for attribute in dir(module):
        getattr(module, attribute)
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""
    return set(json.loads(run_python(script, ROOT)))


def test_import_loads_numpy_and_nothing_heavier() -> None:
    loaded = loaded_by(["neuroprune"])
    assert "neuroprune" in loaded
    assert loaded & HEAVY == set()


def test_no_module_loads_a_heavy_package_before_it_is_used() -> None:
    names = []
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        if not path.startswith("kernels/") and path not in ("tensors/torch.py", "__main__.py"):
            names.append(".".join(["neuroprune", *path.removesuffix(".py").split("/")]).removesuffix(".__init__"))
    assert loaded_by(names) & HEAVY == set()


def test_a_heavy_import_would_be_seen() -> None:
    assert "numba" in loaded_by(["neuroprune.kernels.compile"])


def requirements(section: str, key: str, declared: configparser.ConfigParser) -> set[str]:
    lines = declared[section][key].splitlines()
    return {re.split(r"[^\w.-]", line)[0].lower() for line in lines if line}


def foreign_imports(folder: Path) -> dict[str, str]:
    """Each package that the files of a folder import from outside, with one file that does."""
    own = {"neuroprune", "benchmarks", *(file.stem for file in folder.glob("*.py"))}
    found = {}
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for root in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - own:
                found[root] = str(file.relative_to(ROOT))
    return found


DISTRIBUTIONS = {"sklearn": "scikit-learn", "array_api_strict": "array-api-strict", "distributed": "dask"}
COMES_ALONG = {"llvmlite"}  # numba brings its own
# A frame for those who have it, functions that reach workers where their package is there, genomes of those who use it.
OPTIONAL = {"pandas", "cloudpickle", "neat"}
OPTIONAL_IN_TESTS = {"torch"}  # they skip without it


def test_every_foreign_import_is_declared() -> None:
    """A fresh environment with only what setup.cfg names must have all that the code and its tests import."""
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg", encoding="utf-8")
    always = requirements("options", "install_requires", declared) | COMES_ALONG
    extras = {key: requirements("options.extras_require", key, declared) for key in declared["options.extras_require"]}
    for_users = set().union(*(names for key, names in extras.items() if key not in ("test", "bench", "all")))

    def undeclared(folder: Path, known: set[str]) -> dict[str, str]:
        found = foreign_imports(folder)
        return {root: file for root, file in found.items() if DISTRIBUTIONS.get(root, root) not in known}

    assert "torch" not in extras["test"]
    assert undeclared(PACKAGE, always | for_users | OPTIONAL) == {}
    assert undeclared(ROOT / "tests", always | extras["test"] | OPTIONAL_IN_TESTS) == {}


@pytest.mark.compiled_only
def test_a_changed_kernel_reaches_its_callers_in_other_files(tmp_path: Path) -> None:
    """numba itself would answer from the cache of the caller, whose own file is as it was."""
    kernels = tmp_path / "neuroprune" / "kernels"
    kernels.mkdir(parents=True)
    (tmp_path / "neuroprune" / "__init__.py").write_text("")
    for name in ("__init__.py", "compile.py"):
        shutil.copy(PACKAGE / "kernels" / name, kernels)
    head = "from neuroprune.kernels.compile import jit\n"
    called = kernels / "called.py"
    called.write_text(f"{head}\n@jit\ndef scaled(x):\n    return 2.0 * x\n")
    (kernels / "caller.py").write_text(
        f"{head}from neuroprune.kernels.called import scaled\n\n@jit\ndef shifted(x):\n    return scaled(x) + 1.0\n"
    )
    script = """
from neuroprune.kernels import caller
print(caller.shifted(10.0), sum(caller.shifted.stats.cache_hits.values()))
"""

    def answer() -> list[str]:
        environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "0"}
        return run_python(script, tmp_path, **environment).split()

    assert answer() == ["21.0", "0"], "the first call compiles"
    assert answer() == ["21.0", "1"], "the second process finds it on disk"
    called.write_text(called.read_text().replace("2.0", "3.0"))
    assert answer() == ["31.0", "0"], "the changed kernel is compiled again, and so is its caller"


SKIPPING = """
import pytest

def test_in_a_function():
    pytest.importorskip("torch")

def test_by_fixture(torch):
    pass

@pytest.mark.skipif(True, reason="needs a device")
def test_for_another_reason():
    pass
"""


@pytest.mark.parametrize(
    ("required", "outcome"), [("0", {"skipped": 4}), ("1", {"errors": 2, "failed": 1, "skipped": 1})]
)
def test_a_skip_for_want_of_torch_fails_where_torch_is_required(tmp_path: Path, required: str, outcome: dict) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('made missing', name='torch')\n")
    (tmp_path / "test_functions.py").write_text(SKIPPING)
    (tmp_path / "test_module.py").write_text("import pytest\n\ntorch = pytest.importorskip('torch')\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "NEUROPRUNE_REQUIRE_TORCH": required, "PYTEST_ADDOPTS": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    counts = re.findall(r"(\d+) (skipped|failed|error|errors)\b", result.stdout.splitlines()[-1])
    assert {("errors" if word == "error" else word): int(n) for n, word in counts} == outcome, result.stdout
    assert result.returncode == (1 if required == "1" else 0)
