"""What is read of the outputs of layers."""

import torch
from torch import Tensor, nn

from unsee.forgetting.output_slopes import output_metrics
from unsee.linalg.output_metric import REST

DRAW = torch.Generator().manual_seed(0)


def test_only_what_a_later_layer_reads_counts() -> None:
    """And the same in batches of any size; a layer that nothing reads has no metric, and no gradient stays behind."""
    first, unused, reads = nn.Linear(5, 8, bias=False), nn.Linear(5, 8), torch.zeros(3, 8)
    reads[:, 2:4] = torch.randn(3, 2, generator=DRAW)
    images = torch.randn(20, 4, 5, generator=DRAW)

    def vectors(places: Tensor) -> Tensor:
        unused(images[places]).detach()
        return (first(images[places]) @ reads.T).flatten(1)

    layers = {"first": first, "unused": unused}
    found = output_metrics(layers, vectors, 20, 7, 0)
    assert set(found) == {"first"}
    counts = (found["first"].rows.square().sum(0) + found["first"].rest).detach()
    unread = [0, 1, 4, 5, 6, 7]
    torch.testing.assert_close(counts[unread], torch.full((6,), REST / (1 + REST)), rtol=1e-3, atol=1e-6)
    assert counts[2:4].min() > 1
    torch.testing.assert_close(counts.sum(), torch.tensor(8.0))
    again = output_metrics(layers, vectors, 20, 20, 0)
    torch.testing.assert_close(
        again["first"].rows.T @ again["first"].rows, found["first"].rows.T @ found["first"].rows, rtol=1e-3, atol=1e-4
    )
    assert first.weight.grad is None
    assert not first._forward_hooks
