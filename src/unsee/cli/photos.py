"""The photos that a command is given, and what is said of those that cannot be read."""

from pathlib import Path

from unsee.cli.telling import tell
from unsee.data import load_readable
from unsee.records import Sample


def given(folder: Path, *, skip: bool, left_out: list[str] | None = None) -> Path | list[Sample]:
    """A path to photos; with `skip` the samples of its folder that can be read, where it is said which cannot.

    Why files are skipped is added to `left_out`. Raises InputError, with `skip`, for what is no folder of images.
    """
    if not skip:
        return folder
    samples, skipped = load_readable(folder)
    for why in skipped:
        tell(f"skipped: {why}")
    if left_out is not None:
        left_out += skipped
    if skipped:
        tell(f"{len(skipped)} of {len(samples) + len(skipped)} files of {folder} are skipped.")
    return samples
