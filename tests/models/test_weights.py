"""Weights that are given other values for a while have their own, their dtype and their ties again afterwards."""

import pytest
import torch
from torch import nn

from unsee.models.weights import assign, frozen_after, in_float32, restored


class Tied(nn.Module):
    """Two layers that share one weight, and a buffer, in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.ones(2))
        self.half()


def test_values_are_given_by_name_in_any_dtype() -> None:
    weights = {"a": torch.zeros(2, dtype=torch.float16), "b": torch.zeros(2)}
    assign(weights, {"a": torch.full((2,), 0.5, dtype=torch.float64)})
    assert weights["a"].tolist() == [0.5, 0.5]
    assert weights["a"].dtype == torch.float16
    assert weights["b"].tolist() == [0, 0]


def test_what_was_changed_is_put_back_although_the_work_failed() -> None:
    weight = nn.Parameter(torch.arange(3.0))

    def fail() -> None:
        with frozen_after({"w": weight}), restored({"w": weight}) as start:
            weight.sum().backward()
            assign({"w": weight}, {"w": torch.full((3,), 7.0)})
            assert start["w"].tolist() == [0, 1, 2]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert weight.tolist() == [0, 1, 2]
    assert not weight.requires_grad
    assert weight.grad is None


def test_a_model_in_half_precision_is_float32_for_a_while_with_its_ties() -> None:
    model = Tied()
    tensors = [*model.parameters(), *model.buffers()]
    first = model.first.weight.detach().clone()
    with in_float32(model):
        assert {value.dtype for value in tensors} == {torch.float32}
        assert model.second.weight is model.first.weight
        assign(dict(model.named_parameters()), {"first.weight": first.float() + 1e-5})
    assert {value.dtype for value in tensors} == {torch.float16}
    assert torch.equal(model.second.weight, (first.float() + 1e-5).half())
