"""`unsee forget METHOD`: one request."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from unsee import api, benchmarks
from unsee.cli.asking import asked_of_target
from unsee.cli.parse import (
    AnswerFromFolder,
    AskOption,
    CacheFolder,
    DropSimilar,
    KeepAnyway,
    Public,
    Questions,
    QuestionsFile,
    SkipUnreadable,
    asked,
    chosen,
    located,
    parse,
)
from unsee.cli.photos import given
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.table import print_checks, print_lines, warn
from unsee.cli.telling import out, tell
from unsee.cli.unfinished import unfinished
from unsee.cli.written import write_result
from unsee.errors import InputError
from unsee.evaluation.own import both, write_answers
from unsee.forgetting.by_features import FeatureMethod
from unsee.forgetting.edit import Edit
from unsee.methods import NSCVF, Method, find
from unsee.methods.nscvf import PRESETS
from unsee.models.carried import left_out, told
from unsee.models.checkpoint import load
from unsee.models.shards import headers, shards
from unsee.moments.file import read
from unsee.records import OWN_ANSWERS, Result, Sample
from unsee.reporting.summary import FAILED
from unsee.system.output import ANSWERS, refuse_cache, refuse_existing
from unsee.system.processes import first, spread
from unsee.system.terminal import as_text

Chosen = TypeVar("Chosen")
MEANS = (
    " (target: how much is left of its way; drift: how far photos of others moved, 1 being as far as somebody else.)"
)
SHORT = {
    "Model and photos": ("model", "target", "retain"),
    "What is written": ("out", "id", "keep-anyway", "overwrite"),
    "What the model is asked": ("question", "questions"),
    "Strength": ("preset", "seed"),
}


@dataclass(frozen=True)
class Options(Generic[Chosen]):
    """Make a model forget what is on some photos, and write the edited checkpoint.

    Photos are a folder of images (optionally one sub-folder per person or thing), a JSONL or Parquet file, or a folder
    saved by `datasets`. The language model of the checkpoint stays byte for byte what it was, unless a baseline gets a
    scope that holds it. Beside the checkpoint stand its record, unsee.json, and a page, report.html. nscvf is the
    method where none is named; `unsee ls methods` shows the others. --config FILE.toml may hold options.

    Example:
      unsee forget nscvf --model checkpoints/my-vlm --target photos/alice --retain photos/others --out out/alice
    """

    model: str
    """A checkpoint folder of transformers, or hf://OWNER/NAME of the hub."""
    out: Path
    """Folder to write the edited checkpoint to; it must not exist."""
    target: Path | None = None
    """Photos of what must be forgotten; needed unless a benchmark gives them."""
    retain: Path | None = None
    """Photos of what must be kept."""
    public: Public = None
    benchmark: str | None = None
    """Take target and retained photos of a benchmark (see `unsee ls benchmarks`) instead of --target and --retain."""
    split: str | None = None
    """Of the benchmark; its default where none is given."""
    data: str | None = None
    """Where a published benchmark is: its folder, or hf://OWNER/NAME; its own on the hub where none is given."""
    moments: Path | None = None
    """Retained statistics made by `unsee moments`, instead of or beside --retain."""
    seed: int = 0
    """Of everything that is random."""
    preset: Literal["fast", "default", "resistant"] = "default"
    """Of nscvf. fast: fewer steps; resistant: several times as long, on more layers, against attackers who have the
    weights. Settings that are given count more."""
    memory: Literal["normal", "low"] = "normal"
    """low trains a few layers at a time, each for its share of the steps, and holds far less."""
    cache: CacheFolder = None
    ask: AskOption = ("auto",)
    question: Questions = ()
    answer_from_folder: AnswerFromFolder = False
    questions: QuestionsFile = None
    id: str = ""
    """Names the request in records and on the page; not a person's name."""
    without_photos: bool = False
    """Leave photos, names and answers out of the page and the records."""
    drop_similar: DropSimilar = False
    skip_unreadable: SkipUnreadable = False
    keep_anyway: KeepAnyway = False
    link: bool = False
    """Make weight files that do not change hard links to those of the model. That takes no room, and a tool that
    writes to one of them in place changes both."""
    hub: bool = False
    """Take what is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    resume: bool = False
    """Go on with a run of the same settings that was killed."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""
    method: Chosen = field(kw_only=True)


