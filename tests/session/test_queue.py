"""Requests that wait: encrypted, said in the log, made as one edit with a certificate each, then erased."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image
from safetensors.torch import load_file
from test_store import die_after, made

from tiny_method import METHOD, UNASKED
from unsee import data
from unsee.errors import InputError, MissedError
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.session import queue, secret
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import STATE, WEIGHTS, BrokenSessionError, queued, standing
from unsee.session.session import Session
from unsee.session.store import Store, check_files

Run = Callable[..., int]
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "certificate.schema.json"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("operator") / "secret"
    file.write_bytes(bytes(range(32)))
    return file


@pytest.fixture(scope="module")
def two(checkpoint: Path, known: Path, people: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session in which two requests wait; to be copied."""
    folder = tmp_path_factory.mktemp("queued") / "s"
    create(folder, checkpoint, known, method=METHOD, secret_file=key)
    for number in (0, 1):
        Session(folder, secret_file=key).later(people / f"concept_{number}", f"r{number}", reason="a letter")
    return folder


@pytest.fixture
def waiting(two: Path, tmp_path: Path) -> Path:
    return shutil.copytree(two, tmp_path / "s")


def settle(folder: Path, key: Path) -> list[dict[str, object]]:
    return Session(folder, secret_file=key).settle(**UNASKED)


def test_all_that_wait_are_made_as_one_edit_with_a_certificate_each(waiting: Path, key: Path, vlm: Vlm) -> None:
    assert "2 requests queued" in verify(waiting)
    certificates = settle(waiting, key)
    assert [each["id"] for each in certificates] == ["r0", "r1"]
    assert [each["number"] for each in certificates] == [1, 2]
    assert [each["taken_out_of_statistics"] for each in certificates] == [4, 4]
    assert {each["weights_before"] for each in certificates} == {visual_hash(vlm)}
    assert len({each["weights_after"] for each in certificates}) == 1
    for each in certificates:
        Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(json.loads(json.dumps(each)))
        assert (each["reason"], each["settled_together"], each["undo_kept"]) == ("a letter", 2, False)
    session = Session(waiting, secret_file=key)
    assert session.queued() == []
    assert [entry.facts["id"] for entry in session.standing()] == ["r0", "r1"]
    assert certificates[0]["queued"] == session.standing()[0].time
    assert not (waiting / "queue").exists()
    assert "4 entries" in verify(waiting)
    assert "2 of 2" not in verify(waiting)  # unsigned
    state = session._state(session.base())
    assert {gram.count for gram in state.guard.values()} == {2}
    assert state.retained.count == 8


def test_a_later_request_goes_on_from_what_was_settled(waiting: Path, key: Path, people: Path) -> None:
    certificates = settle(waiting, key)
    session = Session(waiting, secret_file=key)
    with pytest.raises(InputError, match="was forgotten before, by the request r1"):
        session.forget(people / "concept_1", "r2", **UNASKED)
    with pytest.raises(InputError, match="no undo data of r1 is there"):
        session.undo("r1")
    after = session.forget(people / "concept_4", "r2", **UNASKED)
    assert (after["weights_before"], after["number"]) == (certificates[0]["weights_after"], 3)
    verify(waiting)


def test_photos_that_wait_cannot_be_seen_and_are_erased(two: Path, waiting: Path, key: Path, people: Path) -> None:
    everything = b"".join(path.read_bytes() for path in two.rglob("*") if path.is_file())
    assert b"concept_0" not in everything
    for photo in (people / "concept_0").iterdir():
        pixels = Image.open(photo).convert("RGB").tobytes()
        assert data.content_hash(Image.open(photo)).encode() not in everything
        for start in range(0, len(pixels) - 24, 24):
            if len(set(pixels[start : start + 24])) > 6:
                assert pixels[start : start + 24] not in everything
    with (waiting / "queue" / "r0.safetensors").open("rb") as watched:
        settle(waiting, key)
        assert not any(watched.read())


def test_what_waits_is_what_was_given(waiting: Path, key: Path, people: Path) -> None:
    given = [sample for sample in data.load(people) if sample.concept == "concept_1"]
    kept = secret.read(key, waiting, Session(waiting).settings.salt)
    found, _ = queue.read(waiting / "queue" / "r1.safetensors", "r1", kept)
    assert data.validate(found, "target") == data.validate(given, "target")
    assert {sample.concept for sample in found} == {"concept_1"}


