"""The key-encryption key, and private keys wrapped under it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from app.core.file import create_file
from fsb_gateway.error import KeyDamaged, KeyEncryptionKeyExposed, KeyEncryptionKeyMissing
from fsb_gateway.file_format.key import PrivateKey

KEY_BYTES = 32
# **Source:** NIST SP 800-38D §8.2: 96 random bits are good for 2³² wrappings under one key.
_NONCE_BYTES = 12
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyWrap:
    """Wraps private keys with AES-256-GCM. The key's name is bound in, so that files cannot be exchanged."""

    def __init__(self, key_encryption_key: bytes) -> None:
        """Take the key-encryption key.

        Raises:
            KeyDamaged: it has the wrong length.
        """
        if len(key_encryption_key) != KEY_BYTES:
            raise KeyDamaged("the key-encryption key has the wrong length", key="key-encryption.key")
        self._cipher = AESGCM(key_encryption_key)

    def wrap(self, name: str, key: PrivateKey | RSAPrivateKey) -> bytes:
        """Encrypt a private key under its name."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, private_der(key), name.encode())

    def unwrap(self, name: str, wrapped: bytes) -> PrivateKey:
        """Decrypt a private key.

        Raises:
            KeyDamaged: changed, wrapped under another name, or under another key-encryption key.
        """
        return load_der_private_key(self._open(name, wrapped), password=None)  # type: ignore[return-value]  # only our own kinds go in

    def unwrap_rsa(self, name: str, wrapped: bytes) -> RSAPrivateKey:
        """Decrypt a transport key.

        Raises:
            KeyDamaged: as for `unwrap`.
        """
        return load_der_private_key(self._open(name, wrapped), password=None)  # type: ignore[return-value]  # the name says the kind

    def _open(self, name: str, wrapped: bytes) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise KeyDamaged(
                f"the key {name} cannot be opened with this key-encryption key", key=name
            ) from error


def private_der(key: PrivateKey | RSAPrivateKey) -> bytes:
    """A private key in clear, as PKCS#8: what is wrapped."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def open_key_encryption_key(path: Path, *, may_create: bool) -> bytes:
    """Read the key-encryption key, or make it at the first start. The caller holds the directory's lock.

    Args:
        may_create: false when wrapped keys exist already: a new key would not open them.

    Raises:
        KeyEncryptionKeyExposed: group or others can read it, or it belongs to somebody else.
        KeyEncryptionKeyMissing: it is not there and must not be made.
    """
    if not path.exists():
        if not may_create:
            raise KeyEncryptionKeyMissing("wrapped keys exist, but not their key-encryption key: restore it")
        # Whole or not at all: a crash must not leave half a key behind.
        create_file(path, os.urandom(KEY_BYTES))
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if is_exposed(os.fstat(descriptor)):
            raise KeyEncryptionKeyExposed(
                "others can read the key-encryption key: set mode 0600 and replace it"
            )
        return os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)


def is_exposed(status: os.stat_result) -> bool:
    """Whether a file with a secret can be touched by group or others, or belongs to somebody else."""
    return bool(status.st_mode & _GROUP_AND_OTHERS) or status.st_uid not in (os.geteuid(), 0)
