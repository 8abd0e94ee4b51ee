"""Signed and encrypted compact tokens: the thin layer between our files and joserfc.

Signing is assembled here, because a key in a box signs bytes and knows nothing of JOSE; encryption for speed.
Whatever is read or verified goes through joserfc.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

from fsb_gateway.error import FileMalformed
from fsb_gateway.file_format.armour import SIZE_LIMIT
from fsb_gateway.file_format.base64url import decode_base64url, encode_base64url

# Takes the bytes to sign, gives r‖s (ES256) or the 64 bytes of Ed25519: what PKCS#11 returns and JWS wants.
Sign = Callable[[bytes], bytes]
T = TypeVar("T")


class _SignedLimit(JWSRegistry):
    """joserfc's limits are for web tokens; ours is the size of a file, and `x5c` alone exceeds 512 bytes."""

    max_header_length = SIZE_LIMIT
    max_payload_length = SIZE_LIMIT


class _EncryptedLimit(JWERegistry):
    max_ciphertext_length = SIZE_LIMIT


_SIGNED = {name: _SignedLimit(algorithms=[name]) for name in ("ES256", "Ed25519")}
# **Source:** RFC 7518 §4.6.2: name of the algorithm, empty party names, length of the key in bits.
_A256GCM_KEY_BYTES = 32
_A256GCM_INFO = b"\0\0\0\x07A256GCM" + b"\0\0\0\0" * 2 + (_A256GCM_KEY_BYTES * 8).to_bytes(4, "big")
_NONCE_BYTES = 12
_TAG_BYTES = 16
_ENCRYPTED = _EncryptedLimit(algorithms=["ECDH-ES", "A256GCM"])


def encode_segment(value: object) -> str:
    """A header or payload as a base64url segment of compact JSON."""
    return encode_base64url(msgspec.json.encode(value))


def read_segment(token: str, index: int, shape: type[T]) -> T:
    """Decode one segment of a compact token; the shape refuses unknown members (`crit`, `b64`, …).

    Raises:
        FileMalformed: the segment is not JSON of this shape.
    """
    try:
        return msgspec.json.decode(decode_base64url(token.split(".")[index]), type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise FileMalformed("the content of the file has another form than expected") from error


def sign_token(header_segment: str, claims: object, sign: Sign) -> str:
    """Assemble a compact JWS around a signature made elsewhere."""
    signing_input = f"{header_segment}.{encode_segment(claims)}"
    return f"{signing_input}.{encode_base64url(sign(signing_input.encode('ascii')))}"


def signature_holds(token: str, key: ECKey | OKPKey, algorithm: str) -> bool:
    """Whether a compact JWS was signed by the key with exactly this algorithm."""
    try:
        jws.deserialize_compact(token, key, registry=_SIGNED[algorithm])
    except (JoseError, ValueError):
        return False
    return True


def encrypt_token(header: Mapping[str, object], plaintext: str, recipient: EllipticCurvePublicKey) -> str:
    """Encrypt to a public P-256 key: ECDH-ES directly, A256GCM. **Source:** RFC 7518 §4.6 and §5.3.

    joserfc takes half as long again [measured, see README], and each activation pays it; reading stays with joserfc,
    so that each checks the other.
    """
    ephemeral = generate_private_key(SECP256R1())
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    x, y = encode_base64url(point[1:33]), encode_base64url(point[33:])
    epk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    protected = encode_segment({"alg": "ECDH-ES", "enc": "A256GCM", **header, "epk": epk})
    key = ConcatKDFHash(SHA256(), _A256GCM_KEY_BYTES, _A256GCM_INFO).derive(
        ephemeral.exchange(ECDH(), recipient)
    )
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, plaintext.encode("ascii"), protected.encode("ascii"))
    segments = (protected, "", *map(encode_base64url, (nonce, sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:])))
    return ".".join(segments)


def decrypt_token(token: str, key: ECKey) -> str | None:
    """The plaintext, or nothing if the token was changed or is not for this key."""
    try:
        plaintext = jwe.decrypt_compact(token, key, registry=_ENCRYPTED).plaintext
        return None if plaintext is None else plaintext.decode("ascii")
    except (JoseError, ValueError):  # cryptography's refusals of points and tags are ValueErrors or wrapped
        return None
