"""What the trusted front says of a caller: his address and the certificate that he proved to have. Pure.

The front terminates TLS. On its own socket it replaces whatever the caller sent in these fields; on every other
listener they are worth nothing: `Client-Cert` is refused there, because whoever sends it is mistaken or lying,
and `Forwarded` is not looked at. `Client-Cert-Verify` is our own: two codes of OpenSSL, of the certificate and of
those above it.

**Source:** RFC 9440 §2 (`Client-Cert`, a byte sequence of RFC 9651 §3.3.5), RFC 7239 §4 and §6 (`Forwarded`).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from app.core.errors import DomainError
from tenancy.access.policy import Address
from tenancy.access.revocation.verification import Verification, judge_codes

FRONT_WORD: Final = "wops.front_word"
"""Where the front door leaves what the trusted front says, in the scope of a request."""
TRUSTED_FRONT: Final = "wops.trusted_front"
"""Marks the scope of a request that came in by the front's own socket."""
_CERT: Final = b"client-cert"
_CHAIN: Final = b"client-cert-chain"
_VERIFY: Final = b"client-cert-verify"
_FRONT_ALONE: Final = (_CERT, _CHAIN, _VERIFY)
_FORWARDED: Final = b"forwarded"
_CERT_MAX: Final = 24 * 1024
"""Characters; a certificate of 16 KiB in base64. Those in use have 1 to 4 KiB. Our own decision."""
_NODE: Final = re.compile(
    r"""for=(?: "\[ (?P<v6>[0-9a-f:.]{2,45}) \] (?::\d{1,5})?"
          | "(?P<quoted>[0-9.]{7,15}) (?::\d{1,5})?"
          | (?P<plain>[0-9.]{7,15}))""",
    re.IGNORECASE | re.VERBOSE,
)


_CODES: Final = re.compile(r"(\d{1,3}),(\d{1,3})")


class ClientCertNotAccepted(DomainError):
    """A caller sent `Client-Cert` himself; only the trusted front may."""

    code = "client_cert_not_accepted"


class ClientCertMalformed(DomainError):
    """The front sent a `Client-Cert` that is no byte sequence, or a `Client-Cert-Verify` that is no two codes."""

    code = "client_cert_malformed"


class ForwardedInvalid(DomainError):
    """The front did not say, in exactly one element, where the request comes from."""

    code = "forwarded_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontWord:
    """What the front says of a caller.

    Attributes:
        certificate: DER; None if he has none. The front has checked that he holds its key.
        verification: what else it found; a front that says nothing lets only good ones pass.
    """

    peer: Address
    certificate: bytes | None
    verification: Verification = "good"


def refuse_certificate(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a request on a listener that anybody can reach if it carries a certificate.

    Raises:
        ClientCertNotAccepted: it does.
    """
    for name, _ in headers:
        if name in _FRONT_ALONE:
            raise ClientCertNotAccepted(
                "Client-Cert is believed from the load balancer only; connect with the certificate itself.",
                header=name.decode(),
            )


def read_front(headers: Sequence[tuple[bytes, bytes]]) -> FrontWord:
    """What the front says of the caller of a request.

    Raises:
        ForwardedInvalid: not exactly one `Forwarded` with one element that names an address.
        ClientCertMalformed: `Client-Cert` more than once, or no byte sequence; `Client-Cert-Verify` likewise.
    """
    return FrontWord(
        peer=_peer(_values(headers, _FORWARDED)),
        certificate=_certificate(_values(headers, _CERT)),
        verification=_verification(_values(headers, _VERIFY)),
    )


def _values(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for name, value in headers if name == wanted]


def _peer(values: list[str]) -> Address:
    if len(values) == 1 and "," not in values[0]:
        # Other parameters of the element (proto, by, host) tell nothing that is needed here.
        nodes = [found for part in values[0].split(";") if (found := _NODE.fullmatch(part.strip()))]
        if len(nodes) == 1:
            try:
                return ipaddress.ip_address(nodes[0][nodes[0].lastgroup or 0])
            except ValueError:
                pass
    raise ForwardedInvalid("The load balancer must send one Forwarded field with one for= element.")


def _certificate(values: list[str]) -> bytes | None:
    if not values:
        return None
    text = values[0]
    if len(values) == 1 and 2 < len(text) <= _CERT_MAX and text[0] == text[-1] == ":":
        try:
            return base64.b64decode(text[1:-1], validate=True)
        except binascii.Error:
            pass
    raise ClientCertMalformed("Client-Cert holds one byte sequence (RFC 9440): base64 between colons.")


def _verification(values: list[str]) -> Verification:
    if not values:
        return "good"
    codes = _CODES.fullmatch(values[0]) if len(values) == 1 else None
    if codes is None:
        raise ClientCertMalformed("Client-Cert-Verify holds two codes: 0,0 for a certificate that is good.")
    return judge_codes(int(codes[1]), int(codes[2]))
