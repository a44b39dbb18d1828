"""Checkpoints that are damaged, or of no use, are refused in a sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_model import LAYER

from unsee.errors import InputError
from unsee.models.checkpoint import Vlm, load
from unsee.models.shards import INDEX, shards
from unsee.testing import stored


def set_first(folder: Path, name: str, value: float) -> None:
    """Writes another first number into a stored tensor of a whole checkpoint."""
    tensors = stored(folder)
    tensors[name].view(-1)[0] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def configured(source: Path, folder: Path, **settings: Any) -> Path:
    """A copy of a checkpoint with other settings in config.json."""
    shutil.copytree(source, folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


def test_a_missing_shard_is_refused(sharded: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    gone = shards(copy)[-1]
    gone.unlink()
    with pytest.raises(InputError, match=f"lacks {gone.name}"):
        load(copy)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"garbage!" * 9],
    ids=["cut", "longer", "garbage"],
)
def test_a_damaged_shard_of_the_visual_part_is_named(
    damage: Callable[[bytes], bytes], sharded: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    file = next(iter(load(copy).stored.values())).file
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError) as refusal:
        load(copy)
    assert file.name in str(refusal.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_visual_weight_that_is_not_finite_is_refused_by_name(
    value: float, checkpoint: Path, vlm: Vlm, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (name,) = [n for n in vlm.stored if n.endswith("linear_1.weight")]
    set_first(copy, name, value)
    with pytest.raises(InputError, match=f"stores {LAYER} with NaN or Inf"):
        load(copy)


def test_a_visual_tensor_that_is_not_stored_is_named(checkpoint: Path, vlm: Vlm, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (name,) = [n for n in vlm.stored if n.endswith("linear_1.weight")]
    for change, words in ((None, f"stores no values for {LAYER}"), (torch.zeros(3, 5), rf"stores {LAYER} as \(3, 5\)")):
        tensors = stored(checkpoint)
        del tensors[name]
        tensors |= {} if change is None else {name: change}
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=words):
            load(copy)


def test_visual_codes_instead_of_floats_are_refused(checkpoint: Path, vlm: Vlm, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    tensors, (name,) = stored(checkpoint), [n for n in vlm.stored if n.endswith("linear_1.weight")]
    tensors[name] = tensors[name].to(torch.int8)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"stores {name} as I8"):
        load(copy)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model_type": "nothing"}, "of the type 'nothing', which transformers .* does not know"),
        ({"model_type": "nothing", "auto_map": {"AutoConfig": "a.B"}}, "add --trust-remote-code if you trust it"),
        ({"model_type": None}, "names no model_type"),
        ({"model_type": "llama"}, "which takes no images"),
    ],
    ids=["unknown", "own code", "no type", "text only"],
)
def test_a_config_of_no_use_is_refused(settings: dict[str, Any], words: str, checkpoint: Path, tmp_path: Path) -> None:
    folder = configured(checkpoint, tmp_path / "copy", **settings)
    with pytest.raises(InputError, match=words) as refusal:
        load(folder)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("kind", [[], {"a": 1}], ids=["list", "object"])
def test_a_type_that_is_no_text_is_refused(kind: Any, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        load(configured(checkpoint, tmp_path / "copy", model_type=kind))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_config_with_patches_of_no_size_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    vision = json.loads((checkpoint / "config.json").read_text())["vision_config"] | {"patch_size": 0}
    with pytest.raises(InputError, match=r"config\.json"):
        load(configured(checkpoint, tmp_path / "copy", vision_config=vision))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", "{", "config.json cannot be read"),
        ("config.json", "[]", "config.json"),
        ("config.json", '{"model_type": "nothing"}', "'nothing'"),
        ("model.safetensors", "no tensors", "model.safetensors is no safetensors file that is whole"),
        ("processor_config.json", None, "processor"),
        ("processor_config.json", "{", "processor"),
        ("tokenizer.json", None, "processor"),
        ("tokenizer.json", "{", "processor"),
    ],
)
def test_a_damaged_folder_is_refused(
    file: str, content: str | None, words: str, checkpoint: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_text(content)
    with pytest.raises(InputError, match=words) as refusal:
        load(copy)
    assert str(copy) in str(refusal.value)


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../model.safetensors"}}'])
def test_a_damaged_index_is_refused(index: str, sharded: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    (copy / INDEX).write_text(index)
    with pytest.raises(InputError, match=INDEX):
        load(copy)


def test_an_index_that_places_a_visual_tensor_elsewhere_is_refused(sharded: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    index, name = json.loads((copy / INDEX).read_text()), sorted(load(sharded).stored)[0]
    index["weight_map"][name] = next(file for file in index["weight_map"].values() if file != index["weight_map"][name])
    (copy / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match=f"{INDEX} places {name} in .*, which does not hold it"):
        load(copy)


def test_a_checkpoint_with_an_adapter_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="holds an adapter"):
        load(copy)
