"""Public keys as JWKs, their import and their thumbprints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from app.core.json import dump_json
from fsb_gateway.error import FileMalformed
from fsb_gateway.file_format.base64url import decode_base64url, encode_base64url

Jwk = Mapping[str, str]
PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

# **Source:** RFC 7638 §3.2 names the required members of each key type; RFC 7518 §6.2.1 the length of a coordinate.
_PUBLIC_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_P256_COORDINATE_BYTES = 32


def read_p256_jwk(jwk: Jwk) -> ECKey:
    """Import a public P-256 key that a stranger sent.

    Raises:
        FileMalformed: another key type or curve, other members than those of a public key, or no point of the curve.
    """
    if tuple(sorted(jwk)) != _PUBLIC_MEMBERS["EC"] or (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
        raise FileMalformed("the key is not a public P-256 key")
    return _import_p256(jwk["x"], jwk["y"])


@lru_cache(maxsize=4096)
def _import_p256(x: str, y: str) -> ECKey:
    """A container's key comes back with each of its transfers, and importing it costs more than a signature."""
    if any(len(decode_base64url(coordinate)) != _P256_COORDINATE_BYTES for coordinate in (x, y)):
        raise FileMalformed("the key is not a public P-256 key")
    try:
        return ECKey.import_key({"kty": "EC", "crv": "P-256", "x": x, "y": y})
    except (JoseError, ValueError) as error:
        raise FileMalformed("the key is not a public P-256 key") from error


def jose_key(key: PrivateKey | PublicKey) -> ECKey | OKPKey:
    """Wrap a key for joserfc.

    Raises:
        FileMalformed: an elliptic curve other than P-256.
    """
    if not isinstance(key, EllipticCurvePrivateKey | EllipticCurvePublicKey):
        return OKPKey.import_key(key)
    if not isinstance(key.curve, SECP256R1):
        raise FileMalformed("the key is not on the curve P-256")
    return ECKey.import_key(key)


def public_jwk(key: PrivateKey | PublicKey) -> dict[str, str]:
    """The public half, with exactly the members that RFC 7638 names."""
    members = jose_key(key).as_dict(private=False)
    return {name: str(members[name]) for name in _PUBLIC_MEMBERS[str(members["kty"])]}


def thumbprint(jwk: Jwk) -> str:
    """The key's name: RFC 7638 with SHA-256.

    Raises:
        FileMalformed: neither an elliptic curve nor an Edwards curve key.
    """
    members = _PUBLIC_MEMBERS.get(jwk.get("kty", ""))
    if members is None or any(name not in jwk for name in members):
        raise FileMalformed("the key is not a public key")
    return _digest(tuple((name, jwk[name]) for name in members))


@lru_cache(maxsize=4096)
def _digest(members: tuple[tuple[str, str], ...]) -> str:
    return encode_base64url(hashlib.sha256(dump_json(dict(members)).encode()).digest())
