"""Datasets of the hub, streamed; here from a local file in the place of the hub."""

from pathlib import Path
from typing import Any

import pytest

from unsee.data import load, open_image
from unsee.errors import InputError
from unsee.testing import images

datasets = pytest.importorskip("datasets")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A hub with one dataset of three photos; the names and splits that were asked for."""
    names = datasets.ClassLabel(names=["alice", "bob"])
    features = datasets.Features({"photo": datasets.Image(), "label": names, "url": datasets.Value("string")})
    rows = {"photo": images(3), "label": [0, 1, 0], "url": ["", "", ""]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "one.parquet"))
    asked, opened = list[tuple[str, str]](), datasets.load_dataset

    def load_dataset(name: str, *, split: str, streaming: bool) -> Any:
        asked.append((name, split))
        assert streaming
        if name != "owner/faces":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")
        return opened("parquet", data_files=str(tmp_path / "one.parquet"), split="train", streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.mark.parametrize(("address", "split"), [("owner/faces", "train"), ("owner/faces/test", "test")])
def test_rows_are_streamed_and_labels_are_concepts(hub: list[tuple[str, str]], address: str, split: str) -> None:
    samples = load(Path(f"hf://datasets/{address}"))
    assert hub == [("owner/faces", split)]
    assert [sample.concept for sample in samples] == ["alice", "bob", "alice"]
    assert [open_image(sample).tobytes() for sample in samples] == [image.tobytes() for image in images(3)]
    assert all(isinstance(sample.image, Path) for sample in samples)


def test_what_is_not_there_is_said(hub: list[tuple[str, str]]) -> None:
    with pytest.raises(InputError, match=r"hf://datasets/owner/none cannot be read \(Dataset 'owner/none' doesn't"):
        load(Path("hf://datasets/owner/none"))


def test_no_row_names_a_file_of_this_machine(
    hub: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(1)[0].save(tmp_path / "private.png")
    features = datasets.Features({"image": datasets.Image(decode=False)})
    rows = [{"image": {"bytes": None, "path": str(tmp_path / "private.png")}}]
    made = datasets.Dataset.from_list(rows, features=features).to_iterable_dataset()
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
    with pytest.raises(InputError, match=r"train row 0 names the image .*, which is not on the hub"):
        load(Path("hf://datasets/owner/faces"))
    assert not hub
