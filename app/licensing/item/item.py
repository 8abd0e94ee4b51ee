"""Items: what a vendor sells. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.core.errors import InputInvalid
from app.core.ids import ItemId
from app.licensing.product_item import ContainerType, ProductOptions

SKU: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""A stock-keeping unit as it stands in URLs: ASCII, at most 63 characters."""
NAME_MAX: Final = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDraft:
    """What a vendor says about an item.

    Attributes:
        sku: the number it has in the vendor's ERP; the natural key.
        container_types: where it may be collected to; empty means everywhere.
        returnable: whether end users may give its licences back.
    """

    sku: str
    name: str
    options: ProductOptions
    container_types: tuple[ContainerType, ...] = ()
    returnable: bool = True

    def __post_init__(self) -> None:
        if not SKU.fullmatch(self.sku):
            raise InputInvalid(
                "A SKU has 1 to 63 letters, digits, dots, dashes and underscores.", field="sku"
            )
        if not 1 <= len(self.name) <= NAME_MAX or not self.name.isprintable():
            raise InputInvalid(f"A name has 1 to {NAME_MAX} printable characters.", field="name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item as it is stored.

    Attributes:
        version: rises with every change; the ETag.
    """

    item_id: ItemId
    sku: str
    name: str
    options: ProductOptions
    container_types: tuple[ContainerType, ...]
    returnable: bool
    version: int
    created_at: datetime
    changed_at: datetime

    def draft(self) -> ItemDraft:
        """The part that the vendor decides."""
        return ItemDraft(
            sku=self.sku,
            name=self.name,
            options=self.options,
            container_types=self.container_types,
            returnable=self.returnable,
        )
