"""The servers of a platform that nobody has registered any for: directories below its data directory."""

from __future__ import annotations

from typing import Final

from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy.database.home import OLD_DIRECTORY
from tenancy.server import repository
from tenancy.server.record import ServerCreate, ServerId, check_server
from tenancy.server.service import add_server

_SITE: Final = "local"
_COUNTRY: Final = "DE"
"""**Source:** requirement text: hosting in German data centres; a platform elsewhere registers servers of its own."""
_SHARED_CAPACITY: Final = 10_000
"""Ten times the thousand instances that are measured (DESIGN §10)."""


def register_embedded_servers(db: Database, *, dedicated: int) -> int:
    """Register the embedded servers unless there is any server; returns how many were registered.

    Args:
        db: the platform database.
        dedicated: how many instances, or lines of High Availability, can have a directory for themselves.
    """
    wanted = [
        _directory("local-shared", OLD_DIRECTORY, shared=True),
        *(
            _directory(f"local-dedicated-{n}", f"{OLD_DIRECTORY}/dedicated-{n}", shared=False)
            for n in range(1, dedicated + 1)
        ),
    ]

    def body(tx: Tx) -> JsonObject:
        if repository.has_servers(tx):
            return {"registered": 0}
        for each in wanted:
            add_server(tx, check_server(each), server_id=ServerId(new_id("srv")), sealed_password=None)
        return {"registered": len(wanted)}

    answer = db.run_tx(new_id("op"), body, origin=system_origin("registerEmbeddedServers"))
    return int(str(answer.value["registered"]))


def _directory(name: str, address: str, *, shared: bool) -> ServerCreate:
    return ServerCreate(
        name=name,
        kind="sqlite",
        purpose="shared" if shared else "dedicated",
        site=_SITE,
        country=_COUNTRY,
        capacity=_SHARED_CAPACITY if shared else 1,
        address=address,
    )
