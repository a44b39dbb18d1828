"""Told to end: nothing is left but what --resume needs, and workers end with their parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unsee.errors import InputError
from unsee.system.parallel import each

Run = Callable[..., int]
LONG = "100000"
WORKERS = """
import sys
from pathlib import Path
from unsee.system.parallel import each
from unsee.system.signals import stoppable
sys.path.insert(0, {here!r})
from worker import work

if __name__ == "__main__":
    with stoppable():
        try:
            list(each(work, [{fifo!r}] * 2, 2))
        except KeyboardInterrupt:
            sys.exit(7)
"""
WORKER = """
import threading

def work(fifo):
    pipe = open(fifo, "w")
    pipe.write("x")
    pipe.flush()
    threading.Event().wait(600)
"""


def attentive() -> None:
    """Makes a process hear all signals, also where those who run the tests, under nohup say, ignore some."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def started(tmp_path: Path, *args: object) -> tuple[subprocess.Popen[str], Path]:
    """A long request that has saved its state, and where."""
    command = [sys.executable, "-m", "unsee.cli.main", "forget", "nscvf", *map(str, args), "--steps", LONG]
    command += ["--batch", "2", "--views", "0", "--composites", "0", "--ask", "never"]
    command += ["--stop-target", "0", "--stop-drift", "0", "--out", str(tmp_path / "o")]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=attentive)
    state = tmp_path / ".o.unfinished" / "state.pt"
    while not state.exists():
        assert run.poll() is None, run.stderr and run.stderr.read()
    return run, state


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda n: str(n)
)
def test_a_request_that_is_told_to_end_says_so_and_keeps_its_state(
    number: signal.Signals, code: int, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    run, state = started(tmp_path, "--model", checkpoint, "--target", target, "--retain", retained)
    run.send_signal(number)
    said = run.communicate()[1]
    assert run.returncode == code
    assert said.splitlines()[-1] == "unsee: interrupted"
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == [".o.unfinished"]
    assert [path.name for path in state.parent.iterdir()] == ["state.pt"]


def test_what_is_told_to_ignore_a_hangup_does(tmp_path: Path) -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from unsee.system.signals import stoppable\n"
        "with stoppable(): os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    """A pipe that both workers hold open is at its end when both are gone."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "worker.py").write_text(WORKER)
    program = tmp_path / "program.py"
    program.write_text(WORKERS.format(here=str(tmp_path), fifo=str(fifo)))
    command = [sys.executable, str(program)]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=attentive)
    with fifo.open() as pipe:
        assert pipe.read(2) == "xx"
        parent.send_signal(number)
        assert pipe.read() == ""
    said = parent.communicate()[1]
    assert "Traceback" not in said
    assert parent.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 7)


LAUNCHER = """
import subprocess, sys
from unsee.system.signals import leave_with_parent
if sys.argv[2:]:
    leave_with_parent()
    pipe = open(sys.argv[1], "w")
    pipe.write("x")
    pipe.flush()
    sys.stdin.read()
else:
    run = subprocess.Popen([sys.executable, __file__, sys.argv[1], "worker"], stdin=sys.stdin)
    run.wait()
"""


def test_processes_end_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    fifo, program = tmp_path / "fifo", tmp_path / "program.py"
    os.mkfifo(fifo)
    program.write_text(LAUNCHER)
    launcher = subprocess.Popen([sys.executable, str(program), str(fifo)], stdin=subprocess.PIPE)
    with fifo.open() as pipe:
        assert pipe.read(1) == "x"
        launcher.kill()
        assert pipe.read() == ""
    launcher.communicate()


def die(_: int) -> None:
    os._exit(1)


def test_a_worker_that_is_killed_is_a_sentence() -> None:
    with pytest.raises(InputError, match="was killed, for lack of memory perhaps; give fewer --jobs"):
        list(each(die, [1, 2], 2))


def test_tidying_up_is_not_cut_off_by_a_signal(tmp_path: Path) -> None:
    """One that comes while a working folder is made or removed is heard right afterwards, and nothing is left."""
    code = (
        "import os, shutil, signal, sys\n"
        "from pathlib import Path\n"
        "from unsee.system import disk\n"
        "from unsee.system.signals import Stopped, stoppable\n"
        "def hit(function):\n"
        "    def called(*args, **kwargs):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        return function(*args, **kwargs)\n"
        "    return called\n"
        "setattr(*((disk.tempfile, 'mkdtemp') if sys.argv[2] == 'made' else (disk.shutil, 'rmtree')), "
        "hit(disk.tempfile.mkdtemp if sys.argv[2] == 'made' else disk.shutil.rmtree))\n"
        "with stoppable():\n"
        "    try:\n"
        "        with disk.workspace(Path(sys.argv[1]), 'out') as folder:\n"
        "            (folder / 'file').write_text('')\n"
        "    except Stopped:\n"
        "        sys.exit(7)\n"
    )
    for moment in ("made", "removed"):
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path), moment], check=False)
        assert done.returncode == 7
        assert not list(tmp_path.iterdir())


def test_a_signal_between_two_renamings_loses_nothing(tmp_path: Path) -> None:
    """It comes while the old output has lost its name and the new one does not have it yet."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from unsee.system.output import with_folder\n"
        "from unsee.system.signals import Stopped, stoppable\n"
        "out, rename = Path(sys.argv[1]) / 'out', Path.rename\n"
        "fill = lambda folder: (folder / 'unsee.json').write_text('{\"unsee\": \"%s\"}' % fill.text) and None\n"
        "fill.text = 'old'\n"
        "with_folder(out, fill)\n"
        "fill.text = 'new'\n"
        "def hit(self, place):\n"
        "    found = rename(self, place)\n"
        "    if self == out:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return found\n"
        "Path.rename = hit\n"
        "with stoppable():\n"
        "    try:\n"
        "        with_folder(out, fill, overwrite=True)\n"
        "    except Stopped:\n"
        "        sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 7
    assert (tmp_path / "out" / "unsee.json").read_text() == '{"unsee": "new"}'
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupt_is_heard_while_another_library_works() -> None:
    """It waits within C for ever, where Python calls no handler; a second Ctrl-C does not wait for it."""
    code = (
        "import ctypes\n"
        "from unsee.system.signals import stoppable\n"
        "lock, library = ctypes.create_string_buffer(256), ctypes.CDLL(None)\n"
        "with stoppable():\n"
        "    library.pthread_mutex_lock(lock)\n"
        "    try:\n"
        "        print('begun', flush=True)\n"
        "        library.pthread_mutex_lock(lock)\n"
        "    except KeyboardInterrupt:\n"  # where it comes before the lock
        "        library.pthread_mutex_lock(lock)\n"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=attentive) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == "begun\n"
        run.send_signal(signal.SIGINT)
        assert run.stderr.readline().startswith("unsee: ending as soon as what runs lets it; a second Ctrl-C")
        run.send_signal(signal.SIGINT)
        assert run.wait() == 130
