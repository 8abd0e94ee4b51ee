from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest

from lb.front.problem import FRONT_PROBLEMS
from tenancy.errors import NetworkInvalid, NetworkTooWide
from tenancy.front.denied import (
    CALLER_DENIED,
    Denial,
    DeniedId,
    DeniedNetwork,
    DeniedNetworks,
    check_until,
    read_denied,
)
from tenancy.front.errors import CallerDenied, DeniedNetworkPast

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:d00::/24", "::/64", "::/32", "::/80", "::fffe:0:0/95"]
)
def test_wide_network_is_denied_only_if_that_is_confirmed(text: str) -> None:
    with pytest.raises(NetworkTooWide):
        read_denied(text, wide_confirmed=False)
    assert str(read_denied(text, wide_confirmed=True)) == text


@pytest.mark.parametrize(
    ("text", "wide"),
    [("::ffff:0:0/96", "0.0.0.0/0"), ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:192.0.2.0/120", None)],
)
def test_mapped_network_is_one_of_ipv4(text: str, wide: str | None) -> None:
    if wide is not None:
        with pytest.raises(NetworkTooWide):
            read_denied(text, wide_confirmed=False)
    assert str(read_denied(text, wide_confirmed=True)) == (wide or "192.0.2.0/24")


@pytest.mark.parametrize("text", ["", "x", "192.0.2.1/24", "fe80::1%eth0", "192.0.2.0/24;", "1" * 1000])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(NetworkInvalid):
        read_denied(text, wide_confirmed=True)


def test_denial_ends_by_itself_and_never_in_the_past() -> None:
    until = NOW + timedelta(hours=1)
    denied = DeniedNetwork(
        denied_id=DeniedId("dny_1"),
        network=read_denied("192.0.2.0/24", wide_confirmed=False),
        reason="a flood",
        until=until,
        created_at=NOW,
    )
    assert denied.is_in_force(NOW)
    assert not denied.is_in_force(until)
    check_until(None, now=NOW)
    check_until(until, now=NOW)
    with pytest.raises(DeniedNetworkPast):
        check_until(NOW, now=NOW)


def _refused(denied: DeniedNetworks, address: str, now: datetime = NOW) -> bool:
    try:
        denied.refuse(ip_address(address), now=now)
    except CallerDenied:
        return True
    return False


def test_whoever_calls_from_a_denied_network_is_refused_and_nobody_else() -> None:
    texts = ("192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "2001:db9::1")
    denied = DeniedNetworks(Denial(network=ip_network(each)) for each in texts)
    for address in (
        "192.0.2.0",
        "192.0.2.255",
        "::ffff:192.0.2.9",
        "198.51.100.7",
        "2001:db8:f::1",
        "2001:db9::1",
    ):
        assert _refused(denied, address), address
    # The last one has the bits of 192.0.2.1 and is another address.
    for address in ("192.0.3.0", "198.51.100.8", "2001:db9::2", "::1", "::c000:201"):
        assert not _refused(denied, address), address
    assert not _refused(DeniedNetworks(), "192.0.2.1")


def test_whole_internet_can_be_denied() -> None:
    denied = DeniedNetworks([Denial(network=ip_network("0.0.0.0/0"))])
    assert _refused(denied, "203.0.113.1")
    assert not _refused(denied, "2001:db8::1")
    assert _refused(DeniedNetworks([Denial(network=ip_network("::/0"))]), "2001:db8::1")


def test_denial_that_has_ended_lets_the_wider_one_decide() -> None:
    until = NOW + timedelta(minutes=1)
    denied = DeniedNetworks([Denial(network=ip_network("192.0.2.0/24"), until=until)])
    assert _refused(denied, "192.0.2.1", until - timedelta(microseconds=1))
    assert not _refused(denied, "192.0.2.1", until)
    wider = Denial(network=ip_network("192.0.0.0/16"))
    both = DeniedNetworks([Denial(network=ip_network("192.0.2.0/24"), until=until), wider])
    assert _refused(both, "192.0.2.1", until)


def test_same_as_a_look_at_every_network() -> None:
    chance = random.Random(8)
    networks = [
        ip_network((chance.getrandbits(bits), chance.randint(bits // 2, bits)), strict=False)
        for bits in (32, 128)
        for _ in range(200)
    ]
    denied = DeniedNetworks(Denial(network=each) for each in networks)
    found = 0
    for network in networks:
        near = int(network.network_address) ^ chance.getrandbits(
            network.max_prefixlen - network.prefixlen + 1
        )
        address = ip_address(near.to_bytes(network.max_prefixlen // 8))
        expected = any(address in each for each in networks if each.version == address.version)
        assert _refused(denied, str(address)) == expected
        found += expected
    assert 0 < found < len(networks)


def test_line_says_what_a_load_balancer_says() -> None:
    assert FRONT_PROBLEMS[CallerDenied.code].hotline_en == CALLER_DENIED
