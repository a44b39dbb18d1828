"""A process that is told to end tidies up first: SIGTERM and SIGHUP are heard as Ctrl-C is."""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from types import FrameType

from unsee.system.terminal import speaks

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HEARD = 1.5  # seconds after which it is said that a signal came, where nothing has come of it
SAID = b"unsee: ending as soon as what runs lets it; a second Ctrl-C does not wait\n"
LOOK = 0.5  # seconds between two looks at whether a launcher is still there
GRACE = 10.0  # seconds that a worker may take to tidy up


class Stopped(KeyboardInterrupt):
    """The process was told to end."""


class _Shield:
    """Whether Stopped is held back, and whether it is due."""

    up = False
    due = False


@contextmanager
def shielded() -> Iterator[None]:
    """While open, Stopped is held back: for tidying up that must not be cut off. It is raised at the end."""
    before, _Shield.up = _Shield.up, True
    try:
        yield
    finally:
        _Shield.up = before
    _raise_due()


@contextmanager
def exposed() -> Iterator[None]:
    """While open within `shielded`, Stopped is raised as ever."""
    before, _Shield.up = _Shield.up, False
    try:
        _raise_due()
        yield
    finally:
        _Shield.up = before


def _raise_due() -> None:
    if _Shield.due and not _Shield.up:
        _Shield.due = False
        raise Stopped


class Ending:
    """Whether a signal to end came, and which."""

    def __init__(self) -> None:
        self.signal = 0

    @property
    def code(self) -> int:
        """What a shell expects as exit code: 128 and the signal's number."""
        return 128 + (self.signal or signal.SIGINT)

    def hear(self, number: int, _: FrameType | None) -> None:
        """Raises Stopped the first time; later ones do not disturb the tidying up, but for a second Ctrl-C."""
        first, self.signal = not self.signal, self.signal or number
        if first:
            _Shield.due = True
            _raise_due()


@contextmanager
def stoppable() -> Iterator[Ending]:
    """While open, the signals of ENDING raise Stopped; those that the process was told to ignore stay ignored.

    Outside the main thread nothing changes.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # as under nohup
            signal.signal(number, ending.hear)
    try:
        with _heeded():
            yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _heeded() -> Iterator[None]:
    """While open, a signal to end is answered within HEARD seconds, and a second Ctrl-C ends the process at once.

    Python calls handlers between two steps of its own, and one step may be minutes of another library's code.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_heed, args=(reader,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


def _heed(reader: int) -> None:
    """Reads the numbers of signals that come, until the other end is closed."""
    came = said = False
    while True:
        if came and not said and not select.select([reader], [], [], HEARD)[0]:
            said = True
            if speaks():
                with suppress(OSError):
                    os.write(2, SAID)
        number = os.read(reader, 1)
        if not number:
            os.close(reader)
            return
        if came and number[0] == signal.SIGINT:
            os._exit(128 + signal.SIGINT)
        came = came or number[0] in ENDING


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """While open, work that takes this process longer, by its own clock, ends in a TimeoutError.

    Between two steps of Python, so that a decoder or a template that is written in it is cut off at once, and one of
    another library where it comes back. In the main thread alone, where the system has such a clock, and not within
    another one.
    """
    clock = getattr(signal, "ITIMER_VIRTUAL", None)
    main = threading.current_thread() is threading.main_thread()
    if clock is None or not main or signal.getitimer(clock)[0] > 0:
        yield
        return

    def late(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"it takes longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        signal.setitimer(clock, 0)
        signal.signal(signal.SIGVTALRM, before)


def follow_parent() -> None:
    """Makes a worker leave Ctrl-C to its parent, tidy up on SIGTERM, and end when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, Ending().hear)
    threading.Thread(target=_watch, daemon=True).start()


def leave_with_parent() -> None:
    """Makes a process that a launcher began tidy up and end once the launcher is gone, killed or not."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(LOOK)
        _leave()

    threading.Thread(target=watch, daemon=True).start()


def _watch() -> None:
    parent = parent_process()
    if parent is None:
        return
    parent.join()
    _leave()


def _leave() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE)
    os._exit(1)
