"""Identifiers: UUIDv7 with a prefix that says what it names, e.g. `trf_0199f0c2…`.

They sort by the time of their making, which keeps B-trees compact and cursors stable.
"""

from __future__ import annotations

from typing import NewType

import uuid_utils

CustomerId = NewType("CustomerId", str)
InstanceId = NewType("InstanceId", str)
ContractId = NewType("ContractId", str)
LineId = NewType("LineId", str)
ItemId = NewType("ItemId", str)
OrderId = NewType("OrderId", str)
LicenseId = NewType("LicenseId", str)
TransferId = NewType("TransferId", str)
ApiClientId = NewType("ApiClientId", str)
OperationId = NewType("OperationId", str)


def new_id(prefix: str) -> str:
    """Make an id: the prefix, `_`, and the 32 hex digits of a fresh UUIDv7."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"
