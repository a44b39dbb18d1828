"""Rows of JSONL and Parquet with values, keys and paths that nobody expects: one sentence with the line, or success."""

import json
from pathlib import Path
from typing import Any

import pytest
from ground import Ground
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unsee.data import load
from unsee.data.questions import read_questions
from unsee.errors import InputError
from unsee.testing import images

MILLION = 10**6
LONG = "k" * MILLION
GOOD = {"image": "0.png", "concept": "alice"}
ROWS: list[tuple[Any, str]] = [
    ({**GOOD, LONG: 1}, r"line 4: unknown key 'k{79}\.\.\.: choose one of"),
    ({**GOOD, "imgae": 1}, "did you mean 'image'"),
    ({**GOOD, "": 1}, "unknown key ''"),
    ({**GOOD, "\x1b[2J": 1}, r"unknown key '\\x1b\[2J'"),
    ({**GOOD, "\ud800": 1}, "unknown key"),
    ({**GOOD, "answer": "half \ud800"}, "half a character and no text"),
    ({**GOOD, "question": "\udfff?"}, "half a character and no text"),
    ({**GOOD, "concept": "\ud83d"}, "half a character and no text"),
    ({**GOOD, "options": ["a", "\ud800"]}, "half a character and no text"),
    ({**GOOD, "image": "\ud800.png"}, "half a character and no text"),
    ({**GOOD, "answer": "\U0001f600 whole"}, ""),
    ({**GOOD, "answer": "a\x00b"}, ""),
    ({**GOOD, "answer": LONG}, ""),
    ({**GOOD, "answer": 3}, 'has a number as "answer"'),
    ({**GOOD, "question": None}, 'has null as "question"'),
    ({**GOOD, "concept": ["a"]}, 'has a list as "concept"'),
    ({**GOOD, "concept": "  "}, 'has an empty "concept"'),
    ({**GOOD, "options": "a"}, "expected a list of texts"),
    ({**GOOD, "options": [1] * MILLION}, "expected a list of texts"),
    ({"image": "0.png/"}, "'0.png/', which is a folder's name"),
    ({"image": "0.png\\"}, "which is a folder's name"),
    ({"image": "."}, "which is no file"),
    ({"image": ""}, "which is no file"),
    ({"image": ".."}, "lies outside"),
    ({"image": "../secret.png"}, "lies outside"),
    ({"image": "/etc/passwd"}, "lies outside"),
    ({"image": "C:\\photos\\0.png"}, "which is no file"),
    ({"image": "~/0.png"}, "which is no file"),
    ({"image": "https://example.org/0.png"}, "which is no file"),
    ({"image": "a\x00b"}, "no usable path"),
    ({"image": LONG}, "no usable path|which is no file"),
    ({"image": "./0.png"}, ""),
    ({"image": 3}, 'has a number as "image"'),
    ({"image": None}, 'has null as "image"'),
    ({"image": {"bytes": "x"}}, 'has an object as "image"'),
    ({"file_name": "0.png"}, "unknown key 'file_name'"),
    ({}, 'has no "image"'),
    ([], "holds a list"),
    (3, "holds a number"),
    (None, "holds null"),
    ("x", "holds text"),
]
LINES: list[tuple[bytes, str]] = [
    (b"{", "line 4 is not JSON"),
    (b"\xff\xfe", "line 4 is not JSON in UTF-8"),
    (b"[" * 100_000, "line 4 is not JSON"),
    (b'{"a":' * 50_000, "line 4 is not JSON"),
    (b'{"image": NaN}', 'has a number as "image"'),
    (b'{"image": ' + b"9" * 5000 + b"}", "line 4 is not JSON|has a number"),
    (b'{"image": "0.png"}{"image": "1.png"}', "line 4 is not JSON"),
    (b"image,concept", "line 4 is not JSON"),
    (b"\xef\xbb\xbf" + b'{"image": "0.png"}', ""),
    (b"", ""),
]


