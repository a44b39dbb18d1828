"""Checkpoints: only the visual part is read, and only named tensors are written."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_model import LAYER, language_shards
from transformers import AutoModelForImageTextToText

import unsee
from tiny_method import METHOD
from unsee.errors import InputError
from unsee.evaluation.evaluate import language_model_unchanged
from unsee.methods import NSCVF
from unsee.models import carried
from unsee.models import checkpoint as module
from unsee.models.carried import hashes, left_out, told
from unsee.models.checkpoint import Vlm, load, skeleton, visual_hash, visual_parameters, write
from unsee.models.shards import differences, headers, shards
from unsee.system.disk import file_hash
from unsee.testing import stored

QUICK = NSCVF(steps=2, batch=2, views=0, composites=0)


def flip_byte(folder: Path, name: str) -> None:
    """Flips one bit of the first number of a stored tensor, in the file itself, which may not be a link."""
    place = headers(folder)[name]
    data = bytearray(place.file.read_bytes())
    data[place.start] ^= 1
    place.file.write_bytes(data)


def converted(source: Path, folder: Path, dtype: torch.dtype) -> Path:
    """A copy of a whole checkpoint with every weight in another dtype."""
    shutil.copytree(source, folder)
    tensors = {name: value.to(dtype) for name, value in stored(source).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(params=["whole", "sharded"])
def source(request: pytest.FixtureRequest, checkpoint: Path, sharded: Path) -> Path:
    return checkpoint if request.param == "whole" else sharded


def written(vlm: Vlm, out: Path, **options: bool) -> str:
    """Writes a copy with one parameter changed; the name of the tensor on disk that holds it."""
    value = visual_parameters(vlm.model, vlm.partition)[LAYER].detach()
    out.mkdir()
    write(vlm, {LAYER: value + 1}, out, **options)
    (name,) = [name for name, tensor in stored(vlm.folder).items() if torch.equal(tensor, value)]
    return name


def test_write_changes_the_named_tensors_alone(source: Path, tmp_path: Path) -> None:
    vlm, out = load(source), tmp_path / "out"
    name = written(vlm, out)
    before, after = stored(source), stored(out)
    assert after.keys() == before.keys()
    assert [key for key in before if not torch.equal(before[key], after[key])] == [name]
    assert torch.equal(after[name], before[name] + 1)
    different = [file.name for file in source.iterdir() if (out / file.name).read_bytes() != file.read_bytes()]
    assert different == [vlm.stored[name].file.name]  # the one shard that holds the tensor
    again = visual_parameters(load(out).model, vlm.partition)
    for key, value in visual_parameters(vlm.model, vlm.partition).items():
        assert torch.equal(again[key], value + 1 if key == LAYER else value)


def test_shards_that_do_not_change_are_copies_unless_links_are_asked_for(source: Path, tmp_path: Path) -> None:
    vlm = load(source)
    links, copied = tmp_path / "links", tmp_path / "copied"
    changed = vlm.stored[written(vlm, links, link=True)].file.name
    written(vlm, copied)
    for file in source.iterdir():
        same = file.suffix == ".safetensors" and file.name != changed
        assert (links / file.name).samefile(file) == same
        assert not (copied / file.name).samefile(file)
        assert (copied / file.name).read_bytes() == (links / file.name).read_bytes()
        if file.name != changed:
            assert (copied / file.name).read_bytes() == file.read_bytes()


def test_a_disk_without_hard_links_gets_copies(sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    vlm, out = load(sharded), tmp_path / "out"
    changed = vlm.stored[written(vlm, out, link=True)].file.name
    for file in sharded.iterdir():
        assert not (out / file.name).samefile(file)
        assert ((out / file.name).read_bytes() == file.read_bytes()) == (file.name != changed)


def test_the_cache_of_the_hub_is_never_linked_to(sharded: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "cache" / "blobs", tmp_path / "cache" / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(sharded.iterdir())):
        shutil.copyfile(file, blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    before, out = hashes(snapshot), tmp_path / "out"
    written(load(snapshot), out, link=True)
    assert all(not file.is_symlink() and file.stat().st_nlink == 1 for file in out.iterdir())
    assert hashes(snapshot) == before


def test_a_link_out_of_the_checkpoint_is_refused_and_its_content_goes_nowhere(checkpoint: Path, tmp_path: Path) -> None:
    folder, secret = Path(shutil.copytree(checkpoint, tmp_path / "model")), tmp_path / "secret"
    secret.write_text("private")
    (folder / "notes").symlink_to(secret)
    written(load(folder), tmp_path / "one")
    assert not (tmp_path / "one" / "notes").exists()
    (folder / "README.md").symlink_to(secret)
    with pytest.raises(InputError, match=r"README\.md is a link that leads out of the checkpoint"):
        written(load(folder), tmp_path / "two")


def test_only_what_is_known_to_be_needed_is_carried(checkpoint: Path, tmp_path: Path) -> None:
    folder, out = Path(shutil.copytree(checkpoint, tmp_path / "model")), tmp_path / "out"
    known = {"README.md": "read", "templates/tools.jinja": "{{ x }}", "chat_template.jinja": "{{ messages }}"}
    left = ["pytorch_model.bin", "old.pth", "model.gguf", "consolidated.safetensors", "model.safetensors.bak", "a.npz"]
    left += ["onnx/model.onnx_data", "dist/__0_0.distcp", "model.pte", "photos/alice.png", "model.pkl", "notes"]
    for name in [*known, *left, ".cache/lock"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(known.get(name, "what was forgotten"))
    written(load(folder), out)
    names = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert names == {file.name for file in checkpoint.iterdir()} | known.keys()
    assert all((out / name).read_text() == text for name, text in known.items())
    assert hashes(out).keys() == names == hashes(folder).keys()
    assert left_out(folder) == sorted(left)
    assert told(left_out(folder)).endswith("and 7 more")


def test_hashes_are_those_of_the_files_and_a_link_is_read_once(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = tmp_path / "out", list[Path]()
    written(load(sharded), out, link=True)
    expected = [{file.name: file_hash(file) for file in folder.iterdir()} for folder in (sharded, out)]
    monkeypatch.setattr(carried, "file_hash", lambda file: (read.append(file), file_hash(file))[1])
    known: dict[tuple[int, int], str] = {}
    assert [hashes(sharded, known), hashes(out, known)] == expected
    linked = {file.name for file in out.iterdir() if file.samefile(sharded / file.name)}
    assert linked
    assert not linked & {file.name for file in read if file.parent == out}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_kept_and_the_edit_reports_its_rounding(
    dtype: torch.dtype, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    vlm, out = load(converted(checkpoint, tmp_path / "half", dtype)), tmp_path / "out"
    assert all(p.dtype == torch.float32 for p in visual_parameters(vlm.model, vlm.partition).values())
    assert {vlm.dtype_of(name) for name in vlm.partition.visual} == {dtype}
    before = visual_hash(vlm)
    edit = unsee.forget(vlm, target, retained, method=METHOD, ask="never")
    assert visual_hash(vlm) == before
    assert all(weight.dtype == dtype for weight in edit.weights.values())
    assert 0 < edit.method["rounding_share"] < 0.5
    assert edit.method["rounding_share"] > 1e-5  # something is lost in half precision
    assert abs(edit.method["rounding_target"]) < 0.1
    assert abs(edit.method["rounding_drift"]) < 0.1
    edit.save(out)
    after = stored(out)
    assert {value.dtype for value in after.values()} == {dtype}
    again = visual_parameters(load(out).model, vlm.partition)
    assert all(torch.equal(again[name], weight.float()) for name, weight in edit.weights.items())
    assert language_model_unchanged(vlm, out).passed


def test_nothing_is_lost_in_full_precision(vlm: Vlm, target: Path, retained: Path) -> None:
    edit = unsee.forget(vlm, target, retained, method=QUICK, ask="never")
    assert [edit.method[f"rounding_{name}"] for name in ("share", "target", "drift")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["nowhere", "protected"])
def test_write_refuses_what_is_not_visual(name: str, source: Path, tmp_path: Path) -> None:
    vlm = load(source)
    name = vlm.partition.protected[0] if name == "protected" else name
    with pytest.raises(InputError, match=f"{name} is no visual parameter"):
        write(vlm, {name: torch.zeros(2, 2)}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_write_refuses_another_shape(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stores .* as F32"):
        write(load(source), {LAYER: torch.zeros(1, 2, 3)}, tmp_path)


def test_what_is_opened_equals_what_transformers_opens(source: Path) -> None:
    vlm = load(source)
    other = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
    expected = dict(other.named_parameters())
    for name, value in visual_parameters(vlm.model, vlm.partition).items():
        assert torch.equal(value, expected[name])
    buffers = dict(vlm.model.named_buffers())
    for name, value in other.named_buffers():
        if "vision" in name:
            assert torch.equal(buffers[name], value)


def test_stored_says_where_each_visual_tensor_lies(source: Path) -> None:
    vlm, everything = load(source), stored(source)
    values = [value.flatten().tolist() for value in visual_parameters(vlm.model, vlm.partition).values()]
    assert sorted(everything[name].flatten().tolist() for name in vlm.stored) == sorted(values)
    for name, place in vlm.stored.items():
        assert place == headers(source)[name]


def test_the_language_model_is_never_read(
    sharded: Path, target: Path, retained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards without visual tensors may hold anything: opening and forgetting do not look."""
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    garbled = language_shards(load(copy))
    for file in garbled:
        file.write_bytes(b"garbage!" * 100)
    edits = [unsee.forget(load(folder), target, retained, method=QUICK, ask="never") for folder in (sharded, copy)]
    assert edits[0].weights.keys() == edits[1].weights.keys()
    assert all(torch.equal(value, edits[1].weights[name]) for name, value in edits[0].weights.items())
    with pytest.raises(InputError, match="no safetensors file that is whole"):  # the language model is asked for
        load(copy, language=True)


