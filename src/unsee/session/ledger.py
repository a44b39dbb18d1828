"""The record of a session: one line of JSON for each change, each with the hash of the line before and of its files.

A line is read as if a stranger had written it: its event, its facts and the names of its files must be those of a
session, and it must follow from the lines before.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from unsee.errors import InputError

LEDGER, SETTINGS, STATE, WEIGHTS = "ledger.jsonl", "session.toml", "state.safetensors", "weights.safetensors"
UNDO, CERTIFICATES, QUEUE = "undo", "certificates", "queue"
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DIGEST = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?\+00:00")
KEPT = (STATE, WEIGHTS)  # what a request replaces, and what takes it back
NAMES = re.compile(
    rf"{re.escape(SETTINGS)}|(?:{UNDO}/{IDENTIFIER.pattern}/)?(?:{'|'.join(map(re.escape, KEPT))})"
    rf"|{CERTIFICATES}/{IDENTIFIER.pattern}\.json|{QUEUE}/{IDENTIFIER.pattern}\.safetensors"
)
FACTS: dict[str, dict[str, type]] = {
    "init": {"weights_after": str, "retained_images": int, "model_files": dict},
    "forget": {
        "id": str,
        "reason": str,
        "target_hashes": list,
        "weights_before": str,
        "weights_after": str,
        "undo_kept": bool,
    },
    "queue": {"id": str, "reason": str, "target_hashes": list},
    "settle": {"ids": list, "weights_before": str, "weights_after": str},
    "withdraw": {"id_withdrawn": str},
    "undo": {"id_undone": str, "weights_before": str, "weights_after": str},
    "seal": {"requests": int},
    "relocate": {},
}
Sign = Callable[[str], str]  # the signature of an entry, given its hash


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
    """Of a signed entry also `public_key`, in base64."""
    files: dict[str, str]
    removed: list[str]
    previous: str
    """The hash of the entry before; empty in the first."""
    hash: str = ""
    """SHA-256 over all of the above, as canonical JSON."""
    signature: str = ""
    """Over the hash, by the key of `public_key`, in base64; not in the line where there is none."""

    def sealed(self) -> "Entry":
        """The same with its hash."""
        values = {name: value for name, value in asdict(self).items() if name not in ("hash", "signature")}
        return Entry(**values, hash=hashlib.sha256(canonical(values)).hexdigest(), signature=self.signature)

    def line(self) -> bytes:
        """The entry as it stands in the ledger."""
        values = asdict(self)
        if not self.signature:
            del values["signature"]
        return canonical(values) + b"\n"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no space: one way to write each value, so that its hash is that of the value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def now() -> str:
    """The time as entries have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def check_clock(entries: Sequence[Entry]) -> str:
    """The time. Raises InputError where it is before the last entry."""
    time = now()
    if entries and time < entries[-1].time:
        raise InputError(
            f"the clock says {time}, which is before the last entry of the ledger ({entries[-1].time}); set it right, "
            "or where it is and was wrong then, export the model and make a new session on it."
        )
    return time


def following(
    entries: Sequence[Entry],
    event: str,
    facts: dict[str, Any],
    files: dict[str, str],
    removed: list[str],
    sign: Sign | None = None,
) -> Entry:
    """The next entry, dated now. Raises InputError where the clock is behind the last one."""
    time = check_clock(entries)
    previous = entries[-1].hash if entries else ""
    entry = Entry(len(entries), time, event, facts, files, sorted(removed), previous).sealed()
    if sign is not None:
        entry = Entry(**{**asdict(entry), "signature": sign(entry.hash)})
    chain = _Chain()
    for each in (*entries, entry):
        chain.add(each)
    return entry


def parse(content: bytes) -> list[Entry]:
    """The entries of a ledger. Raises BrokenSessionError naming the first line that does not hold."""
    chain = _Chain()
    for number, line in enumerate(content.splitlines(keepends=True)):
        chain.add(_entry(number, line))
    if not chain.entries:
        raise BrokenSessionError(f"{LEDGER} is empty; expected a line for every change of the session.")
    return chain.entries


def _entry(number: int, line: bytes) -> Entry:
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or {*values, "signature"} != {each.name for each in fields(Entry)}:
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


@dataclass
class _Chain:
    """Entries that follow from each other, and what they come to."""

    entries: list[Entry] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    standing: list[Entry] = field(default_factory=list)
    waiting: list[Entry] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    weights: str = ""

    def add(self, entry: Entry) -> None:
        """Raises BrokenSessionError where an entry is none of a session, or does not follow from those before it."""
        wrong = _form(entry) or _order(self, entry) or EVENTS[entry.event](self, entry)
        if wrong:
            raise _broken(len(self.entries), wrong)
        self.entries.append(entry)
        _apply(self.files, entry)
        _stand(self.standing, self.waiting, entry)
        self.used.add(str(entry.facts.get("id", "")))
        self.weights = entry.facts.get("weights_after", self.weights)


