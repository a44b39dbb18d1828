"""`unsee forget`: what it writes, that a seed decides every bit of it, and that a killed run can go on."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor
from written import file_hash, weights_hash

from tiny_method import TYPED
from unsee.forgetting.training import LOOK_EVERY
from unsee.methods.nscvf import PRESETS
from unsee.models.checkpoint import load

Run = Callable[..., int]
COMMAND = [sys.executable, "-m", "unsee.cli.main", "forget", "nscvf"]
LONG = 6 * LOOK_EVERY  # steps: long enough to be killed on the way


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model.safetensors", framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in list(stored.keys())}


@pytest.mark.parametrize("method", ["closed_form", "streaming"])
def test_other_methods_as_they_are_typed(
    method: str,
    unsee: Run,
    checkpoint: Path,
    target: Path,
    retained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = {"closed_form": ["--sweeps", 1, "--views", 0, "--retain", retained], "streaming": TYPED}[method]
    out = tmp_path / "out"
    assert unsee("forget", method, "--model", checkpoint, "--target", target, "--out", out, *few, "--ask", "never") == 0
    assert "rounding as stored lost" in capsys.readouterr().out
    assert json.loads((out / "unsee.json").read_text())["method"]["name"] == method


@pytest.mark.parametrize(("scope", "ends"), [("language", True), ("projector", False)])
def test_a_scope_as_it_is_typed(
    scope: str,
    ends: bool,
    unsee: Run,
    checkpoint: Path,
    target: Path,
    retained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What changes the language model says so, and what does not is checked."""
    given = ["--model", checkpoint, "--target", target, "--retain", retained, "--out", tmp_path / "out"]
    assert unsee("forget", "npo", *given, "--steps", 1, "--tokens", 2, "--scope", scope, "--ask", "never") == 0
    said = capsys.readouterr().out
    assert ("tensors of the language model may have changed" in said) == ends
    assert ("passed: language_model_unchanged" in said) != ends


