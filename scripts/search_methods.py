"""The search for every method's settings: the same number of trials for each, on splits that are not reported.

    python scripts/search_methods.py --out search.jsonl            # every method, two processes
    python scripts/search_methods.py --only npo,vkd --out search.jsonl

Each method has TRIALS settings, written down here. All run on forget_05; the BEST by balance run on forget_15 too, and
the one with the best mean balance over both is what `unsee bench` compares (`unsee.experiments.entries.TUNED`). Seed 0;
retained questions about every sixth test photo. A trial that is in the output already is not made again.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from unsee import api
from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import Benchmark, thinned
from unsee.errors import InputError
from unsee.evaluation.evaluate import Asked, ask, evaluate
from unsee.methods import METHODS
from unsee.models.checkpoint import load
from unsee.system.parallel import each

FIRST, SECOND = "forget_05", "forget_15"
TRIALS, BEST, EVERY = 8, 2, 6


def _grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination."""
    found: list[dict[str, Any]] = [{}]
    for name, options in values.items():
        found = [{**known, name: option} for known in found for option in options]
    return found


def _with(settings: Iterable[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [{**more, **own} for own in settings]


RATES = (1e-4, 3e-4, 1e-3, 3e-3)
WORD = "nothing"  # a refusal that the tokenizer of personas knows
SPACE: dict[str, list[dict[str, Any]]] = {
    "nscvf": _grid(reach=(1.5, 2.0, 2.5, 3.0), distill=(6.0, 12.0)),
    "closed_form": _grid(keep=(100.0, 1000.0), ridge=(0.1, 1.0), reach=(1.5, 3.0)),
    "streaming": _grid(distill=(1.0, 4.0), rate=(1e-3, 3e-3), reach=(1.5, 3.0)),
    "grad_ascent": _grid(rate=(3e-5, *RATES[:3]), steps=(20, 80)),
    "grad_diff": _grid(rate=RATES, weight=(1.0, 4.0)),
    "kl": _grid(rate=RATES, weight=(1.0, 4.0)),
    "npo": _grid(rate=RATES, weight=(1.0, 4.0)),
    "po": _with(_grid(rate=RATES, weight=(1.0, 4.0)), refusal=WORD),
    "dpo": _with(_grid(rate=RATES, weight=(1.0, 4.0)), refusal=WORD),
    "siu": _with(_grid(rate=RATES, weight=(1.0, 4.0)), refusal=WORD),
    "mmunlearner": _grid(rate=RATES, saliency=(1.0, 4.0)),
    "vkd": _grid(rate=RATES, distill=(10.0, 100.0)),
    "fisher": _grid(rate=RATES, fisher=(1e2, 1e4)),
    "manu": _grid(share=(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)),
    "rmu": _grid(rate=(1e-3, 3e-3), weight=(1.0, 10.0), steer=(1.0, 4.0)),
    "finetune": _grid(rate=RATES, steps=(40, 160)),
}

_held: dict[str, tuple[Benchmark, Asked]] = {}


def trial(one: tuple[str, dict[str, Any], str]) -> dict[str, Any]:
    """Forget, write, evaluate: a method with settings on a split."""
    name, settings, split = one
    if split not in _held:
        bench = dataclasses.replace(thinned(personas.load(split), EVERY), unknown=[])
        _held[split] = bench, ask(personas.CHECKPOINTS / "base", bench, mapped=False)
    bench, before = _held[split]
    method, started = METHODS[name](**settings), time.monotonic()
    row = {"method": name, "settings": settings, "split": split}
    try:
        edit = api.forget(
            load(personas.CHECKPOINTS / "base", language=method.language),
            bench.target,
            bench.retained,
            method=method,
            ask="never",
        )
    except InputError as error:  # a run that diverges is a trial too
        return {**row, "balance/all": 0.0, "failed": str(error)}
    with tempfile.TemporaryDirectory() as folder:
        measured = evaluate(edit.save(Path(folder) / "checkpoint", keep_anyway=True), bench, before=before)
    scores = {f"{s.name}/{s.subset}": round(s.value, 4) for s in measured.scores if s.phase == "after"}
    times = {"forget_s": edit.timings["forget_s"], "total_s": round(time.monotonic() - started, 1)}
    return {**row, **scores, **times}


def _same(row: dict[str, Any], name: str, settings: dict[str, Any], split: str) -> bool:
    return (row["method"], row["settings"], row["split"]) == (name, settings, split)


def main() -> None:
    """Makes the trials that are not in the output yet, then says what was best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SPACE))
    parser.add_argument("--out", type=Path, default=Path("search.jsonl"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = options.only.split(",")
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []

    def make(wanted: list[tuple[str, dict[str, Any], str]]) -> None:
        todo = [one for one in wanted if not any(_same(row, *one) for row in rows)]
        for row in each(trial, todo, options.jobs):
            rows.append(row)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)

    def balance(name: str, settings: dict[str, Any], *splits: str) -> float:
        found = [row["balance/all"] for split in splits for row in rows if _same(row, name, settings, split)]
        return fmean(found) if len(found) == len(splits) else 0.0

    make([(name, settings, FIRST) for name in names for settings in SPACE[name]])
    second = []
    for name in names:
        best = sorted(SPACE[name], key=lambda own, name=name: -balance(name, own, FIRST))[:BEST]
        second += [(name, settings, SECOND) for settings in best]
    make(second)
    for name in names:
        best = max(SPACE[name], key=lambda own, name=name: balance(name, own, FIRST, SECOND))
        print(f"{name}: {best}, mean balance {balance(name, best, FIRST, SECOND):.3f}")


if __name__ == "__main__":
    main()
