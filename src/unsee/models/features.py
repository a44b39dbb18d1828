"""Visual features as they cross into the language model, and what flows into each layer on the way there."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Kosmos2Model, PreTrainedModel

from unsee.errors import InputError
from unsee.system.device import forward, in_room
from unsee.system.processes import count, gathered, own

HALVES = (torch.bfloat16, torch.float16)  # features are float32 wherever they are compared and moved
Item = TypeVar("Item")
Inputs = dict[str, Tensor]  # the visual inputs of one image, as its processor gives them


@runtime_checkable
class SeesImages(Protocol):
    """The vision-language models of transformers 5; no base class of theirs declares the method."""

    def get_image_features(self, **inputs: Tensor) -> Any: ...


@dataclass(frozen=True, eq=False)
class Features:
    """What the language model is given of a batch of images, at every place where visual features enter it."""

    values: dict[str, Tensor]
    """(image, token, width) float by the crossing's name; zero beyond an image's own tokens."""
    counts: dict[str, Tensor]
    """(image,) int64: how many tokens each image has there."""

    def __len__(self) -> int:
        return len(next(iter(self.counts.values())))

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(iter(self.counts.values())).device

    def __getitem__(self, index: Tensor | slice) -> "Features":
        """The features of some of the images."""
        return Features(
            {name: value[index] for name, value in self.values.items()},
            {name: count[index] for name, count in self.counts.items()},
        )

    def to(self, device: torch.device | str) -> "Features":
        """The same on a device."""
        return Features(
            {name: value.to(device) for name, value in self.values.items()},
            {name: count.to(device) for name, count in self.counts.items()},
        )

    def stored(self, dtype: torch.dtype) -> "Features":
        """The same numbers in another precision."""
        return Features({name: value.to(dtype) for name, value in self.values.items()}, self.counts)

    def only(self, names: Sequence[str]) -> "Features":
        """The features at some of the crossings, at all for none. Raises InputError where one does not exist."""
        if not names:
            return self
        missing = [name for name in names if name not in self.values]
        if missing:
            raise InputError(f"there is no crossing {missing[0]}; this model has {', '.join(self.values)}.")
        return Features({n: self.values[n] for n in names}, {n: self.counts[n] for n in names})


def fitted(value: Tensor, tokens: int) -> Tensor:
    """(image, token, width) with padding added or taken away up to so many tokens."""
    return F.pad(value, (0, 0, 0, tokens - value.shape[1]))


def joined(parts: Sequence[Features]) -> Features:
    """The images of several batches in one."""
    values, counts = {}, {}
    for name in parts[0].values:
        longest = max(part.values[name].shape[1] for part in parts)
        values[name] = torch.cat([fitted(part.values[name], longest) for part in parts])
        counts[name] = torch.cat([part.counts[name] for part in parts])
    return Features(values, counts)


def collated(images: Sequence[Inputs]) -> Inputs:
    """One batch of the inputs of several images; axes but the first are padded with zeros to the longest."""
    batch = {}
    for name in images[0]:
        parts = [image[name] for image in images]
        shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
        batch[name] = torch.cat([_padded(part, shape) for part in parts])
    return batch


def _padded(part: Tensor, shape: list[int]) -> Tensor:
    """The tensor with zeros behind it along all axes but the first, up to `shape`."""
    missing = [want - has for want, has in zip(shape, part.shape[1:], strict=True)]
    if not any(missing):
        return part
    return F.pad(part, [n for gap in reversed(missing) for n in (0, gap)])


def device_of(model: PreTrainedModel) -> torch.device:
    """Where the model computes: the device of its first weight that has a value."""
    return next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))


def tiles_of(image: Inputs) -> int:
    """How many pictures the processor made of one image."""
    pixels = next(iter(image.values()))
    return pixels.shape[1] if pixels.dim() == 5 else pixels.shape[0]


def _mllama(model: Any, inputs: Inputs) -> dict[str, Any]:
    names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
    seen = model.base_model.vision_model(**{name: inputs[name] for name in names}).last_hidden_state
    states = model.base_model.multi_modal_projector(seen)
    return {"cross_attention_states": states.reshape(len(inputs["pixel_values"]), -1, states.shape[-1])}


def _idefics(model: Any, inputs: Inputs) -> dict[str, Any]:
    seen = model.base_model.vision_model(pixel_values=inputs["pixel_values"]).last_hidden_state
    if model.config.use_resampler:
        seen = model.base_model.perceiver_resampler(seen)
    return {"cross_attention_states": seen}


def _kosmos2(model: Any, inputs: Inputs) -> dict[str, Any]:
    # Only the class without a language head declares the method; both have the same parts.
    return {"projector": Kosmos2Model.get_image_features(model, inputs["pixel_values"]).pooler_output}


def _llama4(model: Any, inputs: Inputs) -> dict[str, Any]:
    seen = model.get_image_features(pixel_values=inputs["pixel_values"]).last_hidden_state
    return {"projector": model.multi_modal_projector(seen.flatten(0, -2)).view(*seen.shape[:-1], -1)}


def _instructblip(model: Any, inputs: Inputs) -> dict[str, Any]:
    # What leaves the Q-Former depends on the question; what enters it is the same for every question.
    return {"vision_model": model.vision_model(pixel_values=inputs["pixel_values"]).last_hidden_state}


# Families without `get_image_features`, or in which that is not what enters the language model.
CROSSINGS: dict[str, Callable[[PreTrainedModel, Inputs], dict[str, Any]]] = {
    "mllama": _mllama,
    "idefics": _idefics,
    "kosmos-2": _kosmos2,
    "llama4": _llama4,
    "instructblip": _instructblip,
}


def _general(model: PreTrainedModel, inputs: Inputs) -> dict[str, Any]:
    """The convention of transformers 5: projected features as pooler_output, DeepStack levels beside them."""
    base = model.base_model
    if not isinstance(base, SeesImages):
        raise InputError(f"{type(model).__name__} gives no image features by themselves; this family is not supported.")
    wanted = inspect.signature(base.get_image_features).parameters
    named = {name.removesuffix("_images"): value for name, value in inputs.items()}  # as Video-LLaVA calls its pixels
    output = base.get_image_features(**{name: value for name, value in named.items() if name in wanted})
    found = raw_features(output)
    if not found:
        raise InputError(f"{type(model).__name__} gives no projected image features; this family is not supported.")
    return found


def raw_features(output: Any) -> dict[str, Any]:
    """The crossings in what `get_image_features` gives, by name: each a tensor, or one tensor per picture."""
    found = {}
    if output.get("pooler_output") is not None:
        found["projector"] = output["pooler_output"]
    for level, deep in enumerate(output.get("deepstack_features") or ()):
        # Some name the decoder layer beside the features; of two for one layer, the model takes the last.
        layer, features = deep if isinstance(deep[0], int) else (level, deep)
        found[f"deepstack_{layer}"] = features
    return found


def _per_image(output: Any, tiles: Sequence[int], name: str) -> tuple[Tensor, Tensor]:
    """(image, token, width) and the token counts, of one crossing's output: a tensor, or one tensor per picture."""
    if isinstance(output, Tensor) and output.dim() == 3 and len(output) == len(tiles):
        return output, torch.full((len(tiles),), output.shape[1], device=output.device)
    rows = list(output)
    if len(rows) == sum(tiles):
        rows = [torch.cat(list(part)) for part in _split(rows, tiles)]
    if len(rows) != len(tiles):
        raise InputError(f"{len(rows)} image features came for {len(tiles)} images at {name}; this is not supported.")
    rows = [row.flatten(0, -2) for row in rows]
    counts = torch.tensor([len(row) for row in rows]).to(rows[0].device)
    longest = max(len(row) for row in rows)
    return torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows]), counts


