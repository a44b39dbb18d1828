"""From what models said of a benchmark to its scores; each is a mean over questions, with an interval over concepts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import harmonic_mean

from unsee.benchmarks.benchmark import Benchmark
from unsee.evaluation.judging import Judge, judged
from unsee.metrics.accuracy import KEPT, accuracy, balance, oracle_gap
from unsee.metrics.fluency import fluency
from unsee.metrics.forget_quality import c_dis, ks_p_value, one_minus_js
from unsee.metrics.measures import TRUTH_GONE
from unsee.metrics.modality import MODALITIES
from unsee.metrics.resampling import Outcomes
from unsee.metrics.same import says
from unsee.records import Check, Sample, Score

LOOKS = ("scene", "appearance", "text")  # what is to stay of a target's photos and of what is written about it
TEXT = "_text"  # ends the name of a score whose questions have no image
WRITTEN = ("ROUGE-L F", "ROUGE-L recall")  # measures of answers in whole sentences
OPEN = (*WRITTEN, "cloze", "accuracy")  # measures of answers in own words, which can be judged
READABLE = 0.95  # of a judge's replies, for its scores to be relied on


@dataclass(frozen=True)
class Answers:
    """What one model said: an answer per question, empty where it was not asked for one; what each is worth, in [0, 1].

    `confidence`, in [0, 1], is to be compared with another model's: probabilities of right answers about the target, or
    its truth `ratios` as R / (1 + R).
    """

    answers: list[str]
    values: list[float]
    confidence: list[float]
    ratios: bool = False


def scores(benchmark: Benchmark, answers: Mapping[str, Answers]) -> list[Score]:
    """All scores of these phases but a judge's."""
    samples, plain, more = benchmark.questions, list[Score](), list[Score]()
    for phase, own in answers.items():
        plain += _means(samples, enumerate(own.values), phase)
        more += _paired(samples, own.values, phase)
        more += _misattributed(samples, own.answers, phase)
        said = ((i, fluency(own.answers[i])) for i, sample in enumerate(samples) if sample.measure in WRITTEN)
        more += _means(samples, said, phase, "_fluency", "bits")
    values: dict[str, dict[str, float]] = {phase: {} for phase in answers}
    for score in plain:
        values[score.phase][f"{score.name}/{score.subset}"] = score.value
    return [*plain, *more, *_derived(values, benchmark.utility), *_forget_quality(answers)]


def judge_scores(judge: Judge, benchmark: Benchmark, answers: Mapping[str, Answers]) -> tuple[list[Score], Check]:
    """SCORE_judged of answers in own words, and whether the judge's replies could be read; others do not count."""
    samples = benchmark.questions
    own = [i for i, sample in enumerate(samples) if sample.measure in OPEN]
    found, read, total = list[Score](), 0, 0
    said = [each.answers[i] for each in answers.values() for i in own]
    every = judged(judge, [samples[i] for i in own] * len(answers), said)
    for place, phase in enumerate(answers):
        values = every[place * len(own) : (place + 1) * len(own)]
        found += _means(samples, zip(own, values, strict=True), phase, "_judged", "judged")
        read, total = read + sum(value is not None for value in values), total + len(values)
    detail = f"{total - read} of {total} replies are no number from 0 to 10, and do not count"
    return found, Check("judge_readable", total > 0 and read >= READABLE * total, detail)


def outcomes(samples: Sequence[Sample], values: Sequence[float]) -> Outcomes:
    """What answers are worth and their number, by score, subset and concept."""
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for sample, value in zip(samples, values, strict=True):
        own = found.setdefault(f"{sample.score}/{sample.subset}", {})
        right, total = own.get(sample.concept, (0, 0))
        own[sample.concept] = (right + value, total + 1)
    return found


def _better(score: str, subset: str, ending: str, unit: str) -> bool:
    """Whether higher is better: it is for what must stay, and for questions about the target without an image."""
    more = not subset.startswith("target") or score in LOOKS or score.endswith(TEXT)
    return (more or unit in (TRUTH_GONE, "bits")) != ending.endswith("_error")


