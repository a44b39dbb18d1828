"""The record of a session: one line of JSON for each change, each with the hash of the line before and of its files."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unsee.errors import InputError

LEDGER = "ledger.jsonl"


class BrokenSessionError(InputError):
    """Something in a session folder is not what its ledger says."""


@dataclass(frozen=True)
class Entry:
    """One change: its event, facts about it, the SHA-256 of every file it wrote, and the files it took away."""

    number: int
    time: str
    """UTC, ISO 8601."""
    event: str
    facts: dict[str, Any]
    files: dict[str, str]
    removed: list[str]
    previous: str
    """The hash of the entry before; empty in the first."""
    hash: str = ""
    """SHA-256 over all of the above, as canonical JSON."""

    def sealed(self) -> "Entry":
        """The same with its hash."""
        values = {name: value for name, value in asdict(self).items() if name != "hash"}
        return Entry(**values, hash=hashlib.sha256(canonical(values)).hexdigest())

    def line(self) -> bytes:
        """The entry as it stands in the ledger."""
        return canonical(asdict(self)) + b"\n"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no space: one way to write each value, so that its hash is that of the value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def following(
    entries: list[Entry], event: str, facts: dict[str, Any], files: dict[str, str], removed: list[str]
) -> Entry:
    """The next entry, dated now. Raises InputError where the clock is behind the last one."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    if entries and now < entries[-1].time:
        raise InputError(
            f"the clock says {now}, which is before the last entry of the ledger ({entries[-1].time}); set it right."
        )
    previous = entries[-1].hash if entries else ""
    return Entry(len(entries), now, event, facts, files, sorted(removed), previous).sealed()


def parse(content: bytes) -> list[Entry]:
    """The entries of a ledger. Raises BrokenSessionError naming the first line that does not hold."""
    entries: list[Entry] = []
    for number, line in enumerate(content.splitlines(keepends=True)):
        entry = _entry(number, line)
        previous = entries[-1] if entries else None
        if entry.previous != (previous.hash if previous else ""):
            raise _broken(number, "does not hold the hash of the line before; a line was changed or left out")
        if previous and entry.time < previous.time:
            raise _broken(number, f"is dated {entry.time}, before the line above it")
        entries.append(entry)
    if not entries:
        raise BrokenSessionError(f"{LEDGER} is empty; expected a line for every change of the session.")
    return entries


def _entry(number: int, line: bytes) -> Entry:
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(Entry)}:
            raise ValueError("not the fields of an entry")  # noqa: TRY301 # every way of being wrong is one
        entry = Entry(**values)
        exact = entry.sealed()
    except (ValueError, TypeError, RecursionError) as error:
        raise _broken(number, f"cannot be read ({error})") from error
    if exact.hash != entry.hash or exact.line() != line:
        raise _broken(number, "was changed: it is not what its hash says")
    if entry.number != number:
        raise _broken(number, f"has the number {entry.number}; a line was left out or added")
    return entry


def _broken(number: int, what: str) -> BrokenSessionError:
    return BrokenSessionError(f"{LEDGER}, line {number + 1}, {what}; restore the session from a copy.")


def files_of(entries: Iterable[Entry]) -> dict[str, str]:
    """The SHA-256 of every file that should be there after these entries, by its path in the folder."""
    found: dict[str, str] = {}
    for entry in entries:
        found |= entry.files
        for name in entry.removed:
            found.pop(name, None)
    return found


def read(folder: Path) -> list[Entry]:
    """The entries of a session's ledger. Raises InputError where there is none, BrokenSessionError as `parse`."""
    try:
        return parse((folder / LEDGER).read_bytes())
    except OSError as error:
        raise InputError(f"{folder} is no session ({error.strerror}); make one with unsee session init.") from error


def standing(entries: Iterable[Entry]) -> list[Entry]:
    """The requests that were not taken back, in their order."""
    found: list[Entry] = []
    for entry in entries:
        if entry.event == "forget":
            found.append(entry)
        elif entry.event == "undo":
            found.pop()
    return found


def kept_undo(entries: Iterable[Entry]) -> list[str]:
    """The ids of requests whose undo data is there."""
    return sorted({name.split("/")[1] for name in files_of(entries) if name.startswith("undo/")})
