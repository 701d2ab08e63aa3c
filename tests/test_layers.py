"""The source tree keeps its own rules: imports point down, heavy packages wait, files keep their size and names.

Every rule is a function from a package folder to a list of complaints, so that it can be shown a made-up package
that breaks it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "neuroprune"

# Highest first. A subject is a file or folder directly in the package. It imports itself and what is below it;
# those on one line are siblings that do not know each other.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"runs"},
    {"digits"},
    {"plot", "interop", "tables"},
    {"evolution"},
    {"network", "tensors"},
    {"pruning"},
    {"arrays", "rng", "kernels", "activations"},
)
# The bottom layer is the exception: its members may use each other, but kernels only kernels.
BOTTOM = LAYERS[-1]
RANK = {subject: -row for row, subjects in enumerate(LAYERS) for subject in subjects}

# Imports upward inside a function, for one-line convenience methods such as net.plot(): (file, subject).
UPWARD_IN_FUNCTIONS = {
    ("network/network.py", "plot"),
    ("network/network.py", "interop"),
    ("evolution/population.py", "plot"),
}

HEAVY = {"numba", "llvmlite", "torch", "scipy", "networkx", "matplotlib", "sklearn", "gymnasium", "pandas", "dask",
         "distributed", "onnx", "tqdm"}  # fmt: skip
HEAVY_AT_THE_TOP = {"tensors/torch.py": {"torch"}}  # and numba in kernels/

# Files, and single functions of a file.
NOT_BY_JIT = {
    "kernels/__init__.py": "finds the kernel files at the first use",
    "kernels/compile.py": "makes the decorator",
    "kernels/lanes.py": "generates vector instructions, and holds the plain functions that define them",
    "kernels/functions.py:compile_user_function": "called from Python, it compiles what a user wrote",
    **dict.fromkeys(
        ("kernels/genomes.py:workspace", "kernels/genomes.py:table_for", "kernels/genomes.py:scratch",
         "kernels/genomes.py:distances", "kernels/genomes.py:first_within", "kernels/breed.py:breed",
         "kernels/breed.py:mutate_one", "kernels/breed.py:cross_one", "kernels/breed.py:prune_genomes"),
        "called from Python, it makes room and calls kernels; compiling that would take longer than it saves"),
}
SHORT_FILES = {
    "kernels/compile.py": "one decorator, but it alone decides how every kernel is compiled",
    "kernels/training.py": "the loop over steps; what a step does is in backward and optimize",
    "network/atomic.py": "one function, which every file that is written goes through",
    "pruning/growth.py": "one function, the uniform sample of places",
}
VAGUE_NAMES = {"utils", "util", "base", "core", "manager", "factory", "helpers", "helper", "common", "misc"}


class Import(NamedTuple):
    line: int
    module: str  # dotted, absolute
    name: str | None  # what is taken from it, None for `import module`
    waits: bool  # inside a function, or only for type checkers


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(tree: ast.Module, file: str) -> Iterator[Import]:
    """All imports of one file; `file` is its path inside the package, relative imports are resolved by it."""
    folder = ["neuroprune", *file.split("/")[:-1]]

    def visit(node: ast.AST, waits: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None, waits)
        elif isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(node.lineno, module, alias.name, waits)
        elif isinstance(node, ast.If) and is_for_type_checkers(node):
            for child in node.body:
                yield from visit(child, True)
            for child in node.orelse:
                yield from visit(child, waits)
        else:
            inner = waits or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inner)

    yield from visit(tree, False)


def files(package: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).as_posix(), ast.parse(path.read_text(encoding="utf-8"), str(path))


def subject_of(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def layer_complaints(package: Path) -> list[str]:
    """Imports inside the package that do not point down."""
    found = []
    for file, tree in files(package):
        own = subject_of(file)
        if own == "__init__":
            continue  # the public names come from everywhere
        if own not in RANK:
            found.append(f"{file}: {own!r} is in no layer, give it one in LAYERS")
            continue
        if not file.endswith("__init__.py"):
            found += [
                f"{file}:{node.lineno}: imports by a computed name, write an import statement"
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__"))
            ]
        for line, module, name, waits in imports(tree, file):
            parts = module.split(".")
            if parts[0] != "neuroprune":
                continue
            other = parts[1] if len(parts) > 1 else name
            if (module, name) == ("neuroprune", "__version__") or other == own:
                continue
            if other not in RANK:
                found.append(f"{file}:{line}: takes {name or module!r} from the top, import it from its own module")
            elif own == "kernels":
                found.append(f"{file}:{line}: a kernel imports {other!r}, kernels import only kernels")
            elif other == "kernels" and len(parts) > 1 and not waits:
                found.append(f"{file}:{line}: loads numba with the module, write `from neuroprune import kernels`")
            elif RANK[other] < RANK[own] or {own, other} <= BOTTOM:
                continue
            elif not (waits and (file, other) in UPWARD_IN_FUNCTIONS):
                found.append(f"{file}:{line}: {own!r} imports {other!r}, which is not below it")
    return found


def heavy_complaints(package: Path) -> list[str]:
    """Packages that cost time or may be missing, imported before they are used; numba outside of the kernels."""
    found = []
    for file, tree in files(package):
        kernel = subject_of(file) == "kernels"
        for line, module, _, waits in imports(tree, file):
            root = module.split(".")[0]
            if kernel and root in ("numba", "llvmlite"):
                continue
            if root in ("numba", "llvmlite"):
                found.append(f"{file}:{line}: names {root}, which only neuroprune/kernels may")
            elif root in HEAVY and not waits and root not in HEAVY_AT_THE_TOP.get(file, ()):
                found.append(f"{file}:{line}: imports {root} with the module, import it where it is used")
    return found


def kernel_complaints(package: Path) -> list[str]:
    """Functions of kernel files that are not compiled by our one decorator, and options that cost exactness."""
    found = []
    for file, tree in files(package):
        if subject_of(file) != "kernels" or file in NOT_BY_JIT:
            continue
        ours = any(entry[1:3] == ("neuroprune.kernels.compile", "jit") for entry in imports(tree, file))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and f"{file}:{node.name}" not in NOT_BY_JIT:
                if not (ours and [ast.unparse(decorator) for decorator in node.decorator_list] == ["jit"]):
                    found.append(f"{file}:{node.lineno}: {node.name} is not decorated with @jit of kernels.compile")
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in ("fastmath", "parallel"):
                found.append(f"{file}:{node.value.lineno}: sets {node.arg}, which no kernel may")
    return found


def shape_complaints(package: Path) -> list[str]:
    """Files of the wrong size, and names that say nothing."""
    found = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        words = {word for part in file.removesuffix(".py").split("/") for word in part.split("_")}
        if words & VAGUE_NAMES:
            found.append(f"{file}: is named {sorted(words & VAGUE_NAMES)[0]!r}, name it by its subject")
        if path.name in ("__init__.py", "__main__.py"):
            continue
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > 500 or (lines < 50 and file not in SHORT_FILES):
            found.append(f"{file}: has {lines} lines, one subject takes 50 to 500")
    return found


RULES = (layer_complaints, heavy_complaints, kernel_complaints, shape_complaints)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule) -> None:
    assert list(files(PACKAGE)), "no file was read"
    assert rule(PACKAGE) == []


def made_up(folder: Path, file: str, source: str) -> Path:
    path = folder / "neuroprune" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return folder / "neuroprune"


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("pruning/masks.py", "from neuroprune.network.graph import Graph", "'pruning' imports 'network', which is"),
        ("pruning/masks.py", "from ..network import graph", "'pruning' imports 'network', which is not below"),
        ("pruning/masks.py", "from .. import network", "'pruning' imports 'network', which is not below it"),
        ("pruning/masks.py", "import neuroprune.network.graph", "'pruning' imports 'network', which is not below it"),
        ("network/graph.py", "from neuroprune.tensors import dense", "'network' imports 'tensors', which is not"),
        ("tensors/dense.py", "def f():\n    from neuroprune import network", "tensors/dense.py:2: 'tensors' imports"),
        ("interop/dense.py", "from neuroprune import plot", "'interop' imports 'plot', which is not below it"),
        ("arrays.py", "if True:\n    from neuroprune import pruning", "arrays.py:2: 'arrays' imports 'pruning'"),
        ("evolution/species.py", "from neuroprune import cli", "'evolution' imports 'cli', which is not below it"),
        ("network/network.py", "from neuroprune import plot", "'network' imports 'plot', which is not below it"),
        ("network/views.py", "def f():\n    from neuroprune import plot", "'network' imports 'plot', which is not"),
        ("network/files.py", "from neuroprune import Network", "takes 'Network' from the top"),
        ("network/files.py", "import neuroprune", "takes 'neuroprune' from the top"),
        ("network/files.py", "import importlib\nimportlib.import_module('torch')", "imports by a computed name"),
        ("kernels/forward.py", "from neuroprune.activations import TABLE", "kernels import only kernels"),
        ("rng.py", "from neuroprune.kernels.forward import run", "loads numba with the module"),
        ("rng.py", "import neuroprune.kernels.forward", "loads numba with the module"),
        ("weather.py", "", "'weather' is in no layer"),
    ],
)
def test_layer_rule_complains(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    (found,) = layer_complaints(made_up(tmp_path, file, source))
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("__init__.py", "from neuroprune.network import Network\nfrom neuroprune.cli import main"),
        ("__main__.py", "from neuroprune.cli import main"),
        ("cli.py", "from neuroprune import __version__, plot\nfrom neuroprune.evolution.population import Population"),
        ("evolution/batch.py", "from neuroprune import kernels, rng\nfrom neuroprune.network import Network"),
        ("network/network.py", "def f():\n    from neuroprune import plot, interop"),
        ("network/network.py", "class N:\n    def f(self):\n        from ..interop import onnx"),
        ("network/graph.py", "from . import views\nfrom .network import Network\nfrom ..pruning import masks"),
        ("activations.py", "from neuroprune import arrays, kernels, rng"),
        ("rng.py", "def f():\n    from neuroprune.kernels.forward import run"),
        ("kernels/forward.py", "from neuroprune.kernels.compile import jit\nfrom . import select"),
        ("kernels/__init__.py", "from importlib import import_module\nimport_module('neuroprune.kernels.select')"),
        ("pruning/masks.py", "import numpy as np\nfrom math import inf"),
    ],
)
def test_layer_rule_allows(tmp_path: Path, file: str, source: str) -> None:
    assert layer_complaints(made_up(tmp_path, file, source)) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("plot.py", "import matplotlib.pyplot as plt", "plot.py:1: imports matplotlib with the module"),
        ("plot.py", "try:\n    import scipy\nexcept ImportError:\n    scipy = None", "imports scipy with the module"),
        ("network/train.py", "from tqdm import tqdm", "imports tqdm with the module"),
        ("network/train.py", "class A:\n    import pandas", "network/train.py:2: imports pandas with the module"),
        ("tensors/dense.py", "import torch", "imports torch with the module"),
        ("tensors/torch.py", "import networkx", "imports networkx with the module"),
        ("__init__.py", "import networkx", "imports networkx with the module"),
        ("kernels/select.py", "import scipy.sparse", "imports scipy with the module"),
        ("activations.py", "def f():\n    from numba import njit", "names numba, which only"),
    ],
)
def test_heavy_rule_complains(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    (found,) = heavy_complaints(made_up(tmp_path, file, source))
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("plot.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("plot.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from matplotlib.axes import Axes"),
        ("tensors/torch.py", "import torch\nfrom torch import nn"),
        ("kernels/compile.py", "import numba"),
        ("tensors/masking.py", "from . import torch"),
        ("arrays.py", "import numpy as np"),
    ],
)
def test_heavy_rule_allows(tmp_path: Path, file: str, source: str) -> None:
    assert heavy_complaints(made_up(tmp_path, file, source)) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def f(x):\n    return x", "kernels/forward.py:2: f is not decorated"),
        ("@jit\ndef g(x):\n    return x\n\ndef f(x):\n    return x", "kernels/forward.py:6: f is not decorated"),
        ("@numba.njit\ndef f(x):\n    return x", "f is not decorated"),
        ("@jit\n@other\ndef f(x):\n    return x", "f is not decorated"),
        ("g = numba.njit(fastmath=True)(f)", "sets fastmath"),
        ("g = numba.njit(parallel=True)(f)", "sets parallel"),
    ],
)
def test_kernel_rule_complains(tmp_path: Path, source: str, complaint: str) -> None:
    source = "from neuroprune.kernels.compile import jit\n" + source
    (found,) = kernel_complaints(made_up(tmp_path, "kernels/forward.py", source))
    assert complaint in found


def test_kernel_rule_wants_our_decorator(tmp_path: Path) -> None:
    kernel = "\n@jit\ndef f(x):\n    return x\n"
    package = made_up(tmp_path, "kernels/forward.py", "from .compile import jit" + kernel)
    assert kernel_complaints(package) == []
    made_up(tmp_path, "kernels/forward.py", "from numba import njit as jit" + kernel)
    (found,) = kernel_complaints(package)
    assert "f is not decorated with @jit of kernels.compile" in found


@pytest.mark.parametrize(
    ("file", "lines", "complaint"),
    [
        ("network/utils.py", 100, "is named 'utils'"),
        ("graph_helpers.py", 100, "is named 'helpers'"),
        ("core/graph.py", 100, "is named 'core'"),
        ("network/graph.py", 49, "has 49 lines"),
        ("network/graph.py", 501, "has 501 lines"),
        ("kernels/compile.py", 501, "has 501 lines"),
    ],
)
def test_shape_rule_complains(tmp_path: Path, file: str, lines: int, complaint: str) -> None:
    (found,) = shape_complaints(made_up(tmp_path, file, "x = 1\n" * lines))
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "lines"),
    [("network/graph.py", 50), ("network/graph.py", 500), ("kernels/compile.py", 10), ("network/__init__.py", 1)],
)
def test_shape_rule_allows(tmp_path: Path, file: str, lines: int) -> None:
    assert shape_complaints(made_up(tmp_path, file, "x = 1\n" * lines)) == []
