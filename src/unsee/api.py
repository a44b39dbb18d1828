"""The library's verbs: load, forget, evaluate, report."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unsee import __version__, benchmarks, data, reporting
from unsee.benchmarks.benchmark import Benchmark
from unsee.data import Images
from unsee.data.requested import about_same, request_of, shown_to
from unsee.errors import InputError, check_kind, check_seed, shown
from unsee.evaluation import own
from unsee.evaluation.asking import asked_again
from unsee.evaluation.evaluate import Evaluation, language_model_unchanged, model_facts
from unsee.evaluation.evaluate import evaluate as measure_answers
from unsee.evaluation.hearing import AUTO, Ask, Tell, heard_before, silent
from unsee.evaluation.judging import Judge
from unsee.evaluation.photos import photo_questions
from unsee.forgetting.by_features import FeatureMethod
from unsee.forgetting.edit import Edit, read_record
from unsee.forgetting.training import Progress
from unsee.methods import NSCVF, Method, find
from unsee.methods.attempts import best_edit
from unsee.models.checkpoint import Vlm, load, place_of
from unsee.models.copies import refuse_copies
from unsee.models.turns import in_turn
from unsee.moments.file import read
from unsee.moments.measure import prepared
from unsee.moments.records import Moments
from unsee.records import Check, Result, Sample, plain, read_result
from unsee.reporting import summary
from unsee.reporting.page import is_page
from unsee.system.device import computes
from unsee.system.environment import environment, now
from unsee.system.output import refuse_cache
from unsee.system.progress import visible

__all__ = ["environment", "evaluate", "forget", "load", "report"]


@visible
@computes
@in_turn
@asked_again()
def forget(
    vlm: Vlm | Path | str,
    target: Images,
    retain: Images | None = None,
    *,
    public: Images | None = None,
    method: Method | str | None = None,
    moments: Moments | Path | str | None = None,
    seed: int = 0,
    memory: str = "normal",
    cache: Path | str | None = None,
    ask: Ask = AUTO,
    questions: Sequence[Sample] = (),
    answer_from_folder: bool = False,
    drop_similar: bool = False,
    identifier: str = "",
    state: Path | str | None = None,
    progress: Progress | None = None,
    tell: Tell = silent,
    device: str | None = None,
    precision: str | None = None,  # noqa: ARG001 # what the decorator takes
) -> Edit:
    """Makes a model forget what is on the target images; `vlm` itself is left as it was.

    `vlm` is an opened checkpoint, its folder, or hf://OWNER/NAME. `target` and `retain` are a path (see
    `unsee.data.load`) or a list of samples, files or images. `method` is one of `unsee.methods`, or its name. Retained
    images are optional once `moments`, or their file, are given; `public` images, of anybody but the target, may then
    stand in for them: their features are kept as well, but nobody is asked about them. With `state`, a file, a killed
    run goes on where it was. `memory` is "normal" or "low", which trains a few layers at a time. `cache` is a folder
    where what is measured of the retained images is kept for later runs.

    With `ask` "auto", and where the whole model fits into memory, some photos are kept out of training (see
    `unsee.data.aside`), the model is asked about them before and after, and the edit has a verdict on what it says;
    "never" asks nothing and uses all photos, and anything else is the question, or the questions of which the best is
    taken. The right answer is what the model says before, or with `answer_from_folder` the name of the photo's concept.
    `questions` are further ones with right answers, see `unsee.data.questions`; all that was said is in the edit's
    `replies`. `tell` is given warnings. With `drop_similar`, retained images that the model takes for the target are
    left out. `identifier` names the request in records.

    A model that is not opened yet is opened on `device`: auto (a GPU where there is one), cpu, cuda, cuda:N or mps. It
    runs forward in `precision`: float32, bfloat16, or auto (bfloat16 on a GPU that computes in it); what is trained
    and summed up stays float32 or float64.

    Raises InputError for images that cannot be used, an image on both sides, retained images that the model takes for
    the target, neither retained images nor moments, or a device that is not there.
    """
    if isinstance(vlm, Vlm) and device is not None:
        raise InputError(f"the model is on {vlm.device} already; give the device to unsee.load, or the model's folder.")
    method = _method(method)
    for name, value, kinds, expected in (
        ("vlm", vlm, (Vlm, str, Path), "an opened checkpoint, its folder, or hf://OWNER/NAME"),
        ("moments", moments, (Moments, str, Path, type(None)), "moments, or the file that unsee moments wrote"),
        ("ask", ask, (str, list, tuple), "auto, never, a question or several"),
        ("questions", questions, (list, tuple), "a list of samples; unsee.data.questions.read_questions reads a file"),
        ("identifier", identifier, str, "a text"),
        ("state", state, (str, Path, type(None)), "a file"),
        ("cache", cache, (str, Path, type(None)), "a folder"),
    ):
        check_kind(name, value, kinds, expected)
    for word in ask if isinstance(ask, list | tuple) else ():
        check_kind("ask", word, str, "auto, never, a question or several")
    seed, state = check_seed(seed), None if state is None else Path(state)
    if cache is not None:
        refuse_cache(Path(cache), [side for side in (target, retain, public) if isinstance(side, str | Path)])
    if not isinstance(vlm, Vlm):
        vlm = load(vlm, language=method.language)
    vlm = vlm if cache is None else replace(vlm, cache=Path(cache))
    moments = read(Path(moments), vlm) if isinstance(moments, str | Path) else moments
    refuse_copies(vlm)  # what cannot be copied, or must not be, is said before the work
    targets, copies = data.without_copies(data.samples_of(target))
    if copies:
        tell(f"{copies} target photos hold the same pixels as another one and are left out")
    retained = None if retain is None else data.samples_of(retain)
    if retained is not None:
        retained = data.check_disjoint(targets, retained, drop=drop_similar)
    if moments is not None:
        _check_not_counted(targets, moments)
    standing_in = None if public is None else _public(targets, public, retained, method, drop=drop_similar)
    with data.unchanged([*targets, *(retained or ())]):
        hearing = heard_before(
            vlm, targets, retained or [], seed=seed, ask=ask, further=questions, by_name=answer_from_folder,
            drop_similar=drop_similar, tell=tell,
        )  # fmt: skip
        hearing = hearing if moments is None else hearing.knowing(moments.unnamed)
        request = request_of(hearing.parts, identifier, now())
        if standing_in is not None and moments is not None:
            moments = replace(moments, public=prepared(vlm, standing_in, vlm.bounds(memory)))
        given: dict[str, Any] = {"moments": moments, "seed": seed, "memory": memory, "progress": progress}
        shown = hearing.parts.shown if retained is not None else standing_in if moments is None else None
        if not isinstance(method, FeatureMethod):
            edit = method.forget(vlm, hearing.parts.used, shown, state=state, **given)
            verdict = hearing.verdict(edit.weights, edit.method.get("final"))
            return replace(edit, verdict=verdict, request=request, replies=hearing.replies(edit.weights))
        asked = hearing.reader is not None and moments is None
        edit = best_edit(method, vlm, hearing, shown, tell, asked=asked, state=state, **given)
        return replace(edit, request=request, replies=hearing.replies(edit.weights))


def _method(given: Method | str | None) -> Method:
    """A method by its name, as it is, or nscvf. Raises InputError for what is none."""
    if given is None:
        return NSCVF()
    if isinstance(given, str):
        return find(given)()
    if isinstance(given, type) or not hasattr(given, "forget"):
        raise InputError(f"method is {shown(given)}; expected a name, or settings such as unsee.methods.NSCVF().")
    return given


def _public(
    targets: Sequence[Sample], public: Images, retained: list[Sample] | None, method: Method, *, drop: bool
) -> list[Sample]:
    """Public photos that can be used. Raises InputError where they cannot."""
    if retained is not None:
        raise InputError("public photos stand in for retained ones; give the one or the other.")
    if not isinstance(method, FeatureMethod):
        raise InputError(
            f"public photos are for methods that move features, and {method.name} is none; leave them out."
        )
    return data.check_disjoint(targets, data.samples_of(public), drop=drop)


def _check_not_counted(targets: Sequence[Sample], moments: Moments) -> None:
    known = set(moments.hashes)
    for sample, digest in zip(targets, data.validate(targets, "target"), strict=True):
        if digest in known:
            raise InputError(
                f"the target image {sample.image} was among the retained images of the moments; "
                "measure the moments again without it."
            )


@visible
@computes
def evaluate(
    model: Path | str,
    *,
    benchmark: Benchmark | str | None = None,
    target: Images | None = None,
    retain: Images | None = None,
    questions: str | Sequence[str] = (),
    answer_from_folder: bool = False,
    before: Path | str | None = None,
    oracle: Path | str | None = None,
    judge: Judge | None = None,
    trust_remote_code: bool = False,
    edit: Edit | None = None,
    timings: dict[str, float] | None = None,
    device: str | None = None,  # noqa: ARG001 # what the decorator takes
    precision: str | None = None,  # noqa: ARG001
) -> Result:
    """Measures a checkpoint on a benchmark, or on photos; `edit` adds how it was made.

    Of photos of the `target` and others, the model `before` says which answers are right, or with `answer_from_folder`
    their concepts' names. A `judge` reads answers in own words. `device` and `precision` are as for `forget`. Raises
    InputError where there is nothing to ask.
    """
    bench = asked(
        model, benchmark, target, retain, questions, before,
        by_name=answer_from_folder, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    measured = measure_answers(
        model, bench, before=before, oracle=oracle, judge=judge, trust_remote_code=trust_remote_code
    )
    made = assemble(measured, bench, model=model, before=before, oracle=oracle, edit=edit, timings=timings)
    return made if edit is not None else with_record(made, about(read_record(place_of(model)), bench.target))


def asked(
    model: Path | str,
    benchmark: Benchmark | str | None,
    target: Images | None,
    retain: Images | None,
    questions: str | Sequence[str],
    before: Path | str | None,
    *,
    by_name: bool,
    trust_remote_code: bool,
) -> Benchmark:
    """What a model is asked: a benchmark, or questions about photos. Raises InputError where that is nothing."""
    check_kind("questions", questions, (str, list, tuple), "a question, or a list of them")
    questions = (questions,) if isinstance(questions, str) else questions
    if benchmark is not None:
        check_kind("benchmark", benchmark, (str, Benchmark), "a benchmark, or its name")
        return benchmarks.load(benchmark) if isinstance(benchmark, str) else benchmark
    if target is None and retain is None:
        raise InputError("there is nothing to ask; give a benchmark, or photos as target and retain.")
    sides = [[] if side is None else data.samples_of(side) for side in (target, retain)]
    data.check_sides(*sides)
    first = None
    if before is not None and not by_name:
        first = load(before, language=True, trust_remote_code=trust_remote_code)
    request = shown_to(read_record(place_of(model)))
    found = photo_questions(*sides, request=request, questions=questions, before=first, by_name=by_name)
    return own.benchmark(found, *sides)


def about(record: Mapping[str, Any], target: Sequence[Sample]) -> dict[str, Any]:
    """A checkpoint's record as far as it is about these photos: without its request where that is about others."""
    request = record.get("request")
    if not request or not target or about_same(request, target):
        return dict(record)
    return {name: value for name, value in record.items() if name not in ("request", "verdict")}


