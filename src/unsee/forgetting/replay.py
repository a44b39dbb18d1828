"""Drawn states in the place of retained photos: what the model makes of them is kept as it would be of photos."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unsee.models.features import Features, Inputs, all_features, joined, visual_features
from unsee.models.prefix import STATE_BYTES, Prefix, prefix
from unsee.moments.states import States, entering

DRAWN = 6000
MOST_BYTES = 1 << 30  # of the features of all of them


@dataclass(frozen=True, eq=False)
class Replay:
    """States that enter a block, and what the model made of them at first."""

    prefix: Prefix
    states: Tensor
    image: Inputs
    """Any image: its own states give way to those."""
    features: Features

    def again(self, model: PreTrainedModel, places: Tensor) -> Features:
        """What the model makes of the states at these places now, with gradient."""
        with self.prefix.given(self.states[places]):
            return visual_features(model, [self.image] * len(places))


def replay(model: PreTrainedModel, known: States, image: Inputs, seed: int, batch: int) -> Replay | None:
    """States drawn from what is known, at most DRAWN; None where `image` is of another size than those."""
    there, own = prefix(model, known.layer), entering(model, known.layer, [image], 1)
    if there is None or own is None or own.shape[1:] != known.shape:
        return None
    single = sum(value.nbytes for value in all_features(model, [image]).values.values())
    count = max(1, min(DRAWN, STATE_BYTES // own.nbytes, MOST_BYTES // single))
    made = Replay(there, known.drawn(count, seed), image, Features({}, {}))
    with torch.no_grad():
        parts = [made.again(model, part).to("cpu") for part in torch.arange(count).split(batch)]
    return replace(made, features=joined(parts))
