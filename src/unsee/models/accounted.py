"""Whether a checkpoint stores what its model needs: a gap would be filled at random, and look like forgetting."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils.loading_report import LoadStateDictInfo

from unsee.errors import InputError
from unsee.models.locate import Partition
from unsee.models.shards import Stored, places

MOST_WANTED = 3  # times as many numbers as are stored
AGAIN = "copy the checkpoint here again"
WRAPPERS = {
    "_orig_mod.": "it was saved from a compiled model, so save the model inside (model._orig_mod)",
    "base_model.model.": "it was saved from inside peft, so call merge_and_unload and save that",
    "module.": "it was saved from a parallel wrapper, so save the model inside (model.module)",
    "_fsdp_wrapped_module.": "it was saved from a parallel wrapper, so save its full state dict",
}  # what other tools put before every name, and what to do
CODES = (".qweight", ".qzeros", ".weight_packed", ".weight_scale", ".SCB", ".absmax")  # of quantised weights
ADAPTERS = (".lora_A.", ".lora_B.", ".base_layer.", ".lora_magnitude_vector.")


def _advice(absent: str, names: Collection[str], part: str) -> str:
    """What to do where a tensor is not stored, by the names of those that are."""
    stem = absent.rpartition(".")[0].rpartition(".")[2]  # the layer's own name, which conversions leave alone
    for prefix, what in WRAPPERS.items():
        if any(name.startswith(prefix) for name in names):
            return f"its tensors are named with the prefix {prefix}: {what}"
    if any(part in name for name in names for part in ADAPTERS):
        return "its layers still hold an adapter (lora, base_layer): merge it into the weights and save the model"
    if any(name.endswith(f".{stem}{code}") for name in names for code in CODES):
        return f"its {part} is quantised: edit the checkpoint it was made from, and quantise the language model alone"
    if any("mm_projector" in name for name in names):
        return (
            "its tensors have the names of LLaVA's own code (mm_projector): convert it, as transformers' "
            "convert_llava_weights_to_hf does, or take the copy of it that is called -hf"
        )
    return AGAIN


def check_visual(folder: Path, partition: Partition, info: LoadStateDictInfo) -> None:
    """Raises InputError where a visual tensor is not stored or does not fit."""
    absent = sorted(set(info.missing_keys) & set(partition.visual))
    if absent:
        raise InputError(
            f"{folder} stores no values for {absent[0]}; {_advice(absent[0], places(folder), 'visual part')}."
        )
    _check_shapes(folder, info.mismatched_keys)
    if info.conversion_errors:
        name, reason = sorted(info.conversion_errors.items())[0]
        raise InputError(f"{folder} stores {name} in a way that cannot be converted ({reason.splitlines()[0]}).")


def check_amount(folder: Path, empty: PreTrainedModel, held: Mapping[str, Stored]) -> None:
    """Raises InputError where a config describes a model several times as large as what is stored.

    The gaps would be filled before anybody could look at them, with as much memory as the config says.
    """
    wanted = sum(parameter.numel() for parameter in empty.parameters())
    stored = sum(math.prod(place.shape) for place in held.values())
    if wanted > MOST_WANTED * stored:
        file = folder / "config.json"
        raise InputError(f"{file} describes a model of {wanted:,} numbers and {stored:,} are stored; {AGAIN}.")


def check_whole(folder: Path, model: PreTrainedModel, info: Mapping[str, Any]) -> None:
    """Raises InputError where a tensor of the whole model is not stored, does not fit, or is not finite.

    `info` is what `from_pretrained` says of the loading.
    """
    _check_shapes(folder, info["mismatched_keys"])
    absent = sorted(info["missing_keys"])
    if absent:
        what = _advice(absent[0], places(folder), "language model")
        if absent[0].startswith("lm_head") and what == AGAIN:
            what = "where it is that of the embeddings, config.json must say so (tie_word_embeddings)"
        raise InputError(f"{folder} stores no values for {absent[0]}; {what}.")
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not torch.isfinite(parameter).all():
            raise InputError(f"{folder} stores {name} with NaN or Inf; such a model answers nothing, so {AGAIN}.")


def _check_shapes(folder: Path, found: Collection[tuple[str, Any, Any]]) -> None:
    for name, stored, expected in sorted(found):
        file = folder / "config.json"
        what = "copy both here again"
        if "embed_tokens" in name or "lm_head" in name:
            what = f"where tokens were added, set vocab_size of its text_config to {next(iter(stored))}"
        raise InputError(f"{folder} stores {name} as {tuple(stored)}, and {file} expects {tuple(expected)}; {what}.")
