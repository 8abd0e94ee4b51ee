"""Passwords of databases and of their servers' administrators, as they lie in the platform database.

AES-256-GCM under a key derived from the credential key, which lies outside every database; bound to their owner's id,
so that a row copied to another owner opens nothing. **Source:** NIST SP 800-38D; 96 random bits of nonce are enough for
2^32 seals under one key (§8.3).
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenancy.credential import CredentialKey
from tenancy.server.errors import DatabasePasswordDamaged

_PURPOSE: Final = "database-passwords"
_FORM: Final = "v1."
_NONCE_BYTES: Final = 12
_PASSWORD_BYTES: Final = 32


def make_password() -> str:
    """256 random bits, in characters that need no quoting anywhere."""
    return secrets.token_hex(_PASSWORD_BYTES)


class PasswordSeal:
    """Seals and opens passwords. Immutable, thread-safe."""

    __slots__ = ("_cipher",)

    def __init__(self, key: CredentialKey) -> None:
        self._cipher = AESGCM(key.derive(_PURPOSE))

    def __repr__(self) -> str:
        """Never the key."""
        return "PasswordSeal(…)"

    def seal(self, password: str, *, owner: str) -> str:
        """Seal a password for its owner, an instance's or a server's id."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, password.encode(), owner.encode())
        return _FORM + base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, *, owner: str) -> str:
        """Open what was sealed for that owner.

        Raises:
            DatabasePasswordDamaged: it was altered, belongs to another owner, or was sealed under another key.
        """
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(_FORM))
            if _FORM + base64.urlsafe_b64encode(raw).decode() != sealed:
                raise ValueError("not written by us")
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise DatabasePasswordDamaged(
                "A stored database password cannot be opened.", owner=owner
            ) from None
