"""The actions of `unsee session` that open the model."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro
from rich.console import Console

from unsee.cli.parse import AskOption, KeepAnyway, Questions, asked, located, parse
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.table import print_checks, print_table, say, tell
from unsee.errors import unknown
from unsee.methods import METHODS, NSCVF
from unsee.reporting.summary import FAILED, PASSED
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import CERTIFICATES, BrokenSessionError, head
from unsee.session.session import Session
from unsee.session.settings import GUARD, SINGLE
from unsee.session.store import Store
from unsee.system.output import refuse_existing
from unsee.system.terminal import printable

ELSEWHERE = "Keep this line elsewhere: verify --head finds a copy that was cut off or rolled back."
Method = TypeVar("Method")
Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
Key = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Sign with this Ed25519 key, a PEM file. Once an entry is signed, each later one must be, by the same key."
    ),
]
SecretFile = Annotated[
    Path | None, tyro.conf.arg(help="The secret that the session was made with, if it was made with one.")
]
Trust = Annotated[
    bool, tyro.conf.arg(help="Run code that the checkpoint brings along; the session's own files never say so.")
]


@dataclass(frozen=True)
class Init(Generic[Method]):
    """Begin a session: measure the photos that stand for what must be kept, and hash the model.

    The photos are needed this once. If later targets are among them, show a request the same photos, and they are
    taken out of what was measured, exactly. --method NAME chooses the method, whose settings are below; every request
    uses them.

    Example:
      unsee session init sessions/shop --model checkpoints/my-vlm --retain photos/others
    """

    dir: Folder
    """The session's folder, to be made."""
    model: str
    """A checkpoint folder of transformers, or hf://OWNER/NAME of the hub. It must stay where and as it is."""
    retain: Path
    """Photos of what must be kept."""
    guard: float = GUARD
    """How strongly each forgotten target is kept forgotten by later requests; 0: they may bring it back."""
    max_drift: float | None = None
    """Refuse a request after which tr(D G D^T) / tr(W G W^T) of a layer would be above this; D since the beginning."""
    seed: int = 0
    """Of everything that is random."""
    memory: Literal["normal", "low"] = "normal"
    """low trains a few layers at a time, each for its share of the steps, and holds far less."""
    key: Key = None
    secret: Path | None = None
    """A file of 32 random bytes or more, kept outside the folder: without it, hashes of photos and what the session
    remembers of forgotten targets say nothing. Each request needs it. Make it with openssl rand -out FILE 32."""
    hub: bool = False
    """Take a model that is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    method: Method = field(kw_only=True)


@dataclass(frozen=True)
class InitSingle(Init[NSCVF]):
    __doc__ = Init.__doc__

    method: NSCVF = field(default=SINGLE, kw_only=True)


@dataclass(frozen=True)
class Forget:
    """Forget what is on some photos, after everything that was forgotten before.

    Of the photos nothing is stored but salted hashes. The folder changes at the end, all at once: a request that is
    killed was never made.

    Example:
      unsee session forget sessions/shop --target photos/alice --id 2026-017 --reason "letter of 1 May"
    """

    dir: Folder
    """The session's folder."""
    target: Path
    """Photos of what must be forgotten."""
    id: str
    """Names the request in the ledger: up to 64 letters, digits, dots or dashes. Not a person's name."""
    reason: str = ""
    """Kept in the ledger and the certificate as it is."""
    retain: Path | None = None
    """Photos of what must be kept, if they are still there; fewer others are forgotten with them."""
    benchmark: str | None = None
    """Scores of this benchmark before and after go into the certificate (unsee ls benchmarks)."""
    keep_undo: bool = False
    """Keep what is needed to take the request back. That is the forgotten knowledge; seal destroys it."""
    ask: AskOption = ("auto",)
    question: Questions = ()
    keep_anyway: KeepAnyway = False
    key: Key = None
    secret: SecretFile = None
    trust_remote_code: Trust = False


@dataclass(frozen=True)
class Undo:
    """Take back the last request, bit for bit. Its undo data must have been kept (--keep-undo).

    Example:
      unsee session undo sessions/shop --id 2026-017
    """

    dir: Folder
    """The session's folder."""
    id: str
    """The last request's."""
    key: Key = None


