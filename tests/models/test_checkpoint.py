"""Checkpoints: what is written differs in the named tensors alone, and what cannot be used is refused in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from unsee.errors import InputError
from unsee.evaluation import language_model_unchanged
from unsee.models.checkpoint import INDEX, Vlm, load, protected_differences, shards, stored_names, visual_hash, write


def stored(folder: Path) -> dict[str, Tensor]:
    found = {}
    for file in shards(folder):
        with safe_open(file, framework="pt") as shard:
            found |= {name: shard.get_tensor(name) for name in list(shard.keys())}
    return found


def flip_byte(folder: Path, name: str) -> None:
    """Flips one bit of the first number of a stored tensor, in the file itself."""
    for file in shards(folder):
        data = bytearray(file.read_bytes())
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        if name in header:
            data[8 + length + header[name]["data_offsets"][0]] ^= 1
            file.write_bytes(data)
            return
    raise KeyError(name)


@pytest.fixture(scope="module")
def sharded(vlm: Vlm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint in several files; to be read only."""
    folder = tmp_path_factory.mktemp("sharded") / "model"
    vlm.model.save_pretrained(folder, max_shard_size="100KB")
    vlm.processor.save_pretrained(folder)
    assert len(shards(folder)) > 1
    return folder


@pytest.fixture(params=["whole", "sharded"])
def source(request: pytest.FixtureRequest, checkpoint: Path, sharded: Path) -> Path:
    return checkpoint if request.param == "whole" else sharded


def test_write_changes_the_named_tensors_alone(source: Path, tmp_path: Path) -> None:
    before = stored(source)
    name = next(name for name in before if "projector" in name and before[name].ndim == 2)
    write(source, {name: before[name] + 1}, tmp_path)
    after = stored(tmp_path)
    assert after.keys() == before.keys()
    assert [key for key in before if not torch.equal(before[key], after[key])] == [name]
    assert torch.equal(after[name], before[name] + 1)
    different = [file.name for file in source.iterdir() if (tmp_path / file.name).read_bytes() != file.read_bytes()]
    assert len(different) == 1  # the one shard that holds the tensor
    assert different[0].endswith(".safetensors")
    load(tmp_path)


def test_write_rounds_to_the_stored_type(vlm: Vlm, tmp_path: Path) -> None:
    source, out = tmp_path / "half", tmp_path / "out"
    out.mkdir()
    shutil.copytree(vlm.folder, source)
    half = load(source).model.half()
    half.save_pretrained(source)
    name = next(name for name in stored(source) if "projector" in name)
    write(source, {name: torch.full_like(stored(source)[name], 1 / 3, dtype=torch.float32)}, out)
    assert stored(out)[name].dtype == torch.float16
    assert torch.all(stored(out)[name] == torch.tensor(1 / 3).half())


@pytest.mark.parametrize("changed", [{"nowhere": torch.zeros(1)}, {"lm_head.bias.x": torch.zeros(2, 2)}])
def test_write_refuses_a_tensor_that_is_not_stored(source: Path, changed: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stores no tensor named"):
        write(source, changed, tmp_path)


def test_write_refuses_another_shape(source: Path, tmp_path: Path) -> None:
    name = next(iter(stored(source)))
    with pytest.raises(InputError, match=r"stores .* as"):
        write(source, {name: torch.zeros(1, 2, 3, 4, 5)}, tmp_path)


def test_the_names_on_disk_are_those_in_the_files(vlm: Vlm, source: Path) -> None:
    names = stored_names(vlm.model, vlm.partition.visual)
    assert set(names.values()) <= stored(source).keys()
    values = dict(vlm.model.named_parameters())
    assert all(torch.equal(values[name].detach(), stored(source)[disk]) for name, disk in names.items())


def test_one_flipped_bit_in_a_protected_tensor_is_found(vlm: Vlm, source: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    opened = load(source)
    visual = set(stored_names(vlm.model, vlm.partition.visual).values())
    flip_byte(copy, sorted(visual)[0])
    passed = language_model_unchanged(opened, copy)
    assert passed.passed
    assert passed.name == "language_model_unchanged"
    protected = sorted(stored(source).keys() - visual)[0]
    flip_byte(copy, protected)
    found = language_model_unchanged(opened, copy)
    assert not found.passed
    assert protected in found.detail


def test_a_missing_and_an_added_tensor_differ(source: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    other = {name: value.clone() for name, value in stored(source).items()}
    lost = sorted(other)[0]
    other["added"] = other.pop(lost)
    save_file(other, tmp_path / "model.safetensors")
    _, different = protected_differences(source, tmp_path, [])
    assert sorted(different) == sorted([lost, "added"])


def test_the_visual_hash_sees_visual_weights_alone(vlm: Vlm, sharded: Path) -> None:
    before, other = visual_hash(vlm), load(sharded)
    assert visual_hash(other) == before
    parameters = dict(other.model.named_parameters())
    parameters[other.partition.protected[0]].view(-1)[0] += 1
    assert visual_hash(other) == before
    parameters[other.partition.visual[0]].view(-1)[0] += 1
    assert visual_hash(other) != before


def test_an_opened_model_is_float32_frozen_and_in_evaluation_mode(vlm: Vlm) -> None:
    assert not vlm.model.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in vlm.model.parameters())


def test_a_missing_shard_is_refused(sharded: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    gone = shards(copy)[-1]
    gone.unlink()
    with pytest.raises(InputError, match=f"lacks {gone.name}"):
        load(copy)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", "{", "config.json cannot be read"),
        ("config.json", '{"model_type": "nothing"}', "config.json cannot be read"),
        ("model.safetensors", "no tensors", "cannot be read"),
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


def test_a_single_file_counts_before_an_index(checkpoint: Path, sharded: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    shutil.copyfile(checkpoint / "model.safetensors", copy / "model.safetensors")
    assert [file.name for file in shards(copy)] == ["model.safetensors"]
