"""Methods by name; each is a frozen dataclass of settings with `forget(vlm, target, retained, ...) -> Edit`."""

from unsee.methods.closed_form import ClosedForm
from unsee.methods.dpo import DPO
from unsee.methods.finetune import Finetune
from unsee.methods.grad_ascent import GradAscent
from unsee.methods.grad_diff import GradDiff
from unsee.methods.kl import KL
from unsee.methods.method import Method
from unsee.methods.npo import NPO
from unsee.methods.nscvf import NSCVF
from unsee.methods.po import PO
from unsee.methods.streaming import Streaming

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (NSCVF, ClosedForm, Streaming, GradAscent, GradDiff, KL, NPO, PO, DPO, Finetune)
}

__all__ = ["METHODS", "Method", "NSCVF", "ClosedForm", "Streaming"]
__all__ += ["GradAscent", "GradDiff", "KL", "NPO", "PO", "DPO", "Finetune"]
