from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsb_gateway import Context, ContextClaim, HeldItem, public_jwk, read_context, sign_message, write_context
from fsb_gateway.error import ContextUntrusted, FileFormatError, FileMalformed
from fsb_gateway.file_format.armour import read_armour, write_armour
from fsb_gateway.file_format.base64url import encode_base64url
from fsb_gateway.file_format.context import ContextKind
from fsb_gateway.file_format.jose import encode_segment, sign_token
from tests.fake.clock import START
from tests.unit.fsb_gateway.factory import FIRM_CODE, p256

KEY = p256("container signing")


def make_context(kind: ContextKind = "context", *, fuc: int = 3) -> str:
    claim = ContextClaim(
        serial="130-0000000001",
        firm_code=FIRM_CODE,
        fuc=fuc,
        context_id="ctx_1",
        made_at=START + timedelta(microseconds=1),
        encryption_key=public_jwk(p256("container")),
        items=[HeldItem(license_id="lic_1", product_code=7)],
    )
    return write_context(
        kind, claim, signing_key=public_jwk(KEY), sign=lambda message: sign_message(KEY, message)
    )


def header(**changes: object) -> dict[str, object]:
    return {"alg": "ES256", "typ": "wops-context+jws", "jwk": public_jwk(KEY), **changes}


def claims(**changes: object) -> dict[str, object]:
    return {
        "serial": "130-1",
        "firm_code": FIRM_CODE,
        "fuc": 0,
        "jti": "ctx_1",
        "iat": 1,
        "encryption_key": public_jwk(p256("container")),
        "items": [],
        **changes,
    }


def signed(head: dict[str, object], body: object) -> str:
    token = sign_token(encode_segment(head), body, lambda message: sign_message(KEY, message))
    return write_armour("CONTEXT", token)


@pytest.mark.parametrize("kind", ["context", "receipt"])
def test_what_was_written_is_read(kind: ContextKind) -> None:
    text = make_context(kind)
    context = read_context(text)
    token = read_armour(text, "CONTEXT", "RECEIPT")[1]
    assert context == Context(
        kind=kind,
        serial="130-0000000001",
        firm_code=FIRM_CODE,
        fuc=3,
        context_id="ctx_1",
        made_at=START + timedelta(microseconds=1),
        signing_key=public_jwk(KEY),
        signing_key_thumbprint=context.signing_key_thumbprint,
        encryption_key=public_jwk(p256("container")),
        items=(HeldItem(license_id="lic_1", product_code=7),),
        digest=hashlib.sha256(token.encode()).hexdigest(),
    )


def test_thumbprint_is_that_of_rfc_7638() -> None:
    jwk = public_jwk(KEY)
    canonical = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    expected = encode_base64url(hashlib.sha256(canonical.encode()).digest())
    assert read_context(make_context()).signing_key_thumbprint == expected


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_bit_is_accepted(data: st.DataObject) -> None:
    raw = bytearray(CONTEXT.strip().encode())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(FileFormatError):
        read_context(raw.decode("latin-1"))


CONTEXT = make_context()


def test_label_of_another_kind_is_refused() -> None:
    with pytest.raises(FileMalformed):
        read_context(make_context("context").replace("CONTEXT", "RECEIPT"))


def test_other_key_in_the_header_is_refused() -> None:
    with pytest.raises(ContextUntrusted):
        read_context(signed(header(jwk=public_jwk(p256("stranger"))), claims()))


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "Ed25519"},
        {"typ": "JWT"},
        {"crit": ["b64"]},
        {"b64": False},
        {"kid": "x"},
        {"jwk": {**public_jwk(KEY), "d": "AA"}},
        {"jwk": {**public_jwk(KEY), "use": "enc"}},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": {**public_jwk(KEY), "x": public_jwk(KEY)["x"][:-4]}},
        {"jwk": {**public_jwk(KEY), "y": public_jwk(KEY)["x"]}},
        {"jwk": {}},
    ],
)
def test_other_header_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FileMalformed):
        read_context(signed(header(**changes), claims()))


def test_signature_by_hmac_with_the_public_key_is_refused() -> None:
    head = encode_segment(header(alg="HS256"))
    secret = json.dumps(public_jwk(KEY)).encode()
    token = sign_token(head, claims(), lambda message: hmac.digest(secret, message, "sha256"))
    with pytest.raises(FileMalformed):
        read_context(write_armour("CONTEXT", token))


@pytest.mark.parametrize(
    "changes",
    [
        {"fuc": -1},
        {"fuc": 2**40},
        {"fuc": "1"},
        {"fuc": True},
        {"firm_code": 0},
        {"firm_code": 2**32},
        {"serial": ""},
        {"serial": "../x"},
        {"jti": "a" * 200},
        {"iat": -1},
        {"iat": 10**30},
        {"iat": 10**18},
        {"items": [{"license_id": "x"}]},
        {"encryption_key": public_jwk(KEY) | {"crv": "P-384"}},
        {"extra": 1},
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FileMalformed):
        read_context(signed(header(), claims(**changes)))


@pytest.mark.parametrize("body", [[], "x", None, {}])
def test_claims_that_are_no_object_are_refused(body: object) -> None:
    with pytest.raises(FileMalformed):
        read_context(signed(header(), body))
