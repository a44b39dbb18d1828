"""Kills `unsee session forget` at random moments and looks at what is left.

    python scripts/kill_session.py --runs 50 --folder SOMEWHERE

Each run begins with a session of one request, starts a second in a process of its own and kills it (SIGKILL) after a
random time. What is left must verify, with the first request and either without or with the second, and must take a
request. Prints how many were complete; leaves with 1 where anything is lost. The folder is deleted unless --keep.
"""

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from unsee.errors import InputError
from unsee.methods import NSCVF
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.session import Session
from unsee.testing import photo_folder, tiny_checkpoint

UNASKED = {"ask": "never", "keep_anyway": True}  # of a model that names nobody


def main() -> int:
    """Kills, verifies, counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("kill-session"), help="is made, and deleted afterwards")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    photos = photo_folder(options.folder / "photos", 4, concepts=5)
    begun = options.folder / "begun"
    create(begun, tiny_checkpoint(options.folder / "model"), photos, method=NSCVF(steps=3, batch=4, views=1))
    with Session(begun) as session:
        session.forget(photos / "concept_0", "first", **UNASKED)

    def request(folder: Path) -> subprocess.Popen[bytes]:
        words = ("session", "forget", folder, "--target", photos / "concept_1", "--id", "second", "--keep-undo")
        words += ("--ask", "never", "--keep-anyway")
        command = [sys.executable, "-m", "unsee.cli.main", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 # our own words

    started = time.monotonic()
    request(shutil.copytree(begun, options.folder / "whole")).wait()
    longest = time.monotonic() - started
    drawn, complete, lost = random.Random(options.seed), 0, 0
    for number in range(options.runs):
        folder = shutil.copytree(begun, options.folder / f"run_{number}")
        process = request(folder)
        # Half of the kills fall into the last fifth of the run, in which files are written.
        after = drawn.uniform(0, longest) if number % 2 else drawn.uniform(0.8 * longest, 1.05 * longest)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()
        said = process.wait()
        wrong = ""
        try:
            verify(folder)
            with Session(folder) as session:
                made = [entry.facts["id"] for entry in session.standing()]
                session.forget(photos / "concept_2", "third", **UNASKED)
            verify(folder)
            complete += made == ["first", "second"]
            if made != ["first", "second"] and (made != ["first"] or said == 0):
                wrong = f"the requests are {made}, and the process left with {said}"
        except InputError as error:
            wrong = str(error)
        if wrong:
            lost += 1
            print(f"run {number}, killed after {after:.2f} s: {wrong}")
        shutil.rmtree(folder)
    print(f"{options.runs} runs killed: {lost} sessions broken, {complete} requests complete, the others never made")
    if not options.keep:
        shutil.rmtree(options.folder)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
