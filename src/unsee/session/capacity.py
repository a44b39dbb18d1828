"""How much room is left for later requests, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from unsee.session.state import State

FREE = 0.01  # energy, in units of the mean, at which a direction counts as half free


@dataclass(frozen=True)
class Capacity:
    """Of one Gram: its layer, width, directions still free at first and now, and the layer's drift so far."""

    layer: str
    width: int
    free_before: float
    free: float
    drift: float


def capacities(state: State, drift: Mapping[str, float]) -> list[Capacity]:
    """How many directions of each Gram are free, before any request and now; `drift` is by layer.

    A direction of energy s counts r t / (s + r t), with r = FREE and t the mean energy of the retained inputs: 1 where
    nothing retained or forgotten is, 0 where much is.
    """
    readers: dict[str, list[str]] = {}
    for name, first in state.retained.first.items():
        readers.setdefault(first, []).append(name)
    found = []
    for first, names in readers.items():
        retained = state.retained.grams[first].second
        now = retained + state.guard[first].outer if state.guard else retained
        unit = FREE * float(retained.diagonal().mean())
        free = [float((unit / (torch.linalg.eigvalsh(g).clamp(min=0) + unit)).sum()) for g in (retained, now)]
        found.append(Capacity(first, len(now), free[0], free[1], max(drift[name] for name in names)))
    return found
