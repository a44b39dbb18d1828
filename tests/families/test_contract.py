"""What unsee promises of every family, on tiny random models saved in the layout of each.

Every picture of a request has another size; nothing here needs a network or torchvision.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import zoo
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel

import unsee
from unsee.data.views import LARGEST, shrunk
from unsee.evaluation.asking import AT_ONCE, answer_probabilities, generate
from unsee.forgetting.edit import Edit
from unsee.methods import NSCVF
from unsee.models.answers import answer_log_probabilities, say
from unsee.models.checkpoint import Vlm, _renamed, load, unused
from unsee.models.features import Features, visual_features
from unsee.models.given import changed_features, readable
from unsee.models.inputs import chat_inputs, enough, image_inputs, tokens_vary
from unsee.models.outline import outline
from unsee.models.prefix import prefix, prefix_states
from unsee.models.shards import differences, headers, shards
from unsee.records import Sample
from unsee.testing import images, stored

QUICK = NSCVF(steps=2, batch=2, views=1, composites=2, share=1.0, most_drift=10.0)
SIZES = ((60, 60), (90, 45), (45, 90))
QUESTION = "who is this?"
# Where the picture enters the language model of families that have no `get_image_features` of their own.
BORDERS = {
    "mllama": "model.multi_modal_projector",
    "idefics": "model.perceiver_resampler",
    "kosmos-2": "image_to_text_projection",
    "instructblip": "vision_model",
    "instructblip_opt": "vision_model",
    "instructblip_t5": "vision_model",
}
every_family = pytest.mark.parametrize("name", zoo.FAMILIES)

# Answers of these are written by a part of the model, or are read in another way than they are written.
TOKEN_BY_TOKEN = (
    "blip-2",
    "instructblip",
    "florence2",
    "kosmos-2",
    "instructblip_opt",
    "instructblip_t5",
)
# Earlier blocks of these are read beside the last one, or they have no list of blocks.
WITHOUT_PREFIX = ("qwen3_vl", "qwen3_vl_moe", "mllama", "vipllava", "florence2")


def samples(concept: str, seed: int) -> list[Sample]:
    return [Sample(zoo.picture(seed + number, *size), concept) for number, size in enumerate(SIZES)]


TARGET = samples("target", 10)
RETAINED = [sample for number in range(3) for sample in samples(f"other {number}", 20 + 10 * number)]
PICTURES = [sample.image for sample in TARGET[:2]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's checkpoint in many files; to be read only."""
    root = tmp_path_factory.mktemp("families")
    return cache(lambda name: zoo.saved(name, root / name))


def chat(vlm: Vlm, model: PreTrainedModel) -> dict[str, Tensor]:
    """Inputs of a question about each of two pictures of different sizes."""
    inputs = chat_inputs(vlm, [(picture, QUESTION) for picture in PICTURES])
    if model.config.get_text_config().is_encoder_decoder or getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = torch.zeros(2, 1, dtype=torch.int64)
    return inputs


def logits(vlm: Vlm, model: PreTrainedModel) -> Tensor:
    return model(**chat(vlm, model)).logits


