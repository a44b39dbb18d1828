"""What holds the outputs of layers where no photo does."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from unsee.forgetting.confined import ConfinedWeight
from unsee.forgetting.holding import held
from unsee.linalg.anchor import Anchor
from unsee.linalg.gram import Gram, gram_of
from unsee.linalg.output_metric import OutputMetric

DRAW = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW)


@dataclass
class Known:
    """As much of moments as is asked for."""

    grams: dict[str, Gram]
    guard: dict[str, Gram] = field(default_factory=dict)
    anchors: dict[str, Anchor] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=lambda: {"layer": "layer"})


def trained(known: Known, start: Tensor, weight: float = 0.0) -> Tensor:
    """Where plain gradient descent on nothing but what holds the weight leads from `start`."""
    own = ConfinedWeight(torch.nn.Parameter(start.clone()), None)
    holds = held({"layer": own}, known, weight, {})  # type: ignore[arg-type]
    for _ in range(400):
        (gradient,) = torch.autograd.grad(torch.stack([each.loss() for each in holds]).sum(), [own.weight])
        with torch.no_grad():
            own.weight -= 0.2 * gradient
    return own.weight.detach()


def test_a_leak_of_an_earlier_request_is_pulled_back_with_an_anchor_and_not_without() -> None:
    vectors, first = normal(3, 6), normal(4, 6)
    guard, leaked = gram_of(vectors).weighted(1 / 3), first + 0.3 * normal(4, 6)
    anchor = Anchor.of(first, guard)
    begun = anchor.shift(leaked, guard)
    back = trained(Known({}, {"layer": guard}, {"layer": anchor}), leaked)
    assert anchor.shift(back, guard) < 1e-3 * begun
    frame, aside = torch.linalg.qr(vectors.T).Q, normal(6)
    aside -= frame @ (frame.T @ aside)
    torch.testing.assert_close(back @ aside, leaked @ aside)  # what no target puts in is free
    stays = trained(Known({}, {"layer": guard}), leaked)
    assert torch.equal(stays, leaked)


def test_what_the_retained_put_into_a_layer_holds_it_by_its_own_energy() -> None:
    vectors, start = normal(50, 6), normal(4, 6)
    gram = gram_of(vectors)
    own = ConfinedWeight(torch.nn.Parameter(start.clone()), None)
    (one,) = held({"layer": own}, Known({"layer": gram}), 30.0, {})  # type: ignore[arg-type]
    assert one.loss().item() == 0
    with torch.no_grad():
        own.weight.mul_(1.1)
    assert one.loss().item() == pytest.approx(30 * 0.01, rel=1e-4)
    assert held({"layer": own}, Known({"layer": gram}), 0.0, {}) == []  # type: ignore[arg-type]


def test_what_is_read_of_outputs_is_held_and_the_rest_hardly() -> None:
    """The loss is that of the metric as a full matrix, and a change of what is not read costs the least share."""
    vectors, start = normal(50, 6), normal(40, 6)
    gram, rows = gram_of(vectors), normal(2, 40)
    metric = OutputMetric.of(rows.T @ rows)
    own = ConfinedWeight(torch.nn.Parameter(start.clone()), None)
    (one,) = held({"layer": own}, Known({"layer": gram}), 10.0, {"layer": metric})  # type: ignore[arg-type]
    change = normal(40, 6)
    with torch.no_grad():
        own.weight.add_(change)
    full = metric.rows.T @ metric.rows + metric.rest * torch.eye(40)
    shift, energy = (((full @ each) * (each @ gram.second.float())).sum() for each in (change, start))
    torch.testing.assert_close(one.loss(), 10 * shift / energy, rtol=1e-4, atol=0.0)
    torch.testing.assert_close(full.trace(), torch.tensor(40.0))
    frame = torch.linalg.qr(rows.T).Q
    read, unread = frame @ (frame.T @ change), change - frame @ (frame.T @ change)
    moved = []
    for each in (read, unread / unread.norm() * read.norm()):
        with torch.no_grad():
            own.weight.copy_(start + each)
        moved.append(one.loss().item())
    assert moved[1] < 0.02 * moved[0]
