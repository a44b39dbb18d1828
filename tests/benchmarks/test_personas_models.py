"""The gates of the shipped models: they know what they should, and nothing else."""

import dataclasses

import pytest
import torch
from safetensors import safe_open
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from unsee.benchmarks import personas
from unsee.benchmarks.personas import people as census
from unsee.benchmarks.personas.people import SPLITS, population
from unsee.benchmarks.personas.questions import chance, image_questions
from unsee.benchmarks.personas.sequences import load_photos, make_layout
from unsee.benchmarks.personas.train import MODELS, RECIPES, SHIPPED, quick_scores
from unsee.evaluation.evaluate import evaluate

WITH_ORACLE = [split for split in SPLITS if personas.load(split).oracle]
EVERY = 3  # of the retained photos, to save time; the base is asked about all of them below


@pytest.fixture(scope="module", params=WITH_ORACLE)
def scores(request):
    """name/subset -> value for the base ("before") and the oracle ("after"), on one split."""
    bench = personas.load(request.param)
    photos = {key: order for order, key in enumerate(dict.fromkeys(id(q.image) for q in bench.questions))}
    kept = [q for q in bench.questions if q.subset != "retained" or photos[id(q.image)] % EVERY == 0 or q.image is None]
    people = [population()[index] for index in SPLITS[request.param]]
    asked = [q for person in people for shot in census.test_shots(person) for q in image_questions(shot)[:3]]
    found = {"before": {}, "after": {}, "chance": chance(asked)}
    bench = dataclasses.replace(bench, questions=kept, unknown=[])
    for score in evaluate(bench.oracle, bench, before=bench.model).scores:
        found[score.phase][f"{score.name}/{score.subset}"] = score.value
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_what_its_recipe_builds(name):
    """Else `unsee oracle` would train another kind of model, with other words, than the base it is compared with."""
    recipe, folder = RECIPES[MODELS[name][0]], personas.CHECKPOINTS / name
    assert recipe.processor().tokenizer.get_vocab() == LlavaProcessor.from_pretrained(folder).tokenizer.get_vocab()
    with safe_open(folder / "model.safetensors", framework="pt") as stored:
        shapes = sorted(tuple(stored.get_slice(tensor).get_shape()) for tensor in stored.keys())  # noqa: SIM118
    assert shapes == sorted(tuple(value.shape) for value in recipe.model(0).parameters())


@pytest.mark.slow
def test_the_base_knows_everyone_from_photos_it_never_saw(scores):
    base = scores["before"]
    assert base["recognition/target"] >= 0.85
    assert base["recognition/retained"] >= 0.88
    assert base["recognition/stranger"] >= 0.5
    assert base["scene/retained"] >= 0.98
    assert base["text/target"] == base["text/retained"] == 1


@pytest.mark.slow
def test_an_oracle_does_not_know_its_target_and_everything_else_as_the_base_does(scores):
    base, oracle = scores["before"], scores["after"]
    assert oracle["recognition/target"] <= scores["chance"] + 0.05
    assert oracle["recognition/target_seen"] <= scores["chance"] + 0.05
    for name in ("recognition/retained", "scene/retained", "appearance/retained", "text/retained", "text/target"):
        assert abs(oracle[name] - base[name]) <= 0.02, name


@pytest.mark.slow
def test_the_base_meets_its_gates_on_all_test_photos(tmp_path):
    processor = LlavaProcessor.from_pretrained(personas.CHECKPOINTS / "base")
    model = LlavaForConditionalGeneration.from_pretrained(personas.CHECKPOINTS / "base", dtype=torch.float32)
    photos = load_photos(processor, list(population()[: census.KNOWN]), test=True, cache=tmp_path)
    scores = quick_scores(model, make_layout(processor), photos)
    assert scores["recognition"] >= 0.9
    assert scores["scene"] >= 0.99
    assert scores["text"] == 1
