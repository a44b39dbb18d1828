"""The features of all crossings as one vector per image, and a shift of such vectors back on the features."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from unsee.errors import InputError
from unsee.models.features import Features

LONGEST = 1 << 17  # numbers of a vector; images with more are described by the means of token groups
RUNS = 16  # token groups of an image whose tokens are not taken one by one


@dataclass(frozen=True)
class Layout:
    """How features become vectors.

    `shapes` are (tokens, width) by crossing. With `pooled`, the tokens of an image are divided into groups of
    neighbours, and the mean of each group stands for it; `shapes` then counts groups. Tokens come row by row, so that
    a group is a band of the image. Images with varying or very many tokens need this. `scales` are what each crossing
    is divided by, so that all vary alike. With a `basis`, orthonormal rows (k, width), vectors are what features are
    along its rows, and a shift goes along them alone.
    """

    shapes: dict[str, tuple[int, int]]
    scales: dict[str, float]
    pooled: bool
    basis: Tensor | None = None

    @property
    def width(self) -> int:
        """Numbers of a vector without a basis."""
        return sum(tokens * width for tokens, width in self.shapes.values())

    def to(self, device: torch.device) -> "Layout":
        """The same on a device."""
        return self if self.basis is None else replace(self, basis=self.basis.to(device))

    def vectors(self, features: Features) -> Tensor:
        """(image, d), d = k with a basis.

        Raises InputError for features of other crossings or, unless pooled, other token counts.
        """
        parts = []
        for name, (tokens, width) in self.shapes.items():
            value = features.values.get(name)
            if value is None or value.shape[2] != width or (not self.pooled and value.shape[1] != tokens):
                found = None if value is None else tuple(value.shape[1:])
                raise InputError(
                    f"the retained features have {tokens} tokens of width {width} at {name}, and here are {found}; "
                    "measure the moments again on this model, with images as the target's."
                )
            if self.pooled:
                value = _run_means(features, name, tokens)
            parts.append(value.flatten(1) / self.scales[name])
        whole = torch.cat(parts, 1)
        return whole if self.basis is None else whole @ self.basis.T

    def shifted(self, features: Features, shift: Tensor) -> Features:
        """The features, every token moved by the shift (image, d) of its image, or of its group where pooled."""
        shift = shift if self.basis is None else shift @ self.basis
        values, start = dict(features.values), 0
        for name, (tokens, width) in self.shapes.items():
            part = shift[:, start : start + tokens * width].view(len(shift), tokens, width) * self.scales[name]
            start += tokens * width
            moved = _runs(features, name, tokens) @ part if self.pooled else part * own_tokens(features, name)
            values[name] = values[name] + moved
        return Features(values, features.counts)


def _runs(features: Features, name: str, runs: int) -> Tensor:
    """(image, token, run) float: 1 where a token belongs to a run, 0 for padding."""
    value, count = features.values[name], features.counts[name]
    run = (torch.arange(value.shape[1], device=value.device) * runs // count[:, None]).clamp(max=runs - 1)
    return F.one_hot(run, runs) * own_tokens(features, name)


def _run_means(features: Features, name: str, runs: int) -> Tensor:
    """(image, run, width); a run without a token, of an image with fewer tokens than runs, has the image's mean."""
    value, own = features.values[name], _runs(features, name, runs)
    sums, sizes = own.transpose(1, 2) @ value, own.sum(1)[..., None]
    whole = sums.sum(1, keepdim=True) / sizes.sum(1, keepdim=True)
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), whole)


def own_tokens(features: Features, name: str) -> Tensor:
    """(image, token, 1) float: 1 for an image's own tokens and 0 for padding."""
    value, count = features.values[name], features.counts[name]
    return (torch.arange(value.shape[1], device=value.device) < count[:, None])[..., None].to(value.dtype)


def spreads(features: Features) -> dict[str, float]:
    """Mean squared deviation from the mean token, or from the mean image where all have as many tokens, per number."""
    found = {}
    for name, value in features.values.items():
        own, count = own_tokens(features, name), features.counts[name]
        same = bool((count == count[0]).all())
        mean = value.mean(0) if same else value.sum((0, 1)) / count.sum()
        found[name] = float(((value - mean) * own).square().sum() / (count.sum() * value.shape[2]))
    return found


def layout(features: Features, spread: dict[str, float], runs: int = 0) -> Layout:
    """The layout for features such as these, with so many token groups; 0 takes each token by itself.

    Where that would make too long a vector, there are fewer runs, of several tokens each.
    """
    shapes = {name: (value.shape[1], value.shape[2]) for name, value in features.values.items()}
    if not runs and sum(tokens * width for tokens, width in shapes.values()) > LONGEST:
        runs = RUNS
    if runs:
        fitting = max(1, LONGEST // sum(width for _, width in shapes.values()))
        most = {name: min(runs, fitting, int(features.counts[name].min())) for name in shapes}
        shapes = {name: (most[name], width) for name, (_, width) in shapes.items()}
    first = next(iter(spread.values()))
    scales = {name: (value / first) ** 0.5 if value > 0 and first > 0 else 1.0 for name, value in spread.items()}
    return Layout(shapes, scales, pooled=runs > 0)
