"""Settings in files, records and the environment that would do something else than they say."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ground import Ground
from PIL import Image
from safetensors.torch import load_file, save_file

import unsee
from tiny_method import METHOD
from unsee.__main__ import run
from unsee.errors import InputError
from unsee.forgetting.edit import read_record
from unsee.methods import NSCVF
from unsee.records import Sample
from unsee.session import Session
from unsee.session.creation import create


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('question = "--overwrite"', "'question' to '--overwrite', which reads as an option"),
        ("log_file = true", "sets log_file to true, which is no switch"),
        ("device = true", "sets device to true, which is no switch"),
        ("seed = true", "sets seed to true, which is no switch"),
        ("[run.more]\nstepz = 1", "sets stepz, which is no option"),
        ("[a]\nseed = 1\n[b]\nseed = 2", "sets 'seed' twice, in two tables"),
    ],
)
def test_a_file_of_options_says_what_it_sets(text: str, says: str, ground: Ground, target: Path) -> None:
    file = ground.place / "options.toml"
    file.write_text(text, encoding="utf-8")
    ground.meets(says, *ground.forget(target), "--config", file)


@pytest.mark.parametrize("option", ["--log-file=", "--accelerate-config="])
def test_an_option_of_every_command_needs_its_value(option: str, ground: Ground, target: Path) -> None:
    ground.meets("write it behind the option", *ground.forget(target), option)


@pytest.mark.parametrize("device", ["hpu", "mkldnn", "privateuseone"])
def test_a_device_that_is_not_there_is_named(device: str, ground: Ground, target: Path) -> None:
    ground.meets(f"there is no device {device} here", *ground.forget(target), "--device", device)


def test_a_size_of_nothing_in_the_environment(ground: Ground, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "0")
    ground.meets("LOCAL_WORLD_SIZE is '0' in the environment", *ground.forget(target))


@pytest.mark.parametrize("content", ['{"benchmark": "pers', "[1]", "5"])
def test_a_comparison_that_is_damaged_is_named(content: str, ground: Ground) -> None:
    ground.out.mkdir()
    (ground.out / "bench.json").write_text(content, encoding="utf-8")
    ground.meets("bench.json is not as unsee bench writes it", "bench", "--methods", "nscvf", "--out", ground.out)


def test_questions_that_are_not_there_are_no_benchmark(ground: Ground) -> None:
    given = ("evaluate", "--model", ground.model, "--benchmark", ground.place / "none.jsonl", "--out", ground.out)
    ground.meets("there is no file", *given)


@pytest.mark.parametrize("command", ["evaluate", "attack"])
def test_the_edited_model_is_no_oracle(command: str, ground: Ground, target: Path) -> None:
    given = ("--model", ground.model, "--before", ground.model, "--oracle", ground.model, "--target", target)
    ground.meets("--oracle and --model are one checkpoint", command, *given, "--out", ground.out)


def test_one_name_is_not_right_and_to_be_forgotten(ground: Ground, target: Path, retained: Path) -> None:
    both = [replace(sample, concept="alice") for sample in unsee.data.samples_of(retained)]
    with pytest.raises(InputError, match="'alice' is the name of target photos and of retained ones"):
        unsee.forget(
            ground.model,
            target=[replace(sample, concept="alice") for sample in unsee.data.samples_of(target)],
            retain=both,
            method=METHOD,
            ask="Who is this?",
            answer_from_folder=True,
        )


@pytest.mark.parametrize("share", [float("nan"), float("inf"), -1.0, 1e30])
def test_no_edit_goes_where_nobody_knows_what_a_model_is(share: float, ground: Ground, target: Path) -> None:
    edit = unsee.forget(ground.model, target=target, retain=ground.retained, method=METHOD, ask="never")
    with pytest.raises(InputError, match="share is"):
        edit.scaled(share)


def test_weights_of_double_precision_are_edited(ground: Ground, target: Path) -> None:
    ground.copy()
    file, config = ground.model / "model.safetensors", ground.model / "config.json"
    save_file({name: value.double() for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "float64"}), encoding="utf-8")
    held = replace(METHOD, hold=10.0)
    edit = unsee.forget(ground.model, target=target, retain=ground.retained, method=held, ask="never")
    edit.save(ground.out)
    assert {value.dtype for value in load_file(ground.out / "model.safetensors").values()} == {torch.float64}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"batch": True}, "batch is True; expected a whole number"),
        ({"batch": 10**26}, "expected a whole number"),
        ({"steps": 1 << 40}, "expected a whole number"),
    ],
)
def test_counts_that_are_none(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        NSCVF(**given)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_no_text_is_a_path_that_can_be_none(path: str, ground: Ground) -> None:
    with pytest.raises(InputError, match="is no path"):
        unsee.forget(ground.model, target=path, retain=ground.retained, method=METHOD)


def test_a_session_takes_paths_as_texts_and_names_other_kinds(ground: Ground, target: Path) -> None:
    secret, folder = ground.place / "secret", ground.place / "session"
    secret.write_bytes(bytes(range(32)))
    create(str(folder), ground.model, ground.retained, method=METHOD, ask="never", secret_file=str(secret))
    session = Session(str(folder), secret_file=str(secret))
    for given, says in (
        ({"identifier": 5}, "the id is 5; expected up to 64 letters"),
        ({"identifier": "r1", "reason": 5}, "reason is 5; expected a text"),
        ({"identifier": "r1", "key": 5}, "the key is 5; expected the file of a private key"),
    ):
        with pytest.raises(InputError, match=says):
            session.forget(target, **given)
    with pytest.raises(InputError, match="guard is None; expected a number"):
        create(ground.place / "other", ground.model, ground.retained, method=METHOD, guard=None)  # type: ignore[arg-type]


def test_an_accent_may_be_written_in_two_ways() -> None:
    photo = Image.new("RGB", (8, 8))
    assert Sample(photo, "Rene\u0301").concept == Sample(photo, "Ren\u00e9").concept == "Ren\u00e9"


def test_a_record_of_an_older_version_is_checked_too(ground: Ground, target: Path) -> None:
    edit = unsee.forget(ground.model, target=target, retain=ground.retained, method=METHOD, ask="never")
    made = ground.place / "made"
    edit.save(made)
    record = json.loads((made / "unsee.json").read_text(encoding="utf-8"))
    record["visual_before"] = record.pop("weights_before")
    record["request"]["salt"] = 5
    (made / "unsee.json").write_text(json.dumps(record), encoding="utf-8")
    given = ("--model", made, "--before", ground.model, "--target", target, "--out", ground.out)
    ground.meets("unsee.json was changed: request/salt is wrong", "evaluate", *given)


def test_python_without_docstrings_is_refused() -> None:
    """transformers reads its own."""
    asked = {**os.environ, "PYTHONOPTIMIZE": "2"}
    ended = subprocess.run(
        [sys.executable, "-m", "unsee", "ls"], env=asked, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert ended.stderr.startswith("unsee: Python runs with -OO")
    assert len(ended.stderr.splitlines()) == 1


def test_a_record_without_end_is_not_read(ground: Ground, target: Path) -> None:
    made = ground.copy()
    with (made / "unsee.json").open("wb") as file:
        file.truncate((64 << 20) + 1)  # takes no room on most disks
    given = ("--model", made, "--before", made, "--target", target, "--out", ground.out)
    with pytest.raises(InputError, match=r"unsee\.json has 67,108,865 bytes; expected at most"):
        read_record(made)
    ground.meets("expected at most 67,108,864", "evaluate", *given)


def test_an_interrupt_while_the_program_is_loaded_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "unsee.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "unsee.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "unsee: interrupted\n"
