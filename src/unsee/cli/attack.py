"""`unsee attack`: tries to bring the target back."""

import time
from dataclasses import dataclass
from pathlib import Path

from unsee import api
from unsee.cli.asking import asked_of, check_oracle
from unsee.cli.parse import AnswerFromFolder, Questions, QuestionsFile, SkipUnreadable, located, parse
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.table import print_checks, print_lines, print_table
from unsee.cli.telling import out, out_json
from unsee.cli.written import holds, write_result
from unsee.errors import InputError, check_ranges
from unsee.experiments.attacking import attacked, known
from unsee.models.checkpoint import place_of
from unsee.records import Result, to_json
from unsee.reporting.attempts import attempts
from unsee.system.output import refuse_existing, with_folder
from unsee.system.timing import peak_rss_mb

SHORT = {
    "Models": ("model", "before", "oracle"),
    "What is asked": ("target", "retain", "benchmark"),
    "Attacks": ("attacks",),
    "What is written": ("out", "require", "json", "overwrite"),
}


@dataclass(frozen=True)
class Options:
    """Attack an edited model, and the oracle in the same way: what the attack itself teaches is not recovered.

    Writes result.json and report.html. recovery.ATTACK is what the attack gets beyond what the model says without it
    (of a probe or of membership inference: beyond a guess), control.ATTACK the same of the oracle, excess.ATTACK their
    difference.

    Example:
      unsee attack --model out/alice --before checkpoints/my-vlm --target photos/alice --out attacked
    """

    model: str
    """The checkpoint folder to attack."""
    out: Path
    """Folder to write result.json and report.html to; it must not exist."""
    benchmark: str | None = None
    """NAME or NAME/SPLIT, as when the request was made."""
    target: Path | None = None
    """Photos of what is to be forgotten, instead of a benchmark; those of the request are known by their hashes."""
    retain: Path | None = None
    """Photos of what is to be kept."""
    question: Questions = ()
    answer_from_folder: AnswerFromFolder = False
    skip_unreadable: SkipUnreadable = False
    questions: QuestionsFile = None
    data: str | None = None
    """Where a published benchmark is: its folder, or hf://OWNER/NAME; its own on the hub where none is given."""
    before: str | None = None
    """The checkpoint before the request; the benchmark's own where it has one."""
    oracle: str | None = None
    """A checkpoint that never saw the target; the benchmark's own where it has one."""
    attacks: str = "all"
    """Names with commas; see `unsee ls attacks`. all: those that can be made here; what cannot is said."""
    photos: int = 4
    """Unseen photos of each of the target's concepts that are asked about."""
    seed: int = 0
    """Of the photos that an attacker has, and of noise."""
    hub: bool = False
    """Take what is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoints bring along."""
    require: bool = False
    """Leave with 1 where nothing was forgotten, an attack brings back more than its control, or a check fails."""
    json: bool = False
    """Print result.json instead of a table."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""


def main(args: list[str]) -> int:
    """Attacks the model, the oracle and the model before."""
    options = located(parse(Options, args, "unsee attack", SHORT))
    started = time.monotonic()
    names = None if options.attacks == "all" else options.attacks.split(",")
    if names is not None:
        known(names)
    check_ranges(options, at_least_1=("photos",))
    models = (options.model, options.before, options.oracle)
    reads = (*models, options.benchmark, options.target, options.retain, options.questions)
    refuse_existing(options.out, overwrite=options.overwrite, reads=reads)
    quiet()
    check_oracle(options.model, options.before, options.oracle)
    bench, record = asked_of(options, options.data)
    before = options.before or (None if bench.model is None else str(bench.model))
    oracle = options.oracle or (None if bench.oracle is None else str(bench.oracle))
    if before is None:
        raise InputError("there is no model to compare with; name the checkpoint before the request with --before.")
    for place in (before, oracle):
        if place is not None:
            place_of(place)  # what is missing is said before the work
    with noting():
        measured = attacked(
            options.model,
            bench,
            before,
            oracle,
            names,
            photos=options.photos,
            seed=options.seed,
            trust_remote_code=options.trust_remote_code,
        )
    extra = {"total_s": round(time.monotonic() - started, 2), "peak_rss_mb": peak_rss_mb()}
    result = api.assemble(measured, bench, model=options.model, before=before, oracle=oracle, timings=extra)
    result = api.with_record(result, record)
    with_folder(options.out, lambda folder: write_result(result, folder), overwrite=options.overwrite)
    if options.json:
        out_json(to_json(result))
    else:
        _show(result)
        out("", str(options.out / "result.json"), str(options.out / "report.html"))
    return 1 if options.require and not holds(result) else 0


def _show(result: Result) -> None:
    """One line for each attack and budget; a star where recovery is above control, the interval excluding zero."""
    rows = []
    for one in attempts(result):
        control, excess = one.scores.get("oracle"), one.excess
        rows.append(
            {
                "attack": f"{one.attack}: {one.budget}",
                "n": str(one.scores["after"].n),
                "got": f"{result.value(f'attacked.{one.attack}', one.budget, 'after') or 0.0:.3f}",
                "recovery": f"{one.scores['after'].value:.3f}",
                "control": "" if control is None else f"{control.value:.3f}",
                "excess": "" if excess is None else f"{excess.value:.3f}" + "*" * one.sure,
                "95 %": "" if excess is None else "{:.3f} to {:.3f}".format(*excess.ci95),
            }
        )
    print_table(rows)
    print_checks(result.checks)
    print_lines(result)
