from __future__ import annotations

import ast
import re
from ipaddress import ip_interface

from lb.pair import check_text, keepalived_text, unit_text
from tests.unit.lb.pair.pair_settings import make_node, make_pair


def test_configurations_of_the_two_differ_in_names_priorities_and_addresses_only() -> None:
    one, other = (keepalived_text(make_pair(), name).splitlines() for name in ("lb1", "lb2"))
    differing = {
        line.split()[0] for pair in zip(one, other, strict=True) if pair[0] != pair[1] for line in pair
    }
    assert differing == {"#", "router_id", "priority", "unicast_src_ip", "192.0.2.11", "192.0.2.12"}


def test_neither_begins_as_the_owner_nor_takes_the_addresses_back() -> None:
    for name in ("lb1", "lb2"):
        text = keepalived_text(make_pair(), name)
        assert "state BACKUP" in text
        assert "nopreempt" in text
        assert "init_fail" in text


def test_no_loss_only_lowers_a_priority() -> None:
    # With `nopreempt` the weaker one would keep the addresses.
    weights = re.findall(r"weight (\S+)", keepalived_text(make_pair(), "lb1"))
    assert weights == ["0"]


def test_every_address_is_on_the_card_of_the_node() -> None:
    addresses = (ip_interface("192.0.2.10/24"), ip_interface("192.0.2.9/24"))
    nodes = (make_node("lb1", "192.0.2.11", "ens3"), make_node("lb2", "192.0.2.12", "ens4"))
    text = keepalived_text(make_pair(addresses=addresses, nodes=nodes), "lb2")
    assert re.findall(r"(\S+) dev (\S+)", text) == [("192.0.2.10/24", "ens4"), ("192.0.2.9/24", "ens4")]


def test_unit_takes_every_address_away_before_and_after() -> None:
    addresses = (ip_interface("2001:db8::10/64"), ip_interface("2001:db8::9/64"))
    nodes = (make_node("lb1", "2001:db8::1"), make_node("lb2", "2001:db8::2"))
    text = unit_text(make_pair(addresses=addresses, nodes=nodes), "lb1")
    for step in ("ExecStartPre", "ExecStopPost"):
        assert re.findall(rf"{step}=-/usr/sbin/ip address delete (\S+) dev eth0", text) == [
            "2001:db8::10/64",
            "2001:db8::9/64",
        ]
    assert "KillMode=control-group" in text
    assert "Restart=always" in text


def test_check_loads_nothing_but_what_python_has_in_itself_or_at_hand() -> None:
    tree = ast.parse(check_text(make_pair()))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"_socket", "sys", "time"}
