"""How tests run `unsee`, or a script, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

QUICK = ("--steps", 6, "--batch", 8, "--views", 8, "--composites", 4, "--keep-anyway")

FREE = ("--hold", 0)  # held, a tiny model makes a thousandth of a rounding in thirty steps

DIES = """
import os
import sys
from unsee.cli.main import main
from unsee.forgetting import training

save = training._save

def last(file, state):
    save(file, state)
    os._exit(9)

training._save = last
sys.exit(main(sys.argv[1:]))
"""  # a script: `unsee` that is killed once it has kept its state


def run(*args: object, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs `unsee` with these arguments, or a launcher's modules and options before it."""
    command = [sys.executable, *launcher, "-m", "unsee", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def scripted(file: Path, text: str, *args: object, spread: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a script of this text in two processes, over which weights may be spread."""
    file.write_text(text)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", file, *args]
    environment = os.environ | ({"ACCELERATE_USE_FSDP": "true"} if spread else {})
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
