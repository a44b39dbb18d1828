"""result.json: what is written is read again, and anything else is refused in a sentence."""

import dataclasses
import json

import pytest

from unsee.errors import InputError
from unsee.records import SCHEMA, Result, from_json, to_json


def test_a_result_survives_json(result: Result) -> None:
    text = to_json(result)
    assert from_json(text) == result
    assert text.endswith("}\n")
    assert json.loads(text)["schema"] == SCHEMA
    assert "Bö" in text


def test_an_empty_result_survives_json(result: Result) -> None:
    empty = dataclasses.replace(result, scores=[], checks=[], examples=[], layers=[], feature_map=[])
    assert from_json(to_json(empty)) == empty


def test_value_finds_a_score_or_none(result: Result) -> None:
    assert result.value("recognition", "target", "after") == 0.25
    assert result.value("recognition", "target", "before") is None


def test_a_number_that_json_has_not_is_an_error(result: Result) -> None:
    score = dataclasses.replace(result.scores[0], value=float("nan"))
    with pytest.raises(ValueError, match="Out of range"):
        to_json(dataclasses.replace(result, scores=[score]))


@pytest.mark.parametrize("text", ["", "{", "result", "{'schema': 1}"])
def test_broken_json_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="some/file is not JSON"):
        from_json(text, "some/file")


@pytest.mark.parametrize("found", ["[]", "3", "{}", '{"schema": 0}', '{"schema": 99}', '{"schema": "1"}'])
def test_another_schema_is_refused(found: str) -> None:
    with pytest.raises(InputError, match=f"some/file has schema .*, expected {SCHEMA}"):
        from_json(found, "some/file")


@pytest.mark.parametrize("field", ["scores", "checks", "examples", "layers", "feature_map", "unsee", "timings"])
def test_a_missing_field_is_refused(field: str, result: Result) -> None:
    row = json.loads(to_json(result))
    del row[field]
    with pytest.raises(InputError, match=r"some/file (was changed|lacks or misspells a field)"):
        from_json(json.dumps(row), "some/file")


@pytest.mark.parametrize(
    ("field", "value"), [("extra", 1), ("scores", 3), ("scores", [{"name": "a"}]), ("scores", [3]), ("checks", None)]
)
def test_a_field_of_another_kind_is_refused(field: str, value: object, result: Result) -> None:
    row = {**json.loads(to_json(result)), field: value}
    with pytest.raises(InputError, match=r"some/file (was changed|lacks or misspells a field)"):
        from_json(json.dumps(row), "some/file")
