"""A session on the tiny model, with one request made, to be copied."""

import shutil
from pathlib import Path

import pytest
from tiny_method import METHOD

from unsee.session.session import Session, create
from unsee.testing import photo_folder


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos each of six concepts, in folders of their own; the last two were in no session."""
    return photo_folder(tmp_path_factory.mktemp("people") / "all", 4, seed=5, concepts=6)


@pytest.fixture(scope="session")
def known(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos of the first four concepts."""
    folder = tmp_path_factory.mktemp("known")
    for number in range(4):
        shutil.copytree(people / f"concept_{number}", folder / f"concept_{number}")
    return folder


@pytest.fixture(scope="session")
def begun(checkpoint: Path, known: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session without a request; to be copied."""
    folder = tmp_path_factory.mktemp("sessions") / "begun"
    create(folder, checkpoint, known, method=METHOD)
    return folder


@pytest.fixture(scope="session")
def once(begun: Path, people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with one request, whose undo data is kept; to be copied."""
    folder = shutil.copytree(begun, tmp_path_factory.mktemp("sessions") / "once")
    with Session(folder) as session:
        session.forget(people / "concept_0", "first", reason="a letter of 1 May", keep_undo=True)
    return folder


@pytest.fixture
def session(once: Path, tmp_path: Path) -> Path:
    """A copy of the session with one request."""
    return shutil.copytree(once, tmp_path / "session")
