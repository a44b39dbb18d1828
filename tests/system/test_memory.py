"""Memory that is free goes back to the system."""

import subprocess
import sys

import pytest

CODE = """
import torch
from unsee.system.memory import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

give_back()
first = [torch.ones(1 << 20) for _ in range(64)]  # 4 MB each; freeing the first of them teaches glibc otherwise
del first
before = resident()
held = [torch.ones(1 << 20) for _ in range(64)]
del held[::2]
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told")
def test_every_other_freed_tensor_goes_back() -> None:
    """Half of 256 MB; what lies between tensors that are held would stay otherwise."""
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert 120 < float(run.stdout) < 150
