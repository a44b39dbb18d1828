"""`unsee oracle`: a model that never saw the target, trained and checked."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unsee.cli.parse import parse
from unsee.cli.quiet import quiet
from unsee.cli.table import print_checks
from unsee.errors import InputError, unknown
from unsee.system.output import refuse_existing, with_folder


@dataclass(frozen=True)
class Options:
    """Train a benchmark's model again without the photos of a split's people, and check that it does not know them.

    What is written about them by name stays in the training. About 50 minutes of one core, or three of a large GPU; a
    training that was cut off goes on from --work. Leaves with 1 where the model is no oracle: it knows the target
    better than by chance, or the rest otherwise than the benchmark's model does.

    Example:
      unsee oracle --benchmark personas --split forget_10 --out oracle
    """

    out: Path
    """Folder to write the checkpoint to; it must not exist."""
    split: str = "forget_10"
    """Whose photos are left out."""
    benchmark: str = "personas"
    """The only one whose model can be trained here."""
    seed: int = 0
    """Of the weights at first and of the order of photos; the benchmark's model has 0."""
    work: Path = Path("personas-training")
    """Where drawn photos and unfinished trainings are kept."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""


def main(args: list[str]) -> int:
    """Trains and checks; 1 where a check failed."""
    options = parse(Options, args, "unsee oracle")
    if options.benchmark != "personas":
        raise unknown("benchmark whose model can be trained", options.benchmark, ("personas",))
    quiet()
    from unsee.benchmarks.personas import CHECKPOINTS, oracle
    from unsee.benchmarks.personas.people import SPLITS

    if options.split not in SPLITS:
        raise unknown("split of personas", options.split, SPLITS)
    refuse_existing(options.out, overwrite=options.overwrite, reads=(options.work,))
    try:
        options.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{options.work} cannot be made ({error.strerror}); name another place with --work."
        ) from error
    name = f"{oracle.name(options.split)}_{options.seed}"
    with_folder(
        options.out,
        partial(_fill, name, options),
        overwrite=options.overwrite,
    )
    checks = oracle.check(options.out, CHECKPOINTS / "base", options.split, options.work)
    print_checks(checks)
    return 0 if all(check.passed for check in checks) else 1


def _fill(name: str, options: Options, folder: Path) -> None:
    from unsee.benchmarks.personas.train import train
    from unsee.forgetting.edit import write_record
    from unsee.system.device import chosen

    train(name, options.split, options.work, folder, seed=options.seed, device=chosen())
    write_record(None, folder, {"oracle": f"{options.benchmark}/{options.split}", "seed": options.seed})
