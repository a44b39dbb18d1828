"""`unsee moments`: retained statistics, so that later requests need no retained image."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from unsee import data
from unsee.cli.parse import AskOption, asked, located, parse
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.telling import out
from unsee.evaluation.described import described
from unsee.methods import NSCVF
from unsee.models.checkpoint import load
from unsee.moments.file import is_moments, save
from unsee.moments.measure import measure, waiting_place
from unsee.system.disk import parents
from unsee.system.memory import plan
from unsee.system.output import refuse_existing


@dataclass(frozen=True)
class Options:
    """Measure what the retained photos put into every visual layer, and keep it in one file.

    The file holds sums and averages over photos and the SHA-256 of each photo, no photo. Among them are averages over
    the photos of each concept from which a blurred picture of it can be made: treat it as personal data. Where the
    model fits into memory, it is asked what it reads of the photos, and requests go by that.

    Example:
      unsee moments --model checkpoints/my-vlm --retain photos/others --out others.safetensors
    """

    model: str
    """A checkpoint folder of transformers, or hf://OWNER/NAME of the hub."""
    retain: Path
    """Photos of what must be kept."""
    out: Path
    """The file to write."""
    ask: AskOption = ("auto",)
    seed: int = 0
    """Of the clustering."""
    memory: Literal["normal", "low"] = "normal"
    """low sums up a few layers at a time, in several passes over the photos."""
    hub: bool = False
    """Take what is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""


def main(args: list[str]) -> int:
    """Writes a moments file."""
    options = located(parse(Options, args, "unsee moments"))
    quiet()
    refuse_existing(options.out, overwrite=options.overwrite, reads=(options.model, options.retain), mine=is_moments)
    vlm = load(options.model, trust_remote_code=options.trust_remote_code)
    samples = data.load(options.retain)
    data.validate(samples, "retained")
    bounds = plan(options.memory, sum(vlm.partition.groups.values()))
    place = options.out.absolute()
    with noting(), parents(place), waiting_place(bounds, place.parent, place.name) as scratch:
        reader, unnamed = described(vlm, samples, options.seed, asked(options.ask))
        wanted = NSCVF().moment_settings(options.seed)
        measured, _ = measure(vlm, samples, wanted, bounds, scratch, reader=reader, alone=True)
        moments = replace(measured, unnamed=unnamed)
        save(moments, options.out, overwrite=options.overwrite)
    size = options.out.stat().st_size / 1e6
    out(f"{options.out}: {moments.count} images, {len(moments.first)} layers, {size:.1f} MB")
    return 0
