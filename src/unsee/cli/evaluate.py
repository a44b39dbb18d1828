"""`unsee evaluate`: scores of a model, beside the model before and an oracle."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unsee import api, benchmarks
from unsee.benchmarks.benchmark import Benchmark, limited
from unsee.cli.asking import asked_of, check_oracle
from unsee.cli.parse import AnswerFromFolder, Questions, QuestionsFile, SkipUnreadable, located, parse
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.table import print_checks, print_lines, print_table
from unsee.cli.telling import out, out_json, trace
from unsee.cli.written import holds, write_result
from unsee.errors import check_ranges
from unsee.evaluation.asking import labelled
from unsee.evaluation.evaluate import evaluate
from unsee.evaluation.judging import LocalJudge
from unsee.evaluation.lmms import ability, harness
from unsee.evaluation.own import write_answers
from unsee.models.checkpoint import Vlm, load, place_of
from unsee.records import PHASES, Result, Score, to_json
from unsee.system.output import ANSWERS, refuse_existing, with_folder
from unsee.system.processes import first

SHORT = {
    "Models": ("model", "before", "oracle"),
    "What is asked": ("target", "retain", "questions", "benchmark"),
    "What is written": ("out", "require", "json", "overwrite"),
}


@dataclass(frozen=True)
class Options:
    """Score a model on a benchmark, or on photos and questions of your own, and write result.json and report.html.

    Example:
      unsee evaluate --model out/alice --before checkpoints/my-vlm --target photos/alice --out scores
      unsee evaluate --model out/alice --before checkpoints/my-vlm --benchmark personas/forget_10 --out scores
    """

    model: str
    """The checkpoint folder to score."""
    out: Path
    """Folder to write result.json and report.html to; it must not exist."""
    benchmark: str | None = None
    """NAME or NAME/SPLIT (see `unsee ls benchmarks`), or a JSONL file with questions and answers."""
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
    protocol: Literal["zero-shot", "official"] = "zero-shot"
    """How a published benchmark is asked: soundly, or with the prompts, parsing and sums of its own code."""
    bugs: str = ""
    """Mistakes of the official code to make as well, as a comma list (docs/benchmarks.md), or all."""
    before: str | None = None
    """The checkpoint before the request."""
    oracle: str | None = None
    """A checkpoint that never saw the target; the benchmark's own where it has one and --before is given."""
    judge: Path | None = None
    """Folder of a language model that grades answers in own words."""
    lmms_eval: str = ""
    """Tasks of lmms-eval, as a comma list, for what the model can do beside the benchmark; needs lmms-eval."""
    lmms_include: Path | None = None
    """Folder of further tasks for lmms-eval."""
    lmms_limit: int | None = None
    """Most samples of each task of lmms-eval."""
    limit: int | None = None
    """Most questions of each score and subset that are asked, for a first look; the result says so."""
    show_labels: int = 0
    """Print the tokens of so many questions first, and which of them count in the answer's probability."""
    hub: bool = False
    """Take what is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoints bring along."""
    require: bool = False
    """Leave with 1 where a check fails, the page says failed, or a bar of it is missed."""
    json: bool = False
    """Print result.json instead of a table."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""


def main(args: list[str]) -> int:
    """Scores one model."""
    options = located(parse(Options, args, "unsee evaluate", SHORT))
    if options.limit is not None:
        check_ranges(options, at_least_1=("limit",))
    quiet()
    models = (options.model, options.before, options.oracle, options.judge)
    reads = (*models, options.benchmark, options.target, options.retain, options.questions)
    refuse_existing(options.out, overwrite=options.overwrite, reads=reads)
    check_oracle(options.model, options.before, options.oracle)
    for name in (options.before, options.oracle):
        if name is not None:
            place_of(name)  # what is missing is said before models are asked
    judge = None if options.judge is None else LocalJudge(options.judge)
    if options.lmms_eval:
        harness()  # what is missing is said before models are asked
    bench, record = _asked(options)
    oracle = options.oracle
    if oracle is None and options.before is not None and bench.oracle is not None:
        oracle = str(bench.oracle)
    if options.show_labels > 0:
        show_labels(load(options.model, trust_remote_code=options.trust_remote_code), bench, options.show_labels)
    with noting() as note:
        measured = evaluate(
            options.model,
            bench,
            before=options.before,
            oracle=oracle,
            judge=judge,
            trust_remote_code=options.trust_remote_code,
            progress=note,
        )
        measured = replace(measured, scores=[*measured.scores, *_ability(options)])
    if not first():
        return 0
    result = api.with_record(
        api.assemble(measured, bench, model=options.model, before=options.before, oracle=oracle), record
    )

    def fill(folder: Path) -> None:
        write_result(result, folder)
        write_answers(bench.questions, measured.answers, folder / ANSWERS)

    with_folder(options.out, fill, overwrite=options.overwrite)
    if options.json:
        out_json(to_json(result))
    else:
        show(result)
        out("", str(options.out / "result.json"), str(options.out / "report.html"))
    return 1 if options.require and not holds(result) else 0


def _asked(options: Options) -> tuple[Benchmark, dict[str, Any]]:
    bugs = tuple(filter(None, options.bugs.split(",")))
    if bugs == ("all",):
        bugs = tuple(benchmarks.OFFICIAL.get((options.benchmark or "").partition("/")[0], ()))
    bench, record = asked_of(options, options.data, official=options.protocol == "official", bugs=bugs)
    return bench if options.limit is None else limited(bench, options.limit), record


def _ability(options: Options) -> list[Score]:
    """What lmms-eval says of the model before, where there is one, and of the model."""
    tasks, models = list(filter(None, options.lmms_eval.split(","))), {"before": options.before, "after": options.model}
    return [
        score
        for phase, model in models.items()
        if tasks and model is not None
        for score in ability(
            model,
            tasks,
            phase,
            include=options.lmms_include,
            limit=options.lmms_limit,
            trust_remote_code=options.trust_remote_code,
        )
    ]


def show_labels(vlm: Vlm, bench: Benchmark, count: int) -> None:
    """Prints questions token by token; those that carry a loss stand in brackets, repeated ones are counted."""
    trace("tokens in [brackets] carry the loss and make up the answer's probability")
    for sample in bench.questions[:count]:
        runs: list[tuple[str, int]] = []
        for token, counts in labelled(vlm, sample):
            text = f"[{token}]" if counts else token
            runs = [*runs[:-1], (text, runs[-1][1] + 1)] if runs and runs[-1][0] == text else [*runs, (text, 1)]
        words = " ".join(text if times == 1 else f"{text} x{times}" for text, times in runs)
        trace(f"{sample.score}/{sample.subset}: {words}")


def show(result: Result) -> None:
    """Prints the table of scores and the checks."""
    rows: dict[str, dict[str, str]] = {}
    phases = {score.phase for score in result.scores}
    for score in result.scores:
        name = f"{score.name}/{score.subset}"
        row = rows.setdefault(name, {"score": name, **dict.fromkeys((p for p in PHASES if p in phases), "")})
        low, high = (f"{end:.2f}".removeprefix("0") for end in score.ci95)
        row[score.phase] = f"{score.value:.3f}" + (f" {low}-{high}" if score.n else "")
    print_table(list(rows.values()), title="scores and their intervals of 95 %")
    print_checks(result.checks)
    print_lines(result)