def test_protected_parameters_have_no_values(source: Path) -> None:
    vlm = load(source)
    parameters = dict(vlm.model.named_parameters())
    assert all(parameters[name].is_meta for name in vlm.partition.protected)
    assert not any(parameters[name].is_meta for name in vlm.partition.visual)
    assert all(p.is_meta for p in vlm.outline.parameters())


def test_an_opened_model_is_float32_frozen_and_in_evaluation_mode(vlm: Vlm) -> None:
    for model in (vlm.model, vlm.outline, load(vlm.folder, language=True).model):
        assert not any(inner.training for inner in model.modules())
        assert all(p.dtype == torch.float32 and not p.requires_grad for p in model.parameters())


def test_a_skeleton_reads_the_config_alone(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copyfile(checkpoint / "config.json", tmp_path / "config.json")
    folder, empty, partition = skeleton(tmp_path)
    assert folder == tmp_path
    assert all(p.is_meta for p in empty.parameters())
    assert partition == load(checkpoint).partition


def test_one_flipped_bit_in_a_protected_tensor_is_found(source: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    opened = load(source)
    flip_byte(copy, sorted(opened.stored)[0])
    passed = language_model_unchanged(opened, copy)
    assert passed.passed
    assert passed.name == "language_model_unchanged"
    protected = sorted(stored(source).keys() - opened.stored.keys())[0]
    flip_byte(copy, protected)
    found = language_model_unchanged(opened, copy)
    assert not found.passed
    assert protected in found.detail


def test_a_missing_and_an_added_tensor_differ(source: Path, tmp_path: Path) -> None:
    other = {name: value.clone() for name, value in stored(source).items()}
    lost = sorted(other)[0]
    other["added"] = other.pop(lost)
    save_file(other, tmp_path / "model.safetensors")
    _, different = differences(source, tmp_path, [])
    assert sorted(different) == sorted([lost, "added"])


def test_the_visual_hash_sees_visual_weights_alone(vlm: Vlm, sharded: Path) -> None:
    before, other = visual_hash(vlm), load(sharded, language=True)
    assert visual_hash(load(sharded)) == visual_hash(other) == before
    parameters = dict(other.model.named_parameters())
    parameters[other.partition.protected[0]].view(-1)[0] += 1
    assert visual_hash(other) == before
    parameters[other.partition.visual[0]].view(-1)[0] += 1
    assert visual_hash(other) != before


def test_a_single_file_counts_before_an_index(checkpoint: Path, sharded: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sharded, tmp_path / "copy"))
    shutil.copyfile(checkpoint / "model.safetensors", copy / "model.safetensors")
    assert [file.name for file in shards(copy)] == ["model.safetensors"]


def test_with_its_language_model_the_visual_part_is_not_read_on_its_own(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_visual_part", lambda _: pytest.fail("the visual part was read twice"))
    assert not any(parameter.is_meta for parameter in load(checkpoint, language=True).model.parameters())
