"""What tests of several commands ask for."""

from pathlib import Path

import pytest

from tiny_method import TYPED


@pytest.fixture
def asked(checkpoint: Path, target: Path, retained: Path) -> list[object]:
    """The arguments of a short request, but for --out."""
    return [
        "forget",
        "nscvf",
        "--model",
        checkpoint,
        "--target",
        target,
        "--retain",
        retained,
        *TYPED,
        "--ask",
        "never",
    ]
