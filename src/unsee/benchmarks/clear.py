"""CLEAR: fictitious authors of TOFU with generated portraits (Dontsov et al. 2024, arXiv 2410.18057)."""

from collections.abc import Iterator

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import checked, field, photos, picture, rows, split_of
from unsee.records import Sample

HUB = "therem/CLEAR"
SPLITS = {
    "forget_01": ("forget01", "retain99"),
    "forget_05": ("forget05", "retain95"),
    "forget_10": ("forget10", "retain90"),
}
CAPTION = "What can you see in this picture?"  # the first of the nine that the official code draws from, unseeded
NAME = "The name of the person on the image is "


def load(split: str = "forget_05", data: str = HUB) -> Benchmark:
    """One split. There is one set of images, so that nothing is asked about others of the same author (target_seen).

    recognition: the name occurs in the answer; caption: ROUGE-L recall; text: the questions of TOFU, ROUGE-L recall;
    faces and world: the answer occurs in what is said about real images. The official code gives options as wrong
    continuations and compares probabilities, which this does not.

    Raises InputError for an unknown split, and for a folder that is not as it is published.
    """
    forget, retain = SPLITS[split_of(split, SPLITS, "clear")]
    gone, kept = [*_shown(data, forget, "target_seen")], [*_shown(data, retain, "retained")]
    text = [*_written(data, f"{forget}+tofu", "target"), *_written(data, f"{retain}+tofu", "retained")]
    real = [*_real(data, "real_faces", "faces"), *_real(data, "real_world", "world")]
    return checked(Benchmark("clear", split, None, None, photos(gone), photos(kept), [*gone, *kept, *text, *real], []))


def _shown(data: str, config: str, subset: str) -> Iterator[Sample]:
    for where, row in rows(data, config, ("image", "caption", "name")):
        image, name = picture(row["image"], where), str(field(row, "name", where))
        yield Sample(image, name, NAME, name, score="recognition", subset=subset, measure="cloze")
        caption = str(field(row, "caption", where))
        yield Sample(image, name, CAPTION, caption, score="caption", subset=subset, measure="ROUGE-L recall")


def _written(data: str, config: str, subset: str) -> Iterator[Sample]:
    """The rows without an image; those with one are in the config without tofu. Authors are not named: one a row."""
    for where, row in rows(data, config, ("image", "question", "answer")):
        if row["image"] is None:
            question, answer = (str(field(row, name, where)) for name in ("question", "answer"))
            yield Sample(None, where, question, answer, score="text", subset=subset, measure="ROUGE-L recall")


def _real(data: str, config: str, score: str) -> Iterator[Sample]:
    for where, row in rows(data, config, ("image", "question", "answer", "options")):
        question, answer = (str(field(row, name, where)) for name in ("question", "answer"))
        image = picture(row["image"], where)
        asked = NAME if score == "faces" else question
        yield Sample(image, answer, asked, answer, tuple(row["options"] or ()), score, "real", "cloze")
