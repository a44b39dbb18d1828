"""`unsee forget`: what it writes, that a seed decides every bit of it, and that a killed run can go on."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from unsee.methods.nscvf import LOOK_EVERY

Run = Callable[..., int]
COMMAND = [sys.executable, "-m", "unsee.cli.main", "forget", "nscvf"]
LONG = 6 * LOOK_EVERY  # steps: long enough to be killed on the way


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model.safetensors", framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in list(stored.keys())}


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def asked(checkpoint: Path, target: Path, retained: Path) -> list[object]:
    """The arguments of a short request, but for --out."""
    few = ["--steps", 4, "--batch", 4, "--views", 1]
    return ["forget", "nscvf", "--model", checkpoint, "--target", target, "--retain", retained, *few]


def test_the_checkpoint_that_is_written(unsee: Run, asked: list[object], checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert unsee(*asked, "--out", out) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    before, after = tensors(checkpoint), tensors(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("vision_tower" in name or "multi_modal_projector" in name for name in changed)
    assert {path.name for path in out.iterdir()} == {path.name for path in checkpoint.iterdir()} | {"unsee.json"}
    for file in checkpoint.iterdir():
        if file.name != "model.safetensors":
            assert (out / file.name).read_bytes() == file.read_bytes()
    record = json.loads((out / "unsee.json").read_text())
    assert record["weights_after"] == {"model.safetensors": weights_hash(out)}
    assert record["method"]["name"] == "nscvf"
    AutoModelForImageTextToText.from_pretrained(out)
    AutoProcessor.from_pretrained(out)


def test_the_same_seed_gives_the_same_bytes(unsee: Run, asked: list[object], tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert unsee(*asked, "--out", tmp_path / name, "--seed", seed) == 0
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "b")
    assert weights_hash(tmp_path / "a") != weights_hash(tmp_path / "c")


def test_moments_stand_in_for_the_retained_images(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    moments, model = tmp_path / "moments.safetensors", ["--model", checkpoint]
    assert unsee("moments", *model, "--retain", retained, "--out", moments) == 0
    data = ["--target", target, "--moments", moments, "--out", tmp_path / "out"]
    assert unsee("forget", "nscvf", *model, *data, "--steps", 4, "--batch", 4, "--views", 0) == 0
    assert weights_hash(tmp_path / "out") != weights_hash(checkpoint)


def test_overwrite_replaces_the_whole_folder(unsee: Run, asked: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    assert unsee(*asked, "--out", out) == 2
    assert [path.name for path in out.iterdir()] == ["old.txt"]
    assert unsee(*asked, "--out", out, "--overwrite") == 0
    assert not (out / "old.txt").exists()
    assert (out / "model.safetensors").exists()


def test_a_killed_run_is_resumed_to_the_same_bytes(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    data = ["--model", checkpoint, "--target", target, "--retain", retained]
    never = ["--stop-target", 0, "--stop-drift", 0]
    asked = [str(arg) for arg in (*data, "--steps", LONG, "--batch", 2, "--views", 0, *never)]
    out, state = tmp_path / "out", tmp_path / ".out.unfinished" / "state.pt"
    killed = subprocess.Popen([*COMMAND, *asked, "--out", str(out)], stderr=subprocess.PIPE)
    try:
        while not state.exists():
            assert killed.poll() is None, killed.stderr and killed.stderr.read().decode()
            time.sleep(0.01)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    assert 0 < torch.load(state, weights_only=True)["step"] < LONG
    assert unsee("forget", "nscvf", *asked, "--out", out, "--resume") == 0
    assert unsee("forget", "nscvf", *asked, "--out", tmp_path / "whole") == 0
    assert weights_hash(out) == weights_hash(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_state_of_other_settings_is_refused_and_kept(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / ".out.unfinished" / "state.pt"
    state.parent.mkdir()
    torch.save({"key": "another", "step": 2, "weights": {}, "optimizer": {}, "looks": []}, state)
    assert unsee(*asked, "--out", tmp_path / "out", "--resume") == 2
    assert "other settings" in capsys.readouterr().err
    assert state.exists()
    assert not (tmp_path / "out").exists()