def test_a_preset_is_its_settings_but_for_those_that_are_given(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model", checkpoint, "--target", target, "--retain", retained, "--ask", "never"]
    few = ["--preset", "resistant", "--steps", 2, "--views", 1, "--composites", 0]
    assert unsee("forget", *given, *few, "--out", tmp_path / "out", "--keep-anyway") in (0, 1)
    used = json.loads((tmp_path / "out" / "unsee.json").read_text())["method"]
    assert (used["steps"], used["distill"]) == (2, PRESETS["resistant"]["distill"])
    assert unsee("forget", "npo", *given, "--preset", "resistant", "--out", tmp_path / "other") == 2
    assert "--preset resistant is of nscvf" in capsys.readouterr().err


def test_an_unknown_scope_is_refused(
    unsee: Run, checkpoint: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model", checkpoint, "--target", target, "--out", tmp_path / "out"]
    for method, scope in (("npo", "words"), ("manu", "projector"), ("rmu", "all")):
        assert unsee("forget", method, *given, "--scope", scope) == 2
        assert "scope" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_checkpoint_that_is_written(unsee: Run, asked: list[object], checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert unsee(*asked, "--out", out) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    before, after = tensors(checkpoint), tensors(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("vision_tower" in name or "multi_modal_projector" in name for name in changed)
    written = {"unsee.json", "result.json", "report.html"}
    assert {path.name for path in out.iterdir()} == {path.name for path in checkpoint.iterdir()} | written
    for file in checkpoint.iterdir():
        if file.name != "model.safetensors":
            assert (out / file.name).read_bytes() == file.read_bytes()
    record = json.loads((out / "unsee.json").read_text())
    assert record["files_before"] == {path.name: file_hash(path) for path in checkpoint.iterdir()}
    assert record["files_after"] == {name: file_hash(out / name) for name in record["files_before"]}
    changed_files = {name for name, value in record["files_after"].items() if value != record["files_before"][name]}
    assert changed_files == {"model.safetensors"}
    assert record["method"]["name"] == "nscvf"
    AutoModelForImageTextToText.from_pretrained(out)
    AutoProcessor.from_pretrained(out)


@pytest.fixture(scope="module")
def sharded(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint in several files; to be read only."""
    folder = tmp_path_factory.mktemp("sharded") / "model"
    opened = load(checkpoint, language=True)
    opened.model.save_pretrained(folder, max_shard_size="40KB")
    opened.processor.save_pretrained(folder)
    return folder


def test_unchanged_shards_are_copied_or_linked_as_asked(
    unsee: Run, asked: list[object], sharded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked[asked.index("--model") + 1] = sharded
    linked, copied = tmp_path / "linked", tmp_path / "copied"
    assert unsee(*asked, "--out", linked, "--link") == 0
    files = sorted(sharded.glob("*.safetensors"))
    same = [file for file in files if (linked / file.name).samefile(file)]
    assert 0 < len(same) < len(files)
    said = capsys.readouterr().out
    assert f"{len(files) - len(same)} of {len(files)} weight files written, {len(same)} linked" in said
    assert "passed: language_model_unchanged" in said
    assert unsee(*asked, "--out", copied) == 0
    assert "0 linked" in capsys.readouterr().out
    for file in files:
        assert not (copied / file.name).samefile(file)
        assert (copied / file.name).read_bytes() == (linked / file.name).read_bytes()
        assert ((linked / file.name).read_bytes() == file.read_bytes()) == (file in same)
    records = [json.loads((out / "unsee.json").read_text()) for out in (linked, copied)]
    assert records[0]["files_after"] == records[1]["files_after"]
    assert records[0]["files_before"] == {path.name: file_hash(path) for path in sharded.iterdir()}


def test_a_copy_can_be_forgotten_in_again_without_touching_its_source(
    unsee: Run, asked: list[object], sharded: Path, tmp_path: Path
) -> None:
    """Links of links, and an overwritten output, write through to no file before them."""
    asked.append("--link")
    at = asked.index("--model") + 1
    asked[at] = sharded
    before = {path.name: file_hash(path) for path in sharded.iterdir()}
    one, two = tmp_path / "one", tmp_path / "two"
    assert unsee(*asked, "--out", one) == 0
    first = {path.name: file_hash(path) for path in one.iterdir()}
    asked[at] = one
    assert unsee(*asked, "--out", two) == 0
    assert unsee(*asked, "--out", two, "--overwrite", "--seed", 1) == 0
    assert {path.name: file_hash(path) for path in one.iterdir()} == first
    assert {path.name: file_hash(path) for path in sharded.iterdir()} == before


@pytest.mark.parametrize("command", ["forget", "moments"])
def test_low_memory_writes_what_normal_writes_and_nothing_else(
    command: str, unsee: Run, asked: list[object], checkpoint: Path, retained: Path, tmp_path: Path
) -> None:
    if command == "moments":
        asked = ["moments", "--model", checkpoint, "--retain", retained]
    for memory in ("normal", "low"):
        assert unsee(*asked, "--out", tmp_path / memory, "--memory", memory) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["low", "normal"]
    if command == "forget":
        assert json.loads((tmp_path / "low" / "unsee.json").read_text())["method"]["memory"] == "low"
        before, after = tensors(tmp_path / "normal"), tensors(tmp_path / "low")
        assert any(not torch.equal(after[name], value) for name, value in tensors(checkpoint).items())
        for name, value in before.items():
            assert (after[name] - value).norm() <= 0.05 * value.norm() + 1e-6


@pytest.mark.parametrize("link", [False, True])
def test_a_disk_that_is_full_keeps_the_training_alone(
    link: bool, unsee: Run, asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    real, copied = shutil.copyfile, list[Path]()

    def full(source: Path, place: Path) -> None:
        if copied:
            real(source, place)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
        copied.append(place)
        real(source, place)

    monkeypatch.setattr("unsee.system.disk.shutil.copyfile", full)
    assert unsee(*asked, "--out", tmp_path / "out", *(["--link"] if link else [])) == 2
    said = capsys.readouterr().err
    assert "out could not be written (No space left on device); nothing was left there." in said
    assert "Traceback" not in said
    assert "What was trained is kept: run again with --resume." in said
    assert copied
    assert [path.name for path in tmp_path.rglob("*")] == [".out.unfinished", "state.pt"]


@pytest.mark.parametrize("call", ["fsync", "mkdir"])
def test_a_disk_that_refuses_a_call_leaves_nothing(
    call: str, unsee: Run, asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    assert unsee(*asked, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_beside_which_nothing_may_be_written_is_refused(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "closed"
    place.mkdir(mode=0o555)
    assert unsee(*asked, "--out", place / "out") == 2
    said = capsys.readouterr().err
    assert str(place) in said
    assert "Traceback" not in said
    assert not list(place.iterdir())


def test_the_same_seed_gives_the_same_bytes(unsee: Run, asked: list[object], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 0)):
        assert unsee(*asked, "--out", tmp_path / name, "--seed", seed) == 0
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "b")
    assert weights_hash(tmp_path / "a") != weights_hash(tmp_path / "c")


def test_moments_stand_in_for_the_retained_images(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    moments, model = tmp_path / "moments.safetensors", ["--model", checkpoint]
    assert unsee("moments", *model, "--retain", retained, "--all-layers", "--out", moments) == 0
    data = ["--target", target, "--moments", moments, "--out", tmp_path / "out"]
    further = [0.2 if before == "--rate" else value for before, value in pairwise(["", *TYPED])]
    assert unsee("forget", "nscvf", *model, *data, *further, "--ask", "never") == 0
    assert weights_hash(tmp_path / "out") != weights_hash(checkpoint)


def test_overwrite_replaces_the_whole_folder(unsee: Run, asked: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    for more in ((), ("--overwrite",)):
        assert unsee(*asked, "--out", out, *more) == 2
        assert [path.name for path in out.iterdir()] == ["old.txt"]
    (out / "unsee.json").write_text('{"unsee": "0.1.0"}')
    assert unsee(*asked, "--out", out, "--overwrite") == 0
    assert not (out / "old.txt").exists()
    assert (out / "model.safetensors").exists()


def test_a_killed_run_is_resumed_to_the_same_bytes(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    data = ["--model", checkpoint, "--target", target, "--retain", retained]
    never = ["--stop-target", 0, "--stop-drift", 0, "--ask", "never"]
    asked = [str(arg) for arg in (*data, *TYPED, "--steps", LONG, "--batch", 2, "--views", 0, *never)]
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
    assert 0 < torch.load(state, weights_only=True)["numbers"][0] < LONG
    assert unsee("forget", "nscvf", *asked, "--out", out, "--resume") == 0
    assert unsee("forget", "nscvf", *asked, "--out", tmp_path / "whole") == 0
    assert weights_hash(out) == weights_hash(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_state_of_other_settings_is_refused_and_kept(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / ".out.unfinished" / "state.pt"
    state.parent.mkdir()
    torch.save({"key": "another", "step": 2, "weights": {}, "optimizers": {}, "looks": []}, state)
    assert unsee(*asked, "--out", tmp_path / "out", "--resume") == 2
    assert "other settings" in capsys.readouterr().err
    assert state.exists()
    assert not (tmp_path / "out").exists()


def test_a_damaged_state_is_refused_by_name(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / ".out.unfinished" / "state.pt"
    state.parent.mkdir()
    state.write_bytes(b"broken")
    assert unsee(*asked, "--out", tmp_path / "out", "--resume") == 2
    assert "state.pt" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["state_0.pt", "state_again.pt", "state_again_1.pt"])
def test_the_state_of_a_part_of_a_run_is_kept_as_a_whole_one_is(
    name: str, unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of layers that take turns, and of a second attempt."""
    state = tmp_path / ".out.unfinished" / name
    state.parent.mkdir()
    state.write_bytes(b"one of several")
    assert unsee(*asked, "--out", tmp_path / "out") == 2
    assert "was cut off and can go on: add --resume" in capsys.readouterr().err
    asked[asked.index("--model") + 1] = tmp_path / "none"
    assert unsee(*asked, "--out", tmp_path / "out", "--resume") == 2
    assert state.read_bytes() == b"one of several"


def test_an_output_on_the_model_itself_is_refused(
    unsee: Run, asked: list[object], checkpoint: Path, tmp_path: Path
) -> None:
    """The model before would be lost, and nothing could be compared with it."""
    model = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    asked[asked.index("--model") + 1] = model
    assert unsee(*asked, "--out", model, "--overwrite") == 2
    assert weights_hash(model) == weights_hash(checkpoint)


def test_the_record_of_a_second_request_holds_hashes_of_the_files_there(
    unsee: Run, asked: list[object], tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert unsee(*asked, "--out", one) == 0
    asked[asked.index("--model") + 1] = one
    assert unsee(*asked, "--out", two) == 0
    record = json.loads((two / "unsee.json").read_text())
    assert record["files_before"]["unsee.json"] == file_hash(one / "unsee.json")
    assert all(digest == file_hash(two / name) for name, digest in record["files_after"].items())
