"""Requests as an operator makes them, on any model that knows the people of personas, one JSON line each.

    python scripts/trial.py --models MODEL --people 20,45,71 --seeds 0,1,2 --shown 25 --out scripts/trial_own.jsonl
    python scripts/trial.py --models MODEL,MODEL --splits forget_10 --seeds 0,1,2 --out scripts/trial_ladder.jsonl

With --people a request has ten photos of one person and twelve each of --shown others; with --splits it has those of
all people of a split and forty of everybody else. nscvf runs as `unsee forget` runs it; --set changes settings. Every
question of personas is asked about test photos of the people to be forgotten, of others shown, of others of whom there
was no photo, and of strangers whom no model ever saw, before and after. A line that is already there is not made again.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from unsee import api
from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.people import (
    KNOWN,
    SPLITS,
    Person,
    Shot,
    population,
    request_shots,
    strangers,
    test_shots,
    train_shots,
)
from unsee.benchmarks.personas.questions import UNKNOWN, image_questions
from unsee.benchmarks.personas.vision_remember import register
from unsee.evaluation.asking import generate
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm, load
from unsee.records import Sample
from unsee.system.device import precision_on

FEW, MANY = 12, 40  # photos of each of the others
ASKED = {"target": 12, "shown": 4, "unshown": 2, "stranger": 4}  # test photos a person that are asked about
WHO = "Who is this?"


@dataclass(frozen=True)
class Trial:
    """Who is to be forgotten, who is shown as to be kept and with how many photos, and who is not shown."""

    name: str
    target: list[Person]
    shown: list[Person]
    photos: int
    unshown: list[Person]


def of_person(index: int, shown: int) -> Trial:
    """An operator's request about one person, with photos of so many others."""
    known = list(population()[:KNOWN])
    others = [person for person in known if person.index != index]
    Random(f"trial/{index}").shuffle(others)
    return Trial(f"person {index}, {shown} shown", [known[index]], others[:shown], FEW, others[shown:])


def of_split(split: str) -> Trial:
    """A benchmark's request, with photos of everybody else."""
    known = list(population()[:KNOWN])
    hidden = set(SPLITS[split])
    others = [person for person in known if person.index not in hidden]
    return Trial(split, [known[index] for index in hidden], others, MANY, [])


def photos(shots: Sequence[Shot]) -> list[Sample]:
    return [Sample(draw(shot), shot.person.name) for shot in shots]


def questions(trial: Trial) -> list[Sample]:
    """Everything that is asked of a trial."""
    groups = {"target": trial.target, "shown": trial.shown, "unshown": trial.unshown, "stranger": strangers()}
    return [
        Sample(image, shot.person.name, q.text, q.answer, q.options, score=q.score, subset=group)
        for group, people in groups.items()
        for person in people
        for shot in test_shots(person)[: ASKED[group]]
        for image in [draw(shot)]
        for q in image_questions(shot)
    ]


def scores(whole: Vlm, asked: Sequence[Sample]) -> dict[str, float]:
    """Shares of right answers, as SCORE/SUBSET, and of photos that get another known person's name, or "unknown"."""
    found: dict[str, list[bool]] = {}
    names = {person.name for person in population()[:KNOWN]}
    for sample, said in zip(asked, generate(whole, asked), strict=True):
        found.setdefault(f"{sample.score}/{sample.subset}", []).append(said == sample.answer)
        if sample.question == WHO:
            found.setdefault(f"name/{sample.subset}", []).append(said == sample.answer)
            found.setdefault(f"misattributed/{sample.subset}", []).append(said in names - {sample.answer})
            found.setdefault(f"unknown/{sample.subset}", []).append(said == UNKNOWN)
    return {name: round(sum(right) / len(right), 4) for name, right in sorted(found.items())}


def computed(device: torch.device) -> str:
    """On what a run was made, and how the visual part ran forward."""
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return f"{place}, {precision_on(device)}"


def run(model: Path, trial: Trial, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Makes the request and measures the model before and after it."""
    vlm, whole, asked, notes = load(model), load(model, language=True), questions(trial), list[str]()
    target = photos([shot for person in trial.target for shot in request_shots(person)])
    retained = photos([shot for person in trial.shown for shot in train_shots(person)[: trial.photos]])
    before, started = scores(whole, asked), time.monotonic()
    edit = api.forget(vlm, target, retained, method=NSCVF(**settings), seed=seed, tell=notes.append)
    seconds = round(time.monotonic() - started, 1)
    parameters = dict(whole.model.named_parameters())
    with torch.no_grad():
        for name, value in edit.weights.items():
            parameters[name].copy_(value)
    verdict = edit.verdict
    return {
        "before": before,
        "after": scores(whole, asked),
        "passed": verdict.passed if verdict else None,
        "missed": verdict.missed if verdict else (),
        "verdict": verdict.sentence() if verdict else "",
        "counts": verdict.counts if verdict else {},
        "notes": notes,
        "seconds": seconds,
        "computed": computed(vlm.device),
        "stopped": edit.stopped,
        "facts": {name: value for name, value in edit.method.items() if name != "looks"},
        "looks": edit.method["looks"],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, help="checkpoint folders, with commas between")
    parser.add_argument("--people", default="", help="indices of people, one request each")
    parser.add_argument("--shown", default="25", help="how many others have photos; several with commas")
    parser.add_argument("--splits", default="", help="splits of personas, one request each")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of nscvf")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines to add to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    register()
    settings = {name: json.loads(value) for name, _, value in (part.partition("=") for part in options.set)}
    people = [int(index) for index in options.people.split(",") if index]
    trials = [of_person(index, int(shown)) for index in people for shown in options.shown.split(",")]
    trials += [of_split(split) for split in options.splits.split(",") if split]
    there = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {json.dumps(line["key"], sort_keys=True) for line in there}
    for model in map(Path, options.models.split(",")):
        for trial in trials:
            for seed in map(int, options.seeds.split(",")):
                key = {"model": str(model), "trial": trial.name, "seed": seed, "settings": settings}
                if json.dumps(key, sort_keys=True) in done:
                    continue
                line = {"key": key, **run(model, trial, seed, settings)}
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(summary(line), flush=True)


def summary(line: dict[str, Any]) -> str:
    """One run in a line: each score before and after."""
    wanted = ("recognition/target", "name/target", "misattributed/target", "scene/target", "appearance/target")
    wanted += ("recognition/shown", "recognition/unshown", "unknown/stranger")
    before, after = line["before"], line["after"]
    parts = [f"{name} {before[name]:.3f}>{after[name]:.3f}" for name in wanted if name in before]
    key, facts = line["key"], line["facts"]
    settings = " ".join(f"{name}={value}" for name, value in key["settings"].items())
    said = [
        f"{key['model']}, {key['trial']}, seed {key['seed']} {settings}: {'passed' if line['passed'] else 'FAILED'}",
        ", ".join(parts),
        f"{line['seconds']:.0f} s; {facts['description']}, ridge {facts.get('ridge_apart')}",
        f"reach {facts['region_reach']:.2f}, another's name there {facts['another_in_region']:.2f}",
        f"share {facts.get('share_of_change')}",
        line["stopped"],
        line["verdict"],
    ]
    return "; ".join(said)


if __name__ == "__main__":
    main()
