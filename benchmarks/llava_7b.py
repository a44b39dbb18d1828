"""A checkpoint of the shape of LLaVA-1.5-7B with random weights: what unsee needs of time and memory on it.

    python benchmarks/llava_7b.py --folder /somewhere/with/14/GB

Writes 13.5 GB in three files, runs the commands one after the other in processes of their own, prints a table, and
deletes the folder again unless --keep.
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
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=320, image_seq_length=576)


def processor() -> LlavaProcessor:
    """A byte-level tokenizer with an image token, and the image processor of CLIP at 336 pixels."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.add_special_tokens(["<pad>", "<s>", "</s>", *(f"<extra_{n}>" for n in range(61)), "<image>"])
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


def main() -> None:
    """Makes the checkpoint, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("llava-7b"), help="is made, and deleted afterwards")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    root: Path = options.folder
    model = root / "model"
    if not model.exists():
        make(model)
    target, retain = photos(root / "target", 1, 4, 1), photos(root / "retain", 2, 3, 2)
    size = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    print(f"{size / 1e9:.1f} GB in {len(list(model.glob('*.safetensors')))} files\n")
    print("| command | seconds | peak resident GiB | |\n|---|---|---|---|", flush=True)
    seconds, peak = min(timed("inspect", "--model", model, "--json") for _ in range(3))
    print(f"| inspect | {seconds:.1f} | {peak:.2f} | bar 3 s |", flush=True)
    common = ("--model", model, "--target", target, "--retain", retain, "--overwrite")
    few = ("--steps", 2, "--batch", 4, "--views", 1)
    for mode, bar in (("normal", 8), ("low", 4)):
        seconds, peak = timed("forget", "nscvf", *common, *few, "--memory", mode, "--out", root / mode)
        note = f"bar {bar} GiB; {same_files(model, root / mode)}"
        print(f"| forget, 2 steps, 4 photos, --memory {mode} | {seconds:.0f} | {peak:.2f} | {note} |", flush=True)
    file = root / "moments.safetensors"
    seconds, peak = timed("moments", "--model", model, "--retain", retain, "--out", file, "--overwrite")
    print(f"| moments | {seconds:.0f} | {peak:.2f} | bar 1 GB; the file has {file.stat().st_size / 1e9:.3f} GB |")
    # Without the language model's values: garbage in place of its files, and the library still forgets.
    bare = root / "bare"
    shutil.copytree(model, bare, copy_function=os.link)
    weights = sorted(bare.glob("*.safetensors"))
    for garbage in weights[1:]:
        garbage.unlink()
        garbage.write_bytes(b"nothing to read here")
    code = (
        "import sys, unsee; from unsee.methods import NSCVF; m, t, r = sys.argv[1:]; "
        "unsee.forget(unsee.load(m), t, r, method=NSCVF(steps=1, batch=1, views=0), memory='low')"
    )
    done = subprocess.run([sys.executable, "-c", code, bare, target, retain], check=False)  # noqa: S603 # as above
    read = "no" if done.returncode == 0 else "YES"
    print(
        f"\nlanguage model's files read by load and forget: {read} ({len(weights) - 1} of {len(weights)} were garbage)"
    )
    if not options.keep:
        shutil.rmtree(root)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
