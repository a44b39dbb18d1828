"""Judges: what counts as a grade, that nonsense is counted, and a model on disk as one."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import InputError
from unsee.evaluation.judging import LocalJudge, grade, judged
from unsee.evaluation.scoring import Answers, judge_scores
from unsee.records import Sample
from unsee.testing import tiny_checkpoint


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("7", 0.7),
        (" 10 ", 1.0),
        ("0", 0.0),
        ("Score: 8/10", 0.8),
        ("**3**", 0.3),
        ("Rating: 4 out of 10.", 0.4),
        ("6.5", 0.65),
        ("11", None),
        ("-3 of 5", None),
        ("On a scale from 0 to 10, I would say 7", None),
        ("right", None),
        ("", None),
    ],
)
def test_a_grade_is_one_number_in_range(reply: str, expected: float | None) -> None:
    assert grade(reply) == expected


@given(st.text())
def test_any_reply_is_a_share_or_nothing(reply: str) -> None:
    value = grade(reply)
    assert value is None or 0 <= value <= 1


def asked() -> list[Sample]:
    rows = [("a", "Who?", "Ada", "target"), ("a", "Where?", "Oslo", "target"), ("b", "Who?", "Ben", "retained")]
    return [Sample(None, one, q, a, score="cloze", subset=side, measure="cloze") for one, q, a, side in rows]


def test_a_judge_sees_question_right_answer_and_answer_once() -> None:
    seen = list[str]()

    def judge(prompts: Sequence[str]) -> list[str]:
        seen.extend(prompts)
        return ["10" if "Right answer: Ada\nAnswer: Ada" in prompt else "2" for prompt in prompts]

    samples = [*asked(), asked()[0]]
    assert judged(judge, samples, ["Ada", "Rome", "Ben?", "Ada"]) == [1.0, 0.2, 0.2, 1.0]
    assert len(seen) == 3
    assert all("Question: Wh" in prompt for prompt in seen)


def test_replies_that_say_nothing_are_counted_and_do_not_count() -> None:
    bench = Benchmark("x", "", None, None, [], [], asked(), [])
    answers = {"after": Answers(["Ada", "Rome", "Ben"], [1, 0, 1], [])}
    replies = {"Ada": "8", "Rome": "banana", "Ben": "4"}

    def judge(prompts: Sequence[str]) -> list[str]:
        return [next(reply for answer, reply in replies.items() if f"\nAnswer: {answer}\n" in p) for p in prompts]

    scores, check = judge_scores(judge, bench, answers)
    assert {(s.name, s.subset): (s.value, s.n) for s in scores} == {
        ("cloze_judged", "target"): (0.8, 1),
        ("cloze_judged", "retained"): (0.4, 1),
    }
    assert not check.passed
    assert check.detail.startswith("1 of 3 replies")
    replies["Rome"] = "0"
    scores, check = judge_scores(judge, bench, answers)
    assert check.passed
    assert {(s.subset, s.value, s.higher_is_better) for s in scores} == {
        ("target", 0.4, False),
        ("retained", 0.4, True),
    }


def test_a_model_on_disk_is_a_judge_and_a_random_one_answers_nonsense(tmp_path: Path) -> None:
    vlm = tiny_checkpoint(tmp_path / "vlm")
    replies = LocalJudge(vlm)(["Grade this.", "And this, which is longer."])
    assert len(replies) == 2
    assert LocalJudge(vlm)(["And this, which is longer."]) == replies[1:]
    words = LlamaConfig(
        vocab_size=600, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(words).save_pretrained(tmp_path / "text")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (vlm / name).exists():
            (tmp_path / "text" / name).write_bytes((vlm / name).read_bytes())
    assert judged(LocalJudge(tmp_path / "text"), asked(), ["Ada", "Rome", "Ben"]) == [None] * 3


def test_what_is_no_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        LocalJudge(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be opened"):
        LocalJudge(tmp_path)(["?"])
