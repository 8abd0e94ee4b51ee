"""Networks from which nobody is answered. Pure values and their rules.

staff ─► DeniedNetwork ─┬─► map of each load balancer
                        └─► Denial ─► DeniedNetworks, which every line asks before anything else
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network
from typing import Final, NewType

from tenancy.access.policy import Address, Network, parse_network
from tenancy.errors import NetworkTooWide
from tenancy.front.errors import CallerDenied, DeniedNetworkPast

DeniedId = NewType("DeniedId", str)

MOST_DENIED: Final = 5000
"""A map of a load balancer holds far more; whoever needs them has another problem. Our own decision."""
LONGEST_REASON: Final = 500
CALLER_DENIED: Final = (
    "Calls from this address are not answered here. If that is a mistake, tell support the address."
)
"""As load balancers say it (`lb.front.problem`): nobody learns who it was that refused him."""
_NARROWEST_UNCONFIRMED: Final = {4: 16, 6: 32}
"""Prefix lengths below which a denial shuts out whole providers. **Source:** RIPE-738 §5.1 for IPv6; for IPv4 our own
decision."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""Every IPv4 address, as dual-stack sockets show it. **Source:** RFC 4291 §2.5.5.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What a line has to know of a denied network: it ends there by itself, too, when control is away.

    Attributes:
        until: None: until somebody removes it.
    """

    network: Network
    until: datetime | None = None


class DeniedNetworks:
    """Denied networks, to be asked for an address: one look for each length of prefix that occurs. Immutable."""

    def __init__(self, denials: Iterable[Denial] = ()) -> None:
        found: dict[tuple[int, int], dict[int, Denial]] = {}
        for each in denials:
            network = each.network
            behind = network.max_prefixlen - network.prefixlen
            found.setdefault((network.version, behind), {})[int(network.network_address) >> behind] = each
        self._found = tuple((version, behind, known) for (version, behind), known in found.items())

    def refuse(self, address: Address, *, now: datetime) -> None:
        """Refuse whoever calls from a network that is denied now.

        Raises:
            CallerDenied: he does.
        """
        # A dual-stack socket shows IPv4 callers as ::ffff:a.b.c.d.
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        caller = mapped or address
        number = int(caller)
        for version, behind, known in self._found:
            denial = known.get(number >> behind) if version == caller.version else None
            if denial is not None and (denial.until is None or now < denial.until):
                raise CallerDenied(CALLER_DENIED)


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
    if not wide_confirmed and _is_wide(network):
        raise NetworkTooWide(
            f"{network} shuts a large part of the Internet out. Confirm it if that is meant.",
            network=str(network),
        )
    return network


def _is_wide(network: Network) -> bool:
    # Nobody has an address there but those of IPv4; whoever denies them all by a slip is asked.
    holds_mapped = isinstance(network, IPv6Network) and network.supernet_of(_MAPPED)
    return holds_mapped or network.prefixlen < _NARROWEST_UNCONFIRMED[network.version]


def check_until(until: datetime | None, *, now: datetime) -> None:
    """Refuse a denial that has ended before it begins.

    Raises:
        DeniedNetworkPast: it has.
    """
    if until is not None and until <= now:
        raise DeniedNetworkPast("The denial would have ended already.", field="until")
