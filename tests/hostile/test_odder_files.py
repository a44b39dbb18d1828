"""Files that are odd in ways that earlier tables do not have: second copies, tables of tokenizers, links, depths."""

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ground import Ground
from safetensors.torch import load_file, save_file

from by_hand import edited, rewritten
from tiny_method import METHOD
from unsee.data import load as photos
from unsee.errors import InputError
from unsee.methods import find
from unsee.models.checkpoint import Vlm, load, write
from unsee.models.foreign import in_words
from unsee.moments.file import read, save
from unsee.moments.measure import measure
from unsee.moments.records import Moments, MomentSettings
from unsee.session import certificate
from unsee.session.creation import create
from unsee.session.ledger import BrokenSessionError
from unsee.session.session import Session
from unsee.system.launching import of_file
from unsee.system.memory import plan
from unsee.testing import images

DEEP = "[" * 200_000
Run = Callable[..., int]
Said = pytest.CaptureFixture[str]


def encoded() -> bytes:
    """A photo as bytes of a PNG."""
    content = BytesIO()
    images(1)[0].save(content, "png")
    return content.getvalue()


def averaged(model: Path) -> None:
    """Every visual tensor a second time, as moving averages are stored."""
    file = model / "model.safetensors"
    tensors = load_file(file)
    again = {f"ema.{name}": value.clone() for name, value in tensors.items() if "language_model" not in name}
    save_file({**tensors, **again}, file, metadata={"format": "pt"})


def test_no_session_begins_on_a_model_that_holds_its_weights_twice(ground: Ground, known: Path) -> None:
    averaged(ground.copy())
    given = ("--model", ground.model, "--retain", known, "--ask", "never")
    ground.meets("holds visual weights a second time", "session", "init", ground.place / "session", *given)


def test_a_copy_of_the_weights_that_came_later_is_not_handed_on(
    ground: Ground, once: Path, checkpoint: Path, unsee: Run, capsys: Said
) -> None:
    """By either way of exporting."""
    model = ground.copy()
    session = shutil.copytree(once, ground.place / "session")
    assert unsee("session", "relocate", session, "--model", model) == 0
    edited = ground.place / "edited"
    assert unsee("session", "export", session, "--out", edited) == 0
    shutil.copy(checkpoint / "model.safetensors", model / "tokenizer.model")
    capsys.readouterr()
    exported = ("export", "--from", edited, "--onto", model, "--out", ground.out)
    ground.meets("tokenizer.model holds visual weights", *exported)
    assert unsee("session", "export", session, "--out", ground.out) == 2
    assert not ground.out.exists()


@pytest.mark.parametrize("how", ["gone", "cut", "added"])
def test_a_checkpoint_that_changes_while_the_work_runs_is_not_copied(how: str, ground: Ground) -> None:
    model = ground.copy()
    vlm = load(model)
    file = model / ("vocab.txt" if how == "added" else "tokenizer.json")
    file.unlink() if how == "gone" else file.write_text("{}")
    (ground.place / "out").mkdir()
    with pytest.raises(InputError, match=f"{file.name} was changed, added or removed while the work ran"):
        write(vlm, {}, ground.place / "out")


def test_a_long_option_is_no_name_of_a_folder(ground: Ground, target: Path) -> None:
    question = "q" * 300
    log = ground.place / "log.txt"
    arguments = ground.forget(target, "--question", question, "--log-file", log, "--keep-anyway")
    assert ground.run(*arguments) in (0, 1)
    assert log.exists()


def test_no_log_is_made_through_a_link(ground: Ground, begun: Path) -> None:
    session = shutil.copytree(begun, ground.place / "session")
    (ground.place / "log.txt").symlink_to(session / "note.log")
    ground.meets("lies in the session", "ls", "methods", "--log-file", ground.place / "log.txt")
    (ground.place / "config.toml").write_text('log-file = "a\\u0000b"\n')
    ground.meets("holds a zero byte", "ls", "methods", "--config", ground.place / "config.toml")


