"""The notebooks: stored without outputs, and executed from the first cell to the last."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat: pip install -e '.[test]'")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient: pip install -e '.[test]'")

NEEDS_TORCH = {"03_the_bridge"}
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.compiled_only
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    if path.stem in NEEDS_TORCH:
        pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3",
                                     resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", f"the notebook warns: {output.text}"
        last = cell.source.splitlines()[-1] if cell.source else ""
        if cell.cell_type == "code" and ".equals(" in last and last.endswith(")") and "print" not in last:
            assert cell.outputs[-1]["data"]["text/plain"] == "True", f"what is said to be equal is not: {last}"
