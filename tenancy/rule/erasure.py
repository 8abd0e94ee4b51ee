"""Rules of an instance that is erased: they name networks and API clients, so they go with its data."""

from __future__ import annotations

from typing import Final

from app.core.db import Database, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import Origin
from tenancy.rule import repository

_AT_ONCE: Final = 100
"""Versions deleted in one transaction; each has up to 300 kB. **Source:** high availability reference §1.5."""


def forget_rules(db: Database, instance_id: InstanceId, *, origin: Origin) -> None:
    """Delete every version; may be repeated, e.g. after being killed half-way. Blocks."""

    def body(tx: Tx) -> JsonObject:
        return {"left": repository.forget_versions(tx, instance_id, limit=_AT_ONCE)}

    while db.run_tx(new_id("op"), body, origin=origin).value["left"]:
        continue
