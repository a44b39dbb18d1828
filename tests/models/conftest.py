"""What tests of models share: the tiny checkpoint in several files."""

from pathlib import Path

import pytest
from tiny_model import language_shards

from unsee.models.checkpoint import Vlm, load
from unsee.models.shards import shards


@pytest.fixture(scope="module")
def sharded(vlm: Vlm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint in several files, some of them without a visual tensor; to be read only."""
    folder = tmp_path_factory.mktemp("sharded") / "model"
    load(vlm.folder, language=True).model.save_pretrained(folder, max_shard_size="40KB")
    vlm.processor.save_pretrained(folder)
    assert len(shards(folder)) > 3
    assert language_shards(load(folder))
    return folder
