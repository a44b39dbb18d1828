"""The features of all crossings as one vector per image, and a shift of such vectors back on the features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.models.features import Features

LONGEST = 1 << 17  # numbers of a vector; images with more are described by the mean over their tokens


@dataclass(frozen=True)
class Layout:
    """How features become vectors.

    `shapes` are (tokens, width) by crossing; tokens is 1 where `pooled`, when an image counts with the mean over its
    tokens: because their number varies, or because there are too many. `scales` are what each crossing is divided by,
    so that all vary alike.
    """

    shapes: dict[str, tuple[int, int]]
    scales: dict[str, float]
    pooled: bool

    def vectors(self, features: Features) -> Tensor:
        """(image, d). Raises InputError for features of other crossings or, unless pooled, other token counts."""
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
                value = value.sum(1) / features.counts[name][:, None]
            parts.append(value.flatten(1) / self.scales[name])
        return torch.cat(parts, 1)

    def shifted(self, features: Features, shift: Tensor) -> Features:
        """The features with every token moved by the shift (image, d) of its image."""
        values, start = dict(features.values), 0
        for name, (tokens, width) in self.shapes.items():
            part = shift[:, start : start + tokens * width].view(len(shift), tokens, width) * self.scales[name]
            start += tokens * width
            values[name] = values[name] + part * own_tokens(features, name)
        return Features(values, features.counts)


def own_tokens(features: Features, name: str) -> Tensor:
    """(image, token, 1) float: 1 for an image's own tokens and 0 for padding."""
    value, count = features.values[name], features.counts[name]
    return (torch.arange(value.shape[1]) < count[:, None])[..., None].to(value.dtype)


def spreads(features: Features) -> dict[str, float]:
    """Mean squared deviation from the mean token, or from the mean image where all have as many tokens, per number."""
    found = {}
    for name, value in features.values.items():
        own, count = own_tokens(features, name), features.counts[name]
        same = bool((count == count[0]).all())
        mean = value.mean(0) if same else value.sum((0, 1)) / count.sum()
        found[name] = float(((value - mean) * own).square().sum() / (count.sum() * value.shape[2]))
    return found


def layout(features: Features, spread: dict[str, float], *, pooled: bool) -> Layout:
    """The layout for features such as these; `pooled` where their token counts may vary between images."""
    shapes = {name: (value.shape[1], value.shape[2]) for name, value in features.values.items()}
    pooled = pooled or sum(tokens * width for tokens, width in shapes.values()) > LONGEST
    if pooled:
        shapes = {name: (1, width) for name, (_, width) in shapes.items()}
    first = next(iter(spread.values()))
    scales = {name: (value / first) ** 0.5 if value > 0 and first > 0 else 1.0 for name, value in spread.items()}
    return Layout(shapes, scales, pooled)