def test_who_lacks_the_secret_or_has_another_makes_nothing(
    waiting: Path, begun: Path, people: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in waiting.rglob("*") if path.is_file()}
    other = tmp_path / "other"
    other.write_bytes(bytes(32))
    with pytest.raises(InputError, match="was made with a secret; give its file"):
        Session(waiting).settle(**UNASKED)
    with pytest.raises(InputError, match="was made with a secret; give its file"):
        Session(waiting).later(people / "concept_2", "r2")
    with pytest.raises(InputError, match="is not the secret"):
        Session(waiting, secret_file=other)
    assert {path: path.read_bytes() for path in waiting.rglob("*") if path.is_file()} == before
    with pytest.raises(InputError, match="was made without a secret, which encrypts photos that wait"):
        Session(begun).later(people / "concept_0", "r0")


def test_a_photo_that_waits_is_not_asked_about_again(waiting: Path, key: Path, people: Path) -> None:
    session = Session(waiting, secret_file=key)
    for ask in (session.later, session.forget):
        with pytest.raises(InputError, match="waits already, in the request r0"):
            ask(people / "concept_0", "again")
        with pytest.raises(InputError, match="the id r1 was used before"):
            ask(people / "concept_2", "r1")
    assert len(session.queued()) == 2


def test_what_misses_its_aim_still_waits(waiting: Path, key: Path) -> None:
    before = {path: path.read_bytes() for path in waiting.rglob("*") if path.is_file()}
    with pytest.raises(MissedError, match="did not name the target before"):
        Session(waiting, secret_file=key).settle(ask="Who is this?")
    assert {path: path.read_bytes() for path in waiting.rglob("*") if path.is_file()} == before


def test_a_request_is_withdrawn(waiting: Path, key: Path, people: Path) -> None:
    with (waiting / "queue" / "r0.safetensors").open("rb") as watched:
        Session(waiting).withdraw("r0")
        assert not any(watched.read())
    assert "1 requests queued" in verify(waiting)
    with pytest.raises(InputError, match="no request r0 waits"):
        Session(waiting).withdraw("r0")
    session = Session(waiting, secret_file=key)
    with pytest.raises(InputError, match="the id r0 was used before"):
        session.later(people / "concept_0", "r0")
    session.later(people / "concept_0", "again")
    assert [each["id"] for each in settle(waiting, key)] == ["r1", "again"]
    with pytest.raises(InputError, match="no request waits in"):
        settle(waiting, key)
    verify(waiting)


def test_photos_that_were_changed_or_exchanged_are_not_settled(waiting: Path, key: Path) -> None:
    one, other = (waiting / "queue" / f"r{number}.safetensors" for number in (0, 1))
    whole = one.read_bytes()
    one.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for look in (lambda: settle(waiting, key), lambda: verify(waiting)):
        with pytest.raises(BrokenSessionError, match=r"queue/r0.safetensors was changed"):
            look()
    one.write_bytes(other.read_bytes())
    kept = secret.read(key, waiting, Session(waiting).settings.salt)
    with pytest.raises(BrokenSessionError, match="the photos of r0 cannot be read"):
        queue.read(one, "r0", kept)
    one.unlink()
    with pytest.raises(BrokenSessionError, match=r"queue/r0.safetensors is missing"):
        settle(waiting, key)


