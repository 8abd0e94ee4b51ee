"""Certificates, authorities and revocation lists before they get into a file of HAProxy's. Pure.

Who hands them in has been told what is wrong already; this keeps a running front from a file that it would refuse.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from lb.front.error import FrontCertificateUnfit

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----\n(?:[A-Za-z0-9+/=]{1,80}\n)+-----END \1-----")


def own_text(name: str, pem: str) -> str:
    """Certificate, chain and key of the front, laid out anew: certificates first, nothing between the blocks.

    Raises:
        FrontCertificateUnfit: it has no certificate, or not exactly one key.
    """
    blocks = _blocks(pem)
    certificates = [text for kind, text in blocks if kind == "CERTIFICATE"]
    keys = [text for kind, text in blocks if kind.endswith("PRIVATE KEY")]
    if not certificates or len(keys) != 1:
        raise FrontCertificateUnfit("A certificate comes with exactly one private key.", name=name)
    return _joined([*certificates, *keys])


def check_own(name: str, text: str) -> None:
    """See that a certificate and its key belong together; takes milliseconds for RSA.

    Raises:
        FrontCertificateUnfit: they do not, or cannot be read.
    """
    try:
        leaf = x509.load_pem_x509_certificates(text.encode())[0].public_key()
        key = load_pem_private_key(text.encode(), None).public_key()
    except (ValueError, TypeError) as error:
        raise FrontCertificateUnfit("The certificate or its key cannot be read.", name=name) from error
    if _spki(key) != _spki(leaf):
        raise FrontCertificateUnfit("The key belongs to another certificate.", name=name)


def authorities_text(pems: Iterable[str]) -> str:
    """Authorities one after the other, laid out anew.

    Raises:
        FrontCertificateUnfit: one is missing.
    """
    return _joined(text for pem in pems for text in _of_kind(pem, "CERTIFICATE"))


def revocation_lists_text(pems: Iterable[str]) -> str:
    """Revocation lists one after the other, laid out anew.

    Raises:
        FrontCertificateUnfit: one is missing.
    """
    return _joined(text for pem in pems for text in _of_kind(pem, "X509 CRL"))


def check_authority(name: str, text: str) -> None:
    """See that HAProxy can read one of them: with one that it cannot, it reads none and does not start.

    OpenSSL reads names where `cryptography` waits until somebody asks for them: also that of who has issued it, which
    nobody here does.

    Raises:
        FrontCertificateUnfit: it cannot.
    """
    try:
        x509.load_pem_x509_certificates(text.encode())
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        raise FrontCertificateUnfit("An authority cannot be read.", name=name) from error


def check_revocation_lists(text: str) -> None:
    """See that HAProxy can read them.

    Raises:
        FrontCertificateUnfit: it cannot.
    """
    try:
        for _, block in _blocks(text):
            x509.load_pem_x509_crl(block.encode())
    except ValueError as error:
        raise FrontCertificateUnfit("A revocation list cannot be read.", name="revocation_lists") from error


def _of_kind(pem: str, wanted: str) -> list[str]:
    texts = [text for kind, text in _blocks(pem) if kind == wanted]
    if not texts:
        raise FrontCertificateUnfit("An authority or a revocation list is missing.", name=wanted)
    return texts


def _blocks(pem: str) -> list[tuple[str, str]]:
    return [(found[1], found[0]) for found in _BLOCK.finditer(pem.replace("\r\n", "\n"))]


def _joined(blocks: Iterable[str]) -> str:
    return "".join(f"{block}\n" for block in blocks)


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]
