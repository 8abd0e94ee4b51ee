"""Stored passwords come under the seal's own key: what an older wops sealed under the credential key is sealed anew."""

from __future__ import annotations

import logging
from typing import Final

from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy.database import repository
from tenancy.database.repository import Sealed
from tenancy.database.sealing import FORMER_FORM, OWN_FORM, PasswordSeal
from tenancy.front.repository import has_hosts
from tenancy.server.errors import DatabasePasswordDamaged

_AT_ONCE: Final = 500
"""Rows in one transaction. **Source:** high availability reference §1.5."""

_log = logging.getLogger(__name__)


def has_own_seals(db: Database) -> bool:
    """Whether anything, a host's key too, has been sealed under the seal's own key: then it must not be made anew."""
    return db.read(
        lambda reader: bool(repository.list_sealed(reader, OWN_FORM, limit=1)) or has_hosts(reader)
    )


def reseal(db: Database, seal: PasswordSeal) -> int:
    """Seal anew what is still sealed under the former key; returns how many. Safe to repeat and to kill.

    What cannot be opened stays as it is, for whoever asks for it to be told.
    """
    done, damaged = 0, set[Sealed]()
    while True:
        # Those that are damaged come again with every look.
        found = db.read(
            lambda reader: repository.list_sealed(reader, FORMER_FORM, limit=_AT_ONCE + len(damaged))
        )
        renewed = {
            each: new for each in found if each not in damaged and (new := _renew(seal, each, damaged))
        }
        if not renewed:
            return done
        done += _store(db, renewed)


def _renew(seal: PasswordSeal, old: Sealed, damaged: set[Sealed]) -> str | None:
    try:
        return seal.seal(seal.open(old.sealed, owner=old.owner), owner=old.owner)
    except DatabasePasswordDamaged as error:
        _log.critical("password_not_sealed_anew", extra={"owner": old.owner, "code": error.code})
        damaged.add(old)
        return None


def _store(db: Database, renewed: dict[Sealed, str]) -> int:
    def body(tx: Tx) -> JsonObject:
        return {"renewed": sum(repository.replace_sealed(tx, old, new) for old, new in renewed.items())}

    answer = db.run_tx(new_id("op"), body, origin=system_origin("sealPasswords"))
    return int(str(answer.value["renewed"]))
