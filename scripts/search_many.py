"""Settings of nscvf for requests about many people at once, on one seed: what is the same for all is made once.

    python scripts/search_many.py --model MODEL --split forget_10 --out scripts/search_many.jsonl '{}' '{"rate": 0.02}'

Each setting is a JSON object of what differs from the defaults. For each, one line: the model's own answers about the
photos kept out, and scores on test photos, at several shares of the change, further ones too than `unsee forget` would
take. Photos, moments and goals are made anew only where a setting changes them.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from trial import ASKED, computed, of_split, photos, questions, scores

from unsee.benchmarks.personas.people import request_shots, train_shots
from unsee.benchmarks.personas.vision_remember import register
from unsee.evaluation.hearing import heard_before, with_weights
from unsee.evaluation.self_check import cost
from unsee.forgetting.feature_run import FeatureRun
from unsee.forgetting.goals import Goals, GoalSettings
from unsee.forgetting.regions import RegionSettings
from unsee.methods import NSCVF
from unsee.models.checkpoint import load, part_way, visual_parameters
from unsee.moments.measure import prepare
from unsee.system.device import compute

OF_GOALS = ("blends", "region", "reach", "views", "directions", "aside", "identity", "modes", "composites", "distill")
SHARES = (1.5, 1.35, 1.2, 1.1, 1.0)  # of a trained change


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="+", type=json.loads)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--split", default="forget_10")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines to add to")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(1)
    compute(None, options.precision)
    register()
    ASKED.update(target=12, shown=3, stranger=0)
    trial = of_split(options.split)
    vlm, whole, asked = load(options.model), load(options.model, language=True), questions(trial)
    target = photos([shot for person in trial.target for shot in request_shots(person)])
    retained = photos([shot for person in trial.shown for shot in train_shots(person)[: trial.photos]])
    asked = [sample for sample in asked if sample.subset == "target" or sample.score == "recognition"]
    before, bounds = scores(whole, asked), vlm.bounds("normal")
    hearing = heard_before(vlm, target, retained, seed=0)
    reader = hearing.reader
    every = NSCVF(runs="read", share=1.0)
    kept, known = every.known(vlm, hearing.parts.used, hearing.parts.shown, None, 0, bounds, None, reader)
    shown = prepare(vlm, hearing.parts.used, bounds.images)
    made: tuple[str, FeatureRun] | None = None
    for given in options.settings:
        settings = replace(NSCVF(runs="read"), **given).sized(len(trial.target))
        key = json.dumps({name: getattr(settings, name) for name in OF_GOALS})
        if made is None or made[0] != key:
            along = RegionSettings(settings.modes, settings.directions, settings.reach, 0, settings.aside)
            views = settings.views_of(len(shown.pictures))
            wanted = GoalSettings(settings.region, along, views, settings.blends, settings.identity)
            goals = Goals(vlm, shown, known.features, wanted, bounds.images, kept.pictures if kept else (), reader)
            made = key, FeatureRun(settings, vlm, goals, kept, known, bounds)
        run = made[1]
        run.settings, run.start, run.after, run.drifts, run.prefix = settings, {}, {}, [], None
        with run.put_back():
            logs = run.train(0, None, "search", None)
        start, line, after = visual_parameters(vlm.model, vlm.partition), dict[str, Any](), dict[str, Any]()
        for share in SHARES:
            part = {name: part_way(start[name], value, share) for name, value in run.after.items()}
            found = hearing.verdict(part, logs[-1].final)
            line[str(share)] = {"cost": round(cost(found), 3), "missed": found.missed, **found.counts}
            with with_weights(whole, part):
                after[str(share)] = scores(whole, asked)
        facts = {"model": options.model.name, "split": options.split, "settings": given}
        facts["computed"] = computed(vlm.device)
        row = {**facts, "before": before, "after": after, "heard": line, "final": logs[-1].final}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
