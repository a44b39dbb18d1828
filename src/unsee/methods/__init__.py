"""Methods by name; each is a frozen dataclass of settings with `forget(vlm, target, retained, ...) -> Edit`."""

from unsee.methods.closed_form import ClosedForm
from unsee.methods.grad_diff import GradDiff
from unsee.methods.method import Method
from unsee.methods.npo import NPO
from unsee.methods.nscvf import NSCVF
from unsee.methods.streaming import Streaming

METHODS: dict[str, type[Method]] = {method.name: method for method in (NSCVF, ClosedForm, Streaming, GradDiff, NPO)}

__all__ = ["METHODS", "Method", "NSCVF", "ClosedForm", "Streaming", "GradDiff", "NPO"]
