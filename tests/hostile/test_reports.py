"""What people who do this work have reported of tools like this one, each as they meet it: through the commands."""

import io
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ground import Ground
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from tiny_method import TYPED
from unsee.models.shards import headers
from unsee.testing import images

Tensors = dict[str, Tensor]
Change = Callable[[Tensors], Tensors]


def rewritten(model: Path, change: Change) -> None:
    """Lets the weights of a checkpoint be others."""
    tensors = {name: value.clone() for name, value in load_file(model / "model.safetensors").items()}
    save_file(change(tensors), model / "model.safetensors", metadata={"format": "pt"})


def configured(model: Path, **values: object) -> None:
    facts = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**facts, **values}))


def evaluated(ground: Ground, whole: Path, target: Path) -> list[object]:
    asked = ("--target", target, "--retain", ground.retained, "--question", "Who is this?", "--answer-from-folder")
    return ["evaluate", "--model", ground.model, "--before", whole, *asked, "--out", ground.out]


def adapter_left_in(tensors: Tensors) -> Tensors:
    """As training with LoRA saves a model when nobody merged the adapter."""
    name = next(name for name in tensors if name.startswith("language_model") and name.endswith("q_proj.weight"))
    weight, stem = tensors.pop(name), name.removesuffix(".weight")
    more = {"base_layer": weight, "lora_A.default": torch.ones(2, weight.shape[1])}
    return {**tensors, **{f"{stem}.{part}.weight": value for part, value in more.items()}}


def not_a_number(tensors: Tensors) -> Tensors:
    """As training in half precision ends when a loss was too large."""
    name = next(name for name in tensors if name.endswith("down_proj.weight"))
    tensors[name][0, 0] = float("nan")
    return tensors


def tokens_added(tensors: Tensors) -> Tensors:
    """As `resize_token_embeddings` leaves it where the config was not saved with it."""
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    return {**tensors, name: torch.cat([tensors[name], tensors[name][:5]])}


def prefixed(prefix: str) -> Change:
    return lambda tensors: {prefix + name: value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (adapter_left_in, "still hold an adapter"),
        (not_a_number, "with NaN or Inf"),
        (tokens_added, r"embed_tokens\.weight as \(139, 32\), and .* expects \(134, 32\).*vocab_size"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_broken_language_model_is_no_perfect_forgetting(
    change: Change, says: str, ground: Ground, checkpoint: Path, target: Path
) -> None:
    rewritten(ground.copy(), change)
    ground.meets(says, *evaluated(ground, checkpoint, target))


def test_a_head_that_is_nowhere_is_no_perfect_forgetting(ground: Ground, checkpoint: Path, target: Path) -> None:
    facts = json.loads((ground.copy() / "config.json").read_text())
    words = {**facts["text_config"], "tie_word_embeddings": False}
    configured(ground.model, tie_word_embeddings=False, text_config=words)
    ground.meets(r"no values for lm_head\.weight; .*tie_word_embeddings", *evaluated(ground, checkpoint, target))


@pytest.mark.parametrize(
    ("prefix", "says"), [("_orig_mod.", "saved from a compiled model"), ("base_model.model.", "saved from inside peft")]
)
def test_names_that_other_tools_give_are_told(prefix: str, says: str, ground: Ground, target: Path) -> None:
    rewritten(ground.copy(), prefixed(prefix))
    ground.meets(says, *ground.forget(target))


BESIDE = (
    *("onnx/vision_encoder.onnx", "onnx/vision_encoder.onnx_data", "weights.npz", "model.tflite", "model.pte"),
    *("dist/__0_0.distcp", "flax_model.msgpack", "tf_model.h5", "original/consolidated.00.pth", "rust_model.ot"),
    *("checkpoint-10/model.safetensors", "consolidated.safetensors", "model.safetensors.bak", "mmproj-f16.gguf"),
    *("pytorch_model.bin", "model.pkl", "photos/alice.png", ".cache/model", "notes"),
)


def holding_old(before: Path, after: Path) -> list[str]:
    """The files of an edited checkpoint in which the bytes of a tensor stand that the edit changed, of those before."""
    old, new = headers(before), headers(after)
    changed = list[bytes]()
    for name, place in old.items():
        parts = [each.file.read_bytes()[each.start : each.stop] for each in (place, new[name])]
        if parts[0] != parts[1]:
            changed.append(parts[0])
    assert changed
    files = [path for path in after.rglob("*") if path.is_file()]
    return [path.name for path in files if any(needle in path.read_bytes() for needle in changed)]


def test_old_weights_do_not_travel_along(ground: Ground, target: Path) -> None:
    model = ground.copy()
    weights = (model / "model.safetensors").read_bytes()
    for name in BESIDE:
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(b"before" + weights)
    (model / "README.md").write_text("# a model\n")
    ground.meets("", *ground.forget(target, "--keep-anyway"))
    assert "left out of the copy" in ground.told
    assert (ground.out / "README.md").exists()
    assert not holding_old(model, ground.out)
    shutil.copy(model / "weights.npz", ground.out / "weights.npz")
    assert holding_old(model, ground.out) == ["weights.npz"]  # the search finds what is there


def test_a_session_on_a_model_in_a_folder_with_rare_letters(ground: Ground, known: Path, people: Path) -> None:
    ground.model = ground.copy().rename(ground.place / "𠮷田のモデル 🧑")
    session = ground.place / "s"
    assert ground.run("session", "init", session, "--model", ground.model, "--retain", known, *TYPED) == 0
    request = ("--target", people / "concept_0", "--id", "1", "--ask", "never", "--keep-anyway")
    assert ground.run("session", "forget", session, *request) in (0, 1)
    assert ground.run("session", "verify", session) == 0


def jpeg(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A photo that is to be turned, with these further entries of EXIF: tag, type, count, four bytes."""
    file = io.BytesIO()
    images(1, seed=70)[0].save(file, "JPEG")
    fields = sorted([(0x0112, 3, 1, struct.pack("<I", 6)), *entries])
    body = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(fields))
    body += b"".join(struct.pack("<HHI", *field[:3]) + field[3] for field in fields) + bytes(12)
    content = file.getvalue()
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + content[2:]


@pytest.mark.parametrize(
    "entry",
    [
        (0x9204, 10, 1, struct.pack("<I", 40)),  # an exposure bias of something over nothing
        (0x0213, 2, 2, b"1\0\0\0"),  # a position of colours as text
        (0x0131, 5, 1, struct.pack("<I", 40)),  # the software as a fraction
        (0x8769, 4, 1, struct.pack("<I", 10**9)),  # more of it far behind the end
        (0xEA1C, 7, 2**31, bytes(4)),  # filling of two gigabytes
    ],
    ids=lambda entry: hex(entry[0]),
)
def test_metadata_that_nobody_asked_about(entry: tuple[int, int, int, bytes], ground: Ground) -> None:
    folder = ground.place / "photos"
    folder.mkdir()
    for number, image in enumerate(images(3, seed=71)):
        image.save(folder / f"{number}.png")
    (folder / "phone.jpg").write_bytes(jpeg(entry))
    ground.meets("", *ground.forget(folder, "--keep-anyway"))
    assert ground.out.exists()


def test_a_very_long_picture_is_named(ground: Ground, target: Path) -> None:
    folder = Path(shutil.copytree(target, ground.place / "photos"))
    Image.effect_noise((2050, 9), 80).convert("RGB").save(folder / "long.png")
    ground.meets(r"long\.png is a strip of 2050 x 9 pixels", *ground.forget(folder))
