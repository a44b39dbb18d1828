"""A ground on which a hostile input is tried: everything is made in it, and looked at afterwards."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_method import TYPED

Run = Callable[..., int]
State = dict[str, bytes | str]
PROGRESS = re.compile(r"\d\d:\d\d:\d\d ")
STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")
WARNED = "there may be nothing to forget"  # of a model that knows nobody, as the tiny one
LONGEST = 1600


def state_of(place: Path) -> State:
    """Every name below a folder, with a file's bytes, a link's end, or nothing."""
    found: State = {}
    for path in place.rglob("*"):
        name = str(path.relative_to(place))
        found[name] = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
    return found


class Ground:
    """Commands that a hostile input is given to, and what must hold whatever they make of it."""

    def __init__(self, place: Path, model: Path, retained: Path, run: Run, said: pytest.CaptureFixture[str]) -> None:
        self.place, self.model, self.retained, self.run, self.said = place, model, retained, run, said
        self.out = place / "out"
        self.told = ""

    def copy(self) -> Path:
        """A copy of the model, to be spoilt."""
        self.model = Path(shutil.copytree(self.model, self.place / "model"))
        return self.model

    def forget(self, target: Path, *options: object, retained: Path | None = None) -> list[object]:
        """The arguments of a short request."""
        photos = ("--target", target, "--retain", retained or self.retained)
        asked = () if "--question" in options else ("--ask", "never")
        return ["forget", "nscvf", "--model", self.model, *photos, *TYPED, *asked, *options, "--out", self.out]

    def meets(self, says: str, *args: object) -> None:
        """Runs a command, which is to be refused in one sentence that has the pattern `says`, or, where there is none,
        to do its work. In no case is anything of others changed, left half-written, or able to steer the terminal.
        """
        before = state_of(self.place)
        code = self.run(*args)
        printed = self.said.readouterr()
        self.told = printed.out + printed.err
        after = state_of(self.place)
        assert "Traceback" not in self.told
        assert not STEERING.search(self.told), self.told
        if not says:
            assert code in (0, 1), printed.err
            own = {name for name in after if name.split("/")[0] == self.out.name}
            assert {name: after[name] for name in after.keys() - own} == before
            return
        lines = [line for line in printed.err.splitlines() if not PROGRESS.match(line) and WARNED not in line]
        assert code == 2, self.told
        assert len(lines) == 1, printed.err
        assert lines[0].startswith("unsee: ")
        assert len(lines[0]) <= LONGEST
        assert re.search(says, lines[0]), lines[0]
        assert after == before
