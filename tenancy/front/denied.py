"""Networks from which nobody is answered. Pure values and their rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NewType

from tenancy.access.policy import Network, parse_network
from tenancy.errors import NetworkTooWide
from tenancy.front.errors import DeniedNetworkPast

DeniedId = NewType("DeniedId", str)

MOST_DENIED: Final = 5000
"""A map of a load balancer holds far more; whoever needs them has another problem. Our own decision."""
LONGEST_REASON: Final = 500
_NARROWEST_UNCONFIRMED: Final = {4: 16, 6: 32}
"""Prefix lengths below which a denial shuts out whole providers. **Source:** RIPE-738 §5.1 for IPv6; for IPv4 our own
decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedNetwork:
    """A network from which nobody is answered.

    Attributes:
        until: None: until somebody removes it.
    """

    denied_id: DeniedId
    network: Network
    reason: str
    until: datetime | None
    created_at: datetime

    def is_in_force(self, now: datetime) -> bool:
        """Whether it has not ended."""
        return self.until is None or now < self.until


def read_denied(text: str, *, wide_confirmed: bool) -> Network:
    """The network that somebody wants to deny.

    Raises:
        NetworkInvalid: it is none.
        NetworkTooWide: it holds a large part of the Internet, and nobody confirmed that.
    """
    network = parse_network(text)
    if not wide_confirmed and network.prefixlen < _NARROWEST_UNCONFIRMED[network.version]:
        raise NetworkTooWide(
            f"{network} shuts a large part of the Internet out. Confirm it if that is meant.",
            network=str(network),
        )
    return network


def check_until(until: datetime | None, *, now: datetime) -> None:
    """Refuse a denial that has ended before it begins.

    Raises:
        DeniedNetworkPast: it has.
    """
    if until is not None and until <= now:
        raise DeniedNetworkPast("The denial would have ended already.", field="until")