def _means(
    samples: Sequence[Sample],
    found: Iterable[tuple[int, float | None]],
    phase: str,
    ending: str = "",
    unit: str = "",
) -> list[Score]:
    """Means of values at places among the samples, by score and subset; None does not count.

    Their unit is the measure of the questions where none is named.
    """
    groups: dict[tuple[str, str], tuple[list[float], list[Sample]]] = {}
    for i, value in found:
        if value is not None:
            values, members = groups.setdefault((samples[i].score, samples[i].subset), ([], []))
            values.append(value)
            members.append(samples[i])
    made = []
    for (name, subset), (values, members) in sorted(groups.items(), key=lambda item: item[0]):
        mean, interval = accuracy(values, drawn_together(members))
        of = unit or members[0].measure
        better = _better(name, subset, ending, of)
        made.append(Score(name + ending, subset, phase, mean, len(members), interval, better, of))
    return made


def drawn_together(samples: Sequence[Sample]) -> list[str]:
    """What each sample is drawn with for an interval: its concept; of one concept its photo, or without one itself."""
    if len({sample.concept for sample in samples}) > 1:
        return [sample.concept for sample in samples]
    return [str(sample.picture) for sample in samples]


def _misattributed(samples: Sequence[Sample], said: Sequence[str], phase: str) -> list[Score]:
    """Of the target's photos whose concept is asked for, how many get the name of another concept: a new wrong."""
    names = {sample.concept for sample in samples}
    asked = [i for i, s in enumerate(samples) if s.subset == "target" and s.image is not None and s.answer == s.concept]
    if not asked:
        return []
    wrong = [float(_another(said[i], samples[i].concept, names)) for i in asked]
    mean, interval = accuracy(wrong, drawn_together([samples[i] for i in asked]))
    return [Score("misattributed", "target", phase, mean, len(asked), interval, higher_is_better=False)]


def _another(said: str, own: str, names: Collection[str]) -> bool:
    """Whether an answer, a name or a sentence, says one of the names and not a photo's own."""
    return not says(said, own) and any(says(said, name) for name in names)


def _paired(samples: Sequence[Sample], values: Sequence[float], phase: str) -> list[Score]:
    """Scores of facts that are asked both with an image and without: SCORE_NAME for each name in MODALITIES."""
    pairs: dict[tuple[str, str], list[int]] = {}
    for i, sample in enumerate(samples):
        if sample.fact and sample.measure in MODALITIES:
            pairs.setdefault((sample.fact, sample.measure), []).append(i)
    both = [own for own in pairs.values() if len(own) == 2]
    made = []
    for label in dict.fromkeys(label for names in MODALITIES.values() for label in names):
        found = (
            (image, MODALITIES[samples[image].measure][label](values[image], values[text]))
            for image, text in both
            if label in MODALITIES[samples[image].measure]
        )
        made += _means(samples, found, phase, f"_{label}")
    return made


def _derived(values: Mapping[str, Mapping[str, float]], utility: Sequence[str]) -> list[Score]:
    """Scores made of others, for phases that have all of them."""
    parts = {*KEPT, "recognition/target", "text/target", "text/retained"}
    found = []
    for phase, own in values.items():
        if utility and own.keys() >= set(utility):
            found.append(_single("utility", "all", phase, harmonic_mean([own[n] for n in utility]), "harmonic mean"))
        if parts <= own.keys() and "before" in values:
            found.append(_single("balance", "all", phase, balance(values["before"], own), "harmonic mean"))
    for phase, own in values.items():
        if parts <= own.keys() and "oracle" in values and phase != "oracle":
            gap = oracle_gap(own, values["oracle"])
            found.append(_single("oracle_gap", "all", phase, gap, "mean difference", better=False))
    return found


def _forget_quality(answers: Mapping[str, Answers]) -> list[Score]:
    """How the confidence about the target differs from that before, and how alike it is to the oracle's."""
    found = list[Score]()
    before, oracle = answers.get("before"), answers.get("oracle")
    for phase, own in answers.items():
        if own.confidence and before is not None and phase != "before" and not own.ratios:
            found.append(_single("c_dis", "target", phase, c_dis(before.confidence, own.confidence), "nats"))
        if own.confidence and oracle is not None and phase != "oracle":
            sides = own.confidence, oracle.confidence
            found.append(_single("forget_quality", "ks_p", phase, ks_p_value(*sides), "p-value"))
            found.append(_single("forget_quality", "one_minus_js", phase, one_minus_js(*sides), "1 - divergence"))
    return found


def _single(name: str, subset: str, phase: str, value: float, unit: str, *, better: bool = True) -> Score:
    """A score without questions of its own."""
    return Score(name, subset, phase, value, 0, (value, value), better, unit)
