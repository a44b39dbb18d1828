"""Requests one after the other: recorded, provable, private, taken back to the bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from tiny_method import METHOD, UNASKED
from unsee import data
from unsee.errors import InputError, MissedError
from unsee.methods import NPO, GradDiff
from unsee.models.checkpoint import Vlm, load, visual_hash
from unsee.moments.file import read_guarded
from unsee.moments.measure import measure, retained_grams
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import STATE, WEIGHTS, BrokenSessionError
from unsee.session.session import Session
from unsee.session.store import Store
from unsee.system.memory import plan
from unsee.testing import photo_folder, stored, tiny_checkpoint

NORMAL = plan("normal", 1)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_request_is_recorded_and_holds(session: Path, checkpoint: Path, tmp_path: Path) -> None:
    assert verify(session).startswith("2 entries")
    made = json.loads((session / "certificates" / "first.json").read_text())
    entry = Store(session).entries[1]
    assert (entry.event, made["id"], made["reason"]) == ("forget", "first", "a letter of 1 May")
    assert (
        made["weights_before"] == visual_hash(load(checkpoint)) != made["weights_after"] == entry.facts["weights_after"]
    )
    assert made["target_images"] == made["taken_out_of_statistics"] == 4
    assert made["retained_statistics"] == 12
    assert set(made["drift"]) == {name.removesuffix(".weight") for name in made["changed"]}
    with Session(session) as opened:
        assert opened.export(tmp_path / "out").passed
    out = tmp_path / "out"
    assert visual_hash(load(out)) == made["weights_after"]
    before, after = stored(checkpoint), stored(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert changed
    assert not any("language_model" in name or "lm_head" in name for name in changed)


def test_a_second_request_goes_on_from_the_first(session: Path, people: Path) -> None:
    size = (session / STATE).stat().st_size
    with Session(session) as opened:
        request = opened.forget(people / "concept_4", "second", **UNASKED)
        assert [entry.facts["id"] for entry in opened.standing()] == ["first", "second"]
    first = json.loads((session / "certificates" / "first.json").read_text())
    assert request["weights_before"] == first["weights_after"]
    assert "none of the 4 target images was among the retained" in request["warnings"][0]
    assert verify(session).startswith("3 entries")
    assert abs((session / STATE).stat().st_size - size) < 100  # the digits of a count


def test_the_target_is_taken_out_of_the_statistics_exactly(once: Path, vlm: Vlm, known: Path) -> None:
    """What is left is what was measured without it, whatever depends on no choice of a basis or of units."""
    others = [sample for sample in data.load(known) if sample.concept != "concept_0"]
    left, _, _ = read_guarded(once / STATE, vlm)
    moments, _ = measure(vlm, others, METHOD.moment_settings(0), NORMAL, like=left)
    assert left.features.layout.basis is not None  # what the model reads, of which it was asked at the beginning
    assert left.count == moments.count == 12
    for name, gram in moments.grams.items():
        scale = gram.outer.abs().max()
        assert float((left.grams[name].outer - gram.outer).abs().max()) < 1e-12 * scale
        assert float((left.grams[name].total - gram.total).abs().max()) < 1e-12 * scale
        assert left.grams[name].count == gram.count
    torch.testing.assert_close(left.features.mean, moments.features.mean, rtol=1e-4, atol=1e-5)
    assert left.scatter.counts.tolist() == [0, 4, 4, 4]
    assert len(left.features.discriminant.concepts) == len(moments.features.discriminant.concepts) == 3
    assert set(left.features.modes.concept.tolist()) == {1, 2, 3}


def test_a_photo_that_was_counted_twice_is_taken_out_twice(
    checkpoint: Path, known: Path, people: Path, tmp_path: Path
) -> None:
    retained = shutil.copytree(known, tmp_path / "retained")
    shutil.copy(retained / "concept_0" / "000.png", retained / "concept_0" / "copy.png")
    create(tmp_path / "session", checkpoint, retained, method=METHOD)
    with Session(tmp_path / "session") as opened:
        made = opened.forget(people / "concept_0", "first", **UNASKED)
    assert made["taken_out_of_statistics"] == 4
    assert made["retained_statistics"] == 12
    left, _, _ = read_guarded(tmp_path / "session" / STATE, load(checkpoint))
    assert left.scatter.counts.tolist() == [0, 4, 4, 4]
    others = [sample for sample in data.load(known) if sample.concept != "concept_0"]
    moments, _ = measure(load(checkpoint), others, METHOD.moment_settings(0), NORMAL, like=left)
    for name, gram in moments.grams.items():
        assert float((left.grams[name].outer - gram.outer).abs().max()) < 1e-12 * gram.outer.abs().max()


def test_the_guard_is_the_gram_of_the_target_on_the_edited_model(session: Path, people: Path, tmp_path: Path) -> None:
    with Session(session) as opened:
        opened.export(tmp_path / "out")
        edited = load(tmp_path / "out")
        state = opened._state(opened.base())
    photos = [sample for sample in data.load(people) if sample.concept == "concept_0"]
    from unsee.moments.measure import prepare

    grams = retained_grams(edited, prepare(edited, photos, 8).inputs, list(state.retained.grams), NORMAL)
    confining = state.confining(2.0)
    for name, gram in grams.items():
        torch.testing.assert_close(state.guard[name].outer, gram.second, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(confining.guard[name].outer, 2 * gram.second, rtol=1e-9, atol=1e-9)
        assert state.guard[name].count == 1
    assert state.confining(0) is state.retained


def test_undo_brings_back_every_bit(session: Path, begun: Path, people: Path) -> None:
    with Session(session) as opened:
        opened.undo("first")
        assert opened.standing() == []
    for name in (STATE, WEIGHTS):
        assert (session / name).read_bytes() == (begun / name).read_bytes()
    assert not (session / "undo" / "first").exists()
    assert verify(session).startswith("3 entries")
    with Session(session) as opened, pytest.raises(InputError, match="the id first was used before"):
        opened.forget(people / "concept_0", "first", **UNASKED)
    with Session(session) as opened:
        opened.forget(people / "concept_0", "again", **UNASKED)
    verify(session)


def test_only_the_last_request_with_undo_data_is_taken_back(session: Path, people: Path) -> None:
    with Session(session) as opened:
        opened.forget(people / "concept_1", "second", **UNASKED)
        with pytest.raises(InputError, match="first is not the last request: second came after it"):
            opened.undo("first")
        with pytest.raises(InputError, match="no undo data of second is there"):
            opened.undo("second")
        with pytest.raises(InputError, match="there is no request third"):
            opened.undo("third")


def test_sealing_destroys_undo_data(session: Path) -> None:
    watched = (session / "undo" / "first" / WEIGHTS).open("rb")
    with Session(session) as opened:
        assert opened.seal() == 1
    assert not any(watched.read())
    watched.close()
    assert not list((session / "undo").rglob("*.safetensors"))
    with Session(session) as opened, pytest.raises(InputError, match=r"was not kept .* or was sealed"):
        opened.undo("first")
    assert verify(session).startswith("3 entries")


def test_nothing_of_a_target_is_stored(session: Path, people: Path, tmp_path: Path) -> None:
    """Neither its names nor its pixels, in any encoding that is plain to see."""
    folder = tmp_path / "alice-liddell"
    folder.mkdir()
    for number, photo in enumerate(sorted((people / "concept_0").iterdir())):
        shutil.copy(photo, folder / f"passport-{number}.png")
    with Session(session) as opened:
        opened.undo("first")
        opened.forget(folder, "second", keep_undo=True, **UNASKED)
    photos = sorted(folder.iterdir())
    everything = b"".join(content(session).values())
    for word in ("alice", "liddell", "passport", "concept_0", str(tmp_path)):
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert word.encode(encoding) not in everything
    for photo in photos:
        pixels = Image.open(photo).convert("RGB")
        digest = data.content_hash(pixels)
        assert digest.encode() not in everything
        assert bytes.fromhex(digest) not in everything
        rows = torch.tensor(list(pixels.tobytes())).view(-1, 24 * 3)
        for part in (pixels.tobytes(), photo.read_bytes()[40:], *(bytes(row.tolist()) for row in rows[::4])):
            for start in range(0, max(1, len(part) - 24), 24):
                piece = part[start : start + 24]
                if len(set(piece)) > 6:  # a plain area is found anywhere
                    assert piece not in everything
        for scaled in (rows.float() / 255, rows.float() / 127.5 - 1, (rows.float() / 255 - 0.5) / 0.25):
            for row in scaled[::4]:
                if len(row.unique()) > 6:
                    assert row.numpy().tobytes() not in everything


def test_salted_hashes_of_two_sessions_differ(
    session: Path, begun: Path, checkpoint: Path, known: Path, tmp_path: Path
) -> None:
    create(tmp_path / "other", checkpoint, known, method=METHOD)
    vlm = load(checkpoint)
    one, other = (set(read_guarded(folder / STATE, vlm)[0].hashes) for folder in (begun, tmp_path / "other"))
    assert not one & other
    assert len(one) == len(other) == 16


def refused(session: Path, match: str, *args: object, **kwargs: object) -> None:
    before = content(session)
    with pytest.raises(InputError, match=match):
        Session(session).forget(*args, **kwargs, **UNASKED)  # type: ignore[arg-type]
    assert content(session) | {"lock": b""} == before | {"lock": b""}


def test_bad_requests_are_sentences(session: Path, people: Path, known: Path, tmp_path: Path) -> None:
    refused(session, "the id first was used before", people / "concept_1", "first")
    refused(session, "the id '../x' cannot be used", people / "concept_1", "../x")
    refused(session, "was forgotten before, by the request first", people / "concept_0", "second")
    refused(session, "nowhere cannot be read", tmp_path / "nowhere", "second")
    refused(
        session, "all retained images are of forgotten", people / "concept_1", "second", retain=people / "concept_0"
    )
    refused(session, "private key", people / "concept_1", "second", key=tmp_path / "no.pem")


def test_a_drift_above_the_budget_stops_the_request(begun: Path, people: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "s")
    with Session(folder) as opened:
        opened.settings = replace(opened.settings, max_drift=1e-12)
        with pytest.raises(
            InputError, match=r"would exceed the drift budget of 1e-12 in \d+ layers \(.*nothing was written"
        ):
            opened.forget(people / "concept_0", "first", **UNASKED)
    assert len(Store(folder).entries) == 1
    assert not (folder / "certificates").exists()
    verify(folder)


def test_a_request_that_missed_its_aim_leaves_the_session_as_it_was(begun: Path, people: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "s")
    before = content(folder)
    for ask in ("auto", "Who is this?"):
        with pytest.raises(MissedError, match=r"did not name the target before.*The session stays as it was\.$"):
            Session(folder).forget(people / "concept_0", "first", ask=ask)
        assert content(folder) | {"lock": b""} == before | {"lock": b""}
    made = Session(folder).forget(people / "concept_0", "first", ask="Who is this?", keep_anyway=True)
    assert made["verdict"]["passed"] is False
    assert made["verdict"]["question"] == "Who is this?"
    assert "unknown" in made["verdict"]["missed"]
    assert [made["verdict"]["counts"][f"{group}_named"] for group in ("used", "aside")] == [(0, 0), (0, 0)]
    verify(folder)
    assert "since_kept" not in made["verdict"]["counts"]  # the first request began with the weights of then
    made = Session(folder).forget(people / "concept_1", "second", ask="Who is this?", keep_anyway=True, retain=people)
    kept, known = made["verdict"]["counts"]["since_kept"]
    assert 0 <= kept <= known
    verify(folder)


def test_another_model_is_refused(people: Path, known: Path, tmp_path: Path) -> None:
    model = tiny_checkpoint(tmp_path / "model")
    create(tmp_path / "session", model, known, method=METHOD)
    tiny_checkpoint(model, seed=1)
    refused(tmp_path / "session", "is not the model this session was made on", people / "concept_1", "first")


def test_a_session_takes_no_method_that_changes_the_language_model(
    checkpoint: Path, known: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a session changes no language model"):
        create(tmp_path / "s", checkpoint, known, method=NPO(scope="language"))
    assert not (tmp_path / "s").exists()


def test_a_session_inside_its_model_is_refused(known: Path, tmp_path: Path) -> None:
    model = tiny_checkpoint(tmp_path / "model")
    with pytest.raises(InputError, match="lies in the model's folder"):
        create(model / "session", model, known, method=METHOD)
    assert not (model / "session").exists()


@pytest.mark.parametrize("name", ["session.toml", STATE, WEIGHTS, "undo/first/weights.safetensors"])
def test_nothing_is_built_on_a_changed_file(name: str, session: Path) -> None:
    with (session / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BrokenSessionError, match=f"{name} was changed"), Session(session) as opened:
        opened.undo("first")


def test_retained_images_leave_out_forgotten_ones(session: Path, people: Path, known: Path) -> None:
    with Session(session) as opened:
        request = opened.forget(people / "concept_1", "second", retain=known, **UNASKED)
    assert request["retained_images"] == 8


def test_a_method_that_runs_the_language_model_asks_about_the_photos(
    checkpoint: Path, known: Path, people: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    create(folder, checkpoint, known, method=GradDiff(steps=1, batch=2, tokens=2))
    with Session(folder) as opened:
        with pytest.raises(InputError, match="needs retained photos in every request"):
            opened.forget(people / "concept_0", "first", **UNASKED)
        made = opened.forget(people / "concept_0", "first", retain=known, **UNASKED)
    assert made["method"]["name"] == "grad_diff"
    assert made["retained_images"] == 12
    verify(folder)


def test_a_resumed_session_makes_the_same_bits(begun: Path, people: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        folder = shutil.copytree(begun, tmp_path / name)
        for number in (0, 1):
            with Session(folder) as opened:
                opened.forget(people / f"concept_{number}", f"r{number}", **UNASKED)
        weights.append(load_file(folder / WEIGHTS))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_capacity_falls_with_every_request(session: Path, begun: Path, people: Path) -> None:
    with Session(begun) as opened:
        fresh = opened.capacity()
    with Session(session) as opened:
        one = opened.capacity()
        opened.forget(people / "concept_1", "second", **UNASKED)
        two = opened.capacity()
    for start, then, now in zip(fresh, one, two, strict=True):
        assert start.layer == then.layer == now.layer
        assert 0 < now.free < then.free < then.free_before <= then.width
        assert start.free == pytest.approx(start.free_before)
        assert start.drift == 0 < then.drift
    assert len(fresh) > 1


@settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_verify_finds_a_changed_byte_anywhere(
    once: Path, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    files = sorted(path for path in once.rglob("*") if path.is_file() and path.stat().st_size)
    path = draw.draw(st.sampled_from(files))
    whole = path.read_bytes()
    place = draw.draw(st.integers(0, len(whole) - 1))
    try:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ draw.draw(st.integers(1, 255))]) + whole[place + 1 :])
        with pytest.raises(BrokenSessionError):
            verify(once)
    finally:
        path.write_bytes(whole)


def test_verify_finds_a_changed_model(session: Path, checkpoint: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(checkpoint, tmp_path / "model")
    create(tmp_path / "own", moved, photo_folder(tmp_path / "photos", 3, seed=8, concepts=3), method=METHOD)
    verify(tmp_path / "own")
    with (moved / "generation_config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(BrokenSessionError, match=r"generation_config.json is not what it was when the session began"):
        verify(tmp_path / "own")
    shutil.copyfile(checkpoint / "generation_config.json", moved / "generation_config.json")
    (moved / "adapter_config.json").write_text("{}")
    with pytest.raises(BrokenSessionError, match=r"adapter_config.json is not what it was"):
        verify(tmp_path / "own")
    (moved / "adapter_config.json").unlink()
    (moved / "model.safetensors").unlink()
    with pytest.raises(BrokenSessionError, match=r"model.safetensors is not what it was"):
        verify(tmp_path / "own")
    shutil.rmtree(moved)
    with pytest.raises(BrokenSessionError, match="is not there; put it back, or use unsee session relocate"):
        verify(tmp_path / "own")


def test_a_model_that_was_moved_is_found_again_and_no_other(begun: Path, people: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "s")
    with Session(folder) as session:
        before, model = session.settings.model, Path(shutil.copytree(session.settings.model, tmp_path / "moved"))
        session.relocate(model)
        assert session.settings.model == str(model) != before
        assert session.forget(people / "concept_0", "first", **UNASKED)["number"] == 1
    assert "3 entries" in verify(folder)
    (model / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.json is not what it was when the session began; give the folder"):
        Session(folder).relocate(model)
    with pytest.raises(InputError, match=r"nowhere is not a folder; give the one"):
        Session(folder).relocate(tmp_path / "nowhere")
    Session(folder).relocate(before)
    assert "4 entries" in verify(folder)


def test_signatures(begun: Path, people: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    folder, keys = shutil.copytree(begun, tmp_path / "s"), {}
    for name in ("own", "other"):
        keys[name] = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        private, public = keys[name]
        write_key(private, public)
    with Session(folder) as opened:
        opened.forget(people / "concept_0", "first", key=keys["own"][0], **UNASKED)
    assert verify(folder).endswith("1 of 1 certificates signed")
    verify(folder, keys["own"][1])
    with pytest.raises(BrokenSessionError, match="signed by another key"):
        verify(folder, keys["other"][1])
    for key in (None, keys["other"][0]):
        with pytest.raises(InputError, match=r"every entry of .* is signed; give the key"):
            Session(folder).forget(people / "concept_1", "second", key=key, **UNASKED)
    with pytest.raises(BrokenSessionError, match=r"line 1 of ledger.jsonl \(init\) has no signature"):
        verify(begun, keys["own"][1])
    with pytest.raises(InputError, match="cannot be read as a private key"), Session(folder) as opened:
        opened.forget(people / "concept_2", "third", key=keys["own"][1], **UNASKED)


def write_key(private: Path, public: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