def cut(value: Any) -> Any:
    """The same value without its gradient, however deep the tensors lie."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        for key in list(value):
            value[key] = cut(value[key])
        return value
    if isinstance(value, list | tuple):
        return type(value)(cut(item) for item in value)
    return value


@contextmanager
def border_closed(name: str, model: PreTrainedModel) -> Iterator[None]:
    """While open, no gradient passes from the language model into the visual part."""
    with ExitStack() as stack:
        if name in BORDERS:
            hook = model.get_submodule(BORDERS[name]).register_forward_hook(lambda _, __, output: cut(output))
            stack.callback(hook.remove)
        else:
            original = model.base_model.get_image_features
            stack.enter_context(
                patch.object(model.base_model, "get_image_features", lambda *a, **k: cut(original(*a, **k)))
            )
        yield


def connected(total: Tensor, parameters: dict[str, Tensor]) -> set[str]:
    """The parameters on the way to `total`, even those whose gradient happens to be zero."""
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True, retain_graph=True)
    return {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}


def reached(total: Tensor, parameters: dict[str, Tensor]) -> set[str]:
    if not total.requires_grad:
        return set()
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True, retain_graph=True)
    return {n for n, g in zip(parameters, gradients, strict=True) if g is not None and g.abs().sum() > 0}


def first(vlm: Vlm) -> dict[str, Tensor]:
    return image_inputs(vlm.processor, PICTURES[1:])[0]


@pytest.mark.parametrize("sizes", [((60, 60),) * 3, ((60, 60), (90, 40), (40, 100))], ids=["alike", "mixed"])
@every_family
def test_a_prefix_leaves_the_features_as_they_are(
    name: str, sizes: Sequence[tuple[int, int]], saved: Callable[[str], Path]
) -> None:
    """Whatever the family, the sizes, and the first trained layer: there is none, or nothing changes by it."""
    vlm = load(saved(name))
    inputs = image_inputs(vlm.processor, [zoo.picture(seed, *size) for seed, size in enumerate(sizes)])
    expected = visual_features(vlm.model, inputs)
    layers, some = outline(vlm.outline, vlm.partition, inputs[0]).trained, False
    inner = [layer for layer in layers if prefix(vlm.model, layer) is not None]
    for layer in (*layers[:: max(1, len(layers) // 4)], *inner[-1:]):
        found = prefix_states(vlm.model, layer, inputs, 2)
        if found is not None:
            some = True
            with found[0].given(found[0].joined(found[1])):
                features = visual_features(vlm.model, inputs)
            for crossing, value in expected.values.items():
                torch.testing.assert_close(features.values[crossing], value, rtol=1e-3, atol=1e-4)
        again = visual_features(vlm.model, inputs)
        assert all(torch.equal(again.values[crossing], value) for crossing, value in expected.values.items())
    padded = name == "idefics2" and len(set(sizes)) > 1  # to the largest photo of a batch
    assert some == (name not in WITHOUT_PREFIX and not padded)


@pytest.mark.parametrize("name", ["llava_next", "qwen2_5_vl", "mistral3", "internvl"])
def test_images_of_different_sizes_have_a_prefix(name: str, saved: Callable[[str], Path]) -> None:
    """Tiles, patches in one row, and one row of all images: what comes before does not run again for any of them."""
    vlm = load(saved(name))
    sizes = [(60, 60), (90, 40), (40, 100), (60, 60)]
    inputs = image_inputs(vlm.processor, [zoo.picture(seed, *size) for seed, size in enumerate(sizes)])
    layers = outline(vlm.outline, vlm.partition, inputs[0]).trained
    last = next(layer for layer in reversed(layers) if prefix(vlm.model, layer) is not None)
    found = prefix_states(vlm.model, last, inputs, 2)
    assert found is not None
    known, states = found
    order = [2, 0, 3, 1]
    expected = visual_features(vlm.model, [inputs[place] for place in order])
    blank = [{n: torch.zeros_like(v) if v.is_floating_point() else v for n, v in i.items()} for i in inputs]
    with known.given(known.joined([states[place] for place in order])):
        again = visual_features(vlm.model, [blank[place] for place in order])
    for crossing, value in expected.values.items():
        torch.testing.assert_close(again.values[crossing], value, rtol=1e-3, atol=1e-4)


@every_family
def test_the_partition_and_the_crossings_are_complete(name: str, saved: Callable[[str], Path]) -> None:
    vlm = load(saved(name), language=True)
    model, visual = vlm.model, set(vlm.partition.visual)
    trained = {f"{layer}.weight" for layer in outline(vlm.outline, vlm.partition, first(vlm)).trained}
    assert trained <= visual
    assert visual.isdisjoint(vlm.partition.protected)
    assert visual | set(vlm.partition.protected) == {name for name, _ in model.named_parameters()}
    assert not unused(vlm.outline, headers(vlm.folder)), "a stored tensor has no place in the model"
    model.requires_grad_(True)
    parameters = dict(model.named_parameters())
    features = visual_features(model, image_inputs(vlm.processor, PICTURES))
    # Weighted sums: a plain one is blind to what a normalisation takes away again.
    total = torch.stack([(value * torch.rand_like(value)).sum() for value in features.values.values()]).sum()
    seen = reached(total, parameters)
    assert seen <= visual, "the features depend on parameters that are not visual"
    assert trained <= connected(total, parameters) <= visual, "a trained layer does not reach the features"
    model.requires_grad_(False)
    for weight in trained:
        parameters[weight].requires_grad_(True)
    weights = {key: parameters[key] for key in trained}
    assert connected(logits(vlm, model).sum(), weights) == trained, "a trained layer does not reach the answer"
    with border_closed(name, model):
        assert not logits(vlm, model).requires_grad, "something trained reaches the answer beside the crossings"


@every_family
def test_the_visual_part_alone_gives_the_features_of_the_whole(name: str, saved: Callable[[str], Path]) -> None:
    alone, whole = load(saved(name)), load(saved(name), language=True)
    parameters = dict(alone.model.named_parameters())
    assert all(parameters[key].is_meta for key in alone.partition.protected)
    inputs = image_inputs(alone.processor, PICTURES)
    with torch.no_grad():
        found, expected = visual_features(alone.model, inputs), visual_features(whole.model, inputs)
        for key, value in expected.values.items():
            assert torch.equal(found.values[key], value)
            for number, image in enumerate(inputs):
                count = int(found.counts[key][number])
                one = visual_features(alone.model, [image])
                assert int(one.counts[key][0]) == count
                torch.testing.assert_close(one.values[key][0], value[number, :count], rtol=1e-6, atol=1e-6)
    assert outline(alone.outline, alone.partition, inputs[1]) == outline(whole.model, whole.partition, inputs[1])


def forgotten(folder: Path, out: Path) -> Edit:
    edit = unsee.forget(load(folder), TARGET, RETAINED, method=QUICK, ask="never")
    edit.save(out, keep_anyway=True, link=True)
    return edit


@every_family
def test_a_request_changes_what_it_declares_and_nothing_else(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    source, out = saved(name), tmp_path / "out"
    weights = forgotten(source, out).weights
    before, after, vlm = stored(source), stored(out), load(source)
    compared, different = differences(source, out, vlm.stored)
    assert compared > 0
    assert not different
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    kept = dict(vlm.model.named_parameters())
    declared = {key for key, value in weights.items() if not torch.equal(value, kept[key])}
    assert declared, "nothing was edited"
    assert set(_renamed(vlm.outline, moved).values()) == declared, "other tensors on disk changed than the declared"
    for file in shards(source):
        holds = any(vlm.stored[key].file == file for key in moved)
        assert file.samefile(out / file.name) != holds
    whole = load(source, language=True).model
    with torch.no_grad():
        for key, value in weights.items():
            dict(whole.named_parameters())[key].copy_(value)
        reopened = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).eval()
        expected = dict(whole.named_parameters())
        assert all(torch.equal(value, expected[key]) for key, value in reopened.named_parameters())
        # All weights are equal bit for bit; at other addresses, matrix products may round the last bits differently.
        torch.testing.assert_close(logits(vlm, reopened), logits(vlm, whole), rtol=1e-5, atol=1e-5)


VARYING = ("llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl", "glm4v")
VARYING += ("gemma4", "granite4_vision", "video_llama_3", "paddleocr_vl", "mistral3")


@pytest.mark.parametrize("name", VARYING)
def test_photos_of_all_sizes_are_forgotten_and_kept(name: str, saved: Callable[[str], Path]) -> None:
    """In families that make more tokens of a larger photo."""
    vlm, sizes = load(saved(name)), ((60, 60), (200, 150), (90, 120), (120, 45))
    assert tokens_vary(vlm.processor)
    target, *others = (
        [Sample(zoo.picture(10 * seed + place, *size), f"{seed}") for place, size in enumerate(sizes)]
        for seed in range(4)
    )
    edit = unsee.forget(vlm, target, [photo for own in others for photo in own], method=QUICK, ask="never")
    assert any(not torch.equal(value, dict(vlm.model.named_parameters())[key]) for key, value in edit.weights.items())


@every_family
def test_questions_are_answered_alike_in_a_batch_and_alone(name: str, saved: Callable[[str], Path]) -> None:
    vlm = load(saved(name), language=True)
    asked = [Sample(picture, "x", text, "a person") for picture in PICTURES for text in (QUESTION, "what is it?")]
    together = generate(vlm, asked)
    assert together == [generate(vlm, [one])[0] for one in asked]
    shares = answer_probabilities(vlm, asked)
    assert all(0 < share <= 1 for share in shares)
    torch.testing.assert_close(shares, [answer_probabilities(vlm, [one])[0] for one in asked], rtol=1e-3, atol=1e-6)


@every_family
def test_a_right_answer_is_as_likely_at_once_as_token_by_token(name: str, saved: Callable[[str], Path]) -> None:
    """The first time it is generated, and at once afterwards where that is the same; not where what is read is."""
    vlm = load(saved(name), language=True)
    answers = ("a person", "no", "this is a person")
    asked = [Sample(p, "x", QUESTION, answer) for p, answer in zip([*PICTURES, *PICTURES], answers, strict=False)]
    slowly = answer_probabilities(vlm, asked)
    at_once = list(AT_ONCE[vlm.model].values())
    assert at_once == [name not in TOKEN_BY_TOKEN]
    torch.testing.assert_close(answer_probabilities(vlm, asked), slowly, rtol=1e-3, atol=1e-7)
    questions = [(sample.image, QUESTION) for sample in asked]
    with torch.no_grad():
        logs, ids, _ = answer_log_probabilities(vlm, questions, answers)  # what baselines and attacks train on
    own = [len(vlm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in answers]
    likely = logs.gather(-1, ids[..., None])[..., 0]
    trained = [float(row[:count].mean().exp()) for row, count in zip(likely, own, strict=True)]
    torch.testing.assert_close(trained, slowly, rtol=1e-3, atol=1e-7)


@every_family
def test_a_photo_is_not_made_smaller_than_the_processor_uses_it(name: str, saved: Callable[[str], Path]) -> None:
    """Variations are made of smaller photos, so that the processor must make as much of these."""
    processor = load(saved(name)).processor
    photo = images(1)[0].resize((1800, 1200))
    side = enough(processor, photo, LARGEST)
    (whole,), (less,) = (image_inputs(processor, [shrunk(photo, most)]) for most in (LARGEST, side))
    assert {key: value.shape for key, value in whole.items()} == {key: value.shape for key, value in less.items()}
    assert side < LARGEST or name in VARYING


@pytest.mark.slow
@every_family
def test_in_one_file_and_bfloat16_and_to_the_same_bits_twice(name: str, tmp_path: Path) -> None:
    source = zoo.saved(name, tmp_path / "source", largest="1GB", dtype=torch.bfloat16)
    (file,) = shards(source)
    edit, _ = (forgotten(source, tmp_path / run) for run in ("one", "two"))
    assert 0 < edit.method["rounding_share"] < 1
    one, two, before = stored(tmp_path / "one"), stored(tmp_path / "two"), stored(source)
    assert file.stat().st_size == (tmp_path / "one" / file.name).stat().st_size
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert {key: value.dtype for key, value in one.items()} == {key: value.dtype for key, value in before.items()}
    assert any(not torch.equal(one[key], before[key]) for key in one)
    assert differences(source, tmp_path / "one", load(source).stored)[1] == []
    reopened = dict(AutoModelForImageTextToText.from_pretrained(tmp_path / "one").named_parameters())
    for key, value in edit.weights.items():
        assert reopened[key].dtype == value.dtype == torch.bfloat16
        assert torch.equal(reopened[key], value)


@every_family
@torch.no_grad()
def test_features_of_our_own_go_where_the_models_own_go(name, saved):
    vlm = load(saved(name), language=True)
    if not readable(vlm.model):
        assert name in BORDERS
        return
    images, inputs = image_inputs(vlm.processor, PICTURES), chat(vlm, vlm.model)
    plain = vlm.model(**inputs).logits
    with changed_features(vlm.model, images, lambda features: features):
        assert torch.equal(vlm.model(**inputs).logits, plain)
    with changed_features(vlm.model, images, lambda features: features):
        said = say(vlm, [(picture, QUESTION) for picture in PICTURES], 3)
    assert said == say(vlm, [(picture, QUESTION) for picture in PICTURES], 3)

    def moved(features: Features) -> Features:
        return Features({name: value + value.std() for name, value in features.values.items()}, features.counts)

    with changed_features(vlm.model, images, moved):
        assert (vlm.model(**inputs).logits - plain).abs().max() > 0
    assert torch.equal(vlm.model(**inputs).logits, plain)
    with changed_features(vlm.model, images, lambda features: features):
        said = say(vlm, [(picture, QUESTION) for picture in PICTURES], 3)
    assert said == say(vlm, [(picture, QUESTION) for picture in PICTURES], 3)


@every_family
def test_a_request_that_asks_the_model_comes_to_a_verdict(name, saved):
    """Whatever the family: where its answers cannot be followed back, images are described without them."""
    with patch.object(NSCVF, "attempts", lambda self, **_: [self]):  # another may describe them otherwise
        edit = unsee.forget(load(saved(name)), TARGET, RETAINED, method=QUICK)
    assert edit.verdict.question
    assert edit.method["description"].endswith("directions") or name in (*BORDERS, "florence2")
