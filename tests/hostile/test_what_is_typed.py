"""What is typed, or given in Python, and means nothing: it is said before any work, and in one sentence."""

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ground import Ground
from PIL import Image

import unsee
from tiny_method import METHOD
from unsee.attacks import ATTACKS
from unsee.data import samples_of
from unsee.errors import InputError
from unsee.experiments import attacking
from unsee.methods import NSCVF
from unsee.records import Sample
from unsee.testing import images

Run = Callable[..., int]


def test_a_photo_is_not_asked_about_as_target_and_as_retained(ground: Ground, target: Path) -> None:
    given = ("--model", ground.model, "--before", ground.model, "--target", target, "--retain", target)
    for command in ("evaluate", "attack"):
        ground.meets("show the same picture", command, *given, "--out", ground.out)
    with pytest.raises(InputError, match="show the same picture"):
        unsee.evaluate(ground.model, before=ground.model, target=target, retain=target)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--bugs", "all"), "--bugs says nothing without --benchmark NAME"),
        (("--protocol", "official"), "--protocol says nothing without --benchmark NAME"),
        (("--data", "somewhere"), "--data says nothing without --benchmark NAME"),
        (("--lmms-limit", "3"), "--lmms-limit says nothing without --lmms-eval TASKS"),
    ],
)
def test_an_option_without_what_it_belongs_to_is_refused(
    options: tuple[str, str], says: str, ground: Ground, target: Path
) -> None:
    given = ("--model", ground.model, "--before", ground.model, "--target", target, "--out", ground.out)
    ground.meets(says, "evaluate", *given, *options)


def test_a_question_about_no_photo_is_refused(ground: Ground) -> None:
    given = ("--model", ground.model, "--benchmark", "personas", "--question", "Who?", "--out", ground.out)
    ground.meets("--question says nothing without photos", "evaluate", *given)


@pytest.mark.parametrize("name", ["o" * 250, "o" * 4000])
def test_a_name_too_long_is_said_before_the_work(name: str, ground: Ground, target: Path) -> None:
    ground.out = ground.place / name
    ground.meets("is longer than a name may be here", *ground.forget(target))


def test_nothing_is_written_to_the_hub(ground: Ground, target: Path) -> None:
    ground.out = Path("hf://somebody/something")
    ground.meets("is a name of the hub, where nothing is written", *ground.forget(target))


def test_an_attack_named_twice_is_made_once(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    made = list[Any]()
    monkeypatch.setattr(attacking, "load", lambda place, **_: type("Opened", (), {"folder": place})())
    monkeypatch.setattr(attacking.recovery, "subject", lambda *_, **__: None)

    def stopped(_: object, attacks: list[Any], __: str) -> None:
        made.extend(attacks)
        raise InterruptedError

    monkeypatch.setattr(attacking.recovery, "attack", stopped)
    name = next(iter(ATTACKS))
    with pytest.raises(InterruptedError):
        attacking.attacked(checkpoint, None, checkpoint, None, [name, name], photos=1, seed=0, trust_remote_code=False)  # type: ignore[arg-type] # a benchmark that nobody asks
    assert made == [ATTACKS[name]]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"memory": 3}, "memory is 3; expected normal or low"),
        ({"seed": -1}, "seed is -1; expected a whole number from 0 to 4294967295"),
        ({"seed": 1 << 32}, "expected a whole number from 0 to 4294967295"),
        ({"seed": 1.5}, "seed is 1.5; expected a whole number"),
        ({"ask": [3]}, "ask is 3; expected auto, never, a question or several"),
        ({"target": [Sample(3, "a")]}, "image of a sample is 3; expected a pathlib.Path"),  # type: ignore[arg-type]
        ({"target": [Sample("a.png", "a")]}, "image of a sample is 'a.png'"),  # type: ignore[arg-type]
        ({"target": [Sample(Image.new("RGB", (8, 8)), 3)]}, "concept of a sample is 3"),  # type: ignore[arg-type]
    ],
)
def test_values_of_other_kinds_are_refused_in_python(
    given: dict[str, Any], says: str, checkpoint: Path, target: Path, retained: Path
) -> None:
    usual: dict[str, Any] = {"target": target, "retain": retained, "method": METHOD}
    with pytest.raises(InputError, match=says):
        unsee.forget(checkpoint, **(usual | given))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("batch", 2.5, "batch is 2.5; expected a whole number"),
        ("steps", 1.5, "steps is 1.5; expected a whole number"),
        ("runs", 0.5, "runs is 0.5; expected a whole number"),
        ("views", 9.5, "views is 9.5; expected a whole number"),
    ],
)
def test_counts_are_whole(name: str, value: float, says: str) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(InputError, match=says):
        NSCVF(**given)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "additional_chat_templates/other.jinja"])
def test_a_brief_file_that_is_long_is_not_read(file: str, ground: Ground, target: Path) -> None:
    place = ground.copy() / file
    place.parent.mkdir(exist_ok=True)
    with place.open("a") as opened:
        opened.truncate(9 << 20)
    ground.meets("expected at most 8,388,608", *ground.forget(target))


def test_templates_that_are_no_texts_are_refused(ground: Ground, target: Path) -> None:
    folder = ground.copy() / "additional_chat_templates"
    folder.mkdir()
    os.mkfifo(folder / "other.jinja")
    ground.meets("is no file", *ground.forget(target))
    (folder / "other.jinja").unlink()
    (ground.model / "chat_template.jinja").write_text("{{ messages }}\0")
    ground.meets("holds a zero byte", *ground.forget(target))


def test_no_table_of_a_hundred_million_labels_is_made(ground: Ground, target: Path) -> None:
    file = ground.copy() / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_labels": 100_000_000}))
    ground.meets("100000000 as num_labels; expected 0 to 1,000,000", *ground.forget(target))


@pytest.mark.parametrize("where", ["elsewhere", "pipe", "gone"])
def test_a_saved_dataset_reads_nothing_but_its_own_files(where: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "saved"
    datasets.Dataset.from_dict({"concept": ["a", "b"]}).save_to_disk(folder)
    names = {"elsewhere": "../other.arrow", "pipe": "pipe.arrow", "gone": "gone.arrow"}
    (tmp_path / "other.arrow").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    os.mkfifo(folder / "pipe.arrow")
    state = json.loads((folder / "state.json").read_text())
    state["_data_files"][0]["filename"] = names[where]
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=r"state.json names .* which is no file in this folder"):
        samples_of(folder)


def test_a_shard_that_is_cut_between_two_files_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "photos.tar"
    with tarfile.open(file, "w") as tar:
        for number, image in enumerate(images(3)):
            image.save(tmp_path / f"{number}.png")
            tar.add(tmp_path / f"{number}.png", f"{number}.png")
    assert len(samples_of(file)) == 3
    with tarfile.open(file) as tar:
        cut = tar.getmembers()[2].offset
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InputError, match="its end is missing"):
        samples_of(file)


def test_a_photo_that_becomes_another_while_the_work_runs_is_said(
    checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    photos = Path(shutil.copytree(target, tmp_path / "photos"))
    file, other = (min(path for path in place.rglob("*") if path.is_file()) for place in (photos, retained))

    def forget(meanwhile: Callable[[], object]) -> object:
        given: dict[str, Any] = {"method": METHOD, "ask": "never", "progress": lambda *_: meanwhile()}
        return unsee.forget(checkpoint, photos, retained, **given)

    assert forget(file.touch)
    with pytest.raises(InputError, match=f"{file.name} was changed while the work ran"):
        forget(lambda: shutil.copyfile(other, file))
