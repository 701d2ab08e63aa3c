"""The examples in docstrings and in README.md run and print what they show."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# in their examples
NEEDS_TORCH = {"neuroprune.tensors.torch", "neuroprune.tensors.signals", "neuroprune.interop.torch"}


def module_names() -> list[str]:
    files = [file.relative_to(ROOT).with_suffix("") for file in sorted((ROOT / "neuroprune").rglob("*.py"))]
    return [".".join(file.parts).removesuffix(".__init__") for file in files if file.name != "__main__"]


def python_blocks(markdown: str) -> list[str]:
    """The fenced blocks marked as python, in order."""
    return re.findall(r"^```(?:python|pycon)\n(.*?)^```$", markdown, flags=re.MULTILINE | re.DOTALL)


def run_block(block: str, names: dict, title: str) -> None:
    """Run one block; with `>>>` it is an example and what it prints is compared, without it is a script."""
    if ">>>" not in block:
        exec(compile(block, title, "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(block, names, title, title, 0)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, clear_globs=False)
    names.update(test.globs)  # the next block goes on where this one ends
    assert runner.failures == 0, f"{title} prints something else, see the captured output"


@pytest.mark.parametrize("name", module_names())
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in NEEDS_TORCH:
        pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)  # where examples that save a file may write
    assert doctest.testmod(module, optionflags=FLAGS).failed == 0, "an example failed, see the captured output"


def test_readme_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert blocks, "README.md shows nothing"
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "readme"}
    with_torch = [block for block in blocks if "import torch" in block]
    assert with_torch, "README.md shows nothing for PyTorch"
    for number, block in enumerate(blocks, start=1):
        if block not in with_torch:
            run_block(block, names, f"README.md, python block {number}")
    pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    for block in with_torch:
        run_block(block, {"__name__": "readme"}, "README.md, the block for PyTorch")


def test_blocks_are_found_and_judged() -> None:
    markdown = "Text.\n```python\nx = 2\n```\n```bash\nfalse\n```\n```python\n>>> x + 1\n3\n>>> y = 5\n```\n"
    script, example = python_blocks(markdown)
    names: dict = {}
    run_block(script, names, "script")
    run_block(example, names, "example")
    assert names["y"] == 5
    with pytest.raises(AssertionError, match="prints something else"):
        run_block(">>> x + 1\n4\n", names, "wrong")
