"""MLLMU-Bench: fictitious people with a portrait and a biography (Liu et al. 2024, arXiv 2410.22108)."""

from collections.abc import Iterator
from typing import Any

from PIL.Image import Image

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import Row, checked, choice, field, photos, picture, rows, split_of
from unsee.errors import InputError
from unsee.records import Sample

HUB = "MLLMMU/MLLMU-Bench"
SPLITS = {"forget_05": ("forget_5", "retain_95"), "forget_10": ("forget_10", "retain_90"),
          "forget_15": ("forget_15", "retain_85")}  # fmt: skip
TASKS = ("ID", "Classification_Task", "Generation_Task", "Mask_Task")
CLOZE = "Please **ONLY** provide the correct answer that should replace the [Blank]."
GENERATION = "Answer the question based on your trained knowledge in one sentence accurately in ENGLISH."


def load(split: str = "forget_05", data: str = HUB, seed: int = 0) -> Benchmark:
    """One split, zero-shot: options shuffled by the seed, a letter that stands first, chance one of four.

    The request is the people of the split's forget config, with the portraits that models are trained on
    (target_seen); target asks about them on the pictures of Test_Set. Retained people are asked about on the portraits
    of the retain config, real ones are those of Retain_Set. Scores end in _text where a question has no image.

    Raises InputError for an unknown split, and for a folder that is not as it is published.
    """
    forget, retain = SPLITS[split_of(split, SPLITS, "mllmu")]
    seen = [*_asked(data, forget, "target_seen", seed)]
    gone = {sample.concept for sample in seen}
    unseen = [s for s in _asked(data, "Test_Set", "target", seed, images="images") if s.concept in gone]
    kept = [*_asked(data, retain, "retained", seed)]
    real = [*_asked(data, "Retain_Set", "real", seed)]
    if not unseen:
        raise InputError(f"{data} Test_Set holds nobody of {forget}; get the benchmark again.")
    return checked(
        Benchmark("mllmu", split, None, None, photos(seen), photos(kept), [*seen, *unseen, *kept, *real], [])
    )


def _asked(data: str, config: str, subset: str, seed: int, images: str = "image") -> Iterator[Sample]:
    for where, row in rows(data, config, (images, *TASKS)):
        pictures = row[images] if images == "images" else [row[images]]
        for value in pictures or [None]:
            image = picture(value, where)
            yield from _questions(row, image, subset, where, seed)


def _questions(row: Row, image: Image, subset: str, where: str, seed: int) -> Iterator[Sample]:
    concept = str(field(row, "ID", where))

    def sample(score: str, *, text: bool, **parts: Any) -> Sample:
        return Sample(None if text else image, concept, score=score + "_text" * text, subset=subset, **parts)

    task = row["Classification_Task"] or {}
    for key, text in (("Image_Textual_Questions", False), ("Pure_Text_Questions", True)):
        for one in task.get(key) or ():
            asked, options, right = (field(one, name, where) for name in ("Question", "Options", "Correct_Answer"))
            yield sample("classification", text=text, **choice(asked, options, right, where, seed))
    for one in row["Generation_Task"] or ():
        question, answer = (str(field(one, name, where)) for name in ("Question", "Ground_Truth"))
        yield sample(
            "generation",
            text=_text(one, where),
            question=f"{question}\n{GENERATION}",
            answer=answer,
            measure="ROUGE-L F",
        )
    for one in row["Mask_Task"] or ():
        question, answer = (str(field(one, name, where)) for name in ("Question", "Ground_Truth"))
        asked = f"{question.replace('__', '[Blank]')}\n{CLOZE}"
        yield sample("cloze", text=_text(one, where), question=asked, answer=answer, measure="cloze")


def _text(task: Row, where: str) -> bool:
    kind = field(task, "Type", where)
    if kind not in ("Image_Textual", "Pure_Text"):
        raise InputError(f"{where} has a task of the type {kind!r}; expected Image_Textual or Pure_Text.")
    return bool(kind == "Pure_Text")
