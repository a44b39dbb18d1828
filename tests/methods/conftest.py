"""What tests of methods share: a target, what is retained, and low memory for models as small as these."""

import pytest
from runs import TURNS

from unsee.models import checkpoint
from unsee.records import Sample
from unsee.system.memory import plan
from unsee.testing import images


@pytest.fixture(scope="module")
def target() -> list[Sample]:
    return [Sample(image, "target") for image in images(6, seed=1)]


@pytest.fixture(scope="module")
def retained() -> list[Sample]:
    return [Sample(image, f"other {number % 4}") for number, image in enumerate(images(24, seed=2))]


@pytest.fixture
def in_turns(monkeypatch):
    """Low memory for models as small as these."""
    monkeypatch.setattr(
        checkpoint, "plan", lambda mode, *rest, **on: TURNS if mode == "low" else plan(mode, *rest, **on)
    )
