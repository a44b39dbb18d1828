"""The operator's secret: a file outside the session without which what it holds of photos says nothing.

That is their hashes, the guard, and photos that wait.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unsee.data.requested import keyed
from unsee.errors import InputError, check_file, check_kind

SHORTEST = 32  # bytes
NONCE = 12  # bytes, as AES-GCM wants it


@dataclass(frozen=True)
class Secret:
    """Keys for one session, made from the operator's secret and the session's salt.

    It encrypts the guard, and photos that wait.
    """

    hashing: bytes
    """For HMAC-SHA-256 over hashes of photos."""
    guarding: bytes
    """For AES-256-GCM over the tensors of the guard, and over photos that wait; each bound to its name."""
    mark: str
    """Tells the secret from others and says nothing of it."""

    def encrypt(self, name: str, content: bytes) -> bytes:
        """A nonce and the encrypted content, bound to its name."""
        nonce = secrets.token_bytes(NONCE)
        return nonce + bytes(self._cipher().encrypt(nonce, content, name.encode()))

    def decrypt(self, name: str, content: bytes) -> bytes:
        """What was encrypted under this name. Raises InputError where the content was changed."""
        cipher, invalid = self._cipher(), _library()[1]
        try:
            return bytes(cipher.decrypt(content[:NONCE], content[NONCE:], name.encode()))
        except invalid as error:
            raise InputError(f"{name} cannot be decrypted; restore the session from a copy.") from error

    def _cipher(self) -> Any:
        return _library()[0](self.guarding)


def _library() -> Any:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise InputError("a secret needs the package cryptography; install unsee[sign].") from error
    return AESGCM, InvalidTag


def read(file: Path | str, session: Path, salt: str) -> Secret:
    """The keys of a session from the operator's file.

    Raises InputError where the file cannot be read, is too short, or lies in the session's own folder.
    """
    check_kind("the secret", file, (Path, str), "the file of one")
    file = Path(file)
    if file.resolve().is_relative_to(session.resolve()):
        raise InputError(f"{file} lies in the session's folder, where it protects nothing; keep it elsewhere.")
    check_file(file, f"a secret, as openssl rand -out FILE {SHORTEST} makes one")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}); make a secret with openssl rand -out FILE {SHORTEST}."
        ) from error
    if len(content) < SHORTEST:
        raise InputError(
            f"{file} has {len(content)} bytes; a secret has {SHORTEST} or more: openssl rand -out FILE {SHORTEST}."
        )
    _library()
    hashing, guarding, mark = (
        hmac.new(content, f"unsee {use} {salt}".encode(), hashlib.sha256).digest()
        for use in ("photos", "guard", "mark")
    )
    return Secret(hashing, guarding, mark.hex())


def salted(digest: str, salt: str, secret: Secret | None) -> str:
    """The hash of a photo as a session keeps it: HMAC-SHA-256 of its content hash, keyed by the secret, or the salt."""
    return keyed(digest, salt.encode() if secret is None else secret.hashing)
