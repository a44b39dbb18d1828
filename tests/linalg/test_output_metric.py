"""How much each direction of a layer's outputs counts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theorems import normal, seeds, theorem

from unsee.linalg import output_metric
from unsee.linalg.output_metric import REST, OutputMetric, inner_product


@theorem
@given(seeds, st.integers(1, 40), st.integers(1, 32))
def test_a_metric_of_few_directions_is_their_second_moment_and_a_rest(seed: int, width: int, rank: int) -> None:
    """With the mean 1 over all directions, in units of which the rest is."""
    rows = normal(seed, min(rank, width), width).float()
    second = rows.T @ rows
    found = OutputMetric.of(second)
    whole = found.rows.T @ found.rows + found.rest * torch.eye(width)
    wanted = (second / second.diagonal().mean() + REST * torch.eye(width)) / (1 + REST)
    torch.testing.assert_close(whole, wanted, rtol=1e-3, atol=1e-3)
    one = normal(seed + 1, width, 3).float()
    torch.testing.assert_close(found.inner(one, one), (one * (whole @ one)).sum(), rtol=1e-3, atol=1e-3)


def test_wide_layers_have_the_same_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(12, 200, generator=torch.Generator().manual_seed(0))
    second = rows.T @ rows
    narrow = OutputMetric.of(second)
    monkeypatch.setattr(output_metric, "WIDE", 200)
    wide = OutputMetric.of(second)
    torch.testing.assert_close(wide.rows.T @ wide.rows, narrow.rows.T @ narrow.rows, rtol=1e-3, atol=1e-3)


def test_where_nothing_is_read_every_direction_counts_alike() -> None:
    found, one = OutputMetric.of(torch.zeros(5, 5)), torch.randn(5, 2)
    torch.testing.assert_close(found.inner(one, one), inner_product(one, one))
