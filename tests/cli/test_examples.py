"""The examples run as they are written, with the exit codes that they say."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_a_request_of_ones_own(tmp_path: Path) -> None:
    """The script ends at the first exit code that is not the one it says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", EXAMPLES / "own_request.sh", tmp_path / "work"],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed: Request 2026-017." in ran.stdout
    assert "failed: Forgotten. Nothing was forgotten" in ran.stdout
    assert (tmp_path / "work" / "forgotten" / "report.html").is_file()


@pytest.mark.slow
def test_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs as it is written; a cell that fails ends it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    book = nbformat.read(EXAMPLES / "own_request.ipynb", as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [out for cell in book.cells for out in cell.get("outputs", ())]
    shown = [out["data"].get("text/html", "") for out in outputs if "data" in out]
    assert any("<Edit of base by nscvf" in text or "&lt;Edit of base by nscvf" in text for text in shown)
    assert list(tmp_path.glob("*/report.html"))
