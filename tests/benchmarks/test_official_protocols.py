"""Benchmarks asked as their official code asks, and its mistakes where they are asked for."""

from pathlib import Path

import pytest
from published import FIXTURES, changed

from unsee import benchmarks
from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import InputError
from unsee.metrics.measures import TRUTH_GONE, candidates, measured


def official(name: str, folder: Path, *bugs: str) -> Benchmark:
    place = folder / name
    return benchmarks.load(name, str(place if place.exists() else FIXTURES[name](place)), official=True, bugs=bugs)


def test_mllmu_shows_examples_about_retained_people_whom_it_does_not_ask_about(tmp_path: Path) -> None:
    bench = official("mllmu", tmp_path)
    gone = {s.concept for s in bench.target}
    shown = {shot.concept for q in bench.questions for shot in q.shots}
    assert len(shown) == 2
    assert shown.isdisjoint(gone)
    assert shown.isdisjoint(q.concept for q in bench.questions)
    for question in bench.questions:
        with_examples = question.measure in ("choice", "cloze") and question.subset != "real"
        assert len(question.shots) == (2 if with_examples else 0)
        assert all((shot.image is None) == (question.image is None) for shot in question.shots)
    choices = [q for q in bench.questions if q.measure == "choice"]
    assert {q.options for q in choices} == {("red", "green", "blue", "grey")}, "as they are published"
    (first, *_) = (shot for q in choices for shot in q.shots)
    assert first.question.startswith("Question: What does")
    assert first.question.endswith("D: grey")
    assert first.answer == f"Correct Answer: {'ABCD'[int(first.concept) % 4]}"
    again = official("mllmu", tmp_path)
    assert [q.shots and q.shots[0].concept for q in again.questions] == [
        q.shots and q.shots[0].concept for q in bench.questions
    ]


def test_a_text_question_is_worded_as_by_the_official_code(tmp_path: Path) -> None:
    for question in official("mllmu", tmp_path).questions:
        if question.score.startswith("generation"):
            assert ("sentence accurately in" in question.question) == (question.image is not None)


def test_mistakes_of_official_code_are_made_when_asked_for_alone(tmp_path: Path) -> None:
    plain, mistaken = official("mllmu", tmp_path), official("mllmu", tmp_path, "first_character", "tested_shots")
    assert plain.protocol == "official"
    assert mistaken.protocol == "official with first_character, tested_shots"
    for bench, worth in ((plain, 0), (mistaken, 1)):
        asked = next(q for q in bench.questions if q.measure == "choice" and q.answer == "B")
        assert measured("Because of the hat", asked) == worth
    gone = {s.concept for s in mistaken.target}
    assert {shot.concept for q in mistaken.questions if q.subset == "target" for shot in q.shots} < gone

    real = next(q for q in official("umu", tmp_path, "nearest_real").questions if q.score == "classification")
    assert real.reading == ""
    near = [q for q in official("umu", tmp_path, "nearest_real").questions if q.subset == "real" and q.options]
    assert all(measured(f"It is {q.answer}!", q) == 1 for q in near)
    assert all(measured(f"It is {q.answer}!", q) == 0 for q in official("umu", tmp_path).questions if q.options)

    said = "An answer that is cut"
    for bugs, found in (((), 1), (("to_full_stop",), 0)):
        asked = next(q for q in official("fiubench", tmp_path, *bugs).questions if q.score == "generation")
        assert measured(asked.answer.rstrip("."), asked) == found
        assert measured(asked.answer + f" {said}.", asked) == 1
    plain, mistaken = official("fiubench", tmp_path), official("fiubench", tmp_path, "uneven_case")
    asked, other = (next(q for q in bench.questions if q.score == "truth_ratio") for bench in (plain, mistaken))
    assert asked.wrong == ("It is ada.", "It is ben.")
    assert other.wrong == ("It is Ada.", "It is Ben.")
    assert asked.question == other.question == "What is the name of this person?"
    assert {q.concept for q in plain.questions} == {"0000", "0001", "0002", "0003"}, "retain5"

    blind = official("clear", tmp_path, "no_pixels").questions
    assert {q.measure for q in blind if q.image is None} == {"ROUGE-L recall"}
    assert all(q.image is not None for q in official("clear", tmp_path).questions)


def test_the_text_question_gives_the_right_option_of_the_image_question_by_mistake(tmp_path: Path) -> None:
    folder = FIXTURES["umu"](tmp_path / "umu")
    changed(
        "forget_5",
        lambda row: row.update(Classify=row["Classify"].replace("'answer': 'A. red'", "'answer': 'B. green'", 1)),
    )(folder)
    for bugs, right in (((), "red"), (("text_key",), "green")):
        bench = benchmarks.load("umu", str(folder), official=True, bugs=bugs)
        asked = next(q for q in bench.questions if q.score == "classification" and q.concept == "000")
        assert asked.answer == right


def test_clear_compares_likelihoods_as_its_code_does(tmp_path: Path) -> None:
    bench = official("clear", tmp_path)
    found = {f"{q.score}/{q.subset}": q for q in bench.questions}
    assert {name.partition("/")[0] for name in found} == {
        f"{score}{ending}"
        for score in ("caption", "recognition", "faces", "world")
        for ending in ("", "_probability", "_truth_ratio")
    }
    assert found["caption_truth_ratio/target_seen"].measure == TRUTH_GONE
    assert candidates(found["caption_truth_ratio/target_seen"])[0].startswith("It is")
    assert candidates(found["recognition_truth_ratio/retained"]) == ("Author 9", "Ada", "Ben")
    assert candidates(found["caption_probability/retained"])[0] == "Author 9 reads a book."
    assert set(bench.utility) <= set(found)
    assert len(bench.utility) == 12


@pytest.mark.parametrize(
    ("name", "bugs", "sentence"),
    [
        ("mlubench", (), "mlubench has no official protocol"),
        ("personas/forget_05", (), "has no official protocol"),
        ("clear", ("no_pixel",), "mistake of clear's code"),
    ],
)
def test_what_has_no_official_protocol_is_refused(
    name: str, bugs: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence):
        benchmarks.load(name, str(tmp_path), official=True, bugs=bugs)
    with pytest.raises(InputError, match="add --protocol official"):
        benchmarks.load("umu", str(tmp_path), bugs=("text_key",))
