"""The files of a session with numbers, lists and nesting in the place of what belongs there, and hashes that fit.

Whoever can write to the folder can make the hashes of an unsigned ledger fit. `verify` answers that it was changed,
or that it holds; every other command that looks ends in a sentence.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from by_hand import edited, paths
from unsee.session.ledger import LEDGER, SETTINGS

Run = Callable[..., int]
VALUES = [None, True, -1, 3, 0.5, "x", "", [], {}, [1], {"a": 1}, [[]], "\x1b[2J", 10**30, "../..", ...]
SAID = {0, 1, 2}


def seal(rows: list[Any]) -> bytes:
    """The lines of a ledger with hashes that fit, as far as a line can have one."""
    lines, previous = list[str](), ""
    for row in rows:
        if isinstance(row, dict) and "hash" in row:
            row = {name: part for name, part in row.items() if name not in ("hash", "signature")} | {
                "previous": previous if row.get("previous") else row.get("previous", "")
            }
            text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            previous = hashlib.sha256(text.encode()).hexdigest()
            row = {**row, "hash": previous}
        lines.append(json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def test_hashes_are_made_to_fit(once: Path, unsee: Run, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (once / LEDGER).read_text().splitlines()]
    rows[1]["facts"]["reason"] = "another letter"
    session = Path(shutil.copytree(once, tmp_path / "s"))
    (session / LEDGER).write_bytes(seal(rows))
    assert unsee("session", "log", session) == 0


def look(unsee: Run, session: Path) -> None:
    """Every command that only looks, each of which may refuse."""
    assert unsee("session", "verify", session) in SAID
    assert unsee("session", "log", session) in SAID
    assert unsee("session", "certificate", session, "first") in SAID


@pytest.mark.parametrize("seed", range(3))
def test_a_ledger_of_wrong_types(seed: int, once: Path, unsee: Run, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (once / LEDGER).read_text().splitlines()]
    places = [(number, path) for number, row in enumerate(rows) for path in paths(row, items=1)]
    session = Path(shutil.copytree(once, tmp_path / "s"))
    for turn, (number, path) in enumerate(places[seed::3]):
        value = VALUES[(turn * 7 + seed) % len(VALUES)]
        (session / LEDGER).write_bytes(seal([*rows[:number], edited(rows[number], path, value), *rows[number + 1 :]]))
        look(unsee, session)


def test_a_certificate_of_wrong_types(once: Path, unsee: Run, tmp_path: Path) -> None:
    name = "certificates/first.json"
    made = json.loads((once / name).read_text())
    rows = [json.loads(line) for line in (once / LEDGER).read_text().splitlines()]
    session = Path(shutil.copytree(once, tmp_path / "s"))
    for turn, path in enumerate(list(paths(made, items=1))[::2]):
        text = json.dumps(edited(made, path, VALUES[turn % len(VALUES)]), indent=1) + "\n"
        (session / name).write_text(text)
        rows[1]["files"][name] = hashlib.sha256(text.encode()).hexdigest()
        (session / LEDGER).write_bytes(seal(rows))
        look(unsee, session)
        assert (
            unsee("session", "certificate", session, "first", "--html", tmp_path / "page.html", "--overwrite") in SAID
        )


def test_settings_of_wrong_types(once: Path, unsee: Run, tmp_path: Path) -> None:
    import tomllib

    tables = tomllib.loads((once / SETTINGS).read_text())
    session = Path(shutil.copytree(once, tmp_path / "s"))
    rows = [json.loads(line) for line in (once / LEDGER).read_text().splitlines()]
    for turn, path in enumerate(list(paths(tables, items=1))[::2]):
        value = VALUES[1 + turn % (len(VALUES) - 1)]  # TOML has no null
        text = tomli_w.dumps(edited(tables, path, 0 if value == 10**30 else value))
        (session / SETTINGS).write_text(text)
        rows[0]["files"][SETTINGS] = hashlib.sha256(text.encode()).hexdigest()
        (session / LEDGER).write_bytes(seal(rows))
        assert unsee("session", "verify", session) in SAID
        assert unsee("session", "log", session) in SAID
