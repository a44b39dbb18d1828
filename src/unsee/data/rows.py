"""The row that JSONL and tables share: its keys, their types and where an image file may lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from unsee.errors import InputError, shown, unknown
from unsee.records import Sample
from unsee.system.terminal import as_text, is_text

KEYS = ("image", "concept", "question", "answer", "options")


def check_row(row: object, where: str, more: Sequence[str] = (), *, pictured: bool = True) -> dict[str, Any]:
    """The row itself, with known keys, an image of any type if it is to be `pictured`, and texts where texts belong.

    `more` are further keys that may be there, with texts.

    `where` names file and row in the InputError raised otherwise.
    """
    if not isinstance(row, dict):
        raise InputError(f'{where} holds {_kind(row)}; expected an object such as {{"image": "photos/1.png"}}.')
    for key in row:
        if key not in (*KEYS, *more):
            raise InputError(f"{where}: {unknown('key', str(key), (*KEYS, *more))}")
    if pictured and "image" not in row:
        raise InputError(f'{where} has no "image"; expected the path of an image, so add it or remove the row.')
    for key in ("concept", "question", "answer", *more):
        if not isinstance(row.get(key, ""), str):
            raise InputError(f'{where} has {_kind(row[key])} as "{key}"; expected text, so put it in quotes.')
    if not row.get("concept", "one").strip():
        raise InputError(f'{where} has an empty "concept"; expected a name, so fill it in or leave the key out.')
    options = row.get("options", [])
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise InputError(
            f'{where} has {shown(options)} as "options"; expected a list of texts, so write ["one", "two"].'
        )
    for text in (*row.values(), *options):
        if isinstance(text, str) and not is_text(text):
            raise InputError(f"{where} holds {shown(text)}, half a character and no text; write the whole one.")
    return row


def image_file(relative: object, root: Path, where: str) -> Path:
    """The file at `relative` in the folder `root`.

    Raises InputError where the path is absolute, there is no file, or it lies outside, symbolic links followed.
    """
    if not isinstance(relative, str):
        raise InputError(f'{where} has {_kind(relative)} as "image"; expected a relative path, so put it in quotes.')
    named = shown(relative)
    if relative.endswith(("/", "\\")):
        raise InputError(f"{where} names the image {named}, which is a folder's name; correct the path.")
    path = root / relative
    try:
        inside = path.resolve().is_relative_to(root.resolve())
        exists = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, links in a circle
        reason = shown(str(error).partition(": ")[0])
        raise InputError(f"{where} names the image {named}, no usable path ({reason}); correct it.") from error
    if not inside:
        raise InputError(
            f"{where} names the image {named}, which lies outside {root}; expected a relative path within that "
            "folder, so copy the image into it."
        )
    if Path(relative).is_absolute():
        raise InputError(f"{where} names the image {named} by an absolute path; expected one relative to {root}.")
    if not exists:
        raise InputError(f"{where} names the image {named}, which is no file in {root}; correct the path.")
    return path


def concept_of(relative: str, default: str) -> str:
    """The name of the sub-folder that holds the image, or `default` where it lies in none."""
    parent = Path(relative).parent.name
    return as_text(default) if parent in ("", "..") else parent


def to_sample(row: Mapping[str, Any], image: Path | Image.Image | None, concept: str) -> Sample:
    """The sample of a checked row; `concept` counts where the row names none."""
    return Sample(
        image=image,
        concept=row.get("concept", concept),
        question=row.get("question", ""),
        answer=row.get("answer", ""),
        options=tuple(row.get("options", ())),
    )


def _kind(value: object) -> str:
    """The type of a value in the words of JSON."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
