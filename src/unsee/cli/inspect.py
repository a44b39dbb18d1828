"""`unsee inspect`: which parameters are visual, which are protected, what would be trained."""

import json
from dataclasses import dataclass
from typing import Any

from PIL.Image import new as new_image

from unsee.cli.parse import located, parse
from unsee.cli.quiet import quiet
from unsee.cli.table import print_table
from unsee.cli.telling import out, out_json
from unsee.errors import InputError
from unsee.models.checkpoint import PROBE, Vlm, followed, skeleton, unused, visual_places
from unsee.models.families import FAMILIES
from unsee.models.inputs import chat_inputs, tokens_vary
from unsee.models.outline import SHARE, last_layers
from unsee.models.processors import open_processor
from unsee.models.shards import DTYPES, headers
from unsee.system.device import FULL, chosen, multiplies_in_half, precision_on

FLOAT = 4  # bytes of a float32
TRAINED = 4 * FLOAT  # of a trained number: its gradient, the momentum, its value at the start and at the best


@dataclass(frozen=True)
class Options:
    """Show which parameters are visual, which are protected, and what the default method would train.

    Reads the config, the processor and the headers of the weight files; no weight. Says where models would compute, and
    the memory that a request needs for its parts; activations of the images at hand come to it.

    Example:
      unsee inspect --model checkpoints/my-vlm
    """

    model: str
    """A checkpoint folder of transformers, or hf://OWNER/NAME of the hub."""
    json: bool = False
    """Print JSON."""
    hub: bool = False
    """Take what is no folder here from the hub, as hf://OWNER/NAME does."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""


def describe(model: str, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """What the command prints, as plain values; counts are of numbers, each storage once."""
    folder, empty, partition = skeleton(model, trust_remote_code=trust_remote_code)
    processor = open_processor(folder, empty, trust_remote_code=trust_remote_code)
    stored = headers(folder)
    visual = visual_places(folder, empty, partition)
    sizes = {name: parameter.numel() for name, parameter in empty.named_parameters()}
    routes = followed(folder, empty, partition, processor)
    trained = last_layers(routes.trained, len(routes.crossings), SHARE)
    readers: dict[str, list[str]] = {}
    for name, first in routes.first.items():
        readers.setdefault(first, []).append(name)
    family = FAMILIES.get(empty.config.model_type)
    layers = sum(sizes[f"{name}.weight"] for name in trained)
    visible = sum(sizes[name] for name in partition.visual)
    device = chosen()
    unread = [name for name in partition.linear if name not in routes.trained]
    quirks = [family.note] if family is not None and family.note else []
    if family is None or not family.tested:
        quirks.append(f"the family {empty.config.model_type} is not among those that were tested (unsee ls families)")
    if tokens_vary(processor):
        width, height = PROBE
        quirks.append(
            f"the number of tokens depends on the size of the image; here it is that of {width} x {height} pixels"
        )
    bare = Vlm(folder, empty, empty, processor, partition, {}, {})
    try:
        chat_inputs(bare, [(new_image("RGB", PROBE), "Who is this?")])
    except InputError as error:
        quirks.append(f"it cannot be asked, so that distances alone would say whether it forgets: {error}")
    odd = sorted({stored[name].dtype for name in visual} - DTYPES.keys())
    if odd:
        quirks.append(
            f"visual weights are stored as {', '.join(odd)}, which is refused: only the rest may be quantised"
        )
    if multiplies_in_half(device) and precision_on(device) == FULL:
        quirks.append("this CPU multiplies in bfloat16: --precision bfloat16 makes a step up to three times as fast")
    if left := unused(empty, stored):
        quirks.append(f"{len(left)} stored tensors are not used by the model, {left[0]} first")
    if unread:
        quirks.append(f"{len(unread)} linear layers do not reach the features and stay as they are, {unread[0]} first")
    return {
        "model": str(folder),
        "family": empty.config.model_type,
        "visual_parameters": visible,
        "protected_parameters": sum(sizes[name] for name in partition.protected),
        "trained_parameters": layers,
        "stored_as": sorted({stored[name].dtype for name in visual}),
        "files": len({place.file for place in stored.values()}),
        "files_with_visual_tensors": len(set(visual.values())),
        "groups": partition.groups,
        "crossings": [
            {"name": name, "tokens": tokens, "width": width} for name, (tokens, width) in routes.crossings.items()
        ],
        "trained_layers": trained,
        "shared_inputs": [names for names in readers.values() if len(names) > 1],
        "device": str(device),
        "precision": precision_on(device),
        "memory_mb": {
            "visual_weights": round(visible * FLOAT / 1e6, 1),
            "training": round(layers * TRAINED / 1e6, 1),
            "features_per_photo": round(sum(t * w for t, w in routes.crossings.values()) * FLOAT / 1e6, 2),
            "language_model_when_asked": round(sum(place.stop - place.start for place in stored.values()) / 1e6, 1),
        },
        "quirks": quirks,
    }


def main(args: list[str]) -> int:
    """Prints the partition of one model."""
    options = located(parse(Options, args, "unsee inspect"))
    quiet()
    facts = describe(options.model, trust_remote_code=options.trust_remote_code)
    if options.json:
        out_json(json.dumps(facts, indent=1))
        return 0
    shown = ("family", "visual_parameters", "protected_parameters", "trained_parameters", "stored_as", "files")
    rows = [{"what": name.replace("_", " "), "value": _text(facts[name])} for name in shown]
    rows[-1]["value"] += f", {facts['files_with_visual_tensors']} with visual tensors"
    rows.append({"what": "computes on", "value": f"{facts['device']}, forward in {facts['precision']}"})
    rows += [
        {"what": f"memory, {name.replace('_', ' ')}", "value": f"{size:,} MB"}
        for name, size in facts["memory_mb"].items()
    ]
    print_table(rows, title=facts["model"])
    out("")
    print_table([{"visual group": name, "parameters": _text(size)} for name, size in facts["groups"].items()])
    out("")
    print_table([{key: _text(value) for key, value in crossing.items()} for crossing in facts["crossings"]])
    for quirk in facts["quirks"]:
        out(f"note: {quirk}")
    return 0


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
