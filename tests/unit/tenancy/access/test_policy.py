from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.access.policy import AccessPolicy, make_policy, parse_network
from tenancy.errors import AccessPolicyInvalid, NetworkInvalid, NetworkTooWide, ScopeUnknown


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
)
def test_network_is_read_in_its_plain_form(text: str, network: str) -> None:
    assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        "192.0.2.1/24",
        "192.0.2.0/33",
        "1.2.3",
        "010.0.0.1",
        "fe80::1%eth0",
        "::1/129",
        "1.2.3.4;x",
    ],
)
def test_text_that_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(NetworkInvalid) as refused:
        parse_network(text)
    assert refused.value.code == "network_invalid"


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3", "::ffff:0:0/96"])
def test_network_that_lets_half_the_internet_in_needs_a_confirmation(text: str) -> None:
    with pytest.raises(NetworkTooWide) as refused:
        make_policy(mode="any", methods=["network"], networks=[text])
    assert refused.value.code == "network_too_wide"
    assert make_policy(mode="any", methods=["network"], networks=[text], wide_confirmed=True).networks


@pytest.mark.parametrize(
    ("mode", "methods", "networks"),
    [
        ("some", ["basic"], []),
        ("all", ["password"], []),
        ("all", ["network"], []),
        ("all", ["basic"], ["192.0.2.0/24"]),
        ("any", ["network"], [f"10.0.{n}.0/24" for n in range(201)]),
    ],
)
def test_policy_that_contradicts_itself_is_refused(
    mode: str, methods: list[str], networks: list[str]
) -> None:
    with pytest.raises(AccessPolicyInvalid) as refused:
        make_policy(mode=mode, methods=methods, networks=networks)
    assert refused.value.code == "access_policy_invalid"


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "write"]])
def test_unknown_scope_is_refused(scopes: list[str]) -> None:
    with pytest.raises(ScopeUnknown):
        make_policy(mode="any", methods=["network"], networks=["192.0.2.0/24"], network_scopes=scopes)


def test_network_named_twice_counts_once() -> None:
    policy = make_policy(mode="any", methods=["network"], networks=["192.0.2.0/24", "192.0.2.0/24"])
    assert policy.networks == (ip_network("192.0.2.0/24"),)


def test_ipv4_caller_on_a_dual_stack_socket_is_in_his_ipv4_network() -> None:
    policy = make_policy(mode="any", methods=["network"], networks=["192.0.2.0/24"])
    assert policy.find_network(IPv6Address("::ffff:192.0.2.9")) == ip_network("192.0.2.0/24")
    assert policy.find_network(IPv6Address("::ffff:192.0.3.9")) is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_address_is_in_a_network_when_the_first_bits_agree(address: int, base: int, prefix: int) -> None:
    shift = 32 - prefix
    network = ip_network((base >> shift << shift, prefix))
    policy = AccessPolicy(methods=frozenset({"network"}), networks=(network,))
    assert (policy.find_network(IPv4Address(address)) is not None) == (address >> shift == base >> shift)


def test_networks_mean_nothing_unless_network_is_a_method() -> None:
    policy = AccessPolicy(methods=frozenset({"basic"}), networks=(ip_network("0.0.0.0/0"),))
    assert policy.find_network(ip_address("192.0.2.1")) is None
