"""Does request 200 cost what request 2 cost? A population of random pictures and a tiny model with random weights.

    python scripts/session_length.py --folder SOMEWHERE

Every request is for one of 200 concepts whose pictures were all among the retained ones at first. Prints seconds and
sizes by request, and how long `verify` takes in the end; deletes the folder unless --keep. docs/continual.md has the
results. Seconds of the first and the last requests are of one run, on one machine.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path

from unsee.methods import NSCVF
from unsee.records import Sample
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import STATE
from unsee.session.session import Session
from unsee.testing import images, tiny_checkpoint

EACH = 4  # pictures of a concept
STAYING = 40  # concepts that nobody asks about


def main() -> None:
    """Makes the session, runs the requests, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("session-length"), help="is made, and deleted afterwards")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    session = options.folder / "session"
    model = tiny_checkpoint(options.folder / "model")
    count = options.requests + STAYING
    pictures = images(EACH * count, seed=0)
    samples = [Sample(picture, f"concept {number // EACH}") for number, picture in enumerate(pictures)]
    method = NSCVF(steps=10, batch=4, views=1)
    create(session, model, samples, method=method)
    seconds, sizes = list[float](), list[float]()
    for number in range(options.requests):
        started = time.monotonic()
        with Session(session) as opened:
            opened.forget(samples[number * EACH : (number + 1) * EACH], f"r{number}", ask="never", keep_anyway=True)
        seconds.append(time.monotonic() - started)
        sizes.append((session / STATE).stat().st_size / 1e6)
    started = time.monotonic()
    said = verify(session)
    checked = time.monotonic() - started
    print("| requests | seconds each, median | state, MB |\n|---|---|---|")
    step = max(1, options.requests // 5)
    for first in range(0, options.requests, step):
        part = slice(first, first + step)
        print(f"| {first + 1} to {first + step} | {statistics.median(seconds[part]):.2f} | {max(sizes[part]):.3f} |")
    ratio = statistics.median(seconds[-step:]) / statistics.median(seconds[:step])
    print(f"\nlast fifth against first fifth: {ratio:.3f}; verify: {checked:.1f} s ({said})")
    if not options.keep:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
