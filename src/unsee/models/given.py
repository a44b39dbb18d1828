"""The whole model on image features that are changed on their way into the language model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unsee.errors import InputError
from unsee.models.features import CROSSINGS, Features, Inputs, SeesImages, by_image, raw_features, tiles_of

Change = Callable[[Features], Features]


def readable(model: PreTrainedModel) -> bool:
    """Whether the family's whole model gets its image features by the method that `changed_features` watches."""
    return model.config.model_type not in CROSSINGS and isinstance(model.base_model, SeesImages)


@contextmanager
def changed_features(model: PreTrainedModel, images: Sequence[Inputs], change: Change) -> Iterator[None]:
    """While open, the language model gets `change(features)` of these images in the place of their features.

    The model is to be run on a batch with exactly these images, in their order. Raises InputError where the features
    of the family enter the language model in another way (see `readable`).
    """
    base: Any = model.base_model
    if not readable(model):
        raise InputError(f"{type(model).__name__} gives no image features by themselves; they cannot be changed.")
    original, tiles = base.get_image_features, [tiles_of(image) for image in images]

    @wraps(original)  # generation looks at its signature
    def changed(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        raw = raw_features(output)
        features = change(by_image(raw, tiles))
        made = {name: _formed(value, features.values[name], features.counts[name]) for name, value in raw.items()}
        if "projector" in made:
            output["pooler_output"] = made["projector"]
        if output.get("deepstack_features"):
            output["deepstack_features"] = [
                (deep[0], made[f"deepstack_{deep[0]}"]) if isinstance(deep[0], int) else made[f"deepstack_{level}"]
                for level, deep in enumerate(output["deepstack_features"])
            ]
        return output

    vars(base)["get_image_features"] = changed
    try:
        yield
    finally:
        vars(base).pop("get_image_features")


def _formed(raw: Any, values: Tensor, counts: Tensor) -> Any:
    """Features (image, token, width) in the form in which the family gives them."""
    rows = list(raw)
    values = values.to(rows[0].dtype)
    if isinstance(raw, Tensor) and raw.shape == values.shape:
        return values
    tokens = torch.cat([value[:count] for value, count in zip(values, counts.cpu().tolist(), strict=True)])
    parts = tokens.split([row.numel() // row.shape[-1] for row in rows])
    formed = [part.view(row.shape) for part, row in zip(parts, rows, strict=True)]
    return torch.stack(formed) if isinstance(raw, Tensor) else type(raw)(formed)
