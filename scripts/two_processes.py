"""How much faster a step of `unsee forget` is in two processes than in one, of one thread each.

    python scripts/two_processes.py
    python scripts/two_processes.py --repeats 5

A request on the embedded model with drawn photos, of few and of many steps: the difference is the steps, with the looks
in between. One and two processes take turns, and the ratio is the median of the ratios of neighbours.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from unsee.benchmarks.personas import CHECKPOINTS

EXAMPLES = Path(__file__).parent.parent / "examples"
FEW, MANY = 50, 350
QUICK = ("--ask", "never", "--views", "320", "--composites", "100", "--keep-anyway")


def seconds(folder: Path, processes: int, steps: int) -> float:
    """How long the whole command takes."""
    given = ("--model", CHECKPOINTS / "base", "--target", folder / "target", "--retain", folder / "others", *QUICK)
    asked = (*given, "--steps", steps, "--num-processes", processes, "--out", folder / "out", "--overwrite")
    started = time.perf_counter()
    command = [sys.executable, "-m", "unsee", "forget", *map(str, asked)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=alone)  # noqa: S603 # our own words
    return time.perf_counter() - started


def a_step(folder: Path, processes: int) -> float:
    """Milliseconds."""
    return 1000 * (seconds(folder, processes, MANY) - seconds(folder, processes, FEW)) / (MANY - FEW)


def main() -> None:
    """Prints a row for each turn, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        subprocess.run([sys.executable, EXAMPLES / "draw_photos.py", folder], check=True)  # noqa: S603 # as above
        ratios = []
        print("| one process, ms a step | two | ratio |\n|---|---|---|", flush=True)
        for _ in range(options.repeats):
            one, two = a_step(folder, 1), a_step(folder, 2)
            ratios.append(one / two)
            print(f"| {one:.0f} | {two:.0f} | {ratios[-1]:.2f} |", flush=True)
        print(f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