@pytest.mark.parametrize(
    ("file", "path", "value", "says"),
    [
        ("tokenizer.json", ["normalizer"], {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "is cut off or"),
        (
            "tokenizer.json",
            ["normalizer"],
            {"type": "Precompiled", "precompiled_charsmap": "/////w=="},
            "is cut off or",
        ),
        (
            "tokenizer.json",
            ["normalizer"],
            {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": "/////w=="}]},
            "is cut off or",
        ),
        ("tokenizer.json", ["pre_tokenizer"], {"type": "FixedLength", "length": 0}, "processor"),
        (
            "processor_config.json",
            ["audio_tokenizer"],
            {"audio_tokenizer_class": "DacModel", "audio_tokenizer_name_or_path": "descript/dac"},
            "names an audio tokenizer",
        ),
        ("processor_config.json", ["num_additional_image_tokens"], 10_000_000, "as num_additional_image_tokens"),
    ],
)
def test_an_odd_processor_is_refused(
    file: str, path: list[str], value: object, says: str, ground: Ground, target: Path
) -> None:
    model = ground.copy()
    facts = json.loads((model / file).read_text())
    facts[path[0]] = value
    (model / file).write_text(json.dumps(facts))
    ground.meets(says, *ground.forget(target, "--question", "Who is this?"))


def test_a_panic_of_another_library_is_a_sentence() -> None:
    class PanicException(BaseException):  # as it is called there
        pass

    with pytest.raises(InputError, match=r"a file \(chunk size\); copy it again"), in_words("a file", "copy it again"):
        raise PanicException("chunk size")


def test_a_template_that_makes_millions_of_signs_is_refused(ground: Ground, target: Path) -> None:
    (ground.copy() / "chat_template.jinja").write_text("<image>{{ 'Who is ' * 300000 }}")
    ground.meets("makes 2,100,007 signs of one question", *ground.forget(target, "--question", "Who is this?"))


def test_rows_of_many_photos_are_named_as_rows(ground: Ground) -> None:
    good, file = encoded(), ground.place / "p.parquet"
    rows = [{"bytes": good, "path": None}] * 299 + [{"bytes": b"none", "path": None}]
    pq.write_table(pa.table({"image": rows, "concept": ["a"] * 300}), file)
    ground.meets(r"p.parquet/\d+-299 cannot be read as an image", *ground.forget(file))
    assert ".unsee-photos" not in ground.told


def test_names_of_outputs_that_lead_round_in_a_circle(ground: Ground, target: Path) -> None:
    loop = ground.place / "loop"
    loop.symlink_to(loop)
    for out in (loop, loop / "below"):
        ground.out = out
        ground.meets("name another output", *ground.forget(target))


def test_a_record_that_is_too_deep_is_none(ground: Ground, target: Path) -> None:
    ground.out.mkdir()
    (ground.out / "unsee.json").write_text(DEEP)
    ground.meets("did not write", *ground.forget(target, "--overwrite"))


@pytest.mark.parametrize("name", ["../x:Y", ".:x", "..:y"])
def test_what_is_no_name_of_a_method(name: str) -> None:
    with pytest.raises(InputError, match="there is no method"):
        find(name)


def test_keys_of_an_unknown_kind(tmp_path: Path) -> None:
    content = bytes.fromhex(
        "302e020100300506032b6599042204200000000000000000000000000000000000000000000000000000000000000000"
    )
    file = tmp_path / "key.pem"
    text = base64.b64encode(content).decode()
    file.write_text(f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InputError, match="cannot be read as a private key"):
        certificate.read_key(file)
    public = base64.b64encode(bytes.fromhex("302a300506032b659903210000" + "00" * 31)).decode()
    file.write_text(f"-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n")
    with pytest.raises(InputError, match="cannot be read as a public key"):
        certificate.read_public_key(file)


def test_certificates_that_no_session_writes(tmp_path: Path) -> None:
    file = tmp_path / "first.json"
    file.write_text(DEEP)
    with pytest.raises(BrokenSessionError, match="cannot be read"):
        certificate.read(file)
    for value in (float("nan"), "\ud800"):
        with pytest.raises(BrokenSessionError, match="is no certificate"):
            certificate.check_signature({"id": value, "signature": {}}, "first.json", None)


def test_depths_of_tables(ground: Ground) -> None:
    file = ground.place / "p.parquet"
    table = pa.table({"image": [{"bytes": encoded(), "path": None}], "concept": ["a"]})
    pq.write_table(table.replace_schema_metadata({"huggingface": "[" * 100_000}), file)
    ground.meets("p.parquet", *ground.forget(file))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[" * 20_000, "cannot be read"),
        (f"num_processes: '{'9' * 5000}'", "expected a whole number"),
        ("distributed_type: [a, b]", "is a list or a table"),
        ("num_processes: {a: 1}", "is a list or a table"),
        ("#" * (2 << 20), "cannot be read"),
    ],
    ids=["deep", "digits", "list", "table", "large"],
)
def test_odd_files_of_accelerate(content: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=says):
        of_file(file)


def test_a_file_of_accelerate_starts_no_thousands(ground: Ground, target: Path) -> None:
    file = ground.place / "a.yaml"
    file.write_text("num_processes: 100000\n")
    ground.meets("asks for 100000 processes", *ground.forget(target), "--accelerate-config", file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InputError, match="a pipe"):
        of_file(file)


@pytest.fixture(scope="module")
def moments(vlm: Vlm, retained: Path) -> Moments:
    return measure(vlm, photos(retained), MomentSettings(modes=2, seed=0), plan("normal", 1), alone=True)[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["facts", "layers"], []),
        (["facts", "layers"], {"nope": ["nope", 1.0]}),
        (["facts", "layout", "shapes"], []),
        (["facts", "layout", "shapes"], {}),
        (["facts", "spread"], 3),
        (["facts", "hashes"], 7),
        (["facts", "states"], ["nope", 1, 2]),
        (["facts"], DEEP[:10]),
        (["sums"], []),
    ],
)
def test_moments_whose_facts_were_rewritten(
    path: list[str], value: object, vlm: Vlm, moments: Moments, tmp_path: Path
) -> None:
    """With a sum that fits what was written."""
    file = tmp_path / "moments.safetensors"
    save(moments, file)
    rewritten(file, lambda content: edited(content, tuple(path), value))
    with pytest.raises(InputError, match="not a moments file"):
        read(file, vlm)


