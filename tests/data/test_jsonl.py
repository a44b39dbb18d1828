"""JSONL rows: what they may say, and a sentence with file and line for each that is wrong."""

import json
from pathlib import Path

import pytest
from PIL import Image

from unsee.data import load
from unsee.errors import InputError
from unsee.records import Sample


def draw(path: Path, colour: str = "red") -> Path:
    """Writes a 3 x 2 image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), colour).save(path)
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    draw(tmp_path / "photos/alice/1.png")
    draw(tmp_path / "2.png", "blue")
    return tmp_path / "people.jsonl"


def test_full_and_bare_rows(rows: Path, tmp_path: Path) -> None:
    full = {"image": "2.png", "concept": "bob", "question": "Who?", "answer": "Bob", "options": ["Bob", "Eve"]}
    lines = [json.dumps(full), "", json.dumps({"image": "photos/alice/1.png"}), "  ", json.dumps({"image": "./2.png"})]
    rows.write_text("\n".join(lines), encoding="utf-8-sig")
    assert load(rows) == [
        Sample(tmp_path / "2.png", "bob", "Who?", "Bob", ("Bob", "Eve")),
        Sample(tmp_path / "photos/alice/1.png", "alice"),
        Sample(tmp_path / "2.png", "people"),
    ]


def test_line_separators_inside_a_text_end_no_line(rows: Path) -> None:
    rows.write_text(json.dumps({"image": "2.png", "answer": "a\u2028b"}, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert load(rows)[0].answer == "a\u2028b"


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_no_rows(rows: Path, text: str) -> None:
    rows.write_text(text)
    with pytest.raises(InputError, match=r"people\.jsonl holds no image"):
        load(rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"image": ', "is not JSON in UTF-8"),
        ("[" * 100_000, "is not JSON in UTF-8"),
        ('{"image": "\\ud800.png"}', "half a character"),
        ('["2.png"]', "holds a list; expected an object"),
        ("null", "holds null; expected an object"),
        ('{"concept": "bob"}', 'has no "image"'),
        ('{"image": "2.png", "imge": "x"}', "unknown key 'imge': did you mean 'image'"),
        ('{"image": 3}', 'has a number as "image"'),
        ('{"image": "2.png", "concept": null}', 'has null as "concept"'),
        ('{"image": "2.png", "concept": " "}', 'has an empty "concept"'),
        ('{"image": "2.png", "answer": ["x"]}', 'has a list as "answer"'),
        ('{"image": "2.png", "question": true}', 'has true or false as "question"'),
        ('{"image": "2.png", "options": "x"}', 'as "options"; expected a list of texts'),
        ('{"image": "2.png", "options": [1]}', 'as "options"; expected a list of texts'),
        ('{"image": "gone.png"}', r"'gone\.png', which is no file in"),
        ('{"image": ""}', "which is no file in"),
        ('{"image": "a\\u0000b"}', "no usable path"),
        (json.dumps({"image": "x" * 300}), "no usable path"),
        ('{"image": "../outside.png"}', "which lies outside"),
        ('{"image": "photos/../../outside.png"}', "which lies outside"),
        ('{"image": "/etc/hostname"}', "which lies outside"),
    ],
)
def test_a_bad_row_is_named_by_its_line(rows: Path, row: str, message: str) -> None:
    rows.write_text(f'{{"image": "2.png"}}\n\n{row}\n')
    with pytest.raises(InputError, match=rf"people\.jsonl line 3:? .*{message}"):
        load(rows)


def test_a_row_in_another_encoding(rows: Path) -> None:
    rows.write_bytes('{"image": "2.png", "answer": "Zoé"}'.encode("latin-1"))
    with pytest.raises(InputError, match="line 1 is not JSON in UTF-8"):
        load(rows)


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_link_may_not_leave_the_folder(tmp_path: Path, linked: str) -> None:
    draw(tmp_path / "outside/1.png"), draw(tmp_path / "inside/2.png")
    rows = tmp_path / "inside" / "people.jsonl"
    link = rows.parent / "link"
    link.symlink_to(tmp_path / "outside" if linked == "folder" else tmp_path / "outside/1.png")
    rows.write_text(json.dumps({"image": "link/1.png" if linked == "folder" else "link"}))
    with pytest.raises(InputError, match=r"line 1 names the image .*which lies outside"):
        load(rows)


def test_a_link_within_the_folder_and_one_in_a_circle(tmp_path: Path) -> None:
    draw(tmp_path / "store/1.png")
    (tmp_path / "link.png").symlink_to("store/1.png")
    rows = tmp_path / "people.jsonl"
    rows.write_text('{"image": "link.png"}')
    assert load(rows)[0].concept == "people"
    (tmp_path / "link.png").unlink()
    (tmp_path / "link.png").symlink_to("link.png")
    with pytest.raises(InputError, match="line 1 names the image"):
        load(rows)
