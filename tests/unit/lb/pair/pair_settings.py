"""A pair as operators describe it."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from lb.pair import PairNode, PairSettings


def make_pair(**changes: Any) -> PairSettings:
    values: dict[str, Any] = {
        "nodes": (make_node("lb1", "192.0.2.11"), make_node("lb2", "192.0.2.12")),
        "addresses": (ip_interface("192.0.2.10/24"),),
        "router_id": 51,
        "directory": Path("/etc/wops/pair"),
        "runtime_socket": Path("/var/lib/wops/front/lb/run/admin.sock"),
    }
    return PairSettings(**{**values, **changes})


def make_node(name: str, address: str, interface: str = "eth0") -> PairNode:
    return PairNode(name=name, address=ip_address(address), interface=interface)
