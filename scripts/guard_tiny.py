"""How much of earlier requests leaks under the anchored guard and under one without anchors, on a tiny random model.

    python scripts/guard_tiny.py --requests 10 --out scripts/guard_tiny.jsonl

After each request: the sum of tr((W - W_i) M_i (W - W_i)^T) over earlier requests i by that of tr(W_i M_i W_i^T), mean
over layers. That is what both guards are for; what it means for answers, `guard_anchor.py` asks on personas.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from unsee.methods import NSCVF
from unsee.moments.records import Moments
from unsee.session.creation import create
from unsee.session.session import Session
from unsee.session.state import State
from unsee.testing import photo_folder, tiny_checkpoint

TRAINED = NSCVF(steps=40, batch=8, views=4, composites=0, share=1.0, rate=0.02, hold=0.0, replay=0.0)
METHOD = replace(TRAINED, most_drift=10.0, stop_target=0.0)
ANCHORED = State.confining


def unanchored(state: State, weight: float) -> Moments:
    """The moments with the guard as it was before: it sees the change of the present request alone."""
    return replace(ANCHORED(state, weight), anchors={})


def leak(session: Session) -> float:
    """Of all earlier requests, by the energy that is guarded; the mean over layers."""
    state, weights = session._state(session.base()), session.weights()
    found = [
        anchor.shift(weights[f"{name}.weight"], state.guard[state.retained.first[name]]) / anchor.energy
        for name, anchor in state.anchors.items()
    ]
    return sum(found) / len(found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("scripts/guard_tiny.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, options.seeds.split(",")):
        with tempfile.TemporaryDirectory(prefix="unsee-") as place:
            folder = Path(place)
            photos = photo_folder(folder / "photos", 4, concepts=options.requests + 6, seed=seed)
            model = tiny_checkpoint(folder / "model", seed)
            for name, confining in (("anchored", ANCHORED), ("unanchored", unanchored)):
                State.confining = confining  # type: ignore[method-assign]
                create(folder / name, model, photos, method=METHOD, seed=seed)
                leaks, sizes = list[float](), list[int]()
                for number in range(options.requests):
                    session = Session(folder / name)
                    session.forget(photos / f"concept_{number}", f"r{number}", ask="never", keep_anyway=True)
                    leaks.append(round(leak(session), 6))
                    sizes.append((folder / name / "state.safetensors").stat().st_size)
                line = {"guard": name, "seed": seed, "leaks": leaks, "state_bytes": sizes}
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
