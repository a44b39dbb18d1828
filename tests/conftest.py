"""What tests share: one tiny checkpoint, photos, and libraries kept quiet."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

from unsee.cli.main import main
from unsee.models.checkpoint import Vlm, load
from unsee.testing import photo_folder, tiny_checkpoint

os.environ["TOKENIZERS_PARALLELISM"] = "false"
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
    """The opened tiny checkpoint; a test that changes its weights puts them back."""
    return load(checkpoint)


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
