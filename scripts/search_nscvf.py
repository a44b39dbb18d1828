"""The search for NSCVF's defaults: settings x splits x seeds, measured on the splits that are not reported.

    python scripts/search_nscvf.py --out search.jsonl
    python scripts/search_nscvf.py --only default,no_null_space --splits forget_05 --seeds 0

Each line of the output is one run; a run that is already there is not made again. What the lines of past searches
said stands in docs/log.md. Retained recognition is asked on a third of the retained test photos, to save time.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from unsee import api
from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import Benchmark
from unsee.evaluation.evaluate import evaluate
from unsee.methods import NSCVF
from unsee.models.checkpoint import load

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "no_contrast": {"contrast": 0.0},
    "no_null_space": {"null_space": False},
    "neither": {"contrast": 0.0, "null_space": False},
    "no_identity": {"identity": 0.0},
    "no_retained_images": {"distill": 0.0},
    "hard_kaiser": {"criterion": "kaiser", "keep": 0.99},
    "hard_energy": {"criterion": "energy", "keep": 0.99},
    "ridge_0.1": {"ridge": 0.1},
    "ridge_0.001": {"ridge": 0.001},
    "reach_2": {"reach": 2.0},
    "reach_3": {"reach": 3.0},
    "directions_6": {"directions": 6},
    "directions_24": {"directions": 24},
    "region_nearest": {"region": "nearest"},
    "region_neighbours": {"region": "neighbours"},
    "region_mean": {"region": "mean"},
    "region_random": {"region": "random"},
    "distill_3": {"distill": 3.0},
    "distill_10": {"distill": 10.0},
    "all_layers": {"share": 1.0},
    "projector": {"share": 0.05},
    "blends": {"blends": 1600},
    "farther": {"reach": 3.0, "distill": 12.0},
    "views_0": {"views": 0},
    "views_800": {"views": 800},
    "views_6400": {"views": 6400},
    "region_concept": {"region": "concept"},
    "aside_0": {"aside": 0},
    "steps_200": {"steps": 200},
    "contrast_1": {"contrast": 1.0},
    "runs_0": {"runs": 0},
    "runs_4": {"runs": 4},
    "runs_16": {"runs": 16},
}


def few_questions(bench: Benchmark, every: int = 3) -> Benchmark:
    """The benchmark with every third retained photo's questions, and all questions about the target."""
    kept, images = [], {}
    for question in bench.questions:
        number = images.setdefault(id(question.image), len(images))
        if question.subset != "retained" or number % every == 0:
            kept.append(question)
    return dataclasses.replace(bench, questions=kept, unknown=[])


def run(name: str, bench: Benchmark, seed: int) -> dict[str, Any]:
    """One cell of the search: forget, write, evaluate."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        edit = api.forget(
            load(personas.CHECKPOINTS / "base"),
            bench.target,
            bench.retained,
            method=NSCVF(**SETTINGS[name]),
            seed=seed,
            ask="never",
        )
        edit.save(Path(folder) / "checkpoint", keep_anyway=True)
        measured = evaluate(Path(folder) / "checkpoint", bench)
    scores = {f"{score.name}/{score.subset}": round(score.value, 4) for score in measured.scores}
    facts = {"stopped": edit.stopped, **edit.timings, "total_s": round(time.monotonic() - started, 1)}
    return {"settings": name, "split": bench.split, "seed": seed, **scores, **facts}


def main() -> None:
    """Runs what is asked for and is not in the output yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--splits", default="forget_05,forget_15")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("search.jsonl"))
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {(row["settings"], row["split"], row["seed"]) for row in map(json.loads, lines)}
    for split in options.splits.split(","):
        bench = few_questions(personas.load(split))
        for seed in map(int, options.seeds.split(",")):
            for name in options.only.split(","):
                if (name, split, seed) in done:
                    continue
                row = run(name, bench, seed)
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