@dataclass(frozen=True)
class Seal:
    """Destroy all undo data: what was forgotten cannot be taken back from this folder any more.

    Example:
      unsee session seal sessions/shop
    """

    dir: Folder
    """The session's folder."""
    key: Key = None


@dataclass(frozen=True)
class Verify:
    """Check a session: 0 where everything holds, 1 with the first thing that does not.

    Checked are the chain of the ledger, the hash of every file of the session and of the model, the hash of the weights
    after the last request, and entries and certificates with their signatures. Nothing is written, so that the folder
    may be a copy that cannot be.

    Example:
      unsee session verify sessions/shop
    """

    dir: Folder
    """The session's folder."""
    public_key: Path | None = None
    """Every entry and certificate must be signed by the key of this PEM file."""
    head: str | None = None
    """The hash that an earlier change printed as head: an older copy, or one that was cut off, does not have it."""
    trust_remote_code: Trust = False


@dataclass(frozen=True)
class Export:
    """Write the model as it is after the last request as a checkpoint.

    Example:
      unsee session export sessions/shop --out out/shop
    """

    dir: Folder
    """The session's folder."""
    out: Path
    """Folder to write the checkpoint to; it must not exist."""
    link: bool = False
    """Make weight files that do not change hard links to those of the model. That takes no room, and a tool that
    writes to one of them in place changes both."""
    trust_remote_code: Trust = False
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""


@dataclass(frozen=True)
class Relocate:
    """Say where the model lies now. Every file of it must be what it was when the session began.

    Example:
      unsee session relocate sessions/shop --model checkpoints/moved
    """

    dir: Folder
    model: Path
    """The folder in which the model lies now."""
    key: Key = None


@dataclass(frozen=True)
class CapacityOptions:
    """Show how many directions of each layer's inputs later requests can still use.

    Example:
      unsee session capacity sessions/shop
    """

    dir: Folder
    """The session's folder."""
    secret: SecretFile = None
    trust_remote_code: Trust = False
    json: bool = False
    """Print JSON."""


def main(action: str, args: list[str]) -> int:
    """Runs one action."""
    return RUN[action](args)


def _init(args: list[str]) -> int:
    name, rest = _chosen(args)
    kind: Any = Init
    options = located(parse(InitSingle if name == NSCVF.name else kind[METHODS[name]], rest, "unsee session init"))
    quiet()
    with noting():
        create(
            options.dir,
            options.model,
            options.retain,
            method=options.method,
            seed=options.seed,
            memory=options.memory,
            guard=options.guard,
            max_drift=options.max_drift,
            key=options.key,
            secret_file=options.secret,
            trust_remote_code=options.trust_remote_code,
        )
    session = Session(options.dir)
    first = session.entries[0].facts
    print(f"{options.dir}: {first['retained_images']} retained images, weights {first['weights_after'][:12]}.")
    print(f"{session.head}\n{ELSEWHERE}")
    return 0


def _chosen(args: list[str]) -> tuple[str, list[str]]:
    """The method's name, and the arguments without it."""
    for place, word in enumerate(args):
        if word == "--method" and place + 1 < len(args):
            name, rest = args[place + 1], args[:place] + args[place + 2 :]
        elif word.startswith("--method="):
            name, rest = word.partition("=")[2], args[:place] + args[place + 1 :]
        else:
            continue
        if name not in METHODS:
            raise unknown("method", name, METHODS)
        return name, rest
    return NSCVF.name, args


def _open(folder: Path, *, secret: Path | None = None, trust_remote_code: bool = False) -> Session:
    quiet()
    session = Session(folder, secret_file=secret, trust_remote_code=trust_remote_code)
    tell(session.folder, session.store.left)
    return session


def _after(session: Session) -> None:
    """Says, after a change, what was made good before it and where the ledger ends now."""
    tell(session.folder, session.store.recovered)
    print(f"{session.head}\n{ELSEWHERE}")