def main(args: list[str]) -> int:
    """Runs one request; 1 where it did not reach its aim, or a check of the written checkpoint failed."""
    name, rest = (args[0], args[1:]) if args and not args[0].startswith("-") else chosen(args)
    kind: Any = Options
    method: Any = find(name)
    options = _preset(located(parse(kind[method], rest, f"unsee forget {name}", SHORT)), rest)
    quiet()
    reads = (options.model, options.target, options.retain, options.public, options.moments, options.questions)
    refuse_existing(options.out, overwrite=options.overwrite, reads=reads)
    refuse_cache(options.cache, (*reads, options.out))
    skipped = list[str]()
    target, retained = _photos(options, skipped)
    own_questions = asked_of_target(options.questions, target)
    _check_spread(options.method)
    language = method.language
    vlm = load(options.model, language=language, trust_remote_code=options.trust_remote_code)
    headers(vlm.folder)
    unneeded = left_out(vlm.folder)
    moments = None if options.moments is None else read(options.moments, vlm)
    started = time.monotonic()
    with unfinished(options.out, "state.pt", "trained", resume=options.resume) as state, noting():
        edit = api.forget(
            vlm,
            target,
            retained,
            public=options.public,
            method=options.method,
            moments=moments,
            seed=options.seed,
            memory=options.memory,
            cache=options.cache,
            ask=asked(options.ask, options.question),
            questions=own_questions,
            answer_from_folder=options.answer_from_folder,
            identifier=options.id,
            drop_similar=options.drop_similar,
            tell=lambda text: tell(text if text.endswith("?") else f"{text}."),
            state=state,
        )
        if edit.request is not None:
            edit = replace(edit, request=replace(edit.request, skipped_files=len(skipped)))
        if options.without_photos and edit.verdict is not None:
            edit = replace(edit, verdict=replace(edit.verdict, notes=()))  # they say names and answers
        if not first():
            return 0
        edit = replace(edit, timings={**edit.timings, "total_s": round(time.monotonic() - started, 2)})
        results = list[Result]()
        edit.save(
            options.out,
            overwrite=options.overwrite,
            link=options.link,
            keep_anyway=options.keep_anyway,
            record=lambda folder: results.append(_record(edit, folder, options)),
        )
    print_lines(results[0])
    if edit.verdict is not None and not edit.verdict.passed:
        warn(f"{options.out} is written because of --keep-anyway. {edit.verdict.missing()}")
    out(f"{options.out}: {edit.stopped}.{MEANS if isinstance(options.method, FeatureMethod) else ''}")
    out(f"{_changed(vlm.folder, options.out)}; {_rounding(edit)}.")
    if unneeded:
        out(f"left out of the copy, as not known to belong to a checkpoint: {told(unneeded)}.")
    if edit.protected:
        out(f"{len(edit.protected)} tensors of the language model may have changed, as the scope allows.")
    checks = [check for check in results[0].checks if check.name != OWN_ANSWERS]
    print_checks(checks)
    out(f"the page: {options.out / 'report.html'}")
    return 1 if results[0].state == FAILED else 0


def _check_spread(method: Method) -> None:
    """Raises InputError for a method that cannot do with weights that are spread over processes."""
    if not spread():
        return
    if not isinstance(method, FeatureMethod):
        raise InputError(f"{method.name} needs all weights in each process; leave fsdp2 out, or take nscvf.")
    if method.harden > 0:
        raise InputError("--harden needs all weights in each process; leave it or fsdp2 out.")


def _preset(options: Options[Any], given: Sequence[str]) -> Options[Any]:
    """The options with the settings of the preset, but for those that were given."""
    if options.preset == "default":
        return options
    if not isinstance(options.method, NSCVF):
        raise InputError(f"--preset {options.preset} is of nscvf; leave it out with {options.method.name}.")
    names = [word.partition("=")[0][2:] for word in given if word.startswith("--")]
    typed = {name.removeprefix("no-").replace("-", "_") for name in names}
    changed = {name: value for name, value in PRESETS[options.preset].items() if name not in typed}
    return replace(options, method=replace(options.method, **changed))


def _record(edit: Edit, folder: Path, options: Options[Any]) -> Result:
    """Writes result.json, the page and, with photos, every answer beside the checkpoint."""
    result = api.request_result(edit, folder, name=as_text(options.out.name), with_photos=not options.without_photos)
    write_result(result, folder)
    if edit.replies and not options.without_photos:
        write_answers([reply.sample for reply in edit.replies], both(edit.replies), folder / ANSWERS)
    return result


def _photos(options: Options[Any], skipped: list[str]) -> tuple[Path | list[Sample], Path | list[Sample] | None]:
    """The request's photos and those of others, from paths or from a benchmark; what is `skipped` is added there."""
    if options.benchmark is None:
        if options.split is not None or options.data is not None:
            raise InputError("--split and --data belong to a benchmark; name it with --benchmark.")
        if options.target is None:
            raise InputError("there is no target; give its photos with --target, or a benchmark with --benchmark.")
        skip = options.skip_unreadable
        target = given(options.target, skip=skip, left_out=skipped)
        return target, None if options.retain is None else given(options.retain, skip=skip, left_out=skipped)
    if options.target is not None or options.retain is not None:
        raise InputError(
            f"--benchmark {options.benchmark} brings its photos along; leave --target and --retain out, or it."
        )
    bench = benchmarks.load("/".join(filter(None, (options.benchmark, options.split))), options.data)
    if not bench.target:
        raise InputError(f"{options.benchmark} says nothing of what is to be forgotten; give photos with --target.")
    return bench.target, None if options.moments is not None or options.public is not None else bench.retained


def _changed(before: Path, after: Path) -> str:
    files = shards(before)
    linked = sum((after / file.name).samefile(file) for file in files)
    return f"{len(files) - linked} of {len(files)} weight files written, {linked} linked"


def _rounding(edit: Edit) -> str:
    """What rounding to the stored dtype did to the edit, in words."""
    found = {name: edit.method.get(f"rounding_{name}") for name in ("target", "drift")}
    moved = ", ".join(f"{name} {value:+.4f}" for name, value in found.items() if value is not None)
    return f"rounding as stored lost {edit.method['rounding_share']:.2%} of the change{f' ({moved})' if moved else ''}"
