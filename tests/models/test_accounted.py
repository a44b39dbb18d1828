"""Every tensor that a model needs is stored and finite, or the checkpoint is refused, whenever it is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from unsee.errors import InputError
from unsee.models.checkpoint import load
from unsee.testing import stored

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def wrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One projection of the language model inside an adapter, as peft names it."""
    name = next(name for name in tensors if "language_model" in name and name.endswith("q_proj.weight"))
    stem, weight = name.removesuffix(".weight"), tensors.pop(name)
    parts = {"base_layer": weight, "lora_A.default": torch.ones(2, weight.shape[1])}
    return tensors | {f"{stem}.{part}.weight": value for part, value in parts.items()}


def with_nan(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    name = next(name for name in tensors if "language_model" in name and name.endswith("down_proj.weight"))
    tensors[name].view(-1)[3] = float("nan")
    return tensors


def grown(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    name = next(name for name in tensors if "embed_tokens" in name)
    return tensors | {name: torch.cat([tensors[name], tensors[name][:5]])}


def prefixed(prefix: str) -> Change:
    return lambda tensors: {prefix + name: value for name, value in tensors.items()}


def liuhaotian(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("multi_modal_projector.linear_1", "model.mm_projector.0"): v for name, v in tensors.items()}


@pytest.fixture
def changed(checkpoint: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Makes a copy of a checkpoint with its tensors changed."""

    def make(change: Change) -> Path:
        copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
        tensors = {name: value.clone() for name, value in change(stored(checkpoint)).items()}
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        return copy

    return make


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (wrapped, r"stores no values for .*q_proj\.weight; its layers still hold an adapter"),
        (with_nan, r"stores .*down_proj\.weight with NaN or Inf"),
        (grown, r"stores .*embed_tokens\.weight as \(\d+, \d+\), and .*config\.json expects .*set vocab_size"),
    ],
)
def test_a_language_model_with_gaps_is_never_asked(
    change: Change, said: str, changed: Callable[[Change], Path]
) -> None:
    copy = changed(change)
    load(copy)  # the visual part is whole
    with pytest.raises(InputError, match=said):
        load(copy, language=True)


def test_a_head_that_is_neither_stored_nor_tied_is_named(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    (copy / "config.json").write_text(json.dumps(config))
    tensors = {name: value for name, value in stored(checkpoint).items() if "lm_head" not in name}
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"stores no values for lm_head\.weight; .*tie_word_embeddings"):
        load(copy, language=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (prefixed("_orig_mod."), "saved from a compiled model"),
        (prefixed("base_model.model."), "merge_and_unload"),
        (prefixed("module."), "parallel wrapper"),
        (liuhaotian, "LLaVA's own code"),
        (lambda tensors: {n: v for n, v in tensors.items() if "linear_1" not in n}, "copy the checkpoint here again"),
    ],
)
def test_names_of_other_tools_are_told_with_what_to_do(
    change: Change, said: str, changed: Callable[[Change], Path]
) -> None:
    with pytest.raises(InputError, match=f"stores no values for .*{said}"):
        load(changed(change))
