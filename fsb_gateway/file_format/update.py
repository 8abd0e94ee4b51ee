"""Updates: what changes one container, signed by a firm key, encrypted to the container."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey

from app.core.clock import to_us
from fsb_gateway.error import (
    FileMalformed,
    UpdateForOtherContainer,
    UpdateTampered,
    UpdateTooLarge,
    UpdateUntrusted,
)
from fsb_gateway.file_format.armour import SIZE_LIMIT, read_armour, write_armour
from fsb_gateway.file_format.certificate import FirmIdentity, read_certificate_key, verify_chain
from fsb_gateway.file_format.jose import (
    Sign,
    decrypt_token,
    encode_segment,
    encrypt_token,
    read_segment,
    sign_token,
    signature_holds,
)
from fsb_gateway.file_format.key import jose_key, public_jwk, read_p256_jwk, thumbprint
from fsb_gateway.file_format.timestamp import read_time
from fsb_gateway.job import Algorithm, OperationName, ProgrammingJob, ProgrammingOperation, ProgrammingStep

_SIGNED_TYPE = "wops-update+jws"
_SEALED_TYPE = "wops-update+jwe"
# A compact JWS has three segments.
_SIGNED_DOTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A decrypted update whose signature and signer hold.

    Attributes:
        job_id: the `jti`; one per update.
        base_fuc: counter of the context that it answers; the steps follow it without a gap.
        seq: counter after the last step.
        context_digest: digest of the context that it answers.
    """

    job_id: str
    signer: FirmIdentity
    container_serial: str
    made_at: datetime
    firm_code: int
    base_fuc: int
    seq: int
    context_digest: str
    steps: tuple[ProgrammingStep, ...]


class _SealedKey(msgspec.Struct, forbid_unknown_fields=True):
    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str


class _SealedHeader(msgspec.Struct, forbid_unknown_fields=True):
    alg: Literal["ECDH-ES"]
    enc: Literal["A256GCM"]
    typ: Literal["wops-update+jwe"]
    cty: Literal["wops-update+jws"]
    kid: str
    epk: _SealedKey


class _SignedHeader(msgspec.Struct, forbid_unknown_fields=True):
    alg: Algorithm
    typ: Literal["wops-update+jws"]
    kid: str
    x5c: list[str]


class _Operation(msgspec.Struct, forbid_unknown_fields=True):
    op: OperationName
    license_id: str
    generation: int
    product: dict[str, Any]


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    fuc: int
    operations: list[_Operation]


class _Claims(msgspec.Struct, forbid_unknown_fields=True):
    iss: str
    sub: str
    jti: str
    iat: int
    firm_code: int
    base_fuc: int
    seq: int
    request: str
    steps: list[_Step]


def signing_header(algorithm: Algorithm, chain: Sequence[x509.Certificate]) -> str:
    """The protected header of everything that one firm key signs; made once, when the key is installed.

    Args:
        chain: the firm key's certificate, then the instance CA's.
    """
    x5c = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode() for certificate in chain]
    kid = thumbprint(public_jwk(read_certificate_key(chain[0])))
    return encode_segment({"alg": algorithm, "typ": _SIGNED_TYPE, "kid": kid, "x5c": x5c})


def write_update(job: ProgrammingJob, *, header: str, sign: Sign, at: datetime) -> str:
    """Make the armoured update of a job.

    Args:
        header: from `signing_header`, of the key behind `sign`.

    Raises:
        FileMalformed: the container's key is not a public P-256 key.
        UpdateTooLarge: no container would read it.
    """
    recipient = read_p256_jwk(job.container_key)
    claims = {
        "iss": job.instance_id,
        "sub": job.container_serial,
        "jti": job.job_id,
        "iat": to_us(at),
        "firm_code": job.firm_code,
        "base_fuc": job.base_fuc,
        "seq": job.steps[-1].fuc,
        "request": job.context_digest,
        "steps": job.steps,
    }
    sealed = {"typ": _SEALED_TYPE, "cty": _SIGNED_TYPE, "kid": thumbprint(job.container_key)}
    update = write_armour(
        "UPDATE", encrypt_token(sealed, sign_token(header, claims, sign), recipient.public_key)
    )
    if len(update) > SIZE_LIMIT:
        raise UpdateTooLarge(f"the update would be larger than {SIZE_LIMIT} characters", limit=SIZE_LIMIT)
    return update


def read_update(text: str, key: EllipticCurvePrivateKey, *, root: x509.Certificate, at: datetime) -> Update:
    """Decrypt an update and verify it up to the platform root, offline.

    Args:
        key: the container's private encryption key.
        at: the time at which the signer's certificates must be valid.

    Raises:
        FileMalformed: not an update.
        UpdateForOtherContainer: encrypted to another key.
        UpdateTampered: changed after it was made.
        UpdateUntrusted: the signer is not a firm key under this root, or signed for another instance or firm code.
    """
    _, sealed = read_armour(text, "UPDATE")
    header = read_segment(sealed, 0, _SealedHeader)
    if header.kid != thumbprint(public_jwk(key)):
        raise UpdateForOtherContainer("this update was made for another container")
    token = decrypt_token(sealed, ECKey.import_key(key))
    if token is None:
        raise UpdateTampered("this update was changed after it was made")
    signer = _verify_signer(token, root, at)
    return _build_update(read_segment(token, 1, _Claims), signer)


def _verify_signer(token: str, root: x509.Certificate, at: datetime) -> FirmIdentity:
    if token.count(".") != _SIGNED_DOTS:
        raise FileMalformed("the content of the update is not a signed token")
    header = read_segment(token, 0, _SignedHeader)
    signer = verify_chain(_read_chain(header.x5c), root, at=at)
    if header.alg != signer.algorithm or header.kid != thumbprint(public_jwk(signer.public_key)):
        raise UpdateUntrusted("the signature's header names another key than its certificate")
    if not signature_holds(token, jose_key(signer.public_key), signer.algorithm):
        raise UpdateTampered("the signature of this update does not hold")
    return signer


def _read_chain(x5c: list[str]) -> list[x509.Certificate]:
    try:
        return [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in x5c]
    except (ValueError, binascii.Error) as error:
        raise FileMalformed("a certificate in the update cannot be read") from error


def _build_update(claims: _Claims, signer: FirmIdentity) -> Update:
    if (claims.iss, claims.firm_code) != (signer.instance_id, signer.firm_code):
        raise UpdateUntrusted("the signer's certificate is for another instance or firm code")
    consecutive = all(step.fuc == fuc for fuc, step in enumerate(claims.steps, start=claims.base_fuc + 1))
    if not consecutive or not claims.steps or claims.steps[-1].fuc != claims.seq:
        raise FileMalformed("the steps of the update do not follow each other")
    return Update(
        job_id=claims.jti,
        signer=signer,
        container_serial=claims.sub,
        made_at=read_time(claims.iat),
        firm_code=claims.firm_code,
        base_fuc=claims.base_fuc,
        seq=claims.seq,
        context_digest=claims.request,
        steps=tuple(_build_step(step) for step in claims.steps),
    )


def _build_step(step: _Step) -> ProgrammingStep:
    operations = tuple(
        ProgrammingOperation(
            op=item.op, license_id=item.license_id, generation=item.generation, product=item.product
        )
        for item in step.operations
    )
    return ProgrammingStep(fuc=step.fuc, operations=operations)
