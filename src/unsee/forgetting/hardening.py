"""Making it harder to bring the target back: by weights of before put back, or by training on its photos again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel

from unsee.forgetting.goals import Goals
from unsee.forgetting.settings import FeatureSettings
from unsee.models.features import Features
from unsee.models.weights import assign, restored
from unsee.system.processes import count, mine

ASKED = 16  # target images of a step that are asked about with other weights
MOST_STEPS = 3  # of the attacker, within a step


@dataclass(frozen=True, eq=False)
class Hardening:
    """Further parts of a step's loss: the distance to the region where some weights are not what they are now.

    `apart` gives that distance for the images at some places, with gradient; `batch` images are held at once.
    """

    settings: FeatureSettings
    model: PreTrainedModel
    goals: Goals
    apart: Callable[[Tensor, Features], Tensor]
    batch: int

    def losses(self, generator: Generator, start: Mapping[str, Tensor], moving: Sequence[str]) -> Iterator[Tensor]:
        """The parts that the settings ask for; `start` has the weights of before, `moving` names those trained."""
        if self.settings.harden > 0 and len(start) > 1:
            yield from self._put_back(generator, start, moving)
        if self.settings.resist > 0:
            yield from self._relearned(generator, start, moving)

    def _put_back(self, generator: Generator, start: Mapping[str, Tensor], moving: Sequence[str]) -> Iterator[Tensor]:
        """The layers from a random one on have the weights of before.

        What is forgotten only by a later layer comes back with the weights that it had.
        """
        done = len(start) - len(moving)  # layers of turns before, which run later
        kept = int(torch.randint(1, len(moving) + bool(done), (), generator=generator))
        drawn = torch.randint(len(self.goals.inputs), (ASKED,), generator=generator)
        later = {name: start[name] for name in [*moving[kept:], *(name for name in start if name not in moving)]}
        for number, part in enumerate(drawn.split(self._size())):
            if not mine(number):
                continue
            with self._as_before(later):
                yield self.settings.harden * len(part) / ASKED * self.apart(part, self.goals.goal(part))

    def _relearned(self, generator: Generator, start: Mapping[str, Tensor], moving: Sequence[str]) -> Iterator[Tensor]:
        """An attacker has made some steps on other photos of the target.

        The gradient is taken there and the step made from where the weights are, as in sharpness-aware minimisation
        (Foret et al. 2021, arXiv 2010.01412) and, against relearning, TAR (Tamirisa et al. 2024, arXiv 2408.00761).
        """
        shown = torch.randint(self.goals.wholes, (ASKED,), generator=generator)
        asked = torch.randint(len(self.goals.inputs), (ASKED,), generator=generator)
        steps = int(torch.randint(1, MOST_STEPS + 1, (), generator=generator))
        with self._attacked({name: start[name] for name in moving}, shown, steps):
            for number, part in enumerate(asked.split(self._size())):
                if mine(number):
                    yield self.settings.resist * len(part) / ASKED * self.apart(part, self.goals.goal(part))

    def _size(self) -> int:
        """Images of a part of the loss: each process has one at least."""
        return min(self.batch, -(-ASKED // count()))

    @contextmanager
    def _attacked(self, start: Mapping[str, Tensor], shown: Tensor, steps: int) -> Iterator[None]:
        """While open, these layers are so many steps nearer to where the images had their features before.

        A step moves every number of a weight by `tamper` of the root of their mean square, along the gradient's sign.
        """
        layers = self._weights(start)
        weights = list(layers.values())
        sizes = [self.settings.tamper * weight.float().square().mean().sqrt() for weight in start.values()]
        with restored(layers):
            for _ in range(steps):
                slopes = [torch.zeros_like(weight) for weight in weights]
                for part in shown.split(self.batch):
                    apart = len(part) * self.apart(part, self.goals.before(part))
                    for slope, more in zip(slopes, torch.autograd.grad(apart, weights), strict=True):
                        slope += more
                with torch.no_grad():
                    for weight, slope, size in zip(weights, slopes, sizes, strict=True):
                        weight.sub_(size * slope.sign())
            yield

    @contextmanager
    def _as_before(self, start: Mapping[str, Tensor]) -> Iterator[None]:
        """While open, these layers have the weights of before and take no gradient."""
        weights = self._weights(start)
        asked = {name: weight.requires_grad for name, weight in weights.items()}
        with restored(weights):
            try:
                for weight in weights.values():
                    weight.requires_grad_(False)
                assign(weights, start)
                yield
            finally:
                for name, weight in weights.items():
                    weight.requires_grad_(asked[name])

    def _weights(self, names: Mapping[str, Tensor]) -> dict[str, Parameter]:
        modules = dict(self.model.named_modules())
        return {name: modules[name].weight for name in names}
