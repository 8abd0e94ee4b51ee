"""What the registry knows of a firm key: whose it is and its certificates, never the key itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fsb_gateway.box_driver import KeyBinding
from fsb_gateway.error import FirmCodeNotOwned, FirmKeyConflict, FirmKeyUnfit, UpdateUntrusted
from fsb_gateway.file_format.certificate import read_certificate_key, read_names
from fsb_gateway.job import Algorithm
from fsb_gateway.key.transport import public_der
from fsb_gateway.report import FormerKey, KeyState

Chain = tuple[bytes, bytes]
"""DER of the firm key's certificate, then of the instance CA's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedKey:
    """The key that a rotation brings in.

    Attributes:
        chain: None until its public half is known and certified.
    """

    key_id: str
    chain: Chain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmKeyRecord:
    """A firm code's key: written before each step, so that a repeat of a killed step finds its way.

    Attributes:
        binding: the key that signs now, or that is to be made first.
        chain: None until the first key is certified.
        made_at: when the key of `binding` was made.
        next: the rotation under way.
        former: keys that were rotated away, the newest first.
        retired_at: no box holds a key any more; the firm code stays taken.
        owed: boxes that were away when the key was brought to their pool; they get it when they are back.
    """

    binding: KeyBinding
    chain: Chain | None
    made_at: datetime
    next: PlannedKey | None = None
    former: tuple[FormerKey, ...] = ()
    retired_at: datetime | None = None
    owed: tuple[str, ...] = ()

    @property
    def state(self) -> KeyState:
        """Whether the key signs."""
        return "active" if self.retired_at is None else "retired"


def fingerprint(public_key: bytes) -> str:
    """SHA-256 of a public key (SPKI DER), 64 hex digits."""
    return hashlib.sha256(public_key).hexdigest()


def certified_key(chain: Chain) -> bytes:
    """The public key that a chain certifies, SPKI DER."""
    return public_der(read_certificate_key(read_chain(chain)[0]))


def chain_pem(chain: Chain) -> str:
    """Both certificates as PEM, the firm key's first."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in read_chain(chain))


def read_chain(chain: Chain) -> tuple[x509.Certificate, x509.Certificate]:
    """Both certificates.

    Raises:
        FirmKeyUnfit: these are no certificates.
    """
    try:
        firm, ca = (x509.load_der_x509_certificate(der) for der in chain)
    except ValueError as error:
        raise FirmKeyUnfit("the certificates of the firm key cannot be read") from error
    return firm, ca


def check_chain(binding: KeyBinding, chain: Chain, public_key: bytes) -> None:
    """Refuse certificates of another key, firm code or instance.

    Raises:
        FirmKeyUnfit: they do not belong together.
    """
    try:
        names = read_names(read_chain(chain))
    except UpdateUntrusted as error:
        raise FirmKeyUnfit("the certificates do not name an instance and a firm code") from error
    found = (names.instance_id, names.firm_code, names.algorithm, public_der(names.public_key))
    if found != (binding.instance_id, binding.firm_code, binding.algorithm, public_key):
        raise FirmKeyUnfit(
            f"the certificates are not those of key {binding.key_id}", firm_code=binding.firm_code
        )


def check_owner(firm_code: int, owner: str, instance_id: str) -> None:
    """Refuse another instance.

    Raises:
        FirmCodeNotOwned: the firm code is the owner's.
    """
    if owner != instance_id:
        raise FirmCodeNotOwned(f"firm code {firm_code} belongs to another instance", firm_code=firm_code)


def check_algorithm(firm_code: int, found: Algorithm, algorithm: Algorithm) -> None:
    """Refuse another algorithm.

    Raises:
        FirmKeyConflict: the key signs with the one found.
    """
    if found != algorithm:
        raise FirmKeyConflict(
            f"the key of firm code {firm_code} exists with algorithm {found}",
            firm_code=firm_code,
            algorithm=found,
        )
