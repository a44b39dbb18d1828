"""A stream of requests through a session, measured after each: what stays forgotten, and what is lost beside it."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from unsee.benchmarks.personas import Stream
from unsee.evaluation.asking import generate
from unsee.methods import NPO, NSCVF, ClosedForm, GradDiff, Method, Streaming
from unsee.metrics.accuracy import exact_match
from unsee.models.checkpoint import Vlm, load, visual_parameters
from unsee.models.weights import assign
from unsee.session.creation import create
from unsee.session.ledger import STATE
from unsee.session.session import Session
from unsee.session.settings import GUARD

Told = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """A method as it is run through a stream.

    `images`: the retained images are at hand in every request. So many requests are settled `together`.
    """

    method: Method
    guard: float = GUARD
    images: bool = True
    together: int = 1


CLOSED = ClosedForm(region="concept", aside=0, views=80)
VARIANTS: dict[str, Variant] = {
    "nscvf": Variant(NSCVF()),
    "nscvf_fives": Variant(NSCVF(), together=5),
    "nscvf_no_guard": Variant(NSCVF(), guard=0.0),
    "nscvf_no_null_space": Variant(NSCVF(null_space=False)),
    "nscvf_moments": Variant(NSCVF(), images=False),
    "streaming": Variant(Streaming(views=80), images=False),
    "grad_diff": Variant(GradDiff()),
    "npo": Variant(NPO()),
    "closed_form": Variant(CLOSED, images=False),
    "closed_form_no_guard": Variant(CLOSED, guard=0.0, images=False),
}


@dataclass(frozen=True)
class StreamRow:
    """The scores after `request` requests, 0 for before the first; recognition in [0, 1], NaN where nobody is meant."""

    variant: str
    seed: int
    request: int
    forgotten: float
    """Recognition, mean over everybody forgotten so far."""
    named: float
    """Of these people, the share of photos that still get their name: recognition without jobs and cities, which a
    wrong person often shares."""
    last: float
    """Of the person whose request was the last."""
    first: float
    """Of the person whose request was the first."""
    waiting: float
    """Of people whose request is still to come."""
    never: float
    """Of people that no request is about."""
    scene: float
    """Scene questions about everybody."""
    text: float
    """Questions by name alone about everybody."""
    seconds: float
    """That the request took."""
    state_mb: float
    """Size of the session's state."""
    drift: float
    """Largest retained drift of a layer since the beginning."""


def run(
    stream: Stream, name: str, seed: int, out: Path, told: Told, *, requests: int | None = None, every: int = 1
) -> list[StreamRow]:
    """Runs a variant through a stream; one line of `out`/NAME_SEED.jsonl for each request. Goes on where it stopped.

    Requests are made as `unsee session` makes them, and stand whatever their verdict. The model is measured after
    `every` so many of them, and after the last.
    """
    variant = VARIANTS[name]
    folder, file, secret = (out / f"{name}_{seed}{ending}" for ending in ("", ".jsonl", ".secret"))
    vlm = load(stream.model, language=True)
    rows = [StreamRow(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    if not folder.exists():
        secret.write_bytes(secrets.token_bytes(32))
        create(
            folder, stream.model, stream.retained, method=variant.method, seed=seed, guard=variant.guard,
            secret_file=secret,
        )  # fmt: skip
    asked, done = stream.requests[:requests], {row.request for row in rows}
    for number in range(len(asked) + 1):
        last = number == len(asked)
        if number in done or (number % variant.together and not last):
            continue
        seconds, drift = 0.0, {"": 0.0}
        with Session(folder, secret_file=secret) as session:
            if number:
                seconds, drift = _made(session, variant, stream, number)
            if number % every and not last:
                continue
            assign(visual_parameters(vlm.model, vlm.partition), session.weights())
            size = (folder / STATE).stat().st_size / 1e6
        measured = {"seconds": seconds, "state_mb": size, "drift": max(drift.values()), **_ask(vlm, stream, number)}
        rows.append(StreamRow(name, seed, number, **measured))
        with file.open("a") as handle:
            handle.write(json.dumps(asdict(rows[-1])) + "\n")
        told(f"{name}, seed {seed}: {number}/{len(asked)}, recognition of the forgotten {rows[-1].forgotten:.3f}")
    return rows


def _made(session: Session, variant: Variant, stream: Stream, number: int) -> tuple[float, dict[str, float]]:
    """Makes requests until so many stand; the seconds of the last, and the drift of each layer after it.

    They stand already where a run was cut off before it measured them.
    """
    given: dict[str, Any] = {"retain": stream.retained if variant.images else None, "keep_anyway": True}
    while (there := len(session.standing())) < number:
        if variant.together == 1:
            session.forget(stream.requests[there][1], f"r{there + 1}", **given)
            continue
        for place in range(there + len(session.queued()), number):
            session.later(stream.requests[place][1], f"r{place + 1}")
        session.settle(**given)
    made = json.loads((session.folder / "certificates" / f"r{number}.json").read_text())
    return made["seconds"], made["drift"]


def _ask(vlm: Vlm, stream: Stream, number: int) -> dict[str, float]:
    people = [person for person, _ in stream.requests]
    everybody = [*people, *stream.never]
    samples = [replace(question, subset=person) for person in everybody for question in stream.questions[person]]
    said = generate(vlm, samples)
    right: dict[tuple[str, str], list[bool]] = {}
    for sample, text in zip(samples, said, strict=True):
        correct = exact_match(text, sample.answer)
        right.setdefault((sample.score, sample.subset), []).append(correct)
        if sample.score == "recognition" and sample.answer == sample.concept:
            right.setdefault(("named", sample.subset), []).append(correct)

    def mean(score: str, who: Sequence[str]) -> float:
        values = [value for person in who for value in right.get((score, person), [])]
        return sum(values) / len(values) if values else float("nan")

    return {
        "forgotten": mean("recognition", people[:number]),
        "named": mean("named", people[:number]),
        "last": mean("recognition", people[number - 1 : number]),
        "first": mean("recognition", people[:1] if number else []),
        "waiting": mean("recognition", people[number:]),
        "never": mean("recognition", stream.never),
        "scene": mean("scene", everybody),
        "text": mean("text", everybody),
    }


def table(rows: Sequence[StreamRow]) -> list[dict[str, Any]]:
    """The last row of each variant and seed, with what it was before the first request."""
    found = []
    for variant, seed in dict.fromkeys((row.variant, row.seed) for row in rows):
        own = [row for row in rows if (row.variant, row.seed) == (variant, seed)]
        found.append({**asdict(own[-1]), "never_before": own[0].never, "scene_before": own[0].scene})
    return found
