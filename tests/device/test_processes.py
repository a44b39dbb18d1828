"""Two processes make what one makes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from second_device import SAME, worst
from unsee.cli import bench
from unsee.models.checkpoint import load
from unsee.moments.file import read
from unsee.system import processes
from unsee.testing import stored

Run = Callable[..., int]

QUICK = ("--steps", 6, "--batch", 8, "--views", 8, "--composites", 4, "--keep-anyway")


def run(*args: object, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "-m", "unsee", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_a_request_is_the_same(unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path) -> None:
    given = ("forget", "--model", checkpoint, "--target", target, "--retain", retained, *QUICK)
    alone = unsee(*given, "--out", tmp_path / "one")
    both = run(*given, "--num-processes", 2, "--out", tmp_path / "two")
    assert both.returncode == alone, both.stderr
    assert worst(stored(tmp_path / "one"), stored(tmp_path / "two")) < SAME
    assert both.stdout.count("the page: ") == 1  # one process speaks
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_moments_are_the_same_under_torchrun(unsee: Run, checkpoint: Path, retained: Path, tmp_path: Path) -> None:
    given = ("moments", "--model", checkpoint, "--retain", retained)
    assert unsee(*given, "--out", tmp_path / "one") == 0
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    both = run(*given, "--out", tmp_path / "two", launcher=launcher)
    assert both.returncode == 0, both.stderr
    vlm = load(checkpoint)
    one, two = read(tmp_path / "one", vlm), read(tmp_path / "two", vlm)
    assert one.hashes == two.hashes
    for name, gram in one.grams.items():
        assert torch.allclose(gram.outer, two.grams[name].outer, rtol=1e-6, atol=0)


def test_an_error_is_said_once(tmp_path: Path, target: Path) -> None:
    given = ("forget", "--model", tmp_path / "nowhere", "--target", target, "--retain", target)
    both = run(*given, "--num-processes", 2, "--out", tmp_path / "out")
    assert both.returncode == 2
    assert both.stderr.count("nowhere is not a folder") == 1
    assert "Traceback" not in both.stderr


@pytest.mark.parametrize("number", ["0", "two", ""])
def test_a_number_that_is_none_is_refused(number: str, unsee: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert unsee("moments", "--num-processes", number) == 2
    assert "expected a number" in capsys.readouterr().err
    assert unsee("report", "--num-processes", "2") == 2
    assert "runs in one process" in capsys.readouterr().err


def test_cells_of_bench_are_made_side_by_side(unsee: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in one process, as with --jobs."""
    given = list[list[str]]()
    monkeypatch.setattr(bench, "main", lambda args: given.append(args) or 0)
    assert unsee("bench", "--num-processes", 3, "--thin", 6) == 0
    assert given == [["--thin", "6", "--jobs", "3"]]


def test_alone_everything_is_ones_own() -> None:
    assert processes.own([1, 2, 3]) == processes.whole([1, 2, 3]) == [1, 2, 3]
    assert processes.mine(7)
    assert processes.same("it") == "it"