def _form(found: Entry) -> str:
    """What is wrong with an entry by itself, whatever it was read from; empty where nothing is."""
    entry: Any = found
    facts = FACTS.get(str(entry.event))
    if facts is None:
        return f"speaks of {entry.event!r}, which no session does"
    if not isinstance(entry.time, str) or not TIME.fullmatch(entry.time):
        return f"is dated {entry.time!r}; expected a time in UTC"
    if not (isinstance(entry.facts, dict) and isinstance(entry.files, dict) and isinstance(entry.removed, list)):
        return "does not have the form of an entry"
    for name, kind in facts.items():
        if not isinstance(entry.facts.get(name), kind):
            return f"does not say {name} as {entry.event} must"
    if not all(isinstance(digest, str) for digest in entry.facts.get("target_hashes", ())):
        return "has a hash of a photo that is none"
    strange = [name for name in (*entry.files, *entry.removed) if not (isinstance(name, str) and NAMES.fullmatch(name))]
    if strange:
        return f"names the file {strange[0]!r}, which no session holds"
    if not all(isinstance(digest, str) and DIGEST.fullmatch(digest) for digest in entry.files.values()):
        return "has a hash of a file that is none"
    return ""


def _order(chain: _Chain, entry: Entry) -> str:
    """What is wrong with an entry as the next one."""
    last = chain.entries[-1] if chain.entries else None
    if entry.previous != (last.hash if last else ""):
        return "does not hold the hash of the line before; a line was changed or left out"
    if last and entry.time < last.time:
        return f"is dated {entry.time}, before the line above it"
    if (entry.event == "init") != (last is None):
        return f"has {entry.event} where a session {'goes on' if last else 'begins with init'}"
    if bool(entry.facts.get("public_key")) != bool(entry.signature):
        return "lacks its signature, or has one without a key"
    key = last.facts.get("public_key") if last else None
    if key is not None and entry.facts.get("public_key") != key:
        return "is not signed by the key of the line before"
    if "weights_before" in FACTS[entry.event] and entry.facts["weights_before"] != chain.weights:
        return "does not begin where the one before ended"
    return ""


def _init(_: _Chain, entry: Entry) -> str:
    return _exactly(entry, {SETTINGS, *KEPT}, [])


def _new(chain: _Chain, identifier: str) -> str:
    if not IDENTIFIER.fullmatch(identifier):
        return f"has the id {identifier!r}, which cannot be one"
    return f"uses the id {identifier} again" if identifier in chain.used else ""


def _forget(chain: _Chain, entry: Entry) -> str:
    identifier = entry.facts["id"]
    if wrong := _new(chain, identifier):
        return wrong
    undo = {f"{UNDO}/{identifier}/{name}": name for name in KEPT} if entry.facts["undo_kept"] else {}
    if any(entry.files.get(kept) != chain.files[name] for kept, name in undo.items()):
        return "keeps other undo data than what was there before it"
    return _exactly(entry, {*KEPT, f"{CERTIFICATES}/{identifier}.json", *undo}, [])


def _queue(chain: _Chain, entry: Entry) -> str:
    return _new(chain, entry.facts["id"]) or _exactly(entry, {queue_file(entry.facts["id"])}, [])


def _settle(chain: _Chain, entry: Entry) -> str:
    waiting = [each.facts["id"] for each in chain.waiting]
    if not waiting or entry.facts["ids"] != waiting:
        return "settles other requests than those that wait"
    made = {f"{CERTIFICATES}/{identifier}.json" for identifier in waiting}
    return _exactly(entry, {*KEPT, *made}, sorted(map(queue_file, waiting)))


def _withdraw(chain: _Chain, entry: Entry) -> str:
    identifier = entry.facts["id_withdrawn"]
    if identifier not in [each.facts["id"] for each in chain.waiting]:
        return f"takes {identifier!r} out of the queue, which does not wait there"
    return _exactly(entry, set(), [queue_file(identifier)])


