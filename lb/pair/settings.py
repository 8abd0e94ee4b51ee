"""How two load balancers share addresses: who they are, and how soon one takes them from the other. Pure.

Everything comes from operators. It is checked when a value is made, so that a configuration text can hold nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Final

from lb.pair.error import PairNodeUnknown, PairSettingsUnfit

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface

ASIDE: Final = "aside"
CONFIGURATION: Final = "keepalived.conf"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
"""A network card's name has 15 bytes at most. **Source:** IFNAMSIZ, linux/if.h."""
_PATH: Final = re.compile(r"/[A-Za-z0-9._/-]{1,106}")
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HIGHEST_ROUTER_ID: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNode:
    """One of the two.

    Attributes:
        address: its own; the two talk over it.
        interface: the network card that has it, and that gets the shared addresses.
    """

    name: str
    address: Address
    interface: str

    def __post_init__(self) -> None:
        """Refuse what is no name."""
        _require("name", self.name, _NAME)
        _require("interface", self.interface, _INTERFACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTimes:
    """How soon a loss is noticed. The figures beside them: README.

    Attributes:
        advert: between two signs of life; three missing ones are a loss. Hundredths of a second.
        check_every: between two questions to HAProxy; whole seconds, keepalived knows no others.
        check_within: how long HAProxy may take to answer.
    """

    advert: timedelta = timedelta(milliseconds=200)
    check_every: timedelta = timedelta(seconds=1)
    check_within: timedelta = timedelta(milliseconds=600)

    def __post_init__(self) -> None:
        """Refuse what keepalived would round or not take."""
        if (
            not timedelta(milliseconds=10) <= self.advert <= timedelta(seconds=40)
            or self.advert.microseconds % 10_000
        ):
            raise PairSettingsUnfit("Signs of life come every 0.01 to 40 seconds.", field="advert")
        if self.check_every < timedelta(seconds=1) or self.check_every.microseconds:
            raise PairSettingsUnfit("HAProxy is asked every second, or every few.", field="check_every")
        if not timedelta() < self.check_within < self.check_every:
            raise PairSettingsUnfit(
                "HAProxy has less time than there is between two questions.", field="check_within"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """The pair.

    Attributes:
        nodes: the two; the first one begins with the addresses if both start together.
        addresses: what they share, all of one family, each with the length of its network.
        router_id: 1 to 255, the pair's own within its network.
        directory: where its files lie on each of the two; root's, nobody else may write to it or above it.
        runtime_socket: HAProxy's, the same path on both.
        user: who asks HAProxy: the user that may open its socket.
        python, ip, keepalived: programs, by their full paths.
    """

    nodes: tuple[PairNode, PairNode]
    addresses: tuple[Interface, ...]
    router_id: int
    directory: Path
    runtime_socket: Path
    user: str = "haproxy"
    python: Path = Path("/usr/bin/python3")
    ip: Path = Path("/usr/sbin/ip")
    keepalived: Path = Path("/usr/sbin/keepalived")
    times: PairTimes = field(default_factory=PairTimes)

    def __post_init__(self) -> None:
        """Refuse what no configuration can hold, and what cannot work."""
        for name in ("directory", "runtime_socket", "python", "ip", "keepalived"):
            _require(name, str(getattr(self, name)), _PATH)
        _require("user", self.user, _USER)
        self._check_nodes()
        self._check_addresses()
        if not 1 <= self.router_id <= _HIGHEST_ROUTER_ID:
            raise PairSettingsUnfit("A router id is 1 to 255.", field="router_id")

    def node(self, name: str) -> PairNode:
        """One of the two.

        Raises:
            PairNodeUnknown: it is neither.
        """
        found = [node for node in self.nodes if node.name == name]
        if not found:
            raise PairNodeUnknown("None of the two load balancers has this name.")
        return found[0]

    def peer(self, name: str) -> PairNode:
        """The other one.

        Raises:
            PairNodeUnknown: it is neither.
        """
        node = self.node(name)
        return self.nodes[1] if node == self.nodes[0] else self.nodes[0]

    @property
    def configuration(self) -> Path:
        """What keepalived is started with."""
        return self.directory / CONFIGURATION

    @property
    def check(self) -> Path:
        """The program that asks HAProxy."""
        return self.directory / "check-haproxy"

    @property
    def aside(self) -> Path:
        """A file with a number: 0, or 1 to give the addresses away at once and to take none."""
        return self.directory / ASIDE

    def _check_nodes(self) -> None:
        first, second = self.nodes
        if first.name == second.name or first.address == second.address:
            raise PairSettingsUnfit("The two load balancers have a name and an address each.", field="nodes")

    def _check_addresses(self) -> None:
        families = {address.version for address in self.addresses} | {
            node.address.version for node in self.nodes
        }
        if not self.addresses or len(families) != 1:
            raise PairSettingsUnfit(
                "The pair has shared addresses, of the family of its own.", field="addresses"
            )
        shared = {address.ip for address in self.addresses}
        if len(shared) != len(self.addresses) or shared & {node.address for node in self.nodes}:
            raise PairSettingsUnfit(
                "A shared address is neither twice there nor a node's own.", field="addresses"
            )


def _require(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise PairSettingsUnfit(f"This is no '{name}' that a pair can have.", field=name)
