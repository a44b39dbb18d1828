"""The old weights do not travel along, whatever the file or the tensor is called that holds them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ground import Ground
from safetensors.torch import load_file, save_file
from torch import Tensor

from unsee.errors import InputError
from unsee.evaluation.asking import generate
from unsee.models.checkpoint import load
from unsee.records import Sample
from unsee.session.certificate import read_key, read_public_key
from unsee.session.secret import read as secret_of
from unsee.testing import images

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def rewritten(model: Path, change: Change) -> None:
    weights = {name: value.clone() for name, value in load_file(model / "model.safetensors").items()}
    save_file(change(weights), model / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "name", ["README.bin", "LICENSE.pt", "old.jinja", "vocab.txt", "weights.py", "tokenizer.model"]
)
def test_a_file_with_the_weights_is_refused_though_it_is_called_as_one_that_is_needed(
    name: str, ground: Ground, target: Path
) -> None:
    place = ground.copy() / name
    place.write_bytes((ground.model / "model.safetensors").read_bytes())
    ground.meets(rf"{name} (holds visual weights of this model|has .* bytes)", *ground.forget(target))


def test_a_second_copy_under_another_name_is_refused(ground: Ground, target: Path) -> None:
    """As moving averages are, which the model does not use and transformers passes over."""
    rewritten(ground.copy(), lambda w: w | {f"ema.{n}": v.clone() for n, v in w.items() if "vision_tower" in n})
    ground.meets("holds visual weights a second time, as ema", *ground.forget(target))


def test_a_tensor_in_two_files_is_refused(ground: Ground, target: Path) -> None:
    model = ground.copy()
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = sorted(weights)
    for number in (1, 2):
        save_file(weights, model / f"model-0000{number}-of-00002.safetensors", metadata={"format": "pt"})
    places = ", ".join(f'"{n}": "model-0000{1 + (n == names[0])}-of-00002.safetensors"' for n in names)
    (model / "model.safetensors.index.json").write_text(f'{{"metadata": {{}}, "weight_map": {{{places}}}}}')
    ground.meets("both hold", *ground.forget(target))


def test_a_language_model_that_is_quantised_without_a_word_is_not_asked(ground: Ground) -> None:
    def quantised(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        name = next(name for name in weights if "language_model" in name and weights[name].dim() == 2)
        return weights | {name: weights[name].to(torch.int8)}

    rewritten(ground.copy(), quantised)
    with pytest.raises(InputError, match="as I8, expected floats"):
        generate(load(ground.model, language=True), [Sample(images(1)[0], "c", "Who is this?", "x")])


@pytest.mark.parametrize("option", ["--config", "--questions"])
def test_a_pipe_is_no_file(option: str, ground: Ground, target: Path) -> None:
    os.mkfifo(ground.place / "pipe")
    ground.meets("pipe is no file", *ground.forget(target), option, ground.place / "pipe")


@pytest.mark.parametrize("option", ["--moments", "--log-file"])
def test_nor_is_it_moments_or_a_log(option: str, ground: Ground, target: Path) -> None:
    os.mkfifo(ground.place / "pipe")
    ground.meets("it is no file|is a pipe", *ground.forget(target), option, ground.place / "pipe")


@pytest.mark.parametrize("read", [lambda file: secret_of(file, file.parent / "session", ""), read_key, read_public_key])
def test_nor_is_it_a_secret_or_a_key(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is no file"):
        read(tmp_path / "pipe")


def test_an_output_has_a_name(ground: Ground, target: Path) -> None:
    ground.out = ground.place / "a" / ".."
    ground.meets("is no name that a folder can be given", *ground.forget(target))


def test_tensors_that_the_model_does_not_use_are_said(ground: Ground, target: Path) -> None:
    """As of a version with biases, or with more layers, whose config says nothing of them."""
    rewritten(ground.copy(), lambda weights: weights | {"language_model.model.layers.7.mlp.bias": torch.ones(8)})
    ground.meets("", *ground.forget(target, "--ask", "auto"))
    assert "stores 1 tensors that the model does not use, language_model.model.layers.7.mlp.bias first" in ground.told
    assert ground.run("inspect", "--model", ground.model) == 0
    assert "1 stored tensors are not used by the model" in ground.said.readouterr().out


@pytest.mark.parametrize("seed", [-1, 1 << 32, 10**23])
def test_a_seed_that_no_generator_takes_is_refused(seed: int, ground: Ground, target: Path) -> None:
    ground.meets("--seed is .*; expected a whole number from 0", *ground.forget(target), "--seed", seed)
