"""States that stand for retained photos: drawn from what these put into the first block that is trained.

Source: ours; replay of features that are drawn from a Gaussian for each class is known from continual learning (van de
Ven et al. 2020, "Brain-inspired replay"). What a whole image puts into a block is one vector here, so that places of an
image that belong together stay together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from transformers import PreTrainedModel

from unsee.linalg.discriminant import Scatter, scatter, summed_up
from unsee.models.features import Inputs
from unsee.models.prefix import STATE_BYTES, prefix_states

LONGEST = 1 << 20  # numbers of an image's states; of longer ones nothing is kept
FEWEST = 3  # photos of a concept: of fewer the mean would be somebody's photo
JITTER = 1e-9  # of the mean variance, so that a factor exists


@dataclass(frozen=True, eq=False)
class States:
    """Sums by concept of what retained images put into the block of `layer`: (token, width) each, `shape`.

    `concept` (n,) int64 is the place of each retained image's concept in the sums, and -1 where it was not counted.
    """

    layer: str
    shape: tuple[int, int]
    sums: Scatter
    concept: Tensor

    def drawn(self, count: int, seed: int) -> Tensor:
        """So many states (count, token, width) float32: each concept alike, normal about its mean.

        What varies within a concept is taken to be the same for all.
        """
        generator, sums = Generator().manual_seed(seed), self.sums
        there = torch.where(sums.counts > 0)[0]
        centers = sums.sums[there] / sums.counts[there, None]
        within = (sums.outer - centers.T @ sums.sums[there]) / sums.counts.sum()
        unit = JITTER * float(within.diagonal().mean()) + torch.finfo(torch.float64).tiny
        values, vectors = torch.linalg.eigh(within)
        factor = vectors * values.clamp(min=unit).sqrt()
        chosen = torch.randint(len(there), (count,), generator=generator)
        noise = torch.randn(count, len(within), generator=generator, dtype=torch.float64)
        reduced = centers[chosen] + noise @ factor.T
        states: Tensor = (sums.mean + reduced @ sums.basis.double()).float()
        return states.view(count, *self.shape)

    def without(self, states: Tensor, places: Tensor, left: Tensor) -> "States | None":
        """Without the images at these places (m,), which have these states (m, token, width); exact.

        `left` (n,) bool is true for the images that stay. None where fewer than two concepts are left.
        """
        counted = self.concept[places] >= 0
        sums = self.sums.without(states[counted].flatten(1), self.concept[places][counted])
        if int((sums.counts > 0).sum()) < 2:
            return None
        return replace(self, sums=sums, concept=self.concept[left])


def entering(model: PreTrainedModel, layer: str, images: Sequence[Inputs], batch: int) -> Tensor | None:
    """What each image puts into a layer's block (image, token, width), on the CPU.

    None where it cannot come again, or images differ in how many tokens they have.
    """
    found = prefix_states(model, layer, images, batch)
    if found is None or found[0].axis or any(state.shape != (1, *found[1][0].shape[1:]) for state in found[1]):
        return None
    return found[0].joined(found[1]).cpu()


def retained_states(
    model: PreTrainedModel,
    layer: str,
    images: Sequence[Inputs],
    concept: Tensor,
    batch: int,
    like: "States | None" = None,
) -> States | None:
    """The states of retained images (concept (n,) int64), or of some of each concept where all take too much memory.

    They are summed up in the basis of others, `like`, if these are given. None where images differ in size, the
    encoder's blocks pass on more than their states, or there are too few.
    """
    first = entering(model, layer, images[:1], batch)
    if first is None or first.numel() > LONGEST:
        return None
    every = -(-len(images) * first.nbytes // STATE_BYTES)
    wanted = torch.arange(0, len(images), every)
    names, counts = concept[wanted].unique(return_counts=True)
    wanted = wanted[torch.isin(concept[wanted], names[counts >= FEWEST])]
    known = concept[wanted].unique()
    if len(known) < 2:
        return None
    states = entering(model, layer, [images[place] for place in wanted.tolist()], batch)
    if states is None:
        return None
    member = torch.full_like(concept, -1)
    member[wanted] = torch.searchsorted(known, concept[wanted])
    shape, flat, names = (states.shape[1], states.shape[2]), states.flatten(1), concept[wanted]
    if like is not None and like.shape != shape:
        return None
    sums = scatter(flat, names) if like is None else summed_up(like.sums, flat, names)
    return States(layer, shape, sums, member)
