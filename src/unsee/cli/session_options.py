"""The options of the actions of `unsee session` that open the model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import tyro

from unsee.cli.parse import (
    AnswerFromFolder,
    AskOption,
    DropSimilar,
    KeepAnyway,
    Public,
    Questions,
    QuestionsFile,
    SkipUnreadable,
)
from unsee.session.settings import GUARD

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
MethodAgain = Annotated[
    str,
    tyro.conf.arg(
        help="Where the session was made with a method of your own: its package.module:Class again, so that its code "
        "is run."
    ),
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
    skip_unreadable: SkipUnreadable = False
    ask: AskOption = ("auto",)
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
    remembers of forgotten targets say nothing, and with it requests may wait (--later). Each request needs it. Make it
    with openssl rand -out FILE 32."""
    hub: bool = False
    """Take a model that is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    method: Method = field(kw_only=True)


@dataclass(frozen=True)
class Forget:
    """Forget what is on some photos, after everything that was forgotten before.

    Of the photos salted hashes are stored, and the guard, from which they can be recognised. The folder changes at the
    end, all at once: a request that is killed was never made. With --later it only waits, its photos encrypted by the
    session's secret, until `unsee session settle` makes all that wait at once.

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
    public: Public = None
    later: bool = False
    """Make the request later, with others at once: see unsee session settle."""
    benchmark: str | None = None
    """Scores of this benchmark before and after go into the certificate (unsee ls benchmarks)."""
    keep_undo: bool = False
    """Keep what is needed to take the request back. That is the forgotten knowledge; seal destroys it."""
    ask: AskOption = ("auto",)
    question: Questions = ()
    answer_from_folder: AnswerFromFolder = False
    drop_similar: DropSimilar = False
    questions: QuestionsFile = None
    skip_unreadable: SkipUnreadable = False
    keep_anyway: KeepAnyway = False
    key: Key = None
    secret: SecretFile = None
    method: MethodAgain = ""
    trust_remote_code: Trust = False


@dataclass(frozen=True)
class Settle:
    """Make all requests that wait, as one edit with a certificate for each, and erase their photos.

    Several at once cost others less than one after the other. The folder changes at the end, all at once: where it is
    killed, or misses its aim, all still wait. It cannot be taken back.

    Example:
      unsee session settle sessions/shop --secret operator.secret
    """

    dir: Folder
    """The session's folder."""
    retain: Path | None = None
    """Photos of what must be kept, if they are still there; fewer others are forgotten with them."""
    public: Public = None
    benchmark: str | None = None
    """Scores of this benchmark before and after go into the certificates (unsee ls benchmarks)."""
    ask: AskOption = ("auto",)
    question: Questions = ()
    answer_from_folder: AnswerFromFolder = False
    drop_similar: DropSimilar = False
    keep_anyway: KeepAnyway = False
    key: Key = None
    secret: SecretFile = None
    method: MethodAgain = ""
    trust_remote_code: Trust = False


@dataclass(frozen=True)
class Withdraw:
    """Take a request out of the queue, and erase its photos.

    Example:
      unsee session withdraw sessions/shop --id 2026-017
    """

    dir: Folder
    """The session's folder."""
    id: str
    """The request's."""
    key: Key = None


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
