"""A checkpoint of the shape of LLaVA-1.5-7B with random weights: what unsee needs of time and memory on it.

    python benchmarks/llava_7b.py --folder /somewhere/with/14/GB

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

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.core_model_loading import revert_weight_conversion

SHARD = 4_900_000_000  # bytes
GIB = 1 << 30


def config() -> LlavaConfig:
    """The shape of LLaVA-1.5-7B."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(
        vocab_size=32064, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
    )
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=32000, image_seq_length=576)


def processor() -> LlavaProcessor:
    """A byte-level tokenizer with an image token, and the image processor of CLIP at 336 pixels."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"<unused_{number}>" for number in range(len(alphabet), 31997))]
    backend = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.add_special_tokens(["<pad>", "<s>", "</s>", "<image>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",  # noqa: S106 # no password
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        additional_special_tokens=["<image>"],
    )
    template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def values(name: str, tensor: Tensor, block: Tensor) -> bytes:
    """Random bfloat16 values: own ones for what is visual, one repeated block for the language model."""
    if tensor.ndim == 1:
        fill = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        made = torch.full(tensor.shape, fill, dtype=torch.bfloat16)
    elif "language_model" in name or "lm_head" in name:
        times = -(-tensor.numel() // block.numel())
        made = block.repeat(times)[: tensor.numel()]
    else:
        made = (torch.randn(tensor.shape) * 0.02).to(torch.bfloat16)
    return made.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def make(folder: Path) -> None:
    """Writes the checkpoint tensor by tensor; never holds more than one."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config())
    stored = revert_weight_conversion(model, {name: p.detach() for name, p in model.named_parameters()})
    groups: list[dict[str, Tensor]] = [{}]
    for name, tensor in sorted(stored.items(), key=lambda item: "vision" not in item[0] and "projector" not in item[0]):
        if sum(2 * t.numel() for t in groups[-1].values()) + 2 * tensor.numel() > SHARD:
            groups.append({})
        groups[-1][name] = tensor
    block, places = (torch.randn(1 << 22) * 0.02).to(torch.bfloat16), {}
    for number, group in enumerate(groups, 1):
        file = folder / f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        start, header = 0, {"__metadata__": {"format": "pt"}}
        for name, tensor in group.items():
            stop = start + 2 * tensor.numel()
            header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, stop]}
            places[name], start = file.name, stop
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with file.open("wb") as handle:
            handle.write(len(text).to_bytes(8, "little") + text)
            for name, tensor in group.items():
                handle.write(values(name, tensor, block))
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    shape = config()
    shape.dtype = torch.bfloat16
    shape.save_pretrained(folder)
    processor().save_pretrained(folder)


def photos(folder: Path, concepts: int, count: int, seed: int) -> Path:
    """Photos of random blocks, `count` of each concept."""
    rng = np.random.default_rng(seed)
    for concept in range(concepts):
        place = folder / f"concept_{concept}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            blocks = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((400, 300), Image.Resampling.NEAREST).save(place / f"{number}.png")
    return folder


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
