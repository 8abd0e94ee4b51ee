"""Who may call an instance, as its customer has decided. Pure values and the rules they must keep."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from app.core.ids import CustomerId, InstanceId, LineId
from tenancy.errors import AccessPolicyInvalid, NetworkInvalid, NetworkTooWide, ScopeUnknown

Mode = Literal["all", "any"]
Method = Literal["network", "certificate", "basic"]
Scope = Literal["read", "orders", "licenses", "admin"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

METHODS: Final[tuple[Method, ...]] = get_args(Method)
"""In the order in which they are checked (DESIGN §8)."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_MOST_NETWORKS = 200
"""A check walks the list; 200 networks cost some 30 microseconds. Our own decision."""
_NARROWEST_UNCONFIRMED = {4: 8, 6: 20}
"""Prefix lengths below which a network is no company's any more: 10.0.0.0/8 is the widest private network
(RFC 1918), and registries give providers /20 to /32 of IPv6 (RIPE-738 §5.1). Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """How callers prove that they may call: `all` of the methods or `any` of them. No method: closed.

    Attributes:
        network_scopes: what a caller may do who is let in by his network alone.
    """

    mode: Mode = "all"
    methods: frozenset[Method] = frozenset()
    networks: tuple[Network, ...] = ()
    network_scopes: frozenset[Scope] = frozenset()

    def find_network(self, peer: Address) -> Network | None:
        """The first allowed network that holds the address."""
        if "network" not in self.methods:
            return None
        # A dual-stack socket shows IPv4 callers as ::ffff:a.b.c.d; the customer wrote the IPv4 network.
        mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
        address = mapped or peer
        return next((network for network in self.networks if address in network), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionedPolicy:
    """A policy and its version, for If-Match."""

    policy: AccessPolicy
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceProfile:
    """What a line needs to know of its instance, as control wrote it into the instance's own database.

    Attributes:
        web_services: whether the contract in force when this was written has web services. Quotas follow the
            dated contracts; this is what pages show.
        frozen: lines let nobody in; its contract has ended, or staff have frozen it.
    """

    instance_id: InstanceId
    name: str
    customer_id: CustomerId
    edition: str
    firm_code: int
    pool: str
    lines: tuple[LineId, ...]
    web_services: bool
    config_version: int
    frozen: bool = False


def make_policy(
    *,
    mode: str,
    methods: Iterable[str],
    networks: Iterable[str] = (),
    network_scopes: Iterable[str] = ("read",),
    wide_confirmed: bool = False,
) -> AccessPolicy:
    """Build a policy from what somebody typed.

    Args:
        mode: `all` or `any`.
        methods: of `network`, `certificate`, `basic`; none closes the instance.
        networks: in CIDR form; an address stands for itself.
        network_scopes: what a caller may do who is let in by his network alone.
        wide_confirmed: lets networks pass that hold a large part of the Internet.

    Raises:
        AccessPolicyInvalid: unknown mode or method, or networks and the method `network` do not go together.
        NetworkInvalid: not a network.
        NetworkTooWide: see `wide_confirmed`.
        ScopeUnknown: not a scope.
    """
    chosen = set(methods)
    if mode not in get_args(Mode):
        raise AccessPolicyInvalid("The mode is all or any.", field="mode")
    if not chosen <= set(METHODS):
        raise AccessPolicyInvalid(
            "The methods are network, certificate and basic.", field="methods", offered=list(METHODS)
        )
    parsed = _parse_networks(networks, wide_confirmed=wide_confirmed)
    if ("network" in chosen) != bool(parsed):
        raise AccessPolicyInvalid(
            "Name networks if, and only if, network is one of the methods.", field="networks"
        )
    return AccessPolicy(
        mode=cast(Mode, mode),
        methods=frozenset(cast(Iterable[Method], chosen)),
        networks=parsed,
        network_scopes=check_scopes(network_scopes) if parsed else frozenset(),
    )


def check_scopes(scopes: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes if all of them exist and there is at least one.

    Raises:
        ScopeUnknown: otherwise.
    """
    chosen = frozenset(scopes)
    if not chosen or not chosen <= frozenset(SCOPES):
        raise ScopeUnknown("Name at least one of the scopes that exist.", field="scopes", known=list(SCOPES))
    return cast(frozenset[Scope], chosen)


def _parse_networks(networks: Iterable[str], *, wide_confirmed: bool) -> tuple[Network, ...]:
    parsed = tuple(dict.fromkeys(parse_network(text) for text in networks))
    if len(parsed) > _MOST_NETWORKS:
        raise AccessPolicyInvalid(
            f"At most {_MOST_NETWORKS} networks.", field="networks", maximum=_MOST_NETWORKS
        )
    for network in parsed:
        if not wide_confirmed and network.prefixlen < _NARROWEST_UNCONFIRMED[network.version]:
            raise NetworkTooWide(
                f"{network} lets a large part of the Internet in. Confirm it if that is meant.",
                network=str(network),
            )
    return parsed


def parse_network(text: str) -> Network:
    """Read one IPv4 or IPv6 network.

    Raises:
        NetworkInvalid: not a network, or bits are set behind the prefix, or an IPv6 zone is named.
    """
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError:
        raise NetworkInvalid(
            f"{text[:64]!r} is no IP network such as 192.0.2.0/24 or 2001:db8::/32; "
            "nothing may be set behind the prefix.",
            network=text[:64],
        ) from None
    if isinstance(network, ipaddress.IPv6Network):
        return _unmap(network, text)
    return network


def _unmap(network: ipaddress.IPv6Network, text: str) -> Network:
    if network.network_address.scope_id is not None:
        raise NetworkInvalid(f"{text[:64]!r}: a network has no zone such as %eth0.", network=text[:64])
    mapped = network.network_address.ipv4_mapped
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network
