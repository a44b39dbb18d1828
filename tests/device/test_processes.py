"""Two processes make what one makes."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed.elastic.multiprocessing import api

from second_device import SAME, worst
from two_processes import DIES, FREE, QUICK, run, scripted
from unsee.cli import bench
from unsee.cli.main import _machines
from unsee.models.checkpoint import load
from unsee.moments.file import read
from unsee.system import processes
from unsee.system.launching import Machines, launched
from unsee.testing import stored

Run = Callable[..., int]


def assert_same_moments(checkpoint: Path, folder: Path) -> None:
    """Of the files one and two in a folder."""
    vlm = load(checkpoint)
    one, two = read(folder / "one", vlm), read(folder / "two", vlm)
    assert one.hashes == two.hashes
    for name, gram in one.grams.items():
        assert torch.allclose(gram.outer, two.grams[name].outer, rtol=1e-6, atol=0)


def test_a_request_is_the_same(unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path) -> None:
    given = ("forget", "--model", checkpoint, "--target", target, "--retain", retained, *QUICK)
    alone = unsee(*given, "--out", tmp_path / "one")
    both = run(*given, "--num-processes", 2, "--out", tmp_path / "two")
    assert both.returncode == alone, both.stderr
    assert worst(stored(tmp_path / "one"), stored(tmp_path / "two")) < SAME
    assert both.stdout.count("the page: ") == 1  # one process speaks
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


NARROW = """
import sys
import torch
from unsee.cli.main import main
from unsee.models import features
from unsee.system.processes import rank

collated = features.collated

def narrow(images):
    if rank() == 1 and len(images) > 4:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return collated(images)

