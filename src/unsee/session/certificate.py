"""What a request leaves behind for an auditor, and the operator's signature under it."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsee.errors import InputError
from unsee.session.ledger import BrokenSessionError, canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "Ed25519"
HELP = "make one with openssl genpkey -algorithm ed25519"


def _library() -> Any:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise InputError("signatures need the package cryptography; install unsee[sign].") from error
    return serialization, ed25519, InvalidSignature


def read_key(file: Path) -> "Ed25519PrivateKey":
    """The operator's key, a PEM file without a passphrase. Raises InputError where it is none."""
    serialization, ed25519, _ = _library()
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read as a private key ({error}); {HELP}.") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(f"{file} holds a key of another kind than {ALGORITHM}; {HELP}.")
    found: Ed25519PrivateKey = key
    return found


def read_public_key(file: Path) -> str:
    """The raw public key of a PEM file, in base64. Raises InputError where it is none."""
    serialization, ed25519, _ = _library()
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{file} cannot be read as a public key ({error}); make it with openssl pkey -in KEY -pubout."
        ) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InputError(f"{file} holds a key of another kind than {ALGORITHM}.")
    return _raw(key)


def _raw(key: "Ed25519PublicKey") -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()


def signed(facts: Mapping[str, Any], key: "Ed25519PrivateKey | None") -> dict[str, Any]:
    """The certificate: the facts, with a signature over their canonical JSON if there is a key."""
    if key is None:
        return dict(facts)
    value = base64.b64encode(key.sign(canonical(dict(facts)))).decode()
    return {**facts, "signature": {"algorithm": ALGORITHM, "public_key": _raw(key.public_key()), "value": value}}


def save(certificate: Mapping[str, Any], file: Path) -> None:
    """Writes a certificate as JSON to be read by people."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(certificate, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Any]:
    """A certificate. Raises BrokenSessionError where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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
    if expected is not None and expected != (signature.get("public_key") if isinstance(signature, dict) else None):
        raise BrokenSessionError(f"{name} is signed by another key than the one that was given.")
    _, ed25519, invalid = _library()
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(signature["public_key"], validate=True))
        key.verify(base64.b64decode(signature["value"], validate=True), canonical(facts))
    except (invalid, ValueError, KeyError, TypeError) as error:
        raise BrokenSessionError(
            f"the signature of {name} does not hold; it was changed after it was signed."
        ) from error
    return True
