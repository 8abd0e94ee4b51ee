"""What a vendor does with items. A changed item changes nothing on licences already ordered."""

from __future__ import annotations

from dataclasses import replace

from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.ids import ItemId, new_id
from app.core.json import JsonObject
from app.licensing.errors import ItemConflict, ItemVersionConflict
from app.licensing.item import repository
from app.licensing.item.item import Item, ItemDraft


class ItemService:
    """Items of one instance."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_item(self, draft: ItemDraft, command: Command) -> Done[Item]:
        """Add an item; the same SKU with the same content again changes nothing.

        Raises:
            ItemConflict: the SKU exists with other content.
        """

        def body(tx: Tx) -> JsonObject:
            if repository.add_item(tx, ItemId(new_id("itm")), draft):
                tx.emit("item.created", subject=draft.sku, data={"sku": draft.sku, "name": draft.name})
                command.charge(tx)
                return {"created": True}
            if _sorted(repository.get_item(tx, draft.sku).draft()) != _sorted(draft):
                raise ItemConflict(
                    f"Item {draft.sku} exists with other content; change it with PUT.", sku=draft.sku
                )
            return {"created": False}

        answer = self._db.run_command(command, body)
        created = bool(answer.value["created"])
        return Done(value=self.get_item(draft.sku), replayed=answer.replayed or not created, created=created)

    def replace_item(self, draft: ItemDraft, *, version: int, command: Command) -> Done[Item]:
        """Change an item that has not been changed since `version`.

        Raises:
            ItemNotFound: there is none with this SKU.
            ItemVersionConflict: somebody was faster.
        """

        def body(tx: Tx) -> JsonObject:
            found = repository.get_item(tx, draft.sku)
            if not repository.replace_item(tx, draft, version=version):
                raise ItemVersionConflict(
                    f"Item {draft.sku} has changed since you read it. Read it again and repeat your change.",
                    sku=draft.sku,
                    version=found.version,
                )
            before, after = _differences(found.draft(), draft)
            tx.emit(
                "item.changed",
                subject=draft.sku,
                data={"sku": draft.sku, "version": version + 1, **after},
                before={"version": version, **before},
            )
            command.charge(tx)
            return {}

        answer = self._db.run_command(command, body)
        return Done(value=self.get_item(draft.sku), replayed=answer.replayed)

    def get_item(self, sku: str) -> Item:
        """The item with this SKU.

        Raises:
            ItemNotFound: there is none.
        """
        return self._db.read(lambda reader: repository.get_item(reader, sku))

    def list_items(self, *, after: str = "", limit: int = 25) -> list[Item]:
        """Items in the order of their making."""
        return self._db.read(lambda reader: repository.list_items(reader, after=after, limit=limit))


def _differences(before: ItemDraft, after: ItemDraft) -> tuple[JsonObject, JsonObject]:
    """The fields that are not the same, as they were and as they are."""
    old, new = repository.draft_to_json(before), repository.draft_to_json(after)
    changed = [name for name in new if new[name] != old[name]]
    return {name: old[name] for name in changed}, {name: new[name] for name in changed}


def _sorted(draft: ItemDraft) -> ItemDraft:
    return replace(draft, container_types=tuple(sorted(draft.container_types)))
