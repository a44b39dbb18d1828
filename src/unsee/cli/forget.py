"""`unsee forget METHOD`: one request."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from unsee import __version__, api, benchmarks
from unsee.cli.parse import parse
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.edit import Edit, refuse_existing
from unsee.errors import InputError, unknown
from unsee.evaluation import language_model_unchanged
from unsee.methods import METHODS, NSCVF
from unsee.models.checkpoint import hashes, load
from unsee.models.shards import headers, shards
from unsee.moments import read
from unsee.records import Sample

RECORD = "unsee.json"
Chosen = TypeVar("Chosen")


@dataclass(frozen=True)
class Options(Generic[Chosen]):
    """Make a model forget what is on some photos, and write the edited checkpoint.

    Photos are a folder of images (optionally one sub-folder per person or thing), a JSONL or Parquet file, or a folder
    saved by `datasets`. The language model of the checkpoint stays byte for byte what it was, unless a baseline gets a
    scope that holds it.

    Example:
      unsee forget nscvf --model checkpoints/my-vlm --target photos/alice --retain photos/others --out out/alice
    """

    model: str
    """A checkpoint folder of transformers, or a hub id OWNER/NAME."""
    out: Path
    """Folder to write the edited checkpoint to; it must not exist."""
    target: Path | None = None
    """Photos of what must be forgotten; needed unless a benchmark gives them."""
    retain: Path | None = None
    """Photos of what must be kept."""
    benchmark: str | None = None
    """Take target and retained photos of a benchmark (see `unsee ls benchmarks`) instead of --target and --retain."""
    split: str | None = None
    """Of the benchmark; its default where none is given."""
    data: str | None = None
    """Where a published benchmark is: its folder, or a hub id; its own on the hub where none is given."""
    moments: Path | None = None
    """Retained statistics made by `unsee moments`, instead of or beside --retain."""
    seed: int = 0
    """Of everything that is random."""
    memory: Literal["normal", "low"] = "normal"
    """low trains a few layers at a time, each for its share of the steps, and holds far less."""
    copy: bool = False
    """Copy the files that do not change instead of linking them."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    resume: bool = False
    """Go on with a run of the same settings that was killed."""
    overwrite: bool = False
    """Replace --out if it exists."""
    method: Chosen = field(kw_only=True)


def main(args: list[str]) -> int:
    """Runs one request; 1 where a check of the written checkpoint failed."""
    name, rest = (args[0], args[1:]) if args and not args[0].startswith("-") else (NSCVF.name, args)
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    kind: Any = Options
    options = parse(kind[METHODS[name]], rest, f"unsee forget {name}")
    quiet()
    reads = (options.model, options.target, options.retain, options.moments)
    refuse_existing(options.out, overwrite=options.overwrite, reads=reads)
    target, retained = _photos(options)
    language = METHODS[name].language
    vlm = load(options.model, language=language, trust_remote_code=options.trust_remote_code)
    headers(vlm.folder)
    moments = None if options.moments is None else read(options.moments, vlm)
    started = time.monotonic()
    with _unfinished(options.out, resume=options.resume) as state, noting() as note:
        edit = api.forget(
            vlm,
            target,
            retained,
            method=options.method,
            moments=moments,
            seed=options.seed,
            memory=options.memory,
            state=state,
            progress=lambda done, total, text: note("forgetting", done, total, text),
        )
        edit.save(
            options.out,
            overwrite=options.overwrite,
            copy=options.copy,
            record=lambda folder: write_record(edit, folder, started),
        )
    print(f"{options.out}: {edit.stopped}.")
    print(f"{_changed(vlm.folder, options.out)}; {_rounding(edit)}.")
    if edit.protected:
        print(f"{len(edit.protected)} tensors of the language model may have changed, as the scope allows.")
        return 0
    check = language_model_unchanged(vlm, options.out)
    print(f"{'passed' if check.passed else 'FAILED'}: {check.name}, {check.detail}.")
    return 0 if check.passed else 1


def _photos(options: Options[Any]) -> tuple[Path | list[Sample], Path | list[Sample] | None]:
    """The request's photos and those of others, from paths or from a benchmark."""
    if options.benchmark is None:
        if options.split is not None or options.data is not None:
            raise InputError("--split and --data belong to a benchmark; name it with --benchmark.")
        if options.target is None:
            raise InputError("there is no target; give its photos with --target, or a benchmark with --benchmark.")
        return options.target, options.retain
    if options.target is not None or options.retain is not None:
        raise InputError(
            f"--benchmark {options.benchmark} brings its photos along; leave --target and --retain out, or it."
        )
    bench = benchmarks.load("/".join(filter(None, (options.benchmark, options.split))), options.data)
    if not bench.target:
        raise InputError(f"{options.benchmark} says nothing of what is to be forgotten; give photos with --target.")
    return bench.target, None if options.moments is not None else bench.retained


@contextmanager
def _unfinished(out: Path, *, resume: bool) -> Iterator[Path]:
    """The file, beside the output, where an unfinished run keeps its state; it outlives a run that was cut off only."""
    folder = out.absolute().parent / f".{out.name}.unfinished"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    resumed = folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder.parent} cannot be written to ({error.strerror}); name another output.") from error
    try:
        yield folder / "state.pt"
    except InputError:
        if not resumed:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _changed(before: Path, after: Path) -> str:
    files = shards(before)
    linked = sum((after / file.name).samefile(file) for file in files)
    return f"{len(files) - linked} of {len(files)} weight files written, {linked} linked"


def _rounding(edit: Edit) -> str:
    """What rounding to the stored dtype did to the edit, in words."""
    found = {name: edit.method.get(f"rounding_{name}") for name in ("target", "drift")}
    moved = ", ".join(f"{name} {value:+.4f}" for name, value in found.items() if value is not None)
    return f"rounding as stored lost {edit.method['rounding_share']:.2%} of the change{f' ({moved})' if moved else ''}"


def write_record(edit: Edit, folder: Path, started: float) -> None:
    """Writes unsee.json into the checkpoint: what was done, and the SHA-256 of every file before and after."""
    known: dict[tuple[int, int], str] = {}
    record = {
        "unsee": __version__,
        "method": edit.facts(),
        "seed": edit.seed,
        "timings": {**edit.timings, "total_s": round(time.monotonic() - started, 2)},
        "layers": [asdict(layer) for layer in edit.layers],
        "files_before": hashes(edit.vlm.folder, known),
        "files_after": {name: digest for name, digest in hashes(folder, known).items() if name != RECORD},
        "environment": api.environment(),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
