"""What holds the outputs of trained layers where no photo does: moments of the retained, and earlier targets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from unsee.forgetting import losses
from unsee.forgetting.confined import ConfinedWeight
from unsee.linalg.anchor import Anchor
from unsee.linalg.gram import Gram
from unsee.linalg.output_metric import OutputMetric
from unsee.linalg.subspace import energy_out
from unsee.models.spreading import whole
from unsee.moments.records import Moments


@dataclass(frozen=True, eq=False)
class Held:
    """A weight whose outputs are to stay, for inputs of this `outer` and in units of `energy`."""

    weight: ConfinedWeight
    outer: Tensor
    energy: float
    slope: Tensor | None = None
    shift: float = 0.0
    metric: OutputMetric | None = None

    def loss(self) -> Tensor:
        """How far they have moved."""
        now, start = whole(self.weight.weight), whole(self.weight.start)
        return losses.output_shift(now, start, self.outer, self.energy, self.slope, self.shift, self.metric)


def held(
    weights: Mapping[str, ConfinedWeight], moments: Moments, weight: float, metrics: Mapping[str, OutputMetric]
) -> list[Held]:
    """What holds each of these weights: the guard, and `weight` times the retained moments, each if there is any.

    Every layer counts alike: by the mean energy of its outputs at the start. For retained moments outputs count by the
    `metrics` of layers, all directions alike where a layer has none.
    """
    found, readers = list[Held](), dict[str, list[str]]()
    for name in weights:
        readers.setdefault(moments.first[name], []).append(name)
    for first, names in readers.items():
        sharing = {name: weights[name] for name in names}
        if first in moments.guard:
            found += _guarded(sharing, moments.guard[first], moments.anchors)
        if weight > 0:
            found += _kept(sharing, moments.grams[first], weight, metrics)
    return found


def _kept(
    sharing: Mapping[str, ConfinedWeight], gram: Gram, weight: float, metrics: Mapping[str, OutputMetric]
) -> Iterator[Held]:
    second = gram.second.to(next(iter(sharing.values())).weight)
    for name, own in sharing.items():
        metric = metrics.get(name)
        energy = _energy(own, gram, metric)
        if energy > 0:
            here = None if metric is None else metric.to(own.weight)
            yield Held(own, second, energy / weight, metric=here)


def _guarded(sharing: Mapping[str, ConfinedWeight], gram: Gram, anchors: Mapping[str, Anchor]) -> Iterator[Held]:
    outer = gram.outer.to(next(iter(sharing.values())).weight)
    for name, own in sharing.items():
        energy, anchor = _energy(own, gram), anchors.get(name)
        if energy <= 0:
            continue
        if anchor is None:  # the weight is still what it was when the targets were added
            yield Held(own, outer, energy)
        else:
            slope = anchor.slope(own.start, gram).to(own.weight)
            yield Held(own, outer, energy, slope, anchor.shift(own.start, gram))


def _energy(weight: ConfinedWeight, gram: Gram, metric: OutputMetric | None = None) -> float:
    """The mean energy of a weight's outputs at the start."""
    return energy_out(whole(weight.start), gram, metric) / (gram.count or 1.0)
