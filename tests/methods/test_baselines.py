"""Baselines through the language model: their losses by hand, which way they go, and what they need."""

import math

import pytest
import torch

from unsee import api
from unsee.answering import Batch, Said, divergence
from unsee.errors import InputError
from unsee.methods import DPO, KL, METHODS, NPO, PO, Finetune, GradAscent, GradDiff
from unsee.models.answers import answer_losses, say
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import chat_inputs
from unsee.moments import prepare
from unsee.records import Sample
from unsee.testing import images

TARGET = [Sample(image, "target") for image in images(6, seed=1)]
RETAINED = [Sample(image, f"other {number % 4}") for number, image in enumerate(images(12, seed=2))]
BASELINES = [method for method in METHODS.values() if method.language]
EACH = pytest.mark.parametrize("method", BASELINES, ids=[method.name for method in BASELINES])
FEW = {"steps": 20, "batch": 4, "tokens": 2, "rate": 1e-2}
WORD = {"refusal": "no"}


def said(losses: list[float], tokens: list[int], before: list[float]) -> Said:
    return Said(torch.tensor(losses), torch.tensor(tokens), torch.tensor(before))


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


def test_losses_by_hand() -> None:
    own, refused = said([3.0, 5.0], [2, 2], [1.0, 2.0]), said([6.0, 2.0], [4, 4], [7.0, 6.0])

    def loss(method: GradAscent | GradDiff | KL | NPO | PO | DPO) -> float:
        target = method.objective().target
        assert target is not None
        return float(target(Batch(lambda: own, lambda: refused)))

    for ascent in (GradAscent(), GradDiff(), KL()):
        assert loss(ascent) == pytest.approx(-8 / 4)
    assert loss(PO()) == pytest.approx(8 / 8)
    assert Finetune().objective().target is None

    def soft(beta: float, margins: list[float]) -> float:
        return 2 / beta * sum(math.log1p(math.exp(-beta * margin)) for margin in margins) / len(margins)

    assert loss(NPO(beta=0.5)) == pytest.approx(soft(0.5, [2.0, 3.0]), rel=1e-5)
    # The refusal became likelier by 1 and 4, the own answer less likely by 2 and 3.
    assert loss(DPO(beta=0.5)) == pytest.approx(soft(0.5, [1 + 2, 4 + 3]), rel=1e-5)
    for method in (PO, DPO):
        with pytest.raises(InputError, match="refusal is empty"):
            method(refusal=" ")


def test_the_divergence_by_hand() -> None:
    before, now = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]), torch.tensor([[[0.25, 0.75], [0.1, 0.9]]])
    found = float(divergence(before.log(), now.log(), torch.tensor([[1, 0]])))
    assert found == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75), rel=1e-5)
    assert float(divergence(before.log(), before.log(), torch.tensor([[1, 1]]))) == 0


@pytest.mark.parametrize("method", [GradAscent, GradDiff, KL, NPO, DPO], ids=lambda method: method.name)
def test_the_targets_answers_become_less_likely(method: type, whole: Vlm) -> None:
    keep = {} if method is GradAscent else {"weight": 0.1}
    edit = api.forget(whole, TARGET, RETAINED, method=method(**FEW, **keep, **(WORD if method is DPO else {})))
    first, last = edit.method["looks"][0]["answers"], edit.method["looks"][-1]["answers"]
    assert last > first


def probability(vlm: Vlm, answers: list[str]) -> float:
    questions = [(sample.image, "Who is this?") for sample in TARGET]
    with torch.no_grad():
        losses, _ = answer_losses(vlm, questions, answers)
    return float(losses.mean())


@pytest.mark.parametrize("method", [PO, DPO], ids=lambda method: method.name)
def test_the_refusal_becomes_likelier(method: type, whole: Vlm) -> None:
    before = probability(whole, ["no"] * 6)
    edit = api.forget(whole, TARGET, RETAINED, method=method(**FEW, **WORD, weight=0.1))
    assert after(whole, edit.weights, ["no"] * 6) < before


def after(vlm: Vlm, weights: dict[str, torch.Tensor], answers: list[str]) -> float:
    """Loss of these answers with other weights, which are taken out again."""
    parameters = dict(vlm.model.named_parameters())
    kept = {name: parameters[name].detach().clone() for name in weights}
    with torch.no_grad():
        try:
            for name, value in weights.items():
                parameters[name].copy_(value)
            return probability(vlm, answers)
        finally:
            for name, value in kept.items():
                parameters[name].copy_(value)


def test_fine_tuning_sees_retained_photos_alone(whole: Vlm) -> None:
    runs = [
        api.forget(whole, target, RETAINED, method=Finetune(**FEW)).weights
        for target in (TARGET, [Sample(image, "someone") for image in images(6, seed=5)])
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_retained_answers_stay_nearer_by_divergence_than_without(whole: Vlm) -> None:
    def moved(method: GradAscent | KL) -> float:
        questions = [(sample.image, "Who is this?") for sample in RETAINED]
        answers = say(whole, questions, 2)
        edit = api.forget(whole, TARGET, RETAINED, method=method)
        parameters = dict(whole.model.named_parameters())
        kept = {name: parameters[name].detach().clone() for name in edit.weights}
        with torch.no_grad():
            for name, value in edit.weights.items():
                parameters[name].copy_(value)
            losses = float(answer_losses(whole, questions, answers)[0].mean())
            for name, value in kept.items():
                parameters[name].copy_(value)
        return losses

    assert moved(KL(**FEW, weight=10.0)) < moved(GradAscent(**FEW))


@EACH
def test_what_they_need_is_said(method: type, vlm: Vlm, whole: Vlm) -> None:
    few = method(steps=1, batch=2, tokens=2)
    with pytest.raises(InputError, match="opened without its language model"):
        api.forget(vlm, TARGET, RETAINED, method=few)
    if method is not GradAscent:
        with pytest.raises(InputError, match="needs retained photos in every request"):
            api.forget(whole, TARGET, method=few)
    with pytest.raises(InputError, match="give them as samples"):
        few.forget(whole, TARGET, prepare(whole, RETAINED, 8))
    with pytest.raises(InputError, match="rate is 0; expected a number above 0"):
        method(rate=0)
