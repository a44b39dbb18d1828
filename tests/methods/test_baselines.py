"""Baselines through the language model: their losses by hand, which way they go, and what they need."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import NoReturn, get_args, get_type_hints

import pytest
import torch
from runs import forget
from torch.nn import Parameter

from unsee.errors import InputError
from unsee.evaluation.evaluate import language_model_unchanged
from unsee.forgetting.by_answers import Apart, Batch, Said, divergence
from unsee.forgetting.confined import ConfinedWeight
from unsee.forgetting.saliency import salient, squared_gradients
from unsee.methods import (
    DPO,
    KL,
    MANU,
    METHODS,
    NPO,
    PO,
    RMU,
    SIU,
    VKD,
    Finetune,
    Fisher,
    GradAscent,
    GradDiff,
    MMUnlearner,
)
from unsee.methods.baselines.siu import dual_masked
from unsee.methods.manu import importance, score
from unsee.methods.rmu import feature_shift, steered, towards
from unsee.models.answers import answer_losses, say
from unsee.models.checkpoint import Vlm, load
from unsee.models.features import Features, visual_features
from unsee.models.inputs import chat_inputs, image_inputs
from unsee.moments.measure import prepare
from unsee.records import Sample
from unsee.testing import images

TARGET = [Sample(image, "target") for image in images(6, seed=1)]
RETAINED = [Sample(image, f"other {number % 4}") for number, image in enumerate(images(12, seed=2))]
BASELINES = [method for method in METHODS.values() if method.language]
EACH = pytest.mark.parametrize("method", BASELINES, ids=[method.name for method in BASELINES])
FEW = {"steps": 20, "batch": 4, "tokens": 2, "rate": 1e-2}
SCOPED = [method for method in METHODS.values() if "scope" in {field.name for field in fields(method)}]
BRIEF = {"steps": 2, "batch": 4, "tokens": 2, "rate": 1e-2}
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


def unused() -> NoReturn:
    raise AssertionError("this loss takes no such pass")


def test_an_end_that_the_model_does_not_know_is_left_out(checkpoint: Path) -> None:
    whole, image = load(checkpoint, language=True), images(1)[0]
    asked, answers = [(image, "Who is this?")], ["Who is"]
    _, tokens = answer_losses(whole, asked, answers)
    whole.processor.tokenizer.add_special_tokens({"eos_token": "<never seen>"})
    assert whole.processor.tokenizer.eos_token_id >= whole.model.config.get_text_config().vocab_size
    losses, fewer = answer_losses(whole, asked, answers)
    assert fewer.tolist() == [int(tokens) - 1]
    assert torch.isfinite(losses).all()


def test_losses_by_hand() -> None:
    own, refused = said([3.0, 5.0], [2, 2], [1.0, 2.0]), said([6.0, 2.0], [4, 4], [7.0, 6.0])

    def loss(method: GradAscent | GradDiff | KL | NPO | PO | DPO | MMUnlearner | VKD | Fisher) -> float:
        target = method.objective().target
        assert target is not None
        return float(target(Batch(lambda: own, lambda: refused, unused)))

    for ascent in (GradAscent(), GradDiff(), KL(), MMUnlearner(), VKD(), Fisher()):
        assert loss(ascent) == pytest.approx(-8 / 4)
    assert loss(PO()) == pytest.approx(8 / 8)
    assert Finetune().objective().target is None

    def soft(beta: float, margins: list[float]) -> float:
        return 2 / beta * sum(math.log1p(math.exp(-beta * margin)) for margin in margins) / len(margins)

    assert loss(NPO(beta=0.5)) == pytest.approx(soft(0.5, [2.0, 3.0]), rel=1e-5)
    # The refusal became likelier by 1 and 4, the own answer less likely by 2 and 3.
    assert loss(DPO(beta=0.5)) == pytest.approx(soft(0.5, [1 + 2, 4 + 3]), rel=1e-5)
    for method in (PO, DPO, SIU):
        with pytest.raises(InputError, match="refusal is empty"):
            method(refusal=" ")


def test_the_divergence_by_hand() -> None:
    before, now = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]), torch.tensor([[[0.25, 0.75], [0.1, 0.9]]])
    found = float(divergence(before.log(), now.log(), torch.tensor([[1, 0]])))
    assert found == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75), rel=1e-5)
    assert float(divergence(before.log(), before.log(), torch.tensor([[1, 1]]))) == 0


def test_the_dual_mask_by_hand() -> None:
    """Token 0 is the own answer; the model before says 1, then 2 where the refusal says 1; the third is padding."""
    before = torch.tensor([[[0.2, 0.6, 0.2], [0.1, 0.3, 0.6], [0.1, 0.8, 0.1]]])
    now = torch.tensor([[[0.6, 0.2, 0.2], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1]]])
    named = torch.tensor([[True, False, False]])
    found = dual_masked(Apart(before.log(), now.log(), torch.tensor([[1, 1, 1]]), torch.tensor([[1, 1, 0]]), named))
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    apart = Apart(before.log(), now.log(), torch.tensor([[1, 1, 1]]), torch.tensor([[1, 1, 0]]), named)
    target = SIU(masked=2.0).objective().target
    assert target is not None
    likely = (math.log(0.2) + math.log(0.6)) / 2
    assert float(target(Batch(unused, unused, lambda: apart))) == pytest.approx(-likely + 2 * expected, rel=1e-5)
    none = Apart(before.log(), now.log(), torch.tensor([[0, 0, 0]]), torch.tensor([[1, 1, 1]]), named)
    assert float(dual_masked(none)) == 0


def test_steering_by_hand() -> None:
    """Two images of two tokens, the second with one token alone; a mean squared length of 14 / 3 a token."""
    known = Features({"a": torch.tensor([[[1.0, 2], [2, 2]], [[1, 0], [0, 0]]])}, {"a": torch.tensor([2, 1])})
    goal = steered(known, 2.0, seed=5)["a"]
    drawn = torch.rand(2, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(goal, 2 * (14 / 3) ** 0.5 * drawn / drawn.norm())
    off = [
        (1 - goal[0]) ** 2 + (2 - goal[1]) ** 2,
        (2 - goal[0]) ** 2 + (2 - goal[1]) ** 2,
        (1 - goal[0]) ** 2 + goal[1] ** 2,
    ]
    assert float(towards(known, {"a": goal}, known)) == pytest.approx(float(sum(off)) / 3 / (14 / 3), rel=1e-5)
    moved = Features({"a": known.values["a"] + torch.tensor([1.0, 2.0])}, known.counts)
    assert float(feature_shift(moved, known, known)) == pytest.approx(5 / (14 / 3), rel=1e-5)


def test_importance_by_hand() -> None:
    """Two neurons over four tokens: 1, -1, 1, -1 and 3, 3, 3, 3."""
    sums = torch.tensor([[4.0, 4], [4, 12], [4, 4], [0, 12], [4, 36]])
    found = importance(sums)
    torch.testing.assert_close(found, torch.tensor([[0.5, 1.5], [1, 1], [2, 0], [0.5, 1.5]]))
    torch.testing.assert_close(score(found, torch.ones(4, 2)), torch.tensor([1.0, 1.0]))


def test_neurons_of_the_target_alone_are_pruned(whole: Vlm) -> None:
    edit = forget(whole, TARGET, RETAINED, method=MANU(tokens=2, share=0.1))
    pruned = 0
    for name, value in edit.weights.items():
        before = whole.model.get_parameter(name)
        gone = (value == 0).all(0)
        pruned += int(gone.sum())
        assert value.shape[0] < value.shape[1]
        assert torch.equal(value[:, ~gone], before[:, ~gone])
    assert pruned == edit.method["pruned"] == round(0.1 * edit.method["neurons"])


def test_squared_gradients_and_the_mask_by_hand() -> None:
    weight = Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    confined = {"layer": ConfinedWeight(weight, None)}
    losses = ((weight * torch.tensor(factor)).sum() for factor in ([[1.0, 2], [0, 0]], [[3.0, 0], [0, 0]]))
    found = squared_gradients(confined, losses)["layer"]
    torch.testing.assert_close(found, torch.tensor([[5.0, 2.0], [0, 0]]))
    assert weight.grad is None
    kept = torch.tensor([[5.0, 1.0], [0.0, 1.0]])
    assert salient(found, kept, 1.0).tolist() == [[True, True], [False, False]]
    assert salient(found, kept, 1.5).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("method", [MMUnlearner, VKD], ids=lambda method: method.name)
def test_what_is_not_salient_does_not_move(method: type, whole: Vlm) -> None:
    edit = forget(whole, TARGET, RETAINED, method=method(**FEW, saliency=3.0))
    share = edit.method["salient_share"]
    different = [(value != whole.model.get_parameter(name)) for name, value in edit.weights.items()]
    moved = sum(int(each.sum()) for each in different) / sum(each.numel() for each in different)
    assert 0 < moved <= share < 0.5


def test_retained_features_stay_nearer_with_distillation(whole: Vlm) -> None:
    def moved(distill: float) -> float:
        method = VKD(**FEW | {"rate": 1e-3}, weight=0, distill=distill, saliency=0)
        edit = forget(whole, TARGET, RETAINED, method=method)
        inputs = image_inputs(whole.processor, [sample.image for sample in RETAINED])
        before = visual_features(whole.model, inputs).values["projector"].detach()
        with changed(whole, edit.weights), torch.no_grad():
            return float((visual_features(whole.model, inputs).values["projector"] - before).square().mean())

    assert moved(100.0) < moved(0.0) / 2


def test_what_matters_to_retained_answers_moves_less(whole: Vlm) -> None:
    """By the Fisher information of the retained answers, in the encoder alone."""
    asked = [[(sample.image, "Who is this?")] for sample in RETAINED]

    def moved(fisher: float) -> float:
        edit = forget(whole, TARGET, RETAINED, method=Fisher(**FEW, fisher=fisher))
        assert not any("projector" in name for name in edit.weights)
        parameters = {name: whole.model.get_parameter(name) for name in edit.weights}
        confined = {name: ConfinedWeight(value.requires_grad_(True), None) for name, value in parameters.items()}
        matters = squared_gradients(confined, (answer_losses(whole, own, say(whole, own, 2))[0].sum() for own in asked))
        total = 0.0
        for name, value in parameters.items():
            value.requires_grad_(False)
            total += float((matters[name] * (edit.weights[name] - value).square()).sum())
        return total

    assert moved(1e6) < moved(1e-6) / 2


def test_one_photo_of_each_concept_is_used(whole: Vlm) -> None:
    several = [Sample(image, f"target {number % 2}") for number, image in enumerate(images(6, seed=1))]
    method = SIU(**FEW, **WORD)
    found = forget(whole, several, RETAINED, method=method)
    first = forget(whole, several[:2], RETAINED, method=method)
    assert all(torch.equal(found.weights[name], first.weights[name]) for name in first.weights)


@pytest.mark.parametrize("method", SCOPED, ids=[method.name for method in SCOPED])
def test_a_scope_moves_its_own_layers_alone(method: type, whole: Vlm, tmp_path: Path) -> None:
    few = {"rate": 1e-2, "steps": 2} if method is RMU else {"tokens": 2, "share": 0.2} if method is MANU else BRIEF
    own = {"refusal": "no"} if "refusal" in method.__dataclass_fields__ else {}
    visual = set(whole.partition.visual)
    projector = {name for name in visual if "projector" in name}
    allowed = {"visual": visual, "projector": projector, "language": set(whole.partition.protected)}
    allowed["all"] = visual | allowed["language"]
    for scope in get_args(get_type_hints(method)["scope"]):
        if scope == "encoder":
            continue
        edit = forget(whole, TARGET, RETAINED, method=method(**few, **own, scope=scope))
        moved = {n for n, value in edit.weights.items() if not torch.equal(value, whole.model.get_parameter(n))}
        assert moved
        assert moved <= allowed[scope]
        assert set(edit.protected) == set(edit.weights) - visual
        if scope == "all":
            assert moved & visual
            assert moved - visual
        written = edit.save(tmp_path / scope)
        check = language_model_unchanged(whole, written)
        assert check.passed == (scope in ("visual", "projector"))
        again = dict(load(written, language=True).model.named_parameters())
        for name, value in whole.model.named_parameters():
            assert torch.equal(again[name], edit.weights.get(name, value).to(again[name].dtype))


@pytest.mark.parametrize("method", [GradAscent, GradDiff, KL, NPO, DPO, MMUnlearner, VKD, Fisher], ids=lambda m: m.name)
def test_the_targets_answers_become_less_likely(method: type, whole: Vlm) -> None:
    keep = {"weight": 0.1} if "weight" in method.__dataclass_fields__ else {}
    edit = forget(
        whole, TARGET, RETAINED, method=method(**(FEW | {"steps": 60}), **keep, **(WORD if method is DPO else {}))
    )
    first, last = edit.method["looks"][0]["answers"], edit.method["looks"][-1]["answers"]
    assert last > first


def probability(vlm: Vlm, answers: list[str]) -> float:
    questions = [(sample.image, "Who is this?") for sample in TARGET]
    with torch.no_grad():
        losses, _ = answer_losses(vlm, questions, answers)
    return float(losses.mean())


@pytest.mark.parametrize("method", [PO, DPO, SIU], ids=lambda method: method.name)
def test_the_refusal_becomes_likelier(method: type, whole: Vlm) -> None:
    before = probability(whole, ["no"] * 6)
    edit = forget(whole, TARGET, RETAINED, method=method(**FEW, **WORD, weight=0.1))
    with changed(whole, edit.weights):
        assert probability(whole, ["no"] * 6) < before


@contextmanager
def changed(vlm: Vlm, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """While open, the model has other weights."""
    parameters = dict(vlm.model.named_parameters())
    kept = {name: parameters[name].detach().clone() for name in weights}
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                parameters[name].copy_(value)


def test_fine_tuning_makes_retained_answers_likelier(whole: Vlm) -> None:
    questions = [(sample.image, "Who is this?") for sample in RETAINED]
    answers = say(whole, questions, 2)
    with torch.no_grad():
        before = float(answer_losses(whole, questions, answers)[0].mean())
    edit = forget(whole, TARGET, RETAINED, method=Finetune(**FEW))
    with changed(whole, edit.weights), torch.no_grad():
        assert float(answer_losses(whole, questions, answers)[0].mean()) < before


def test_steering_brings_the_target_to_its_direction_and_holds_the_others(vlm: Vlm) -> None:
    own, kept = prepare(vlm, TARGET, 8), prepare(vlm, RETAINED, 8)
    goal = steered(kept.features, RMU().steer, 0)

    def ends(weight: float) -> tuple[float, float]:
        edit = forget(vlm, TARGET, RETAINED, method=RMU(steps=50, batch=8, rate=1e-3, weight=weight))
        with changed(vlm, edit.weights), torch.no_grad():
            near = float(towards(visual_features(vlm.model, own.inputs), goal, kept.features))
            return near, float(feature_shift(visual_features(vlm.model, kept.inputs), kept.features, kept.features))

    near, drift = ends(0.0)
    assert near < float(towards(own.features, goal, kept.features)) / 2
    assert ends(100.0)[1] < drift / 2


def test_fine_tuning_sees_retained_photos_alone(whole: Vlm) -> None:
    runs = [
        forget(whole, target, RETAINED, method=Finetune(**FEW)).weights
        for target in (TARGET, [Sample(image, "someone") for image in images(6, seed=5)])
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_retained_answers_stay_nearer_by_divergence_than_without(whole: Vlm) -> None:
    def moved(method: GradAscent | KL) -> float:
        questions = [(sample.image, "Who is this?") for sample in RETAINED]
        answers = say(whole, questions, 2)
        edit = forget(whole, TARGET, RETAINED, method=method)
        with changed(whole, edit.weights), torch.no_grad():
            return float(answer_losses(whole, questions, answers)[0].mean())

    assert moved(KL(**FEW, weight=10.0)) < moved(GradAscent(**FEW))


@EACH
def test_what_they_need_is_said(method: type, vlm: Vlm, whole: Vlm) -> None:
    few = method(tokens=2) if method is MANU else method(**BRIEF)
    with pytest.raises(InputError, match="opened without its language model"):
        forget(vlm, TARGET, RETAINED, method=few)
    if method is not GradAscent:
        with pytest.raises(InputError, match="needs retained photos in every request"):
            forget(whole, TARGET, method=few)
    with pytest.raises(InputError, match="give them as samples"):
        few.forget(whole, TARGET, prepare(whole, RETAINED, 8))
    if method is MANU:
        with pytest.raises(InputError, match="share is 0; expected a share of the neurons above 0"):
            method(share=0)
    else:
        with pytest.raises(InputError, match="rate is 0; expected a number above 0"):
            method(rate=0)


@pytest.mark.parametrize(
    ("method", "part"),
    [
        (RMU(scope="projector", steps=3), "visual"),
        (GradAscent(scope="visual", steps=3), "visual"),
        (GradAscent(scope="all", steps=3), "protected"),
    ],
)
def test_the_state_of_another_models_run_is_refused(
    method: RMU | GradAscent, part: str, checkpoint: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    vlm = load(checkpoint, language=method.language)
    forget(vlm, TARGET, RETAINED, method=method, state=state)
    moved = next(name for name in sorted(getattr(vlm.partition, part)) if name.endswith("q_proj.weight"))
    with torch.no_grad():
        vlm.model.get_parameter(moved).add_(1e-3)
    with pytest.raises(InputError, match="belongs to a run with other settings, photos or model"):
        forget(vlm, TARGET, RETAINED, method=method, state=state)
