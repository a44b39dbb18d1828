"""Every record that is written is what its schema says, in every field."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tiny_method import UNASKED
from unsee.models.checkpoint import load, visual_hash
from unsee.session.session import Session

SCHEMAS = Path(__file__).parents[1] / "docs" / "schema"
Run = Callable[..., int]


def holds(name: str, record: dict[str, Any]) -> bool:
    """Whether a record is what the schema of this name says; raises with the first thing that is not."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(record)
    return True


@pytest.mark.parametrize("ask", [("--ask", "never"), ("--question", "Who is this?")])
def test_what_a_request_writes(
    ask: tuple[str, ...], unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    given = ("--model", checkpoint, "--target", target, "--retain", retained, "--steps", 2, "--keep-anyway")
    assert unsee("forget", *given, *ask, "--out", tmp_path / "out") in (0, 1)
    for name in ("unsee", "result"):
        assert holds(name, json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8")))
    record = json.loads((tmp_path / "out" / "unsee.json").read_text(encoding="utf-8"))
    assert record["weights_before"] == visual_hash(load(checkpoint))
    assert record["weights_after"] == visual_hash(load(tmp_path / "out")) != record["weights_before"]
    photos = ("--target", target, "--retain", retained, "--answer-from-folder")
    assert unsee("evaluate", "--model", tmp_path / "out", *photos, "--out", tmp_path / "scores") == 0
    assert holds("result", json.loads((tmp_path / "scores" / "result.json").read_text(encoding="utf-8")))


def test_what_a_session_writes(begun: Path, people: Path, unsee: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "s")
    with Session(folder) as session:
        made = session.forget(people / "concept_1", "second", **UNASKED)
    assert holds("certificate", json.loads(json.dumps(made)))
    assert unsee("session", "export", folder, "--out", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "unsee.json").read_text(encoding="utf-8"))
    assert holds("unsee", record)
    assert record["weights_after"] == made["weights_after"] == visual_hash(load(tmp_path / "out"))
    told = record["session"]["certificates"][-1]
    assert record["session"]["requests"][-1] == told["id"] == "second"
    assert told["target_hashes"] == made["target_hashes"]
    assert told["verdict"] == json.loads(json.dumps(made))["verdict"]


def test_a_schema_refuses_what_is_not_so() -> None:
    with pytest.raises(Exception, match="'schema' is a required property"):
        holds("unsee", {})
