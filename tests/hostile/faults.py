"""Calls of the system that fail once, as they do on a full disk, a quota, or a folder without rights."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

# What changes a disk; "open" with a mode that writes is both of the system and of Python.
CALLS = ("mkdir", "open", "file", "fsync", "unlink", "rename", "replace", "rmdir", "link", "chmod", "pwrite", "listdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Fault:
    """The `nth` call of one kind within a folder fails; `count` is how many there were."""

    def __init__(self, call: str, nth: int, place: Path, number: int = errno.ENOSPC) -> None:
        self.call, self.nth, self.place, self.number, self.count = call, nth, str(place), number, 0

    @property
    def happened(self) -> bool:
        return self.count >= self.nth

    def _concerns(self, args: tuple[Any, ...], mode: object) -> bool:
        first = args[0] if args else ""
        if self.call == "open" and not (isinstance(mode, int) and mode & WRITING):
            return False
        if self.call == "file" and not (isinstance(mode, str) and set(mode) & set("wax+")):
            return False
        if isinstance(first, int):  # an open file or folder
            return self.call not in ("open", "file")
        return any(isinstance(arg, str | bytes | os.PathLike) and self.place in os.fsdecode(arg) for arg in args)

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if self._concerns(args, args[1] if len(args) > 1 else kwargs.get("mode")):
                self.count += 1
                if self.count == self.nth:
                    raise OSError(
                        self.number, os.strerror(self.number), *(a for a in args[:1] if not isinstance(a, int))
                    )
            return real(*args, **kwargs)

        return called


@contextmanager
def failing(call: str, nth: int, place: Path, number: int = errno.ENOSPC) -> Iterator[Fault]:
    """While open, the `nth` call of one kind that concerns a folder fails, and no other."""
    fault = Fault(call, nth, place, number)
    if call == "file":
        opened = fault.around(builtins.open)
        with patch.object(builtins, "open", opened), patch.object(io, "open", opened):
            yield fault
    else:
        with patch.object(os, call, fault.around(getattr(os, call))):
            yield fault
