"""Servers as values, and what may be said about them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv6Address
from typing import Final, Literal, NewType

from tenancy.country import check_country_code
from tenancy.name import check_name
from tenancy.server.errors import ServerAddressUnfit, ServerDescriptionUnfit

ServerId = NewType("ServerId", str)
ServerKind = Literal["sqlite", "mariadb"]
ServerPurpose = Literal["shared", "dedicated"]
ServerState = Literal["active", "draining", "retired"]
SERVER_STATES: Final[tuple[ServerState, ...]] = ("active", "draining", "retired")
MOST_CAPACITY: Final = 100_000
"""A typing error is more likely than a server for more instances. Our own decision."""

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)\Z")
_DIRECTORY: Final = re.compile(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}){0,3}\Z"
)
_OWN_NAMES: Final = frozenset(
    {
        "boxes",
        "audit",
        "exports",
        "keys",
        "lock",
        "address",
        "control.sock",
        "front.sock",
        "credential.key",
        "seal.key",
        "lines",
        "front",
        "platform.db",
        "platform.db-wal",
        "platform.db-shm",
    }
)
"""What the platform itself keeps in its data directory: keys, journals, audit, exports. No customer data there."""
_DEFAULT_PORT: Final = 3306
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A placement target.

    Attributes:
        purpose: whether many instances share it, or one has it for itself.
        capacity: how many instances it may hold; `used`: how many places are taken.
        address: `sqlite`: a directory below the data directory; `mariadb`: host:port.
        admin_user: who makes databases and users there; None on SQLite.
        tls_ca: PEM of the authority its certificate comes from; None where nobody listens in between.
        version: raised by every change by staff.
    """

    server_id: ServerId
    name: str
    kind: ServerKind
    purpose: ServerPurpose
    site: str
    country: str
    capacity: int
    used: int
    state: ServerState
    address: str
    admin_user: str | None
    tls_ca: str | None = field(repr=False)
    version: int
    created_at: datetime

    @property
    def free(self) -> int:
        """Places that can be taken."""
        return max(0, self.capacity - self.used) if self.state == "active" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCreate:
    """What staff say of a server when they register it.

    Attributes:
        shares_address: it is meant to lie where another server lies already: they share hardware and connections.
    """

    name: str
    kind: ServerKind
    purpose: ServerPurpose
    site: str
    country: str
    capacity: int
    address: str
    admin_user: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    tls_ca: str | None = field(default=None, repr=False)
    shares_address: bool = False


def check_server(asked: ServerCreate) -> ServerCreate:
    """Return what was asked for if a server can be like that, its address in the one form that is stored.

    Raises:
        NameUnfit: its name or its site's.
        CountryUnknown: there is no such country.
        ServerDescriptionUnfit: something contradicts something else.
        ServerAddressUnfit: the address is no directory below the data directory that is free for databases, or no host
            and port.
    """
    check_name(asked.name)
    check_name(asked.site)
    check_country_code(asked.country, field="country")
    check_capacity(asked.capacity, purpose=asked.purpose)
    if asked.kind == "sqlite":
        _check_directory_server(asked)
        return asked
    _check_database_server(asked)
    return replace(asked, address=_join_address(*split_address(asked.address)))


def address_key(kind: ServerKind, address: str) -> str:
    """The same for two addresses exactly if they lead to the same directory, or port of a host; for comparing alone.

    Two names of one host are not known as such, except for this machine's own.
    """
    if kind == "sqlite":
        return f"{kind}:{address}"
    host, port = split_address(address)
    return f"{kind}:{_join_address('localhost' if host in LOOPBACK else host, port)}"


def check_capacity(capacity: int, *, purpose: ServerPurpose) -> None:
    """Refuse a capacity that no server of that purpose has.

    Raises:
        ServerDescriptionUnfit: below 1, far too many, or a dedicated server for more than one.
    """
    most = 1 if purpose == "dedicated" else MOST_CAPACITY
    if not 1 <= capacity <= most:
        raise ServerDescriptionUnfit(
            f"A {purpose} server has a capacity of 1 to {most}.", field="capacity", maximum=most
        )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a database server; the host in small letters, an IPv6 address in its shortest form.

    Raises:
        ServerAddressUnfit: it is neither `host` nor `host:port`.
    """
    host, colon, port = address.rpartition(":") if not address.endswith("]") else (address, "", "")
    if not colon:
        host, port = address, str(_DEFAULT_PORT)
    if not _HOST.match(host) or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= _LAST_PORT:
        raise ServerAddressUnfit("The address of a database server is host:port.", field="address")
    return _plain_host(host), int(port)


def _plain_host(host: str) -> str:
    if not host.startswith("["):
        return host.lower()
    try:
        return IPv6Address(host.strip("[]")).compressed
    except ValueError:
        raise ServerAddressUnfit("The address of a database server is host:port.", field="address") from None


def _join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_directory_server(asked: ServerCreate) -> None:
    if not _DIRECTORY.match(asked.address):
        raise ServerAddressUnfit(
            "The address of an SQLite server is a directory below the data directory, such as instances.",
            field="address",
        )
    if asked.address.split("/")[0].casefold() in _OWN_NAMES:
        raise ServerAddressUnfit(
            "The platform keeps things of its own there; choose another directory, such as instances.",
            field="address",
        )
    for name in ("admin_user", "admin_password", "tls_ca"):
        if getattr(asked, name) is not None:
            raise ServerDescriptionUnfit("A directory has no administrator and no certificate.", field=name)


def _check_database_server(asked: ServerCreate) -> None:
    host, _ = split_address(asked.address)
    for name in ("admin_user", "admin_password"):
        if not getattr(asked, name):
            raise ServerDescriptionUnfit(
                "A database server needs an administrator and a password.", field=name
            )
    if asked.tls_ca is None and host not in LOOPBACK:
        raise ServerDescriptionUnfit(
            "A database server on another machine needs the certificate of the authority it is checked by.",
            field="tls_ca",
        )
