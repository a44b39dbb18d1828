"""An image that several questions of a batch are about goes through the encoder once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from unsee.models.features import CROSSINGS, SeesImages

OTHERWISE: WeakSet[PreTrainedModel] = WeakSet()  # models whose features turned out not to come image by image


@contextmanager
def seen_once(model: PreTrainedModel, images: Sequence[int]) -> Iterator[None]:
    """While open, the features of a batch are computed of its distinct images; `images` numbers those of its questions.

    Everything else is as it would be: images are told apart by the first dimension of what the encoder takes, so that
    where that is not the images', as with patches of all of them in one row, each question's image is seen.
    """
    base, order = model.base_model, list(images)
    known = model.config.model_type in CROSSINGS or model in OTHERWISE
    if known or len(set(order)) == len(order) or not isinstance(base, SeesImages):
        yield
        return
    distinct = list(dict.fromkeys(order))
    first, place = [order.index(one) for one in distinct], {one: at for at, one in enumerate(distinct)}
    again = [place[one] for one in order]
    method = base.get_image_features

    @wraps(method)
    def get_image_features(*args: Any, **given: Any) -> Any:
        tensors = [value for value in given.values() if isinstance(value, Tensor)]
        if args or any(not value.dim() or len(value) != len(order) for value in tensors):
            return method(*args, **given)
        few = {name: value[first] if isinstance(value, Tensor) else value for name, value in given.items()}
        spread = _spread(method(**few), again, len(distinct))
        if spread is None:
            OTHERWISE.add(model)
            return method(**given)
        return spread

    vars(base)["get_image_features"] = get_image_features
    try:
        yield
    finally:
        del vars(base)["get_image_features"]


def _spread(output: Any, again: Sequence[int], count: int) -> Any:
    """The projected features of `count` images, an image for each place in `again`; None where they do not come so."""
    plain = type(output) is BaseModelOutputWithPooling  # others hold more that the language model reads
    found = output.pooler_output if plain and not output.get("deepstack_features") else None
    if found is None or len(found) != count:
        return None
    if isinstance(found, Tensor):
        return BaseModelOutputWithPooling(pooler_output=found[torch.tensor(again, device=found.device)])
    return BaseModelOutputWithPooling(pooler_output=type(found)(found[at] for at in again))
