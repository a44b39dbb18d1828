"""`unsee inspect`: which parameters are visual, which are protected, what would be trained."""

import json
from dataclasses import dataclass

from PIL import Image

from unsee.cli.parse import parse
from unsee.cli.quiet import quiet
from unsee.cli.table import print_table
from unsee.models.checkpoint import load
from unsee.models.features import shared_inputs, trainable_layers, visual_features
from unsee.models.inputs import image_inputs


@dataclass(frozen=True)
class Options:
    """Show which parameters are visual, which are protected, and what a method would train.

    Example:
      unsee inspect --model checkpoints/my-vlm
    """

    model: str
    """A checkpoint folder of transformers, or a hub id OWNER/NAME."""
    json: bool = False
    """Print JSON."""


def describe(model: str) -> dict[str, object]:
    """What the command prints, as plain values; counts are of numbers, each storage once."""
    vlm = load(model)
    sizes = {name: parameter.numel() for name, parameter in vlm.model.named_parameters()}
    probe = image_inputs(vlm, [Image.new("RGB", (64, 64), (90, 120, 150))])
    trained = trainable_layers(vlm.model, vlm.partition.linear, probe)
    tokens, width = visual_features(vlm.model, probe).shape[1:]
    readers: dict[str, list[str]] = {}
    for name, first in shared_inputs(vlm.model, trained, probe).items():
        readers.setdefault(first, []).append(name)
    unread = sorted(set(vlm.partition.linear) - set(trained))
    return {
        "model": str(vlm.folder),
        "family": vlm.model.config.model_type,
        "visual_parameters": sum(sizes[name] for name in vlm.partition.visual),
        "protected_parameters": sum(sizes[name] for name in vlm.partition.protected),
        "trained_parameters": sum(sizes[f"{name}.weight"] for name in trained),
        "groups": vlm.partition.groups,
        "crossings": [{"name": "image features", "tokens": tokens, "width": width}],
        "trained_layers": list(trained),
        "shared_inputs": [names for names in readers.values() if len(names) > 1],
        "quirks": [f"{name} does not reach the features and stays as it is" for name in unread],
    }


def main(args: list[str]) -> int:
    """Prints the partition of one model."""
    options = parse(Options, args, "unsee inspect")
    quiet()
    facts = describe(options.model)
    if options.json:
        print(json.dumps(facts, indent=1))
        return 0
    shown = ("family", "visual_parameters", "protected_parameters", "trained_parameters")
    rows = [{"what": name.replace("_", " "), "value": _number(facts[name])} for name in shown]
    print_table(rows, title=str(facts["model"]))
    print()
    groups, crossings, quirks = facts["groups"], facts["crossings"], facts["quirks"]
    if isinstance(groups, dict):
        print_table([{"visual group": name, "parameters": _number(size)} for name, size in groups.items()])
    for crossing in crossings if isinstance(crossings, list) else []:
        print(f"\ncrosses into the language model: {crossing['tokens']} tokens of width {crossing['width']} per image")
    for quirk in quirks if isinstance(quirks, list) else []:
        print(f"note: {quirk}")
    return 0


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
