"""The notebook runs, and is stored without outputs."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
nbformat = pytest.importorskip("nbformat", reason="no nbformat: pip install '.[test]'")
nbclient = pytest.importorskip("nbclient", reason="no nbclient: pip install '.[test]'")
pytest.importorskip("ipykernel", reason="no ipykernel: pip install '.[test]'")


def test_the_notebook_runs(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "docs/quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    run = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    run.execute()
    kinds = [set(output.get("data", {})) for cell in run.nb.cells for output in cell.get("outputs", [])]
    assert any("image/png" in types for types in kinds)
    assert "PSNR" in str(run.nb.cells[-1].outputs)
