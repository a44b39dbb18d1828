"""Continual requests on one model: `create` a session, make requests in a `Session`, `verify` what is left."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsee.session.audit import verify
    from unsee.session.creation import create
    from unsee.session.session import Session

__all__ = ["Session", "create", "verify"]

PLACES = {"Session": "session", "create": "creation", "verify": "audit"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: the ledger alone is read without torch."""
    from importlib import import_module

    if name in PLACES:
        return vars(import_module(f"unsee.session.{PLACES[name]}"))[name]
    raise AttributeError(f"module 'unsee.session' has no attribute {name!r}")