def rows(ground: Ground, line: bytes) -> Path:
    """A file of three good rows and this line."""
    folder = ground.place / "rows"
    folder.mkdir()
    for number, image in enumerate(images(3, seed=76)):
        image.save(folder / f"{number}.png")
    good = [json.dumps({**GOOD, "image": f"{number}.png"}).encode() for number in range(3)]
    (folder / "rows.jsonl").write_bytes(b"\n".join([*good, line]) + b"\n")
    return folder / "rows.jsonl"


CASES = [(json.dumps(row).encode(), says) for row, says in ROWS] + LINES


@pytest.mark.parametrize(("line", "says"), CASES, ids=range(len(CASES)))
def test_an_odd_row(line: bytes, says: str, ground: Ground) -> None:
    file = rows(ground, line)
    if says:
        ground.meets(says, *ground.forget(file))
    else:
        assert 3 <= len(load(file)) <= 4


QUESTION = {"subset": "target", "question": "Who?", "answer": "Alice"}
QUESTIONS: list[tuple[Any, str]] = [
    ({**QUESTION, LONG: 1}, "unknown key 'k{79}"),
    ({**QUESTION, "subset": LONG}, r"has the \"subset\" 'k{79}|has the .subset. 'k{79}"),
    ({**QUESTION, "subset": 3}, 'has a number as "subset"'),
    ({**QUESTION, "score": "x"}, "unknown score 'x'"),
    ({**QUESTION, "answer": "\ud800"}, "half a character"),
    ({**QUESTION, "answer": " "}, 'has no "answer"'),
    ({**QUESTION, "image": "0.png/"}, "a folder's name"),
    ({**QUESTION, "concept": LONG}, "asks about the target 'k{79}"),
    ([], "holds a list"),
]


@pytest.mark.parametrize(("row", "says"), QUESTIONS, ids=range(len(QUESTIONS)))
def test_an_odd_question(row: Any, says: str, ground: Ground, target: Path) -> None:
    file = ground.place / "questions.jsonl"
    file.write_text(json.dumps(row))
    ground.meets(says, *ground.forget(target, "--questions", file))


TABLES: list[tuple[dict[str, list[Any]], str]] = [
    ({"image": [3, 4]}, 'has a number as "image"'),
    ({"image": [True, False]}, 'has true or false as "image"'),
    ({"image": [["0.png"], []]}, 'has a list as "image"'),
    ({"image": [None, None]}, 'has no "image"'),
    ({"image": [b"", b"x"]}, "cannot be read as an image"),
    ({"image": [{"bytes": None, "path": None}] * 2}, 'has null as "image"'),
    ({"image": [{"bytes": b"x", "path": None}] * 2}, "cannot be read as an image"),
    ({"image": [{"path": "../x.png"}] * 2}, "lies outside"),
    ({"image": ["0.png/", "0.png"]}, "a folder's name"),
    ({"image": ["0.png"], "answer": [3]}, 'has a number as "answer"'),
    ({"image": ["0.png"], "options": [{"a": 1}]}, "expected a list of texts"),
    ({"image": ["0.png"], LONG: [1]}, "unknown key 'k{79}"),
    ({"x": [1]}, "unknown key 'x'"),
]


@pytest.mark.parametrize(("columns", "says"), TABLES, ids=range(len(TABLES)))
def test_an_odd_table(columns: dict[str, list[Any]], says: str, ground: Ground) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images(1)[0].save(ground.place / "0.png")
    parquet.write_table(arrow.table(columns), ground.place / "rows.parquet")
    ground.meets(says, *ground.forget(ground.place / "rows.parquet"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(400) + b"PAR1", b"x" * 999])
def test_what_is_no_table(content: bytes, ground: Ground) -> None:
    pytest.importorskip("pyarrow")
    (ground.place / "rows.parquet").write_bytes(content)
    ground.meets(r"rows\.parquet cannot be read", *ground.forget(ground.place / "rows.parquet"))


KEYS = st.text() | st.sampled_from([*GOOD])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ANY = settings(
    deadline=None, derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@ANY
def test_any_bytes_are_rows_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.jsonl"
    file.write_bytes(content)
    images(1)[0].save(tmp_path / "0.png")
    for read in (load, read_questions):
        told = ""
        try:
            assert read(file)
        except InputError as refusal:
            told = str(refusal)
        assert not told or ("any.jsonl" in told and len(told) < 1000)
