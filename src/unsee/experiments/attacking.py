"""Attacks on an edited model beside the model before and an oracle, as one result."""

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from unsee import api
from unsee.attacks import ATTACKS
from unsee.benchmarks.benchmark import Benchmark
from unsee.data import Images
from unsee.errors import InputError, check_kind, check_seed, unknown
from unsee.evaluation.evaluate import Evaluation, language_model_unchanged, model_facts
from unsee.experiments import recovery
from unsee.forgetting.edit import read_record
from unsee.models.checkpoint import load, place_of
from unsee.records import Result
from unsee.system.device import computes
from unsee.system.progress import visible


def known(names: Collection[str]) -> None:
    """Raises InputError for the first name that no attack has."""
    for name in names:
        if name not in ATTACKS:
            raise unknown("attack", name, ATTACKS)


@visible
@computes
def attack(
    model: Path | str,
    *,
    before: Path | str | None = None,
    oracle: Path | str | None = None,
    benchmark: Benchmark | str | None = None,
    target: Images | None = None,
    retain: Images | None = None,
    questions: str | Sequence[str] = (),
    answer_from_folder: bool = False,
    attacks: Sequence[str] | None = None,
    photos: int = 4,
    seed: int = 0,
    trust_remote_code: bool = False,
    device: str | None = None,  # noqa: ARG001 # what the decorator takes
    precision: str | None = None,  # noqa: ARG001
) -> Result:
    """Tries to bring back what an edited checkpoint has forgotten, and tries the same on the oracle if there is one.

    `before` is the checkpoint before the request, `oracle` one that never saw the target; a benchmark may have both of
    its own. What is asked is as for `unsee.evaluate`, about `photos` unseen photos of each of the target's concepts.
    `attacks` are names that `unsee ls attacks` shows; without them, all that can be made. The scores are described in
    `experiments.recovery`. `device` and `precision` are as for `unsee.forget`.

    Raises InputError where there is nothing to ask, no model before, or no attack of that name.
    """
    if attacks is not None:
        check_kind("attacks", attacks, (list, tuple), "a list of names")
        known(attacks)
    seed = check_seed(seed)
    bench = api.asked(
        model, benchmark, target, retain, questions, before,
        by_name=answer_from_folder, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    first, never = before or bench.model, oracle or bench.oracle
    if first is None:
        raise InputError("there is no model to compare with; give the checkpoint before the request as before.")
    measured = attacked(
        model, bench, first, never, attacks, photos=photos, seed=seed, trust_remote_code=trust_remote_code
    )
    made = api.assemble(measured, bench, model=model, before=first, oracle=never)
    return api.with_record(made, api.about(read_record(place_of(model)), bench.target))


def attacked(
    model: Path | str,
    bench: Benchmark,
    before: Path | str,
    oracle: Path | str | None,
    names: Sequence[str] | None,
    *,
    photos: int,
    seed: int,
    trust_remote_code: bool,
) -> Evaluation:
    """Makes the attacks on the model, the oracle and the model before, one after the other.

    One of those named that cannot be made is a check that failed; without names all that can be made are.
    """
    started = time.monotonic()
    attacks = [ATTACKS[name] for name in dict.fromkeys(ATTACKS if names is None else names)]
    vlm = load(model, trust_remote_code=trust_remote_code)
    first = load(before, trust_remote_code=trust_remote_code)
    sides = {"after": vlm.folder, "oracle": oracle and place_of(oracle), "before": first.folder}
    made = {
        phase: recovery.attack(
            recovery.subject(
                folder, first.folder, bench, photos=photos, seed=seed, trust_remote_code=trust_remote_code
            ),
            attacks,
            phase,
        )
        for phase, folder in sides.items()
        if folder
    }
    return Evaluation(
        scores=recovery.scores(made["after"], made.get("oracle"), made["before"]),
        outcomes={},
        checks=[
            language_model_unchanged(first, vlm.folder),
            *(recovery.checks(made["after"]) if names is not None else ()),
        ],
        examples=[],
        feature_map=[],
        model=model_facts(vlm, first),
        seconds=time.monotonic() - started,
        not_made={} if names is not None else dict(made["after"].refused),
    )
