"""Passwords of databases and of their servers' administrators, as they lie in the platform database.

AES-256-GCM under a key derived from one that lies outside every database; bound to their owner's id, so that a row
copied to another owner opens nothing. **Source:** NIST SP 800-38D; 96 random bits of nonce are enough for
2^32 seals under one key (§8.3).
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenancy.credential import CredentialKey, credential_key
from tenancy.server.errors import DatabasePasswordDamaged

_PURPOSE: Final = "database-passwords"
FORMER_FORM: Final = "v1."
"""Under the credential key."""
OWN_FORM: Final = "v2."
"""Under a key of the seal's own."""
SEAL_KEY: Final = "seal.key"
"""File in the data directory."""
_NONCE_BYTES: Final = 12
_PASSWORD_BYTES: Final = 32


def make_password() -> str:
    """256 random bits, in characters that need no quoting anywhere."""
    return secrets.token_hex(_PASSWORD_BYTES)


class PasswordSeal:
    """Seals and opens passwords. Immutable, thread-safe.

    Context: lines in processes of their own have the credential key, to check secrets. Decision: what they must not
    open is sealed under a key that they do not have; what was sealed before is opened with the former one, and sealed
    anew when the platform starts (`tenancy.database.reseal`). Alternative: a check key of its own, for which every
    stored hash of a secret would have to be made anew by those who know the secrets.

    Args:
        key: of the seal.
        purpose: what is sealed; what was sealed for one purpose does not open for another.
        former: the credential key, if `key` is the seal's own.
    """

    __slots__ = ("_ciphers", "_form")

    def __init__(
        self, key: CredentialKey, *, purpose: str = _PURPOSE, former: CredentialKey | None = None
    ) -> None:
        self._form = FORMER_FORM if former is None else OWN_FORM
        self._ciphers = {self._form: AESGCM(key.derive(purpose))}
        if former is not None:
            self._ciphers[FORMER_FORM] = AESGCM(former.derive(purpose))

    def __repr__(self) -> str:
        """Never the key."""
        return "PasswordSeal(…)"

    def seal(self, password: str, *, owner: str) -> str:
        """Seal a password for its owner, an instance's or a server's id."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._form].encrypt(nonce, password.encode(), owner.encode())
        return self._form + base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, *, owner: str) -> str:
        """Open what was sealed for that owner.

        Raises:
            DatabasePasswordDamaged: it was altered, belongs to another owner, or was sealed under another key.
        """
        form = sealed[: len(FORMER_FORM)]
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(form))
            if form not in self._ciphers or form + base64.urlsafe_b64encode(raw).decode() != sealed:
                raise ValueError("not written by us")
            return (
                self._ciphers[form].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()).decode()
            )
        except (InvalidTag, ValueError, binascii.Error):
            raise DatabasePasswordDamaged(
                "A stored database password cannot be opened.", owner=owner
            ) from None


def seal_key(path: Path, *, may_create: bool = False) -> CredentialKey:
    """The seal's own key.

    Args:
        may_create: make it if there is none; false once anything has been sealed under it.

    Raises:
        CredentialKeyMissing: it is gone, and with it what it opens.
        CredentialKeyExposed, CredentialKeyDamaged: it cannot be used.
    """
    return credential_key(
        path, may_create=may_create, opens="every database password and every key of a host name"
    )
