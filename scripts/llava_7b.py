"""A checkpoint of the shape of LLaVA-1.5-7B with random weights: what unsee needs of time and memory on it.

    python scripts/llava_7b.py --folder /somewhere/with/14/GB

Writes 14.1 GB in three files, runs the commands one after the other in processes of their own, prints a table, and
deletes the folder again unless --keep. Seconds mean little where other programs run beside it; memory does not mind.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from shapes import make, photos

GIB = 1 << 30


def timed(*args: object) -> tuple[float, float]:
    """Seconds and peak resident GiB of one `unsee` command in a process of its own."""
    command = [sys.executable, "-m", "unsee.cli.main", *map(str, args)]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 # our own words
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} left with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - started, usage.ru_maxrss * 1024 / GIB


def same_files(before: Path, after: Path) -> str:
    """Which weight files were written anew."""
    files = sorted(before.glob("*.safetensors"))
    written = [file.name for file in files if not file.samefile(after / file.name)]
    return f"{len(written)} of {len(files)} written"


def garbage(model: Path, place: Path) -> Path:
    """The checkpoint with garbage in place of the files that hold nothing of its visual part."""
    shutil.copytree(model, place, copy_function=os.link)
    places = json.loads((model / "model.safetensors.index.json").read_text())["weight_map"]
    seen = {file for name, file in places.items() if "vision" in name or "projector" in name}
    for file in place.glob("*.safetensors"):
        if file.name not in seen:
            file.unlink()
            file.write_bytes(b"nothing to read here")
    return place


WITHOUT = (
    "import sys, unsee; from unsee.methods import NSCVF; m, t, r = sys.argv[1:]; "
    "unsee.forget(unsee.load(m), t, r, method=NSCVF(steps=1, batch=1, views=0, share=1, null_space=False), ask='never')"
)
MEASURES = ("inspect", "normal", "low", "moments", "garbage")


def measure(name: str, root: Path) -> str:
    """One row of the table."""
    model, target, retain = root / "model", photos(root / "target", 1, 4, 1), photos(root / "retain", 4, 3, 2)
    if name == "inspect":
        seconds, peak = min(timed("inspect", "--model", model, "--json") for _ in range(3))
        return f"inspect | {seconds:.1f} | {peak:.2f} | bar 3 s"
    if name == "moments":
        file = root / "moments.safetensors"
        seconds, peak = timed("moments", "--model", model, "--retain", retain, "--out", file, "--overwrite")
        return (
            f"moments, 12 photos | {seconds:.0f} | {peak:.2f} | bar 1 GB; the file has {file.stat().st_size / 1e9:.3f}"
        )
    if name == "garbage":
        started = time.monotonic()
        command = [sys.executable, "-c", WITHOUT, garbage(model, root / "garbage"), target, retain]
        done = subprocess.run(command, check=False)  # noqa: S603 # as above
        shutil.rmtree(root / "garbage")
        said = "done" if done.returncode == 0 else "FAILED"
        return f"load and forget, language model's files garbage | {time.monotonic() - started:.0f} | | {said}"
    out = root / f"out_{name}"
    few = ("--steps", 2, "--batch", 4, "--views", 1, "--share", 1, "--memory", name)
    seconds, peak = timed(
        "forget", "nscvf", "--model", model, "--target", target, "--retain", retain, *few, "--out", out, "--overwrite"
    )
    note = f"bar {8 if name == 'normal' else 4} GiB; {same_files(model, out)}"
    return f"forget, 2 steps, 4 photos, --memory {name} | {seconds:.0f} | {peak:.2f} | {note}"


def main() -> None:
    """Makes the checkpoint, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("llava-7b"), help="is made, and deleted afterwards")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--only", default=",".join(MEASURES), help="which rows, with commas")
    options = parser.parse_args()
    root: Path = options.folder
    if not (root / "model").exists():
        make(root / "model")
    files = list((root / "model").glob("*.safetensors"))
    print(f"{sum(file.stat().st_size for file in files) / 1e9:.1f} GB in {len(files)} files\n")
    print("| command | seconds | peak resident GiB | |\n|---|---|---|---|", flush=True)
    for name in options.only.split(","):
        print(f"| {measure(name, root)} |", flush=True)
    if not options.keep:
        shutil.rmtree(root)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
