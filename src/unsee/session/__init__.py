"""Continual requests on one model: `create` a session, make requests in a `Session`, `verify` what is left."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsee.session.session import Session, create, verify

__all__ = ["Session", "create", "verify"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: the ledger alone is read without torch."""
    from importlib import import_module

    if name in __all__:
        return vars(import_module("unsee.session.session"))[name]
    raise AttributeError(f"module 'unsee.session' has no attribute {name!r}")
