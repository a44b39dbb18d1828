"""Methods by name; each is a frozen dataclass of settings with `forget(vlm, target, retained, ...) -> Edit`."""

from unsee.methods.closed_form import ClosedForm
from unsee.methods.method import Method
from unsee.methods.nscvf import NSCVF

METHODS: dict[str, type[Method]] = {NSCVF.name: NSCVF, ClosedForm.name: ClosedForm}

__all__ = ["METHODS", "Method", "NSCVF", "ClosedForm"]
