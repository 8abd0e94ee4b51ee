"""The key that signs audit checkpoints and certificates: Ed25519, one per platform.

`audit/signing.key` holds its 32 bytes, mode 0600, made at the first start; `audit/audit.pub` the public key, one line
per key that ever signed: to be handed out, and kept elsewhere.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.core.errors import DomainError
from app.core.file import create_file, replace_file
from app.operations.audit.verify_audit import key_id_of, read_keys

_SEED_BYTES: Final = 32


class AuditKeyUnfit(DomainError):
    """The key file is missing, damaged or open to others."""

    code = "audit_key_unfit"


class AuditKey:
    """Signs. Immutable, thread-safe."""

    __slots__ = ("_private", "key_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public_key)

    def __repr__(self) -> str:
        """Never the key."""
        return f"AuditKey({self.key_id})"

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        return self._private.sign(message)

    @property
    def public_line(self) -> str:
        """The public key as verifiers take it: its id and base64url of its 32 bytes."""
        return f"{self.key_id} {base64.urlsafe_b64encode(self.public_key).decode().rstrip('=')}"


def check_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """As `verify_audit.check_ed25519`, fifty times as fast."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def audit_key(folder: Path) -> AuditKey:
    """Read the audit key of a data directory's `audit` folder; make it at the first start.

    Raises:
        AuditKeyUnfit: others can read it, it is damaged, or it is gone although its public key is there.
    """
    path, public = folder / "signing.key", folder / "audit.pub"
    if not path.exists():
        if public.exists():
            raise AuditKeyUnfit(
                f"{path.name} is gone: restore it from the backup. To go on with a new key, keep {public.name}"
                " elsewhere and remove it here.",
                file=path.name,
            )
        create_file(path, secrets.token_bytes(_SEED_BYTES))
    key = AuditKey(_read(path))
    # An empty one is what a full disk or a power cut has left: the key knows its own line.
    written = public.read_text("ascii", "replace").strip() if public.exists() else ""
    if not written or key.key_id not in public_keys(folder):
        lines = (*written.splitlines(), key.public_line)
        replace_file(public, "".join(f"{line}\n" for line in lines).encode("ascii"))
    return key


def public_keys(folder: Path) -> dict[str, bytes]:
    """The public keys that have signed for this platform, by their id.

    Raises:
        AuditKeyUnfit: there are none, or the file is damaged.
    """
    try:
        return read_keys((folder / "audit.pub").read_text("ascii"))
    except (OSError, ValueError) as error:
        raise AuditKeyUnfit("The public audit key cannot be read.", file="audit.pub") from error


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise AuditKeyUnfit(
                f"{path.name} can be read by others; its mode has to be 0600.", file=path.name
            )
        seed = file.read(_SEED_BYTES + 1)
    if len(seed) != _SEED_BYTES:
        raise AuditKeyUnfit(f"{path.name} is damaged: restore it from the backup.", file=path.name)
    return seed
