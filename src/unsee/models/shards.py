"""The safetensors files of a checkpoint folder, by their headers: what is where, and tensors patched in place.

Format: https://huggingface.co/docs/safetensors: eight bytes of header length, a JSON header, then the data. Nothing
here reads a tensor that it was not asked for.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsee.errors import InputError, shown
from unsee.system.lfs import refuse_pointer
from unsee.system.terminal import printable

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth")
CHUNK = 1 << 24  # bytes compared or hashed at a time
BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
BYTES |= dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1)  # of one number
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies: its file, dtype (as safetensors names it), shape, and byte range in the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def _indexed(index: Path) -> dict[str, str]:
    """The file name of each tensor that an index names."""
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
        raise InputError(f"{index} cannot be read ({error}); expected the index of a sharded checkpoint.") from error
    if not isinstance(names, dict) or not names:
        raise InputError(
            f"{index} has {shown(names)} as weight_map; expected the file of each tensor, so copy the index here again."
        )
    for name in names.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"{index} names the file {shown(name)}; expected one in its own folder, with safetensors.")
    return names


def shards(folder: Path) -> list[Path]:
    """The safetensors files that hold a checkpoint's weights, sorted.

    As in transformers, a single file counts before an index.

    Raises InputError where there are none (pickled weights are refused) or one that the index names is missing.
    """
    whole = folder / WHOLE
    names = {whole.name}
    if (folder / INDEX).exists() and not whole.exists():
        names = set(_indexed(folder / INDEX).values())
    missing = sorted(name for name in names if not (folder / name).is_file())
    if not missing:
        return [folder / name for name in sorted(names)]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled:
        raise InputError(
            f"{folder} holds pickled weights ({pickled[0]}), which can run code when opened; "
            "save the model again as safetensors."
        )
    raise InputError(f"{folder} lacks {missing[0]}; expected a checkpoint saved as safetensors.")


def places(folder: Path) -> dict[str, Path]:
    """The file of each stored tensor, from the index alone where there is one; no other file is opened then."""
    files = shards(folder)
    if files[0].name == WHOLE:
        return dict.fromkeys(header(files[0]), files[0])
    return {name: folder / file for name, file in _indexed(folder / INDEX).items()}


def _entries(file: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a file begin, and its header."""
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            longest = file.stat().st_size - 8  # a damaged length may be larger than the memory
            return 8 + length, dict(json.loads(handle.read(min(length, longest))))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        refuse_pointer(file)
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{file} is no safetensors file that is whole ({reason}); copy it here again.") from error


def _sizes(values: Any) -> tuple[int, ...]:
    """A list of sizes that a file can have. Raises ValueError for anything else."""
    if not isinstance(values, list) or any(type(each) is not int or not 0 <= each < 1 << 48 for each in values):
        raise ValueError(f"{values!r} are no sizes")
    return tuple(values)


def _dtype(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r} is no dtype")
    return name


def header(file: Path) -> dict[str, Stored]:
    """What a file stores, by name, from its header alone. Raises InputError where it is damaged or truncated."""
    begin, entries = _entries(file)
    size, found, end = file.stat().st_size, {}, begin
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        try:
            first, last = _sizes(entry["data_offsets"])
            start, stop = begin + first, begin + last
            stored = Stored(file, _dtype(entry["dtype"]), _sizes(entry["shape"]), start, stop)
            width = BYTES.get(stored.dtype)
            if width is not None and math.prod(stored.shape) * width != stop - start:
                raise ValueError(f"{stored.shape} of {stored.dtype} in {stop - start} bytes")  # noqa: TRY301 # as below
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{file} has a damaged header (entry {printable(name[:80])}); copy the file here again."
            ) from error
        if not begin <= start <= stop or stop > size:
            raise InputError(
                f"{file} is truncated: {name} ends at byte {stop:,} of {size:,}; copy the file here again."
            )
        found[name], end = stored, max(end, stop)
    _check_filled(file, found.values(), begin)
    if end != size:
        raise InputError(f"{file} is {size:,} bytes long and its header speaks of {end:,}; copy the file here again.")
    return found


def _check_filled(file: Path, held: Iterable[Stored], begin: int) -> None:
    """Raises InputError where tensors lie over each other or leave bytes between them that belong to none."""
    for place in sorted(held, key=lambda place: (place.start, place.stop)):
        if place.start != begin:
            what = "lie over each other" if place.start < begin else "leave bytes that belong to none"
            raise InputError(
                f"{file} has a damaged header: its tensors {what} at byte {min(place.start, begin):,}; copy the file "
                "here again."
            )
        begin = place.stop


def headers(folder: Path) -> dict[str, Stored]:
    """What a whole checkpoint stores, every header checked, and the index against them. Raises InputError."""
    found: dict[str, Stored] = {}
    for file in shards(folder):
        held = header(file)
        if again := sorted(found.keys() & held.keys()):
            raise InputError(f"{found[again[0]].file} and {file} both hold {again[0]}; leave it in one of them.")
        found |= held
    if not (folder / WHOLE).exists():
        for name, file_name in _indexed(folder / INDEX).items():
            if name not in found or found[name].file.name != file_name:
                raise InputError(f"{folder / INDEX} places {name} in {file_name}, which does not hold it.")
    return found


def patch(changed: Mapping[str, Tensor], stored: Mapping[str, Stored]) -> None:
    """Writes tensors over those of the same name, rounded to the stored dtype; nothing else in the files changes.

    Raises InputError for a tensor that is not stored, has another shape there, or a dtype that no weight has.
    """
    for name, tensor in changed.items():
        if name not in stored:
            raise InputError(f"the checkpoint stores no tensor named {name}; this family is not supported.")
        place = stored[name]
        if place.shape != tuple(tensor.shape) or place.dtype not in DTYPES:
            raise InputError(
                f"{place.file} stores {name} as {place.dtype} {place.shape}, expected floats {tuple(tensor.shape)}."
            )
        data = tensor.detach().to("cpu", DTYPES[place.dtype]).contiguous().view(-1).view(torch.uint8).numpy()
        with place.file.open("r+b") as handle:
            handle.seek(place.start)
            handle.write(data.data)


def _chunks(stored: Stored) -> Iterator[bytes]:
    with stored.file.open("rb") as handle:
        handle.seek(stored.start)
        left = stored.stop - stored.start
        while left > 0:
            part = handle.read(min(left, CHUNK))
            yield part
            left -= len(part) or left


def differences(before: Path, after: Path, visual: Iterable[str]) -> tuple[int, list[str]]:
    """Compares every stored tensor that is not `visual` (names on disk), byte for byte.

    Returns how many were compared and the names of those that differ or are missing on either side. A file that is
    the same on both sides (a hard link) is not read.
    """
    trained, old, new = set(visual), headers(before), headers(after)
    protected = sorted(old.keys() - trained)
    different = [name for name in protected if name not in new or not _same(old[name], new[name])]
    return len(protected), different + sorted(new.keys() - old.keys() - trained)


def _same(one: Stored, other: Stored) -> bool:
    if (one.dtype, one.shape, one.stop - one.start) != (other.dtype, other.shape, other.stop - other.start):
        return False
    if one.start == other.start and one.file.samefile(other.file):
        return True
    return all(a == b for a, b in zip(_chunks(one), _chunks(other), strict=True))
