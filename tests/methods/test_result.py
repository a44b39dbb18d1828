"""What the method is for, on the shipped model: a person is no longer named, and others are."""

import pytest
import torch

from unsee import api
from unsee.benchmarks import personas
from unsee.benchmarks.personas import people as census
from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.people import Person, population, request_shots, train_shots
from unsee.evaluation.asking import generate
from unsee.methods import NSCVF
from unsee.models.checkpoint import load
from unsee.records import Sample

WHO = "Who is this?"
WANTED, OTHERS, NOT_SHOWN = 71, range(21, 46), range(50, 62)


def photos(people: list[Person], shots) -> list[Sample]:
    return [Sample(draw(shot), person.name) for person in people for shot in shots(person)]


def named(whole, people: list[Person]) -> float:
    """Share of test photos of these people that get their name."""
    asked = [
        Sample(draw(shot), person.name, WHO, person.name, tokens=4)
        for person in people
        for shot in census.test_shots(person)[:6]
    ]
    return sum(said == s.answer for said, s in zip(generate(whole, asked), asked, strict=True)) / len(asked)


@pytest.mark.slow
def test_a_person_is_forgotten_on_photos_that_nobody_showed_and_others_are_kept():
    """Ten photos of one person, eight of each of 25 others; the bounds are wide."""
    people = population()
    target, shown, others = [people[WANTED]], [people[i] for i in OTHERS], [people[i] for i in NOT_SHOWN]
    base = personas.CHECKPOINTS / "base"
    method = NSCVF(steps=120, views=800)
    edit = api.forget(
        load(base),
        photos(target, request_shots),
        photos(shown, lambda person: train_shots(person)[:8]),
        method=method,
    )
    whole = load(base, language=True)
    assert named(whole, target) >= 0.8
    before, kept = named(whole, others), named(whole, shown)
    parameters = dict(whole.model.named_parameters())
    with torch.no_grad():
        for name, value in edit.weights.items():
            parameters[name].copy_(value)
    assert named(whole, target) <= 0.34
    assert named(whole, shown) >= kept - 0.1
    assert named(whole, others) >= before - 0.15
    assert edit.verdict.question == WHO
    assert edit.verdict.counts["used_named"][0] <= 1
