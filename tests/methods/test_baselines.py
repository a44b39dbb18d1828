"""Baselines through the language model: up the target's loss, and what they need."""

import pytest
import torch

from unsee import api
from unsee.errors import InputError
from unsee.methods import NPO, GradDiff
from unsee.models.answers import answer_losses, say
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import chat_inputs
from unsee.moments import prepare
from unsee.records import Sample
from unsee.testing import images

TARGET = [Sample(image, "target") for image in images(6, seed=1)]
RETAINED = [Sample(image, f"other {number % 4}") for number, image in enumerate(images(12, seed=2))]
BOTH = pytest.mark.parametrize("method", [GradDiff, NPO])


def test_the_loss_of_an_answer_is_that_of_its_tokens_one_after_the_other(whole: Vlm) -> None:
    """Against the model asked for each next token, in a batch of questions of different length."""
    asked = [(image, text) for image, text in zip(images(2), ("Who is this?", "What is the hair colour?"), strict=True)]
    answers = say(whole, asked, 3)
    sums, tokens = answer_losses(whole, asked, answers)
    tokenizer = whole.processor.tokenizer
    for question, answer, found, count in zip(asked, answers, sums, tokens, strict=True):
        inputs = chat_inputs(whole, [question])
        ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        expected = 0.0
        with torch.no_grad():
            for token in ids:
                logits = whole.model(**inputs).logits[0, -1]
                expected -= float(torch.log_softmax(logits, -1)[token])
                inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([[token]])], 1)
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        assert int(count) == len(ids)
        assert float(found) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@BOTH
def test_the_targets_answers_become_less_likely(method: type, whole: Vlm) -> None:
    edit = api.forget(whole, TARGET, RETAINED, method=method(steps=20, batch=4, tokens=2, rate=1e-2, retain=0.1))
    first, last = edit.method["looks"][0]["answers"], edit.method["looks"][-1]["answers"]
    assert last > first


@BOTH
def test_what_they_need_is_said(method: type, vlm: Vlm, whole: Vlm) -> None:
    few = method(steps=1, batch=2, tokens=2)
    with pytest.raises(InputError, match="opened without its language model"):
        api.forget(vlm, TARGET, RETAINED, method=few)
    with pytest.raises(InputError, match="needs retained photos in every request"):
        api.forget(whole, TARGET, method=few)
    with pytest.raises(InputError, match="give them as samples"):
        few.forget(whole, TARGET, prepare(whole, RETAINED, 8))
    with pytest.raises(InputError, match="rate is 0; expected a number above 0"):
        method(rate=0)
