"""Where an instance's database lies, as a value. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from app.core.ids import InstanceId
from tenancy.errors import InstanceDatabaseMissing
from tenancy.server.record import ServerId, ServerKind

OLD_DIRECTORY: Final = "instances"
"""Where files lie of which no row tells: those made before there were servers."""
_INSTANCE_ID: Final = re.compile(r"[a-z]+_([0-9a-f]{32})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlace:
    """How a server is reached.

    Attributes:
        server_id: None for the directory of files from before there were servers.
        address: `sqlite`: a directory below the data directory; `mariadb`: host:port.
    """

    server_id: ServerId | None
    kind: ServerKind
    address: str
    tls_ca: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHome:
    """Where an instance's database lies, and how one gets in.

    Attributes:
        user_name: None on SQLite, as the password.
    """

    instance_id: InstanceId
    place: ServerPlace
    database_name: str
    user_name: str | None = None
    password: str | None = field(default=None, repr=False)


def name_database(instance_id: InstanceId, kind: ServerKind) -> str:
    """What an instance's database is called there; on MariaDB its user as well.

    Raises:
        InstanceDatabaseMissing: that is no instance id, so no name is made of it.
    """
    found = _INSTANCE_ID.match(instance_id)
    if found is None:
        raise InstanceDatabaseMissing("That is no instance id.")
    return instance_id if kind == "sqlite" else f"wops_{found[1]}"
