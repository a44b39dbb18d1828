"""`unsee moments`: retained statistics, so that later requests need no retained image."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unsee import data
from unsee.cli.parse import AskOption, CacheFolder, SkipUnreadable, asked, located, parse
from unsee.cli.photos import given
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.telling import out, tell
from unsee.cli.unfinished import unfinished
from unsee.errors import InputError
from unsee.evaluation.described import described
from unsee.forgetting.settings import SHARE_MANY
from unsee.methods import NSCVF
from unsee.models.checkpoint import load
from unsee.moments.file import is_moments, read, save
from unsee.moments.measure import measure, waiting_place
from unsee.moments.merge import alike, merged
from unsee.system.output import refuse_cache, refuse_existing
from unsee.system.processes import first

SHORT = {
    "Model and photos": ("model", "retain"),
    "What is measured": ("ask", "all-layers", "seed", "memory"),
    "What is written": ("out", "cache", "resume", "overwrite"),
}


@dataclass(frozen=True)
class Options:
    """Measure what the retained photos put into the layers that the default method trains, and keep it in one file.

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
    skip_unreadable: SkipUnreadable = False
    like: Path | None = None
    """Describe photos as this moments file of the same model does, so that both can be merged."""
    all_layers: bool = False
    """Measure every visual layer. Without it, only those that the default method trains, which takes less time; other
    methods and shares of layers may need all."""
    ask: AskOption = ("auto",)
    seed: int = 0
    """Of the clustering."""
    memory: Literal["normal", "low"] = "normal"
    """low sums up a few layers at a time, in several passes over the photos."""
    cache: CacheFolder = None
    hub: bool = False
    """Take what is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""
    resume: bool = False
    """Go on with a run for the same --out that was cut off, where it had counted many photos."""


@dataclass(frozen=True)
class Merge:
    """Add up moments files of different photos of the same model: the file is then that of all these photos.

    What describes photos comes from the first file, and from those that were measured with --like FIRST; of the others
    the sums over layers are added. The photos of one person belong into one file.

    Example:
      unsee moments merge a.safetensors b.safetensors --out all.safetensors
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The files, two or more."""
    out: Path
    """The file to write."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""


def _merge(args: list[str]) -> int:
    options = parse(Merge, args, "unsee moments merge")
    quiet()
    if len(options.files) < 2:
        raise InputError("there is one moments file at most; give two or more to merge.")
    refuse_existing(options.out, overwrite=options.overwrite, reads=options.files, mine=is_moments)
    parts = [read(file) for file in options.files]
    save(merged(parts, [str(file) for file in options.files]), options.out, overwrite=options.overwrite)
    described = sum(alike(parts[0], part) for part in parts)
    count = sum(part.count for part in parts)
    out(f"{options.out}: {count} images of {len(parts)} files, {described} of which say what photos are like.")
    return 0


def main(args: list[str]) -> int:
    """Writes a moments file, measured or merged."""
    if args[:1] == ["merge"]:
        return _merge(args[1:])
    options = located(parse(Options, args, "unsee moments", SHORT))
    quiet()
    refuse_existing(
        options.out, overwrite=options.overwrite, reads=(options.model, options.retain, options.like), mine=is_moments
    )
    refuse_cache(options.cache, (options.model, options.retain))
    vlm = replace(load(options.model, trust_remote_code=options.trust_remote_code), cache=options.cache)
    samples = data.samples_of(given(options.retain, skip=options.skip_unreadable))
    bounds = vlm.bounds(options.memory)
    place = options.out.absolute()
    with (
        unfinished(options.out, "sums.safetensors", "measured", resume=options.resume) as state,
        noting(),
        waiting_place(bounds, place.parent, place.name) as scratch,
    ):
        like = None if options.like is None else read(options.like, vlm)
        ask = "never" if like is not None else asked(options.ask)
        reader, unnamed = described(vlm, samples, options.seed, ask, lambda text: tell(f"{text}."))
        wanted = NSCVF().moment_settings(options.seed)
        share = 1.0 if options.all_layers else SHARE_MANY
        measured, _ = measure(
            vlm, samples, wanted, bounds, scratch, share=share, reader=reader, alone=True, like=like, state=state
        )
        moments = replace(measured, unnamed=unnamed if like is None else like.unnamed)
        if not first():
            return 0
        save(moments, options.out, overwrite=options.overwrite)
    size = options.out.stat().st_size / 1e6
    measured_layers = sum(first in moments.grams for first in moments.first.values())
    out(f"{options.out}: {moments.count} images, {measured_layers} layers, {size:.1f} MB")
    return 0