features.collated = narrow
sys.exit(main(sys.argv[1:]))
"""


def test_where_one_process_has_less_memory_the_request_is_the_same(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    given = ("forget", "--model", checkpoint, "--target", target, "--retain", retained, *QUICK)
    alone = unsee(*given, "--out", tmp_path / "one")
    both = scripted(tmp_path / "narrow.py", NARROW, *given, "--out", tmp_path / "two")
    assert both.returncode == alone, both.stderr
    assert "batches of" in both.stderr
    assert worst(stored(tmp_path / "one"), stored(tmp_path / "two")) < SAME


def test_what_two_processes_began_one_goes_on_with(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    """Each remembers the momentum of half of the weights; what is kept of a killed run is all of it."""
    given = ("forget", "--model", checkpoint, "--target", target, "--retain", retained, *QUICK, "--steps", 30, *FREE)
    assert scripted(tmp_path / "dies.py", DIES, *given, "--out", tmp_path / "two").returncode == 1
    assert not (tmp_path / "two").exists()
    alone = unsee(*given, "--out", tmp_path / "one")
    assert unsee(*given, "--out", tmp_path / "two", "--resume") == alone
    assert worst(stored(tmp_path / "one"), stored(tmp_path / "two")) < SAME


def test_moments_are_the_same_under_torchrun(unsee: Run, checkpoint: Path, retained: Path, tmp_path: Path) -> None:
    given = ("moments", "--model", checkpoint, "--retain", retained)
    assert unsee(*given, "--out", tmp_path / "one") == 0
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    both = run(*given, "--out", tmp_path / "two", launcher=launcher)
    assert both.returncode == 0, both.stderr
    assert_same_moments(checkpoint, tmp_path)


def test_an_error_is_said_once(tmp_path: Path, target: Path) -> None:
    given = ("forget", "--model", tmp_path / "nowhere", "--target", target, "--retain", target)
    both = run(*given, "--num-processes", 2, "--out", tmp_path / "out")
    assert both.returncode == 2
    assert both.stderr.count("nowhere is not a folder") == 1
    assert "Traceback" not in both.stderr


def test_a_request_that_missed_its_aim_is_said_once(
    checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    """The first process alone would write; the others end with it."""
    given = ("forget", "--model", checkpoint, "--target", target, "--retain", retained, "--ask", "never", *QUICK[:-1])
    both = run(*given, "--steps", 1, "--num-processes", 2, "--out", tmp_path / "out")
    assert both.returncode == 1
    assert both.stderr.count("The features of the target did not go where they were sent") == 1
    assert "Traceback" not in both.stderr
    assert "interrupted" not in both.stderr
    assert not (tmp_path / "out").exists()


def settings(path: Path, **changed: object) -> Path:
    """A file as `accelerate config` writes it."""
    said = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_CPU", "mixed_precision": "no"}
    said |= {"num_machines": 1, "num_processes": 2, "machine_rank": 0, "use_cpu": True, **changed}
    path.write_text("".join(f"{name}: {value}\n" for name, value in said.items()))
    return path


def test_a_file_of_accelerate_says_how_many(checkpoint: Path, retained: Path, tmp_path: Path, unsee: Run) -> None:
    given = ("moments", "--model", checkpoint, "--retain", retained)
    assert unsee(*given, "--out", tmp_path / "one") == 0
    both = run(*given, "--accelerate-config", settings(tmp_path / "two.yaml"), "--out", tmp_path / "two")
    assert both.returncode == 0, both.stderr
    assert_same_moments(checkpoint, tmp_path)


def test_two_machines_find_each_other(checkpoint: Path, retained: Path, tmp_path: Path) -> None:
    """Two launchers, here on one machine; the first one's process writes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    where = {"num_machines": 2, "main_process_ip": "localhost", "main_process_port": port}
    given = [sys.executable, "-m", "unsee", "moments", "--model", checkpoint, "--retain", retained]
    files = [settings(tmp_path / f"{rank}.yaml", machine_rank=rank, **where) for rank in range(2)]
    begun = [
        subprocess.Popen(
            [*map(str, given), "--out", str(tmp_path / "out"), "--accelerate-config", str(file)],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for file in files
    ]
    ended = [one.communicate(timeout=300) for one in begun]
    assert [one.returncode for one in begun] == [0, 0], ended
    assert read(tmp_path / "out", load(checkpoint)).count == len(list(retained.rglob("*.png")))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"distributed_type": "DEEPSPEED"}, "is 'DEEPSPEED'; expected one of NO, MULTI_GPU, MULTI_CPU, FSDP"),
        ({"mixed_precision": "fp8"}, "mixed_precision in .* is 'fp8'; expected one of no, bf16"),
        ({"num_processes": 3, "num_machines": 2}, "asks for 3 processes on 2 machines"),
        ({"machine_rank": 1}, "of which this is number 1"),
        ({"num_processes": "many"}, "num_processes in .* is 'many'; expected a whole number"),
        ({"num_machines": 2}, "main_process_ip is missing"),
        ({"x": "{"}, "cannot be read; expected a file that `accelerate config` wrote"),
    ],
)
def test_a_file_that_asks_for_what_is_not_there_is_refused(
    changed: dict[str, object], sentence: str, tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unsee("moments", "--accelerate-config", settings(tmp_path / "a.yaml", **changed)) == 2
    assert re.search(sentence, " ".join(capsys.readouterr().err.split()))


def test_what_is_typed_stands_before_what_the_file_says(tmp_path: Path) -> None:
    path = settings(tmp_path / "a.yaml", mixed_precision="bf16", num_processes=8)
    given, machines = _machines(["moments", "--device=cuda", "--accelerate-config", str(path), "--num-processes", "2"])
    assert given == ["moments", "--device=cuda", "--precision", "bfloat16"]
    assert (machines.processes, machines.count, machines.spread) == (2, 1, False)
    settings(path, distributed_type="FSDP")
    assert _machines(["moments", "--accelerate-config", str(path)])[1].spread
    assert _machines(["moments", "--accelerate-config=fsdp2", "--num-processes=4"])[1] == Machines(4, spread=True)


@pytest.mark.parametrize("number", ["0", "two", "", "100000", "9" * 5000])
def test_a_number_that_is_none_is_refused(number: str, unsee: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert unsee("moments", "--num-processes", number) == 2
    assert "expected a number from 1 to" in capsys.readouterr().err
    assert unsee("report", "--num-processes", "2") == 2
    assert "runs in one process" in capsys.readouterr().err


def test_cells_of_bench_are_made_side_by_side(unsee: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in one process, as with --jobs."""
    given = list[list[str]]()
    monkeypatch.setattr(bench, "main", lambda args: given.append(args) or 0)
    assert unsee("bench", "--num-processes", 3, "--thin", 6) == 0
    assert given == [["--thin", "6", "--jobs", "3"]]


def test_a_launcher_that_is_told_to_end_leaves_with_what_a_shell_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*_: object) -> Callable[..., None]:
        raise api.SignalException("told to end", signal.SIGTERM)

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", told)
    assert launched(["moments"], Machines(2)) == 143


def test_sums_are_each_tensors_own_however_they_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that have the same, and room for a few numbers at once."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "TOGETHER", 7)
    sizes = list[int]()

    def doubled(tensor: torch.Tensor) -> None:
        sizes.append(tensor.numel())
        tensor *= 2

    monkeypatch.setattr(processes.dist, "all_reduce", doubled)
    tensors = [torch.arange(float(n)).reshape(shape) for n, shape in ((4, (2, 2)), (3, (3,)), (9, (3, 3)), (1, (1,)))]
    wanted = [2 * tensor for tensor in tensors]
    processes.summed(tensors)
    assert sizes == [7, 9, 1]
    assert all(torch.equal(tensor, double) for tensor, double in zip(tensors, wanted, strict=True))


def test_alone_everything_is_ones_own() -> None:
    assert processes.own([1, 2, 3]) == processes.gathered([1, 2, 3]) == [1, 2, 3]
    assert processes.mine(7)
    assert processes.same("it") == "it"
    assert processes.merged({"it": 1}) == {"it": 1}
    processes.dealt([kept := torch.ones(2)])
    assert kept.tolist() == [1, 1]
