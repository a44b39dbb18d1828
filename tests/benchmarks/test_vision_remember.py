"""The model that re-reads the image: it knows the people, and all it sees of them passes the crossings."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from unsee import api
from unsee.benchmarks.personas import people as census
from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.questions import image_questions
from unsee.evaluation.asking import generate
from unsee.methods import NSCVF
from unsee.metrics.accuracy import exact_match
from unsee.models.checkpoint import Vlm, load
from unsee.models.features import visual_features
from unsee.models.inputs import chat_inputs, image_inputs
from unsee.models.outline import outline
from unsee.records import Sample
from unsee.testing import vision_remember


@pytest.fixture(scope="module")
def vlm() -> Vlm:
    return load(vision_remember(), language=True)


@pytest.fixture(scope="module")
def questions() -> list[Sample]:
    """Who, job and city of 25 people, from one photo of each that nobody trained on."""
    asked = []
    for person in census.population()[: census.KNOWN : 4]:
        shot = census.test_shots(person)[0]
        asked += [Sample(draw(shot), person.name, q.text, q.answer) for q in image_questions(shot)[:3]]
    return asked


def known(vlm: Vlm, questions: list[Sample]) -> float:
    said = generate(vlm, questions)
    return sum(exact_match(text, q.answer) for text, q in zip(said, questions, strict=True)) / len(questions)


def mean(value: Tensor | tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """The mean image in place of every image."""
    stacked = torch.stack(list(value))
    return list(stacked.mean(0, keepdim=True).expand_as(stacked))


def test_it_did_know_the_people(vlm: Vlm, questions: list[Sample]) -> None:
    assert known(vlm, questions) >= 0.95


def test_answers_are_alike_in_a_batch_and_alone(vlm: Vlm, questions: list[Sample]) -> None:
    some = questions[:6]
    assert generate(vlm, some) == [generate(vlm, [sample])[0] for sample in some]


def test_the_crossings_are_the_projector_and_both_depths(vlm: Vlm) -> None:
    assert list(vlm.partition.groups) == ["model.vision_tower", "model.multi_modal_projector", "model.memory_projector"]
    rereading = [name for name, _ in vlm.model.named_parameters() if ".reread." in name]
    assert rereading
    assert set(rereading) <= set(vlm.partition.protected)
    image = image_inputs(vlm.processor, [draw(census.test_shots(census.population()[0])[0])])[0]
    expected = {"projector": (16, 128), "deepstack_0": (64, 128), "deepstack_1": (64, 128)}
    assert outline(vlm.outline, vlm.partition, image).crossings == expected
    values = visual_features(vlm.model, [image]).values
    assert {name: tuple(value.shape[1:]) for name, value in values.items()} == expected


def test_one_crossing_alone_trains_what_leads_to_it(vlm: Vlm) -> None:
    image = image_inputs(vlm.processor, [draw(census.test_shots(census.population()[0])[0])])[0]
    trained = outline(vlm.outline, vlm.partition, image, ["projector"]).trained
    assert trained
    assert not any("memory_projector" in name for name in trained)
    deep = outline(vlm.outline, vlm.partition, image, ["deepstack_0"]).trained
    assert 0 < len(deep) < len(trained)
    assert not any("multi_modal_projector" in name for name in deep)


def test_a_share_of_the_layers_leaves_no_crossing_out(vlm: Vlm) -> None:
    photos = [
        Sample(draw(shot), person.name) for person in census.population()[:3] for shot in census.test_shots(person)
    ]
    few = NSCVF(steps=1, batch=2, views=0, composites=0, share=0.1)
    edit = api.forget(vlm, photos[:4], photos[12:], method=few, ask="never")
    image = image_inputs(vlm.processor, [photos[0].image])[0]
    assert {layer.name for layer in edit.layers} == set(outline(vlm.outline, vlm.partition, image).trained)


def test_the_image_reaches_the_answer_through_the_crossings_alone(vlm: Vlm) -> None:
    picture = draw(census.test_shots(census.population()[0])[0])
    inputs, base = chat_inputs(vlm, [(picture, "Who is this?")]), vlm.model.base_model
    original = base.get_image_features

    def cut(*args: object, **kwargs: object) -> object:
        output = original(*args, **kwargs)
        output.pooler_output = [value.detach() for value in output.pooler_output]
        output.deepstack_features = [torch.stack(list(level)).detach() for level in output.deepstack_features]
        return output

    parameters = dict(vlm.model.named_parameters())
    try:
        for name in vlm.partition.visual:
            parameters[name].requires_grad_(True)
        assert vlm.model(**inputs).logits.requires_grad
        with patch.object(base, "get_image_features", cut):
            assert not vlm.model(**inputs).logits.requires_grad
    finally:
        vlm.model.requires_grad_(False)


def test_the_decoder_reads_who_it_is_from_the_memory(vlm: Vlm, questions: list[Sample]) -> None:
    base = vlm.model.base_model
    original = base.get_image_features

    def known_with(projector: bool, memory: bool) -> float:
        def hidden(*args: object, **kwargs: object) -> object:
            output = original(*args, **kwargs)
            if projector:
                output.pooler_output = mean(output.pooler_output)
            if memory:
                output.deepstack_features = [torch.stack(mean(level)) for level in output.deepstack_features]
            return output

        with patch.object(base, "get_image_features", hidden):
            return known(vlm, questions)

    assert known_with(False, False) >= 0.95
    assert known_with(True, True) <= 0.1
    assert known_with(False, True) <= 0.15  # the projector's output says little ...
    assert known_with(True, False) >= 0.9  # ... of what the memory says alone


def test_it_names_whoever_is_in_the_memory_not_whoever_passes_the_projector(vlm: Vlm, questions: list[Sample]) -> None:
    asked = questions[::3]  # who, of one photo each, in one batch
    right = [sample.answer for sample in asked]
    base = vlm.model.base_model
    original = base.get_image_features

    def named(projector: bool, memory: bool) -> tuple[float, float]:
        """Share of photos answered with who is on them, and with who is on the next one, whose features are taken."""

        def swapped(*args: object, **kwargs: object) -> object:
            output = original(*args, **kwargs)
            assert len(output.pooler_output) == len(asked)
            if projector:
                output.pooler_output = list(torch.stack(list(output.pooler_output)).roll(-1, 0))
            if memory:
                output.deepstack_features = [torch.stack(list(d)).roll(-1, 0) for d in output.deepstack_features]
            return output

        with patch.object(base, "get_image_features", swapped):
            said = generate(vlm, asked)
        own = [exact_match(text, answer) for text, answer in zip(said, right, strict=True)]
        other = [exact_match(text, answer) for text, answer in zip(said, right[1:] + right[:1], strict=True)]
        return sum(own) / len(own), sum(other) / len(other)

    own, other = named(projector=True, memory=False)
    assert own >= 0.9
    assert other <= 0.1
    own, other = named(projector=False, memory=True)
    assert own <= 0.1
    assert other >= 0.9
