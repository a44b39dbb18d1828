"""MLLMU-Bench: fictitious people with a portrait and a biography (Liu et al. 2024, arXiv 2410.22108)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from PIL.Image import Image

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import (
    LETTER_ALONE,
    ZERO_SHOT,
    Protocol,
    TableRow,
    benchmark,
    choice,
    field,
    overlaps,
    picture,
    rows,
    split_of,
)
from unsee.errors import InputError
from unsee.records import Sample

HUB = "hf://MLLMMU/MLLMU-Bench"
SPLITS = {"forget_05": ("forget_5", "retain_95"), "forget_10": ("forget_10", "retain_90"),
          "forget_15": ("forget_15", "retain_85")}  # fmt: skip
TASKS = ("ID", "Classification_Task", "Generation_Task", "Mask_Task")
CLOZE = "Please **ONLY** provide the correct answer that should replace the [Blank]."
GENERATION = "Answer the question based on your trained knowledge in one sentence accurately in ENGLISH."
GENERATION_TEXT = "Answer the question based on your trained knowledge in one sentence in ENGLISH."
SHOWN, TOKENS = 2, 50  # people that examples are about, and most tokens of an answer, in the official code
BUGS = {
    "first_character": "the first character of an answer is the option, so that Because is B",
    "tested_shots": "examples are about people who are asked about, and tell what they should have forgotten",
    "unseeded": "who the examples are about, and which picture is asked about, changes from run to run",
}


def load(split: str = "forget_05", data: str = HUB, protocol: Protocol = ZERO_SHOT) -> Benchmark:
    """One split. Scores end in _text where a question has no image.

    The request is the people of the split's forget config, with the portraits that models are trained on
    (target_seen); target asks about them on the pictures of Test_Set. Retained people are asked about on the portraits
    of the retain config, real ones are those of Retain_Set.

    Zero-shot: options shuffled by the seed, a letter that stands first, chance one of four, every picture. Official:
    options as they are, examples about two retained people before multiple choice and cloze (who are not asked about
    then), but not of real people; one picture of each person and task, drawn with the seed; 50 tokens.

    Raises InputError for an unknown split, and for a folder that is not as it is published.
    """
    forget, retain = SPLITS[split_of(split, SPLITS, "mllmu")]
    seen = [*_asked(data, forget, "target_seen", protocol)]
    gone = {sample.concept for sample in seen}
    unseen = [s for s in _asked(data, "Test_Set", "target", protocol, images="images") if s.concept in gone]
    kept = [*_asked(data, retain, "retained", protocol)]
    real = [*_asked(data, "Retain_Set", "real", protocol)]
    if not unseen:
        raise InputError(f"{data} Test_Set holds nobody of {forget}; get the benchmark again.")
    target, retained = seen, kept
    if protocol.official:
        pool = seen if "tested_shots" in protocol.bugs else kept
        seen, unseen = _shown(seen, pool, protocol), _shown(unseen, pool, protocol)
        kept = _shown(kept, kept, protocol)
    questions = [*seen, *unseen, *kept, *real]
    confidence = "generation/target"
    return benchmark("mllmu", split, target, retained, questions, confidence=confidence, protocol=protocol)


def _random(protocol: Protocol, what: str) -> Random:
    return Random() if "unseeded" in protocol.bugs else Random(f"{protocol.seed} {what}")


def _asked(data: str, config: str, subset: str, protocol: Protocol, images: str = "image") -> Iterator[Sample]:
    for where, row in rows(data, config, (images, *TASKS)):
        pictures = (row[images] if images == "images" else [row[images]]) or [None]
        opened = [picture(value, where) for value in pictures]
        if protocol.official:
            for task in TASKS[1:]:
                image = _random(protocol, f"{where} {task}").choice(opened)
                yield from _questions(
                    {**dict.fromkeys(TASKS), "ID": row["ID"], task: row[task]}, image, subset, where, protocol
                )
        else:
            for image in opened:
                yield from _questions(row, image, subset, where, protocol)


def _questions(row: TableRow, image: Image, subset: str, where: str, protocol: Protocol) -> Iterator[Sample]:
    concept, official = str(field(row, "ID", where)), protocol.official

    def sample(score: str, *, text: bool, **parts: Any) -> Sample:
        asked = None if text else image
        tokens = TOKENS if official else 0
        return Sample(asked, concept, score=score + "_text" * text, subset=subset, tokens=tokens, **parts)

    task = row["Classification_Task"] or {}
    reading = "first character" if "first_character" in protocol.bugs else ""
    for key, text in (("Image_Textual_Questions", False), ("Pure_Text_Questions", True)):
        for one in task.get(key) or ():
            asked, options, right = (field(one, name, where) for name in ("Question", "Options", "Correct_Answer"))
            parts = choice(asked, options, right, where, None if official else protocol.seed)
            yield sample("classification", text=text, reading=reading, **parts)
    for one in row["Generation_Task"] or ():
        text, (question, answer) = _text(one, where), (str(field(one, n, where)) for n in ("Question", "Ground_Truth"))
        asked = f"{question}\n{GENERATION_TEXT if official and text else GENERATION}"
        yield from overlaps(sample("generation", text=text, question=asked, answer=answer))
    for one in row["Mask_Task"] or ():
        question, answer = (str(field(one, name, where)) for name in ("Question", "Ground_Truth"))
        asked = f"{question.replace('__', '[Blank]')}\n{CLOZE}"
        yield sample("cloze", text=_text(one, where), question=asked, answer=answer, measure="cloze")


def _text(task: TableRow, where: str) -> bool:
    kind = field(task, "Type", where)
    if kind not in ("Image_Textual", "Pure_Text"):
        raise InputError(f"{where} has a task of the type {kind!r}; expected Image_Textual or Pure_Text.")
    return bool(kind == "Pure_Text")


def _shown(samples: Sequence[Sample], pool: Sequence[Sample], protocol: Protocol) -> list[Sample]:
    """The samples, each after examples about two people of the pool; samples about those two are left out."""
    people = sorted({sample.concept for sample in pool})
    drawn = _random(protocol, "shots").sample(people, min(SHOWN, len(people) - 1))
    shots: dict[str, tuple[Sample, ...]] = {}
    for sample in pool:
        if sample.concept in drawn and not sample.score.startswith("generation"):
            question, answer = sample.question, f"Correct Answer: {sample.answer}"
            if sample.measure == "choice":
                question = f"Question: {question.removesuffix(LETTER_ALONE).rstrip()}"
            shots[sample.score] = (*shots.get(sample.score, ()), replace(sample, question=question, answer=answer))
    return [replace(s, shots=shots.get(s.score, ())) for s in samples if s.concept not in drawn]
