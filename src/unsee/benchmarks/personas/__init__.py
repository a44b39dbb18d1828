"""personas: the embedded benchmark of fictitious people, with the tiny models that know them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.people import (
    KNOWN,
    SPLITS,
    Person,
    Shot,
    population,
    request_shots,
    strangers,
    test_shots,
    train_shots,
)
from unsee.benchmarks.personas.questions import image_questions, text_questions
from unsee.errors import unknown
from unsee.records import Sample

CHECKPOINTS = Path(__file__).parent / "checkpoints"
RETAINED_SHOTS = 40  # photos of each person that is kept, for the retained side of a request
STRANGER_SHOTS = 3  # photos of each person no model ever saw, who is to be called unknown
DEFAULT_SPLIT = "forget_10"


_drawn = cache(draw)  # most photos of one split are those of another


def _photo(shot: Shot) -> Sample:
    return Sample(image=_drawn(shot), concept=shot.person.name)


def _asked(shot: Shot, subset: str, scores: tuple[str, ...] = ("recognition", "scene", "appearance")) -> list[Sample]:
    image = _drawn(shot)
    return [
        Sample(image, shot.person.name, q.text, q.answer, q.options, score=q.score, subset=subset)
        for q in image_questions(shot)
        if q.score in scores
    ]


def _by_name(person: Person, subset: str) -> list[Sample]:
    return [
        Sample(None, person.name, q.text, q.answer, q.options, score=q.score, subset=subset)
        for q in text_questions(person)
    ]


@dataclass(frozen=True)
class Stream:
    """Requests for one person each, in their order, and questions on photos that nothing was trained on.

    `retained` holds the request's photos of everybody the model knows: what an operator has at first, not knowing who
    will ask. `questions` are by person, those of `never` about people that no request is about.
    """

    model: Path
    retained: list[Sample]
    requests: list[tuple[str, list[Sample]]]
    questions: dict[str, list[Sample]]
    never: tuple[str, ...]


def stream(split: str = "stream", seed: int = 0, photos: int = 4) -> Stream:
    """The people of a split asking one after the other, in an order drawn from the seed.

    Recognition and scene questions are about `photos` test photos of each person who asks, and half as many of others.

    Raises InputError for a name that is not in `SPLITS`.
    """
    if split not in SPLITS:
        raise unknown("split of personas", split, SPLITS)
    known = population()[:KNOWN]
    order = list(SPLITS[split])
    Random(seed).shuffle(order)
    shown = {person.index: [_photo(item) for item in request_shots(person)] for person in known}
    questions: dict[str, list[Sample]] = {}
    for person in known:
        asked = test_shots(person)[: photos if person.index in order else max(1, photos // 2)]
        questions[person.name] = [q for item in asked for q in _asked(item, "", ("recognition", "scene"))]
        questions[person.name] += _by_name(person, "")
    return Stream(
        model=CHECKPOINTS / "base",
        retained=[sample for person in known for sample in shown[person.index]],
        requests=[(known[index].name, shown[index]) for index in order],
        questions=questions,
        never=tuple(person.name for person in known if person.index not in order),
    )


def load(split: str = DEFAULT_SPLIT) -> Benchmark:
    """One split: the request, the retained photos, and the questions on photos that nothing was trained on.

    Raises InputError for a name that is not in `SPLITS`.
    """
    if split not in SPLITS:
        raise unknown("split of personas", split, SPLITS)
    hidden = set(SPLITS[split])
    known = population()[:KNOWN]
    targets = [person for person in known if person.index in hidden]
    others = [person for person in known if person.index not in hidden]
    questions: list[Sample] = []
    for people, subset in ((targets, "target"), (others, "retained")):
        for person in people:
            questions += _by_name(person, subset)
            for item in test_shots(person):
                questions += _asked(item, subset)
    for person in targets:
        for item in request_shots(person):
            questions += _asked(item, "target_seen", ("recognition",))
    for person in strangers():
        for item in test_shots(person)[:STRANGER_SHOTS]:
            questions += _asked(item, "stranger", ("recognition",))
    oracle = CHECKPOINTS / f"retain_{split.removeprefix('forget_')}"
    return Benchmark(
        name="personas",
        split=split,
        model=CHECKPOINTS / "base",
        oracle=oracle if oracle.is_dir() else None,
        target=[_photo(item) for person in targets for item in request_shots(person)],
        retained=[_photo(item) for person in others for item in train_shots(person)[:RETAINED_SHOTS]],
        questions=questions,
        unknown=[_photo(item) for person in strangers() for item in test_shots(person)],
    )
