"""Networks as beginnings of hexadecimal addresses, so that the longest one is found as a prefix of text. Pure.

    10.0.0.0/8   ─► 8|0A            8 and 32 are the lengths of an address: IPv4 and IPv6 never meet
    10.0.0.0/9   ─► 8|0A0 … 8|0A7   a digit is four bits: up to eight blocks for one network
    2001:db8::/32 ─► 32|20010DB8

HAProxy's own `map_ip` is not used: it has one table for everybody, and it looks an IPv4 address up among IPv6 networks
when no IPv4 network holds it (`::/0` does), and `2002:…` or `::a.b.c.d` among IPv4 networks. **Source:** tried on
2.6.12.
"""

from __future__ import annotations

from collections.abc import Iterator

from lb.rule.rule import Network


def blocks_of(network: Network) -> Iterator[str]:
    """The blocks that make up a network; at most eight."""
    rest = -network.prefixlen % 4
    for part in network.subnets(prefixlen_diff=rest):
        digits = part.network_address.packed.hex().upper()
        yield f"{len(digits)}|{digits[: part.prefixlen // 4]}"
