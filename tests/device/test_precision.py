"""In which precision models run forward, and how attention is computed there."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from unsee.system import device
from unsee.system.device import SHORT, computing, forward, multiplies_in_half, precision_on

CPU = torch.device("cpu")


@pytest.mark.parametrize("tokens", [5, SHORT, SHORT + 1])
def test_attention_over_few_tokens_is_made_of_products_in_bfloat16(tokens: int) -> None:
    """The fused kernel is slow backwards there; what comes of both is the same to rounding."""
    query, key, value = torch.randn(3, 2, 4, tokens, 8, generator=torch.Generator().manual_seed(0)).unbind()
    query.requires_grad_(True)
    expected = scaled_dot_product_attention(query, key, value)
    with computing(precision="bfloat16"), forward(CPU):
        found = scaled_dot_product_attention(query, key, value)
    assert found.dtype == torch.bfloat16
    assert found.grad_fn is not None
    assert ("Flash" in found.grad_fn.name()) == (tokens > SHORT)
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
    with computing(precision="float32"), forward(CPU):
        assert torch.equal(scaled_dot_product_attention(query, key, value), expected)


@pytest.mark.parametrize(
    ("known", "multiplies"), [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx512_f": True}, False)]
)
def test_a_cpu_stays_float32_unless_asked(
    known: dict[str, bool], monkeypatch: pytest.MonkeyPatch, *, multiplies: bool
) -> None:
    monkeypatch.setattr(device.torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert multiplies_in_half(CPU) == multiplies
    assert not multiplies_in_half(torch.device("meta"))
    with computing(precision="auto"):
        assert precision_on(CPU) == "float32"
    with computing(precision="bfloat16"):
        assert precision_on(CPU) == "bfloat16"
