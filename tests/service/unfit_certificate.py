"""Certificates that OpenSSL makes and HAProxy does not load: `cryptography` signs over nothing weak."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.service.binary import require_binary

_DAYS: Final = "36500"


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """A certificate, what it was issued by, and its key as a plain one (PKCS #8)."""

    pem: str
    root: str
    key_pem: str


def make_for_pss_alone(folder: Path, host: str) -> Unfit:
    """Its key is for RSASSA-PSS alone; who reads that key and writes it again makes it one for everything."""
    pem, key = folder / "pss.pem", folder / "pss.key"
    _openssl(
        *("req", "-x509", "-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-nodes"),
        *("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", _DAYS),
        *("-keyout", key, "-out", pem),
    )
    return Unfit(pem=pem.read_text(), root=pem.read_text(), key_pem=_plain(key))


def make_forgeable(folder: Path, host: str) -> Unfit:
    """Named like its issuer, and signed over SHA-1 with the issuer's key, as the issuer, a root, is with its own."""
    root, root_key = folder / "root.pem", folder / "root.key"
    subject = ("-subj", f"/CN={host}")
    new_key = ("-newkey", "rsa:2048", "-nodes")
    _openssl("req", "-x509", *new_key, *subject, "-sha1", "-days", _DAYS, "-keyout", root_key, "-out", root)
    key, request, extensions, pem = (folder / name for name in ("own.key", "own.csr", "own.ext", "own.pem"))
    _openssl("req", "-new", *new_key, *subject, "-keyout", key, "-out", request)
    extensions.write_text(f"subjectAltName=DNS:{host}\nauthorityKeyIdentifier=keyid\n")
    _openssl(
        *("x509", "-req", "-in", request, "-CA", root, "-CAkey", root_key, "-CAcreateserial", "-sha1"),
        *("-days", _DAYS, "-extfile", extensions, "-out", pem),
    )
    return Unfit(pem=pem.read_text(), root=root.read_text(), key_pem=_plain(key))


def issue_under(folder: Path, host: str) -> Unfit:
    """A good one, from the authority that `make_forgeable` has left in the folder."""
    key, request, extensions, pem = (folder / f"good.{end}" for end in ("key", "csr", "ext", "pem"))
    _openssl(
        *("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=good"),
        *("-keyout", key, "-out", request),
    )
    extensions.write_text(f"subjectAltName=DNS:{host}\n")
    _openssl(
        *("x509", "-req", "-in", request, "-CA", folder / "root.pem", "-CAkey", folder / "root.key"),
        *("-CAcreateserial", "-sha256", "-days", _DAYS, "-extfile", extensions, "-out", pem),
    )
    return Unfit(pem=pem.read_text(), root=(folder / "root.pem").read_text(), key_pem=_plain(key))


def _openssl(*words: str | Path) -> None:
    program = require_binary("openssl")
    subprocess.run([program, *words], check=True, capture_output=True, timeout=60)


def _plain(path: Path) -> str:
    key = load_pem_private_key(path.read_bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
