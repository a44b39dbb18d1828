"""Measures a model on a benchmark, beside the model before and a model that never saw the target."""

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from unsee.benchmarks.benchmark import Benchmark
from unsee.data import open_image
from unsee.evaluation.asking import StageProgress, answer_probabilities, generate
from unsee.evaluation.judging import Judge
from unsee.evaluation.scoring import Answers, judge_scores, outcomes, scores
from unsee.metrics.likelihood import truth_share
from unsee.metrics.measures import LIKELIHOODS, candidates, measured
from unsee.metrics.resampling import Outcomes
from unsee.models.checkpoint import Vlm, load
from unsee.models.features import all_features
from unsee.models.inputs import image_inputs
from unsee.models.shards import differences, shards
from unsee.records import PHASES, Check, Example, MapPoint, Sample, Score
from unsee.system.disk import file_hash

MAP_CONCEPTS = 12  # retained and unknown concepts drawn in the map


@dataclass(frozen=True, eq=False)
class Asked:
    """What one model answered to a benchmark, its features for the map if it is there, and the model without values."""

    answers: Answers
    vectors: Tensor | None
    vlm: Vlm


@dataclass(frozen=True)
class Evaluation:
    """The measured part of a result; `outcomes` are those of the model itself, `answers` what each model said."""

    scores: list[Score]
    outcomes: Outcomes
    checks: list[Check]
    examples: list[Example]
    feature_map: list[MapPoint]
    model: dict[str, Any]
    seconds: float
    answers: dict[str, list[str]] = field(default_factory=dict)
    not_made: dict[str, str] = field(default_factory=dict)
    """Attacks that were not asked for by name and could not be made, and why."""


def png_uri(image: Image) -> str:
    """An image as a PNG data URI, shrunk to at most 192 pixels a side."""
    small = image.copy()
    small.thumbnail((192, 192))
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _pictured(samples: Sequence[Sample], side: str) -> list[int]:
    """Indices of the questions about images of a side. The request's own count if no others are asked about."""
    places: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        if sample.image is not None:
            places.setdefault(sample.subset, []).append(index)
    return places.get(side) or places.get(f"{side}_seen", [])


def _examples(samples: Sequence[Sample], answers: dict[str, Answers], concepts: int = 8) -> list[Example]:
    """The first test image of some concepts of each side, with the first question of each score that was answered."""
    found = []
    for side in ("target", "retained"):
        pictures: dict[str, Path | int] = {}
        asked: set[tuple[str, str]] = set()
        for index in _pictured(samples, side):
            sample = samples[index]
            keys = {(sample.concept, sample.score), (sample.concept, sample.question)}
            if sample.measure in LIKELIHOODS or keys & asked:
                continue
            if sample.concept not in pictures and len(pictures) == concepts:
                break
            if pictures.setdefault(sample.concept, sample.picture) != sample.picture:
                continue
            asked |= keys
            said = {phase: answers[phase].answers[index] for phase in PHASES if phase in answers}
            picture = png_uri(open_image(sample))
            found.append(Example(side, sample.concept, picture, sample.question, sample.answer, said))
    return found


