"""How an answer is compared with the right one, by name; a value in [0, 1], higher is nearer."""

from collections.abc import Callable, Mapping

from unsee.metrics.accuracy import exact_match
from unsee.metrics.answers import contains, keywords, letter
from unsee.metrics.overlap import rouge_l
from unsee.records import Sample

MEASURES: Mapping[str, Callable[[str, Sample], float]] = {
    "accuracy": lambda said, sample: float(exact_match(said, sample.answer)),
    "choice": lambda said, sample: float(letter(said, len(sample.options)) == sample.answer),
    "cloze": lambda said, sample: float(contains(said, sample.answer)),
    "keywords": lambda said, sample: keywords(said, sample.options),
    "ROUGE-L recall": lambda said, sample: rouge_l(said, sample.answer).recall,
    "ROUGE-L F": lambda said, sample: rouge_l(said, sample.answer).f,
}


def measured(said: str, sample: Sample) -> float:
    """What an answer is worth, by the measure of its question."""
    return MEASURES[sample.measure](said, sample)
