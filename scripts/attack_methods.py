"""Attacks on what methods made, three seeds, one model an attack's subject at a time; the table of docs/attacks.md.

.venv/bin/python scripts/attack_methods.py --out attacks-bench        # goes on where it was interrupted
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from unsee import api
from unsee.attacks import ATTACKS, Point
from unsee.benchmarks import personas
from unsee.cli.quiet import quiet
from unsee.experiments.entries import ENTRIES
from unsee.experiments.recovery import Attacked, attack, scores, subject
from unsee.models.checkpoint import load
from unsee.records import Score
from unsee.system.parallel import each

METHODS, SEEDS, PHOTOS, SPLIT = ("nscvf", "nscvf_hardened", "vkd", "grad_diff", "npo"), (0, 1, 2), 4, "forget_10"
CONTROLS = ("before", "oracle")


@dataclass(frozen=True)
class Cell:
    """A method and seed, or a control, which has seed 0."""

    method: str
    seed: int


def make(cell: Cell, out: Path, split: str) -> Cell:
    """Attacks one model and writes what each attack got."""
    quiet()
    bench = personas.load(split)
    if bench.model is None or bench.oracle is None:
        raise SystemExit(f"{split} has no oracle")
    with tempfile.TemporaryDirectory() as place:
        folder = {"before": bench.model, "oracle": bench.oracle}.get(cell.method)
        if folder is None:
            entry = ENTRIES[cell.method]
            vlm = load(bench.model, language=entry.method.language)
            edit = api.forget(vlm, bench.target, bench.retained, method=entry.method, seed=cell.seed, ask="never")
            folder = edit.save(Path(place) / "edited", keep_anyway=True)
        one = subject(folder, bench.model, bench, photos=PHOTOS, seed=0)
        made = attack(one, list(ATTACKS.values()), "before" if cell.method == "before" else "after")
    points = {name: [vars(point) for point in own] for name, own in made.points.items()}
    file = out / f"{cell.method}_{cell.seed}.json"
    file.with_suffix(".part").write_text(json.dumps({"points": points, "refused": made.refused}), encoding="utf-8")
    file.with_suffix(".part").rename(file)
    return cell


def made(out: Path, cell: Cell) -> Attacked:
    """What `make` wrote."""
    row = json.loads((out / f"{cell.method}_{cell.seed}.json").read_text(encoding="utf-8"))
    points = {name: [Point(**point) for point in own] for name, own in row["points"].items()}
    return Attacked(points, row["refused"])


def _plain(of: Attacked) -> float:
    """What a model says without an attack."""
    (point,) = of.points["projector_reload"]
    return sum(got for got, _ in point.floor.values()) / sum(count for _, count in point.floor.values())


def table(out: Path, methods: Sequence[str], seeds: Sequence[int]) -> str:
    """Recovery of each method beside the control: means over seeds; a star where every seed's excess excludes zero."""
    before, oracle = (made(out, Cell(name, 0)) for name in CONTROLS)
    found: dict[tuple[str, str], dict[str, list[Score]]] = {}
    controls: dict[tuple[str, str], float] = {}
    for method in methods:
        for seed in seeds:
            for score in scores(made(out, Cell(method, seed)), oracle, before):
                kind, _, name = score.name.partition(".")
                key = (name, score.subset)
                if kind == "control":
                    controls[key] = score.value
                elif kind in ("recovery", "excess"):
                    found.setdefault(key, {}).setdefault(f"{kind}.{method}", []).append(score)
    order = {name: number for number, name in enumerate(ATTACKS)}
    lines = ["| attack | budget | control | " + " | ".join(methods) + " |", "|---" * (len(methods) + 3) + "|"]
    known = [f"{fmean(_plain(made(out, Cell(method, seed))) for seed in seeds):.3f}" for method in methods]
    lines.append(f"| none | recognised without an attack | {_plain(oracle):.3f} | {' | '.join(known)} |")
    for (name, budget), own in sorted(found.items(), key=lambda item: order[item[0][0]]):
        values = []
        for method in methods:
            if f"recovery.{method}" not in own:  # all that differs would be put back
                values.append("")
                continue
            back = fmean(score.value for score in own[f"recovery.{method}"])
            sure = back > 0 and all(score.ci95[0] > 0 for score in own[f"excess.{method}"])
            values.append(f"{back:.3f}" + "*" * sure)
        lines.append(f"| {name} | {budget} | {controls[name, budget]:.3f} | {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    """Makes what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--split", default=SPLIT)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    methods, seeds = options.methods.split(","), [int(seed) for seed in options.seeds.split(",")]
    cells = [*(Cell(name, 0) for name in CONTROLS), *(Cell(method, seed) for seed in seeds for method in methods)]
    missing = [cell for cell in cells if not (options.out / f"{cell.method}_{cell.seed}.json").exists()]
    for cell in each(partial(make, out=options.out, split=options.split), missing, options.jobs):
        print(cell, flush=True)
    print(table(options.out, methods, seeds))


if __name__ == "__main__":
    main()
