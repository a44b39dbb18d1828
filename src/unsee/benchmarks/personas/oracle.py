"""A model that never saw a split's people: trained like the base without their photos, and checked against it."""

from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from unsee.benchmarks.personas.people import KNOWN, SPLITS, population, test_shots
from unsee.benchmarks.personas.questions import chance, image_questions
from unsee.benchmarks.personas.sequences import DrawnPhotos, load_photos, make_layout, restrict
from unsee.benchmarks.personas.train import SCORES, quick_scores
from unsee.records import Check

ABOVE_CHANCE, NEAR = 0.05, 0.02  # how far recognition of the target may be above chance, and all else from the base


def name(split: str) -> str:
    """What the oracle of a split is called: retain_10 for forget_10, retain_stream for stream."""
    return f"retain_{split.removeprefix('forget_')}"


def check(folder: Path, base: Path, split: str, work: Path) -> list[Check]:
    """Whether a model knows the split's people no better than by chance, and all else as the base does.

    On all test photos, by the most likely answer tokens; `work` keeps the drawn photos.
    """
    processor = LlavaProcessor.from_pretrained(base)
    photos = load_photos(processor, list(population()[:KNOWN]), test=True, cache=work)
    hidden = list(SPLITS[split])
    sides = {
        "target": restrict(photos, hidden),
        "retained": restrict(photos, [number for number in range(KNOWN) if number not in hidden]),
    }
    found = {model: _scores(processor, model, sides) for model in (folder, base)}
    asked = [q for number in hidden for shot in test_shots(population()[number]) for q in image_questions(shot)]
    most = chance([question for question in asked if question.score == "recognition"]) + ABOVE_CHANCE
    known = found[folder]["recognition/target"]
    checks = [Check("recognition/target", known <= most, f"{known:.3f}, at most {most:.3f}")]
    for score in (f"{score}/{side}" for side in sides for score in SCORES):
        if score in ("recognition/target", "scene/target", "appearance/target"):
            continue  # it may well read a face worse that it never saw
        own, other = found[folder][score], found[base][score]
        checks.append(Check(score, abs(own - other) <= NEAR, f"{own:.3f}, the base {other:.3f}"))
    return checks


def _scores(processor: LlavaProcessor, folder: Path, sides: dict[str, DrawnPhotos]) -> dict[str, float]:
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    layout = make_layout(processor)
    return {
        f"{score}/{side}": value
        for side, photos in sides.items()
        for score, value in quick_scores(model, layout, photos).items()
    }
