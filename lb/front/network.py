"""Which of several networks contain another, so that a longest match answers for all of them. Pure.

HAProxy's map of networks tells the longest one that holds an address. Whoever allows a network allows every longer one
in it: listed for each of those, one look-up by the longest match is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network


def owners_by_network(networks: Mapping[str, Iterable[Network]]) -> dict[Network, frozenset[str]]:
    """For every network that anybody has: all who have it, or one around it.

    Args:
        networks: by owner.
    """
    own: defaultdict[Network, set[str]] = defaultdict(set)
    for owner, theirs in networks.items():
        for network in theirs:
            own[network].add(owner)
    lengths = sorted({(network.version, network.prefixlen) for network in own})
    return {
        network: frozenset(owner for around in _around(network, lengths) for owner in own.get(around, ()))
        for network in own
    }


def _around(network: Network, lengths: Iterable[tuple[int, int]]) -> Iterator[Network]:
    """The network itself and those around it that have one of the lengths."""
    for version, length in lengths:
        if version == network.version and length <= network.prefixlen:
            yield network.supernet(new_prefix=length)
