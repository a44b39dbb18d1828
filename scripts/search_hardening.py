"""The search for what keeps a forgotten target from coming back: settings x splits x seeds, each attacked.

    python scripts/search_hardening.py --out search_hardening.jsonl
    python scripts/search_hardening.py --only default,resist_harden --splits forget_05 --seeds 0

Each line of the output is one run, or the oracle of a split; one that is already there is not made again. Relearning
and reloads are recovery: what is right with the attack less what is right without it; probes are the share told apart.
Relearning is the mean over RELEARN draws of the attacker's photos. Retained questions are about a sixth of the photos.
Lines with "trial" in search_hardening.jsonl are of code that is not kept; docs/log.md says what each was.
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from unsee import api
from unsee.attacks import Point
from unsee.attacks.adversarial import Adversarial
from unsee.attacks.attack import Subject, Tally
from unsee.attacks.probe import Probe
from unsee.attacks.relearn import Relearn
from unsee.attacks.reload import EncoderReload, ProjectorReload
from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import Benchmark, thinned
from unsee.cli.quiet import quiet
from unsee.evaluation.evaluate import evaluate
from unsee.experiments.recovery import subject
from unsee.methods import NSCVF
from unsee.models.checkpoint import load

ALL = {"resist": 1.0, "harden": 1.0, "depths": 1.0, "share": 0.65}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "harden": {"harden": 1.0},
    "harden_share_.65": {"harden": 1.0, "share": 0.65},
    "resist": {"resist": 1.0},
    "resist_share_.65": {"resist": 1.0, "share": 0.65},
    "resist_harden": {"resist": 1.0, "harden": 1.0},
    "resist_harden_share_.65": {"resist": 1.0, "harden": 1.0, "share": 0.65},
    "resist_harden_share_.65_distill_12": {"resist": 1.0, "harden": 1.0, "share": 0.65, "distill": 12.0},
    "depths_share_.65": {"depths": 1.0, "share": 0.65},
    "resist_harden_depths_share_.65": ALL,
    "all_distill_12": {**ALL, "distill": 12.0},
    "all_distill_12_resist_3": {**ALL, "distill": 12.0, "resist": 3.0},
    "all_distill_24_tamper": {**ALL, "distill": 24.0, "tamper": 0.02},
}
PHOTOS = {"forget_05": 6, "forget_10": 4, "forget_15": 4}  # unseen ones of each person that are asked about
RELEARN, THIN, ORACLE = (0, 1), 6, "oracle"


def share(tally: Tally) -> float:
    """Of all that was asked, how much is right."""
    return sum(got for got, _ in tally.values()) / sum(count for _, count in tally.values())


def back(point: Point) -> float:
    """What an attack brings back."""
    return round(share(point.got) - share(point.floor), 4)


def attacked(one: Subject) -> dict[str, float]:
    """What each attack gets, by its name and budget."""
    drawn: dict[str, list[float]] = {}
    for seed in RELEARN:
        for point in Relearn(shares=(0.05, 0.1)).run(dataclasses.replace(one, seed=seed)):
            drawn.setdefault(f"relearn {point.budget}", []).append(back(point))
    found = {name: round(fmean(values), 4) for name, values in drawn.items()}
    for attack in (ProjectorReload(), EncoderReload(), Adversarial(eps=(8,))):
        found |= {f"{attack.name} {point.budget}": back(point) for point in attack.run(one)}
    return found | {f"probe {point.budget}": round(share(point.got), 4) for point in Probe().run(one)}


def run(name: str, bench: Benchmark, seed: int) -> dict[str, Any]:
    """One cell of the search: forget, write, evaluate, attack; of the oracle, attack."""
    if bench.model is None or bench.oracle is None:
        raise SystemExit(f"{bench.split} has no oracle")
    about: dict[str, Any] = {"settings": name, "split": bench.split, "seed": seed}
    photos = PHOTOS[bench.split]
    if name == ORACLE:
        return about | attacked(subject(bench.oracle, bench.model, bench, photos=photos, seed=0))
    with tempfile.TemporaryDirectory() as place:
        edit = api.forget(
            load(bench.model), bench.target, bench.retained, method=NSCVF(**SETTINGS[name]), seed=seed, ask="never"
        )
        folder = edit.save(Path(place) / "edited", keep_anyway=True)
        scores = evaluate(folder, thinned(bench, THIN), before=bench.model, oracle=bench.oracle).scores
        about |= {f"{score.name}/{score.subset}": round(score.value, 4) for score in scores if score.phase == "after"}
        about |= attacked(subject(folder, bench.model, bench, photos=photos, seed=0))
    return about | {"steps": edit.method["steps_made"], **edit.timings}


def cells(names: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """The oracle, then each setting with each seed."""
    return [(ORACLE, 0), *((name, seed) for seed in seeds for name in names)]


def main() -> None:
    """Runs what is asked for and is not in the output yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--splits", default="forget_05,forget_15")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("search_hardening.jsonl"))
    options = parser.parse_args()
    quiet()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {(row["settings"], row["split"], row["seed"]) for row in map(json.loads, lines)}
    for split in options.splits.split(","):
        bench = personas.load(split)
        for name, seed in cells(options.only.split(","), [int(seed) for seed in options.seeds.split(",")]):
            if (name, split, seed) in done:
                continue
            row = run(name, bench, seed)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
