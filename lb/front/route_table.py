"""The maps by which a request finds its lines. Pure.

first path segment ── instance.map ──► instance ── backend.map ──► line set
Host               ── host.map ──► name of the instance that is put in front of the path
caller's address   ── denied_ip*.map, edge_network_ip*.map ──► edge.map: may he call the instance's web services?
backend, server    ── sticky.map ──► may a caller go on going there?
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lb.front.model import CONTROL, Backend
from lb.front.network import Network, owners_by_network
from lb.front.safe_text import HOST, IDENTIFIER, INSTANCE_ID, INSTANCE_NAME, require
from lb.front.state import FrontInstance, FrontState

IP_VERSIONS: Final = (4, 6)
DENIED: Final = {version: f"denied_ip{version}.map" for version in IP_VERSIONS}
"""One for each family: in a map of both, `map_ip` looks an IPv4 address up as `::ffff:a.b.c.d`, too (`::/64` holds them
all), and `2002:…` and `::a.b.c.d` among IPv4 networks. Lines never do. **Source:** tried on 2.6.12."""
EDGE: Final = "edge.map"
EDGE_NETWORK: Final = {version: f"edge_network_ip{version}.map" for version in IP_VERSIONS}
EDGE_INSTANCE: Final = "edge_instance.map"
BACKEND: Final = "backend.map"
STICKY: Final = "sticky.map"
INSTANCE: Final = "instance.map"
HOST_NAME: Final = "host.map"
YES: Final = "1"


def build_maps(state: FrontState, backends: Mapping[str, Backend]) -> dict[str, dict[str, str]]:
    """Every map but those of rules, by file name.

    Raises:
        FrontStateUnfit: a name, a host or a key has a form that it must not have.
    """
    for instance in state.instances.values():
        require("instance_id", instance.instance_id, INSTANCE_ID)
        require("instance", instance.name, INSTANCE_NAME)
        require("line_set", instance.line_set, IDENTIFIER)
    instances = state.instances.values()
    return {
        **_by_version(DENIED, dict.fromkeys(state.denied, YES)),
        **_edge_maps(instances),
        BACKEND: {each.instance_id: each.line_set for each in instances if each.line_set in state.line_sets},
        STICKY: _sticky_map(backends.values()),
        INSTANCE: {each.name: each.instance_id for each in instances},
        HOST_NAME: _host_map(state),
    }


def _host_map(state: FrontState) -> dict[str, str]:
    return {
        require("host", host.host, HOST): state.instances[host.instance_id].name
        for host in state.hosts.values()
        if host.instance_id is not None and host.instance_id in state.instances
    }


def _edge_maps(instances: Iterable[FrontInstance]) -> dict[str, dict[str, str]]:
    restricted = {each.instance_id: each.networks for each in instances if each.networks is not None}
    owners = owners_by_network(dict(restricted.items()))
    return {
        EDGE: {f"{owner}|{network}": YES for network, theirs in owners.items() for owner in theirs},
        **_by_version(EDGE_NETWORK, {network: str(network) for network in owners}),
        EDGE_INSTANCE: dict.fromkeys(restricted, YES),
    }


def _by_version(names: Mapping[int, str], entries: Mapping[Network, str]) -> dict[str, dict[str, str]]:
    """A map for each family of addresses."""
    return {
        name: {str(network): value for network, value in entries.items() if network.version == version}
        for version, name in names.items()
    }


def _sticky_map(backends: Iterable[Backend]) -> dict[str, str]:
    """Where a caller may go on going: a line of weight 0 would otherwise keep those who were there before."""
    return {
        f"{backend.name}|{server.number}": YES
        for backend in backends
        if backend.name != CONTROL and len(backend.servers) > 1
        for server in backend.servers.values()
        if server.weight > 0
    }
