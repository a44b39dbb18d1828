"""FIUBench: fictitious faces with private facts (Ma et al. 2024, arXiv 2411.03554)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import (
    ZERO_SHOT,
    Protocol,
    benchmark,
    field,
    folder_of,
    json_file,
    split_of,
)
from unsee.data.rows import image_file
from unsee.errors import InputError
from unsee.metrics.measures import TRUTH_GONE, TRUTH_KEPT
from unsee.records import Sample

HUB = "hf://gray311/FIUBench"
SPLITS = {"forget_01": "forget1", "forget_05": "forget5", "forget_10": "forget10"}
ASKED = "retain5"  # the retained people that the official configuration asks about
TOKENS = 50  # most of an answer, in the official code
UTILITY = ("generation/retained", "probability/retained", "truth_ratio/retained", "keywords/retained")
BUGS = {
    "to_full_stop": "an answer without a full stop counts as empty",
    "uneven_case": "questions and right answers are put in lower case but for the first letter, wrong answers are not",
}


def load(split: str = "forget_05", data: str = HUB, protocol: Protocol = ZERO_SHOT) -> Benchmark:
    """One split. There is one image a face, so that all questions are about the request's own (target_seen).

    generation: ROUGE-L recall; keywords: the share of them in the answer; paraphrase: the recall over the three other
    wordings of a question; probability and truth_ratio; utility, the harmonic mean of those of retained people (the
    official one has a judge's score, too). Retained are those whom no split forgets.

    Official: answers up to the first full stop, at most 50 tokens; everything in lower case but for the first letter; a
    retained probability is that among the wrong answers; retained people are those of retain5, where split.json has it.

    Raises InputError for an unknown split, and for a folder without full.json and split.json as they are published.
    """
    name = SPLITS[split_of(split, SPLITS, "fiubench")]
    folder = folder_of(data)
    splits, people = json_file(folder / "split.json"), json_file(folder / "full.json")
    where = str(folder / "split.json")
    hidden = {str(one) for one in field(splits, name, where)}
    known = {str(field(row, "unique_id", f"{folder / 'full.json'} row {n}")) for n, row in enumerate(people)}
    lost = sorted(hidden - known)
    if lost:
        raise InputError(f"{where} names {lost[0]} in {name}, whom full.json does not hold.")
    others = {str(one) for other in SPLITS.values() for one in splits.get(other) or ()}
    questions = [
        question
        for number, row in enumerate(people)
        for question in _questions(row, hidden, folder, number, protocol)
        if question.concept in hidden or question.concept not in others
    ]
    target, retained = ([q for q in questions if q.subset == side] for side in ("target_seen", "retained"))
    if protocol.official and splits.get(ASKED):
        asked = hidden | {str(one) for one in splits[ASKED]}
        questions = [question for question in questions if question.concept in asked]
    confidence = "truth_ratio/target_seen"
    return benchmark(
        "fiubench", split, target, retained, questions, confidence=confidence, utility=UTILITY, protocol=protocol
    )


def _questions(
    row: Mapping[str, Any], hidden: set[str], folder: Path, number: int, protocol: Protocol
) -> Iterator[Sample]:
    where = f"{folder / 'full.json'} row {number}"
    concept = str(field(row, "unique_id", where))
    written = str(field(row, "image_path", where))
    inside = written.removeprefix("./").removeprefix("dataset/")  # as seen from the folder above, as published
    image = image_file(inside if (folder / inside).is_file() else written, folder, where)
    subset = "target_seen" if concept in hidden else "retained"
    official = protocol.official
    cased = str.capitalize if official else str
    cut = "to full stop" if "to_full_stop" in protocol.bugs else "first sentence"
    for one in field(row, "qa_list", where):
        question, answer = (cased(str(field(one, name, where))) for name in ("question", "answer"))
        shown = Sample(image, concept, question, answer, score="generation", subset=subset, measure="ROUGE-L recall")
        shown = replace(shown, reading=cut if official else "", tokens=TOKENS if official else 0)
        yield shown
        words = tuple(str(word) for word in one.get("keywords") or ())
        if words:
            yield replace(shown, options=words, score="keywords", measure="keywords")
        for other in one.get("paraphrased_question") or ():
            yield replace(shown, question=cased(str(other)), score="paraphrase")
        perturbed = (str(text) for text in field(one, "perturbed_answer", where))
        wrong = tuple(perturbed if "uneven_case" in protocol.bugs else map(cased, perturbed))
        among = official and subset == "retained"
        likely = "preference" if among else "probability"
        yield replace(shown, score="probability", measure=likely, wrong=wrong if among else ())
        other = cased(str(field(one, "paraphrased_answer", where)))
        ratio = TRUTH_GONE if subset == "target_seen" else TRUTH_KEPT
        yield replace(shown, score="truth_ratio", measure=ratio, wrong=wrong, paraphrase=other)
