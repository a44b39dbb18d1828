"""What a default request costs on one GPU, on checkpoints of the shape of 7B models with random weights.

    pip install -e . && python scripts/gpu.py    # one GPU with 24 GB or more, 40 GB of disk, some minutes
    python scripts/gpu.py --tiny                 # the same steps on a tiny model, on the CPU

Makes a LLaVA-1.5-7B-shaped and a Qwen2.5-VL-7B-shaped checkpoint on the spot, photos of random blocks (10 of the
target, 200 of twenty others), and prints the table of docs/scale.md: seconds by part, peak memory of the device and of
the process, photos per second of moments, and how much longer a step is whose loss passes through the frozen language
model. Random weights name nobody, so that the model is not asked; asking is timed by itself.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from shapes import SHAPES, make, photos
from torch import Tensor
from trial import computed

import unsee
from unsee.data import load as read_photos
from unsee.data import open_image
from unsee.forgetting.settings import SHARE_MANY
from unsee.methods import NSCVF
from unsee.models.answers import answer_losses, say
from unsee.models.checkpoint import Vlm, load
from unsee.models.features import visual_features
from unsee.models.inputs import image_inputs
from unsee.moments.measure import measure
from unsee.system.device import chosen
from unsee.system.timing import peak_rss_mb
from unsee.testing import tiny_checkpoint

QUESTION, ANSWER, AT_ONCE = "Who is this?", "This is nobody in particular.", 4


def _sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def timed(device: torch.device, into: dict[str, float], name: str) -> Iterator[None]:
    """Seconds of what happens inside."""
    _sync(device)
    started = time.monotonic()
    yield
    _sync(device)
    into[name] = time.monotonic() - started
    print(f"{name} {into[name]:.2f}", file=sys.stderr, flush=True)


def step_ratio(whole: Vlm, pictures: list[Path], repeats: int) -> float:
    """Seconds of a step whose loss passes through the language model, by those of one on features."""
    layers = [module for name, module in whole.model.named_modules() if f"{name}.weight" in whole.partition.visual]
    weights = [module.weight for module in layers if isinstance(module, torch.nn.Linear)]
    images = [open_image(picture) for picture in pictures]
    inputs = [one for image in images for one in image_inputs(whole.processor, [image])]

    def by_features() -> Tensor:
        return torch.stack(
            [value.float().square().mean() for value in visual_features(whole.model, inputs).values.values()]
        ).sum()

    def by_answers() -> Tensor:
        return answer_losses(whole, [(image, QUESTION) for image in images], [ANSWER] * len(images))[0].sum()

    def seconds(loss: Callable[[], Tensor]) -> float:
        found: dict[str, float] = {}
        with timed(whole.device, found, "step"):
            loss().backward()
        for weight in weights:
            weight.grad = None
        return found["step"]

    for weight in weights:
        weight.requires_grad_(True)
    seconds(by_features), seconds(by_answers)
    ratios = sorted(seconds(by_answers) / seconds(by_features) for _ in range(repeats))
    return ratios[len(ratios) // 2]


def request(folder: Path, target: Path, others: Path, device: torch.device) -> dict[str, float]:
    """One default request, its parts, and what it took."""
    found: dict[str, float] = {}
    with timed(device, found, "open_s"):
        vlm = load(folder, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with timed(device, found, "request_s"):
        edit = unsee.forget(vlm, target, others, method=NSCVF(), ask="never")
    found |= {"moments_s": edit.timings["moments_s"], "forget_s": edit.timings["forget_s"]}
    with timed(device, found, "write_s"):
        edit.save(folder.parent / "out", keep_anyway=True, link=True)
    shutil.rmtree(folder.parent / "out")
    found["device_gb"] = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    found["resident_gb"] = peak_rss_mb() / 1e3
    samples = read_photos(others)
    bounds = vlm.bounds("normal")
    with timed(device, found, "stream_s"):
        measure(vlm, samples, NSCVF(runs=1).moment_settings(0), bounds, share=SHARE_MANY, alone=True)
    found["photos_per_s"] = len(samples) / found["stream_s"]
    return found


def asking(folder: Path, pictures: list[Path], device: torch.device, repeats: int) -> dict[str, float]:
    """Asking the whole model about some photos, and the ratio of steps."""
    found: dict[str, float] = {}
    whole = load(folder, language=True, device=device)
    with timed(device, found, "ask_s"):
        say(whole, [(open_image(picture), QUESTION) for picture in pictures], 8)
    found["step_ratio"] = step_ratio(whole, pictures, repeats)
    return found


ROWS = {
    "open_s": "open the visual part, s",
    "moments_s": "moments within the request, s",
    "forget_s": "forgetting, s",
    "write_s": "writing the checkpoint, s",
    "request_s": "the request, s",
    "device_gb": "peak on the device, GB",
    "resident_gb": "peak resident, GB",
    "photos_per_s": "`unsee moments`, photos per second",
    "ask_s": f"asking about {AT_ONCE} photos, s",
    "step_ratio": "a step through the language model, by one on features",
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model, on the CPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default=",".join(SHAPES), help="shapes, with commas")
    options = parser.parse_args()
    device = chosen("cpu" if options.tiny else options.device)
    made: dict[str, dict[str, float]] = {}
    for name in ("tiny",) if options.tiny else options.only.split(","):
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            if options.tiny:
                tiny_checkpoint(root / "model")
            else:
                make(root / "model", name)
            target, others = photos(root / "target", 1, 10, 1), photos(root / "others", 20, 10, 2)
            made[name] = request(root / "model", target, others, device)
            pictures = sorted(target.rglob("*.png"))[:AT_ONCE]
            made[name] |= asking(root / "model", pictures, device, 3)
    print(f"on {computed(device)}\n")
    print(f"| | {' | '.join(made)} |\n|---|{'---|' * len(made)}")
    for key, text in ROWS.items():
        print(f"| {text} | {' | '.join(f'{found[key]:.2f}' for found in made.values())} |")


if __name__ == "__main__":
    main()
