"""Measures a model on a benchmark, beside the model before and a model that never saw the target."""

import base64
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from PIL.Image import Image
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn import functional as F
from transformers import LogitsProcessor

from unsee.benchmarks.benchmark import Benchmark
from unsee.data import open_image
from unsee.disk import file_hash
from unsee.errors import InputError
from unsee.metrics.accuracy import KEPT, accuracy, balance, oracle_gap
from unsee.metrics.forget_quality import ks_p_value, one_minus_js
from unsee.metrics.measures import measured
from unsee.metrics.resampling import Outcomes
from unsee.models.checkpoint import Vlm, load
from unsee.models.features import Inputs, all_features
from unsee.models.inputs import chat_inputs, image_inputs
from unsee.models.processors import first_line
from unsee.models.shards import differences, shards
from unsee.records import PHASES, Check, Example, MapPoint, Sample, Score

BATCH, LARGE, FEW = 256, 100_000_000, 8  # questions at once; how many for models with more parameters than LARGE
MAP_CONCEPTS = 12  # retained and unknown concepts drawn in the map
LOOKS = ("scene", "appearance", "text")  # what is to stay of a target's photos and of what is written about it
Progress = Callable[[str, int, int], None]


@runtime_checkable
class _Answering(Protocol):
    """A model that generates text; the base class of all models of transformers does not declare it."""

    def generate(self, **inputs: Any) -> Tensor: ...


@dataclass(frozen=True)
class Answers:
    """What one model said: an answer per question, and the probability it gave to each right answer of the target."""

    answers: list[str]
    confidence: list[float]  # geometric mean per token, for the recognition questions of the target, in their order


@dataclass(frozen=True, eq=False)
class Asked:
    """What one model said of a benchmark, its features for the map where it has a place there, and its outline."""

    answers: Answers
    vectors: Tensor | None
    vlm: Vlm


@dataclass(frozen=True)
class Evaluation:
    """The measured part of a result; `outcomes` are those of the model itself."""

    scores: list[Score]
    outcomes: Outcomes
    checks: list[Check]
    examples: list[Example]
    feature_map: list[MapPoint]
    model: dict[str, Any]
    seconds: float


def _prompts(samples: Sequence[Sample]) -> list[tuple[Image | None, str]]:
    return [(None if s.image is None else open_image(s.image), s.question) for s in samples]


