"""unsee: make a vision-language model stop recognising what it must not, by editing only its visual module."""

from typing import TYPE_CHECKING, Any

from unsee.errors import InputError, MissedError

if TYPE_CHECKING:
    from unsee import benchmarks, methods, session
    from unsee.api import evaluate, forget, load, report
    from unsee.experiments.attacking import attack

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "MissedError",
    "__version__",
    "attack",
    "benchmarks",
    "evaluate",
    "forget",
    "load",
    "methods",
    "report",
    "session",
]


def __dir__() -> list[str]:
    """The public names, also those that were not used yet."""
    return __all__


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import unsee` stays light."""
    from importlib import import_module

    if name in ("benchmarks", "methods", "session"):
        return import_module(f"unsee.{name}")
    if name in ("evaluate", "forget", "load", "report"):
        return vars(import_module("unsee.api"))[name]
    if name == "attack":
        return vars(import_module("unsee.experiments.attacking"))[name]
    raise AttributeError(f"module 'unsee' has no attribute {name!r}")