def with_record(result: Result, record: Mapping[str, Any]) -> Result:
    """The result of a checkpoint, with what the checkpoint's own record says of how it was made; as it is without."""
    if not record:
        return result
    request = plain(record.get("request"))
    then, now = record.get("files_after", {}), result.model.get("weights_sha256", {})
    changed = [name for name, digest in now.items() if then.get(name, digest) != digest]
    checks = [Check("record", False, f"{name} is not what it was when unsee.json was written") for name in changed[:1]]
    verdicts = [
        record.get("verdict"),
        *(each.get("verdict") for each in record.get("session", {}).get("certificates", ())),
    ]
    missed = list(dict.fromkeys(name for each in verdicts if each for name in each.get("missed", ())))
    made = replace(
        result,
        data={**result.data, **({"missed_when_made": missed} if missed else {})},
        method=record.get("method", {}),
        seed=record.get("seed", 0),
        request=request,
        checks=[*result.checks, *checks],
    )
    return replace(made, state=summary.state(summary.lines(made)))


def request_result(edit: Edit, folder: Path | str, *, name: str = "", with_photos: bool = True) -> Result:
    """The record of a request as the model itself answered: `folder` is the checkpoint that was written.

    It is called `name` in the record, else as the folder is. Without photos there are no examples.
    """
    replies, written = edit.replies, replace(edit.vlm, folder=Path(folder))
    checks = [language_model_unchanged(edit.vlm, written.folder)] if not edit.protected else []
    measured = Evaluation(
        scores=own.reply_scores(replies) if replies else [],
        outcomes={},
        checks=checks,
        examples=own.examples(replies) if with_photos else [],
        feature_map=[],
        model=model_facts(written, edit.vlm),
        seconds=0.0,
    )
    made = assemble(measured, own.benchmark([reply.sample for reply in replies]), model=name or folder, edit=edit)
    facts = {key: value for key, value in made.model.items() if key != "path"}
    more = own.further(replies)
    made = replace(made, model=facts, data={**made.data, **({"further": more} if more else {})})
    return replace(made, state=summary.state(summary.lines(made)))