def _forget(args: list[str]) -> int:
    options = parse(Forget, args, "unsee session forget")
    session = _open(options.dir, secret=options.secret, trust_remote_code=options.trust_remote_code)
    with noting():
        facts = session.forget(
            options.target,
            options.id,
            reason=options.reason,
            retain=options.retain,
            benchmark=options.benchmark,
            keep_undo=options.keep_undo,
            key=options.key,
            ask=asked(options.ask, options.question),
            keep_anyway=options.keep_anyway,
            tell=partial(tell, session.folder),
        )
    verdict = facts["verdict"]
    say(PASSED if verdict["passed"] else FAILED, verdict["sentence"])
    for warning in facts["warnings"]:
        print(f"unsee: warning: {warning}.", file=sys.stderr)
    worst = max(facts["drift"], key=facts["drift"].__getitem__)
    print(f"{options.id}: {facts['method']['stopped']}.")
    print(
        f"{facts['taken_out_of_statistics']} of {facts['target_images']} target images taken out of the statistics, "
        f"{facts['retained_statistics']} left; largest drift {facts['drift'][worst]:.2g} ({worst})."
    )
    print(f"weights {facts['weights_before'][:12]} -> {facts['weights_after'][:12]}, {len(facts['changed'])} tensors.")
    for score in facts["scores"]:
        if score["phase"] == "after":
            print(f"{score['name']}/{score['subset']} {score['value']:.3f}")
    print(f"certificate: {options.dir / CERTIFICATES / options.id}.json")
    _after(session)
    if options.keep_undo:
        Console().print(
            "undo data is kept: it is what was forgotten, and unsee session seal destroys it.",
            style="bold red",
            highlight=False,
        )
    return 0 if verdict["passed"] else 1


def _undo(args: list[str]) -> int:
    options = parse(Undo, args, "unsee session undo")
    session = _open(options.dir)
    session.undo(options.id, key=options.key)
    print(f"{options.id} is taken back: weights {session.entries[-1].facts['weights_after'][:12]}, as before it.")
    _after(session)
    return 0


def _seal(args: list[str]) -> int:
    options = parse(Seal, args, "unsee session seal")
    session = _open(options.dir)
    print(f"undo data of {session.seal(key=options.key)} requests is destroyed.")
    _after(session)
    return 0


def _relocate(args: list[str]) -> int:
    options = parse(Relocate, args, "unsee session relocate")
    session = _open(options.dir)
    session.relocate(options.model, key=options.key)
    print(f"{options.dir}: the model lies in {session.settings.model}.")
    _after(session)
    return 0


def _verify(args: list[str]) -> int:
    options = parse(Verify, args, "unsee session verify")
    quiet()
    try:
        said = verify(options.dir, options.public_key, head=options.head, trust_remote_code=options.trust_remote_code)
    except BrokenSessionError as error:
        print(f"unsee: {options.dir}: {printable(str(error))}", file=sys.stderr)
        return 1
    print(f"{options.dir} holds: {said}.")
    print(head(Store(options.dir).entries))
    return 0


def _export(args: list[str]) -> int:
    options = parse(Export, args, "unsee session export")
    session = _open(options.dir, trust_remote_code=options.trust_remote_code)
    refuse_existing(options.out, overwrite=options.overwrite, reads=(options.dir, session.settings.model))
    check = session.export(options.out, link=options.link, overwrite=options.overwrite)
    print(f"{options.out} is written.")
    print_checks([check])
    return 0 if check.passed else 1


def _capacity(args: list[str]) -> int:
    options = parse(CapacityOptions, args, "unsee session capacity")
    found = _open(options.dir, secret=options.secret, trust_remote_code=options.trust_remote_code).capacity()
    if options.json:
        print(json.dumps([asdict(each) for each in found], indent=1))
        return 0
    rows = [
        {
            "inputs of": each.layer,
            "width": str(each.width),
            "free at first": f"{each.free_before:.1f}",
            "free now": f"{each.free:.1f}",
            "drift": f"{each.drift:.2g}",
        }
        for each in found
    ]
    print_table(rows)
    return 0


RUN: dict[str, Callable[[list[str]], int]] = {
    "init": _init,
    "forget": _forget,
    "undo": _undo,
    "seal": _seal,
    "verify": _verify,
    "relocate": _relocate,
    "export": _export,
    "capacity": _capacity,
}
