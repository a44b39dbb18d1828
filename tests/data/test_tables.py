"""Parquet and saved datasets: the row contract everywhere, the files where `datasets` is installed."""

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from unsee.data import content_hash, load, open_image
from unsee.data.tables import table_sample
from unsee.errors import InputError


def draw(path: Path, colour: str = "red") -> Path:
    """Writes a 3 x 2 image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), colour).save(path)
    return path


RED = content_hash(Image.new("RGB", (3, 2), "red"))


@pytest.fixture
def datasets() -> Any:
    return pytest.importorskip("datasets")


def rows_of(path: Path) -> dict[str, list[Any]]:
    return {
        "image": [{"bytes": path.read_bytes(), "path": path.name}] * 2,
        "concept": ["alice", None],
        "question": ["Who?", None],
        "answer": ["Alice", None],
        "options": [["Alice", "Bob"], None],
    }


@pytest.mark.parametrize("path", [None, "elsewhere/red.png"])
def test_embedded_images_are_decoded(tmp_path: Path, path: str | None) -> None:
    encoded = draw(tmp_path / "red.png").read_bytes()
    for image in (encoded, {"bytes": encoded, "path": path}):
        sample = table_sample({"image": image, "concept": None, "options": ["a"]}, "t row 0", tmp_path, "t")
        assert isinstance(sample.image, Image.Image)
        assert (content_hash(sample.image), sample.concept, sample.options) == (RED, "t", ("a",))


def test_paths_stay_files(tmp_path: Path) -> None:
    path = draw(tmp_path / "alice/red.png")
    for image in ("alice/red.png", {"bytes": None, "path": "alice/red.png"}):
        sample = table_sample({"image": image}, "t row 0", tmp_path, "t")
        assert (sample.image, sample.concept) == (path, "alice")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": None}, 'has no "image"'),
        ({"image": b"hello"}, "cannot be read as an image"),
        ({"image": {"bytes": None, "path": None}}, 'has null as "image"'),
        ({"image": "../x.png"}, "lies outside"),
        ({"image": 5}, 'has a number as "image"'),
        ({"image": b"", "label": 3}, "unknown key 'label'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^t row 7:? .*{message}"):
        table_sample(row, "t row 7", tmp_path, "t")


@pytest.mark.parametrize(("name", "module"), [("t.parquet", "pyarrow"), ("saved", "datasets")])
def test_missing_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=rf"{name} needs {module}.*pip install 'unsee\[data\]'"):
        load(tmp_path / name)


@pytest.mark.parametrize("kind", ["parquet", "saved", "splits"])
def test_files_of_datasets(datasets: Any, tmp_path: Path, kind: str) -> None:
    table = datasets.Dataset.from_dict(rows_of(draw(tmp_path / "red.png"))).cast_column("image", datasets.Image())
    path = tmp_path / {"parquet": "t.parquet"}.get(kind, "t")
    if kind == "parquet":
        table.to_parquet(str(path))
    elif kind == "saved":
        table.save_to_disk(str(path))
    else:
        datasets.DatasetDict({"b": table.select([0]), "a": table.select([1])}).save_to_disk(str(path))
    samples = load(path)
    concepts = ["alice", "t"]
    assert [sample.concept for sample in samples] == (concepts[::-1] if kind == "splits" else concepts)
    named = samples[concepts.index("alice") if kind != "splits" else 1]
    assert (named.question, named.answer, named.options) == ("Who?", "Alice", ("Alice", "Bob"))


@pytest.mark.parametrize("kind", ["parquet", "saved"])
@pytest.mark.parametrize("named", [False, True])
def test_a_class_label_is_the_concept_where_there_is_no_other(
    datasets: Any, tmp_path: Path, kind: str, named: bool
) -> None:
    encoded = {"bytes": draw(tmp_path / "red.png").read_bytes(), "path": None}
    rows: dict[str, list[Any]] = {"image": [encoded] * 3, "label": [1, 0, None]}
    rows |= {"concept": ["eve"] * 3} if named else {}
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    table = table.cast_column("label", datasets.ClassLabel(names=["alice", "bob"]))
    path = tmp_path / ("t.parquet" if kind == "parquet" else "t")
    table.to_parquet(str(path)) if kind == "parquet" else table.save_to_disk(str(path))
    assert [sample.concept for sample in load(path)] == (["eve"] * 3 if named else ["bob", "alice", "t"])


@pytest.mark.parametrize("image", ["bytes", "struct"])
def test_plain_parquet(tmp_path: Path, image: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    encoded = draw(tmp_path / "red.png").read_bytes()
    value = encoded if image == "bytes" else {"bytes": encoded, "path": None}
    parquet.write_table(pyarrow.table({"image": [value] * 40}), tmp_path / "t.parquet")
    samples = load(tmp_path / "t.parquet")
    assert [content_hash(sample.image) for sample in samples if isinstance(sample.image, Image.Image)] == [RED] * 40
    parquet.write_table(pyarrow.table({"image": [encoded] * 20 + [b"x"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet row 20 cannot be read as an image"):
        load(tmp_path / "t.parquet")


def test_broken_tables(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "t.parquet").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"t\.parquet cannot be read"):
        load(tmp_path / "t.parquet")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{")
    with pytest.raises(InputError, match="saved cannot be read"):
        load(tmp_path / "saved")


def test_a_state_of_another_program_beside_photos_is_named_as_any_other_file(tmp_path: Path) -> None:
    draw(tmp_path / "red.png")
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"state\.json cannot be read as an image"):
        load(tmp_path)


def test_photos_of_a_large_table_are_files(tmp_path: Path, datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = datasets.Dataset.from_dict(rows_of(draw(tmp_path / "red.png")))
    rows.to_parquet(str(tmp_path / "two.parquet"))
    rows.save_to_disk(str(tmp_path / "saved"))
    for path in (tmp_path / "two.parquet", tmp_path / "saved"):
        few = load(path)
        monkeypatch.setattr("unsee.data.tables.MANY", 2)
        many = load(path)
        monkeypatch.undo()
        assert all(isinstance(sample.image, Image.Image) for sample in few)
        assert all(isinstance(sample.image, Path) for sample in many)
        assert len({sample.image for sample in many}) == len(many) == len(few)
        assert [content_hash(open_image(sample)) for sample in (*many, *few)] == [RED] * 4
        assert [sample.concept for sample in many] == [sample.concept for sample in few]
