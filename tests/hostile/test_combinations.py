"""What goes wrong where two things meet that are right by themselves: places, settings, threads."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import unsee as library
from tiny_method import METHOD, UNASKED
from unsee.attacks import ATTACKS
from unsee.attacks.attack import Subject
from unsee.cli import telling
from unsee.data import load as photos
from unsee.errors import InputError
from unsee.forgetting.edit import Edit
from unsee.models.checkpoint import load
from unsee.moments.file import read
from unsee.records import Result, Sample
from unsee.session.creation import create
from unsee.session.session import Session
from unsee.testing import stored, tiny_checkpoint

Run = Callable[..., int]
QUICK = ("--steps", 2, "--batch", 2, "--views", 0, "--composites", 0, "--keep-anyway", "--ask", "never")


@pytest.fixture
def asked(checkpoint: Path, target: Path, retained: Path, tmp_path: Path) -> list[object]:
    given = ["--model", checkpoint, "--target", target, "--retain", retained]
    return ["forget", *given, "--out", tmp_path / "out", *QUICK]


@pytest.mark.parametrize("name", ["model.safetensors", "log.txt"])
def test_no_log_lies_in_a_model(
    name: str, asked: list[object], checkpoint: Path, tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(checkpoint, tmp_path / "model")
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    assert unsee(*asked, "--log-file", model / name) == 2
    assert f"{name} lies in the model's folder" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before


def test_no_log_lies_in_what_is_read_or_on_what_is_none(
    asked: list[object], target: Path, tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(target, tmp_path / "photos")
    asked[asked.index(target)] = own
    assert unsee(*asked, "--log-file", own / "x.log") == 2
    assert "which is read or written" in capsys.readouterr().err
    letter = tmp_path / "letter.txt"
    letter.write_text("dear sir")
    assert unsee(*asked, f"--log-file={letter}") == 2
    assert "letter.txt is no log of unsee" in capsys.readouterr().err
    assert letter.read_text() == "dear sir"
    assert [file.suffix for file in own.iterdir()] == [".png"] * 3


def test_a_log_is_added_to(asked: list[object], tmp_path: Path, unsee: Run) -> None:
    log = tmp_path / "log.txt"
    for number in (1, 2):
        asked[asked.index("--out") + 1] = tmp_path / f"out{number}"
        assert unsee(*asked, "--log-file", log) in (0, 1)
    starts = [telling.LINE.match(line.encode()) for line in log.read_text().splitlines()]
    assert all(starts)
    assert log.read_text().count("forgetting 2/2") == 2


def test_a_cache_lies_in_no_session_and_no_model(
    asked: list[object], begun: Path, tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny_checkpoint(tmp_path / "other", seed=3)
    for place in (begun, other, begun / "inside"):
        assert unsee(*asked, "--cache", place) == 2
        assert "lies in the" in capsys.readouterr().err
    with pytest.raises(InputError, match="lies in the session"):
        library.forget(asked[2], [], cache=begun)  # type: ignore[arg-type] # the place is said first


def test_a_session_does_not_begin_within_the_photos(checkpoint: Path, known: Path, tmp_path: Path) -> None:
    own = shutil.copytree(known, tmp_path / "photos")
    with pytest.raises(InputError, match="which is read and stays as it is"):
        create(own / "session", checkpoint, own, method=METHOD)
    assert not (own / "session").exists()


def changed(model: Path, part: str) -> None:
    """A tensor of the language model, or how photos are made numbers."""
    if part == "weights":
        file = model / "model.safetensors"
        tensors = load_file(file)
        name = next(name for name in tensors if "language_model" in name)
        save_file({**tensors, name: tensors[name] + 1}, file, metadata={"format": "pt"})
        return
    file = model / "processor_config.json"
    facts = json.loads(file.read_text())
    facts["image_processor"]["image_mean"] = [0.1, 0.9, 0.3]
    file.write_text(json.dumps(facts))


@pytest.fixture
def own(known: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model and a session on it."""
    model = tiny_checkpoint(tmp_path / "model")
    create(tmp_path / "session", model, known, method=METHOD)
    return model, tmp_path / "session"


def test_a_session_does_not_hand_on_another_language_model(own: tuple[Path, Path], tmp_path: Path) -> None:
    model, folder = own
    changed(model, "weights")
    with Session(folder) as session, pytest.raises(InputError, match=r"model\.safetensors is not what it was when"):
        session.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_session_takes_no_request_by_another_processor(own: tuple[Path, Path], people: Path) -> None:
    model, folder = own
    changed(model, "processor")
    with Session(folder) as session, pytest.raises(InputError, match=r"processor_config\.json is not what it was"):
        session.forget(people / "concept_0", "first", **UNASKED)
    assert not Session(folder).standing()


def test_an_opened_session_that_another_process_changed_says_so(
    own: tuple[Path, Path], people: Path, tmp_path: Path
) -> None:
    stale = Session(own[1])
    with Session(own[1]) as session:
        session.forget(people / "concept_0", "first", **UNASKED)
    with pytest.raises(InputError, match="was changed by another process meanwhile"):
        stale.export(tmp_path / "out")


