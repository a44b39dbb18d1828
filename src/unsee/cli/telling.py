"""How much is told, and where it is kept: the options that every command has."""

import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from unsee.errors import InputError
from unsee.system.output import real, refuse_place
from unsee.system.terminal import one_line, printable_json, speaks

LOG = logging.getLogger("unsee")
LONGEST = 1_500  # characters of what is said at once
LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}")  # how each line of a log begins


class _Shown(logging.Handler):
    """Says on stderr what other rooms warn of."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == LOG.name and not vars(record).get("said"):
            trace(f"unsee: {_short(record.getMessage())}")


LOG.addHandler(_Shown(logging.WARNING))


class _Kept(logging.FileHandler):
    """A log whose loss is said once, and is no reason to end the work."""

    lost = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 # the name and signature are given
        if not self.lost:
            self.lost = True
            trace(f"unsee: {self.baseFilename} cannot be written any more; what is told from here on is not kept.")

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@dataclass
class Telling:
    """What was asked for; one for the process."""

    quiet: bool = False
    verbose: bool = False
    file: str = ""
    folders: Sequence[Path] = ()
    """Those that the command names, where no log may lie."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keeps what is told in the file, if there is one. Raises InputError where it cannot be written."""
        handler: logging.Handler = logging.NullHandler()
        if self.file:
            try:
                _refuse(Path(self.file), self.folders)
                handler = _Kept(self.file, encoding="utf-8")
            except OSError as error:
                raise InputError(f"{self.file} cannot be written ({error.strerror}); name another log file.") from error
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            LOG.setLevel(logging.INFO)
        LOG.addHandler(handler)
        try:
            yield
        finally:
            LOG.removeHandler(handler)
            handler.close()


def _refuse(file: Path, folders: Iterable[Path]) -> None:
    """Raises InputError where a log may not be written, or added to what is there."""
    if "\0" in str(file):
        raise InputError("the name of the log file holds a zero byte, which no file's name can; name another one.")
    if file.is_fifo():
        raise InputError(f"{file} is a pipe, which would wait for a reader; name a file for the log.")
    refuse_place(file)
    refuse_place(real(file))  # of a link that leads to no file yet, too
    for folder in folders:
        if file.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{file} lies in {folder}, which is read or written; name another log file.")
    if not file.is_file():
        return
    with file.open("rb") as there:
        first = there.readline(len("2026-11-28 12:00:00,000"))
    if first and not LINE.fullmatch(first):
        raise InputError(f"{file} is no log of unsee, so that nothing is added to it; name another log file.")


now = Telling()


def taken(args: Sequence[str]) -> tuple[list[str], Telling]:
    """The arguments without those that every command has, and what these ask for."""
    rest, words = list[str](), iter(args)
    now.quiet, now.verbose, now.file, now.folders = False, False, "", ()
    for word in words:
        if word == "--quiet":
            now.quiet = True
        elif word == "--verbose":
            now.verbose = True
        elif word == "--log-file":
            now.file = next(words, "")
            if not now.file:
                raise InputError("--log-file names no file; write it behind the option.")
        elif word.startswith("--log-file="):
            now.file = word.partition("=")[2]
            if not now.file:
                raise InputError("--log-file names no file; write it behind the option.")
        else:
            rest.append(word)
    if now.file:
        named = [Path(word.partition("=")[2] if word.startswith("--") else word) for word in rest if word]
        here = Path.cwd()
        now.folders = [place for place in named if _is_folder(place) and not here.is_relative_to(place.resolve())]
    return rest, now


def _is_folder(place: Path) -> bool:
    """Whether a word that may be anything names a folder: one that is too long for a name names none."""
    try:
        return place.is_dir()
    except (OSError, ValueError):
        return False


def tell(text: str) -> None:
    """Says something on stderr, in a line whatever is in it, and keeps it."""
    line = _short(text)
    trace(f"unsee: {line}")
    LOG.warning("%s", line, extra={"said": True})


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}... (cut off)"


def trace(text: str) -> None:
    """Says on stderr how far the work is, in a line whatever is in it; where stderr is a full disk, nobody hears."""
    with suppress(OSError):
        print(one_line(text), file=sys.stderr, flush=True)


def starting() -> None:
    """Says that work begins, while what it needs is imported; on a terminal the next line takes its place."""
    if now.quiet or sys.stderr is None or not speaks():
        return
    if sys.stderr.isatty():
        print("starting", end="\r", file=sys.stderr, flush=True)
    else:
        trace(f"{time.strftime('%H:%M:%S')} starting")


def out(*lines: str) -> None:
    """Prints lines of what came out on stdout, each one line whatever is in it."""
    for line in lines:
        print(one_line(line))


def out_json(text: str) -> None:
    """Prints JSON on stdout."""
    print(printable_json(text.rstrip()))
