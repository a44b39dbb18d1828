"""`unsee bench-stream`: single requests one after the other, methods side by side."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from unsee.benchmarks import personas
from unsee.cli.parse import parse
from unsee.cli.quiet import quiet
from unsee.cli.table import print_table
from unsee.cli.telling import out_json, trace
from unsee.errors import InputError, unknown
from unsee.experiments.stream import VARIANTS, run, table
from unsee.records import plain
from unsee.reporting import curves


@dataclass(frozen=True)
class Options:
    """Run 20 requests for one person each through sessions on the embedded benchmark, measured after each.

    Each variant is a method as a session runs it: with and without the guard, the null space, retained images at hand,
    or with requests that are settled five at a time.
    The folder holds one session and one file of scores for each variant and seed, and a page with the curves; what is
    there is not done again.

    Example:
      unsee bench-stream --methods nscvf,closed_form --seeds 0 --out stream
    """

    out: Path
    """Folder for sessions and scores; a stream that was cut off goes on."""
    methods: str = ",".join(VARIANTS)
    """Variants, with commas."""
    seeds: str = "0"
    """With commas; a seed draws the order of the requests too."""
    split: str = "stream"
    """People who ask; forget_15 has 15 others, to choose settings on."""
    requests: int = 20
    """Most requests."""
    every: int = 1
    """Measure after every so many requests, and after the last."""
    json: bool = False
    """Print every row as JSON."""


def main(args: list[str]) -> int:
    """Runs what is not there yet and prints the last row of each."""
    options = parse(Options, args, "unsee bench-stream")
    names = options.methods.split(",")
    for name in names:
        if name not in VARIANTS:
            raise unknown("method", name, VARIANTS)
    try:
        seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError as error:
        raise InputError(f"--seeds is {options.seeds}; expected numbers with commas, as in 0,1,2.") from error
    for name, number in (("requests", options.requests), ("every", options.every)):
        if number < 1:
            raise InputError(f"--{name} is {number}; expected 1 or more.")
    quiet()
    page = options.out / "stream.html"
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in seeds:
        stream = personas.stream(options.split, seed)
        for name in names:
            rows += run(
                stream,
                name,
                seed,
                options.out,
                trace,
                requests=options.requests,
                every=options.every,
            )
    curves.write([asdict(row) for row in rows], f"{options.split} of personas, one request after the other", page)
    if options.json:
        out_json(json.dumps(plain(rows), indent=1, allow_nan=False))
        return 0
    shown = ("variant", "seed", "request", "forgotten", "named", "first", "never_before", "never", "scene", "seconds")
    print_table(
        [
            {key: f"{row[key]:.3f}" if isinstance(row[key], float) else str(row[key]) for key in shown}
            for row in table(rows)
        ]
    )
    return 0
