"""`unsee session ACTION`: continual requests, recorded and provable."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from unsee.cli.parse import parse
from unsee.cli.table import print_table, tell_of, warn
from unsee.cli.telling import out, out_json
from unsee.errors import InputError, unknown
from unsee.records import check_schema
from unsee.reporting.certificate import render_certificate
from unsee.reporting.page import is_page, put
from unsee.session import certificate
from unsee.session.ledger import CERTIFICATES, BrokenSessionError, Entry, files_of, head, kept_undo, queued, standing
from unsee.session.store import Store, check_hashes
from unsee.system.output import refuse_existing

ACTIONS = {
    "init": "measure the retained photos and begin a session",
    "forget": "one request: forget what is on some photos, after everything before",
    "settle": "make all requests that wait, as one edit",
    "withdraw": "take a request out of the queue",
    "log": "what was done, and when, and what waits",
    "capacity": "how many directions are left in each layer",
    "undo": "take back the last request, where its undo data was kept",
    "seal": "destroy all undo data",
    "certificate": "show the certificate of a request, or make a page of it",
    "verify": "check ledger, files, model, weights, certificates and signatures",
    "relocate": "say where the model lies now",
    "export": "write the model as it is now as a checkpoint",
}


def _usage() -> str:
    width = max(map(len, ACTIONS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, text in ACTIONS.items())
    return (
        "usage: unsee session ACTION DIR [OPTIONS]\n\n"
        "Requests one after the other on one model, each recorded so that it can be checked.\n\n"
        f"{rows}\n\n"
        "  unsee session ACTION --help   the action's options, with an example\n\n"
        "Example:\n  unsee session init sessions/shop --model checkpoints/my-vlm --retain photos/others"
    )


@dataclass(frozen=True)
class Options:
    """Show what was done in a session, and when.

    Every line of the ledger is checked; `unsee session verify` checks the rest too.

    Example:
      unsee session log sessions/shop
    """

    dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """The session's folder."""
    json: bool = False
    """Print the ledger's entries as JSON."""


@dataclass(frozen=True)
class Certificate:
    """Show what the certificate of a request says, or make a page of it that can be printed.

    Example:
      unsee session certificate sessions/shop 2026-017 --html certificate.html
    """

    dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """The session's folder."""
    id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
    """The request's."""
    html: Path | None = None
    """The page to write; without a name ID.html, here."""
    overwrite: bool = False
    """Replace the page if it exists and unsee made it."""


def main(args: list[str]) -> int:
    """Runs one action."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if args[0] not in ACTIONS:
        raise unknown("action", args[0], ACTIONS)
    if args[0] == "log":
        return _log(args[1:])
    if args[0] == "certificate":
        return _certificate(args[1:])
    code: int = import_module("unsee.cli.session_actions").main(args[0], args[1:])  # the others need torch
    return code


def _log(args: list[str]) -> int:
    options = parse(Options, args, "unsee session log")
    store = Store(options.dir)
    tell_of(store.folder, store.left)
    entries = store.entries
    if options.json:
        out_json(json.dumps([asdict(entry) for entry in entries], indent=1))
        return 0
    print_table([_row(entry) for entry in entries])
    out(head(entries))
    waiting = queued(entries)
    if waiting:
        listed = ", ".join(f"{entry.facts['id']} since {_second(entry)}" for entry in waiting)
        out(f"{len(waiting)} requests wait, with their photos encrypted: {listed}; unsee session settle makes them.")
    missed = [entry.facts["id"] for entry in standing(entries) if not _passed(store, entry)]
    if missed:
        warn(f"{', '.join(missed)} missed their aim and were kept all the same; see unsee session certificate.")
    kept = kept_undo(entries)
    if kept:
        warn(
            f"undo data of {', '.join(kept)} is kept: it is what was forgotten. unsee session seal {options.dir} "
            "destroys it."
        )
    return 0


def _passed(store: Store, entry: Entry) -> bool:
    """Whether a request reached its aim, or nobody can tell: a certificate that was changed is for verify to find."""
    with suppress(InputError, BrokenSessionError):
        verdict = certificate.read(store.path(f"{CERTIFICATES}/{entry.facts['id']}.json")).get("verdict")
        return verdict is None or bool(verdict["passed"])
    return True


def _with_page(args: list[str]) -> list[str]:
    """The arguments, with a name for the page where --html has none: the request's, which comes second."""
    place = args.index("--html") if "--html" in args else -1
    if place < 0 or (place + 1 < len(args) and not args[place + 1].startswith("-")):
        return args
    named = [word for word in args if not word.startswith("-")]
    return [*args[: place + 1], f"{named[-1]}.html", *args[place + 1 :]] if len(named) == 2 else args


def _certificate(args: list[str]) -> int:
    options = parse(Certificate, _with_page(args), "unsee session certificate")
    store = Store(options.dir)
    name = f"{CERTIFICATES}/{options.id}.json"
    known = files_of(store.entries)
    if name not in known:
        raise InputError(f"{options.dir} has no request {options.id}; see unsee session log {options.dir}.")
    check_hashes(store, {name: known[name]})
    facts = certificate.read(store.path(name))
    if options.html is None:
        out_json(json.dumps(facts, indent=1, ensure_ascii=False))
        return 0
    check_schema("certificate", facts, str(store.path(name)))
    refuse_existing(options.html, overwrite=options.overwrite, reads=(options.dir,), mine=is_page)
    put(render_certificate(facts), options.html)
    out(str(options.html))
    return 0


def _row(entry: Entry) -> dict[str, str]:
    facts = entry.facts
    what = {
        "init": f"{facts.get('retained_images')} retained images",
        "forget": f"{len(facts.get('target_hashes', ()))} images. {facts.get('reason', '')}".strip(),
        "queue": f"{len(facts.get('target_hashes', ()))} images wait. {facts.get('reason', '')}".strip(),
        "settle": f"{', '.join(map(str, facts.get('ids', ())))}, which waited",
        "withdraw": "taken out of the queue",
        "undo": "taken back",
        "relocate": "the model lies elsewhere now",
        "seal": f"undo data of {facts.get('requests')} requests destroyed",
    }
    return {
        "": str(entry.number),
        "when (UTC)": _second(entry),
        "event": entry.event,
        "id": facts.get("id") or facts.get("id_undone") or facts.get("id_withdrawn") or "",
        "what": what.get(entry.event, ""),
        "weights": facts.get("weights_after", "")[:12],
    }


def _second(entry: Entry) -> str:
    return entry.time[:19].replace("T", " ")
