"""Configs, processors, tokenizers, templates and indexes that no model has: one sentence, quickly, and no code is run.

Each row is a file of a whole checkpoint with one value changed, and the words of the refusal; none where it works.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from ground import Ground
from safetensors.torch import save_file
from transformers.utils.import_utils import is_torchvision_available

from by_hand import edited
from unsee.testing import stored

MILLION = 10**6
VISION, TEXT, PICTURES = ("vision_config",), ("text_config",), ("image_processor",)
BUILT = r"config\.json describes no model that can be built"
TAKEN = r"config\.json describes takes no image of its processor"
READ = r"config\.json cannot be read"
SIZES = r"stores .* and .*config\.json expects"
CONFIGS: list[tuple[tuple[str, ...], Any, str]] = [
    ((*VISION, "num_hidden_layers"), 0, "has 0 as num_hidden_layers; expected 1 to 300"),
    ((*VISION, "num_hidden_layers"), -1, "has -1 as num_hidden_layers"),
    ((*VISION, "num_hidden_layers"), MILLION, "has 1000000 as num_hidden_layers"),
    ((*VISION, "num_hidden_layers"), 10**18, "as num_hidden_layers"),
    ((*VISION, "num_hidden_layers"), "x", READ),
    ((*VISION, "num_hidden_layers"), 2, ""),
    ((*VISION, "num_hidden_layers"), 7, "stores no values for"),
    ((*VISION, "hidden_size"), 0, BUILT),
    ((*VISION, "hidden_size"), -1, BUILT + "|" + READ),
    ((*VISION, "hidden_size"), MILLION, SIZES),
    ((*VISION, "num_attention_heads"), 0, READ),
    ((*VISION, "num_attention_heads"), -1, TAKEN),
    ((*VISION, "num_attention_heads"), 5, READ + "|" + BUILT),
    ((*VISION, "image_size"), 0, TAKEN),
    ((*VISION, "image_size"), -1, TAKEN),
    ((*VISION, "image_size"), MILLION, TAKEN),
    ((*VISION, "patch_size"), 0, BUILT),
    ((*VISION, "patch_size"), -5, BUILT + "|" + TAKEN),
    ((*VISION, "patch_size"), MILLION, TAKEN),
    ((*VISION, "num_channels"), 0, TAKEN + "|" + BUILT),
    ((*VISION, "num_channels"), MILLION, TAKEN),
    ((*VISION, "intermediate_size"), MILLION, SIZES),
    ((*VISION, "intermediate_size"), [], READ),
    ((*VISION, "hidden_act"), "nothing", BUILT),
    ((*VISION, "layer_norm_eps"), "x", READ),
    ((*VISION, "model_type"), "nothing", READ + "|" + BUILT),
    ((*TEXT, "num_hidden_layers"), 0, "as num_hidden_layers"),
    ((*TEXT, "num_hidden_layers"), MILLION, "as num_hidden_layers"),
    ((*TEXT, "num_attention_heads"), 0, READ + "|" + BUILT),
    ((*TEXT, "vocab_size"), -1, BUILT),
    ((*TEXT, "hidden_size"), 10**18, BUILT),
    ((*TEXT, "rope_parameters"), [], READ + "|" + BUILT),
    (("vision_feature_layer",), 99, TAKEN),
    (("vision_feature_layer",), -99, TAKEN),
    (("vision_feature_layer",), [99], TAKEN + "|" + BUILT),
    (("vision_feature_layer",), "x", READ),
    (("vision_feature_select_strategy",), "none", READ + "|" + TAKEN),
    (("projector_hidden_act",), "nothing", BUILT),
    (("dtype",), "float33", READ),
    (("dtype",), 0, ""),
    (("vision_config",), [], READ + "|" + BUILT),
    (("vision_config",), None, TAKEN + "|" + SIZES),
    (("text_config",), "x", READ + "|" + BUILT),
    (("model_type",), None, "names no model_type"),
    (("model_type",), "llama", "takes no images"),
    (("model_type",), "\x1b[2J", "does not know"),
    (("architectures",), ["os.system"], ""),
]
PROCESSORS: list[tuple[tuple[str, ...], Any, str]] = [
    ((*PICTURES, "image_std"), [0, 0, 0], "has 0 as image_std"),
    ((*PICTURES, "image_std"), [math.nan] * 3, "has nan as image_std"),
    (
        (*PICTURES, "image_std"),
        [1],
        "" if is_torchvision_available() else "cannot take",
    ),  # there it is that of all three
    ((*PICTURES, "image_std"), [1, 1], "cannot take"),
    ((*PICTURES, "image_std"), 1e-300, "makes NaN or Inf"),
    ((*PICTURES, "image_mean"), [math.inf] * 3, "has inf as image_mean"),
    ((*PICTURES, "image_mean"), "x", "cannot take"),
    ((*PICTURES, "rescale_factor"), math.nan, "has nan as rescale_factor"),
    ((*PICTURES, "rescale_factor"), 0, "has 0 as rescale_factor"),
    ((*PICTURES, "rescale_factor"), "x", "no usable processor|cannot take"),
    ((*PICTURES, "size"), {"height": MILLION, "width": MILLION}, "has 1000000 as height"),
    ((*PICTURES, "size"), {"shortest_edge": 10**9}, "has 1000000000 as shortest_edge"),
    ((*PICTURES, "size"), {"height": 0, "width": 0}, "cannot take"),
    ((*PICTURES, "size"), {"height": -3, "width": 4}, "cannot take"),
    ((*PICTURES, "size"), {"height": "a", "width": "b"}, "cannot take|no usable processor"),
    ((*PICTURES, "size"), {"height": 80, "width": 80}, TAKEN),
    ((*PICTURES, "resample"), 99, "cannot take"),
    ((*PICTURES, "image_processor_type"), "Nothing", "no usable processor"),
    ((*PICTURES, "image_processor_type"), 0, "no usable processor"),
    (("processor_class",), "os.system", "has no image processor|no usable"),
    (("patch_size",), MILLION, ""),
]
OTHERS: list[tuple[str, tuple[str, ...], Any, str]] = [
    ("tokenizer_config.json", ("tokenizer_class",), "Nothing", ""),
    ("tokenizer_config.json", ("padding_side",), "up", "no usable processor"),
    ("tokenizer_config.json", ("pad_token",), 0, "no usable processor"),
    ("tokenizer.json", ("pre_tokenizer",), {"type": "Nope"}, "no usable processor"),
    ("tokenizer.json", ("model",), {}, "no usable processor"),
    ("tokenizer.json", ("model",), None, "no usable processor"),
    ("tokenizer.json", ("added_tokens",), 0, "no usable processor"),
    (
        "tokenizer.json",
        ("pre_tokenizer",),
        {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False},
        "no usable processor",
    ),
    ("generation_config.json", ("max_length",), 1, ""),
]


def spoilt(ground: Ground, name: str, path: tuple[str, ...], value: Any) -> None:
    file = ground.copy() / name
    file.write_text(json.dumps(edited(json.loads(file.read_text()), path, value)), encoding="utf-8")


ROWS = [("config.json", *row) for row in CONFIGS] + [("processor_config.json", *row) for row in PROCESSORS] + OTHERS


@pytest.mark.parametrize(
    ("name", "path", "value", "says"), ROWS, ids=[f"{r[0][:9]}-{r[1][-1]}-{n}" for n, r in enumerate(ROWS)]
)
def test_a_value_that_no_model_has(
    name: str, path: tuple[str, ...], value: Any, says: str, ground: Ground, target: Path
) -> None:
    spoilt(ground, name, path, value)
    ground.meets(says, *ground.forget(target))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [(p, v, s) for p, v, s in CONFIGS if s and "stores" not in s],
    ids=lambda part: str(part)[:30],
)
def test_inspect_refuses_what_forget_refuses(path: tuple[str, ...], value: Any, says: str, ground: Ground) -> None:
    spoilt(ground, "config.json", path, value)
    ground.meets(says, "inspect", "--model", ground.model)


ASKED: list[tuple[str, tuple[str, ...], Any, str]] = [
    ("config.json", (*TEXT, "vocab_size"), 10**9, "describes a model of .* numbers and .* are stored"),
    ("config.json", (*TEXT, "head_dim"), MILLION, "describes a model of .* numbers and .* are stored"),
    ("config.json", (*TEXT, "num_hidden_layers"), 40, "describes a model of .* numbers and .* are stored"),
    ("config.json", (*TEXT, "max_position_embeddings"), 5, "has room for 5"),
    ("config.json", ("image_token_index",), MILLION, "do not fit"),
    ("tokenizer_config.json", ("eos_token",), "zzz", "do not fit"),
    ("processor_config.json", ("image_token",), "<nope>", "do not fit|cannot make a question"),
    ("processor_config.json", ("patch_size",), 1, "do not fit|makes room|has room for"),
]


@pytest.mark.parametrize(("name", "path", "value", "says"), ASKED, ids=lambda part: str(part)[:30])
def test_a_language_model_that_cannot_be_asked(
    name: str, path: tuple[str, ...], value: Any, says: str, ground: Ground, target: Path
) -> None:
    spoilt(ground, name, path, value)
    ground.meets(says, *ground.forget(target, "--question", "Who is this?"))


TEXTS = [b"", b"[]", b"null", b'"x"', b"3", b"\xff\xfe\x00", b"[" * 100_000]


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", TEXTS, ids=lambda content: repr(content[:6]))
def test_a_file_of_something_else(name: str, content: bytes, ground: Ground) -> None:
    (ground.copy() / name).write_bytes(content)
    says = r"config\.json (cannot be read|names no model_type)" if name == "config.json" else "has no (usable|image) p"
    ground.meets(says, "inspect", "--model", ground.model)


TEMPLATES = [
    ("{% if %}", "cannot make a question"),
    ("{{ raise_exception('no') }}", "cannot make a question"),
    ("{% for i in range(10**9) %}x{% endfor %}", "cannot make a question"),
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot make a question"),
    ("{{ nothing.at.all }}", "cannot make a question"),
    ("hello", "cannot make a question"),
]


@pytest.mark.parametrize(("template", "says"), TEMPLATES)
def test_a_template_that_asks_nothing(template: str, says: str, ground: Ground, target: Path) -> None:
    (ground.copy() / "chat_template.jinja").write_text(template)
    ground.meets(says, *ground.forget(target, "--question", "Who is this?"))
    ground.meets("", *ground.forget(target))  # forgetting needs no question


ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
WHOLE: Any = ...  # stands for the map that fits
INDEXES: list[tuple[Any, str]] = [
    ({"weight_map": WHOLE}, ""),
    ({"weight_map": []}, r"has \[\] as weight_map; expected the file of each tensor"),
    ({"weight_map": {}}, "as weight_map"),
    ({"weight_map": "model.safetensors"}, "as weight_map"),
    ({"weight_map": None}, "as weight_map"),
    ({"weight_map": 3}, "as weight_map"),
    ({}, "cannot be read"),
    ([], "cannot be read"),
    ("x", "cannot be read"),
    (None, "cannot be read"),
    ({"metadata": [], "weight_map": WHOLE}, ""),
    ({"weight_map": {"a": 3}}, "names the file 3"),
    ({"weight_map": {"a": None}}, "names the file None"),
    ({"weight_map": {"a": "../x.safetensors"}}, "names the file"),
    ({"weight_map": {"a": "/etc/passwd"}}, "names the file"),
    ({"weight_map": {"a": ".."}}, "names the file"),
    ({"weight_map": {"a": "config.json"}}, "names the file"),
    ({"weight_map": {"a": "a\x00b"}}, "names the file"),
    ({"weight_map": {"a": "a" * MILLION}}, "names the file"),
    ({"weight_map": {"a": "\x1b[2J.safetensors"}}, r"lacks \\x1b\[2J"),
    ({"weight_map": {"a": "\ud800.safetensors"}}, "cannot be read|lacks|names the file"),
    ({"weight_map": {"a": "gone.safetensors"}}, "lacks gone.safetensors"),
    ({"weight_map": {"a": ONE}}, "stores no values for|which does not hold it"),
    ({"weight_map": {"a" * MILLION: ONE}}, "which does not hold it|stores no values|cut off"),
]


@pytest.mark.parametrize(("index", "says"), INDEXES, ids=lambda part: str(part)[:40])
def test_an_index_of_something_else(index: Any, says: str, ground: Ground, target: Path) -> None:
    model = ground.copy()
    tensors = stored(model)
    (model / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {ONE: names[: len(names) // 2], TWO: names[len(names) // 2 :]}
    for file, half in halves.items():
        save_file({name: tensors[name] for name in half}, model / file, metadata={"format": "pt"})
    if isinstance(index, dict) and index.get("weight_map") is WHOLE:
        index = {**index, "weight_map": {name: file for file, half in halves.items() for name in half}}
    (model / INDEX).write_text(json.dumps(index))
    ground.meets(says, *ground.forget(target))
    shutil.rmtree(ground.out, ignore_errors=True)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["device", "folder", "nowhere"])
def test_what_is_no_file(name: str, kind: str, ground: Ground) -> None:
    file = ground.copy() / name
    file.unlink()
    if kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    ground.meets(f"{name} is no file", "inspect", "--model", ground.model)


OWN_CODE = {"AutoConfig": "code.Code", "AutoModelForImageTextToText": "code.Code", "AutoProcessor": "code.Code"}


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer_config.json"])
def test_code_beside_a_model_is_not_run(name: str, ground: Ground, target: Path) -> None:
    """Where transformers knows the family itself, its own classes are taken; elsewhere the model is refused."""
    spoilt(ground, name, ("auto_map",), OWN_CODE)
    ran = ground.place / "ran"
    (ground.model / "code.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Code: pass\n")
    ground.run(*ground.forget(target))
    assert not ran.exists()


UNASKED = ("max_position_embeddings", "image_token_index", "image_token")


@pytest.mark.parametrize(
    ("name", "path", "value"), [row[:3] for row in ASKED if row[1][-1] in UNASKED], ids=lambda part: str(part)[:30]
)
def test_a_model_that_cannot_be_asked_about_these_photos_forgets_all_the_same(
    name: str, path: tuple[str, ...], value: Any, ground: Ground, target: Path
) -> None:
    spoilt(ground, name, path, value)
    ground.meets("", *ground.forget(target, "--ask", "auto"))
    assert "so that it is not asked, and distances alone say whether it forgets" in ground.told


def test_a_model_without_a_template_is_asked_all_the_same(ground: Ground, target: Path) -> None:
    """Its image stands before the question: tests/models/test_completing.py."""
    (ground.copy() / "chat_template.jinja").unlink()
    ground.meets("", *ground.forget(target, "--ask", "auto"))
    assert "not asked" not in ground.told
    assert "to 'Who is this?' it says" in ground.told
