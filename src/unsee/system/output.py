"""What a command writes: whole or not at all, and over nothing but what unsee wrote before."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import SafetensorError

from unsee.errors import InputError, OutputError, shown
from unsee.system.disk import REPLACED, is_plain, is_there, parents, sync, too_long, workspace
from unsee.system.signals import shielded

RECORD = "unsee.json"  # in every checkpoint that unsee writes
RESULT, PAGE, ANSWERS = "result.json", "report.html", "answers.jsonl"  # beside it
WRITTEN = (RECORD, RESULT, PAGE, ANSWERS)  # what unsee puts beside weights
RECORDS = (RECORD, RESULT)
SESSION = ("session.toml", "ledger.jsonl")
Mine = Callable[[Path], bool]


def holds_record(folder: Path) -> bool:
    """Whether a folder holds a record that unsee wrote, or nothing at all."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    for file in (folder / name for name in RECORDS):
        if not is_plain(file):
            continue
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(record, dict) and "unsee" in record:
            return True
    return False


def real(place: Path) -> Path:
    """Where links lead. Raises InputError where they lead round in a circle."""
    try:
        return place.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{place} is, or lies below, a link that leads nowhere; name another output.") from error


def refuse_place(out: Path) -> None:
    """Raises InputError where `out` lies in a session or in a model's folder, or below what is no folder."""
    if out.name == "..":
        raise InputError(f"{out} is no name that a folder can be given; name the output itself.")
    if str(out).startswith("hf:/"):
        raise InputError(f"{out} is a name of the hub, where nothing is written; name a folder, and upload that.")
    if too_long(out):
        raise InputError(f"{shown(str(out))} is longer than a name may be here; give the output a shorter one.")
    parent = out.absolute().parent
    _refuse_no_folder(parent)
    for folder in (real(parent), *real(parent).parents):
        if all((folder / name).is_file() for name in SESSION):
            raise InputError(f"{out} lies in the session {folder}, which holds nothing else; name another output.")
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            raise InputError(f"{out} lies in the model's folder {folder}, which stays as it is; name another output.")


def _refuse_no_folder(parent: Path) -> None:
    """Missing folders are made when something is written; what is there must be folders."""
    there = next(folder for folder in (parent, *parent.parents) if is_there(folder))
    if not there.is_dir():
        raise InputError(f"{there} is no folder, so that nothing can be written below it; name another output.")


def refuse_existing(
    out: Path, *, overwrite: bool, reads: Iterable[Path | str | None] = (), mine: Mine = holds_record
) -> None:
    """Raises InputError where `out` exists and may not be replaced, or lies where nothing may be written.

    With `overwrite`, `out` is replaced if it is `mine`: what unsee wrote. It may not be, or hold, anything that the
    command `reads`.
    """
    refuse_within(out, reads)
    refuse_place(out)
    _refuse_taken(out, overwrite=overwrite, mine=mine)


def refuse_within(out: Path, reads: Iterable[Path | str | None]) -> None:
    """Raises InputError where `out` is, holds, or lies in what a command `reads`."""
    for source in reads:
        if source is None:
            continue
        if Path(source).resolve().is_relative_to(real(out)):
            raise InputError(f"{out} would replace {source}, which is read; name another output.")
        if Path(source).is_dir() and real(out).is_relative_to(Path(source).resolve()):
            raise InputError(f"{out} lies in {source}, which is read and stays as it is; name another output.")


def refuse_cache(cache: Path | None, others: Iterable[Path | str | None]) -> None:
    """Raises InputError where a folder for a cache lies in what the command reads or writes, a session, or a model."""
    if cache is None:
        return
    for other in others:
        if other is not None and cache.resolve().is_relative_to(Path(other).resolve()):
            raise InputError(f"the cache {cache} lies in {other}, which is read or written; name a folder of its own.")
    refuse_place(cache / "features.safetensors")


def _refuse_taken(out: Path, *, overwrite: bool, mine: Mine) -> None:
    if not is_there(out):
        return
    if not overwrite:
        raise OutputError(f"{out} exists already; name another output or add --overwrite.")
    if not mine(out):
        raise OutputError(
            f"{out} is a {'folder' if out.is_dir() else 'file'} that this command did not write, so that --overwrite "
            "leaves it alone; name another output."
        )


def with_folder(out: Path, fill: Callable[[Path], None], *, overwrite: bool = False, mine: Mine = holds_record) -> None:
    """Lets `fill` write into a new folder, flushes it and gives it the name `out`: complete or absent.

    Raises InputError where `out` may not be written, see `refuse_existing`, or the disk refuses; what had the name is
    there as before then.
    """
    refuse_existing(out, overwrite=overwrite, mine=mine)
    try:
        with parents(out), workspace(out.absolute().parent, out.name) as work:
            folder = work / "complete"
            folder.mkdir()
            fill(folder)
            sync(folder)
            _take_name(folder, out, work / REPLACED, overwrite=overwrite, mine=mine)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise OutputError(f"{out} could not be written ({reason or error}); nothing was left there.") from error


def with_file(out: Path, write: Callable[[Path], None], *, overwrite: bool = True, mine: Mine = lambda _: True) -> None:
    """Lets `write` make a new file, flushes it and gives it the name `out`: complete or absent.

    Raises InputError where `out` exists and may not be replaced, lies below what is no folder, or the disk refuses.
    """
    if out.is_dir():
        raise InputError(f"{out} is a folder; expected the name of a file to write.")
    _refuse_no_folder(out.absolute().parent)
    _refuse_taken(out, overwrite=overwrite, mine=mine)
    try:
        with parents(out), workspace(out.absolute().parent, out.name) as work:
            file = work / "complete"
            write(file)
            sync(file)
            _refuse_taken(out, overwrite=overwrite, mine=mine)
            file.replace(out)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise OutputError(f"{out} could not be written ({reason or error}); nothing was changed there.") from error


def _take_name(folder: Path, out: Path, replaced: Path, *, overwrite: bool, mine: Mine) -> None:
    """Renames the folder to `out`; what has this name goes to `replaced`, and back where the renaming fails."""
    _refuse_taken(out, overwrite=overwrite, mine=mine)  # again: it may have come while the folder was filled
    with shielded():  # between the two renamings nothing has the name
        if not is_there(out):
            folder.rename(out)
            return
        out.rename(replaced)
        try:
            folder.rename(out)
        except OSError:
            replaced.rename(out)
            raise
