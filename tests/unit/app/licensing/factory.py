"""Licences, containers and contexts as values, for tests of pure rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.core.ids import LicenseId
from app.licensing import License, LicenseState, ProductOptions
from app.licensing.container.container_rule import Container, ContainerState
from fsb_gateway import Context
from tests.fake.clock import START

TICKET = "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA"
SERIAL = "130-1000000001"


def license_(name: str, **values: Any) -> License:
    fields: dict[str, Any] = {
        "license_id": LicenseId(name),
        "ticket": TICKET,
        "order_number": "A-1",
        "position": 10,
        "sku": "CAD",
        "item_name": "Item CAD",
        "options": ProductOptions(product_code=100),
        "returnable": True,
        "container_types": (),
        "state": LicenseState.NOT_COLLECTED,
        "generation": 1,
        "container": None,
        "fuc": None,
        "pending_transfer": None,
        "created_at": START,
        "changed_at": START,
    }
    return License(**{**fields, **values})


def container(**values: Any) -> Container:
    fields: dict[str, Any] = {
        "serial": SERIAL,
        "container_type": "cm_act_license",
        "key_thumbprint": "key-1",
        "signing_key": {},
        "encryption_key": {},
        "fuc_confirmed": 3,
        "fuc_issued": 5,
        "last_context_at": START,
        "state": ContainerState.OK,
        "reason": None,
        "reported": None,
        "version": 1,
        "created_at": START,
        "changed_at": START,
    }
    return Container(**{**fields, **values})


def context(**values: Any) -> Context:
    fields: dict[str, Any] = {
        "kind": "context",
        "serial": SERIAL,
        "firm_code": 6_000_010,
        "fuc": 0,
        "context_id": "ctx_1",
        "made_at": datetime(2026, 3, 10, tzinfo=UTC),
        "signing_key": {},
        "signing_key_thumbprint": "key-1",
        "encryption_key": {},
        "items": (),
        "digest": "a" * 64,
    }
    return Context(**{**fields, **values})