def assemble(
    measured: Evaluation,
    bench: Benchmark,
    *,
    model: Path | str,
    before: Path | str | None = None,
    oracle: Path | str | None = None,
    edit: Edit | None = None,
    timings: dict[str, float] | None = None,
) -> Result:
    """The record of one evaluation, with everything that an auditor asks for beside the scores."""
    paths = {"path": model, "before": before, "oracle": oracle}
    made = Result(
        unsee=__version__,
        model={"name": Path(model).name, **measured.model, **{k: str(v) for k, v in paths.items() if v is not None}},
        method={} if edit is None else {name: value for name, value in edit.facts().items() if name != "looks"},
        seed=0 if edit is None else edit.seed,
        data={**_data_facts(bench), **({"not_made": measured.not_made} if measured.not_made else {})},
        timings={**({} if edit is None else edit.timings), "evaluate_s": round(measured.seconds, 2), **(timings or {})},
        scores=measured.scores,
        checks=[*measured.checks, *_own_answers(edit)],
        examples=measured.examples,
        environment=environment(),
        layers=[] if edit is None else edit.layers,
        feature_map=measured.feature_map,
        time=now(),
        request=None if edit is None or edit.request is None else plain(edit.request),
        verdict=None if edit is None else plain(edit.told()),
    )
    return replace(made, state=summary.state(summary.lines(made)))