def _by_kind(samples: Sequence[Sample], size: int) -> Iterator[list[int]]:
    """Indices in batches that hold either only image questions or only text questions, questions alike together."""
    order = sorted(range(len(samples)), key=lambda i: (samples[i].image is None, len(samples[i].question)))
    with_image = [i for i in order if samples[i].image is not None]
    for group in (with_image, order[len(with_image) :]):
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _longest_answer(vlm: Vlm, samples: Sequence[Sample]) -> int:
    texts = sorted({sample.answer for sample in samples})
    lengths = [len(ids) for ids in vlm.processor.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return max(lengths) + 2  # the end token, and one more, so that an answer which goes on is not cut into a right one


def _batch(vlm: Vlm) -> int:
    return BATCH if vlm.model.num_parameters() < LARGE else FEW


def _generate(vlm: Vlm, inputs: Inputs, **options: Any) -> Any:
    """Greedy generation. Raises InputError for a model that cannot generate text, or not from these inputs."""
    if not isinstance(vlm.model, _Answering):
        raise InputError(
            f"{vlm.folder} holds a {type(vlm.model).__name__}, which cannot answer; expected one that can."
        )
    pad = vlm.processor.tokenizer.pad_token_id
    try:
        return vlm.model.generate(**inputs, do_sample=False, num_beams=1, pad_token_id=pad, **options)
    except ValueError as error:
        raise InputError(f"the processor and the model in {vlm.folder} do not fit ({first_line(error)}).") from error


@torch.no_grad()
def generate(vlm: Vlm, samples: Sequence[Sample], progress: Progress | None = None) -> list[str]:
    """Greedy answers through the checkpoint's chat template, one per sample.

    Raises InputError for a model that cannot generate text.
    """
    limit, said = _longest_answer(vlm, samples), [""] * len(samples)
    done = 0
    for indices in _by_kind(samples, _batch(vlm)):
        inputs = chat_inputs(vlm, _prompts([samples[i] for i in indices]))
        output = _generate(vlm, inputs, max_new_tokens=limit)
        asked = inputs["input_ids"]
        if output.shape[1] >= asked.shape[1] and torch.equal(output[:, : asked.shape[1]], asked):
            output = output[:, asked.shape[1] :]  # some families give the new tokens alone
        texts = vlm.processor.tokenizer.batch_decode(output, skip_special_tokens=True)
        for index, text in zip(indices, texts, strict=True):
            said[index] = text.strip()
        done += len(indices)
        if progress is not None:
            progress("answering", done, len(samples))
    return said


class _Forced(LogitsProcessor):
    """Lets each sequence of a batch say what is written in its row of `ids` (batch, length)."""

    def __init__(self, ids: Tensor) -> None:
        self.ids, self.step = ids, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 # the signature is given
        forced = torch.full_like(scores, -torch.inf)
        forced.scatter_(1, self.ids[:, self.step : self.step + 1], 0.0)
        self.step += 1
        return forced


def _answer_ids(vlm: Vlm, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Tokens (n, length) of the right answers, padded, and which of them are real."""
    tokenizer = vlm.processor.tokenizer
    answers = [tokenizer(sample.answer, add_special_tokens=False)["input_ids"] for sample in samples]
    longest = max(map(len, answers))
    ids = torch.tensor([a + [tokenizer.pad_token_id] * (longest - len(a)) for a in answers])
    return ids, torch.tensor([[1] * len(a) + [0] * (longest - len(a)) for a in answers])


@torch.no_grad()
def answer_probabilities(vlm: Vlm, samples: Sequence[Sample]) -> list[float]:
    """Probability of each sample's right answer, the geometric mean over its tokens, in [0, 1].

    The model generates the answer because nothing else is allowed, so that every family prepares its inputs as it does
    for any other answer.
    """
    found = [0.0] * len(samples)
    for indices in _by_kind(samples, _batch(vlm)):
        chosen = [samples[i] for i in indices]
        ids, real = _answer_ids(vlm, chosen)
        options = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": ids.shape[1]}
        output = _generate(vlm, chat_inputs(vlm, _prompts(chosen)), logits_processor=[_Forced(ids)], **options)
        logits = torch.stack(output.logits, 1).float()
        likely = F.log_softmax(logits, -1).gather(-1, ids[:, : logits.shape[1], None])[..., 0]
        real = real[:, : logits.shape[1]]
        mean = (likely * real).sum(1) / real.sum(1)
        for index, value in zip(indices, mean.exp().tolist(), strict=True):
            found[index] = value
    return found


def labelled(vlm: Vlm, sample: Sample) -> list[tuple[str, bool]]:
    """The tokens of a question and its right answer, and whether each counts in the answer's probability."""
    tokenizer = vlm.processor.tokenizer
    asked = chat_inputs(vlm, _prompts([sample]))["input_ids"][0].tolist()
    answer = _answer_ids(vlm, [sample])[0][0].tolist()
    names = tokenizer.convert_ids_to_tokens([*asked, *answer])
    return [(name, number >= len(asked)) for number, name in enumerate(names)]


def _scored(samples: Sequence[Sample], said: Sequence[str], phase: str) -> list[Score]:
    groups: dict[tuple[str, str], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault((sample.score, sample.subset), []).append(index)
    scores = []
    for (name, subset), members in sorted(groups.items()):
        correct = [measured(said[i], samples[i]) for i in members]
        value, interval = accuracy(correct, [samples[i].concept for i in members])
        better = not subset.startswith("target") or name in LOOKS or name.endswith("_text")
        unit = samples[members[0]].measure
        scores.append(Score(name, subset, phase, value, len(members), interval, better, unit))
    return scores


def _derived(values: dict[str, dict[str, float]], answers: dict[str, Answers]) -> list[Score]:
    if any(name not in values["after"] for name in (*KEPT, "recognition/target", "text/target", "text/retained")):
        return []

    def score(name: str, subset: str, phase: str, value: float, better: bool, unit: str) -> Score:
        return Score(name, subset, phase, value, 0, (value, value), better, unit)

    found = []
    if "before" in values:
        for phase in values:
            found.append(
                score("balance", "all", phase, balance(values["before"], values[phase]), True, "harmonic mean")
            )
    if "oracle" in values:
        for phase in values.keys() - {"oracle"}:
            sides = answers[phase].confidence, answers["oracle"].confidence
            gap = oracle_gap(values[phase], values["oracle"])
            found.append(score("oracle_gap", "all", phase, gap, False, "mean difference"))
            found.append(score("forget_quality", "ks_p", phase, ks_p_value(*sides), True, "p-value"))
            found.append(score("forget_quality", "one_minus_js", phase, one_minus_js(*sides), True, "1 - divergence"))
    return found


def png_uri(image: Image) -> str:
    """An image as a PNG data URI, shrunk to at most 192 pixels a side."""
    small = image.copy()
    small.thumbnail((192, 192))
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _examples(samples: Sequence[Sample], answers: dict[str, Answers], concepts: int = 8) -> list[Example]:
    """The first test image of some concepts of each side, with the first question of each score."""
    found = []
    for subset in ("target", "retained"):
        pictures: dict[str, object] = {}
        asked: set[tuple[str, str]] = set()
        for index, sample in enumerate(samples):
            if sample.subset != subset or sample.image is None or (sample.concept, sample.score) in asked:
                continue
            if sample.concept not in pictures and len(pictures) == concepts:
                break
            if pictures.setdefault(sample.concept, sample.image) is not sample.image:
                continue
            asked.add((sample.concept, sample.score))
            said = {phase: answers[phase].answers[index] for phase in PHASES if phase in answers}
            picture = png_uri(open_image(sample.image))
            found.append(Example(subset, sample.concept, picture, sample.question, sample.answer, said))
    return found


def _map_samples(benchmark: Benchmark) -> list[tuple[str, Sample]]:
    chosen: list[tuple[str, Sample]] = []
    tested = [q for q in benchmark.questions if q.image is not None and q.subset in ("target", "retained")]
    images: dict[int, Sample] = {id(q.image): q for q in tested}
    for group in ("target", "retained", "unknown"):
        pool = benchmark.unknown if group == "unknown" else [s for s in images.values() if s.subset == group]
        concepts = sorted({sample.concept for sample in pool})
        kept = set(concepts if group == "target" else concepts[:: max(1, len(concepts) // MAP_CONCEPTS)])
        chosen += [(group, sample) for sample in pool if sample.concept in kept]
    return chosen


@torch.no_grad()
def _map_vectors(vlm: Vlm, chosen: Sequence[tuple[str, Sample]]) -> Tensor:
    """Token-averaged features (image, width) of all crossings side by side."""
    features = all_features(vlm.model, image_inputs(vlm.processor, [open_image(s.image) for _, s in chosen if s.image]))
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
        if axes is None and len(names) > len(set(names)) > 2:
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


def model_facts(vlm: Vlm) -> dict[str, Any]:
    """What a record says of a model: its family, how much of it is visual, and the hashes of its files."""
    sizes = {name: parameter.numel() for name, parameter in vlm.outline.named_parameters()}
    return {
        "family": vlm.model.config.model_type,
        "visual_parameters": sum(sizes[name] for name in vlm.partition.visual),
        "protected_parameters": sum(sizes[name] for name in vlm.partition.protected),
        "weights_sha256": {path.name: file_hash(path) for path in shards(vlm.folder)},
    }


def ask(
    path: Path | str,
    benchmark: Benchmark,
    *,
    mapped: bool = True,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Asked:
    """Asks every question of the benchmark of one model; its values are let go afterwards."""
    vlm = load(path, language=True, trust_remote_code=trust_remote_code)
    asked = [q for q in benchmark.questions if q.score == "recognition" and q.subset == "target"]
    answers = Answers(generate(vlm, benchmark.questions, progress), answer_probabilities(vlm, asked))
    chosen = _map_samples(benchmark) if mapped else []
    vectors = _map_vectors(vlm, chosen) if len(chosen) >= 3 else None
    return Asked(answers, vectors, replace(vlm, model=vlm.outline))


def outcomes(samples: Sequence[Sample], said: Sequence[str]) -> Outcomes:
    """Right answers and answers by score, subset and concept."""
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for sample, text in zip(samples, said, strict=True):
        own = found.setdefault(f"{sample.score}/{sample.subset}", {})
        right, total = own.get(sample.concept, (0, 0))
        own[sample.concept] = (right + measured(text, sample), total + 1)
    return found


def evaluate(
    model: Path | str,
    benchmark: Benchmark,
    *,
    before: Path | str | Asked | None = None,
    oracle: Path | str | Asked | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Asks every question of the benchmark of up to three models, one after the other, and scores the answers.

    What was asked before, of the model before or the oracle, is not asked again.
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
    scores = [score for phase in answers for score in _scored(questions, answers[phase].answers, phase)]
    values: dict[str, dict[str, float]] = {phase: {} for phase in answers}
    for score in scores:
        values[score.phase][f"{score.name}/{score.subset}"] = score.value
    checks = []
    if "before" in asked:
        checks.append(language_model_unchanged(asked["before"].vlm, asked["after"].vlm.folder))
    vectors = {phase: each.vectors for phase, each in asked.items() if phase != "oracle" and each.vectors is not None}
    return Evaluation(
        scores=scores + _derived(values, answers),
        outcomes=outcomes(questions, answers["after"].answers),
        checks=checks,
        examples=_examples(questions, answers),
        feature_map=_feature_map(_map_samples(benchmark), vectors) if vectors else [],
        model=model_facts(asked["after"].vlm),
        seconds=time.monotonic() - started,
    )
