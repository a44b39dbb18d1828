"""What `unsee moments` needs of memory and time as the number of retained photos grows.

    python scripts/scale.py --counts 1000,10000,100000

Drawn photos, 24 pixels wide, of a hundred concepts; the base model of personas; a process of its own for each count.
Beside each stands a bare forward pass over the same photos in the same process: opened, processed, run, and let go.
One JSON line a count goes to scripts/scale.jsonl; counts that are there are not measured again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

RAW = Path(__file__).with_suffix(".jsonl")
CONCEPTS, SIZE = 100, 24


def draw(folder: Path, count: int) -> None:
    """So many photos, all different, in sub-folders."""
    rng = np.random.default_rng(0)
    for concept in range(CONCEPTS):
        (folder / f"{concept:03d}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        place = folder / f"{number % CONCEPTS:03d}" / f"{number:06d}.png"
        if not place.exists():
            block = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8).repeat(SIZE // 6, 0).repeat(SIZE // 6, 1)
            Image.fromarray(block).save(place, compress_level=0)


def measure(folder: Path, threads: int) -> dict[str, float]:
    """Seconds of moments and of the bare pass, and the peak of each, in this process."""
    import torch

    from unsee.benchmarks.personas import CHECKPOINTS
    from unsee.data import load as photos
    from unsee.forgetting.settings import SHARE_MANY
    from unsee.methods import NSCVF
    from unsee.models.checkpoint import load
    from unsee.models.features import visual_features
    from unsee.moments.measure import BATCH, measure
    from unsee.moments.stream import batches
    from unsee.system.timing import peak_rss_mb

    torch.set_num_threads(threads)
    vlm = load(CHECKPOINTS / "base", device="cpu")
    samples = photos(folder)
    started = time.monotonic()
    bounds, settings = vlm.bounds("normal"), NSCVF(runs=1).moment_settings(0)
    moments, _ = measure(vlm, samples, settings, bounds, share=SHARE_MANY, alone=True)
    seconds, peak = time.monotonic() - started, peak_rss_mb()
    count = moments.count
    del moments
    started = time.monotonic()
    with torch.no_grad():
        for batch in batches(vlm.processor, [sample.image for sample in samples if sample.image is not None], BATCH):
            visual_features(vlm.model, [photo.inputs for photo in batch])
    return {
        "photos": count,
        "moments_s": round(seconds, 1),
        "bare_s": round(time.monotonic() - started, 1),
        "peak_mb": peak,
    }


def main() -> None:
    """Command line; `--of FOLDER` measures one folder in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1000,10000,100000", help="with commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--of", type=Path)
    options = parser.parse_args()
    if options.of is not None:
        print(json.dumps(measure(options.of, options.threads)))
        return
    done = [json.loads(line) for line in RAW.read_text().splitlines()] if RAW.exists() else []
    print("| photos | moments, s | bare pass, s | rate by the bare pass | ms a photo | peak resident MB |")
    print("|---|---|---|---|---|---|")
    for count in map(int, options.counts.split(",")):
        found = next((line for line in done if line["photos"] == count), None)
        if found is None:
            with tempfile.TemporaryDirectory() as place:
                draw(Path(place), count)
                command = [sys.executable, __file__, "--of", place, "--threads", str(options.threads)]
                said = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 # our own words
            found = json.loads(said.stdout)
            with RAW.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
        rate = found["bare_s"] / found["moments_s"]
        each = 1000 * found["moments_s"] / found["photos"]
        print(
            f"| {count:,} | {found['moments_s']} | {found['bare_s']} | {rate:.2f} | {each:.2f} | {found['peak_mb']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
