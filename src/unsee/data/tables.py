"""Parquet files and folders saved by `datasets`; both libraries are imported only when a table is read."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL.Image import Image

from unsee.data.images import decode
from unsee.data.rows import check_row, concept_of, image_file, to_sample
from unsee.data.unpacked import unpacked
from unsee.errors import InputError, check_file, shown
from unsee.records import Sample

BATCH = 16  # rows decoded at a time, so that few encoded images are in memory
STATE = "state.json"
SAVED = (STATE, "dataset_info.json", "dataset_dict.json")  # what `datasets` opens in such a folder
MANY = 256  # rows, from which on embedded images become files
# What pyarrow and datasets raise on damaged files; pyarrow's own errors derive from these.
DAMAGE = (OSError, ValueError, TypeError, LookupError, NotImplementedError, RecursionError)
Kept = Callable[[bytes, str], Image | Path]


def read_parquet(file: Path) -> list[Sample]:
    """One sample per row, in order, with the columns of a JSONL row.

    Embedded images are decoded into memory; of a table of MANY rows and more, each becomes a file (`unpacked`).

    An image is encoded bytes, a {"bytes", "path"} struct as `datasets` writes it, or a path relative to the file. A
    column "label" of class labels of `datasets` is the concept where there is no other.
    Raises InputError, naming file and row (counted from 0), for a bad row, and where pyarrow is not installed.
    """
    parquet = optional("pyarrow.parquet", file)
    try:
        with parquet.ParquetFile(file) as table:
            kept, labels = _kept(file.name, table.metadata.num_rows), _written_names(table.schema_arrow.metadata)
            rows = table.iter_batches(batch_size=BATCH)
            return _samples(rows, file, root=file.parent, concept=file.stem, kept=kept, labels=labels)
    except InputError:
        raise
    except DAMAGE as error:
        raise _broken(file, "a Parquet file", error) from error


def read_saved(folder: Path) -> list[Sample]:
    """`read_parquet` for a folder written by `save_to_disk` of `datasets`; several splits follow each other by name.

    A column "label" of class labels is the concept where there is no other.
    """
    datasets = optional("datasets", folder)
    samples: list[Sample] = []
    try:
        _check_inside(folder)
        saved = datasets.load_from_disk(str(folder))
        splits = saved if isinstance(saved, datasets.DatasetDict) else {"": saved}
        for name in sorted(splits):
            batches = splits[name].with_format("arrow").iter(batch_size=BATCH)
            labels = class_names(splits[name].features, datasets)
            kept = _kept(f"{folder.name}_{name}", splits[name].num_rows)
            own = folder.resolve().name
            samples += _samples(batches, folder / name, root=folder, concept=own, kept=kept, labels=labels)
    except InputError:
        raise
    except DAMAGE as error:
        raise _broken(folder, "a dataset folder", error) from error
    return samples


def _check_inside(folder: Path) -> None:
    """Raises InputError where a saved dataset, or a split of it, would read what is no file, or lies elsewhere."""
    for own in (folder, *(split for split in folder.iterdir() if split.is_dir())):
        for name in SAVED:
            check_file(own / name, "a file that `datasets` wrote")
        if not (own / STATE).exists():
            continue
        for part in json.loads((own / STATE).read_text(encoding="utf-8"))["_data_files"]:
            inside = Path(part["filename"]).name == part["filename"]
            if not inside or not (own / part["filename"]).is_file():
                raise InputError(
                    f"{own / STATE} names {shown(part['filename'])}, which is no file in this folder; copy the whole "
                    "folder here again."
                )


def _kept(source: str, rows: int) -> Kept:
    """How the encoded images of so many rows are kept, given the place of each row for errors."""
    if rows < MANY:
        return decode
    return lambda data, where: unpacked(data, source, where.rpartition(" row ")[2])


def _samples(
    batches: Iterable[Any], source: Path, *, root: Path, concept: str, kept: Kept, labels: Sequence[str] = ()
) -> list[Sample]:
    """The samples of Arrow tables or record batches."""
    rows = (labelled(row, labels) for batch in batches for row in batch.to_pylist())
    return [table_sample(row, f"{source} row {n}", root, concept, kept) for n, row in enumerate(rows)]


def class_names(features: Mapping[str, Any] | None, datasets: ModuleType) -> Sequence[str]:
    """The names of the classes in a column "label" of `datasets`; none where there is no such column."""
    label = (features or {}).get("label")
    return label.names if isinstance(label, datasets.ClassLabel) else ()


def _written_names(metadata: Mapping[bytes, bytes] | None) -> Sequence[str]:
    """`class_names` of a Parquet file that `datasets` wrote."""
    found = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    for key in ("info", "features", "label", "names"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, list) else ()


def labelled(row: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """A row whose class label, if its column has these names, is its concept where there is no other."""
    if not labels:
        return row
    own = {key: value for key, value in row.items() if key != "label"}
    place = row.get("label")
    if own.get("concept") is None and isinstance(place, int) and 0 <= place < len(labels):
        own["concept"] = labels[place]
    return own


def table_sample(row: dict[str, Any], where: str, root: Path, concept: str, kept: Kept = decode) -> Sample:
    """The sample of one row, a missing value being None; `concept` counts where row and image path name none.

    `kept` makes an image or a file of encoded bytes, given `where` they are.
    """
    row = check_row({key: value for key, value in row.items() if value is not None}, where)
    image = row["image"]
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes):
        return to_sample(row, kept(image, where), concept)
    path = image_file(image, root, where)
    return to_sample(row, path, concept_of(image, concept))


def optional(module: str, source: Path | str) -> ModuleType:
    """A library of the extra `data`. Raises InputError, naming what needs it, where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"{source} needs {module}, which is missing; run pip install 'unsee[data]'.") from error


def _broken(source: Path, expected: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{source} cannot be read ({reason}); expected {expected}, so write it again.")
