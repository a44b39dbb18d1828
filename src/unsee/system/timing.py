"""What a run cost."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_rss_mb() -> float:
    """The most memory this process has held, in MB (10^6 bytes), since `forget_peak` where the system can say that."""
    with suppress(OSError):  # a system without it
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def forget_peak() -> None:
    """Lets `peak_rss_mb` count from now on, where the system can do that."""
    with suppress(OSError):  # then it counts from the start of the process
        REFERENCES.write_text("5")
