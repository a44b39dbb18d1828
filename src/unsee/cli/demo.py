"""`unsee demo`: the main job on the embedded benchmark, offline."""

import dataclasses
import time
import webbrowser
from dataclasses import dataclass, field
from pathlib import Path

from unsee import api
from unsee.benchmarks import personas
from unsee.cli.evaluate import show
from unsee.cli.parse import parse
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.telling import out, tell
from unsee.cli.written import write_result
from unsee.errors import InputError
from unsee.evaluation.evaluate import evaluate
from unsee.methods import NSCVF
from unsee.models.checkpoint import load
from unsee.records import Result
from unsee.reporting.summary import FAILED, lines, state
from unsee.system.output import refuse_existing, with_folder
from unsee.system.timing import peak_rss_mb

SHORT = {"The request": ("split", "seed"), "What is written": ("out", "open", "overwrite")}


@dataclass(frozen=True)
class Options:
    """Forget ten of a hundred fictitious people, offline, and measure it beside a model that never saw them.

    Writes result.json, report.html and the edited checkpoint. Leaves with 1 where the request did not reach its aim.

    Example:
      unsee demo --out demo --open
    """

    out: Path = Path("demo")
    """Folder to write; it must not exist."""
    split: str = personas.DEFAULT_SPLIT
    """forget_10, or reported: ten other people, on whom no setting was ever chosen."""
    seed: int = 0
    """Of everything that is random."""
    open: bool = False
    """Open the report in a browser."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""
    method: NSCVF = field(default_factory=NSCVF)


def main(args: list[str]) -> int:
    """Runs the demo; 1 where its page says failed, as it does where a check or the model's own verdict did."""
    options = parse(Options, args, "unsee demo", SHORT)
    started = time.monotonic()
    quiet()
    refuse_existing(options.out, overwrite=options.overwrite)
    bench = personas.load(options.split)
    if bench.model is None or bench.oracle is None:
        raise InputError(
            f"there is no oracle for {options.split}; choose forget_10 or reported, or make one with unsee oracle."
        )
    with noting() as note:
        edit = api.forget(
            load(bench.model),
            bench.target,
            bench.retained,
            method=options.method,
            seed=options.seed,
            tell=lambda text: tell(f"{text}."),
        )

        def fill(folder: Path) -> None:
            edit.save(folder / "checkpoint", keep_anyway=True)  # the page shows what came of it, and so does the code
            measured = evaluate(folder / "checkpoint", bench, before=bench.model, oracle=bench.oracle, progress=note)
            extra = {"total_s": round(time.monotonic() - started, 2), "peak_rss_mb": peak_rss_mb()}
            made = api.assemble(
                measured, bench, model=options.out / "checkpoint", before=bench.model, oracle=bench.oracle,
                edit=edit, timings=extra,
            )  # fmt: skip
            results.append(
                dataclasses.replace(
                    made, model={**made.model, "before": "personas base", "oracle": f"personas {options.split}"}
                )
            )
            write_result(results[0], folder)

        results: list[Result] = []
        with_folder(options.out, fill, overwrite=options.overwrite)
    show(results[0])
    page = options.out / "report.html"
    out("", f"forgot in {edit.timings['forget_s']:.0f} s; {edit.stopped}.", f"the page: {page}")
    if options.open:
        webbrowser.open(page.absolute().as_uri())
    return 1 if state(lines(results[0])) == FAILED else 0
