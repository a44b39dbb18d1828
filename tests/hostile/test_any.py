"""Whatever a name, a text, or the rest of a file is: read, or refused in a sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ground import STEERING
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unsee import data
from unsee.errors import InputError
from unsee.models.checkpoint import load
from unsee.moments.file import read
from unsee.system.terminal import as_text, is_text, one_line, printable, printable_json
from unsee.testing import images

Run = Callable[..., int]
FEW = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BYTES = st.binary(min_size=1, max_size=200).map(lambda name: name.replace(b"/", b"-").replace(b"\0", b"-"))


@given(st.text() | st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_no_text_steers_a_terminal(text: str) -> None:
    assert not STEERING.search(printable(text))
    assert "\n" not in one_line(text)
    assert is_text(one_line(text))
    found = printable_json(json.dumps({"text": text}, ensure_ascii=False, indent=1))
    assert not STEERING.search(found)
    assert json.loads(found) == json.loads(json.dumps({"text": text}))


@given(BYTES)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_any_name_can_be_written(name: bytes) -> None:
    assert is_text(as_text(name.decode("utf-8", "surrogateescape")))
    assert as_text("Zoë 🧑") == "Zoë 🧑"


@given(BYTES.filter(lambda name: name.strip(b".") and not name.startswith(b".")), st.booleans())
@FEW
def test_a_photo_of_any_name_is_read_or_named(tmp_path: Path, name: bytes, whole: bool) -> None:
    folder = tmp_path / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    place = folder / name.decode("utf-8", "surrogateescape") / name.decode("utf-8", "surrogateescape")
    place.parent.mkdir(parents=True)
    if whole:
        images(1)[0].save(place, "PNG")
    else:
        place.write_bytes(b"nothing")
    told = ""
    try:
        samples = data.load(folder)
        assert data.validate(samples, "target")
        assert all(is_text(sample.concept) for sample in samples)
    except InputError as refusal:
        told = str(refusal)
    assert not STEERING.search(one_line(told))
    assert not whole or not told or "holds no image" in told  # of clutter, as Thumbs.db


@given(st.data())
@FEW
def test_weights_cut_off_anywhere_are_refused(checkpoint: Path, tmp_path: Path, draw: st.DataObject) -> None:
    model = tmp_path / "model"
    if not model.exists():
        shutil.copytree(checkpoint, model)
    whole = (checkpoint / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[: draw.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load(model)


@given(st.data())
@FEW
def test_moments_cut_off_anywhere_are_refused(begun: Path, vlm, tmp_path: Path, draw: st.DataObject) -> None:
    whole = (begun / "state.safetensors").read_bytes()
    file = tmp_path / "m.safetensors"
    file.write_bytes(whole[: draw.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError, match=r"m\.safetensors"):
        read(file, vlm)


@given(st.data())
@FEW
def test_a_session_cut_off_anywhere_is_found(
    once: Path, tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str], draw: st.DataObject
) -> None:
    names = sorted(path.relative_to(once) for path in once.rglob("*") if path.is_file() and path.stat().st_size)
    name = draw.draw(st.sampled_from(names))
    whole = (once / name).read_bytes()
    session = tmp_path / "s"
    shutil.rmtree(session, ignore_errors=True)
    shutil.copytree(once, session)
    (session / name).write_bytes(whole[: draw.draw(st.integers(0, len(whole) - 1))])
    assert unsee("session", "verify", session) in (1, 2)
    assert unsee("session", "log", session) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err
