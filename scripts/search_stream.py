"""The search for a session's settings: single requests of the people of forget_15, who are not those of the stream.

    python scripts/search_stream.py --only chosen,guard_50 --requests 5 --out search_stream

Each line printed is the last request of one run; a run that is there is not made again. What past searches said stands
in docs/log.md, and what they measured in scripts/search_stream.jsonl; some were made by exploratory code (`beside`
there is a guard that was taken out again).
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unsee.benchmarks import personas
from unsee.experiments.stream import VARIANTS, Variant, run
from unsee.methods import NSCVF

SETTINGS: dict[str, dict[str, Any]] = {
    "chosen": {},
    "guard_50": {"guard": 50.0},
    "wide_50": {"distill": 20.0, "share": 0.65, "steps": 400, "guard": 50.0},
    "before_2026_11_28": {
        "region": "concept",
        "runs": 1,
        "aside": 0,
        "reach": 3.0,
        "distill": 20.0,
        "views": 160,
        "blends": 80,
        "rate": 3e-3,
        "optimizer": "adamw",
        "steps": 300,
        "guard": 50.0,
    },
    "wide": {"distill": 20.0, "share": 0.65, "steps": 400},
    "wide_10": {"distill": 20.0, "share": 0.65, "steps": 400, "guard": 10.0},
    "distill_50": {"distill": 20.0, "guard": 50.0},
    "slow_50": {"distill": 20.0, "rate": 0.02, "steps": 400, "guard": 50.0},
    "fives": {"together": 5},
    "fives_50": {"together": 5, "guard": 50.0},
}


def main() -> None:
    """Runs what is asked for and is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("search_stream"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        stream = personas.stream("forget_15", seed)
        for name in options.only.split(","):
            changed = dict(SETTINGS[name])
            given = {part: changed.pop(part) for part in ("guard", "together") if part in changed}
            VARIANTS[name] = Variant(NSCVF(**changed), **given)
            rows = run(
                stream,
                name,
                seed,
                options.out,
                lambda text: print(text, file=sys.stderr, flush=True),
                requests=options.requests,
            )
            print(json.dumps({**asdict(rows[-1]), "never_before": rows[0].never}), flush=True)


if __name__ == "__main__":
    main()
