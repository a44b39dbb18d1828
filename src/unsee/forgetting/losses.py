"""Losses on features; none of them runs the language model.

arXiv 2605.05909 describes contrastive visual forgetting in words; the formulas here are ours.
"""

import torch
from torch import Tensor

from unsee.linalg.output_metric import OutputMetric, inner_product
from unsee.models.features import Features, fitted
from unsee.moments.modes import RetainedFeatures


def identity(features: Features, retained: RetainedFeatures) -> Tensor:
    """Discriminant coordinates (image, q): what tells concepts apart, in standard deviations within a concept."""
    return retained.discriminant.coordinates(retained.layout.vectors(features))


def distance(features: Features, goal: Features, retained: RetainedFeatures, weight: float) -> Tensor:
    """Mean squared difference of the features in units of their spread, plus `weight` times that of the coordinates.

    Scalar, >= 0; the mean over the crossings of the mean over images and their tokens. The first term is 1 for features
    as far from the goal as a stranger's; it is dominated by the strong directions. The second sees the weak ones in
    which identity lives (ours). `retained` is on the device of `features`; `goal` may be elsewhere.
    """
    gaps, goal = [], goal.to(features.device)
    for name, spread in retained.spread.items():
        value = features.values[name]
        other = fitted(goal.values[name], value.shape[1])
        each = (value - other).square().sum((1, 2)) / (features.counts[name] * value.shape[2])
        gaps.append(each.mean() / spread)
    apart = torch.stack(gaps).mean()
    if weight == 0:
        return apart
    return apart + weight * (identity(features, retained) - identity(goal, retained)).square().mean()


def output_shift(
    weight: Tensor,
    start: Tensor,
    outer: Tensor,
    energy: float,
    slope: Tensor | None = None,
    before: float = 0.0,
    metric: OutputMetric | None = None,
) -> Tensor:
    """How far a layer's outputs moved: (tr(B D S D^T) + 2 tr(B D R^T) + before) / energy, with D = weight - start.

    `outer` is S (d_in, d_in), the sum of h h^T over the layer inputs h that count, and `metric` is B, how much each
    direction of the outputs does; all alike without one. Where outputs had moved `before` the start, R (d_out, d_in) is
    the `slope` of that, see `linalg.anchor.Anchor`: the sum is then what they moved altogether. Scalar, >= 0 up to
    rounding.
    """
    inner, change = inner_product if metric is None else metric.inner, weight - start
    moved = inner(change, change @ outer)
    if slope is not None:
        moved = moved + 2 * inner(change, slope) + before
    return moved / energy


def contrast(anchor: Tensor, positive: Tensor, own: Tensor, others: Tensor, same: Tensor, temperature: float) -> Tensor:
    """InfoNCE: towards the region, away from what the image and its concept were; scalar, >= 0.

    anchor, positive and own (n, q): coordinates now, in the region, and before; others (m, q): coordinates before of
    other target images, of which `same` (n, m) bool marks those of the anchor's concept. Similarity is minus the mean
    squared difference. Source: InfoNCE (van den Oord et al. 2018); the space and the similarity are ours.
    """

    def likeness(a: Tensor, b: Tensor) -> Tensor:
        return -(a - b).square().mean(-1, keepdim=True)

    aside = -(anchor[:, None] - others[None]).square().mean(-1).masked_fill(~same, -torch.inf)
    logits = torch.cat([likeness(anchor, positive), likeness(anchor, own), aside], dim=1) / temperature
    return (logits.logsumexp(1) - logits[:, 0]).mean()
