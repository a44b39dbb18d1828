"""Datasets of the hub, row by row, so that neither disk nor memory holds the whole dataset beside its photos."""

import re
from pathlib import Path
from typing import Any

from unsee.data.rows import KEYS
from unsee.data.tables import DAMAGE, class_names, labelled, optional, table_sample
from unsee.data.unpacked import unpacked
from unsee.errors import InputError, shown
from unsee.records import Sample

ON_HUB = re.compile(r"(?:\w+://[^:]*::)?hf://datasets/.*", re.DOTALL)  # a file of a dataset, or one within its archive
NAME = re.compile(r"hf:/{1,2}datasets/([^/]+/[^/]+)(?:/([^/]+))?/?")  # a Path makes one slash of two


def hub_name(path: Path) -> str:
    """OWNER/NAME or OWNER/NAME/SPLIT of hf://datasets/OWNER/NAME[/SPLIT]; empty for any other path."""
    found = NAME.fullmatch(str(path))
    return "/".join(part for part in found.groups() if part) if found else ""


def read_hub(name: str) -> list[Sample]:
    """One sample per row of a dataset's split ("train" where none is named) that has an image.

    The image is in the column "image", or in the only one that holds images; concept, question, answer and options as
    in a JSONL row. A column "label" of class labels is the concept where there is no other. Raises InputError, naming
    dataset and row, where the dataset cannot be opened or a row is bad, and where `datasets` is not installed.
    """
    owner, dataset, *rest = name.split("/")
    repository, split, samples = f"{owner}/{dataset}", rest[0] if rest else "train", list[Sample]()
    source = f"hf://datasets/{repository}"
    datasets = optional("datasets", source)
    try:
        rows = datasets.load_dataset(repository, split=split, streaming=True)
        pictured = [column for column, kind in (rows.features or {}).items() if isinstance(kind, datasets.Image)]
        column = "image" if "image" in pictured or len(pictured) != 1 else pictured[0]
        labels = class_names(rows.features, datasets)
        if pictured:
            rows = rows.cast_column(column, datasets.Image(decode=False))
        for number, row in enumerate(rows):
            where = f"{source} {split} row {number}"
            named = labelled(row, labels)
            given = {key: named[key] for key in KEYS if named.get(key) is not None} | {
                "image": _bytes(row.get(column), where)
            }
            if given["image"] is not None:
                samples.append(table_sample(given, where, Path(), dataset, kept=_unpacked))
    except InputError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{source} cannot be read ({reason[:200]}); expected hf://datasets/OWNER/NAME or .../NAME/SPLIT, "
            "so correct it, or log in where the dataset is private."
        ) from error
    return samples


def _bytes(image: Any, where: str) -> Any:
    """The encoded image where a row holds only its address, which must be on the hub: no row may name files here."""
    if not isinstance(image, dict) or image.get("bytes") or not image.get("path"):
        return image
    if not ON_HUB.fullmatch(image["path"]):
        raise InputError(
            f"{where} names the image {shown(image['path'])}, which is not on the hub; take another dataset."
        )
    with optional("fsspec", image["path"]).open(image["path"], "rb") as file:
        return file.read()


def _unpacked(data: bytes, where: str) -> Path:
    return unpacked(data, "hub", where)
