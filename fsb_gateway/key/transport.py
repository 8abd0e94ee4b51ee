"""A private key on its way from one box to another: PKCS#11's CKM_RSA_AES_KEY_WRAP, in software.

    wrapped = RSA-OAEP(transport key, AES key) ‖ AES-KWP(AES key, PKCS#8 of the private key)

**Source:** PKCS#11 v3.0 §2.1.21; RFC 8017 §7.1 (OAEP), RFC 5649 (AES key wrap with padding), RFC 5958 (PKCS#8).
OAEP runs with SHA-1 because SoftHSM2 knows no other; its safety needs no collision resistance (RFC 8017 §B.1).
"""

from __future__ import annotations

import os

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from fsb_gateway.error import FirmKeyUnfit
from fsb_gateway.file_format.key import PrivateKey, PublicKey
from fsb_gateway.key.wrap import private_der

# **Source:** NIST SP 800-57 part 1 rev. 5, table 2: as strong as P-256 and Ed25519.
RSA_BITS = 3072
RSA_EXPONENT = 65537
AES_BYTES = 32
# **Source:** X.690 §8.1.3.5: the bit that says how many bytes the length of a value takes.
_LONG_LENGTH = 0x80
_OAEP = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)  # noqa: S303 - see above


def generate_transport_key() -> RSAPrivateKey:
    """A new transport key; takes about a tenth of a second."""
    return generate_private_key(RSA_EXPONENT, RSA_BITS)


def wrap_key(key: PrivateKey, *, to: bytes) -> bytes:
    """Wrap a private key to a transport key.

    Args:
        to: the public RSA key, SPKI DER.

    Raises:
        FirmKeyUnfit: that is no transport key.
    """
    aes = os.urandom(AES_BYTES)
    return read_transport_key(to).encrypt(aes, _OAEP) + aes_key_wrap_with_padding(aes, private_der(key))


def unwrap_key(wrapped: bytes, transport_key: RSAPrivateKey, *, public_key: bytes) -> PrivateKey:
    """Open what `wrap_key`, or a token, made.

    Args:
        public_key: of the key that must be in it, SPKI DER.

    Raises:
        FirmKeyUnfit: it cannot be opened with this transport key, or is another key.
    """
    sealed, content = split_wrapped(wrapped, transport_key.key_size // 8)
    try:
        clear = aes_key_unwrap_with_padding(transport_key.decrypt(sealed, _OAEP), content)
        key = load_der_private_key(_without_padding(clear), password=None)
    except (ValueError, TypeError, InvalidUnwrap, UnsupportedAlgorithm) as error:
        raise FirmKeyUnfit("the wrapped key cannot be opened by this box") from error
    if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise FirmKeyUnfit("the wrapped key is of a kind that is not used here")
    if public_der(key.public_key()) != public_key:
        raise FirmKeyUnfit("the wrapped key is not the key that it is said to be")
    return key


def _without_padding(der: bytes) -> bytes:
    """SoftHSM2 2.6.1 fills up with zeros what it wraps, as if AES-KWP did not do so itself [measured]."""
    length = der[1] if len(der) > 1 else 0
    header = 2
    if length & _LONG_LENGTH:
        header += length & ~_LONG_LENGTH
        length = int.from_bytes(der[2:header], "big")
    end = header + length
    return der[:end] if not any(der[end:]) else der


def split_wrapped(wrapped: bytes, rsa_bytes: int) -> tuple[bytes, bytes]:
    """The sealed AES key, and what it wraps."""
    return wrapped[:rsa_bytes], wrapped[rsa_bytes:]


def read_transport_key(der: bytes) -> RSAPublicKey:
    """Import a box's public transport key.

    Raises:
        FirmKeyUnfit: not an RSA key of at least 3072 bits.
    """
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FirmKeyUnfit("that is no transport key") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < RSA_BITS:
        raise FirmKeyUnfit("that is no transport key")
    return key


def public_der(key: PublicKey | RSAPublicKey) -> bytes:
    """A public key as SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