def _map_samples(benchmark: Benchmark) -> list[tuple[str, Sample]]:
    chosen: list[tuple[str, Sample]] = []
    for group in ("target", "retained", "unknown"):
        tested = [benchmark.questions[i] for i in _pictured(benchmark.questions, group)]
        pool = benchmark.unknown if group == "unknown" else list({q.picture: q for q in tested}.values())
        concepts = sorted({sample.concept for sample in pool})
        kept = set(concepts if group == "target" else concepts[:: max(1, len(concepts) // MAP_CONCEPTS)])
        chosen += [(group, sample) for sample in pool if sample.concept in kept]
    return chosen


@torch.no_grad()
def _map_vectors(vlm: Vlm, chosen: Sequence[tuple[str, Sample]]) -> Tensor:
    """Token-averaged features (image, width) of all crossings side by side."""
    pictures = [sample.image for _, sample in chosen if sample.image is not None]
    inputs = [one for picture in pictures for one in image_inputs(vlm.processor, [open_image(picture)])]
    features = all_features(vlm.model, inputs)
    means = [value.float().sum(1) / features.counts[name][:, None] for name, value in features.values.items()]
    return torch.cat(means, 1).double()


def _feature_map(chosen: Sequence[tuple[str, Sample]], vectors: dict[str, Tensor]) -> list[MapPoint]:
    """The two directions of the token-averaged features that best tell known concepts apart in the model before."""
    points: list[MapPoint] = []
    known = [index for index, (group, _) in enumerate(chosen) if group != "unknown"]
    names = [chosen[index][1].concept for index in known]
    axes: PCA | LinearDiscriminantAnalysis | None = None
    for phase, features in vectors.items():
        flat = features.numpy()
        if axes is None and len(set(names)) > 2 and min(map(names.count, set(names))) > 1:
            axes = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.1, n_components=2).fit(flat[known], names)
        elif axes is None:
            axes = PCA(2, svd_solver="full").fit(flat)
        for (group, sample), (x, y) in zip(chosen, axes.transform(flat), strict=True):
            points.append(MapPoint(float(x), float(y), group, phase, sample.concept))
    return points


def language_model_unchanged(before: Vlm, after: Path) -> Check:
    """Compares every stored tensor that is not visual, byte for byte."""
    compared, different = differences(before.folder, after, before.stored)
    if different:
        detail = f"{len(different)} of {compared} protected tensors differ, the first is {different[0]}"
    else:
        detail = f"all {compared} protected tensors on disk are the same, byte for byte"
    return Check("language_model_unchanged", not different and compared > 0, detail)


def model_facts(vlm: Vlm, before: Vlm | None = None) -> dict[str, Any]:
    """What a record says of a model: its family, how much of it is visual, and the hashes of its files.

    And of those of the model before the request, where there is one.
    """
    sizes = {name: parameter.numel() for name, parameter in vlm.outline.named_parameters()}
    return {
        "family": vlm.model.config.model_type,
        "visual_parameters": sum(sizes[name] for name in vlm.partition.visual),
        "protected_parameters": sum(sizes[name] for name in vlm.partition.protected),
        "weights_sha256": _hashes(vlm.folder),
        **({} if before is None else {"weights_sha256_before": _hashes(before.folder)}),
    }


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_hash(path) for path in shards(folder)}


def ask(
    path: Path | str,
    benchmark: Benchmark,
    *,
    mapped: bool = True,
    trust_remote_code: bool = False,
    progress: StageProgress | None = None,
) -> Asked:
    """Asks every question of the benchmark of one model; its values are let go afterwards."""
    vlm = load(path, language=True, trust_remote_code=trust_remote_code)
    questions = benchmark.questions
    spoken = [i for i, question in enumerate(questions) if question.measure not in LIKELIHOODS]
    weighed = [i for i, question in enumerate(questions) if question.measure in LIKELIHOODS]
    said = dict(zip(spoken, generate(vlm, [questions[i] for i in spoken], progress), strict=True))
    likely = dict(zip(weighed, _likely(vlm, [questions[i] for i in weighed]), strict=True))
    values = [
        LIKELIHOODS[question.measure](likely[i]) if i in likely else measured(said[i], question)
        for i, question in enumerate(questions)
    ]
    asked = [i for i, question in enumerate(questions) if f"{question.score}/{question.subset}" == benchmark.confidence]
    ratios = any(i in likely for i in asked)
    if ratios:
        confidence = [truth_share(likely[i][0], likely[i][1:]) for i in asked]
    else:
        confidence = answer_probabilities(vlm, [questions[i] for i in asked])
    chosen = _map_samples(benchmark) if mapped else []
    vectors = _map_vectors(vlm, chosen) if len(chosen) >= 3 else None
    answers = Answers([said.get(i, "") for i in range(len(questions))], values, confidence, ratios)
    return Asked(answers, vectors, replace(vlm, model=vlm.outline))


def _likely(vlm: Vlm, questions: Sequence[Sample]) -> list[list[float]]:
    """Probabilities of each question's candidates."""
    given = [replace(question, answer=answer) for question in questions for answer in candidates(question)]
    found = iter(answer_probabilities(vlm, given))
    return [[next(found) for _ in candidates(question)] for question in questions]


def evaluate(
    model: Path | str,
    benchmark: Benchmark,
    *,
    before: Path | str | Asked | None = None,
    oracle: Path | str | Asked | None = None,
    judge: Judge | None = None,
    trust_remote_code: bool = False,
    progress: StageProgress | None = None,
) -> Evaluation:
    """Asks every question of the benchmark of up to three models, one after the other, and scores the answers.

    What was asked before, of the model before or the oracle, is not asked again. A judge reads answers in own words.
    """
    started = time.monotonic()
    questions, asked = benchmark.questions, dict[str, Asked]()
    for phase, source in (("before", before), ("after", model), ("oracle", oracle)):
        if isinstance(source, Asked):
            asked[phase] = source
        elif source is not None:
            note = None if progress is None else lambda _, done, total, phase=phase: progress(phase, done, total)
            asked[phase] = ask(
                source, benchmark, mapped=phase != "oracle", trust_remote_code=trust_remote_code, progress=note
            )
    answers = {phase: each.answers for phase, each in asked.items()}
    found, checks = scores(benchmark, answers), list[Check]()
    if "before" in asked:
        checks.append(language_model_unchanged(asked["before"].vlm, asked["after"].vlm.folder))
    if judge is not None:
        by_judge, readable = judge_scores(judge, benchmark, answers)
        found, checks = found + by_judge, [*checks, readable]
    vectors = {phase: each.vectors for phase, each in asked.items() if phase != "oracle" and each.vectors is not None}
    return Evaluation(
        scores=found,
        outcomes=outcomes(questions, answers["after"].values),
        checks=checks,
        examples=_examples(questions, answers),
        feature_map=_feature_map(_map_samples(benchmark), vectors) if vectors else [],
        model=model_facts(asked["after"].vlm, asked["before"].vlm if "before" in asked else None),
        seconds=time.monotonic() - started,
        answers={phase: each.answers for phase, each in answers.items()},
    )
