"""Methods by name; each is a frozen dataclass of settings with `forget(vlm, target, retained, ...) -> Edit`."""

from unsee.methods.nscvf import NSCVF

METHODS = {NSCVF.name: NSCVF}

__all__ = ["METHODS", "NSCVF"]
