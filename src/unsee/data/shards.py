"""Tar files as webdataset writes them: files of one name up to its first dot are one sample."""

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tarfile import BLOCKSIZE, NUL, TarFile, TarInfo
from typing import Any

from unsee.data.folder import CLUTTER
from unsee.data.images import ADVICE
from unsee.data.rows import KEYS, check_row, concept_of, to_sample
from unsee.data.unpacked import unpacked
from unsee.data.work import MOST_BYTES
from unsee.errors import InputError
from unsee.records import Sample
from unsee.system.terminal import as_text

PHOTOS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pnm", ".avif"),
)
TEXTS = (".json", ".cls")  # that say something of the photo of the same name
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 100_000
MOST_TEXT = 1 << 20  # bytes of what stands beside a photo
DAMAGE = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error)


def expanded(path: Path) -> list[Path]:
    """The shards that a path like photos-{000..099}.tar or photos-*.tar means, in order; else the path alone.

    Raises InputError where a range goes backwards or is of more than MOST_SHARDS, or no file has such a name.
    """
    if path.suffix.lower() != ".tar" or path.exists():
        return [path]
    if found := RANGE.search(path.name):
        first, last = map(int, found.groups())
        if not 0 <= last - first < MOST_SHARDS:
            raise InputError(f"{path} is a range of {last - first + 1:,} shards; expected 1 to {MOST_SHARDS:,}.")
        names = (f"{number:0{len(found[1])}}" for number in range(first, last + 1))
        return [path.with_name(path.name.replace(found[0], name)) for name in names]
    if "*" in path.name:
        shards = [] if "**" in path.name else sorted(path.parent.glob(path.name))
        if not shards:
            raise InputError(f"no file is called {path}; correct the pattern.")
        return shards
    return [path]


def read_tar(file: Path) -> list[Sample]:
    """One sample per photo of a shard, in its order; photos become files of their own, see `unpacked`.

    Its concept is "concept" in the JSON file of the same name, or what the .cls file says, the folder that it is in, or
    the shard's name without its number. Question, answer and options may stand in the JSON file as well. The files of
    one name need not stand side by side. What ends otherwise is left out, as captions are; what has no ending is taken
    for a photo, as in a folder. Raises InputError, naming shard and file, for a shard that is damaged or cut off, for
    what is no photo, and for a text that stands beside none.
    """
    shard, samples = re.sub(r"[-_.]?\d+$", "", file.stem) or file.stem, list[Sample]()
    number = 0
    with file.open("rb") as opened:
        try:
            with tarfile.open(fileobj=opened) as tar:
                groups = dict[str, list[TarInfo]]()
                for member in _members(tar):
                    groups.setdefault(_key(member.name), []).append(member)
                    number = len(groups) - 1  # the last one may be cut off
                number = len(groups)
                _check_end(tar)
                for key, group in groups.items():
                    samples += _of_one(tar, file, key, group, shard)
        except InputError:
            raise
        except DAMAGE as error:
            raise InputError(
                f"{file} is damaged after sample {number} ({' '.join(str(error).split()) or type(error).__name__}); "
                "expected a whole tar file, so copy it here again."
            ) from error
    return samples


def _members(tar: TarFile) -> Iterator[TarInfo]:
    for member in tar:
        parts = PurePosixPath(member.name).parts
        hidden = any(part.lower() in CLUTTER or (part.startswith(".") and part != ".") for part in parts)
        if member.isfile() and not hidden:
            yield member


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _of_one(tar: TarFile, file: Path, key: str, members: list[TarInfo], shard: str) -> Iterator[Sample]:
    row: dict[str, Any] = {}
    for member in members:
        ending, where = PurePosixPath(member.name).suffix.lower(), f"{file} file {as_text(member.name)}"
        if ending in ADVICE:
            raise InputError(f"{where} is no photo that unsee reads; {ADVICE[ending]}.")
        if ending == ".json":
            row |= _texts(_content(tar, member, MOST_TEXT, where), where)
        elif ending == ".cls":
            row = {"concept": _content(tar, member, MOST_TEXT, where).decode("utf-8", "replace").strip()} | row
    photos = [member for member in members if PurePosixPath(member.name).suffix.lower() in (*PHOTOS, "")]
    beside = next((member for member in members if PurePosixPath(member.name).suffix.lower() in TEXTS), None)
    if beside is not None and not photos:
        raise InputError(
            f"{file} file {as_text(beside.name)} stands beside no photo of its name; add the photo, or remove the file."
        )
    for member in photos:
        where = f"{file} file {as_text(member.name)}"
        image = unpacked(_content(tar, member, MOST_BYTES, where), file.name, PurePosixPath(member.name).name)
        yield to_sample(check_row({**row, "image": key}, where), image, concept_of(key, shard))


def _texts(content: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON in UTF-8 ({error}); correct or remove it.") from error
    if not isinstance(found, dict):
        raise InputError(f'{where} is no object; expected one such as {{"concept": "alice"}}.')
    return {key: found[key] for key in KEYS if key != "image" and found.get(key) is not None}


def _content(tar: TarFile, member: TarInfo, most: int, where: str) -> bytes:
    if member.size > most:
        raise InputError(f"{where} has {member.size:,} bytes; expected at most {most:,}, so make it smaller.")
    opened = tar.extractfile(member)
    content = opened.read() if opened is not None else b""
    if len(content) != member.size:
        raise EOFError(f"{as_text(member.name)} is cut off")
    return content


def _check_end(tar: TarFile) -> None:
    """Raises ValueError where what comes after the last member is not the end, as tarfile takes it for in silence."""
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(BLOCKSIZE)
    if block.strip(NUL):
        raise ValueError("what follows is no file")
    if len(block) < BLOCKSIZE:
        raise ValueError("its end is missing")
