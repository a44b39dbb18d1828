"""FIUBench: fictitious faces with private facts (Ma et al. 2024, arXiv 2411.03554)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import checked, field, folder_of, json_file, photos, split_of
from unsee.data.rows import image_file
from unsee.errors import InputError
from unsee.records import Sample

HUB = "gray311/FIUBench"
SPLITS = {"forget_01": "forget1", "forget_05": "forget5", "forget_10": "forget10"}


def load(split: str = "forget_05", data: str = HUB) -> Benchmark:
    """One split; each face has one image, so that nothing is asked about another of the same person (target_seen).

    generation: ROUGE-L recall; keywords: the share of them in the answer; paraphrase: the recall over the three other
    wordings of a question.

    Raises InputError for an unknown split, and for a folder without full.json and split.json as they are published.
    """
    name = SPLITS[split_of(split, SPLITS, "fiubench")]
    folder = folder_of(data)
    splits, people = json_file(folder / "split.json"), json_file(folder / "full.json")
    hidden = {str(one) for one in field(splits, name, str(folder / "split.json"))}
    known = {str(field(row, "unique_id", f"{folder / 'full.json'} row {n}")) for n, row in enumerate(people)}
    lost = sorted(hidden - known)
    if lost:
        raise InputError(f"{folder / 'split.json'} names {lost[0]} in {name}, whom full.json does not hold.")
    questions = [q for number, row in enumerate(people) for q in _questions(row, hidden, folder, number)]
    sides = ([q for q in questions if q.subset == subset] for subset in ("target_seen", "retained"))
    target, retained = (photos(side) for side in sides)
    return checked(Benchmark("fiubench", split, None, None, target, retained, questions, []))


def _questions(row: Mapping[str, Any], hidden: set[str], folder: Path, number: int) -> Iterator[Sample]:
    where = f"{folder / 'full.json'} row {number}"
    concept = str(field(row, "unique_id", where))
    written = str(field(row, "image_path", where))
    inside = written.removeprefix("./").removeprefix("dataset/")  # as seen from the folder above, as published
    image = image_file(inside if (folder / inside).is_file() else written, folder, where)
    subset = "target_seen" if concept in hidden else "retained"
    for one in field(row, "qa_list", where):
        question, answer = (str(field(one, name, where)) for name in ("question", "answer"))
        shown = Sample(image, concept, question, answer, score="generation", subset=subset, measure="ROUGE-L recall")
        yield shown
        words = tuple(str(word) for word in one.get("keywords") or ())
        if words:
            yield replace(shown, options=words, score="keywords", measure="keywords")
        for other in one.get("paraphrased_question") or ():
            yield replace(shown, question=str(other), score="paraphrase")