def test_moments_that_are_not_finite(vlm: Vlm, moments: Moments, tmp_path: Path) -> None:
    file, name = tmp_path / "moments.safetensors", next(iter(moments.grams))
    gram = moments.grams[name]
    save(replace(moments, grams={**moments.grams, name: replace(gram, total=gram.total * float("nan"))}), file)
    with pytest.raises(InputError, match="numbers that are not finite"):
        read(file, vlm).grams[name]


def test_a_cache_whose_facts_were_rewritten_is_made_again(ground: Ground, target: Path) -> None:
    """And the edit is the same."""
    cache = ground.place / "cache"
    assert ground.run(*ground.forget(target, "--cache", cache, "--keep-anyway")) in (0, 1)
    first = load_file(ground.out / "model.safetensors")
    for file in cache.iterdir():
        rewritten(
            file, lambda content: {**content, "facts": {"name": content["facts"]["name"], "count": "x", "names": 3}}
        )
    shutil.rmtree(ground.out)
    assert ground.run(*ground.forget(target, "--cache", cache, "--keep-anyway")) in (0, 1)
    again = load_file(ground.out / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_ids_that_differ_by_case_alone_are_one(checkpoint: Path, known: Path, people: Path, tmp_path: Path) -> None:
    create(tmp_path / "s", checkpoint, known, method=METHOD)
    with Session(tmp_path / "s") as session:
        session.forget(people / "concept_0", "first", ask="never", keep_anyway=True)
        with pytest.raises(InputError, match="the id FIRST was used before"):
            session.forget(people / "concept_1", "FIRST", ask="never", keep_anyway=True)