def _undo(chain: _Chain, entry: Entry) -> str:
    requests, identifier = chain.standing, entry.facts["id_undone"]
    kept = {name: f"{UNDO}/{identifier}/{name}" for name in KEPT}
    if not requests or requests[-1].facts["id"] != identifier or not set(kept.values()) <= chain.files.keys():
        return f"takes back {identifier!r}, which is not the last request or has no undo data"
    if entry.facts["weights_after"] != requests[-1].facts["weights_before"]:
        return f"takes back {identifier} to other weights than those before it"
    if any(entry.files.get(name) != chain.files[old] for name, old in kept.items()):
        return f"takes back {identifier} to other files than its undo data"
    return _exactly(entry, set(KEPT), sorted(kept.values()))


def _seal(chain: _Chain, entry: Entry) -> str:
    return _exactly(entry, set(), sorted(name for name in chain.files if name.startswith(f"{UNDO}/")))


def _relocate(_: _Chain, entry: Entry) -> str:
    return _exactly(entry, {SETTINGS}, [])


EVENTS: dict[str, Callable[[_Chain, Entry], str]] = {
    "init": _init,
    "forget": _forget,
    "queue": _queue,
    "settle": _settle,
    "withdraw": _withdraw,
    "undo": _undo,
    "seal": _seal,
    "relocate": _relocate,
}


def _exactly(entry: Entry, files: set[str], removed: list[str]) -> str:
    if entry.files.keys() == files and entry.removed == removed:
        return ""
    return f"writes or removes other files than {entry.event} does"


def _broken(number: int, what: str) -> BrokenSessionError:
    return BrokenSessionError(f"{LEDGER}, line {number + 1}, {what}; restore the session from a copy.")


def files_of(entries: Iterable[Entry]) -> dict[str, str]:
    """The SHA-256 of every file that should be there after these entries, by its path in the folder."""
    found: dict[str, str] = {}
    for entry in entries:
        _apply(found, entry)
    return found


def _apply(files: dict[str, str], entry: Entry) -> None:
    files |= entry.files
    for name in entry.removed:
        files.pop(name, None)


def weights_of(entries: Sequence[Entry]) -> str:
    """The hash of the model's visual weights after these entries."""
    return next(str(entry.facts["weights_after"]) for entry in reversed(entries) if "weights_after" in entry.facts)


def standing(entries: Iterable[Entry]) -> list[Entry]:
    """The requests that were made and not taken back, in their order: each by the entry that has its id and photos.

    That is "forget", or of a request that waited "queue".
    """
    return _requests(entries)[0]


def queued(entries: Iterable[Entry]) -> list[Entry]:
    """The entries "queue" of the requests that wait."""
    return _requests(entries)[1]


def _requests(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    made, waiting = list[Entry](), list[Entry]()
    for entry in entries:
        _stand(made, waiting, entry)
    return made, waiting


def _stand(requests: list[Entry], waiting: list[Entry], entry: Entry) -> None:
    if entry.event == "forget":
        requests.append(entry)
    elif entry.event == "undo":
        requests.pop()
    elif entry.event == "queue":
        waiting.append(entry)
    elif entry.event == "withdraw":
        waiting[:] = [each for each in waiting if each.facts["id"] != entry.facts["id_withdrawn"]]
    elif entry.event == "settle":
        requests += waiting
        waiting.clear()


def certified(entries: Sequence[Entry]) -> list[tuple[Entry, dict[str, Any]]]:
    """For each certificate the entry that made it, and what it must say as the ledger does."""
    found, asked = list[tuple[Entry, dict[str, Any]]](), dict[str, Entry]()
    for entry in entries:
        facts = {name: value for name, value in entry.facts.items() if name != "public_key"}
        if entry.event == "queue":
            asked[entry.facts["id"]] = entry
        elif entry.event == "forget":
            found.append((entry, facts))
        elif entry.event == "settle":
            weights = {name: facts[name] for name in ("weights_before", "weights_after")}
            for identifier in facts["ids"]:
                own = {name: asked[identifier].facts[name] for name in FACTS["queue"]}
                found.append((entry, {**own, **weights, "undo_kept": False, "queued": asked[identifier].time}))
    return found


def queue_file(identifier: str) -> str:
    """Where the photos of a request wait."""
    return f"{QUEUE}/{identifier}.safetensors"


def kept_undo(entries: Iterable[Entry]) -> list[str]:
    """The ids of requests whose undo data is there."""
    return sorted({name.split("/")[1] for name in files_of(entries) if name.startswith(f"{UNDO}/")})


def head(entries: Sequence[Entry]) -> str:
    """Where the ledger ends, in words: hash, number of entries, time."""
    return f"head {entries[-1].hash}, {len(entries)} entries, {entries[-1].time}"


def signing_key(entries: Sequence[Entry]) -> str | None:
    """The public key, in base64, that signs the next entry; None where no entry is signed."""
    found: Mapping[str, Any] = entries[-1].facts
    return found.get("public_key")
