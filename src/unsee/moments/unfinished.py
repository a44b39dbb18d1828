"""Sums over many photos, kept while they are made, so that a run that was killed goes on from there."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL.Image import Image

from unsee.errors import InputError
from unsee.linalg.gram import GramStream
from unsee.system.disk import allow, is_there
from unsee.system.output import with_file
from unsee.system.processes import count, part, rank
from unsee.system.tensors import fingerprint, opened, write

FORM = "unsee-unfinished-moments-1"
EVERY_S = 30.0  # between two savings
SHARE = 0.05  # of the time, that they take at most


@dataclass(frozen=True)
class Unfinished:
    """Where the sums of one run are kept, and the key of what they are sums of."""

    file: Path
    key: str

    def of(self, group: int, streams: Mapping[str, GramStream]) -> "Sums":
        """The sums of one group of layers, by layer, of this process."""
        place = group * count() + part()
        file = self.file.with_stem(f"{self.file.stem}_{place}") if place else self.file
        return Sums(file, fingerprint(self.key, *streams), streams)


@dataclass(eq=False)
class Sums:
    """The sums of one pass over photos, and the file that keeps them."""

    file: Path
    key: str
    streams: Mapping[str, GramStream]
    saved: float = field(default_factory=time.monotonic)
    took: float = 0.0

    def resume(self) -> list[str]:
        """Hashes of the photos that the file has counted, whose sums the streams then have; none without a file.

        Raises InputError where it is not of this run, or damaged.
        """
        if not is_there(self.file):
            return []
        try:
            stored = opened(self.file, FORM)
        except ValueError as error:
            raise InputError(f"{self.file} cannot be read ({error}); remove it, or run without --resume.") from error
        if stored.facts["key"] != self.key:
            raise InputError(
                f"{self.file} belongs to a run with other settings, photos or model; give the same ones or remove it."
            )
        for name, stream in self.streams.items():
            stream.go_on(list(stored.read(f"{name} {part}" for part in range(3)).values()))
        return list(stored.facts["hashes"])

    def keep(self, hashes: Sequence[str]) -> None:
        """Writes the file, once some time has gone by; the photos of these hashes are counted."""
        if part() != rank():
            return  # another process has the same share
        now = time.monotonic()
        if now - self.saved < max(EVERY_S, self.took / SHARE):
            return
        sums = {f"{n} {part}": own for n, stream in self.streams.items() for part, own in enumerate(stream.sums())}

        def fill(part: Path) -> None:
            write(part, sums, FORM, {"key": self.key, "hashes": list(hashes)})
            allow(part, 0o600)

        with_file(self.file, fill)
        self.saved = time.monotonic()
        self.took = self.saved - now


def photos_key(pictures: Sequence[Path | Image]) -> str:
    """What tells a list of photos from another without opening them: names and sizes of files."""
    return fingerprint(
        *(
            f"{each.name} {each.stat().st_size}" if isinstance(each, Path) else f"{each.mode} {each.size}"
            for each in pictures
        )
    )
