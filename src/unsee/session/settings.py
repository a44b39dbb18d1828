"""What a session was made with: its session.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from unsee.errors import InputError, unknown
from unsee.forgetting.edit import settings_of
from unsee.methods import METHODS, Method, find
from unsee.session.ledger import SETTINGS, BrokenSessionError
from unsee.system.memory import plan

GUARD = 2.0  # with 50 later requests do not reach their aim; the search: scripts/search_stream.py


PLACE = "class"  # of a method that no installed package offers by name: its package.module:Class


@dataclass(frozen=True)
class Elsewhere:
    """A method whose code a session names, with its settings there; nobody runs it but who names it too."""

    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """Of every request of a session."""

    model: str
    """The checkpoint folder, as an absolute path."""
    salt: str
    """Goes into every hash of an image, so that hashes of two sessions cannot be compared."""
    secret: str
    """Tells the operator's secret from others, see `unsee.session.secret`; empty where the session has none."""
    method: Method | Elsewhere
    seed: int = 0
    memory: str = "normal"
    guard: float = GUARD
    """Weight of leaving what earlier targets put into each layer as it is, in the loss of a request; 0 for none."""
    max_drift: float | None = None
    """Bound on tr(D G D^T) / tr(W G W^T) of any layer, D its change since the session began."""

    @property
    def facts(self) -> dict[str, Any]:
        """Name and settings of the method, and where its code is if it is no installed one's."""
        if isinstance(self.method, Elsewhere):
            return dict(self.method.facts)
        kind = type(self.method)
        own = {} if METHODS.get(self.method.name) is kind else {PLACE: f"{kind.__module__}:{kind.__qualname__}"}
        return {"name": self.method.name, **own, **settings_of(self.method)}

    @property
    def maker(self) -> Method:
        """The method, to make a request. Raises InputError where its code was not named by who opened the session."""
        if isinstance(self.method, Elsewhere):
            place = self.method.facts[PLACE]
            raise InputError(
                f"requests of this session are made by {place}, code that it names and does not bring along; read that "
                f"code, and give --method {place} to run it."
            )
        return self.method


KINDS: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "salt": (str,),
    "secret": (str,),
    "seed": (int,),
    "memory": (str,),
    "guard": (int, float),
    "max_drift": (int, float),
}


def check(guard: float, max_drift: float | None) -> None:
    """Raises InputError for a value out of range."""
    if not 0 <= guard < float("inf"):
        raise InputError(f"guard is {guard}; expected a number of 0 or more.")
    if max_drift is not None and not 0 < max_drift < float("inf"):
        raise InputError(f"max-drift is {max_drift}; expected a number above 0.")


def write(settings: Settings, file: Path) -> None:
    """Writes session.toml, and reads it back. Raises InputError where it does not say what it was given."""
    own = {name: value for name, value in vars(settings).items() if name != "method" and value is not None}
    method = settings.facts
    try:
        file.write_text(tomli_w.dumps({"session": own, "method": method}), encoding="utf-8")
        same = read(file, "" if isinstance(settings.method, Elsewhere) else method.get(PLACE, "")) == settings
    except (UnicodeEncodeError, BrokenSessionError) as error:
        raise InputError(f"{SETTINGS} cannot hold what it must ({error}); give the model another path.") from error
    if not same:
        raise InputError(f"{SETTINGS} does not say again what was written; give the model another path.")


def read(file: Path, place: str = "") -> Settings:
    """The settings of a session, as if a stranger had written them.

    Where they name code, it is run where `place` names it too. Raises BrokenSessionError where a setting is none, and
    InputError where `place` is another.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        method, own = dict(tables["method"]), {"secret": "", **tables["session"]}
        own.pop("trust_remote_code", None)  # trust is given on the command line, whatever an older version wrote here
        for name, kinds in KINDS.items():
            if name in own and (not isinstance(own[name], kinds) or isinstance(own[name], bool)):
                raise ValueError(f"{name} is {own[name]!r}")  # noqa: TRY301 # every way of being wrong is one
        found = Settings(method=_method(method, place), **own)
        check(found.guard, found.max_drift)
        plan(found.memory, 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenSessionError(f"{SETTINGS} cannot be read ({error}); restore the session from a copy.") from error
    named = found.facts.get(PLACE, "")
    if place and place != named:
        raise InputError(f"requests of this session are made by {named or found.facts['name']}, not by {place}.")
    return found


def _method(facts: dict[str, Any], place: str) -> Method | Elsewhere:
    """The method that these facts are of; its code is run where it is an installed one's, or at `place`."""
    name, named = facts["name"], facts.get(PLACE)
    if named is not None and (not isinstance(named, str) or named != place):
        return Elsewhere({**facts, PLACE: str(named)})
    if named is None and name not in METHODS:
        raise unknown("method", name, METHODS)
    kind = METHODS[name] if named is None else find(named)
    given = {key: value for key, value in facts.items() if key not in ("name", PLACE)}
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return kind(**given | lists)
