"""Looking for entries of a chain."""

from __future__ import annotations

from app.core.db import Database, Tx
from app.core.json import JsonObject
from app.operations.audit.repository import EntryFilter, find_entries

OURS = f"ins_{1:032x}"
OTHERS = f"ins_{2:032x}"


def test_entry_is_about_what_its_object_its_data_or_what_was_before_names(platform_db: Database) -> None:
    def body(tx: Tx) -> JsonObject:
        tx.emit("test.object", subject=OURS, data={})
        tx.emit("test.data", subject="x", data={"instance_id": OURS})
        tx.emit("test.before", subject="x", data={}, before={"instance_id": OURS})
        tx.emit("test.other", subject=OTHERS, data={}, before={"instance_id": OTHERS})
        tx.emit("test.nobody", subject="x", data={})
        return {}

    platform_db.run_tx("op", body)
    found = platform_db.read(
        lambda reader: find_entries(reader, EntryFilter(about=OURS), before=100, window=100, limit=100)
    )
    assert [each.entry.type for each in found if each.entry] == ["test.before", "test.data", "test.object"]
