"""Contexts and receipts: what a container says about itself, signed by its own key.

A receipt is a context made after an update was applied; only label and `typ` differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from app.core.clock import to_us
from fsb_gateway.error import ContextUntrusted, FileMalformed
from fsb_gateway.file_format.armour import Kind, read_armour, write_armour
from fsb_gateway.file_format.jose import Sign, encode_segment, read_segment, sign_token, signature_holds
from fsb_gateway.file_format.key import Jwk, read_p256_jwk, thumbprint
from fsb_gateway.file_format.timestamp import read_time
from fsb_gateway.job import FIRM_CODE_MAX, is_name

ContextKind = Literal["context", "receipt"]

_TYPES: dict[ContextKind, str] = {"context": "wops-context+jws", "receipt": "wops-receipt+jws"}
_LABELS: dict[ContextKind, Kind] = {"context": "CONTEXT", "receipt": "RECEIPT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """A licence that the container says it holds."""

    license_id: str
    product_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A context or receipt whose own signature holds. Whose key that is, the reader has to know.

    Attributes:
        context_id: the `jti`, new in each context.
        fuc: Firm Update Counter of this firm code in this container.
        signing_key_thumbprint: RFC 7638, the name under which a container is recognised.
        digest: SHA-256 of the compact token, 64 hex digits; an update names the context it answers by it.
    """

    kind: ContextKind
    serial: str
    firm_code: int
    fuc: int
    context_id: str
    made_at: datetime
    signing_key: Jwk
    signing_key_thumbprint: str
    encryption_key: Jwk
    items: tuple[HeldItem, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextClaim:
    """What goes into a context."""

    serial: str
    firm_code: int
    fuc: int
    context_id: str
    made_at: datetime
    encryption_key: Jwk
    items: Sequence[HeldItem]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: Literal["ES256"]
    typ: Literal["wops-context+jws", "wops-receipt+jws"]
    jwk: dict[str, str]


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    license_id: str
    product_code: int


class _Claims(msgspec.Struct, forbid_unknown_fields=True):
    serial: str
    firm_code: int
    fuc: int
    jti: str
    iat: int
    encryption_key: dict[str, str]
    items: list[_Item]


def write_context(kind: ContextKind, claim: ContextClaim, *, signing_key: Jwk, sign: Sign) -> str:
    """Make the armoured text of a context or receipt.

    Args:
        signing_key: the public half of the key behind `sign`.
    """
    header = {"alg": "ES256", "typ": _TYPES[kind], "jwk": dict(signing_key)}
    claims = _Claims(
        serial=claim.serial,
        firm_code=claim.firm_code,
        fuc=claim.fuc,
        jti=claim.context_id,
        iat=to_us(claim.made_at),
        encryption_key=dict(claim.encryption_key),
        items=[_Item(item.license_id, item.product_code) for item in claim.items],
    )
    return write_armour(_LABELS[kind], sign_token(encode_segment(header), claims, sign))


def read_context(text: str) -> Context:
    """Read a context or receipt and check the signature by the key that it carries.

    Raises:
        FileMalformed: not a context or receipt, or one with values out of range.
        ContextUntrusted: the signature does not hold.
    """
    label, token = read_armour(text, "CONTEXT", "RECEIPT")
    header = read_segment(token, 0, _Header)
    kind: ContextKind = "context" if label == "CONTEXT" else "receipt"
    if header.typ != _TYPES[kind]:
        raise FileMalformed("the label of the file and its content are of different kinds")
    if not signature_holds(token, read_p256_jwk(header.jwk), "ES256"):
        raise ContextUntrusted(
            f"the signature of this {kind} does not hold: it was changed after it was made"
        )
    claims = read_segment(token, 1, _Claims)
    _check_claims(claims)
    return _build_context(kind, token, header.jwk, claims)


def _check_claims(claims: _Claims) -> None:
    read_p256_jwk(claims.encryption_key)
    if not is_name(claims.serial) or not is_name(claims.jti):
        raise FileMalformed("the serial or id in this file is not a name")
    if not 1 <= claims.firm_code <= FIRM_CODE_MAX or not 0 <= claims.fuc <= FIRM_CODE_MAX:
        raise FileMalformed("the firm code or the firm update counter in this file is out of range")


def _build_context(kind: ContextKind, token: str, signing_key: Mapping[str, str], claims: _Claims) -> Context:
    return Context(
        kind=kind,
        serial=claims.serial,
        firm_code=claims.firm_code,
        fuc=claims.fuc,
        context_id=claims.jti,
        made_at=read_time(claims.iat),
        signing_key=signing_key,
        signing_key_thumbprint=thumbprint(signing_key),
        encryption_key=claims.encryption_key,
        items=tuple(
            HeldItem(license_id=item.license_id, product_code=item.product_code) for item in claims.items
        ),
        digest=hashlib.sha256(token.encode("ascii")).hexdigest(),
    )
