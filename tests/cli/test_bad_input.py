"""Every bad input of a user: one clear sentence on stderr, exit 2, and nothing written."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import LlamaConfig, LlamaForCausalLM

from tiny_method import TYPED
from unsee.testing import images, photo_folder, tiny_checkpoint

Run = Callable[..., int]
FEW = (*TYPED, "--ask", "never")


class Request:
    """A request that would work; a test breaks one thing in it and says what the sentence must contain."""

    def __init__(self, place: Path, model: Path, retained: Path, run: Run, output: pytest.CaptureFixture[str]) -> None:
        self.place, self.model, self.run, self.output = place, model, run, output
        self.target = photo_folder(place / "target", 3, seed=1)
        self.retained: Path | None = retained
        self.options: list[object] = list(FEW)

    def refused(self, *words: str) -> None:
        """Runs the request and checks that it is refused in one sentence with these words, with nothing written."""
        before = sorted(self.place.rglob("*"))
        kept = [] if self.retained is None else ["--retain", self.retained]
        data = ["--model", self.model, "--target", self.target, "--out", self.place / "out"]
        assert self.run("forget", "nscvf", *data, *kept, *self.options) == 2
        said = self.output.readouterr()
        assert said.out == ""
        sentences = [line for line in said.err.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]  # no progress
        assert len(sentences) == 1
        assert sentences[0].startswith("unsee: ")
        assert "Traceback" not in said.err
        for word in words:
            assert word in said.err
        assert sorted(self.place.rglob("*")) == before


@pytest.fixture
def request_of(
    tmp_path: Path, checkpoint: Path, retained: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> Request:
    return Request(tmp_path, checkpoint, retained, unsee, capsys)


def test_a_missing_folder(request_of: Request) -> None:
    request_of.target = request_of.place / "nobody"
    request_of.refused("nobody", "No such file")


def test_an_empty_folder(request_of: Request) -> None:
    request_of.target = request_of.place / "empty"
    request_of.target.mkdir()
    request_of.refused("empty", "holds no image")


def test_a_file_that_is_no_image(request_of: Request) -> None:
    (request_of.target / "note.png").write_text("hello")
    request_of.refused("note.png", "no known image")


def test_a_truncated_image(request_of: Request) -> None:
    whole = request_of.target / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    (request_of.target / "cut.png").write_bytes(whole.read_bytes()[:2000])
    request_of.refused("cut.png", "cannot be read")


def test_a_pixel_bomb(request_of: Request) -> None:
    Image.new("1", (30_000, 30_000)).save(request_of.target / "bomb.png")
    request_of.refused("bomb.png", "too large", "64,000,000")


def test_a_shared_image_under_another_name_and_container(request_of: Request) -> None:
    images(3, seed=2)[0].save(request_of.target / "other_name.bmp")
    request_of.refused("other_name.bmp", "000.png", "the same picture")


def test_neither_retained_images_nor_moments(request_of: Request) -> None:
    request_of.retained = None
    request_of.refused("neither retained images nor moments")


def test_too_few_retained_images(request_of: Request) -> None:
    request_of.retained = photo_folder(request_of.place / "few", 2, seed=5)
    request_of.refused("too few", "at least six")


def test_moments_of_another_model(request_of: Request, retained: Path) -> None:
    other = tiny_checkpoint(request_of.place / "other", seed=1)
    file = request_of.place / "moments.safetensors"
    assert request_of.run("moments", "--model", other, "--retain", retained, "--out", file) == 0
    request_of.output.readouterr()
    request_of.retained, request_of.options = None, [*FEW, "--moments", file]
    request_of.refused("moments.safetensors", "another model")


def test_moments_that_are_none(request_of: Request) -> None:
    file = request_of.place / "moments.safetensors"
    file.write_text("nothing")
    request_of.options = [*FEW, "--moments", file]
    request_of.refused("moments.safetensors", "not a moments file")


def test_pickled_weights(request_of: Request, checkpoint: Path) -> None:
    request_of.model = Path(shutil.copytree(checkpoint, request_of.place / "model"))
    (request_of.model / "model.safetensors").unlink()
    torch.save({}, request_of.model / "pytorch_model.bin")
    request_of.refused("pickled", "pytorch_model.bin", "safetensors")


def test_a_model_without_an_image_processor(request_of: Request, checkpoint: Path) -> None:
    request_of.model = Path(shutil.copytree(checkpoint, request_of.place / "model"))
    (request_of.model / "processor_config.json").unlink()
    request_of.refused("processor")


def test_a_text_only_model(request_of: Request) -> None:
    request_of.model = request_of.place / "model"
    config = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(request_of.model)
    request_of.refused("llama", "takes no images")


def changed_config(request_of: Request, checkpoint: Path, **settings: object) -> None:
    request_of.model = Path(shutil.copytree(checkpoint, request_of.place / "model"))
    file = request_of.model / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_a_quantised_model_that_is_to_be_asked(request_of: Request, checkpoint: Path) -> None:
    changed_config(request_of, checkpoint, quantization_config={"quant_method": "awq"})
    request_of.options = ["--question", "Who is this?"]
    request_of.refused("is quantised (awq)", "with --ask never")


def test_a_model_that_brings_its_own_code(request_of: Request, checkpoint: Path) -> None:
    changed_config(request_of, checkpoint, model_type="own", auto_map={"AutoConfig": "code.Config"})
    (request_of.model / "code.py").write_text("raise SystemExit('it ran')")
    request_of.refused("'own'", "--trust-remote-code")


def test_a_model_of_a_type_that_nobody_knows(request_of: Request, checkpoint: Path) -> None:
    changed_config(request_of, checkpoint, model_type="nothing")
    request_of.refused("'nothing'", "does not know")


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"garbage" * 99])
def test_a_damaged_weight_file(request_of: Request, checkpoint: Path, damage: Callable[[bytes], bytes]) -> None:
    request_of.model = Path(shutil.copytree(checkpoint, request_of.place / "model"))
    file = request_of.model / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    request_of.refused(str(file), "copy")


def test_a_crossing_that_does_not_exist(request_of: Request) -> None:
    request_of.options = [*FEW, "--crossings", "nowhere"]
    request_of.refused("no crossing nowhere", "projector")


def test_one_retained_image(request_of: Request) -> None:
    request_of.retained = photo_folder(request_of.place / "few", 1, seed=5)
    request_of.refused("too few", "at least six")


def test_a_model_that_is_nowhere(request_of: Request) -> None:
    request_of.model = request_of.place / "nothing"
    request_of.refused("nothing", "not a folder")


def test_an_output_that_exists(request_of: Request) -> None:
    (request_of.place / "out").mkdir()
    request_of.refused("out exists already", "--overwrite")


def test_an_output_below_a_file(request_of: Request) -> None:
    (request_of.place / "file").write_text("", encoding="utf-8")
    request_of.options = [*FEW, "--out", request_of.place / "file" / "such" / "out"]
    request_of.refused("file is no folder, so that nothing can be written below it")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{broken", ("line 2", "not JSON")),
        (json.dumps({"image": "../secret.png"}), ("line 2", "../secret.png", "outside")),
        (json.dumps({"image": "nowhere.png"}), ("line 2", "nowhere.png")),
        (json.dumps({"imgae": "000.png"}), ("line 2", "did you mean 'image'")),
    ],
    ids=["broken", "outside", "missing", "misspelt"],
)
def test_a_bad_row(request_of: Request, row: str, words: tuple[str, ...]) -> None:
    images(1, seed=9)[0].save(request_of.place / "secret.png")
    table = request_of.target / "rows.jsonl"
    table.write_text(json.dumps({"image": "000.png"}) + "\n" + row + "\n")
    request_of.target = table
    request_of.refused("rows.jsonl", *words)
