"""The method that docs/own_method.md shows runs as the page says, under every name that the page gives it."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

import unsee as package
from second_device import SAME, second_device, worst
from unsee import methods
from unsee.errors import InputError
from unsee.experiments.entries import entry
from unsee.session.session import Session
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


def test_a_session_runs_it_where_it_is_named_again(
    place: Path, unsee, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session's folder may be somebody else's: what it names is not run, and not even imported, by itself."""
    model = ("--model", place / "model", "--retain", place / "others")
    assert (
        unsee("session", "init", place / "s", *model, "--method", "tomean:ToMean", "--steps", 5, "--ask", "never") == 0
    )
    wanted = ("session", "forget", place / "s", "--target", place / "target", "--retain", place / "others")
    asked = ("--ask", "never", "--keep-anyway", "--id", "one")
    monkeypatch.delitem(sys.modules, "tomean")
    assert unsee(*wanted, *asked) == 2
    assert "made by tomean:ToMean, code that it names and does not bring along" in capsys.readouterr().err
    assert unsee("session", "verify", place / "s") == unsee("session", "log", place / "s") == 0
    assert "tomean" not in sys.modules
    assert unsee(*wanted, *asked, "--method", "os:path") == 2
    assert "made by tomean:ToMean, not by os:path" in capsys.readouterr().err
    assert "tomean" not in sys.modules
    assert unsee(*wanted[:5], "--id", "one", "--later", "--method", "tomean:ToMean") == 2
    assert "--method says how a request is made; give it to unsee session settle" in capsys.readouterr().err
    assert unsee(*wanted, *asked, "--method", "tomean:ToMean") in (0, 1)
    certificate = json.loads((place / "s" / "certificates" / "one.json").read_text(encoding="utf-8"))
    assert certificate["method"]["name"] == "tomean"
    assert unsee("session", "export", place / "s", "--out", place / "out") == 0
    record = json.loads((place / "out" / "unsee.json").read_text(encoding="utf-8"))
    assert record["method"] == {"name": "tomean", "class": "tomean:ToMean", "steps": 5, "rate": 1e-4, "batch": 8}
    moved = place / "model"
    moved.rename(place / "elsewhere")
    assert unsee("session", "relocate", place / "s", "--model", place / "elsewhere") == 0


def test_a_session_of_ones_own_method_is_not_one_of_another(place: Path, unsee) -> None:
    model = ("--model", place / "model", "--retain", place / "others", "--ask", "never")
    assert unsee("session", "init", place / "s", *model) == 0
    with pytest.raises(InputError, match="made by nscvf, not by tomean:ToMean"):
        Session(place / "s", method="tomean:ToMean")


def test_it_forgets_on_another_device(place: Path) -> None:
    from tomean import ToMean

    given = {"target": place / "target", "retain": place / "others", "method": ToMean(steps=3), "ask": "never"}
    here = package.forget(place / "model", **given, device="cpu")
    with second_device() as device:
        assert worst(here.weights, package.forget(place / "model", **given, device=device).weights) < SAME
