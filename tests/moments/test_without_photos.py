"""Requests without retained photos: what is held in their place, and public photos that stand in for them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tiny_method import METHOD, UNASKED
from unsee import api, data
from unsee.errors import InputError
from unsee.evaluation.described import described
from unsee.methods import ClosedForm
from unsee.models.checkpoint import Vlm, load
from unsee.moments.file import read
from unsee.moments.measure import measure
from unsee.moments.reading import Reader
from unsee.moments.records import Moments, MomentSettings
from unsee.session.session import Session
from unsee.system.memory import plan
from unsee.testing import photo_folder

NORMAL = plan("normal", 1)
QUICK = replace(METHOD, steps=3)


@pytest.fixture(scope="module")
def moments(vlm: Vlm, retained: Path) -> Moments:
    return measure(vlm, data.load(retained), MomentSettings(modes=2, seed=0), NORMAL, alone=True)[0]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("public") / "anybody", 6, seed=9)


def drift(vlm: Vlm, target: Path, moments: Moments, **settings: float) -> float:
    """The largest change of a layer's outputs for retained inputs, of a whole run."""
    method = replace(METHOD, **{"stop_target": 0.0, "most_drift": 10.0, **settings})  # type: ignore[arg-type]
    edit = api.forget(vlm, target, moments=moments, method=method, ask="never")
    return max(layer.retained for layer in edit.layers)


def test_what_holds_outputs_holds_them(vlm: Vlm, target: Path, moments: Moments) -> None:
    free, held = (drift(vlm, target, moments, replay=0.0, hold=weight) for weight in (0.0, 10_000.0))
    assert held < 0.3 * free


def test_drawn_states_are_kept_where_there_are_no_photos_and_not_else(
    vlm: Vlm, target: Path, retained: Path, moments: Moments
) -> None:
    alone = api.forget(vlm, target, moments=moments, method=replace(QUICK, share=0.43), ask="never")
    assert alone.method["states_drawn"] > 100
    beside = api.forget(vlm, target, retained, moments=moments, method=QUICK, ask="never")
    assert beside.method["states_drawn"] == 0
    earlier = api.forget(vlm, target, moments=moments, method=replace(QUICK, share=1.0), ask="never")
    assert earlier.method["states_drawn"] == 0  # what enters a block after a trained one does not stay
    chosen = api.forget(vlm, target, moments=moments, method=replace(QUICK, share="auto"), ask="never")
    assert chosen.method["share"] == 0.43


def test_public_photos_stand_in_and_nobody_is_asked_about_them(
    vlm: Vlm, target: Path, retained: Path, public: Path, moments: Moments
) -> None:
    edit = api.forget(vlm, target, public=public, moments=moments, method=QUICK, ask="Who is this?")
    assert edit.verdict is not None
    assert edit.verdict.counts["shown_kept"] == edit.verdict.counts["unshown_kept"] == (0, 0)
    plain = api.forget(vlm, target, moments=moments, method=QUICK, ask="Who is this?")
    assert any((edit.weights[name] != plain.weights[name]).any() for name in edit.weights)
    assert api.forget(vlm, target, public=retained, method=QUICK, ask="never").weights  # moments are made of them
    with pytest.raises(InputError, match="public photos stand in for retained ones; give the one or the other"):
        api.forget(vlm, target, retained, public=public, method=QUICK, ask="never")
    with pytest.raises(InputError, match="closed_form is none; leave them out"):
        api.forget(vlm, target, public=public, moments=moments, method=ClosedForm(), ask="never")
    with pytest.raises(InputError, match="show the same picture"):
        api.forget(vlm, target, public=target, moments=moments, method=QUICK, ask="never")


def test_a_session_takes_public_photos(begun: Path, people: Path, known: Path, public: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "s")
    session = Session(folder)
    with pytest.raises(InputError, match="give the one or the other"):
        session.forget(people / "concept_0", "first", retain=known, public=public, **UNASKED)
    with pytest.raises(InputError, match="all public images are of forgotten targets"):
        session.forget(people / "concept_0", "first", public=people / "concept_0", **UNASKED)
    made = session.forget(people / "concept_0", "first", public=public, **UNASKED)
    assert (made["public_images"], made["retained_images"]) == (6, 0)
    assert made["method"]["states_drawn"] == 0  # the tiny method trains every layer


def test_the_command_asks_what_is_read_of_the_photos(
    checkpoint: Path, retained: Path, target: Path, public: Path, unsee: object, tmp_path: Path
) -> None:
    file, out = tmp_path / "moments.safetensors", tmp_path / "out"
    command = unsee
    assert callable(command)
    assert command("moments", "--model", checkpoint, "--retain", retained, "--out", file, "--ask", "Who is this?") == 0
    found = read(file, load(checkpoint))
    assert found.features.layout.basis is not None
    given = ("--model", checkpoint, "--target", target, "--moments", file, "--public", public, "--out", out)
    quick = ("--steps", 2, "--views", 1, "--composites", 0, "--ask", "never", "--keep-anyway")
    assert command("forget", *given, *quick) in (0, 1)
    plain = ("--model", checkpoint, "--retain", retained, "--out", file, "--overwrite", "--ask", "never")
    assert command("moments", *plain) == 0
    assert read(file, load(checkpoint)).features.layout.basis is None


def test_who_is_asked(vlm: Vlm, retained: Path) -> None:
    samples = data.load(retained)
    reader, unnamed = described(vlm, samples, 0, "Who is this?")
    assert isinstance(reader, Reader)
    assert reader.question == "Who is this?"
    assert isinstance(unnamed, str)
    assert described(vlm, samples, 0, "never") == (None, "")
    with pytest.raises(InputError, match="a question is empty"):
        described(vlm, samples, 0, " ")
