"""Odd files among those that a command reads, and odd places for what it writes: each named, none a traceback."""

import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from ground import Ground
from safetensors.torch import load_file, save_file

from unsee.cli import parse
from unsee.data import load
from unsee.errors import InputError
from unsee.forgetting.edit import read_record


def test_a_palette_without_colours_is_named(ground: Ground, target: Path, tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    photos = Path(shutil.copytree(target, tmp_path / "photos"))
    head = (64).to_bytes(4, "big") * 2 + bytes((8, 3, 0, 0, 0))
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(65 * 64))) + chunk(b"IEND", b"")
    (photos / "odd.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    ground.meets(r"odd\.png", *ground.forget(photos))


@pytest.mark.parametrize("name", ["photos-**.tar", "**.tar", f"photos-{{0..{'9' * 900}}}.tar"])
def test_patterns_of_shards_that_mean_nothing_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load(tmp_path / name)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"a = {'[' * 3000}{']' * 3000}", "cannot be read as TOML"),
        (f"a = {'{b = ' * 1200}1{'}' * 1200}", "cannot be read as TOML"),
        ("quiet = 1", "sets quiet to '1'; expected true or false"),
        ("verbose = 'yes'", "sets verbose to 'yes'; expected true or false"),
        ('"\\u001b[2J" = 1', "which is no option's name"),
        ('"a b" = 1', "which is no option's name"),
    ],
)
def test_odd_files_of_options(text: str, says: str, ground: Ground, target: Path) -> None:
    file = ground.place / "options.toml"
    file.write_text(text, encoding="utf-8")
    ground.meets(says, *ground.forget(target), "--config", file)


@pytest.mark.parametrize("words", [("never", "1"), ("auto", "Who?"), ("Who?", "never")])
def test_never_and_auto_stand_alone(words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="alone"):
        parse.asked(words)


@pytest.mark.parametrize("columns", [1, 2, 8, 39, 60, 120, 140, 200, 500])
@pytest.mark.parametrize("command", ["forget", "session forget", "evaluate"])
def test_help_of_any_terminal_has_every_option(
    columns: int, command: str, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ground.meets("", *command.split(), "--help")
    told = ground.told
    assert "--out" in told or "--id" in told
    assert max(map(len, told.splitlines())) <= max(columns, 120)
    assert "--help-all" in re.sub(r"\s+", " ", told)


@pytest.mark.parametrize("answer", ["...", "\u200b", "😀", "—"])
def test_an_answer_without_a_word_is_never_right_and_refused(answer: str, ground: Ground, target: Path) -> None:
    file = ground.place / "questions.jsonl"
    file.write_text(json.dumps({"subset": "target", "question": "Who?", "answer": answer}) + "\n", encoding="utf-8")
    ground.meets("line 1 has .* which holds no word", *ground.forget(target, "--questions", file))


def test_a_question_that_holds_the_images_token_is_named(ground: Ground, target: Path) -> None:
    ground.meets(
        "leave <image> out of the question: it stands for the photo",
        *ground.forget(target, "--question", "<image> Who is this?"),
    )


@pytest.mark.parametrize("place", ["out/cache", "model/cache", "photos/cache"])
def test_a_cache_has_a_folder_of_its_own(place: str, ground: Ground, target: Path) -> None:
    ground.copy()
    shutil.copytree(target, ground.place / "photos")
    given = ground.forget(ground.place / "photos")
    ground.meets("which is read or written; name a folder of its own", *given, "--cache", ground.place / place)


def half(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """The visual weights as half precision, under the same names or with `name` before them."""
    weights = load_file(folder / "model.safetensors")
    return {f"{name}{key}": value.half() for key, value in weights.items() if "vision_tower" in key}


def test_the_old_weights_in_another_precision_do_not_travel_along(ground: Ground, target: Path) -> None:
    save_file(half(ground.copy(), ""), ground.model / "README.safetensors")
    ground.meets("README.safetensors holds visual weights of this model", *ground.forget(target))


def test_nor_do_they_within_the_models_own_file(ground: Ground, target: Path) -> None:
    file = ground.copy() / "model.safetensors"
    save_file(load_file(file) | half(ground.model, "ema."), file, metadata={"format": "pt"})
    ground.meets("holds visual weights a second time, as ema", *ground.forget(target))


@pytest.mark.parametrize("name", ["README.alice.png", "LICENSE-photo.jpg", "NOTICE.gz", "old_processor_config.json"])
def test_what_is_no_text_is_left_out_though_it_is_called_as_a_text(name: str, ground: Ground, target: Path) -> None:
    photo = next(target.rglob("*.png")).read_bytes()
    (ground.copy() / name).write_bytes(photo)
    (ground.model / "README.md").write_text("a model — of ours\n", encoding="utf-8")
    ground.meets("", *ground.forget(target, "--keep-anyway"))
    assert name in ground.told
    assert not (ground.out / name).exists()
    assert (ground.out / "README.md").exists()


@pytest.fixture
def made(ground: Ground, target: Path) -> Path:
    """An edited checkpoint with its record."""
    ground.meets("", *ground.forget(target, "--keep-anyway"))
    return ground.out


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("request", "salt"), 3),
        (("request", "used"), [[1]]),
        (("request", "retained_images"), "x"),
        (("verdict",), []),
        (("layers",), ["x"]),
        (("timings",), {"a": "b"}),
    ],
)
def test_a_record_that_was_edited_is_refused(path: tuple[str, ...], value: Any, made: Path) -> None:
    file = made / "unsee.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    inner = record
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match=r"unsee\.json was changed"):
        read_record(made)


def test_a_record_that_is_nested_without_end_is_refused(made: Path) -> None:
    (made / "unsee.json").write_text("[" * 90_000, encoding="utf-8")
    with pytest.raises(InputError, match="is not as unsee writes it"):
        read_record(made)


def test_weights_that_were_changed_after_the_record_are_told(ground: Ground, made: Path, target: Path) -> None:
    base, ground.out = ground.model, ground.place / "scores"
    weights = load_file(made / "model.safetensors")
    name = next(key for key in weights if key.endswith("q_proj.weight") and "vision" in key)
    weights[name] = weights[name] + 1e-3
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    ground.meets(
        "",
        *("evaluate", "--model", made, "--before", base, "--target", target, "--answer-from-folder"),
        *("--out", ground.out),
    )
    assert "model.safetensors is not what it was when unsee.json was written" in ground.told
    ground.out = ground.place / "served"
    ground.meets("is not the one that its unsee.json was written of", "export", "--from", made, "--onto", base, "--out",
                 ground.out)  # fmt: skip
