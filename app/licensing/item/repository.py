"""SQL of items."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import ItemId
from app.core.json import JsonObject, dump_json, load_json, load_object
from app.licensing import tables
from app.licensing.errors import ItemNotFound
from app.licensing.item.item import Item, ItemDraft
from app.licensing.product_item import ContainerType, options_from_json, options_to_json

_t = tables.item
_INSERT = insert(_t)
_BY_SKU = select(_t).where(_t.c.sku == bindparam("b_sku"))
_AFTER = (
    select(_t).where(_t.c.item_id > bindparam("b_after")).order_by(_t.c.item_id).limit(bindparam("b_limit"))
)
_REPLACE = (
    update(_t)
    .where(_t.c.sku == bindparam("b_sku"), _t.c.version == bindparam("b_version"))
    .values(
        name=bindparam("b_name"),
        options=bindparam("b_options"),
        container_types=bindparam("b_container_types"),
        returnable=bindparam("b_returnable"),
        version=bindparam("b_version_next"),
        changed_at_us=bindparam("b_now"),
    )
)


def add_item(tx: Tx, item_id: ItemId, draft: ItemDraft) -> bool:
    """Insert an item unless its SKU is taken."""
    now = to_us(tx.now)
    return tx.insert_if_absent(
        _INSERT,
        {
            "sku": draft.sku,
            "item_id": item_id,
            "name": draft.name,
            "options": dump_json(options_to_json(draft.options)),
            "container_types": dump_json(_types(draft)),
            "returnable": int(draft.returnable),
            "version": 1,
            "created_at_us": now,
            "changed_at_us": now,
        },
    )


def replace_item(tx: Tx, draft: ItemDraft, *, version: int) -> bool:
    """Compare-and-set on the version; says whether it fitted."""
    changed: Parameters = {
        "b_sku": draft.sku,
        "b_version": version,
        "b_version_next": version + 1,
        "b_name": draft.name,
        "b_options": dump_json(options_to_json(draft.options)),
        "b_container_types": dump_json(_types(draft)),
        "b_returnable": int(draft.returnable),
        "b_now": to_us(tx.now),
    }
    return tx.write(_REPLACE, changed) == 1


def find_item(reader: Reader, sku: str) -> Item | None:
    """The item with this SKU, or None."""
    row = reader.first(_BY_SKU, {"b_sku": sku})
    return None if row is None else _item(row)


def get_item(reader: Reader, sku: str) -> Item:
    """The item with this SKU.

    Raises:
        ItemNotFound: there is none.
    """
    item = find_item(reader, sku)
    if item is None:
        raise ItemNotFound(f"There is no item {sku}.", sku=sku)
    return item


def list_items(reader: Reader, *, after: str, limit: int) -> list[Item]:
    """Items in the order of their making, after an item id."""
    return [_item(row) for row in reader.all(_AFTER, {"b_after": after, "b_limit": limit})]


def draft_to_json(draft: ItemDraft) -> JsonObject:
    """What a vendor says about an item, as it is stored."""
    return {
        "name": draft.name,
        "options": options_to_json(draft.options),
        "container_types": _types(draft),
        "returnable": draft.returnable,
    }


def _types(draft: ItemDraft) -> Sequence[str]:
    return sorted(str(each) for each in draft.container_types)


def _item(row: Row) -> Item:
    types = load_json(row.container_types)
    if not isinstance(types, list):
        raise TypeError("container types are stored as a list")
    return Item(
        item_id=ItemId(row.item_id),
        sku=row.sku,
        name=row.name,
        options=options_from_json(load_object(row.options)),
        container_types=tuple(ContainerType(str(each)) for each in types),
        returnable=bool(row.returnable),
        version=row.version,
        created_at=from_us(row.created_at_us),
        changed_at=from_us(row.changed_at_us),
    )
