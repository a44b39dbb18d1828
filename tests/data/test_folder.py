"""Folders of images, and paths that are nothing unsee reads."""

import os
from pathlib import Path

import pytest
from PIL import Image

from unsee.data import load
from unsee.errors import InputError


def draw(path: Path, colour: str = "red") -> Path:
    """Writes a 3 x 2 image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), colour).save(path)
    return path


def test_concepts_and_order(tmp_path: Path) -> None:
    for name in ("p/b/2.png", "p/a/9.png", "p/b/10.png", "p/z.png", "p/c.png"):
        draw(tmp_path / name)
    found = [(sample.image.relative_to(tmp_path).as_posix(), sample.concept) for sample in load(tmp_path / "p")]
    assert found == [("p/a/9.png", "a"), ("p/b/10.png", "b"), ("p/b/2.png", "b"), ("p/c.png", "p"), ("p/z.png", "p")]


def test_the_working_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "alice/1.png")
    monkeypatch.chdir(tmp_path / "alice")
    assert [sample.concept for sample in load(Path())] == ["alice"]


@pytest.mark.parametrize("clutter", [".DS_Store", "Thumbs.db", "desktop.ini", ".git/config", "__MACOSX/x", "a/.hidden"])
def test_clutter_is_skipped(tmp_path: Path, clutter: str) -> None:
    draw(tmp_path / "p/a/1.png")
    (tmp_path / "p" / clutter).parent.mkdir(exist_ok=True)
    (tmp_path / "p" / clutter).write_text("x")
    assert len(load(tmp_path / "p")) == 1


@pytest.mark.parametrize("name", ["notes.txt", "fake.png", "a/metadata.jsonl"])
def test_a_file_that_is_no_image(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "p/a/1.png")
    (tmp_path / "p" / name).write_text("hello")
    with pytest.raises(InputError, match=rf"{Path(name).name} cannot be read as an image"):
        load(tmp_path / "p")


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_rows_beside_photos_are_named_as_what_they_are(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "p/1.png")
    (tmp_path / "p" / name).write_text("file_name,text")
    with pytest.raises(InputError, match=rf"{name} .*give the rows themselves, as a JSONL file"):
        load(tmp_path / "p")


def test_folders_two_levels_down(tmp_path: Path) -> None:
    draw(tmp_path / "p/a/deep/1.png")
    with pytest.raises(InputError, match=r"deep is a folder two levels down"):
        load(tmp_path / "p")


def test_empty_folder_and_sub_folder(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    with pytest.raises(InputError, match=r"p holds no image; expected a folder of images, a \.jsonl"):
        load(tmp_path / "p")
    draw(tmp_path / "p/a/1.png")
    (tmp_path / "p" / "b").mkdir()
    with pytest.raises(InputError, match="b holds no image; expected the photos of one concept"):
        load(tmp_path / "p")


def test_broken_link_and_pipe(tmp_path: Path) -> None:
    draw(tmp_path / "p/1.png")
    (tmp_path / "p" / "2.png").symlink_to("gone.png")
    with pytest.raises(InputError, match=r"2\.png is no file"):
        load(tmp_path / "p")
    (tmp_path / "p" / "2.png").unlink()
    os.mkfifo(tmp_path / "p" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png is no file"):
        load(tmp_path / "p")


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone cannot be read \(No such file.*\); .* correct the path"):
        load(tmp_path / "gone")
    with pytest.raises(InputError, match="File name too long"):
        load(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_folder(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir(mode=0)
    with pytest.raises(InputError, match="Permission denied"):
        load(tmp_path / "p")


def test_forbidden_file_as_the_system_reports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "a.jsonl"
    rows.write_text("")

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.jsonl cannot be read \(Permission denied\)"):
        load(rows)


@pytest.mark.parametrize("name", ["photo.png", "rows.csv", "noending"])
def test_a_file_of_another_kind(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "photo.png").rename(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is none of the files unsee reads"):
        load(tmp_path / name)
