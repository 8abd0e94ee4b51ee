"""The three PEM files of mutual TLS with a gateway, and what is wrong with them, in words for whoever named them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509

from app.core.errors import InputInvalid

T = TypeVar("T")

_NO_PAIR: Final = "KEY_VALUES_MISMATCH"
"""**Source:** OpenSSL, `x509err.h`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file, and the option or variable that names it."""

    name: str
    path: Path

    @property
    def field(self) -> str:
        """For programs."""
        return self.name.removeprefix("--").removeprefix("WOPS_").lower().replace("-", "_")


def opened(make: Callable[[], T], *, certificate: NamedFile, key: NamedFile, ca: NamedFile) -> T:
    """Make something out of the three files.

    Args:
        make: loads them.
        ca: the authority of the other side.

    Raises:
        InputInvalid: one of them cannot be used; it is named.
    """
    for file in (certificate, key, ca):
        if not os.access(file.path, os.R_OK):
            raise InputInvalid(
                f"{file.name} names a file that is not there or cannot be read: {file.path}", field=file.field
            )
    try:
        return make()
    except ssl.SSLError as error:
        if error.reason == _NO_PAIR:
            raise InputInvalid(
                f"The private key of {key.name} does not belong to the certificate of {certificate.name}.",
                field=key.field,
            ) from error
        raise _no_pem(certificate, key, ca) from error
    except OSError as error:
        raise _no_pem(certificate, key, ca) from error


def _no_pem(certificate: NamedFile, key: NamedFile, ca: NamedFile) -> InputInvalid:
    wrong = next((file for file in (certificate, ca) if not _holds_certificate(file.path)), key)
    what = "private key" if wrong is key else "certificate"
    return InputInvalid(f"{wrong.name} is no PEM file of a {what}: {wrong.path}", field=wrong.field)


def _holds_certificate(path: Path) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError):
        return False
