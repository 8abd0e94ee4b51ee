from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.clock import to_us
from fsb_gateway import Algorithm, ProgrammingJob, Update, read_update
from fsb_gateway.error import (
    FileFormatError,
    FileMalformed,
    UpdateForOtherContainer,
    UpdateTampered,
    UpdateTooLarge,
    UpdateUntrusted,
)
from fsb_gateway.file_format import update
from fsb_gateway.file_format.armour import SIZE_LIMIT, read_armour, write_armour
from fsb_gateway.file_format.base64url import decode_base64url
from fsb_gateway.file_format.jose import encode_segment, encrypt_token, sign_token
from fsb_gateway.file_format.key import public_jwk, thumbprint
from fsb_gateway.file_format.update import write_update
from tests.fake.clock import START
from tests.unit.fsb_gateway.factory import (
    FIRM_CODE,
    INSTANCE,
    Authority,
    add_item,
    delete_item,
    make_authority,
    make_job,
    make_steps,
    p256,
)

AUTHORITY = make_authority()
KEY = p256("container")


def write(authority: Authority = AUTHORITY, job: ProgrammingJob | None = None) -> str:
    return write_update(job or make_job(), header=authority.header, sign=authority.sign, at=START)


def read(text: str, *, authority: Authority = AUTHORITY, at: datetime = START) -> Update:
    return read_update(text, KEY, root=authority.root.certificate, at=at)


def seal(inner: str, key: EllipticCurvePrivateKey = KEY, **changes: object) -> str:
    """Encrypt anything the way an update is encrypted."""
    head = {"typ": "wops-update+jwe", "cty": "wops-update+jws", "kid": thumbprint(public_jwk(key)), **changes}
    return write_armour("UPDATE", encrypt_token(head, inner, key.public_key()))


def header_of(authority: Authority, **changes: object) -> str:
    return encode_segment({**json.loads(decode_base64url(authority.header)), **changes})


def claims(**changes: object) -> dict[str, object]:
    return {
        "iss": INSTANCE,
        "sub": "130-1234567890",
        "jti": "trf_1",
        "iat": to_us(START),
        "firm_code": FIRM_CODE,
        "base_fuc": 0,
        "seq": 1,
        "request": "a" * 64,
        "steps": [{"fuc": 1, "operations": []}],
        **changes,
    }


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_container_reads_what_the_box_wrote(algorithm: Algorithm) -> None:
    authority = make_authority(algorithm=algorithm)
    steps = make_steps(4, (add_item("lic_1"), delete_item("lic_2")), (add_item("lic_3", generation=2),))
    update = read(write(authority, make_job(base_fuc=4, steps=steps)), authority=authority)
    assert (update.job_id, update.base_fuc, update.seq, update.steps) == ("trf_1", 4, 6, steps)
    assert (update.container_serial, update.context_digest, update.made_at) == (
        "130-1234567890",
        "a" * 64,
        START,
    )
    signer = update.signer
    assert (signer.instance_id, signer.firm_code, signer.algorithm) == (INSTANCE, FIRM_CODE, algorithm)


UPDATE = write()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_bit_is_accepted(data: st.DataObject) -> None:
    raw = bytearray(UPDATE.strip().encode())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(FileFormatError):
        read(raw.decode("latin-1"))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
def test_noise_is_malformed(text: str) -> None:
    with pytest.raises(FileMalformed):
        read(text)


def test_changed_ciphertext_is_called_tampered() -> None:
    token = read_armour(UPDATE, "UPDATE")[1].split(".")
    token[3] = ("B" if token[3][0] == "A" else "A") + token[3][1:]
    with pytest.raises(UpdateTampered):
        read(write_armour("UPDATE", ".".join(token)))


def test_update_for_another_container_is_named_so() -> None:
    with pytest.raises(UpdateForOtherContainer):
        read(write(job=make_job(container_key=public_jwk(p256("other container")))))


def test_changed_claims_under_the_old_signature_are_refused() -> None:
    head, _, signature = sign_token(AUTHORITY.header, claims(), AUTHORITY.sign).split(".")
    with pytest.raises(UpdateTampered):
        read(seal(f"{head}.{encode_segment(claims(seq=2))}.{signature}"))


def test_foreign_root_is_refused() -> None:
    foreign = make_authority(root="foreign root")
    with pytest.raises(UpdateUntrusted):
        read(write(foreign))


