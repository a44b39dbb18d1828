"""The examples run as they are written, with the exit codes that they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
