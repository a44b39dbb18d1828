"""What a request leaves behind for an auditor, and the operator's signatures, under it and under every entry."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsee.errors import InputError, check_file, check_kind
from unsee.session.ledger import LEDGER, BrokenSessionError, Entry, Sign, canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "Ed25519"
HELP = "make one with openssl genpkey -algorithm ed25519"


def _library() -> Any:
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise InputError("signatures need the package cryptography; install unsee[sign].") from error
    return serialization, ed25519, InvalidSignature, UnsupportedAlgorithm


@dataclass(frozen=True)
class Signer:
    """Who signs: the holder of a key, or nobody."""

    key: "Ed25519PrivateKey | None" = None

    @property
    def facts(self) -> dict[str, str]:
        """What a signed entry says of it; nothing without a key."""
        return {} if self.key is None else {"public_key": _raw(self.key.public_key())}

    @property
    def sign(self) -> Sign | None:
        """Signs entries: what is signed is {"entry": HASH} as canonical JSON. None without a key."""
        return None if self.key is None else lambda digest: self._value(_statement(digest))

    def signed(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """A certificate: the facts, with a signature over their canonical JSON if there is a key."""
        if self.key is None:
            return dict(facts)
        value = self._value(canonical(dict(facts)))
        return {**facts, "signature": {"algorithm": ALGORITHM, **self.facts, "value": value}}

    def _value(self, message: bytes) -> str:
        return "" if self.key is None else base64.b64encode(self.key.sign(message)).decode()


def _statement(digest: str) -> bytes:
    return canonical({"entry": digest})


def read_key(file: Path | str | None) -> Signer:
    """The holder of a key, a PEM file without a passphrase, or nobody. Raises InputError where it is no such key."""
    if file is None:
        return Signer()
    check_kind("the key", file, (Path, str), "the file of a private key")
    file = Path(file)
    check_file(file, f"a private key; {HELP}")
    serialization, ed25519, _, unsupported = _library()
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, unsupported) as error:
        raise InputError(f"{file} cannot be read as a private key ({error}); {HELP}.") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(f"{file} holds a key of another kind than {ALGORITHM}; {HELP}.")
    return Signer(key)


def read_public_key(file: Path) -> str:
    """The raw public key of a PEM file, in base64. Raises InputError where it is none."""
    check_file(file, "a public key; make it with openssl pkey -in KEY -pubout")
    serialization, ed25519, _, unsupported = _library()
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError, TypeError, unsupported) as error:
        raise InputError(
            f"{file} cannot be read as a public key ({error}); make it with openssl pkey -in KEY -pubout."
        ) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InputError(f"{file} holds a key of another kind than {ALGORITHM}.")
    return _raw(key)


def _raw(key: "Ed25519PublicKey") -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()


def check_entries(entries: Sequence[Entry], expected: str | None) -> int:
    """How many entries are signed. Raises BrokenSessionError for the first signature that does not hold.

    With `expected`, a public key in base64, every entry must be signed by that key; but a beginning without signature
    is vouched for by the first signed entry, which holds its hash.
    """
    keys = [entry.facts.get("public_key") for entry in entries]
    for entry, key in zip(entries, keys, strict=True):
        name = f"line {entry.number + 1} of {LEDGER} ({entry.event})"
        if key is not None:
            _check(key, entry.signature, _statement(entry.hash), name)
        if expected is None or key == expected:
            continue
        if key is not None:
            raise BrokenSessionError(f"{name} is signed by another key than the one that was given.")
        if entry.number or not any(keys):
            raise BrokenSessionError(f"{name} has no signature; expected one by the key that was given.")
    return sum(key is not None for key in keys)


def _check(key: Any, value: Any, message: bytes, name: str) -> None:
    _, ed25519, invalid, _ = _library()
    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        public.verify(base64.b64decode(value, validate=True), message)
    except (invalid, ValueError, TypeError) as error:
        raise BrokenSessionError(
            f"the signature of {name} does not hold; it was changed after it was signed."
        ) from error


def save(certificate: Mapping[str, Any], file: Path) -> None:
    """Writes a certificate as JSON to be read by people."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(certificate, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Any]:
    """A certificate. Raises BrokenSessionError where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenSessionError(f"{file.name} cannot be read ({error}); restore it from a copy.") from error
    if not isinstance(found, dict):
        raise BrokenSessionError(f"{file.name} is no certificate; restore it from a copy.")
    return found


def check_signature(certificate: Mapping[str, Any], name: str, expected: str | None) -> bool:
    """Whether the certificate is signed; with `expected`, a public key in base64, it must be, by that key.

    Raises BrokenSessionError where the signature is not what it should be.
    """
    facts = {key: value for key, value in certificate.items() if key != "signature"}
    signature = certificate.get("signature")
    if signature is None:
        if expected is not None:
            raise BrokenSessionError(f"{name} has no signature; expected one by the key that was given.")
        return False
    if not isinstance(signature, dict):
        raise BrokenSessionError(f"the signature of {name} is none; restore the session from a copy.")
    if expected is not None and expected != signature.get("public_key"):
        raise BrokenSessionError(f"{name} is signed by another key than the one that was given.")
    try:
        message = canonical(facts)
    except ValueError as error:  # a number or a text that no certificate has
        raise BrokenSessionError(f"{name} is no certificate ({error}); restore the session from a copy.") from error
    _check(signature.get("public_key"), signature.get("value"), message, name)
    return True
