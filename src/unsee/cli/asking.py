"""What `evaluate` and `attack` ask: a benchmark, or the photos and questions of one's own."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from unsee import api, benchmarks
from unsee.benchmarks.benchmark import Benchmark
from unsee.cli.photos import given
from unsee.cli.telling import tell
from unsee.data import Images, check_sides, samples_of
from unsee.data.questions import read_questions
from unsee.data.requested import about_same, shown_to
from unsee.errors import InputError
from unsee.evaluation import own
from unsee.evaluation.photos import photo_questions
from unsee.forgetting.edit import read_record
from unsee.models.checkpoint import Vlm, load, place_of
from unsee.records import Request, Sample


class Asks(Protocol):
    """The options that both commands have."""

    @property
    def model(self) -> str: ...
    @property
    def benchmark(self) -> str | None: ...
    @property
    def target(self) -> Path | None: ...
    @property
    def retain(self) -> Path | None: ...
    @property
    def question(self) -> tuple[str, ...]: ...
    @property
    def questions(self) -> Path | None: ...
    @property
    def answer_from_folder(self) -> bool: ...
    @property
    def skip_unreadable(self) -> bool: ...
    @property
    def before(self) -> str | None: ...
    @property
    def trust_remote_code(self) -> bool: ...


def asked_of(options: Asks, data: str | None = None, **protocol: Any) -> tuple[Benchmark, dict[str, Any]]:
    """The questions, and what the checkpoint's own record says; empty where it has none.

    Raises InputError where nothing or too much is given, and for a benchmark or a file of questions that is not about
    the target of the request that the record is of.
    """
    photos = options.target is not None or options.retain is not None or options.questions is not None
    _check_belongs(options)
    if options.benchmark is None and not photos:
        raise InputError("there is nothing to ask; give --benchmark NAME, photos with --target, or --questions FILE.")
    if options.benchmark is not None and photos:
        raise InputError(f"--benchmark {options.benchmark} brings its questions along; leave it out, or the photos.")
    bench = None if options.benchmark is None else benchmarks.load(options.benchmark, data, **protocol)
    record = read_record(place_of(options.model))
    request: Request | None = record.get("request")
    if bench is not None:
        if request and bench.target and not about_same(request, bench.target):
            raise InputError(
                f"{options.benchmark} is about other people or things than the request {request.id}, which made "
                f"{options.model}; name the benchmark and split of that request."
            )
        return bench, record
    bench = _own(options, record, request)
    return bench, _about(record, bench, options)


def check_oracle(model: str, before: str | None, oracle: str | None) -> None:
    """Raises InputError for an oracle that is the model or the one before it."""
    for name, place in (("--model", model), ("--before", before)):
        if oracle is not None and place is not None and Path(place).resolve() == Path(oracle).resolve():
            raise InputError(
                f"--oracle and {name} are one checkpoint, {oracle}; an oracle is a model that never saw the target, so "
                "leave it out where there is none."
            )


def _check_belongs(options: Any) -> None:
    """Raises InputError for an option that would say nothing, because what it belongs to is not given."""
    photos = options.target is not None or options.retain is not None
    bench, tasks = options.benchmark is not None, bool(vars(options).get("lmms_eval"))
    there = {
        "--benchmark NAME": (bench, ("data", "protocol", "bugs")),
        "photos, as --target or --retain": (photos, ("question", "answer_from_folder", "skip_unreadable")),
        "--lmms-eval TASKS": (tasks, ("lmms_include", "lmms_limit")),
    }
    for owner, (has, names) in there.items():
        for field in fields(options):
            if field.name in names and not has and vars(options)[field.name] != field.default:
                name = f"--{field.name.replace('_', '-')}"
                raise InputError(f"{name} says nothing without {owner}; give that, or leave {name} out.")


def _about(record: Mapping[str, Any], bench: Benchmark, options: Asks) -> dict[str, Any]:
    """The record as far as it is about these photos, which is said where that is not all of it."""
    found = api.about(record, bench.target)
    if (request := record.get("request")) and "request" not in found:
        tell(
            f"none of the photos of {options.target} is of the request {request.id}, and their folder has another "
            "name; what is said is about them and not about that request."
        )
    return found


def _own(options: Asks, record: Mapping[str, Any], request: Request | None) -> Benchmark:
    skip = options.skip_unreadable
    target = [] if options.target is None else samples_of(given(options.target, skip=skip))
    retained = [] if options.retain is None else samples_of(given(options.retain, skip=skip))
    check_sides(target, retained)
    asked = list[Sample]()
    if options.questions is not None:
        asked = read_questions(options.questions, {sample.concept for sample in target})
        wanted = [sample for sample in asked if sample.subset == "target"]
        if request and wanted and not target and not about_same(request, wanted):
            raise InputError(
                f"{options.questions} asks about another target than the request {request.id}, which made "
                f"{options.model}; give the concept the name that the request's photos had."
            )
    if target or retained:
        known = (record.get("verdict") or {}).get("question")
        by_name = options.answer_from_folder
        before = None if by_name or options.before is None else _opened(options)
        about = photo_questions(
            target,
            retained,
            request=shown_to(record),
            questions=options.question,
            known=known,
            before=before,
            by_name=by_name,
        )
        asked = [*about, *asked]
    return own.benchmark(asked, target, retained)


def _opened(options: Asks) -> Vlm:
    return load(str(options.before), language=True, trust_remote_code=options.trust_remote_code)


def asked_of_target(file: Path | None, target: Images) -> list[Sample]:
    """The questions of a file, if there is one, about the people or things that the target's photos show."""
    return [] if file is None else read_questions(file, {sample.concept for sample in samples_of(target)})