def _split(rows: list[Tensor], sizes: Sequence[int]) -> Iterator[list[Tensor]]:
    start = 0
    for size in sizes:
        yield rows[start : start + size]
        start += size


def visual_features(model: PreTrainedModel, images: Sequence[Inputs]) -> Features:
    """Features of a batch of images, on the model's device, with gradient where it is enabled; no language model runs.

    Raises InputError where the family gives no image features by themselves.
    """
    device, tiles = device_of(model), [tiles_of(image) for image in images]
    batch = {name: value.to(device) for name, value in collated(images).items()}
    with forward(device):
        raw = CROSSINGS.get(model.config.model_type, _general)(model, batch)
    return by_image(raw, tiles)


def by_image(raw: Mapping[str, Any], tiles: Sequence[int]) -> Features:
    """The features of images of so many pictures each, from what each crossing gives of all of them."""
    made = {name: _per_image(output, tiles, name) for name, output in raw.items()}
    values = {name: pair[0].float() if pair[0].dtype in HALVES else pair[0] for name, pair in made.items()}
    return Features(values, {name: pair[1] for name, pair in made.items()})


def depths(model: PreTrainedModel, blocks: str, images: Sequence[Inputs]) -> list[Tensor]:
    """What every block of the list named `blocks` gives of a batch of images, then the features; with gradient.

    Nothing but the features where `blocks` is empty.
    """
    found: list[Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        found.append(output if isinstance(output, Tensor) else output[0])

    handles = [
        block.register_forward_hook(keep) for block in (model.get_submodule(blocks).children() if blocks else ())
    ]
    try:
        found += visual_features(model, images).values.values()
    finally:
        for handle in handles:
            handle.remove()
    return found


def in_batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The same in consecutive batches of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@torch.no_grad()
def all_features(model: PreTrainedModel, images: Sequence[Inputs], batch: int = 128) -> Features:
    """Features of any number of images on the CPU, whatever the model's device is; without gradient.

    Several processes do a share each, and all have all of them.
    """

    def made(size: int) -> list[Features]:
        return [visual_features(model, part).to("cpu") for part in in_batches(share, size)]

    shared = 1 < count() <= len(images)
    share = own(images) if shared else images
    parts = in_room(made, batch)
    if not shared:
        return joined(parts)
    shares = gathered([joined(parts)])
    starts = list(accumulate(map(len, shares), initial=0))
    return joined(shares)[torch.tensor([starts[n % count()] + n // count() for n in range(len(images))])]
