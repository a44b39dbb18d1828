"""A signed session: no line, file or whole copy that the key's holder did not make passes for one."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.torch import save_file

from tiny_method import METHOD, TYPED, UNASKED
from unsee.errors import InputError
from unsee.models.checkpoint import load
from unsee.moments.file import read_guarded, save
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import LEDGER, STATE, WEIGHTS, BrokenSessionError, Entry
from unsee.session.session import Session
from unsee.session.store import Store

Run = Callable[..., int]
Forgery = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The operator's key and its public half."""
    folder, key, pem = tmp_path_factory.mktemp("keys"), Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "public").write_bytes(public)
    return folder / "key", folder / "public"


@pytest.fixture(scope="module")
def signed_once(
    keys: tuple[Path, Path], checkpoint: Path, known: Path, people: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A session of which every entry is signed, with two requests; to be copied."""
    folder = tmp_path_factory.mktemp("signed") / "session"
    create(folder, checkpoint, known, method=METHOD, key=keys[0])
    for number in (0, 1):
        Session(folder).forget(people / f"concept_{number}", f"r{number}", key=keys[0], keep_undo=True, **UNASKED)
    return folder


@pytest.fixture
def signed(signed_once: Path, tmp_path: Path) -> Path:
    """A copy of that session."""
    return shutil.copytree(signed_once, tmp_path / "session")


@contextmanager
def forging(session: Path) -> Iterator[list[Entry]]:
    """Gives the entries to change; then each gets the numbers and hashes that it should have, but no new signature."""
    entries = [Entry(**json.loads(line)) for line in (session / LEDGER).read_bytes().splitlines()]
    yield entries
    made: list[Entry] = []
    for number, entry in enumerate(entries):
        values = {**asdict(entry), "number": number, "previous": made[-1].hash if made else "", "hash": ""}
        made.append(Entry(**values).sealed())
    (session / LEDGER).write_bytes(b"".join(entry.line() for entry in made))


def unsigned_undo(session: Path, _: Path) -> None:
    """Takes back a request by the program itself, without the key, as far as it goes."""
    with forging(session) as entries:
        last = entries[-1]
        facts = {name: last.facts[name] for name in ("weights_before", "weights_after")}
        facts = {"id_undone": "r1", "weights_before": facts["weights_after"], "weights_after": facts["weights_before"]}
        kept = {name: f"undo/r1/{name}" for name in (STATE, WEIGHTS)}
        files = {name: last.files[old] for name, old in kept.items()}
        entries.append(Entry(0, last.time, "undo", facts, files, sorted(kept.values()), ""))
        for name, old in kept.items():
            (session / old).replace(session / name)
        (session / "undo" / "r1").rmdir()


def keys_own_undo(session: Path, other: Path) -> None:
    """The same, said to be signed: the signature is that of another entry."""
    unsigned_undo(session, other)
    with forging(session) as entries:
        facts = entries[-1].facts | {"public_key": entries[-2].facts["public_key"]}
        entries[-1] = Entry(**{**asdict(entries[-1]), "facts": facts, "signature": entries[-2].signature})


def invented_event(session: Path, checkpoint: Path) -> None:
    vlm = load(checkpoint)
    name = vlm.partition.visual[0]
    save_file({name: torch.zeros_like(dict(vlm.model.named_parameters())[name])}, session / WEIGHTS)
    with forging(session) as entries:
        digest = hashlib.sha256((session / WEIGHTS).read_bytes()).hexdigest()
        entries.append(Entry(0, entries[-1].time, "tuned", {"weights_after": "0" * 64}, {WEIGHTS: digest}, [], ""))


def zeroed_guard(session: Path, checkpoint: Path) -> None:
    moments, _, _ = read_guarded(session / STATE, load(checkpoint))
    save(moments, session / STATE, {}, {})
    with forging(session) as entries:
        files = entries[-1].files | {STATE: hashlib.sha256((session / STATE).read_bytes()).hexdigest()}
        entries[-1] = Entry(**{**asdict(entries[-1]), "files": files})


def last_line_in_the_future(session: Path, _: Path) -> None:
    with forging(session) as entries:
        entries[-1] = Entry(**{**asdict(entries[-1]), "time": "2099-01-01T00:00:00.000000+00:00"})


def without_signatures(session: Path, _: Path) -> None:
    with forging(session) as entries:
        for number, entry in enumerate(entries):
            facts = {name: value for name, value in entry.facts.items() if name != "public_key"}
            entries[number] = Entry(**{**asdict(entry), "facts": facts, "signature": ""})


FORGERIES: tuple[Forgery, ...] = (
    unsigned_undo,
    keys_own_undo,
    invented_event,
    zeroed_guard,
    last_line_in_the_future,
    without_signatures,
)


def test_what_the_key_signed_holds(signed: Path, keys: tuple[Path, Path]) -> None:
    assert verify(signed, keys[1]).startswith("3 entries, 3 of them signed")


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_forged_session_does_not_pass(
    forgery: Forgery, signed: Path, keys: tuple[Path, Path], checkpoint: Path
) -> None:
    forgery(signed, checkpoint)
    with pytest.raises(BrokenSessionError):
        verify(signed, keys[1])


@pytest.mark.parametrize("forgery", [keys_own_undo, zeroed_guard], ids=lambda forgery: forgery.__name__)
def test_nothing_is_signed_on_top_of_a_forgery(
    forgery: Forgery, signed: Path, keys: tuple[Path, Path], checkpoint: Path
) -> None:
    forgery(signed, checkpoint)
    before = (signed / LEDGER).read_bytes()
    with pytest.raises(BrokenSessionError, match="the signature of line"):
        Session(signed).seal(key=keys[0])
    assert (signed / LEDGER).read_bytes() == before


def test_an_event_that_no_session_has_is_refused_without_a_key_too(signed: Path, checkpoint: Path) -> None:
    invented_event(signed, checkpoint)
    with pytest.raises(BrokenSessionError, match="speaks of 'tuned', which no session does"):
        verify(signed)


def test_a_line_still_to_come_is_refused_without_a_key_too(signed: Path) -> None:
    without_signatures(signed, signed)
    last_line_in_the_future(signed, signed)
    with forging(signed):
        pass
    with pytest.raises(BrokenSessionError, match="is dated 2099"):
        verify(signed)


def test_the_head_finds_a_cut_off_and_an_older_copy(
    signed: Path, keys: tuple[Path, Path], people: Path, tmp_path: Path
) -> None:
    older = shutil.copytree(signed, tmp_path / "older")
    Session(signed).seal(key=keys[0])
    Session(signed).forget(people / "concept_4", "r2", key=keys[0], **UNASKED)
    head = Store(signed).entries[-1].hash
    assert "0 entries came after the head" in verify(signed, keys[1], head=head)
    assert "2 entries came after the head" in verify(signed, keys[1], head=Store(older).entries[-1].hash)
    verify(older, keys[1])  # a whole older copy is signed all through: the head alone tells
    with pytest.raises(BrokenSessionError, match="an older copy, or its ledger was cut off"):
        verify(older, keys[1], head=head)
    cut = shutil.copytree(signed, tmp_path / "cut")
    entries = Store(cut).entries
    (cut / LEDGER).write_bytes(b"".join(entry.line() for entry in entries[:-1]))
    (cut / "certificates" / "r2.json").unlink()
    for name in (STATE, WEIGHTS):
        shutil.copy(older / name, cut / name)
    verify(cut, keys[1])
    with pytest.raises(BrokenSessionError, match="an older copy, or its ledger was cut off"):
        verify(cut, keys[1], head=head)
    with pytest.raises(InputError, match="is no head; expected the 64 digits"):
        verify(signed, head="abc")


def test_every_change_needs_the_key_once_one_was_used(signed: Path, people: Path) -> None:
    for change in (
        lambda: Session(signed).forget(people / "concept_2", "r2", **UNASKED),
        lambda: Session(signed).undo("r1"),
        lambda: Session(signed).seal(),
    ):
        with pytest.raises(InputError, match=r"every entry of .* is signed; give the key"):
            change()


def test_every_change_prints_the_head(
    unsee: Run, keys: tuple[Path, Path], checkpoint: Path, known: Path, people: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    session, key = tmp_path / "s", ("--key", keys[0])
    asked = ("--target", people / "concept_0", "--id", "a", "--ask", "never")
    for number, command in enumerate(
        (
            ("init", session, "--model", checkpoint, "--retain", known, *TYPED, "--steps", "60", *key),
            ("forget", session, *asked, "--keep-undo", *key),
            ("undo", session, "--id", "a", *key),
            ("seal", session, *key),
        ),
        1,
    ):
        assert unsee("session", *command) == 0
        last = Store(session).entries[-1]
        assert f"head {last.hash}, {number} entries, {last.time}" in capsys.readouterr().out
    assert unsee("session", "verify", session, "--public-key", keys[1], "--head", last.hash) == 0
    assert unsee("session", "verify", session, "--head", "0" * 64) == 1
