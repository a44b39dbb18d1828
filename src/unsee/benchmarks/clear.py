"""CLEAR: fictitious authors of TOFU with generated portraits (Dontsov et al. 2024, arXiv 2410.18057)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import ZERO_SHOT, Protocol, TableRow, benchmark, field, picture, rows, split_of
from unsee.errors import InputError
from unsee.metrics.measures import TRUTH_GONE, TRUTH_KEPT
from unsee.records import Sample

HUB = "hf://therem/CLEAR"
SPLITS = {
    "forget_01": ("forget01", "retain99"),
    "forget_05": ("forget05", "retain95"),
    "forget_10": ("forget10", "retain90"),
}
CAPTION = "What can you see in this picture?"  # the first of the nine that the official code draws from, unseeded
NAME = "The name of the person on the image is "
ROWS, TOKENS = 300, 300  # of each config that are asked about, and most tokens of an answer, in the official code
BUGS = {"no_pixels": "answers are generated without the image"}
SUMMED = [f"{name}/{side}" for name, side in (("faces", "real"), ("world", "real"), ("caption", "retained"),
                                              ("recognition", "retained"))]  # fmt: skip


def load(split: str = "forget_05", data: str = HUB, protocol: Protocol = ZERO_SHOT) -> Benchmark:
    """One split. An author has no further images, so that all questions are about the request's (target_seen).

    Zero-shot. recognition: the name occurs in the answer; caption: ROUGE-L recall; text: the questions of TOFU, ROUGE-L
    recall; faces and world: the answer occurs in what is said about real images.

    Official: recognition, caption, faces and world by ROUGE-L recall; SCORE_probability, of a caption its own, else
    among all options; SCORE_truth_ratio; utility, the harmonic mean of all that is not of the target; forget quality by
    the truth ratios of the target's captions. The first 300 rows of a config, with the perturbed answers of the configs
    that end in _perturbed.

    Raises InputError for an unknown split, and for a folder that is not as it is published.
    """
    forget, retain = SPLITS[split_of(split, SPLITS, "clear")]
    gone, kept = [*_shown(data, forget, "target_seen")], [*_shown(data, retain, "retained")]
    target, retained, confidence, utility = gone, kept, "recognition/target_seen", list[str]()
    if protocol.official:
        gone = [*_perturbed(data, f"{forget}_perturbed", "target_seen", protocol)]
        kept = [*_perturbed(data, "retain_perturbed", "retained", protocol)]
        text = list[Sample]()
        confidence = "caption_truth_ratio/target_seen"
        utility = [name.replace("/", f"{end}/") for name in SUMMED for end in ("", "_probability", "_truth_ratio")]
    else:
        text = [*_written(data, f"{forget}+tofu", "target"), *_written(data, f"{retain}+tofu", "retained")]
    real = [*_real(data, "real_faces", "faces", protocol), *_real(data, "real_world", "world", protocol)]
    questions = [*gone, *kept, *text, *real]
    return benchmark(
        "clear", split, target, retained, questions, confidence=confidence, utility=utility, protocol=protocol
    )


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


def _real(data: str, config: str, score: str, protocol: Protocol) -> Iterator[Sample]:
    for where, row in _first(rows(data, config, ("image", "question", "answer", "options")), protocol):
        question, answer = (str(field(row, name, where)) for name in ("question", "answer"))
        asked = NAME if score == "faces" else question
        options = tuple(row["options"] or ())
        sample = Sample(picture(row["image"], where), answer, asked, answer, options, score, "real", "cloze")
        if protocol.official:
            yield from _official(sample, tuple(o for o in options if o != answer), "preference", protocol)
        else:
            yield sample


def _perturbed(data: str, config: str, subset: str, protocol: Protocol) -> Iterator[Sample]:
    columns = ("image", "caption", "name", "paraphrased_caption", "perturbed_captions", "perturbed_names")
    for where, row in _first(rows(data, config, columns), protocol):
        image = picture(row["image"], where)
        caption, name, other = (str(field(row, key, where)) for key in ("caption", "name", "paraphrased_caption"))
        wrong, names = (tuple(map(str, field(row, key, where))) for key in ("perturbed_captions", "perturbed_names"))
        shown = Sample(image, name, CAPTION, caption, score="caption", subset=subset, paraphrase=other)
        yield from _official(shown, wrong, "probability", protocol)
        asked = Sample(image, name, NAME, name, score="recognition", subset=subset)
        yield from _official(asked, names, "preference", protocol)


def _first(found: Iterator[tuple[str, TableRow]], protocol: Protocol) -> Iterator[tuple[str, TableRow]]:
    return islice(found, ROWS if protocol.official else None)


def _official(sample: Sample, wrong: tuple[str, ...], probability: str, protocol: Protocol) -> Iterator[Sample]:
    """The three ways in which the official code measures one question."""
    if not wrong:
        raise InputError(f"clear has a question about {sample.concept!r} without a wrong answer; get the rows again.")
    image = None if "no_pixels" in protocol.bugs else sample.image
    plain = replace(sample, paraphrase="")
    yield replace(plain, image=image, measure="ROUGE-L recall", tokens=TOKENS)
    compared = wrong if probability == "preference" else ()
    yield replace(plain, score=f"{sample.score}_probability", measure=probability, wrong=compared)
    ratio = TRUTH_GONE if sample.subset.startswith("target") else TRUTH_KEPT
    yield replace(sample, score=f"{sample.score}_truth_ratio", measure=ratio, wrong=wrong)