def _own_answers(edit: Edit | None) -> list[Check]:
    """The verdict on a request as a check, where the model was asked."""
    return [] if edit is None or edit.verdict is None or not edit.verdict.question else [edit.verdict.check()]


def _data_facts(bench: Benchmark) -> dict[str, Any]:
    facts: dict[str, Any] = {"benchmark": bench.name, "split": bench.split, "questions": len(bench.questions)}
    if bench.protocol:
        facts["protocol"] = bench.protocol
    for role, samples in (("target", bench.target), ("retained", bench.retained)):
        if samples:
            hashes = sorted(data.hash_of(s) for s in samples if s.image is not None)
            facts[f"{role}_images"] = len(samples)
            facts[f"{role}_concepts"] = len({s.concept for s in samples})
            facts[f"{role}_sha256"] = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return facts


def report(result: Result | Path | str, out: Path | str) -> Path:
    """Writes the page of a result, or of the file result.json: one HTML file that needs no network.

    An older page is replaced. Raises InputError for a file that is no result, and where `out` is something else than a
    page.
    """
    check_kind("result", result, (Result, str, Path), "a result, or the file result.json")
    check_kind("out", out, (str, Path), "a file to write")
    made, place = result if isinstance(result, Result) else read_result(Path(result)), Path(out)
    if place.is_file() and not is_page(place):
        raise InputError(f"{place} is a file that this command did not write, so that it stays; name another output.")
    reporting.write(made, place)
    return place
