"""Requests without retained photos: what is forgotten and what is kept, from moments alone and with public photos.

    python scripts/without_photos.py --split forget_10 --seeds 0,1,2 --only moments,public,none --out FILE.jsonl

Each line is one request about all people of a split, made as `unsee forget --moments` makes it, beside the same scores
before it and of the oracle. `none` is the method without what holds it, `outputs` with the penalty on the outputs of
layers alone, `drawn` with drawn states alone, `moments` the default, `public` with photos of people without a name.
A line that is there is not made again; moments are kept in --work.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unsee import api, benchmarks
from unsee.benchmarks.benchmark import Benchmark, thinned
from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.people import nameless, train_shots
from unsee.evaluation.asking import generate
from unsee.evaluation.described import described
from unsee.evaluation.hearing import with_weights
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm, load
from unsee.moments.file import read, save
from unsee.moments.measure import measure
from unsee.records import Sample
from unsee.system.memory import plan

SETTINGS: dict[str, dict[str, Any]] = {
    "none": {"hold": 0.0, "replay": 0.0},
    "outputs": {"replay": 0.0},
    "drawn": {"hold": 0.0},
    "moments": {},
    "public": {},
}
PEOPLE, PHOTOS = 100, 8  # without a name, whose photos are the public ones
SCORES = ("recognition",)


def public() -> list[Sample]:
    """Photos of people whom the request does not need to keep."""
    return [Sample(draw(shot), "someone") for person in nameless()[:PEOPLE] for shot in train_shots(person)[:PHOTOS]]


def asked(bench: Benchmark, every: int) -> list[Sample]:
    """What is asked: of retained photos every so-manieth, of the target's all that nobody saw."""
    return [
        question
        for question in thinned(bench, every).questions
        if question.image is not None and question.subset in ("target", "retained") and question.score in SCORES
    ]


def scores(whole: Vlm, questions: Sequence[Sample]) -> dict[str, float]:
    """Shares of right answers, as SCORE/SUBSET."""
    found: dict[str, list[bool]] = {}
    for question, said in zip(questions, generate(whole, questions), strict=True):
        found.setdefault(f"{question.score}/{question.subset}", []).append(said == question.answer)
    return {name: round(sum(right) / len(right), 4) for name, right in sorted(found.items())}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="forget_10")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--every", type=int, default=12, help="ask about every so-manieth retained photo")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of nscvf")
    parser.add_argument(
        "--ask", default="auto", help="of moments: what the model is asked of retained photos, or never"
    )
    parser.add_argument("--work", type=Path, default=Path("without-photos"))
    parser.add_argument("--out", type=Path, default=Path("scripts/without_photos.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    given = {name: json.loads(value) for name, _, value in (part.partition("=") for part in options.set)}
    there = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {json.dumps(line["key"], sort_keys=True) for line in there}
    bench = benchmarks.load(f"personas/{options.split}")
    if bench.model is None:
        raise SystemExit(f"there is no model for {options.split}")
    vlm, whole, questions = load(bench.model), load(bench.model, language=True), asked(bench, options.every)

    def keep(key: dict[str, Any], facts: dict[str, Any]) -> None:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **facts}) + "\n")
        print(json.dumps({"key": key, **facts})[:600], flush=True)

    for name, model in (("before", bench.model), ("oracle", bench.oracle)):
        key = {"split": options.split, "every": options.every, "variant": name}
        if model is not None and json.dumps(key, sort_keys=True) not in done:
            keep(key, {"scores": scores(load(model, language=True), questions)})
    file = options.work / f"{options.split}.safetensors"
    if not file.exists():
        reader, unnamed = described(vlm, bench.retained, 0, options.ask)
        settings, bounds = NSCVF().moment_settings(0), plan("normal", 0)
        made, _ = measure(vlm, bench.retained, settings, bounds, reader=reader, alone=True)
        save(replace(made, unnamed=unnamed), file)
    moments = read(file, vlm)
    for seed in map(int, options.seeds.split(",")):
        for name in options.only.split(","):
            key = {"split": options.split, "every": options.every, "variant": name, "seed": seed, "set": given}
            if json.dumps(key, sort_keys=True) in done:
                continue
            method, started = replace(NSCVF(), **SETTINGS[name], **given), time.monotonic()
            shown = public() if name == "public" else None
            edit = api.forget(vlm, bench.target, None, method=method, moments=moments, public=shown, seed=seed)
            seconds = round(time.monotonic() - started, 1)
            with with_weights(whole, edit.weights):
                found = scores(whole, questions)
            facts = {each: value for each, value in edit.method.items() if each != "looks"}
            verdict = None if edit.verdict is None else edit.verdict.sentence()
            keep(key, {"scores": found, "stopped": edit.stopped, "verdict": verdict, "s": seconds, "facts": facts})


if __name__ == "__main__":
    main()