def test_moments_of_another_processor_are_refused(checkpoint: Path, retained: Path, tmp_path: Path, unsee: Run) -> None:
    model, file = shutil.copytree(checkpoint, tmp_path / "model"), tmp_path / "moments.safetensors"
    assert unsee("moments", "--model", model, "--retain", retained, "--ask", "never", "--out", file) == 0
    assert read(file, load(model)).processor
    changed(model, "processor")
    with pytest.raises(InputError, match="measured with other settings of the processor"):
        read(file, load(model))


@pytest.mark.parametrize("more", [["--answer-from-folder"], ["--questions", "q.jsonl"]])
def test_what_is_to_be_asked_is_not_dropped_where_nobody_is(
    more: list[str], asked: list[object], tmp_path: Path, target: Path, unsee: Run,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(sorted(target.iterdir())[0], "a.png")
    row = {"image": "a.png", "question": "Which colour?", "answer": "red", "subset": "target"}
    Path("q.jsonl").write_text(json.dumps(row))
    assert unsee(*asked, *more) == 2
    assert "the model to be asked, and it is never to be" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_old_weights_of_a_model_of_another_build_are_not_put_back(tmp_path: Path, checkpoint: Path) -> None:
    from unsee.benchmarks.personas.tiny_vlm import build_model, build_processor

    wide = tmp_path / "wide"
    build_model(0, width=64, vision_layers=3, text_layers=1).save_pretrained(wide)
    build_processor().save_pretrained(wide)
    picture = Sample(library.testing.images(1)[0], "one", "Who is this?", "one")
    subject = Subject(checkpoint, wide, (picture,), (picture,), (picture,))
    for name in ("projector_reload", "encoder_reload"):
        with pytest.raises(InputError, match="wide is another model than"):
            list(ATTACKS[name].run(subject))


@pytest.mark.parametrize(
    "written", ["[]", '{"info": null}', '{"info": []}', '{"info": {"features": null}}', '{"info": {"features": []}}']
)
def test_a_table_may_say_anything_of_where_it_comes_from(written: str, target: Path, tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"bytes": file.read_bytes(), "path": file.name} for file in sorted(target.iterdir())]
    table = arrow.table({"image": rows}).replace_schema_metadata({"huggingface": written})
    parquet.write_table(table, tmp_path / "table.parquet")
    assert len(photos(tmp_path / "table.parquet")) == 3
    with pytest.raises(InputError, match=r"table\.parquet row 0"):
        library.data.check_disjoint(photos(target), photos(tmp_path / "table.parquet"))


def test_threads_take_turns_on_one_model(checkpoint: Path, target: Path, retained: Path) -> None:
    shared, quick = load(checkpoint), replace(METHOD, steps=6)

    def forgotten(seed: int) -> Edit:
        return library.forget(shared, target, retained, method=quick, seed=seed, ask="never")

    alone = [forgotten(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(forgotten, range(3)))
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_a_page_takes_the_place_of_a_page_alone(result: Result, tmp_path: Path) -> None:
    page, mine = tmp_path / "page.html", tmp_path / "mine.html"
    mine.write_text("<p>mine")
    library.report(result, page)
    library.report(result, page)
    with pytest.raises(InputError, match=r"mine\.html is a file that this command did not write"):
        library.report(result, mine)
    assert mine.read_text() == "<p>mine"


def test_visual_weights_that_are_no_floats_are_noted(
    checkpoint: Path, tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(checkpoint, tmp_path / "model")
    tensors = stored(model)
    name = next(name for name in tensors if "vision" in name and name.endswith("q_proj.weight"))
    tensors[name] = tensors[name].to(torch.float8_e4m3fn)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert unsee("inspect", "--model", model) == 0
    assert "visual weights are stored as F8_E4M3, which is refused" in " ".join(capsys.readouterr().out.split())


def test_what_is_no_record_or_result_is_called_what_it_is(
    checkpoint: Path, asked: list[object], tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "exported"
    for place, said in ((tmp_path / "nowhere", "is not there"), (checkpoint, "does not say which visual module")):
        assert unsee("export", "--from", place, "--onto", checkpoint, "--out", out) == 2
        assert said in capsys.readouterr().err
    assert unsee(*asked) in (0, 1)
    capsys.readouterr()
    assert unsee("report", tmp_path / "out" / "unsee.json", "--out", tmp_path / "page.html") == 2
    assert "is the record of a checkpoint and no result" in capsys.readouterr().err


def test_an_option_that_a_file_misspells_is_named(
    asked: list[object], tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.toml").write_text('modle = "x"\n')
    assert unsee(*asked, "--config", tmp_path / "options.toml") == 2
    assert "the file of --config sets modle, which is no option of this command" in capsys.readouterr().err


def test_an_image_that_has_a_file_is_called_by_it(target: Path, tmp_path: Path) -> None:
    from PIL import Image

    file = sorted(target.iterdir())[0]
    with Image.open(file) as opened, pytest.raises(InputError, match=rf"{file.name} show the same picture"):
        library.data.check_disjoint([Sample(file, "a")], [Sample(opened, "b")])
    nameless = Image.fromarray(np.asarray(Image.open(file)))
    with pytest.raises(InputError, match="retained image a sample of concept 'b' in memory"):
        library.data.check_disjoint([Sample(file, "a")], [Sample(nameless, "b")])
