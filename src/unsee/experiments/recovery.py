"""What attacks bring back: each on the model after, beside the same on the oracle and on the model before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unsee.attacks import Attack, Point, Subject
from unsee.attacks.attack import Tally
from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import InputError
from unsee.metrics.accuracy import RESAMPLES, widened
from unsee.metrics.resampling import interval
from unsee.records import Check, Sample, Score
from unsee.system.memory import lacks_memory
from unsee.system.progress import steps

UNIT = "difference"


@dataclass(frozen=True)
class Attacked:
    """What each attack got from one model; for attacks that were not possible, why; `plain`: what it says without."""

    points: Mapping[str, Sequence[Point]]
    refused: Mapping[str, str]
    plain: Tally = field(default_factory=dict)


def subject(
    folder: Path, before: Path, bench: Benchmark, *, photos: int, seed: int, trust_remote_code: bool = False
) -> Subject:
    """What is attacked in a model: recognition questions about `photos` unseen photos of each of the target's concepts.

    Where a benchmark has no score called recognition, all its questions about images of the target count. Raises
    InputError where there is none.
    """
    asked = _some_photos(_questions(bench, "target"), photos)
    if not asked and _questions(bench, "target_seen"):
        raise InputError(
            "all photos of the target were trained on, and an attack is tried on others; give such with --target."
        )
    if not asked:
        raise InputError(f"{bench.name} asks nothing about photos of the target; an attack has nothing to bring back.")
    shown = _questions(bench, "target_seen") or [s for s in bench.target if s.question and s.answer]
    others = _some_photos(_questions(bench, "retained"), 1)
    return Subject(folder, before, tuple(asked), tuple(shown), tuple(others), seed, trust_remote_code)


def _questions(bench: Benchmark, subset: str) -> list[Sample]:
    found = [q for q in bench.questions if q.subset == subset and q.image is not None]
    return [q for q in found if q.score == "recognition"] or found


def _some_photos(questions: Sequence[Sample], photos: int) -> list[Sample]:
    """The questions about so many photos of each concept, evenly spread over them."""
    of: dict[str, dict[Path | int, None]] = {}
    for question in questions:
        of.setdefault(question.concept, {})[question.picture] = None
    kept: set[Path | int] = set()
    for own in of.values():
        every = list(own)
        kept |= {every[int(place)] for place in np.linspace(0, len(every) - 1, min(photos, len(every)))}
    return [question for question in questions if question.picture in kept]


def attack(target: Subject, attacks: Sequence[Attack], phase: str) -> Attacked:
    """Makes the attacks on one model. If one is not possible, the others are made all the same.

    On the model before, those that bring back its weights are left out.
    """
    points, refused = dict[str, list[Point]](), dict[str, str]()
    made = [each for each in attacks if phase != "before" or each.on_before]
    for each in steps(f"attacking the model {phase}", made):
        try:
            points[each.name] = list(each.run(target))
        except InputError as error:
            refused[each.name] = str(error)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            refused[each.name] = "there is too little memory for it; take a machine with more, or leave it out."
    return Attacked(points, refused, target.plain)


def scores(after: Attacked, oracle: Attacked | None, before: Attacked | None) -> list[Score]:
    """attacked.A: what attack A got, of each model; recovery.A: that less what the model after gives without it.

    control.A is the same of the oracle, and excess.A is recovery less control. Subsets are budgets. Intervals of 95 %:
    concepts drawn again, the same for both models, or photos where there is one concept. recognition/target is what
    each model gives without an attack.
    """
    found = []
    for phase, side in (("before", before), ("after", after), ("oracle", oracle)):
        if side is not None and side.plain:
            point = Point("target", side.plain, side.plain)
            found.append(_score("recognition", "target", phase, point, [point.got], unit="accuracy"))
        for name, points in {} if side is None else side.points.items():
            for point in points:
                found.append(_score(f"attacked.{name}", point.budget, phase, point, [point.got], unit="share"))
    for name, points in after.points.items():
        controls = {} if oracle is None else {point.budget: point for point in oracle.points.get(name, ())}
        for point in points:
            own = [point.got, point.floor]
            found.append(_score(f"recovery.{name}", point.budget, "after", point, own))
            control = controls.get(point.budget)
            if control is not None:
                found.append(_score(f"control.{name}", point.budget, "oracle", control, [control.got, control.floor]))
                every = [*own, control.floor, control.got]
                found.append(_score(f"excess.{name}", point.budget, "after", point, every))
    return found


def _score(name: str, budget: str, phase: str, point: Point, sides: Sequence[Tally], unit: str = UNIT) -> Score:
    """The shares of the sides, added and subtracted in turn."""
    signs = [(-1) ** place for place in range(len(sides))]
    value = sum(sign * float(_shares(side, None)[0]) for sign, side in zip(signs, sides, strict=True))
    drawn = np.random.default_rng(0).integers(len(point.got), size=(RESAMPLES, len(point.got)))
    draws = np.sum([sign * _shares(side, drawn) for sign, side in zip(signs, sides, strict=True)], axis=0)
    count = round(sum(count for _, count in point.got.values()))
    low, high = min(0.0, 1 - len(sides)), 1.0  # of one, nothing is known
    if len(point.got) > 1:
        low, high = interval(draws)
        if len(sides) <= 2:  # a difference of two models that is the same for all is sure
            low, high = widened(low, high, len(point.got))
    return Score(name, budget, phase, value, count, (low, high), higher_is_better=False, unit=unit)


def _shares(side: Tally, drawn: NDArray[np.int64] | None) -> NDArray[np.float64]:
    pairs = np.array([side[concept] for concept in sorted(side)], dtype=float)
    got, of = pairs[None].sum(1).T if drawn is None else pairs[drawn].sum(1).T
    shares: NDArray[np.float64] = got / of
    return shares


def checks(after: Attacked) -> list[Check]:
    """One for each attack that was not possible, with the reason."""
    return [Check(f"attack.{name}", False, reason.removesuffix(".")) for name, reason in after.refused.items()]
