"""The method that docs/own_method.md shows runs as the page says, under every name that the page gives it."""

import re
import sys
from pathlib import Path

import pytest
import torch

import unsee as package
from unsee import methods
from unsee.errors import InputError
from unsee.experiments.entries import entry
from unsee.testing import images, tiny_checkpoint

PAGE = Path(__file__).parents[2] / "docs" / "own_method.md"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's code as tomean.py, a checkpoint, and photos."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert code
    (tmp_path / "tomean.py").write_text(code[1], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tomean", raising=False)
    tiny_checkpoint(tmp_path / "model")
    for side, seed in (("target", 1), ("others", 2)):
        (tmp_path / side).mkdir()
        for number, image in enumerate(images(6, seed=seed)):
            image.save(tmp_path / side / f"{number}.png")
    return tmp_path


def test_it_forgets_at_the_command_line_and_in_python(place: Path, unsee) -> None:
    photos = ("--model", place / "model", "--target", place / "target", "--retain", place / "others")
    own = ("--ask", "never", "--keep-anyway", "--steps", "5")
    assert unsee("forget", "tomean:ToMean", *photos, *own, "--out", place / "out") == 0
    kind = methods.find("tomean:ToMean")
    edit, again = (
        package.forget(place / "model", place / "target", place / "others", method=kind(steps=5), ask="never")
        for _ in range(2)
    )
    assert edit.method["name"] == "tomean"
    assert all(torch.equal(value, again.weights[name]) for name, value in edit.weights.items())
    assert any(not torch.equal(value, edit.vlm.model.get_parameter(name)) for name, value in edit.weights.items())
    with pytest.raises(InputError, match="steps is 0"):
        kind(steps=0)


def test_it_is_compared_with_others(place: Path) -> None:  # tomean.py must be there
    assert entry("tomean:ToMean").method.name == "tomean"
    with pytest.raises(InputError, match="unknown method 'tomean'"):
        entry("tomean")
