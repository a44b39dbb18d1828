"""What a layer gave for vectors that are gone: enough to measure exactly, later, how far its outputs have moved since.

Source: ours. A guard that knows the change of the present request alone, as the cache of AlphaEdit (Fang et al. 2025)
does, lets what each request leaks add up.
"""

from dataclasses import dataclass

from torch import Tensor

from unsee.linalg.gram import Gram


@dataclass(frozen=True, eq=False)
class Anchor:
    """C = sum of W_i M_i and the sum of tr(W_i M_i W_i^T), over sets of vectors i.

    M_i is `outer` of the set's Gram and W_i (d_out, d_in) the layer's weight when the set was added. With M = sum of
    M_i, tr(W M W^T) - 2 tr(W C^T) + energy = sum of tr((W - W_i) M_i (W - W_i)^T) for every W: how far the outputs of
    all sets have moved, whose size does not grow with their number.
    """

    outputs: Tensor
    """C: (d_out, d_in) float64."""
    energy: float

    @classmethod
    def of(cls, weight: Tensor, gram: Gram) -> "Anchor":
        """Of one set of vectors, at a weight (d_out, d_in) of any float dtype."""
        wide = weight.detach().to(gram.outer.device).double()
        outputs = wide @ gram.outer
        return cls(outputs, float((outputs * wide).sum()))

    def __add__(self, other: "Anchor") -> "Anchor":
        """Of both sets; to be used with the sum of their Grams."""
        return Anchor(self.outputs + other.outputs, self.energy + other.energy)

    def weighted(self, weight: float) -> "Anchor":
        """Of the same vectors, each counted `weight` times; to be used with their Gram, weighted alike."""
        return Anchor(weight * self.outputs, weight * self.energy)

    def slope(self, weight: Tensor, gram: Gram) -> Tensor:
        """W M - C (d_out, d_in) float64, half the gradient of `shift` by W; `gram` is the sum over all sets."""
        return weight.detach().to(gram.outer.device).double() @ gram.outer - self.outputs

    def shift(self, weight: Tensor, gram: Gram) -> float:
        """Sum of tr((W - W_i) M_i (W - W_i)^T), >= 0; `gram` is the sum over all sets."""
        wide = weight.detach().to(gram.outer.device).double()
        return max(float(((wide @ gram.outer - 2 * self.outputs) * wide).sum()) + self.energy, 0.0)
