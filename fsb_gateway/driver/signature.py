"""Whether what a box signed holds: checked with the slot's public key before it leaves."""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from fsb_gateway.box_driver import KeySlot
from fsb_gateway.error import BoxAnswerWrong
from fsb_gateway.file_format.key import PublicKey

# **Source:** RFC 7518 §3.4: r and s as 32 bytes each; RFC 8032 §5.1.6 has 64 bytes, too.
_HALF_BYTES = 32
_ECDSA = ECDSA(SHA256())


def check_signature(slot: KeySlot, message: bytes, signature: bytes) -> None:
    """Refuse what the slot's key did not sign.

    Raises:
        BoxAnswerWrong: the signature does not hold.
    """
    try:
        if len(signature) != 2 * _HALF_BYTES:
            raise InvalidSignature
        _verify(_read_key(slot.public_key), message, signature)
    except (InvalidSignature, ValueError) as error:
        raise BoxAnswerWrong(
            f"the box signed something else for firm code {slot.firm_code}", firm_code=slot.firm_code
        ) from error


def _verify(key: PublicKey, message: bytes, signature: bytes) -> None:
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, message)
        return
    r, s = (int.from_bytes(half, "big") for half in (signature[:_HALF_BYTES], signature[_HALF_BYTES:]))
    key.verify(encode_dss_signature(r, s), message, _ECDSA)


@lru_cache(maxsize=1024)
def _read_key(der: bytes) -> PublicKey:
    """Reading a key costs as much as a check; a box has few of them."""
    key = load_der_public_key(der)
    if not isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey):
        raise ValueError("not a key that firm keys are")
    return key
