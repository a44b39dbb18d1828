"""The search for a session's settings: single requests of the people of forget_15, who are not those of the stream.

    python scripts/search_stream.py --only chosen,steps_200 --requests 10 --out search_stream

Each line printed is the last request of one run; a run that is there is not made again. What past searches said stands
in docs/log.md; the earlier ones were made by exploratory code.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from unsee.benchmarks import personas
from unsee.experiments.stream import VARIANTS, Variant, run
from unsee.session.settings import SINGLE

SETTINGS: dict[str, dict[str, Any]] = {
    "chosen": {},
    "steps_200": {"steps": 200},
    "steps_600": {"steps": 600},
    "no_blends": {"blends": 0},
    "no_contrast": {"contrast": 0.0},
    "no_null_space": {"null_space": False},
    "reach_2": {"reach": 2.0},
    "distill_12": {"distill": 12.0},
    "distill_30": {"distill": 30.0},
    "rate_2e-3": {"rate": 2e-3},
    "all_layers": {"share": 1.0},
    "many_views": {"views": 1600, "blends": 800},
    "discriminant": {"region": "discriminant", "aside": 4},
    "both": {"region": "discriminant", "aside": 4, "views": 1600, "blends": 800},
    "guard_10": {"guard": 10.0},
    "guard_100": {"guard": 100.0},
    "no_guard": {"guard": 0.0},
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
            guard = changed.pop("guard", Variant(SINGLE).guard)
            VARIANTS[name] = Variant(dataclasses.replace(SINGLE, **changed), guard=guard)
            rows = run(
                stream,
                name,
                seed,
                options.out,
                lambda text: print(text, file=sys.stderr, flush=True),
                requests=options.requests,
            )
            print(json.dumps({**dataclasses.asdict(rows[-1]), "never_before": rows[0].never}), flush=True)


if __name__ == "__main__":
    main()
