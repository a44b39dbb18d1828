"""Whom does a session's guard give away? A stream of single requests, and an attacker who has the session's folder.

    python scripts/guard_leak.py --folder SOMEWHERE --seeds 0,1,2 --requests 20

The attacker takes the model, the session's weights and its state, and other photos of a hundred people, among them
those who asked. By the guard: for each layer the guard M is compared with what a candidate's photos put into it on the
edited model, C: the cosine of M - A and C - A, A the mean of C over all candidates; the score is the mean over layers.
By the weights alone: how far the edit moved the features of the candidate's photos. Written after each of the requests
in AFTER, one line of JSON for each way: the ranks, from 1, of the people who asked, and the share of them among the
first as many. docs/continual.md has the results.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from unsee.benchmarks import personas
from unsee.benchmarks.personas import Stream
from unsee.models.checkpoint import Vlm, load
from unsee.moments.file import read_guarded
from unsee.moments.measure import prepare, retained_grams
from unsee.records import Sample
from unsee.session.creation import create
from unsee.session.ledger import STATE
from unsee.session.request import patch
from unsee.session.session import Session
from unsee.system.memory import plan

AFTER = (1, 2, 5, 10, 20)
PHOTOS = 4  # of each candidate, none of them in a request
RAW = Path(__file__).with_suffix(".jsonl")


def candidates(stream: Stream) -> dict[str, list[Sample]]:
    """Photos of everybody that no request shows."""
    found = {}
    for person, questions in stream.questions.items():
        pictures = {id(question.image): question.image for question in questions if question.image is not None}
        found[person] = [Sample(picture, person) for picture in list(pictures.values())[:PHOTOS]]
    return found


def seconds(vlm: Vlm, samples: list[Sample], layers: list[str]) -> dict[str, Tensor]:
    """Mean of h h^T of what the photos put into each layer."""
    grams = retained_grams(vlm, prepare(vlm, samples, 64).inputs, layers, plan("normal", 1))
    return {name: gram.second for name, gram in grams.items()}


def moved(base: Vlm, edited: Vlm, people: dict[str, list[Sample]]) -> dict[str, float]:
    """How far the edit moved the features of each candidate's photos."""
    found = {}
    for person, samples in people.items():
        before, after = (prepare(vlm, samples, 64).features.values for vlm in (base, edited))
        shifts = [float((after[name] - before[name]).norm() / before[name].norm()) for name in before]
        found[person] = fmean(shifts)
    return found


def likeness(session: Path, base: Vlm, edited: Vlm, people: dict[str, list[Sample]]) -> dict[str, float]:
    """How like the guard each candidate is."""
    _, guard, _ = read_guarded(session / STATE, base)
    layers = list(guard)
    own = {person: seconds(edited, samples, layers) for person, samples in people.items()}
    found: dict[str, list[float]] = {person: [] for person in people}
    for layer in layers:
        mean = torch.stack([each[layer] for each in own.values()]).mean(0)
        kept = guard[layer].second - mean
        for person, each in own.items():
            off = each[layer] - mean
            found[person].append(float((kept * off).sum() / (kept.norm() * off.norm())))
    return {person: fmean(values) for person, values in found.items()}


def main() -> None:
    """Runs the streams; a line for each of AFTER goes to the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for the sessions; goes on where it stopped")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--requests", type=int, default=20)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        stream = personas.stream("stream", seed, photos=2 * PHOTOS)
        people, folder = candidates(stream), options.folder / str(seed)
        if not folder.exists():
            create(folder, stream.model, stream.retained, seed=seed)
        for number, (_, samples) in enumerate(stream.requests[: options.requests], 1):
            session = Session(folder)
            if len(session.standing()) >= number:
                continue
            session.forget(samples, f"r{number}", retain=stream.retained, ask="never", keep_anyway=True)
            if number not in AFTER:
                continue
            base, edited = load(stream.model), load(stream.model)
            patch(edited, Session(folder).weights())
            asked = [person for person, _ in stream.requests[:number]]
            ways = {"guard": likeness(folder, base, edited, people), "weights": moved(base, edited, people)}
            for by, found in ways.items():
                order = sorted(found, key=lambda person: -found[person])
                ranks = sorted(order.index(person) + 1 for person in asked)
                first = sum(rank <= number for rank in ranks) / number
                row = {"seed": seed, "requests": number, "by": by, "candidates": len(order), "ranks": ranks}
                print(json.dumps(row | {"among_first": first}), flush=True)
                with RAW.open("a") as file:
                    file.write(json.dumps(row | {"among_first": first}) + "\n")


if __name__ == "__main__":
    main()
