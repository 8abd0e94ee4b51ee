"""Whether an address can be listened at, asked before anything is started for it."""

from __future__ import annotations

import errno
import socket
from typing import Final

from app.core.errors import DomainError

_HIGHEST_PORT: Final = 65_535


class AddressNotFree(DomainError):
    """Another process listens there, or this machine has no such address."""

    code = "address_not_free"


def require_free(address: str, *, part: str, remedy: str) -> None:
    """Refuse an address at which nobody could listen now; what is in the way is named.

    Args:
        address: `host:port`, `[host]:port` or `*:port`.
        part: who is to listen there.
        remedy: what to do, for people.

    Raises:
        AddressNotFree: nobody can.
    """
    host, _, port = address.rpartition(":")
    host = "" if host == "*" else host.strip("[]")
    reason = "there is no such port"
    if int(port) <= _HIGHEST_PORT:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.create_server((host, int(port)), family=family):
                return
        except OSError as error:
            reason = _reason(error)
    raise AddressNotFree(f"{part} cannot listen at {address}: {reason}. {remedy}", part=part, address=address)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return (error.strerror or str(error)).lower()
