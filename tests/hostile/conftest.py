"""The ground on which hostile inputs are tried."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ground import Ground

Run = Callable[..., int]


@pytest.fixture
def ground(tmp_path: Path, checkpoint: Path, retained: Path, unsee: Run, capsys: pytest.CaptureFixture[str]) -> Ground:
    return Ground(tmp_path, checkpoint, retained, unsee, capsys)
