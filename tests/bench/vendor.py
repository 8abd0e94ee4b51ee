"""What a benchmark activates: an instance, its box, and customers with a ticket and a container each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from sqlalchemy import insert

from app.cmcontainer import Container, Template, add_firm_item, describe
from app.core.clock import Clock, to_us
from app.core.db import Database, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject, dump_json
from app.core.schema import instance_metadata
from app.gateway_part import open_gateway
from app.licensing import (
    InstanceIdentity,
    LicenseState,
    ProductOptions,
    TransferAction,
    TransferRequest,
    Wish,
    options_to_json,
)
from app.licensing.order.ticket_code import new_ticket
from app.settings import Settings
from editions import ACTIVATIONS, Contract, month_of, put_contracts
from fsb_gateway import BoxSpec, FsbClient, create_gateway_app, read_context

T = TypeVar("T")

INSTANCE = InstanceId("ins_bench")
FIRM_CODE = 6_000_010
POOL = "shared"
IDENTITY = InstanceIdentity(instance_id=INSTANCE, firm_code=FIRM_CODE, pool=POOL)
_ENOUGH = 10_000_000
"""No notice of a threshold falls into a round: the limit is far away."""


class Workshop:
    """A gateway with one software box of no delay, and the event loop that everything asynchronous runs in."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._runner = asyncio.Runner()
        self.gateway = open_gateway(Settings(data_dir=folder), clock=clock, is_embedded=True)
        self.client = FsbClient.in_process(create_gateway_app(self.gateway))
        self.template = self.run(self._set_up())

    async def _set_up(self) -> Template:
        await self.gateway.start()
        await self.client.ensure_box(BoxSpec(name="box-1", pool=POOL))
        await self.client.ensure_firm_key(INSTANCE, FIRM_CODE, pool=POOL)
        root = await self.client.root_certificate()
        return Template(firm_code=FIRM_CODE, instance=INSTANCE, root_certificate=root)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in the loop until done."""
        return self._runner.run(work)

    def close(self) -> None:
        """Stop box and loop."""
        self.run(self.gateway.close())
        self._runner.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Somebody who activates: the rows of his order, and his request."""

    order: dict[str, Any]
    license: dict[str, Any]
    request: TransferRequest


def make_customers(number: int, template: Template, *, clock: Clock) -> list[Customer]:
    """Customers with a new container and a ticket of one licence each."""
    return [_make_customer(place, template, clock) for place in range(number)]


def _make_customer(place: int, template: Template, clock: Clock) -> Customer:
    now, ticket, order_number = clock.now(), new_ticket(), f"SO-{place:06d}"
    empty = Container(
        serial=f"130-{1_000_000_000 + place}",
        signing_key=generate_private_key(SECP256R1()),
        encryption_key=generate_private_key(SECP256R1()),
        firm_items={},
    )
    container = add_firm_item(empty, template)
    text = describe(container, FIRM_CODE, kind="context", context_id=new_id("ctx"), at=now)
    times = {"created_at_us": to_us(now), "changed_at_us": to_us(now)}
    options = ProductOptions(product_code=100, feature_map=5, license_quantity=1)
    return Customer(
        order={
            "order_number": order_number,
            "order_id": new_id("ord"),
            "ticket": ticket,
            "customer_reference": "ACME",
            "license_count": 1,
            "version": 1,
            **times,
        },
        license={
            "license_id": new_id("lic"),
            "ticket": ticket,
            "order_number": order_number,
            "position": 10,
            "sku": "DRAW-PRO",
            "item_name": "Draw Professional",
            "options": dump_json(options_to_json(options)),
            "container_types": dump_json([]),
            "returnable": 1,
            "state": str(LicenseState.NOT_COLLECTED),
            "generation": 1,
            "container": None,
            "fuc": None,
            "pending_transfer": None,
            **times,
        },
        request=TransferRequest(
            context=read_context(text),
            container=None,
            action=TransferAction.ACTIVATE,
            wish=Wish(ticket=ticket, activate=None, deactivate=()),
            principal="erp",
            authenticated=True,
        ),
    )


def fill(database: Database, customers: Sequence[Customer]) -> None:
    """Put a contract in force and the customers' orders into an instance's database."""
    contract = Contract(
        contract_id="con_bench",
        edition="high_performance",
        overage="block",
        effective_from=month_of(database.clock.now()).start,
        limits={ACTIVATIONS: _ENOUGH},
    )

    def body(tx: Tx) -> JsonObject:
        put_contracts(tx, [contract])
        return {}

    database.run_tx(new_id("op"), body)
    tables = instance_metadata.tables
    with database.engine.begin() as connection:
        connection.execute(insert(tables["sales_order"]), [each.order for each in customers])
        connection.execute(insert(tables["license"]), [each.license for each in customers])
