"""Kills `unsee session forget`, with and without --later, and `settle` at random moments and looks at what is left.

    python scripts/kill_session.py --runs 50 --folder SOMEWHERE

Each run begins with a session of one request in which two wait, starts a change in a process of its own (a request, one
that is to wait, or settling those that do, in turn) and kills it (SIGKILL) after a random time. What is left must
verify, and be either what was there before or what the change makes; then all that wait must be settled. Prints how
many were complete; leaves with 1 where anything is lost. The folder is deleted unless --keep.
"""

import argparse
import contextlib
import random
import secrets
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
TYPED = ("--ask", "never", "--keep-anyway")
BEFORE = (["first"], ["a", "b"])  # requests that stand, and that wait
AFTER = {
    "forget": (["first", "second"], ["a", "b"]),
    "later": (["first"], ["a", "b", "second"]),
    "settle": (["first", "a", "b"], []),
}
State = tuple[list[str], list[str]]


def state(session: Session) -> State:
    """The ids of requests that stand, and of those that wait."""
    return [e.facts["id"] for e in session.standing()], [e.facts["id"] for e in session.queued()]


def words(kind: str, folder: Path, photos: Path) -> list[str]:
    """The command of a change, without --secret."""
    if kind == "settle":
        return ["session", "settle", str(folder), *TYPED]
    given = ["session", "forget", str(folder), "--target", str(photos / "concept_3"), "--id", "second"]
    return [*given, "--later"] if kind == "later" else [*given, "--keep-undo", *TYPED]


def left(folder: Path, secret: Path, kind: str, code: int) -> tuple[bool, str]:
    """Whether the change is complete, and what is wrong with what a killed process left; empty where nothing is."""
    try:
        verify(folder)
        session = Session(folder, secret_file=secret)
        found = state(session)
        if session.queued():
            session.settle(**UNASKED)
        verify(folder)
        if set(found[0] + found[1]) != set(state(Session(folder))[0]):
            return False, "what waited was not settled"
    except InputError as error:
        return False, str(error)
    complete = found == AFTER[kind]
    wrong = not complete and (found != BEFORE or code == 0)
    return complete, f"there are {found}, and the process left with {code}" if wrong else ""


def main() -> int:
    """Kills, verifies, counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("kill-session"), help="is made, and deleted afterwards")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    photos = photo_folder(options.folder / "photos", 4, concepts=7)
    begun, secret = options.folder / "begun", options.folder / "secret"
    secret.write_bytes(secrets.token_bytes(32))
    model = tiny_checkpoint(options.folder / "model")
    create(begun, model, photos, method=NSCVF(steps=3, batch=4, views=1), secret_file=secret)
    with Session(begun, secret_file=secret) as session:
        session.forget(photos / "concept_0", "first", **UNASKED)
        session.later(photos / "concept_1", "a")
        session.later(photos / "concept_2", "b")

    def change(kind: str, folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "unsee.cli.main", *words(kind, folder, photos), "--secret", str(secret)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 # our own words

    longest, kinds = dict[str, float](), list(AFTER)
    for kind in kinds:
        started = time.monotonic()
        change(kind, shutil.copytree(begun, options.folder / f"whole_{kind}")).wait()
        longest[kind] = time.monotonic() - started
    drawn, whole, lost = random.Random(options.seed), 0, 0
    for number in range(options.runs):
        kind = kinds[number % len(kinds)]
        folder = shutil.copytree(begun, options.folder / f"run_{number}")
        process = change(kind, folder)
        # Half of the kills fall into the last fifth of the run, in which files are written.
        begin = 0.0 if number // len(kinds) % 2 else 0.8
        after = longest[kind] * drawn.uniform(begin, 1.05 if begin else 1.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()
        complete, wrong = left(folder, secret, kind, process.wait())
        whole += complete
        if wrong:
            lost += 1
            print(f"run {number}, {kind}, killed after {after:.2f} s: {wrong}")
        shutil.rmtree(folder)
    print(f"{options.runs} runs killed: {lost} sessions broken, {whole} changes complete, the others never made")
    if not options.keep:
        shutil.rmtree(options.folder)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
