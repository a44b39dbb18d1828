"""Methods by name; each is a frozen dataclass of settings with `forget(vlm, target, retained, ...) -> Edit`."""

from unsee.methods.baselines.dpo import DPO
from unsee.methods.baselines.finetune import Finetune
from unsee.methods.baselines.fisher import Fisher
from unsee.methods.baselines.grad_ascent import GradAscent
from unsee.methods.baselines.grad_diff import GradDiff
from unsee.methods.baselines.kl import KL
from unsee.methods.baselines.mmunlearner import MMUnlearner
from unsee.methods.baselines.npo import NPO
from unsee.methods.baselines.po import PO
from unsee.methods.baselines.siu import SIU
from unsee.methods.baselines.vkd import VKD
from unsee.methods.closed_form import ClosedForm
from unsee.methods.manu import MANU
from unsee.methods.method import Method
from unsee.methods.nscvf import NSCVF
from unsee.methods.rmu import RMU
from unsee.methods.streaming import Streaming

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
