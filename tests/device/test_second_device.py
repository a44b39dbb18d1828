"""Everything that computes does so on another device than the CPU, and comes to the same."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import unsee as package
from second_device import REAL, SAME, second_device, worst
from tiny_method import METHOD, TYPED
from unsee.errors import InputError
from unsee.forgetting.edit import Edit
from unsee.methods import METHODS
from unsee.models.checkpoint import load
from unsee.models.shards import shards
from unsee.moments.file import read
from unsee.testing import tiny_checkpoint

Run = Callable[..., int]

SHORT = {"steps": 3, "batch": 4, "views": 6, "composites": 4, "sweeps": 2}


@pytest.fixture
def away() -> Iterator[str]:
    """The name of a device that holds no tensor of the CPU."""
    with second_device() as name:
        yield name


def forgotten(name: str, checkpoint: Path, target: Path, retained: Path, device: str) -> Edit:
    kind = METHODS[name]
    settings = {field: value for field, value in SHORT.items() if field in kind.__dataclass_fields__}
    return package.forget(checkpoint, target, retained, method=kind(**settings), device=device)


@pytest.mark.skipif(bool(REAL), reason="a real device says it in words of its own")
def test_a_tensor_that_was_left_behind_is_noticed(away: str, checkpoint: Path) -> None:
    """Else nothing here would say anything."""
    model = load(checkpoint, device=away).model
    with pytest.raises(RuntimeError, match="expected all tensors on away"):
        model.base_model.get_image_features(pixel_values=torch.zeros(1, 3, 72, 72))


@pytest.mark.parametrize("name", ["nscvf", "closed_form", "rmu", "manu", "mmunlearner", "siu", "fisher", "dpo"])
def test_each_method_makes_the_same_edit(name: str, checkpoint: Path, target: Path, retained: Path) -> None:
    here = forgotten(name, checkpoint, target, retained, "cpu")
    with second_device() as device:
        there = forgotten(name, checkpoint, target, retained, device)
        assert there.vlm.device.type == device
        assert worst(here.weights, there.weights) < SAME
        assert [reply.after for reply in here.replies] == [reply.after for reply in there.replies]


@pytest.mark.parametrize("setting", ["harden", "resist", "depths"])
def test_so_do_the_protections(setting: str, checkpoint: Path, target: Path, retained: Path) -> None:
    method = METHODS["nscvf"](steps=2, batch=4, views=6, composites=4, share=1.0, **{setting: 1.0})
    here = package.forget(checkpoint, target, retained, method=method, ask="never", device="cpu")
    with second_device() as device:
        there = package.forget(checkpoint, target, retained, method=method, ask="never", device=device)
        assert worst(here.weights, there.weights) < SAME


@pytest.mark.parametrize("runs", [1, "read"])
def test_a_model_stored_in_float16_is_asked_there(
    runs: object, away: str, target: Path, retained: Path, tmp_path: Path
) -> None:
    """It is asked in float16, and its features are moved in float32."""
    folder = tiny_checkpoint(tmp_path / "model")
    for file in shards(folder):
        save_file({name: value.half() for name, value in load_file(file).items()}, file, {"format": "pt"})
    edit = package.forget(folder, target, retained, method=replace(METHOD, runs=runs), device=away)
    assert edit.replies
    assert all(torch.isfinite(value).all() for value in edit.weights.values())


def test_moments_evaluation_and_attacks_do(
    away: str, unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    model, on = ("--model", checkpoint), ("--device", away)
    out = tmp_path / "out"
    made = ("--target", target, "--retain", retained, *TYPED, "--keep-anyway")
    assert unsee("forget", *model, *made, "--out", out, *on) in (0, 1)
    scored: list[list[float]] = []
    for place in (away, "cpu"):
        file, scores, attacked = (tmp_path / f"{name}_{place}" for name in ("moments", "scores", "attacked"))
        assert unsee("moments", *model, "--retain", retained, "--out", file, "--device", place) == 0
        asked = ("--model", out, "--before", checkpoint, "--target", target, "--retain", retained)
        asked = (*asked, "--answer-from-folder", "--device", place)
        assert unsee("evaluate", *asked, "--out", scores) == 0
        names = "relearn,projector_reload,quantize,perturb,adversarial,membership"
        assert unsee("attack", *asked, "--attacks", names, "--out", attacked) == 0
        results = [json.loads((folder / "result.json").read_text()) for folder in (scores, attacked)]
        scored.append([score["value"] for result in results for score in result["scores"]])
    assert scored[0] == pytest.approx(scored[1], abs=1e-3)
    vlm = load(checkpoint, device="cpu")
    one, other = (read(tmp_path / f"moments_{place}", vlm) for place in (away, "cpu"))
    for name, gram in one.grams.items():
        apart = 1e-5 * (float(gram.outer.abs().max()) if REAL else 1.0)  # a GPU sums in another order
        assert torch.allclose(gram.outer, other.grams[name].outer, rtol=1e-5, atol=apart)


def test_a_session_does(away: str, unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path) -> None:
    folder, on = tmp_path / "session", ("--device", away)
    assert unsee("session", "init", folder, "--model", checkpoint, "--retain", retained, *TYPED, *on) == 0
    given = ("--target", target, "--id", "one", "--keep-anyway", *on)
    assert unsee("session", "forget", folder, *given) in (0, 1)
    assert unsee("session", "verify", folder, *on) == 0
    assert unsee("session", "capacity", folder, *on) == 0
    assert unsee("session", "export", folder, "--out", tmp_path / "out", *on) == 0


@pytest.mark.parametrize(("optimizer", "apart"), [("adamw", SAME), ("muon", 3 * SAME)])
def test_a_run_that_was_killed_goes_on_elsewhere(
    optimizer: str, apart: float, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    """What is kept of a run is on the CPU, whatever it ran on. Muon makes more of rounding in weak directions."""
    state, method = tmp_path / "state.pt", replace(METHOD, steps=30, stop_target=0.0, optimizer=optimizer)

    def stop(step: int, *_: object) -> None:
        if step == method.steps:  # after the first look, whose state is kept
            raise KeyboardInterrupt

    given = {"method": method, "ask": "never", "state": state}
    with second_device() as device, pytest.raises(KeyboardInterrupt):
        package.forget(checkpoint, target, retained, **given, device=device, progress=stop)
    kept = torch.load(state, weights_only=True)
    assert all(value.device.type == "cpu" for value in kept["weights"].values())
    whole = package.forget(checkpoint, target, retained, method=method, ask="never", device="cpu")
    assert worst(whole.weights, package.forget(checkpoint, target, retained, **given, device="cpu").weights) < apart


@pytest.mark.parametrize("name", ["cuda:7", "nowhere", "meta"])
def test_a_device_that_is_not_there_is_named(
    name: str, unsee: Run, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unsee("inspect", "--model", checkpoint, "--device", name) == 2
    said = capsys.readouterr().err
    assert name in said
    assert "cpu" in said
    with pytest.raises(InputError, match=name):
        package.load(checkpoint, device=name)


def test_precision_and_device_hold_for_one_command(
    unsee: Run, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("inspect", "--model", checkpoint, "--json")
    assert unsee(*given, "--precision", "bfloat16", "--device=cpu") == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "bfloat16"
    assert unsee(*given, "--device=cpu") == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "float32"
    assert unsee(*given, "--precision", "float8") == 2
    assert unsee(*given, "--device") == 2


@pytest.mark.parametrize(("optimizer", "alike"), [("adamw", 0.8), ("muon", 0.7)])
def test_bfloat16_comes_near_float32(
    optimizer: str, alike: float, checkpoint: Path, target: Path, retained: Path
) -> None:
    """Features differ by the rounding of bfloat16, and an edit goes the same way."""
    method = replace(METHOD, optimizer=optimizer)
    edits = [
        package.forget(checkpoint, target, retained, method=method, ask="never", precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    start = dict(edits[0].vlm.model.named_parameters())
    for name in edits[0].weights:
        one, other = (edit.weights[name].float() - start[name].cpu().float() for edit in edits)
        if one.norm() > 0:
            assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > alike


def test_a_device_for_a_model_that_is_opened_is_refused(checkpoint: Path, target: Path, retained: Path) -> None:
    with pytest.raises(InputError, match=r"unsee\.load"):
        package.forget(load(checkpoint), target, retained, device="cpu")
