"""A JSONL file: one object per line, image paths relative to the file."""

import json
from pathlib import Path

from unsee.data.rows import check_row, concept_of, image_file, to_sample
from unsee.errors import InputError
from unsee.records import Sample


def read_jsonl(file: Path) -> list[Sample]:
    """One sample per line that is not blank, in the order of the file.

    Raises InputError, naming file and line, for a broken row, an unknown key, a wrong type, or an image that is
    missing or outside the file's folder.
    """
    with file.open("rb") as lines:
        return [_sample(line, file, f"{file} line {n}") for n, line in enumerate(lines, start=1) if line.strip()]


def parsed(line: bytes, where: str) -> object:
    """What a line holds. Raises InputError, naming the place, where it is no JSON."""
    try:
        return json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where} is not JSON in UTF-8 ({error}); expected one object, so correct or remove the line."
        ) from error


def _sample(line: bytes, file: Path, where: str) -> Sample:
    row = check_row(parsed(line, where), where)
    image = image_file(row["image"], file.parent, where)
    return to_sample(row, image, concept_of(row["image"], file.stem))
