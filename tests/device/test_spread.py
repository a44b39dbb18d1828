"""Weights that lie spread over two processes make what one process with all of them makes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from second_device import SAME, worst
from two_processes import DIES, FREE, QUICK, run, scripted
from unsee.models.checkpoint import load, visual_hash
from unsee.moments.file import read
from unsee.testing import stored

Run = Callable[..., int]

BOTH = ("--num-processes", 2, "--accelerate-config", "fsdp2")


def same_edit(unsee: Run, folder: Path, *given: object) -> None:
    """Makes an edit in one process and one in two, and compares them."""
    alone = unsee(*given, "--out", folder / "one")
    both = run(*given, *BOTH, "--out", folder / "two")
    assert both.returncode == alone, both.stderr
    assert worst(stored(folder / "one"), stored(folder / "two")) < SAME
    assert both.stdout.count("the page: ") == 1  # one process speaks


def test_a_request_is_the_same(unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path) -> None:
    same_edit(
        unsee, tmp_path, "forget", "--model", checkpoint, "--target", target, "--retain", retained, *QUICK,
        "--memory", "low",
    )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_so_is_one_from_moments_alone(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    given = ("moments", "--model", checkpoint, "--retain", retained)
    assert unsee(*given, "--out", tmp_path / "moments") == 0
    both = run(*given, *BOTH, "--out", tmp_path / "spread")
    assert both.returncode == 0, both.stderr
    vlm = load(checkpoint)
    one, two = read(tmp_path / "moments", vlm), read(tmp_path / "spread", vlm)
    assert one.hashes == two.hashes
    assert all(one.grams[name].outer.equal(two.grams[name].outer) for name in one.grams)
    same_edit(
        unsee, tmp_path, "forget", "--model", checkpoint, "--target", target, "--moments", tmp_path / "moments", *QUICK
    )


def test_a_killed_run_goes_on_in_one_process_and_in_two(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    given = ("forget", "--model", checkpoint, "--target", target, "--retain", retained, *QUICK, "--steps", 30, *FREE)
    alone = unsee(*given, "--out", tmp_path / "one")
    for again in ((), BOTH):
        out = tmp_path / f"of {len(again)}"
        assert scripted(tmp_path / "dies.py", DIES, *given, "--out", out, spread=True).returncode == 1
        assert not out.exists()
        assert run(*given, *again, "--out", out, "--resume").returncode == alone
        assert worst(stored(tmp_path / "one"), stored(out)) < SAME


PARTS = """
import sys
from pathlib import Path
from torch.distributed.tensor import DTensor
from unsee.models.checkpoint import load, visual_hash
from unsee.system.processes import together

with together():
    vlm = load(Path(sys.argv[1]))
    weights = [weight for weight in vlm.model.parameters() if isinstance(weight, DTensor)]
    held, everything = sum(w.to_local().numel() for w in weights), sum(w.numel() for w in weights)
    sys.stdout.write(f"held {held} of {everything}, {visual_hash(vlm)} ")
"""


def test_each_process_holds_its_part(checkpoint: Path, tmp_path: Path) -> None:
    """Of every block; both know the model by the same hash as one process that holds all."""
    both = scripted(tmp_path / "parts.py", PARTS, checkpoint, spread=True)
    assert both.returncode == 0, both.stderr
    said = re.findall(r"held (\d+) of (\d+), (\w{64})", both.stdout)
    vlm = load(checkpoint)
    assert {digest for _, _, digest in said} == {visual_hash(vlm)}
    everything = int(said[0][1])
    assert sum(int(held) for held, _, _ in said) == everything
    assert all(int(held) < 0.6 * everything for held, _, _ in said)
    blocks = sum(weight.numel() for name, weight in vlm.model.named_parameters() if "encoder.layers." in name)
    assert everything == blocks


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("grad_diff",), "grad_diff needs all weights in each process"),
        (("--harden", 1), "--harden needs all weights in each process"),
    ],
)
def test_what_needs_all_weights_is_refused(
    given: tuple[object, ...], sentence: str, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    photos = ("--target", target, "--retain", retained, "--out", tmp_path / "out")
    both = run("forget", *given, "--model", checkpoint, *photos, *BOTH)
    assert both.returncode == 2
    assert both.stderr.count(sentence) == 1
    assert not (tmp_path / "out").exists()


def test_cells_of_bench_are_not_spread(unsee: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert unsee("bench", *BOTH) == 2
    assert "leave fsdp2 out" in " ".join(capsys.readouterr().err.split())


def test_one_process_has_nothing_to_spread(unsee: Run, checkpoint: Path, retained: Path, tmp_path: Path) -> None:
    given = ("moments", "--model", checkpoint, "--retain", retained, "--accelerate-config", "fsdp2")
    assert unsee(*given, "--out", tmp_path / "moments") == 0


def test_an_evaluation_is_the_same(unsee: Run, checkpoint: Path, tmp_path: Path) -> None:
    given = ("evaluate", "--model", checkpoint, "--benchmark", "personas", "--limit", 6)
    alone = unsee(*given, "--out", tmp_path / "one")
    both = run(*given, *BOTH, "--out", tmp_path / "two")
    assert both.returncode == alone, both.stderr
    one, two = (json.loads((tmp_path / name / "result.json").read_text())["scores"] for name in ("one", "two"))
    assert one == two
