"""Whether a host name is proven to be its customer's: by a chain to an authority that checks who has a name.

Context: whoever brings a certificate that he signed himself could claim another customer's host name, or the
platform's. Decision: in the portal a new name needs a certificate of an authority that is trusted for it; staff, who
ask the customer, need none. Alternative: a token in DNS, which makes the platform depend on resolvers.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from tenancy.front.errors import HostNotProven
from tenancy.front.server_certificate import ServerCertificate


class HostProof:
    """Checks chains against authorities, read when first asked for. Thread-safe, blocking.

    Args:
        authorities: PEM file; None: those of the operating system.
    """

    def __init__(self, authorities: Path | None = None) -> None:
        self._file = authorities
        self._roots: list[x509.Certificate] | None = None

    def check(self, certificate: ServerCertificate, host: str, *, now: datetime) -> None:
        """Refuse a certificate that proves nothing.

        Raises:
            HostNotProven: no trusted authority certifies it for the host now.
        """
        if self._roots is None:
            self._roots = _read_roots(self._file)
        own, *between = x509.load_pem_x509_certificates(certificate.chain.encode())
        try:
            if not self._roots:
                raise VerificationError("there are no authorities")
            _verify(own, between, self._roots, host=host, now=now)
        except (VerificationError, ValueError):
            raise HostNotProven(
                "No public authority certifies this host name for you: bring such a certificate with its chain, "
                "or have staff add the name.",
                field="certificate",
            ) from None


def _verify(
    own: x509.Certificate,
    between: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    *,
    host: str,
    now: datetime,
) -> None:
    verifier = PolicyBuilder().store(Store(list(roots))).time(now).build_server_verifier(x509.DNSName(host))
    verifier.verify(own, list(between))


def _read_roots(file: Path | None) -> list[x509.Certificate]:
    if file is not None:
        return x509.load_pem_x509_certificates(file.read_bytes())
    ders = ssl.create_default_context().get_ca_certs(binary_form=True)
    return [each for each in map(_read_root, ders) if each is not None]


def _read_root(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        # Some old roots break rules that are checked today.
        return None
