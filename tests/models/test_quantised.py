"""A checkpoint whose language model is quantised is edited; one whose visual part is, is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import unsee as package
from tiny_method import METHOD
from unsee.errors import InputError
from unsee.methods import NPO
from unsee.models.checkpoint import load
from unsee.records import Sample
from unsee.testing import images, stored, tiny_checkpoint


def quantise(source: Path, folder: Path, part: str) -> Path:
    """A copy whose linear layers under `part` are stored as codes, as GPTQ stores them, and whose config says so."""
    shutil.copytree(source, folder)
    made = dict[str, Tensor]()
    for name, value in stored(source).items():
        if part in name and value.dim() == 2 and name.endswith(("proj.weight", "1.weight", "2.weight")):
            stem = name.removesuffix(".weight")
            made |= {f"{stem}.qweight": value.view(-1)[:8].to(torch.int32), f"{stem}.scales": torch.ones(2).half()}
        else:
            made[name] = value
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "modules_to_not_convert": ["vision_tower"]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_quantised_language_model_is_left_as_it_is(checkpoint: Path, tmp_path: Path) -> None:
    folder, told = quantise(checkpoint, tmp_path / "q", "language_model"), list[str]()
    target = [Sample(image, "a") for image in images(3, seed=1)]
    retained = [Sample(image, f"b{number % 3}") for number, image in enumerate(images(9, seed=2))]
    edit = package.forget(folder, target, retained, method=METHOD, tell=told.append)
    assert any("it is not asked" in text for text in told)
    edit.save(tmp_path / "out", keep_anyway=True)
    before, after = stored(folder), stored(tmp_path / "out")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert moved <= set(load(folder).stored)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]["quant_method"] == "gptq"
    with pytest.raises(InputError, match=r"is quantised \(gptq\) and cannot be asked here"):
        load(folder, language=True)
    with pytest.raises(InputError, match="cannot be asked here"):
        package.forget(folder, target, retained, method=METHOD, ask="Who is this?")


def test_a_quantised_visual_part_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stores no values for .*; its visual part is quantised"):
        load(quantise(checkpoint, tmp_path / "q", "multi_modal_projector"))


def test_an_edit_is_carried_over_to_a_quantised_copy(
    checkpoint: Path, tmp_path: Path, unsee: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    served = quantise(checkpoint, tmp_path / "served", "language_model")
    target = [Sample(image, "a") for image in images(3, seed=1)]
    retained = [Sample(image, f"b{number % 3}") for number, image in enumerate(images(9, seed=2))]
    package.forget(checkpoint, target, retained, method=METHOD, ask="never").save(tmp_path / "alice", keep_anyway=True)
    given = ("export", "--from", tmp_path / "alice", "--onto")
    assert unsee(*given, served, "--out", tmp_path / "out") == 0
    assert "passed: language_model_unchanged" in capsys.readouterr().out
    alice, out, before = (stored(folder) for folder in (tmp_path / "alice", tmp_path / "out", served))
    visual = set(load(served).stored)
    assert all(torch.equal(out[name], alice[name]) for name in visual)
    assert all(torch.equal(out[name], before[name]) for name in before.keys() - visual)
    assert json.loads((tmp_path / "out" / "unsee.json").read_text())["method"]["name"] == "nscvf"
    other = tiny_checkpoint(tmp_path / "other", seed=3)
    assert unsee(*given, other, "--out", tmp_path / "no") == 2
    assert "is not the one that was edited" in capsys.readouterr().err
    assert unsee("export", "--from", served, "--onto", served, "--out", tmp_path / "no") == 2
    assert "does not say which visual module was edited" in capsys.readouterr().err
    package.forget(checkpoint, target, retained, method=NPO(scope="all", steps=1), ask="never").save(tmp_path / "all")
    assert unsee("export", "--from", tmp_path / "all", "--onto", served, "--out", tmp_path / "no") == 2
    assert "has the scope all, and export puts the visual module alone" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