def test_swapped_certificate_is_refused() -> None:
    other = make_authority()  # same names, another firm key, certified by the same CA
    swapped = json.loads(decode_base64url(other.header))["x5c"]
    for changes in ({"x5c": swapped}, {"x5c": swapped, "kid": thumbprint(public_jwk(other.firm.key))}):
        token = sign_token(header_of(AUTHORITY, **changes), claims(), AUTHORITY.sign)
        with pytest.raises((UpdateUntrusted, UpdateTampered)):
            read(seal(token))


def test_firm_key_of_another_firm_code_is_refused() -> None:
    other = make_authority(firm_code=FIRM_CODE + 1)
    with pytest.raises(UpdateUntrusted):
        read(seal(sign_token(other.header, claims(), other.sign)))


def test_firm_key_of_another_instance_is_refused() -> None:
    other = make_authority(instance_id="ins_2")
    with pytest.raises(UpdateUntrusted):
        read(seal(sign_token(other.header, claims(), other.sign)))


@pytest.mark.parametrize("days", [-2, 3700])
def test_certificate_outside_its_validity_is_refused(days: int) -> None:
    with pytest.raises(UpdateUntrusted):
        read(UPDATE, at=START + timedelta(days=days))


def pem(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


@pytest.mark.parametrize(
    ("chain", "refusal"),
    [
        ([], UpdateUntrusted),
        ([AUTHORITY.firm.certificate], UpdateUntrusted),
        ([AUTHORITY.ca.certificate, AUTHORITY.firm.certificate], UpdateUntrusted),
        ([AUTHORITY.ca.certificate, AUTHORITY.root.certificate], UpdateUntrusted),
        ([AUTHORITY.firm.certificate, AUTHORITY.root.certificate], UpdateUntrusted),
        ([AUTHORITY.firm.certificate, AUTHORITY.ca.certificate, AUTHORITY.root.certificate], UpdateUntrusted),
    ],
)
def test_other_chain_is_refused(chain: list[x509.Certificate], refusal: type[Exception]) -> None:
    token = sign_token(header_of(AUTHORITY, x5c=[pem(item) for item in chain]), claims(), AUTHORITY.sign)
    with pytest.raises(refusal):
        read(seal(token))


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "EdDSA"},
        {"typ": "JWT"},
        {"crit": ["exp"]},
        {"b64": False},
        {"x5c": ["*"]},
        {"x5c": [base64.b64encode(b"x").decode()]},
        {"x5c": "x"},
    ],
)
def test_other_signed_header_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(FileMalformed):
        read(seal(sign_token(header_of(AUTHORITY, **changes), claims(), AUTHORITY.sign)))


def test_algorithm_of_another_key_type_is_refused() -> None:
    with pytest.raises(UpdateUntrusted):
        read(seal(sign_token(header_of(AUTHORITY, alg="Ed25519"), claims(), AUTHORITY.sign)))


@pytest.mark.parametrize("inner", ["", "a.b", "a.b.c", "x" * 100, "e30.e30.AA"])
def test_sealed_noise_is_malformed(inner: str) -> None:
    with pytest.raises(FileMalformed):
        read(seal(inner))


@pytest.mark.parametrize(
    "changes",
    [{"typ": "JWE"}, {"cty": "JWT"}, {"zip": "DEF"}, {"crit": ["x"]}, {"alg": "dir"}, {"apu": "AA"}],
)
def test_other_sealed_header_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(FileMalformed):
        read(seal("x", **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": []},
        {"steps": [{"fuc": 2, "operations": []}]},
        {"seq": 2},
        {"base_fuc": 1},
        {"iat": -1},
        {"steps": [{"fuc": 1, "operations": [{"op": "format_disk"}]}]},
        {"extra": True},
    ],
)
def test_contradicting_claims_are_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(FileMalformed):
        read(seal(sign_token(AUTHORITY.header, claims(**changes), AUTHORITY.sign)))


def test_container_key_off_the_curve_is_refused() -> None:
    key = public_jwk(KEY)
    with pytest.raises(FileMalformed):
        write(job=make_job(container_key={**key, "y": key["x"]}))


def test_update_that_no_container_would_read_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = tuple(
        replace(add_item(f"lic_{number}"), product={"text": "許" * 2000, "product_code": 7})
        for number in range(50)
    )
    with pytest.raises(UpdateTooLarge) as caught:
        write(job=make_job(steps=make_steps(0, texts)))
    assert caught.value.detail["limit"] == SIZE_LIMIT
    exactly = len(write())
    monkeypatch.setattr(update, "SIZE_LIMIT", exactly)
    assert len(write()) == exactly
    monkeypatch.setattr(update, "SIZE_LIMIT", exactly - 1)
    with pytest.raises(UpdateTooLarge):
        write()
