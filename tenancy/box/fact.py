"""What is said of a firm key in audit chains and ceremony records: enough to know it again, nothing secret. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from app.core.clock import to_text
from app.core.errors import InputInvalid
from app.core.json import JsonObject
from fsb_gateway.report import FirmKeyReport

_NAMES: Final = ("certificate", "ca_certificate")


def describe_key(report: FirmKeyReport) -> JsonObject:
    """The key that signs now, with its certificates."""
    return {
        "firm_code": report.firm_code,
        "instance_id": report.instance_id,
        "key_id": report.key_id,
        "algorithm": report.algorithm,
        "fingerprint": report.fingerprint,
        "state": report.state,
        **describe_chain(report.certificate),
    }


def describe_chain(pem: str) -> JsonObject:
    """Serial number, validity and SHA-256 of the firm key's certificate and of the instance CA's.

    Raises:
        InputInvalid: the text holds no certificates.
    """
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise InputInvalid("These are no certificates.", field="certificate") from error
    return {name: _describe(certificate) for name, certificate in zip(_NAMES, found, strict=False)}


def _describe(certificate: x509.Certificate) -> JsonObject:
    return {
        "serial_number": f"{certificate.serial_number:x}",
        "not_before": to_text(certificate.not_valid_before_utc),
        "not_after": to_text(certificate.not_valid_after_utc),
        "sha256": sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
    }


def find_report(reports: tuple[FirmKeyReport, ...], firm_code: int) -> FirmKeyReport | None:
    """The report about a firm code."""
    return next((each for each in reports if each.firm_code == firm_code), None)
