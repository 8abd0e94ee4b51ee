"""A box in software: firm keys from the keystore, unwrapped in memory."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from fsb_gateway.box_driver import KeySlot
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.file_format.update import signing_header
from fsb_gateway.keystore import FirmKey, Keystore

# **Source:** RFC 7518 §3.4: r and s as 32 bytes each.
_P256_BYTES = 32
_ECDSA = ECDSA(SHA256())


class SoftwareDriver:
    """Holds the firm keys of one pool. The pace of a real box is kept by the box's worker, not here."""

    def __init__(self, keystore: Keystore, pool: str) -> None:
        self._keystore = keystore
        self._pool = pool
        self._keys: dict[int, PrivateKey] = {}
        self._slots: dict[int, KeySlot] = {}
        self._unreadable: frozenset[int] = frozenset()
        self.reload()

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """The key slots by firm code."""
        return self._slots

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes whose key file cannot be opened; a key that was opened before goes on working."""
        return self._unreadable

    def reload(self) -> None:
        """Unwrap the firm keys that were added to the pool since, or mended."""
        found = self._keystore.firm_keys(self._pool)
        added = [key for key in found.keys if key.firm_code not in self._slots]
        self._keys = {**self._keys, **{key.firm_code: key.key for key in added}}
        self._slots = {**self._slots, **{key.firm_code: _slot(key) for key in added}}
        self._unreadable = found.unreadable - self._slots.keys()

    def forget(self, firm_code: int) -> None:
        """Give up the slot of a firm key that is being destroyed; nothing happens if there is none."""
        self._keys = {code: key for code, key in self._keys.items() if code != firm_code}
        self._slots = {code: slot for code, slot in self._slots.items() if code != firm_code}

    def sign(self, firm_code: int, message: bytes) -> bytes:
        """Sign with the firm code's key: r‖s for ES256, 64 bytes for Ed25519."""
        return sign_message(self._keys[firm_code], message)

    def close(self) -> None:
        """Forget the keys."""
        self._keys, self._slots = {}, {}


def sign_message(key: PrivateKey, message: bytes) -> bytes:
    """Sign the way PKCS#11 does: r‖s for ES256, 64 bytes for Ed25519."""
    if not isinstance(key, EllipticCurvePrivateKey):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, _ECDSA))
    return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


def _slot(key: FirmKey) -> KeySlot:
    return KeySlot(
        firm_code=key.firm_code,
        instance_id=key.instance_id,
        algorithm=key.algorithm,
        header=signing_header(key.algorithm, key.chain),
    )
