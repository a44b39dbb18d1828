"""People who do not exist: pictures put together from parts of two retained photos, whose features are kept too.

Source: ours. An operator has photos of some people, and what is kept must include those of whom there is none. Features
between those that are shown are held in place by pictures whose features lie there.
"""

import torch
from torch import Generator, Tensor

from unsee.data.views import LARGEST, composed, largest, sources
from unsee.models.checkpoint import Vlm
from unsee.models.features import Features, Inputs, all_features, joined
from unsee.models.inputs import enough, image_inputs
from unsee.moments.records import Photos
from unsee.system.progress import steps

MOST_BYTES = 1 << 30  # of the features of all composites
TRIES = 20  # pairs drawn for one of two concepts


def composites(vlm: Vlm, photos: Photos, count: int, seed: int, batch: int) -> tuple[list[Inputs], Features]:
    """Inputs of composites, and their features as the model has them now; at most `count`, and none of one photo.

    Each is made of photos of two concepts where the photos have several.
    """
    generator = Generator().manual_seed(seed)
    single = sum(value[:1].nbytes for value in photos.features.values.values())
    count = min(count, MOST_BYTES // single) if len(photos.inputs) > 1 else 0
    side = enough(vlm.processor, largest(photos.pictures), LARGEST) if count else LARGEST
    opened = sources(photos.pictures, side)
    inputs = list[Inputs]()
    for _ in steps("putting photos together", range(count)):
        first, second = _pair(photos.concept, generator)
        inputs += image_inputs(vlm.processor, [composed(opened[first](), opened[second](), generator)])
    return inputs, all_features(vlm.model, inputs, batch) if inputs else photos.features[:0]


def _pair(concept: Tensor, generator: Generator) -> tuple[int, int]:
    drawn = torch.randint(len(concept), (TRIES, 2), generator=generator)
    one, other = drawn.unbind(1)
    apart = (concept[one] != concept[other]).int() + (one != other).int()  # two concepts, else two photos of one
    first, second = drawn[int(apart.argmax())].tolist()
    return first, second


def with_composites(vlm: Vlm, photos: Photos, count: int, seed: int, batch: int) -> tuple[list[Inputs], Features]:
    """The inputs and features of the photos, then of composites."""
    inputs, features = composites(vlm, photos, count, seed, batch)
    return [*photos.inputs, *inputs], joined([photos.features, features]) if inputs else photos.features
