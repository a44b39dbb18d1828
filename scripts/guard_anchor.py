"""The anchored guard beside the one that saw the change of a request alone: single requests one after the other.

    python scripts/guard_anchor.py --requests 6 --steps 150 --seeds 0 --out scripts/guard_anchor.jsonl

People of forget_15, who are not those of the stream; settings of `session init`, with fewer steps and photos, so that
what is compared is the two guards and nothing else. Asked is after the last request alone. A line that is there is not
made again; a session that was cut off goes on.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unsee.benchmarks import personas
from unsee.benchmarks.personas import Stream
from unsee.evaluation.asking import generate
from unsee.evaluation.hearing import with_weights
from unsee.methods import NSCVF
from unsee.models.checkpoint import load
from unsee.moments.records import Moments
from unsee.session.creation import create
from unsee.session.session import Session
from unsee.session.settings import GUARD
from unsee.session.state import State

PHOTOS, NEVER = 4, 24  # of each person to be kept; people never asked about who are asked about at the end
VARIANTS = ("anchored", "unanchored")


def unanchored(state: State, weight: float) -> Moments:
    """The moments with the guard as it was before: it sees the change of the present request alone."""
    return replace(ANCHORED(state, weight), anchors={})


ANCHORED = State.confining


def scores(stream: Stream, requests: int, weights: dict[str, torch.Tensor]) -> dict[str, float]:
    """Recognition and names of the forgotten, and recognition of some who never asked."""
    whole = load(stream.model, language=True)
    found: dict[str, list[bool]] = {}
    forgotten = [person for person, _ in stream.requests[:requests]]
    with with_weights(whole, weights):
        for group, people in (("forgotten", forgotten), ("never", stream.never[:NEVER])):
            asked = [q for person in people for q in stream.questions[person] if q.score == "recognition"]
            for question, said in zip(asked, generate(whole, asked), strict=True):
                right = said == question.answer
                found.setdefault(f"recognition/{group}", []).append(right)
                if question.answer == question.concept:
                    found.setdefault(f"named/{group}", []).append(right)
    return {name: round(sum(right) / len(right), 4) for name, right in found.items()}


def run(stream: Stream, variant: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Makes the requests of one session, and measures it after the last."""
    folder, counts, retained = options.work / f"{variant}_{seed}", dict[str, int](), []
    for sample in stream.retained:
        counts[sample.concept] = counts.get(sample.concept, 0) + 1
        if counts[sample.concept] <= PHOTOS:
            retained.append(sample)
    if not folder.exists():
        create(folder, stream.model, retained, method=NSCVF(steps=options.steps), seed=seed, guard=GUARD)
    State.confining = ANCHORED if variant == "anchored" else unanchored  # type: ignore[method-assign]
    started, sizes = time.monotonic(), list[float]()
    for number, (_, photos) in enumerate(stream.requests[: options.requests]):
        session = Session(folder)
        if len(session.standing()) <= number:
            session.forget(photos, f"r{number}", retain=retained, ask="never", keep_anyway=True)
        sizes.append(round((folder / "state.safetensors").stat().st_size / 1e6, 3))
        print(f"{variant}, seed {seed}: {number + 1} of {options.requests}", file=sys.stderr, flush=True)
    session = Session(folder)
    base = session.base()
    state, weights = session._state(base), session.weights()
    leak = {
        name: anchor.shift(weights[f"{name}.weight"], gram) / max(anchor.energy, 1e-30)
        for name, anchor in state.anchors.items()
        for gram in [state.guard[state.retained.first[name]]]
    }
    return {
        "after": scores(stream, options.requests, weights),
        "leak_mean": sum(leak.values()) / len(leak),
        "leak_most": max(leak.values()),
        "state_mb": sizes,
        "s": round(time.monotonic() - started, 1),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=6)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default=",".join(VARIANTS))
    parser.add_argument("--work", type=Path, default=Path("guard-anchor"))
    parser.add_argument("--out", type=Path, default=Path("scripts/guard_anchor.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    there = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {json.dumps(line["key"], sort_keys=True) for line in there}
    for seed in map(int, options.seeds.split(",")):
        stream = personas.stream("forget_15", seed)
        for variant in ("before", *options.only.split(",")):
            key = {"variant": variant, "seed": seed, "requests": options.requests, "steps": options.steps}
            if json.dumps(key, sort_keys=True) in done:
                continue
            made = {"after": scores(stream, options.requests, {})} if variant == "before" else {}
            line = {"key": key, **(made or run(stream, variant, seed, options))}
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