def test_a_certificate_of_a_settled_request_must_say_what_was_queued(waiting: Path, key: Path) -> None:
    settle(waiting, key)
    file, ledger = waiting / "certificates" / "r0.json", waiting / "ledger.jsonl"
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"reason": "another"}))
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert rows[-1]["files"]["certificates/r0.json"] == old
    rows[-1]["files"]["certificates/r0.json"] = hashlib.sha256(file.read_bytes()).hexdigest()
    unsealed = {name: value for name, value in rows[-1].items() if name != "hash"}
    text = json.dumps(unsealed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    rows[-1]["hash"] = hashlib.sha256(text.encode()).hexdigest()
    lines = (json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows)
    ledger.write_text("".join(lines))
    with pytest.raises(BrokenSessionError, match=r"certificates/r0.json says something else than the ledger \(reason"):
        verify(waiting)


def made_by_hand(folder: Path, number: int) -> None:
    """Queues two requests and settles them, or a third with one that is withdrawn, with files of a few bytes."""
    store = Store(folder)
    with store.locked():
        for name in ("a", "b"):
            facts = {"id": f"{name}{number}", "reason": "", "target_hashes": []}
            with store.change("queue", facts) as files:
                (files / "queue").mkdir()
                (files / "queue" / f"{name}{number}.safetensors").write_bytes(b"photos")
        with store.change("withdraw", {"id_withdrawn": f"b{number}"}, remove=[f"queue/b{number}.safetensors"]):
            pass
        weights = {"weights_before": f"w{number - 1}", "weights_after": f"w{number}"}
        gone = [f"queue/a{number}.safetensors"]
        with store.change("settle", {"ids": [f"a{number}"], **weights}, remove=gone) as files:
            (files / STATE).write_bytes(b"state %d" % number)
            (files / WEIGHTS).write_bytes(b"weights %d" % number)
            (files / "certificates").mkdir()
            (files / "certificates" / f"a{number}.json").write_text("{}")


def test_a_process_killed_anywhere_loses_no_request_that_waits(tmp_path: Path) -> None:
    """At every call to the disk of queueing, withdrawing and settling."""
    start, seen = made(tmp_path / "start"), set[tuple[int, int]]()
    made_by_hand(start, 1)
    for calls in range(1000):
        work = shutil.copytree(start, tmp_path / f"work_{calls}")
        done = not die_after(calls, lambda work=work: made_by_hand(work, 2))  # type: ignore[misc]
        check_files(Store(work))
        with Store(work).locked():
            pass
        check_files(Store(work))
        session = Store(work)
        seen.add((len(standing(session.entries)), len(queued(session.entries))))
        assert len(list((work / "queue").iterdir()) if (work / "queue").exists() else []) == len(
            queued(session.entries)
        )
        if done:
            break
    assert calls > 40
    assert seen == {(1, 0), (1, 1), (1, 2), (2, 0)}


def test_the_commands(waiting: Path, key: Path, people: Path, unsee: Run, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--target", people / "concept_2", "--id", "r2", "--later", "--secret", key)
    assert unsee("session", "forget", waiting, *given, "--keep-undo") == 2
    assert "--keep-undo says how a request is made; give it to unsee session settle" in capsys.readouterr().err
    assert unsee("session", "forget", waiting, *given) == 0
    assert "r2 waits, with 3 in the queue" in capsys.readouterr().out
    assert unsee("session", "withdraw", waiting, "--id", "r2") == 0
    capsys.readouterr()
    assert unsee("session", "log", waiting) == 0
    said = capsys.readouterr().out
    since = Store(waiting).entries[1].time[:19].replace("T", " ")
    assert f"2 requests wait, with their photos encrypted: r0 since {since}" in said
    assert unsee("session", "settle", waiting, "--secret", key, "--ask", "never", "--keep-anyway") in (0, 1)
    assert "2 requests are made, and the photos that waited are erased." in capsys.readouterr().out
    assert unsee("session", "verify", waiting) == 0
    weights = load_file(waiting / WEIGHTS)
    assert weights
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_files_that_could_not_be_read_when_a_request_was_queued_stand_in_its_certificate(
    waiting: Path, key: Path, people: Path, unsee: Run, tmp_path: Path
) -> None:
    photos = shutil.copytree(people / "concept_5", tmp_path / "photos")
    (photos / "broken.jpg").write_bytes(b"no picture")
    given = ("--target", photos, "--id", "r2", "--later", "--secret", key)
    assert unsee("session", "forget", waiting, *given) == 2
    assert unsee("session", "forget", waiting, *given, "--skip-unreadable") == 0
    warned = {str(each["id"]): str(each["warnings"]) for each in settle(waiting, key)}
    assert "1 files of the target could not be read and were skipped" in warned["r2"]
    assert "skipped" not in warned["r0"]
