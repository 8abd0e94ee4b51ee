"""Secrets that wops makes and checks: 256 random bits, stored as keyed hashes.

A slow password hash protects secrets that people choose. These are random, so a keyed SHA-256 is as hard to
turn back and lets a check cost microseconds; the key lies outside every database, so a stolen database alone
checks nothing.

**Source:** NIST SP 800-63B §5.1.2.2 (look-up secrets of ≥ 112 bits need no slow hash).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from app.core.file import create_file
from tenancy.errors import CredentialKeyDamaged, CredentialKeyExposed, CredentialKeyMissing

CLIENT_SECRET_PREFIX = "wops_client_"  # noqa: S105 - a prefix that secret scanners can look for
STAFF_TOKEN_PREFIX = "wops_staff_"  # noqa: S105
_KEY_BYTES = 32
_SECRET_BYTES = 32
_LONGEST_SECRET = 256
"""Longer than any secret of ours; what is longer is not even hashed."""
_UNKNOWN_HASH = "0" * 64
"""Stands in for the hash of somebody who does not exist, so that he costs the same."""


def make_secret(prefix: str) -> str:
    """Make a secret: a recognisable prefix and 256 random bits, URL-safe."""
    return prefix + secrets.token_urlsafe(_SECRET_BYTES)


class CredentialKey:
    """Hashes and checks secrets. Immutable, thread-safe."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise CredentialKeyDamaged(f"The credential key must have {_KEY_BYTES} bytes.")
        self._key = key

    def __repr__(self) -> str:
        """Never the key."""
        return "CredentialKey(…)"

    def hash_secret(self, secret: str, *, owner: str) -> str:
        """The keyed hash of a secret, 64 hexadecimal digits.

        Args:
            secret: what the caller will send.
            owner: what the secret belongs to; a hash copied to another owner does not match there.
        """
        # The owner's length comes first, so that no owner and secret can be taken for another pair.
        named = owner.encode()
        message = b"%d:%b:%b" % (len(named), named, secret.encode(errors="surrogatepass"))
        return hmac.digest(self._key, message, "sha256").hex()

    def for_lines(self) -> bytes:
        """What a line in a process of its own needs to check secrets: the key itself, 32 bytes."""
        return self._key

    def derive(self, purpose: str) -> bytes:
        """A key for another purpose, 32 bytes; says nothing about this one."""
        return hmac.new(self._key, f"derive:{purpose}".encode(), hashlib.sha256).digest()

    def matches(self, secret: str, stored_hash: str | None, *, owner: str) -> bool:
        """Whether this is the secret; takes as long when there is no stored hash."""
        if len(secret) > _LONGEST_SECRET:
            return False
        expected = stored_hash or _UNKNOWN_HASH
        return (
            hmac.compare_digest(self.hash_secret(secret, owner=owner), expected) and stored_hash is not None
        )


def credential_key(
    path: Path, *, may_create: bool = True, opens: str = "every staff token and client secret"
) -> CredentialKey:
    """Read the credential key; make it first if there is none. Two processes at once end up with the same key.

    Args:
        may_create: false when a platform database exists already: a new key would shut out everybody in it.
        opens: what is lost with it, for people.

    Raises:
        CredentialKeyMissing: there is none and it must not be made.
        CredentialKeyExposed: group or others may read or write the file, or it is no plain file.
        CredentialKeyDamaged: the file has another length.
    """
    with contextlib.suppress(FileNotFoundError):
        return _read_key(path)
    if not may_create:
        raise CredentialKeyMissing(
            f"{path.name} is gone, and with it {opens}: restore it from the backup.",
            file=path.name,
        )
    create_file(path, secrets.token_bytes(_KEY_BYTES))
    return _read_key(path)


def _read_key(path: Path) -> CredentialKey:
    if path.is_symlink():
        raise CredentialKeyExposed(
            f"{path.name} is a link; the key file itself has to be there.", file=path.name
        )
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise CredentialKeyExposed(
                f"{path.name} can be read or written by others; make new secrets or set its mode to 0600.",
                file=path.name,
            )
        return CredentialKey(file.read(_KEY_BYTES + 1))
