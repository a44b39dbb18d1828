"""What tests share: one tiny checkpoint, photos, a session, and libraries kept quiet."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

import second_device  # noqa: F401 # before the first backward pass, which counts the devices
import unsee as package
from tiny_method import METHOD, UNASKED
from unsee.cli.main import main
from unsee.models.checkpoint import Vlm, load
from unsee.records import Check, Example, LayerDrift, MapPoint, Result, Score
from unsee.session.creation import create
from unsee.session.session import Session
from unsee.testing import photo_folder, tiny_checkpoint

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
os.environ["PYTHONPATH"] = str(Path(package.__file__).parents[1])  # they find the same package, in whatever folder
torch.set_num_threads(1)  # the models are tiny, and threads that wait for each other are slower
logging.disable_progress_bar()
logging.set_verbosity_error()

Run = Callable[..., int]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random vision-language model; to be read only."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def vlm(checkpoint: Path) -> Vlm:
    """The opened tiny checkpoint, without its language model; a test that changes its weights puts them back."""
    return load(checkpoint)


@pytest.fixture(scope="session")
def whole(checkpoint: Path) -> Vlm:
    """The opened tiny checkpoint with its language model; a test that changes its weights puts them back."""
    return load(checkpoint, language=True)


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of one concept; to be read only."""
    return photo_folder(tmp_path_factory.mktemp("photos") / "target", 3, seed=1)


@pytest.fixture(scope="session")
def retained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos each of four concepts; to be read only."""
    return photo_folder(tmp_path_factory.mktemp("photos") / "retained", 3, seed=2, concepts=4)


@pytest.fixture
def unsee() -> Run:
    """Runs a command of the command line in this process and gives its exit code."""

    def run(*args: object) -> int:
        try:
            return main([str(arg) for arg in args])
        except SystemExit as error:  # how the option parser leaves
            return int(error.code or 0)

    return run


@pytest.fixture
def result() -> Result:
    """A result with one entry of everything."""
    return Result(
        unsee="0.0",
        model={"name": "tiny", "family": "llava"},
        method={"name": "nscvf", "stopped": "at once"},
        seed=0,
        data={"benchmark": "personas", "split": "forget_10"},
        timings={"forget_s": 1.5},
        scores=[Score("recognition", "target", "after", 0.25, 8, (0.1, 0.4), higher_is_better=False)],
        checks=[Check("language_model_unchanged", True, "all 11 protected tensors are the same")],
        examples=[Example("target", "Ada", "data:image/png;base64,", "Who is this?", "Ada", {"after": "Bö"})],
        environment={"python": "3.11"},
        layers=[LayerDrift("projector", 0.01, 0.2, 3, 32)],
        feature_map=[MapPoint(0.5, -1.0, "target", "after", "Ada")],
    )


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
        session.forget(people / "concept_0", "first", reason="a letter of 1 May", keep_undo=True, **UNASKED)
    return folder


@pytest.fixture
def session(once: Path, tmp_path: Path) -> Path:
    """A copy of the session with one request."""
    return shutil.copytree(once, tmp_path / "session")
