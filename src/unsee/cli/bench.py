"""`unsee bench`: methods side by side."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from unsee import benchmarks
from unsee.cli.parse import parse
from unsee.cli.quiet import quiet
from unsee.cli.table import print_table
from unsee.cli.telling import out, out_json, trace
from unsee.errors import InputError, check_file, check_ranges, unknown
from unsee.experiments.comparison import cells, run, there
from unsee.experiments.entries import ABLATION, entry
from unsee.experiments.statistics import MethodRow, keeping, reference, rows
from unsee.methods import METHODS
from unsee.records import plain
from unsee.reporting.markdown import escaped
from unsee.reporting.page import put
from unsee.reporting.pareto import Mark, draw

INDEX = "bench.json"
SHOWN = ("recognition", "seen", "retained", "scene", "appearance", "balance", "oracle_gap", "ks_p")

SHORT = ("method", "recognition", "retained", "balance", "oracle_gap", "s", "")  # what a terminal has room for


@dataclass(frozen=True)
class Options:
    """Run methods on splits and seeds of a benchmark, and compare them with a model that never saw the target.

    Each cell is a folder METHOD/SPLIT_SEED with result.json, the right answers by person, and the log; what is there is
    not made again, and a cell that fails is reported and the others go on. The table of all cells in the folder goes to
    bench.md, forgetting against keeping to SPLIT.svg.

    Example:
      unsee bench --methods nscvf,grad_diff --splits forget_10 --seeds 0 --out bench
    """

    out: Path
    """Folder for the cells; a comparison that was cut off goes on."""
    benchmark: str = "personas"
    """personas; the published ones bring no model along and none that never saw the target."""
    methods: str = ",".join(METHODS)
    """With commas: methods, variants of them such as nscvf_no_null_space, `ablation` for all of these, or methods of
    your own as package.module:Class."""
    splits: str = "forget_10"
    """With commas."""
    seeds: str = "0"
    """With commas."""
    thin: int = 1
    """Ask about every so many retained test photos alone, to save time."""
    jobs: int = 1
    """Cells made at once; each has its share of the cores, and its own copy of the model."""
    json: bool = False
    """Print the rows as JSON."""


def main(args: list[str]) -> int:
    """Makes the cells that are not there yet and prints the table; 1 where a cell failed."""
    options = parse(Options, args, "unsee bench")
    variants = ",".join(ABLATION)
    given = ",".join(variants if name == "ablation" else name for name in options.methods.split(","))
    methods, splits = _names(given, "methods"), _names(options.splits, "splits")
    drawn = _names(options.seeds, "seeds")
    for name in methods:
        entry(name)
    try:
        seeds = [int(seed) for seed in drawn]
    except ValueError as error:
        raise InputError(f"--seeds is {options.seeds}; expected numbers with commas, as in 0,1,2.") from error
    if options.benchmark not in benchmarks.BENCHMARKS:
        raise unknown("benchmark", options.benchmark, benchmarks.BENCHMARKS)
    check_ranges(options, at_least_1=("thin", "jobs"))
    taken = _is_taken(options.out, options.benchmark, options.thin)  # said before photos are drawn
    for split in splits:
        benchmarks.load(f"{options.benchmark}/{split}")
    quiet()
    if not taken:
        options.out.mkdir(parents=True, exist_ok=True)
        put(json.dumps({"benchmark": options.benchmark, "thin": options.thin}) + "\n", options.out / INDEX)
    made = cells(options.out, methods, splits, seeds)
    run(
        made,
        options.benchmark,
        trace,
        thin=options.thin,
        jobs=options.jobs,
    )
    found, everything = rows(made), there(options.out)
    whole = rows(everything)
    put(_page(whole, options), options.out / "bench.md")
    for split in dict.fromkeys(row.split for row in whole):
        known = reference(everything, split)
        if known:
            put(draw(_points([row for row in whole if row.split == split], known), split), options.out / f"{split}.svg")
    if options.json:
        out_json(json.dumps(plain(found), indent=1, allow_nan=False))
    else:
        for split in splits:
            lines = [_cells(row) for row in found if row.split == split]
            print_table([{name: line[name] for name in SHORT} for line in lines], title=split)
        out("", f"all columns and plots: {options.out / 'bench.md'}")
    return 1 if any(row.failed for row in found) else 0


def _names(text: str, what: str) -> list[str]:
    names = text.split(",")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--{what} names {twice} twice; give each once.")
    return names


def _is_taken(out: Path, benchmark: str, thin: int) -> bool:
    """Whether the folder is that of this benchmark, asked so thinly. Raises InputError where it is another's."""
    index, own = out / INDEX, {"benchmark": benchmark, "thin": thin}
    if index.exists():
        check_file(index, "a comparison as unsee bench writes it")
        try:
            there = json.loads(index.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            there = None
        if not isinstance(there, dict):
            raise InputError(f"{index} is not as unsee bench writes it; name another folder, or take it away.")
        if there != own:
            raise InputError(
                f"{out} holds a comparison on {there.get('benchmark')} with --thin {there.get('thin')}; "
                f"name another folder for {benchmark} with --thin {thin}."
            )
        return True
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something else than a comparison; name another folder.")
    return False


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _cells(row: MethodRow) -> dict[str, str]:
    """One line of the table. A star: its balance is below the best one's, and the interval of that excludes zero."""
    if not row.seeds:
        return {
            "method": row.method,
            **dict.fromkeys((*SHOWN, "95 %", "s", "MB", "trained", "seeds"), ""),
            "": row.failed,
        }
    return {
        "method": row.method,
        **{
            name: _number(row.scores[name]) + ("*" if name == "balance" and row.behind[0] > 0 else "") for name in SHOWN
        },
        "95 %": f"{row.interval[0]:.3f} to {row.interval[1]:.3f}",
        "s": f"{row.seconds:.0f}",
        "MB": f"{row.peak_mb:.0f}",
        "trained": f"{row.trained:,}",
        "seeds": str(row.seeds),
        "": row.failed,
    }


def _page(found: Sequence[MethodRow], options: Options) -> str:
    lines = [f"# Methods side by side on {options.benchmark}", ""]
    if options.thin > 1:
        lines += [f"Retained people are asked about in every {_nth(options.thin)} test photo alone.", ""]
    lines += [
        "Means over seeds. recognition: of the target on photos the edit never saw; seen: on those of the request; "
        "scene and appearance: on the target's photos; balance: harmonic mean of what is forgotten (1 less "
        "recognition) and of what each other score keeps of its value before; oracle_gap: mean difference to the "
        "oracle; ks_p: chance that the target's answers are as likely as the oracle's (Kolmogorov-Smirnov); "
        "95 %: of the balance, people drawn again; s: seconds to forget, "
        "without those in which nscvf and its like measure the retained photos, once a model; "
        "MB: most memory held; trained: numbers that may move. A star: the balance is below that of the first row, and "
        "the interval of the difference, over the same people, excludes zero.",
        "",
    ]
    for split in dict.fromkeys(row.split for row in found):
        own = [_cells(row) for row in found if row.split == split]
        lines += [f"## {escaped(split)}", "", "| " + " | ".join(own[0]) + " |", "|---" * len(own[0]) + "|"]
        lines += ["| " + " | ".join(map(escaped, line.values())) + " |" for line in own]
        lines += ["", f"![forgetting against keeping]({quote(split)}.svg)", ""]
    return "\n".join(lines)


def _nth(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def _points(found: Sequence[MethodRow], known: dict[str, dict[str, float]]) -> list[Mark]:
    points = [
        Mark(row.method, 1 - row.scores["recognition"], keeping(row.scores, known["before"]))
        for row in found
        if row.seeds and row.method in METHODS  # variants of one method would hide the others
    ]
    for name, scores in known.items():
        points.append(Mark(name, 1 - scores["recognition"], keeping(scores, known["before"]), given=True))
    return points
