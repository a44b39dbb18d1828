"""Writing a folder: complete or absent, whatever goes wrong on the way."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from tiny_method import TYPED
from unsee.errors import InputError, MissedError
from unsee.forgetting.edit import Edit
from unsee.models.checkpoint import Vlm, load
from unsee.records import LayerDrift, Verdict
from unsee.system.output import RECORD, with_folder
from unsee.testing import photo_folder

LIMITED = """
import resource, sys
from unsee.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def put(name: str, text: str = "new") -> Callable[[Path], None]:
    return lambda folder: void((folder / name).write_text(text))


def void(_: object) -> None:
    """Nothing, for functions that must return nothing."""


def test_the_folder_appears_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fill(folder: Path) -> None:
        put("a")(folder)
        assert not out.exists()
        put("b")(folder)

    with_folder(out, fill)
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error")])
@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_refuses_leaves_what_was_there(tmp_path: Path, error: Exception, existing: bool) -> None:
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        put(RECORD, '{"unsee": "0"}')(out)

    def fill(folder: Path) -> None:
        put("a")(folder)
        raise error

    with pytest.raises(InputError, match=r"out could not be written \((No space left on device|I/O error)\)"):
        with_folder(out, fill, overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == (["out", RECORD] if existing else [])


def test_any_other_failure_leaves_nothing_either(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        put("a")(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with_folder(tmp_path / "out", fill)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with_folder(out, put(RECORD, '{"unsee": "0"}'))
    with pytest.raises(InputError, match="exists already"):
        with_folder(out, put("new"))
    assert [path.name for path in out.iterdir()] == [RECORD]
    with_folder(out, put("new"), overwrite=True)
    assert [path.name for path in out.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_and_an_output_below_one_are_refused_and_missing_folders_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="is a file"):
        with_folder(tmp_path / "file", put("a"), overwrite=True)
    with pytest.raises(InputError, match="file is no folder"):
        with_folder(tmp_path / "file" / "out", put("a"))
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(ZeroDivisionError):
        with_folder(tmp_path / "new" / "deep" / "out", lambda _: 1 / 0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with_folder(tmp_path / "new" / "deep" / "out", put("a"))
    assert (tmp_path / "new" / "deep" / "out" / "a").exists()


def test_an_edit_writes_its_weights(vlm: Vlm, tmp_path: Path) -> None:
    name = f"{vlm.partition.linear[0]}.weight"
    weight = torch.full_like(dict(vlm.model.named_parameters())[name], 0.25)
    edit = Edit(vlm, {name: weight}, {"name": "none"}, seed=0, stopped="at once")
    edit.save(tmp_path / "out", record=put("record.txt"))
    assert torch.equal(dict(load(tmp_path / "out").model.named_parameters())[name], weight)
    assert (tmp_path / "out" / "record.txt").read_text() == "new"
    assert edit.facts() == {"name": "none", "stopped": "at once", "trained_weights": 1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_edit_can_go_a_part_of_its_way_and_its_record_says_so(dtype: torch.dtype, vlm: Vlm) -> None:
    name = f"{vlm.partition.linear[0]}.weight"
    before = dict(vlm.model.named_parameters())[name].detach()
    weight = (before + 0.25).to(dtype)
    layer = LayerDrift(name, retained=0.08, change=0.4, rank=1, width=2)
    edit = Edit(vlm, {name: weight}, {"name": "none"}, seed=0, stopped="at once", layers=[layer])
    assert torch.equal(edit.scaled(1.0).weights[name], weight)
    assert torch.equal(edit.scaled(0.0).weights[name], before.to(dtype))
    half = edit.scaled(0.5)
    torch.testing.assert_close(half.weights[name].float(), before + 0.125, atol=1e-3, rtol=1e-3)
    assert half.weights[name].dtype == dtype
    assert half.layers == [replace(layer, retained=0.02, change=0.2)]
    assert half.facts()["share_of_change"] == 0.5


def test_an_edit_that_missed_its_aim_is_not_written_unless_it_is_kept_anyway(vlm: Vlm, tmp_path: Path) -> None:
    missed = Verdict(False, "", {}, ("target",))
    edit = Edit(vlm, {}, {"name": "none"}, seed=0, stopped="at once", verdict=missed)
    with pytest.raises(MissedError, match=r"The model itself was not asked\. The features .* Nothing was written\."):
        edit.save(tmp_path / "out")
    assert not list(tmp_path.iterdir())
    edit.save(tmp_path / "out", keep_anyway=True)
    told = json.loads((tmp_path / "out" / RECORD).read_text())["verdict"]
    assert told == {
        "passed": False, "question": "", "counts": {}, "missed": ["target"], "notes": [],
        "sentence": "The model itself was not asked.",
    }  # fmt: skip
    for verdict in (None, Verdict(True, "", {})):
        replace(edit, verdict=verdict).save(tmp_path / "out", overwrite=True)
        told = json.loads((tmp_path / "out" / RECORD).read_text())["verdict"]
        assert (told is None) == (verdict is None)


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        (["moments"], 50_000),
        (["forget", "nscvf", *TYPED, "--ask", "never", "--target", "target"], 50_000),
    ],
    ids=["moments", "forget"],
)
def test_a_disk_that_fills_up(command: list[str], limit: int, checkpoint: Path, retained: Path, tmp_path: Path) -> None:
    photo_folder(tmp_path / "target", 3, seed=1)
    before = sorted(tmp_path.rglob("*"))
    data = ["--model", str(checkpoint), "--retain", str(retained), "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *command, *data],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
