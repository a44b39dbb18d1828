"""Methods by name; each is a frozen dataclass of settings with `forget(vlm, target, retained, ...) -> Edit`."""

from unsee.methods.closed_form import ClosedForm
from unsee.methods.dpo import DPO
from unsee.methods.finetune import Finetune
from unsee.methods.fisher import Fisher
from unsee.methods.grad_ascent import GradAscent
from unsee.methods.grad_diff import GradDiff
from unsee.methods.kl import KL
from unsee.methods.manu import MANU
from unsee.methods.method import Method
from unsee.methods.mmunlearner import MMUnlearner
from unsee.methods.npo import NPO
from unsee.methods.nscvf import NSCVF
from unsee.methods.po import PO
from unsee.methods.rmu import RMU
from unsee.methods.siu import SIU
from unsee.methods.streaming import Streaming
from unsee.methods.vkd import VKD

_ALL: tuple[type[Method], ...] = (NSCVF, ClosedForm, Streaming, RMU, VKD, MMUnlearner, MANU, SIU, Fisher)
_ALL += (GradAscent, GradDiff, KL, NPO, PO, DPO, Finetune)
METHODS: dict[str, type[Method]] = {method.name: method for method in _ALL}

__all__ = [
    "METHODS",
    "Method",
    "NSCVF",
    "ClosedForm",
    "Streaming",
    "VKD",
    "MMUnlearner",
    "MANU",
    "SIU",
    "RMU",
    "Fisher",
]
__all__ += ["GradAscent", "GradDiff", "KL", "NPO", "PO", "DPO", "Finetune"]
