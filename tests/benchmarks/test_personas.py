"""The population, the photos and the questions of personas."""

import numpy as np
import pytest

from unsee.benchmarks import BENCHMARKS, load
from unsee.benchmarks.personas import people as census
from unsee.benchmarks.personas.drawing import SIZE, draw
from unsee.benchmarks.personas.people import (
    KNOWN,
    LOOKS,
    NAMELESS,
    REQUEST_SHOTS,
    SPLITS,
    STRANGERS,
    population,
    request_shots,
    train_shots,
)
from unsee.benchmarks.personas.questions import UNKNOWN, chance, image_questions, text_questions
from unsee.data import content_hash
from unsee.errors import InputError


def test_the_population_has_the_promised_size_and_no_name_twice():
    people = population()
    assert (KNOWN, STRANGERS, NAMELESS) == (100, 20, 150)
    assert len(people) == len({person.name for person in people}) == 270
    assert [person.known for person in people] == [True] * 100 + [False] * 170
    assert [*people[:KNOWN], *census.strangers(), *census.nameless()] == list(people)
    assert all(len(set(person.looks)) == LOOKS >= 3 for person in people)
    assert all(len({look.hair for look in person.looks}) == LOOKS for person in people)


def test_a_person_has_enough_photos_and_the_tests_are_none_of_the_training():
    person = population()[0]
    training, tests = train_shots(person), census.test_shots(person)
    assert len(training) >= 40
    assert len(tests) >= 8
    assert not {item.key for item in training} & {item.key for item in tests}
    assert {item.look for item in tests} == set(person.looks) == {item.look for item in request_shots(person)}
    assert len(request_shots(person)) == REQUEST_SHOTS == 10


def test_the_splits_share_nobody_and_everyone_in_them_is_known():
    people = [index for split in SPLITS.values() for index in split]
    assert len(people) == len(set(people))
    assert max(people) < KNOWN
    assert {name: len(split) for name, split in SPLITS.items()} == {
        "forget_05": 5, "forget_10": 10, "forget_15": 15, "stream": 20, "reported": 10,
    }  # fmt: skip


def test_a_shot_is_the_same_picture_every_time_and_another_shot_another():
    first, second = train_shots(population()[3])[:2]
    image = draw(first)
    assert image.size == (SIZE, SIZE)
    assert content_hash(image) == content_hash(draw(first)) != content_hash(draw(second))


def test_the_picture_is_the_one_the_models_were_trained_on():
    assert np.asarray(draw(census.test_shots(population()[0])[0])).astype(int).sum() == PIXEL_SUM


PIXEL_SUM = 1926875


def test_the_scene_does_not_depend_on_who_it_is():
    shots = [item for person in population()[:KNOWN] for item in train_shots(person)]
    for scene in ("background", "glasses", "expression"):
        values = sorted({getattr(item, scene) for item in shots}, key=str)
        share = np.array([[sum(getattr(s, scene) == v for s in train_shots(p)) for v in values] for p in population()])
        expected = share.sum(0) / share.sum() * share.sum(1, keepdims=True)
        statistic = ((share - expected) ** 2 / expected).sum()
        freedom = (len(share) - 1) * (len(values) - 1)
        assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_questions_cover_the_four_scores_and_answers_are_among_their_options():
    item = census.test_shots(population()[5])[0]
    asked = image_questions(item) + text_questions(item.person)
    assert [question.score for question in asked] == (
        ["recognition"] * 3 + ["scene"] * 3 + ["appearance"] * 2 + ["text"] * 2
    )
    assert all(question.answer in question.options for question in asked)
    assert chance(asked[:3]) == pytest.approx((1 / 101 + 1 / 17 + 1 / 17) / 3)


def test_who_is_not_known_is_unknown_and_all_else_of_them_is_asked_as_of_others():
    known, *others = (census.test_shots(group[0])[0] for group in (population(), census.strangers(), census.nameless()))
    for item in others:
        asked = image_questions(item)
        assert [question.answer for question in asked[:3]] == [UNKNOWN] * 3
        assert UNKNOWN not in {question.answer for question in asked[3:]}
        assert [q.options for q in asked] == [q.options for q in image_questions(known)]
    assert UNKNOWN not in {question.answer for question in image_questions(known)}
    assert len(train_shots(others[-1].person)) == census.NAMELESS_SHOTS < len(train_shots(known.person))


def test_a_benchmark_never_tests_on_a_photo_of_the_request():
    bench = load("personas/forget_05")
    request = {content_hash(sample.image) for sample in bench.target + bench.retained}
    pictures = {id(q.image): q for q in bench.questions if q.image is not None and q.subset != "target_seen"}
    assert not request & {content_hash(q.image) for q in pictures.values()}
    assert {(q.score, q.subset) for q in bench.questions} == {
        (score, subset) for score in ("recognition", "scene", "appearance", "text") for subset in ("target", "retained")
    } | {("recognition", "target_seen"), ("recognition", "stranger")}
    assert len(bench.target) == 50


def test_unknown_names_suggest_the_nearest():
    assert "personas" in BENCHMARKS
    with pytest.raises(InputError, match="did you mean 'personas'"):
        load("persona")
    with pytest.raises(InputError, match="did you mean 'forget_10'"):
        load("personas/forget10")


def test_a_file_of_questions_is_a_benchmark_and_one_without_answers_is_refused(tmp_path):
    draw(train_shots(population()[0])[0]).save(tmp_path / "a.png")
    file = tmp_path / "mine.jsonl"
    file.write_text('{"image": "a.png", "question": "Who is this?", "answer": "Ada Abel"}\n')
    bench = load(str(file))
    assert [(q.score, q.subset, q.answer) for q in bench.questions] == [("accuracy", "all", "Ada Abel")]
    file.write_text('{"image": "a.png"}\n')
    with pytest.raises(InputError, match=r"sample 1 of .*mine\.jsonl has no question or no answer"):
        load(str(file))
