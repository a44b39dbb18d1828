"""`unsee inspect`: what it prints is what the model is, and it opens no weight."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from unsee.api import forget
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm
from unsee.records import Sample
from unsee.testing import images

Run = Callable[..., int]


def test_json_describes_the_model(
    unsee: Run, checkpoint: Path, vlm: Vlm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr("unsee.models.checkpoint.safe_open", refuse)
    assert unsee("inspect", "--model", checkpoint, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    sizes = {name: p.numel() for name, p in vlm.model.named_parameters()}
    assert facts["family"] == "llava"
    assert facts["visual_parameters"] == sum(sizes[name] for name in vlm.partition.visual)
    assert facts["protected_parameters"] == sum(sizes[name] for name in vlm.partition.protected)
    assert facts["trained_parameters"] == sum(sizes[f"{name}.weight"] for name in facts["trained_layers"])
    assert 0 < facts["trained_parameters"] <= facts["visual_parameters"]
    assert facts["groups"] == vlm.partition.groups
    assert sum(facts["groups"].values()) == facts["visual_parameters"]
    assert facts["crossings"] == [{"name": "projector", "tokens": 36, "width": 32}]
    assert facts["stored_as"] == ["F32"]
    assert (facts["files"], facts["files_with_visual_tensors"]) == (1, 1)
    assert isinstance(facts["quirks"], list)
    assert all(len(names) == 3 for names in facts["shared_inputs"])


def test_it_names_what_the_default_method_trains(
    unsee: Run, checkpoint: Path, vlm: Vlm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unsee("inspect", "--model", checkpoint, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    target = [Sample(image, "target") for image in images(2, seed=1)]
    retained = [Sample(image, f"other {number % 2}") for number, image in enumerate(images(8, seed=2))]
    edit = forget(vlm, target, retained, method=NSCVF(steps=1, batch=2, views=0, composites=0), ask="never")
    assert {f"{name}.weight" for name in facts["trained_layers"]} == set(edit.weights)


def test_the_table_says_the_same(unsee: Run, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unsee("inspect", "--model", checkpoint, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert unsee("inspect", "--model", checkpoint) == 0
    said = capsys.readouterr().out
    for name in ("visual_parameters", "protected_parameters", "trained_parameters"):
        assert f"{facts[name]:,}" in said
    for name in (*facts["groups"], "projector"):
        assert name in said
    assert all(f"note: {quirk}" in said for quirk in facts["quirks"])


def test_a_damaged_file_is_named(
    unsee: Run, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -1 if file.suffix == ".safetensors" else None])
    assert unsee("inspect", "--model", tmp_path) == 2
    assert "model.safetensors is truncated" in capsys.readouterr().err


def test_a_model_that_cannot_be_asked_is_said_before_the_work(
    unsee: Run, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / "chat_template.jinja").write_text("{{ raise_exception('photos are not for sale') }}", encoding="utf-8")
    for model, asked in ((checkpoint, True), (copy, False)):
        assert unsee("inspect", "--model", model, "--json") == 0
        quirks = json.loads(capsys.readouterr().out)["quirks"]
        assert any("cannot be asked" in quirk for quirk in quirks) != asked
    assert any("photos are not for sale" in quirk for quirk in quirks)
