"""The library as it is used from Python: paths, images and names; what it gives back can be looked at and tried."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import unsee
from tiny_method import METHOD
from unsee.errors import InputError
from unsee.forgetting.edit import Edit
from unsee.methods import METHODS, NSCVF, find
from unsee.testing import images


@pytest.fixture(scope="module")
def edit(checkpoint: Path, retained: Path) -> Edit:
    """A request about images in memory, on a model that is named by its folder."""
    return unsee.forget(str(checkpoint), images(4, seed=9), str(retained), method=METHOD, ask="Who is this?")


def test_an_edit_says_in_a_line_what_it_is_and_shows_its_answers(edit: Edit, checkpoint: Path) -> None:
    assert repr(edit) == f"<Edit of {checkpoint.name} by nscvf: {len(edit.weights)} weights, failed>"
    page = edit._repr_html_()
    assert "Who is this?" in page
    assert page.count("<tr>") == 13


def test_an_edit_can_be_tried_before_it_is_written(edit: Edit) -> None:
    tried = dict(edit.apply().model.named_parameters())
    before = dict(edit.vlm.model.named_parameters())
    for name, value in edit.weights.items():
        assert torch.equal(tried[name], value.to(tried[name].dtype))
    assert any(not torch.equal(before[name], tried[name]) for name in edit.weights)


def test_a_record_can_be_looked_at(edit: Edit, tmp_path: Path) -> None:
    out = edit.save(tmp_path / "out", keep_anyway=True)
    result = unsee.api.request_result(edit, out)
    assert repr(result).startswith("<Result of out: ")
    assert "<table>" in result._repr_html_()
    assert set(result.to_pandas()["phase"]) == {"before", "after"}
    assert '"request"' in result.to_json()


def test_photos_may_be_files(checkpoint: Path, target: Path, retained: Path) -> None:
    files = sorted(target.iterdir())
    made = unsee.forget(checkpoint, files, retained, method=METHOD, ask="never")
    assert made.request is not None
    assert len(made.request.used) == 3


@pytest.mark.parametrize(
    ("target", "expected"),
    [([1], "int is no photo; expected a path"), (7, "int is no photos; expected"), (["nowhere.png"], "nowhere.png")],
)
def test_what_is_no_photo_is_said(target: object, expected: str, checkpoint: Path, retained: Path) -> None:
    with pytest.raises(InputError, match=expected):
        unsee.forget(checkpoint, target, retained, method=METHOD, ask="never")


def test_a_seed_may_be_a_number_of_numpy(checkpoint: Path, target: Path, retained: Path) -> None:
    edit = unsee.forget(checkpoint, target, retained, method=METHOD, ask="never", seed=np.int64(3))
    assert type(edit.seed) is int


def test_the_verbs_and_the_exception_are_listed() -> None:
    assert {"forget", "evaluate", "attack", "load", "report", "InputError"} <= set(dir(unsee))
    assert unsee.InputError is InputError


@dataclasses.dataclass(frozen=True)
class Own(NSCVF):
    """A method of somebody's own."""

    name = "own"


def test_a_method_of_ones_own_is_found_by_its_module_and_class(checkpoint: Path, target: Path, retained: Path) -> None:
    assert find(f"{__name__}:Own") is Own
    assert find("nscvf") is METHODS["nscvf"] is NSCVF
    with pytest.raises(InputError, match=r"there is no method nowhere:Own .*; expected package.module:Class"):
        find("nowhere:Own")
    with pytest.raises(InputError, match="is no method; expected a frozen dataclass"):
        find("pathlib:Path")
    with pytest.raises(InputError, match="did you mean 'nscvf'"):
        find("nscv")


def test_a_transparent_image_in_memory_is_a_photo(checkpoint: Path, retained: Path) -> None:
    clear = [image.convert("RGBA") for image in images(2, seed=5)]
    assert isinstance(clear[0], Image.Image)
    made = unsee.forget(checkpoint, clear, retained, method=METHOD, ask="never")
    assert made.request is not None
    assert made.request.retained_images == 12


def test_a_checkpoint_is_measured_on_photos(edit: Edit, retained: Path, tmp_path: Path) -> None:
    out = edit.save(tmp_path / "out", keep_anyway=True)
    photos = sorted((retained / "concept_0").iterdir())
    result = unsee.evaluate(out, target=photos, answer_from_folder=True)
    assert result.value("recognition", "target", "after") is not None
    with pytest.raises(InputError, match="nothing says which answers are right"):
        unsee.evaluate(out, target=photos)
    with pytest.raises(InputError, match="there is nothing to ask"):
        unsee.evaluate(out)


@pytest.mark.parametrize(
    "given",
    [
        {"method": 3},
        {"method": NSCVF},
        {"questions": "q.jsonl"},
        {"moments": 5},
        {"ask": 3},
        {"seed": "x"},
        {"identifier": 5},
        {"state": 5},
        {"vlm": None},
    ],
)
def test_what_is_of_another_kind_is_said_in_a_sentence(given: dict[str, Any], checkpoint: Path, target: Path) -> None:
    """By its name, before anything is opened."""
    with pytest.raises(InputError, match=rf"^{next(iter(given))} is .*; expected .*\.$"):
        unsee.forget(**{"vlm": checkpoint, "target": target, **given})


def test_a_page_is_made_of_a_file_and_of_nothing_else(edit: Edit, tmp_path: Path) -> None:
    edit.save(tmp_path / "out", keep_anyway=True)
    for made in (lambda: unsee.report(5, tmp_path / "p"), lambda: unsee.load(5), lambda: edit.save(5)):  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r" is 5; expected .*\.$"):
            made()
    with pytest.raises(InputError, match=r"steps is 'a'; expected a whole number"):
        NSCVF(steps="a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be read"):
        unsee.report(tmp_path / "none.json", tmp_path / "p")


@contextmanager
def default(setter: Callable[[Any], None], value: object, before: object) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(before)


@pytest.mark.parametrize(
    "state",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.set_grad_enabled(mode=False),
        lambda: default(torch.set_default_dtype, torch.float64, torch.float32),
        lambda: default(torch.set_default_dtype, torch.bfloat16, torch.float32),
        lambda: default(torch.set_default_device, "meta", None),
    ],
)
def test_what_a_notebook_has_set_of_torch_changes_nothing(
    state: Callable[[], AbstractContextManager[Any]], checkpoint: Path, retained: Path, edit: Edit
) -> None:
    with state():
        now = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
        again = unsee.forget(str(checkpoint), images(4, seed=9), str(retained), method=METHOD, ask="Who is this?")
        assert now == (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype())
    assert all(torch.equal(value, again.weights[name]) for name, value in edit.weights.items())
