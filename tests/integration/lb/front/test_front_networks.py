"""Networks at the front: both families are told apart as lines tell them apart.

A front sees its callers' addresses; here they say them, so that there can be thousands of both families.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from lb.front import configuration
from lb.front.settings import FrontSettings
from lb.front.state import Network
from tenancy.front.denied import Denial, DeniedNetworks
from tenancy.front.errors import CallerDenied
from tests.service.front_site import FrontSite, running_front

_Address = IPv4Address | IPv6Address
_SEED = 8
_NETWORKS = 300
_REQUESTS = 3000
_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_HEADER = "x-test-from"


@pytest.fixture
def told_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontSite]:
    """A front that takes its callers' word for their addresses."""
    before = configuration._entry_rules

    def entry_rules(settings: FrontSettings) -> Iterator[str]:
        yield f"set-src req.hdr({_HEADER})"
        yield from before(settings)

    monkeypatch.setattr(configuration, "_entry_rules", entry_rules)
    with running_front() as running:
        yield running


def codes(site: FrontSite, addresses: Sequence[_Address]) -> list[str]:
    """What callers from these addresses are told by, in their order, on one connection."""
    host, port = site.plain.split(":")
    found = []
    with closing(HTTPConnection(host, int(port), timeout=30)) as connection:
        for address in addresses:
            connection.request("GET", "/acme/api/x", headers={_HEADER: str(address)})
            with connection.getresponse() as answer:
                found.append(str(json.loads(answer.read())["code"]))
    return found


def in_ipv6(address: IPv4Address, chance: random.Random) -> IPv6Address:
    """One of those that HAProxy takes for an address of IPv4: `2002:…` and `::a.b.c.d`."""
    packed = address.packed
    return IPv6Address(chance.choice([b"\x20\x02" + packed + bytes(10), bytes(12) + packed]))


def random_network(chance: random.Random) -> Network:
    if chance.random() < 0.5:
        return ip_network((chance.getrandbits(32), chance.randint(6, 32)), strict=False)
    beginning = chance.choice([0, 0x2002, 0x2001_0DB8, chance.getrandbits(32)])
    number = beginning << (96 if beginning > 0xFFFF else 112) | chance.getrandbits(96)
    return ip_network((number, chance.randint(16, 128)), strict=False)


def random_address(chance: random.Random, networks: Sequence[Network]) -> _Address:
    """In a network, near one, or anywhere; now and then what has the same bits in the other family."""
    network = chance.choice(networks)
    behind = network.max_prefixlen - network.prefixlen
    near = int(network.network_address) ^ chance.getrandbits(behind + 1)
    address = ip_address(near.to_bytes(network.max_prefixlen // 8))
    if isinstance(address, IPv4Address):
        return in_ipv6(address, chance) if chance.random() < 0.3 else address
    return IPv4Address(near & 0xFFFF_FFFF) if chance.random() < 0.3 else address


def is_in(address: _Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def refuses(denied: DeniedNetworks, address: _Address) -> bool:
    try:
        denied.refuse(address, now=_NOW)
    except CallerDenied:
        return True
    return False


def test_networks_of_one_family_hold_nobody_of_the_other(told_site: FrontSite) -> None:
    zero, all_of_ipv6 = ip_network("::/64"), ip_network("::/0")
    four = ip_network("192.0.2.0/24")
    v4 = ip_address("192.0.2.9")
    asked = [v4, ip_address("2002:c000:209::1"), ip_address("::192.0.2.9"), ip_address("2001:db8::1")]
    site = told_site
    cases = {
        (zero,): [False, False, True, False],
        (all_of_ipv6,): [False, True, True, True],
        (four,): [True, False, False, False],
        (four, all_of_ipv6): [True, True, True, True],
    }
    for networks, expected in cases.items():
        site.front.apply(site.state(denied=networks))
        assert [code == "caller_denied" for code in codes(site, asked)] == expected, networks
        site.front.apply(site.state(instance={"networks": networks}))
        assert [code != "network_not_allowed" for code in codes(site, asked)] == expected, networks


def test_same_as_lines_say_for_thousands_of_networks_and_addresses(told_site: FrontSite) -> None:
    chance = random.Random(_SEED)
    denied = tuple(dict.fromkeys(random_network(chance) for _ in range(_NETWORKS)))
    allowed = tuple(dict.fromkeys(random_network(chance) for _ in range(_NETWORKS)))
    told_site.front.apply(told_site.state(denied=denied, instance={"networks": allowed}))
    line = DeniedNetworks(Denial(network=each) for each in denied)
    asked = [random_address(chance, denied + allowed) for _ in range(_REQUESTS)]
    asked = [each for each in asked if not (isinstance(each, IPv6Address) and each.ipv4_mapped)]
    expected = [
        "caller_denied"
        if refuses(line, each)
        else "no_line_ready"
        if is_in(each, allowed)
        else "network_not_allowed"
        for each in asked
    ]
    said = codes(told_site, asked)
    wrong = [
        (str(one), *rest) for one, *rest in zip(asked, said, expected, strict=True) if rest[0] != rest[1]
    ]
    assert wrong == []
    counts = Counter((each.version, code) for each, code in zip(asked, expected, strict=True))
    assert len(counts) == 6
    assert min(counts.values()) > 50, counts
