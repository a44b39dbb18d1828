"""How an answer is compared with the right one, by name; a value in [0, 1]."""

from collections.abc import Callable, Mapping, Sequence

from unsee.metrics.accuracy import exact_match
from unsee.metrics.answers import contains, keywords, letter
from unsee.metrics.likelihood import preference, truth_ratio
from unsee.metrics.overlap import bleu, rouge_l, rouge_n
from unsee.metrics.readings import READINGS
from unsee.metrics.same import says
from unsee.records import Sample

MEASURES: Mapping[str, Callable[[str, Sample], float]] = {
    "accuracy": lambda said, sample: float(exact_match(said, sample.answer)),
    "choice": lambda said, sample: float(letter(said, len(sample.options)) == sample.answer),
    "cloze": lambda said, sample: float(contains(said, sample.answer)),
    "words": lambda said, sample: float(says(said, sample.answer)),
    "keywords": lambda said, sample: keywords(said, sample.options),
    "ROUGE-1 F": lambda said, sample: rouge_n(said, sample.answer, 1).f,
    "ROUGE-2 F": lambda said, sample: rouge_n(said, sample.answer, 2).f,
    "ROUGE-L F": lambda said, sample: rouge_l(said, sample.answer).f,
    "ROUGE-L recall": lambda said, sample: rouge_l(said, sample.answer).recall,
    "BLEU": lambda said, sample: bleu(said, sample.answer),
}
"""Of what a model says; higher is nearer to the right answer."""

TRUTH_GONE, TRUTH_KEPT = "truth ratio, min(R, 1/R)", "truth ratio, 1 - R"
LIKELIHOODS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "probability": lambda likely: likely[0],
    "preference": lambda likely: preference(likely[0], likely[1:]),
    TRUTH_GONE: lambda likely: _indifferent(truth_ratio(likely[0], likely[1:])),
    TRUTH_KEPT: lambda likely: max(0.0, 1 - truth_ratio(likely[0], likely[1:])),
}
"""Of how likely a model finds the answers of `candidates`, each by its length: the right one first, then wrong ones.

The truth ratios are as TOFU sums them up: of what is to be forgotten, 1 where right and wrong are as likely; of what is
to be kept, 1 where the right answer is certain.
"""


def measured(said: str, sample: Sample) -> float:
    """What an answer is worth, by the reading and the measure of its question, one of MEASURES."""
    return MEASURES[sample.measure](READINGS[sample.reading](said, sample), sample)


def candidates(sample: Sample) -> tuple[str, ...]:
    """The answers that a measure of LIKELIHOODS compares: the right one (its paraphrase, where there is one) first."""
    return (sample.paraphrase or sample.answer, *sample.wrong)


def _indifferent(ratio: float) -> float:
    return min(ratio, 1 / ratio) if ratio else 0.0
