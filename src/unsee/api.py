"""The library's verbs: load, forget, evaluate, report."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin

from unsee import __version__, benchmarks, data, reporting
from unsee.benchmarks.benchmark import Benchmark
from unsee.data import Images
from unsee.data.aside import Divided, divided
from unsee.errors import InputError
from unsee.evaluation.evaluate import Evaluation
from unsee.evaluation.evaluate import evaluate as measure_answers
from unsee.evaluation.judging import Judge
from unsee.evaluation.self_check import (
    Heard,
    among_retained,
    asked_photos,
    best_heard,
    hear,
    notes,
    reader,
    unheard,
    verdict,
)
from unsee.forgetting.by_features import FeatureMethod
from unsee.forgetting.edit import Edit
from unsee.forgetting.training import Progress
from unsee.methods import NSCVF, Method
from unsee.models.checkpoint import Vlm, load, visual_parameters
from unsee.models.shards import headers
from unsee.moments.records import AUTO, Moments
from unsee.records import Result, Sample
from unsee.system.environment import environment
from unsee.system.memory import available

NEVER = "never"
IN_MEMORY = 3  # how many times its size on disk a model takes in memory, at most: stored in half precision, and in use

__all__ = ["environment", "evaluate", "forget", "load", "report"]


def forget(
    vlm: Vlm,
    target: Images,
    retain: Images | None = None,
    *,
    method: Method | None = None,
    moments: Moments | None = None,
    seed: int = 0,
    memory: str = "normal",
    ask: str | Sequence[str] = AUTO,
    drop_similar: bool = False,
    state: Path | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Edit:
    """Makes a model forget what is on the target images; `vlm` itself is left as it was.

    `target` and `retain` are a path (see `unsee.data.load`) or samples. Retained images are optional once `moments` are
    given. With `state`, a file, a killed run goes on where it was. `memory` is "normal" or "low", which trains a few
    layers at a time.

    Some photos are kept out of training (see `unsee.data.aside`). With `ask` "auto", and where the whole model fits
    into memory, the model is asked about them before and after, and the edit has a verdict on what it says; "never"
    asks nothing, and anything else is the question, or the questions of which the best is taken. `tell` is given
    warnings. With `drop_similar`, retained images that the model takes for the target are left out.

    Raises InputError for images that cannot be used, an image on both sides, retained images that the model takes for
    the target, or neither retained images nor moments.
    """
    method = method or NSCVF()
    targets = data.samples_of(target)
    retained = None if retain is None else data.samples_of(retain)
    if retained is not None:
        data.check_disjoint(targets, retained)
    if moments is not None:
        _check_not_counted(targets, moments)
    parts = divided(targets, retained or [], seed)
    if not parts.aside:
        tell("there is one photo of each target, so that none can be set aside to measure what was forgotten")
    whole, before = _whole(vlm, ask), None
    more: dict[str, Any] = {}
    if whole is not None:
        questions = () if ask == AUTO else (ask,) if isinstance(ask, str) else tuple(ask)
        photos = asked_photos(parts, whole.model.num_parameters(), seed)
        before = best_heard(whole, photos, questions)
        for note in notes(before):
            tell(note)
        parts, before = _without_similar(parts, before, tell, drop=drop_similar)
        if isinstance(method, FeatureMethod):
            more["reader"] = reader(whole, before)
    shown = parts.shown if retained is not None else None
    edit = method.forget(
        vlm, parts.used, shown, moments=moments, seed=seed, memory=memory, state=state, progress=progress, **more
    )
    if whole is None or before is None:
        return replace(edit, verdict=unheard(edit.method.get("final", {})))
    _set(whole, edit.weights)
    return replace(edit, verdict=verdict(before, hear(whole, before.photos, before.question)))


def _check_not_counted(targets: Sequence[Sample], moments: Moments) -> None:
    known = set(moments.hashes)
    for sample, digest in zip(targets, data.validate(targets, "target"), strict=True):
        if digest in known:
            raise InputError(
                f"the target image {sample.image} was among the retained images of the moments; "
                "measure the moments again without it."
            )


def _whole(vlm: Vlm, ask: str | Sequence[str]) -> Vlm | None:
    """The model with its language model, to be asked; None where it may not be, or does not fit into memory."""
    if ask == NEVER:
        return None
    sizes = sum(place.stop - place.start for place in headers(vlm.folder).values())
    if ask == AUTO and IN_MEMORY * sizes > available():
        return None
    whole = load(vlm.folder, language=True)
    if isinstance(whole.model, GenerationMixin):
        _set(whole, visual_parameters(vlm.model, vlm.partition))
        return whole
    return None


@torch.no_grad()
def _set(whole: Vlm, weights: Mapping[str, Tensor]) -> None:
    parameters = dict(whole.model.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)


def _without_similar(
    parts: Divided, before: Heard, tell: Callable[[str], None], *, drop: bool
) -> tuple[Divided, Heard]:
    """Without the retained photos that the model takes for a target, if they are to be dropped."""
    alike = among_retained(before)
    if not alike:
        return parts, before
    concepts = sorted({sample.concept for sample in alike})
    listed = ", ".join(concepts[:3]) + (", ..." if len(concepts) > 3 else "")
    if not drop:
        raise InputError(
            f"the model gives {len(alike)} retained photos ({listed}) the target's answer, so that the target seems to "
            "be among them; take them out, or let --drop-similar leave them out."
        )
    tell(f"{len(alike)} retained photos ({listed}) get the target's answer and are left out")
    gone = set(concepts)
    return (
        replace(
            parts,
            shown=[sample for sample in parts.shown if sample.concept not in gone],
            unshown=[sample for sample in parts.unshown if sample.concept not in gone],
        ),
        before.without(gone),
    )


def evaluate(
    model: Path | str,
    *,
    benchmark: Benchmark | str,
    before: Path | str | None = None,
    oracle: Path | str | None = None,
    judge: Judge | None = None,
    trust_remote_code: bool = False,
    edit: Edit | None = None,
    timings: dict[str, float] | None = None,
) -> Result:
    """Measures a checkpoint on a benchmark; `edit` adds how it was made, a `judge` reads answers in own words."""
    bench = benchmarks.load(benchmark) if isinstance(benchmark, str) else benchmark
    measured = measure_answers(
        model, bench, before=before, oracle=oracle, judge=judge, trust_remote_code=trust_remote_code
    )
    return assemble(measured, bench, model=model, before=before, oracle=oracle, edit=edit, timings=timings)


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
    return Result(
        unsee=__version__,
        model={"name": Path(model).name, **measured.model, **{k: str(v) for k, v in paths.items() if v is not None}},
        method={} if edit is None else {name: value for name, value in edit.facts().items() if name != "looks"},
        seed=0 if edit is None else edit.seed,
        data=_data_facts(bench),
        timings={**({} if edit is None else edit.timings), "evaluate_s": round(measured.seconds, 2), **(timings or {})},
        scores=measured.scores,
        checks=measured.checks,
        examples=measured.examples,
        environment=environment(),
        layers=[] if edit is None else edit.layers,
        feature_map=measured.feature_map,
    )


def _data_facts(bench: Benchmark) -> dict[str, Any]:
    facts: dict[str, Any] = {"benchmark": bench.name, "split": bench.split, "questions": len(bench.questions)}
    if bench.protocol:
        facts["protocol"] = bench.protocol
    for role, samples in (("target", bench.target), ("retained", bench.retained)):
        if samples:
            hashes = sorted(data.content_hash(data.open_image(s.image)) for s in samples if s.image is not None)
            facts[f"{role}_images"] = len(samples)
            facts[f"{role}_concepts"] = len({s.concept for s in samples})
            facts[f"{role}_sha256"] = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return facts


def report(result: Result, out: Path | str) -> Path:
    """Writes the page of a result: one HTML file that needs no network."""
    reporting.write(result, Path(out))
    return Path(out)
