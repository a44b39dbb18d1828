"""Scores from answers: pairs of questions about one fact, utility, and what is compared with another model."""

import math
from pathlib import Path

import pytest

from unsee.benchmarks.benchmark import Benchmark
from unsee.evaluation.scoring import Answers, scores
from unsee.records import Sample


def bench(*, utility: tuple[str, ...] = ()) -> Benchmark:
    """Two people, each asked twice about two facts, with an image and without, and once for a sentence each way."""
    questions = []
    for person, subset in (("a", "target_seen"), ("b", "retained")):
        for fact in ("1", "2"):
            for ending in ("", "_text"):
                common = {"subset": subset, "fact": f"{person}{fact}"}
                questions.append(Sample(None, person, "?", "x", score=f"cloze{ending}", measure="cloze", **common))
        for ending in ("", "_text"):
            common = {"subset": subset, "fact": f"{person} said"}
            questions.append(Sample(None, person, "?", "x", score=f"generation{ending}", measure="ROUGE-L F", **common))
    return Benchmark("x", "", None, None, [], [], questions, [], utility=utility)


VALUES = [1, 1, 1, 0, 0.6, 0.2, 0, 0, 0, 0, 0.5, 0.5]


def found(phase_values: dict[str, list[float]], **options: tuple[str, ...]) -> dict[tuple[str, str, str], float]:
    made = bench(**options)
    said = ["the same three words again"] * len(made.questions)
    answers = {phase: Answers(said, values, [0.5, 0.5]) for phase, values in phase_values.items()}
    return {(s.name, s.subset, s.phase): s.value for s in scores(made, answers)}


def test_facts_asked_both_ways_have_scores_of_both() -> None:
    values = found({"after": VALUES})
    assert values["cloze_all_modal", "target_seen", "after"] == 0.5
    assert values["cloze_all_modal_error", "target_seen", "after"] == 0
    assert values["cloze_all_modal", "retained", "after"] == 0
    assert values["cloze_all_modal_error", "retained", "after"] == 1
    assert values["generation_rlf", "target_seen", "after"] == pytest.approx(0.4 / 0.8)
    assert values["generation_rlr", "target_seen", "after"] == pytest.approx(2 * 0.12 / 0.8)
    assert values["generation_rlf", "retained", "after"] == pytest.approx(0.5)


def test_directions_of_scores_of_both() -> None:
    answers = {"after": Answers(["a b c"] * 12, VALUES, [])}
    better = {(s.name, s.subset): s.higher_is_better for s in scores(bench(), answers)}
    assert not better["cloze_all_modal", "target_seen"]
    assert better["cloze_all_modal_error", "target_seen"]
    assert better["cloze_all_modal", "retained"]
    assert not better["cloze_all_modal_error", "retained"]
    assert not better["generation_rlf", "target_seen"]
    assert better["generation_fluency", "target_seen"]
    assert better["cloze_text", "target_seen"], "what is asked without an image is meant to stay"


def test_utility_is_the_harmonic_mean_where_all_its_scores_are() -> None:
    names = ("generation/retained", "generation_text/target_seen")
    values = found({"after": VALUES}, utility=names)
    assert values["utility", "all", "after"] == pytest.approx(2 / (1 / 0.5 + 1 / 0.2))
    assert ("utility", "all", "after") not in found({"after": VALUES}, utility=(*names, "judge/retained"))
    assert ("utility", "all", "after") not in found({"after": VALUES})


def test_confidence_is_compared_with_that_before_and_the_oracles() -> None:
    made = bench()
    answers = {
        phase: Answers([""] * 12, [0.0] * 12, confidence)
        for phase, confidence in {"before": [0.8, 0.5], "after": [0.4, 0.5], "oracle": [0.4, 0.5]}.items()
    }
    values = {(s.name, s.subset, s.phase): s.value for s in scores(made, answers)}
    assert values["c_dis", "target", "after"] == pytest.approx(0.8 * math.log(2) / 2)
    assert ("c_dis", "target", "before") not in values
    assert values["forget_quality", "ks_p", "after"] == 1
    assert values["forget_quality", "one_minus_js", "before"] < 1
    ratios = {phase: Answers(a.answers, a.values, a.confidence, ratios=True) for phase, a in answers.items()}
    assert not any(s.name == "c_dis" for s in scores(made, ratios)), "truth ratios are no probabilities"


@pytest.mark.parametrize(
    ("said", "share"),
    [
        (["Bob Lee", "nobody", "Ann Day"], 1 / 3),
        (["This is Bob Lee.", "bob lee", "Ann Day"], 2 / 3),
        (["Ann Day, not Bob Lee", "Bob", ""], 0.0),  # her own name is no other's, and half a name is none
    ],
)
def test_another_persons_name_is_found_in_sentences(said: list[str], share: float) -> None:
    photo = Path("photo.png")
    target = [Sample(photo, "Ann Day", "Who?", "Ann Day", score="recognition", subset="target") for _ in said]
    other = Sample(photo, "Bob Lee", "Who?", "Bob Lee", score="recognition", subset="retained")
    made = Benchmark("x", "", None, None, [], [], [*target, other], [])
    answers = Answers([*said, "Bob Lee"], [0.0] * 4, [])
    values = {(s.name, s.subset): s.value for s in scores(made, {"after": answers})}
    assert values["misattributed", "target"] == pytest.approx(share)
