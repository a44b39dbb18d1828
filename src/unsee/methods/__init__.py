"""Methods by name; each is a frozen dataclass of settings with `forget(vlm, target, retained, ...) -> Edit`."""

from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from unsee.errors import InputError, unknown
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
GROUP = "unsee.methods"  # of entry points: packages that bring methods of their own


def _installed() -> dict[str, type[Method]]:
    """The methods of installed packages, by name."""
    found: dict[str, type[Method]] = {}
    for point in entry_points(group=GROUP):
        try:
            found[point.name] = point.load()
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"the method {point.name} of an installed package cannot be opened ({error}); remove the package."
            ) from error
    return found


METHODS: dict[str, type[Method]] = _installed() | {method.name: method for method in _ALL}


def find(name: str) -> type[Method]:
    """A method by its name in METHODS, or any class as package.module:Class. Raises InputError where there is none."""
    if name in METHODS:
        return METHODS[name]
    module, colon, kind = name.partition(":")
    if not colon:
        raise unknown("method", name, METHODS)
    try:
        found = getattr(import_module(module), kind)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"there is no method {name} ({error}); expected package.module:Class.") from error
    if not (is_dataclass(found) and isinstance(found, type) and hasattr(found, "forget") and hasattr(found, "name")):
        raise InputError(f"{name} is no method; expected a frozen dataclass with name, language and forget.")
    return cast("type[Method]", found)


__all__ = [
    "METHODS",
    "find",
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
