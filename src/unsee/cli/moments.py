"""`unsee moments`: retained statistics, so that later requests need no retained image."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unsee import data
from unsee.cli.parse import parse
from unsee.cli.quiet import quiet
from unsee.errors import InputError
from unsee.methods import NSCVF
from unsee.models.checkpoint import load
from unsee.moments import measure, save
from unsee.system.memory import plan


@dataclass(frozen=True)
class Options:
    """Measure what the retained photos put into every visual layer, and keep it in one file.

    The file holds sums and averages over photos and the SHA-256 of each photo, no photo.

    Example:
      unsee moments --model checkpoints/my-vlm --retain photos/others --out others.safetensors
    """

    model: str
    """A checkpoint folder of transformers, or a hub id OWNER/NAME."""
    retain: Path
    """Photos of what must be kept."""
    out: Path
    """The file to write."""
    seed: int = 0
    """Of the clustering."""
    memory: Literal["normal", "low"] = "normal"
    """low sums up a few layers at a time, in several passes over the photos."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    overwrite: bool = False
    """Replace --out if it exists."""


def main(args: list[str]) -> int:
    """Writes a moments file."""
    options = parse(Options, args, "unsee moments")
    quiet()
    if options.out.exists() and not options.overwrite:
        raise InputError(f"{options.out} exists already; name another output or add --overwrite.")
    if not options.out.absolute().parent.is_dir():
        raise InputError(f"{options.out.absolute().parent} does not exist; make it first or name another output.")
    vlm = load(options.model, trust_remote_code=options.trust_remote_code)
    samples = data.load(options.retain)
    data.validate(samples, "retained")
    bounds = plan(options.memory, sum(vlm.partition.groups.values()))
    with tempfile.TemporaryDirectory(prefix="unsee-", dir=options.out.absolute().parent) as scratch:
        where = Path(scratch) if bounds.frugal else None
        moments, _ = measure(vlm, samples, NSCVF().moment_settings(options.seed), bounds, where)
        save(moments, options.out)
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {moments.count} images, {len(moments.first)} layers, {size:.1f} MB")
    return 0
