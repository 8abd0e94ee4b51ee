"""What the tests of License Central are made of: an instance with real boxes, and containers to program."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from sqlalchemy import select

from app.cmcontainer import Container, ProductItem, Template, add_firm_item, apply_update, describe, firm_item
from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.ids import InstanceId, LicenseId, new_id
from app.core.json import JsonObject, JsonValue
from app.core.outbox import Event, list_events
from app.core.schema import instance_metadata
from app.licensing import (
    ContainerService,
    Deadlines,
    InstanceIdentity,
    Item,
    ItemDraft,
    ItemService,
    License,
    LicenseState,
    Order,
    OrderDraft,
    OrderedPosition,
    OrderService,
    ProductOptions,
    Programmer,
    Transfer,
    TransferAction,
    TransferRequest,
    TransferService,
    Wish,
)
from editions import (
    ACTIVATIONS,
    Contract,
    EditionKey,
    MeterUsage,
    Month,
    Overage,
    audit_meters,
    month_of,
    put_contracts,
    usage,
)
from fsb_gateway import (
    BoxSpec,
    Context,
    ContextKind,
    FsbClient,
    FsbRejected,
    Gateway,
    JobPending,
    Keystore,
    ProgrammingJob,
    ProgrammingResult,
    create_gateway_app,
    read_context,
)
from fsb_gateway.engine.embedded import embedded_boxes
from tests.fake.clock import START, FakeClock
from tests.fake.programmer import PassedOn

T = TypeVar("T")
Dump = dict[str, list[tuple[Any, ...]]]

INSTANCE = InstanceId("ins_1")
FIRM_CODE = 6_000_010
POOL = "shared"
BOX = "box-1"
IDENTITY = InstanceIdentity(instance_id=INSTANCE, firm_code=FIRM_CODE, pool=POOL)
PATIENCE = timedelta(seconds=20)
MILLISECOND = timedelta(milliseconds=1)
NO_WAIT = timedelta(0)


class Boxes:
    """A gateway with one software box, in this process, and the event loop it lives in."""

    def __init__(self, folder: Path, clock: FakeClock, *, queue_limit: int = 256) -> None:
        self.clock = clock
        self._runner = asyncio.Runner()
        keystore = Keystore(folder / "keys", clock=clock)

        make_box = embedded_boxes(folder, keystore, clock=clock)
        self.gateway = Gateway(keystore, folder, clock=clock, make_box=make_box, queue_limit=queue_limit)
        self.client = FsbClient.in_process(create_gateway_app(self.gateway))
        self.template = self.run(self._set_up())

    async def _set_up(self) -> Template:
        await self.gateway.start()
        await self.client.ensure_box(BoxSpec(name=BOX, pool=POOL))
        await self.client.ensure_firm_key(INSTANCE, FIRM_CODE, pool=POOL)
        root = await self.client.root_certificate()
        return Template(firm_code=FIRM_CODE, instance=INSTANCE, root_certificate=root)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def slow_down(self, seconds: float) -> None:
        """Let the box take its time for each operation."""
        spec = BoxSpec(name=BOX, pool=POOL, operation_time=timedelta(seconds=seconds))
        self.run(self.client.ensure_box(spec))

    def close(self) -> None:
        self.run(self.gateway.close())
        self._runner.close()


class Device:
    """A container on somebody's desk; its own clock rises with every context."""

    def __init__(self, serial: str, template: Template, clock: FakeClock) -> None:
        empty = Container(
            serial=serial,
            signing_key=generate_private_key(SECP256R1()),
            encryption_key=generate_private_key(SECP256R1()),
            firm_items={},
        )
        self.container = add_firm_item(empty, template)
        self._clock = clock

    @property
    def serial(self) -> str:
        return self.container.serial

    @property
    def fuc(self) -> int:
        return firm_item(self.container, FIRM_CODE).fuc

    @property
    def items(self) -> dict[str, ProductItem]:
        return {item.license_id: item for item in firm_item(self.container, FIRM_CODE).items}

    def context(self, kind: ContextKind = "context") -> Context:
        made_at = self._clock.advance(MILLISECOND)
        text = describe(self.container, FIRM_CODE, kind=kind, context_id=new_id("ctx"), at=made_at)
        return read_context(text)

    def receipt(self) -> Context:
        return self.context("receipt")

    def apply(self, transfer: Transfer | None) -> None:
        assert transfer is not None
        assert transfer.update is not None
        self.container, _ = apply_update(self.container, transfer.update, at=self._clock.now())


class World:
    """One instance: its services, its boxes, its time."""

    def __init__(
        self,
        db: Database,
        boxes: Boxes,
        *,
        programmer: Programmer | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.db = db
        self.boxes = boxes
        self.clock = boxes.clock
        self.items = ItemService(db)
        self.orders = OrderService(db)
        self.containers = ContainerService(db)
        self.transfers = self.line(programmer, deadlines=deadlines)

    def line(
        self,
        programmer: Programmer | None = None,
        *,
        db: Database | None = None,
        deadlines: Deadlines | None = None,
        identity: InstanceIdentity = IDENTITY,
    ) -> TransferService:
        """One more process serving this instance: it shares nothing but the database."""
        return TransferService(
            db or self.db,
            identity=lambda: identity,
            programmer=programmer or self.boxes.client,
            deadlines=deadlines,
            wait=PATIENCE,
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.boxes.run(work)

    def device(self, serial: str = "130-1000000001") -> Device:
        return Device(serial, self.boxes.template, self.clock)

    # What a vendor does.

    def sell(
        self,
        edition: EditionKey = "dedicated",
        *,
        activations: int | None = None,
        overage: Overage = "block",
    ) -> None:
        """Put a contract in force, from the month's beginning."""
        row = Contract(
            contract_id=new_id("con"),
            edition=edition,
            overage=overage,
            effective_from=month_of(self.clock.now()).start,
            limits=None if activations is None else {ACTIVATIONS: activations},
        )
        put_contract(self.db, row)

    def item(self, sku: str = "CAD", *, returnable: bool = True, **options: Any) -> Done[Item]:
        draft = ItemDraft(
            sku=sku,
            name=f"Item {sku}",
            options=ProductOptions(**{"product_code": 100, **options}),
            returnable=returnable,
        )
        return self.items.add_item(draft, Command())

    def order(
        self, number: str = "A-1", *positions: OrderedPosition, command: Command | None = None
    ) -> Order:
        draft = order_draft(number, *positions)
        return self.orders.place_order(draft, command or Command()).value

    def ticket(self, quantity: int = 1, *, sku: str = "CAD", number: str = "A-1") -> str:
        return self.order(number, position(sku=sku, quantity=quantity)).ticket

    # What happens to licences.

    def transfer(
        self, request: TransferRequest, command: Command | None = None, *, wait: timedelta | None = None
    ) -> Transfer:
        transfer, _ = self.run(self.transfers.start_transfer(request, command or Command(), wait=wait))
        assert transfer is not None
        return transfer

    def collect(self, device: Device, ticket: str, licenses: Sequence[LicenseId] | None = None) -> Transfer:
        return self.transfer(collecting(device.context(), ticket, licenses))

    def give_back(self, device: Device, licenses: Sequence[LicenseId], ticket: str | None = None) -> Transfer:
        return self.transfer(returning(device.context(), licenses, ticket))

    def confirm(
        self, transfer: Transfer, receipt: Context, command: Command | None = None
    ) -> tuple[Transfer, bool]:
        return self.run(self.transfers.confirm_transfer(transfer.transfer_id, receipt, command or Command()))

    # What the books say.

    def licenses(self, ticket: str) -> list[License]:
        return list(self.orders.get_ticket(ticket).licenses)

    def ids(self, ticket: str) -> list[LicenseId]:
        return [license_.license_id for license_ in self.licenses(ticket)]

    def states(self, ticket: str) -> list[LicenseState]:
        return [license_.state for license_ in self.licenses(ticket)]

    def activations(self, month: Month | None = None) -> MeterUsage:
        wanted = month or month_of(self.clock.now())
        return self.db.read(lambda reader: usage(reader, wanted)).meters[0]

    def events(self) -> list[Event]:
        return self.db.read(lambda reader: list_events(reader, after=0, limit=100_000))

    def event_types(self) -> list[str]:
        return [event.type for event in self.events()]

    def check_books(self) -> None:
        """What always holds, whatever has happened."""
        assert self.db.read(audit_meters) == ()
        assert [event.sequence for event in self.events()] == list(range(1, len(self.events()) + 1))
        tables = dump(self.db)
        check_counters(tables)
        check_secrecy(tables)


def check_secrecy(tables: Dump) -> None:
    """No event holds a ticket: whoever has one collects."""
    column = [each.name for each in instance_metadata.tables["sales_order"].c].index("ticket")
    told = repr(tables["outbox_event"])
    assert [row[column] for row in tables["sales_order"] if str(row[column]) in told] == []


def check_counters(tables: Dump) -> None:
    """Each container's update counters are 1, 2, 3 …; never is more than one transfer of it in the making."""
    columns = {column.name: place for place, column in enumerate(instance_metadata.tables["transfer"].c)}
    issued: dict[str, list[int]] = {}
    open_ones: list[str] = []
    for row in tables["transfer"]:
        serial, state, fuc = (row[columns[name]] for name in ("container", "state", "fuc"))
        if state in ("issued", "confirmed"):
            issued.setdefault(serial, []).append(fuc)
        elif state == "reserved":
            open_ones.append(serial)
    for counters in issued.values():
        assert sorted(counters) == list(range(1, len(counters) + 1))
    assert len(open_ones) == len(set(open_ones))


class LostBox(PassedOn):
    """A gateway that can be cut off, before a job reaches it or before its answer comes back."""

    def __init__(self, client: FsbClient) -> None:
        super().__init__(client)
        self.before: BaseException | None = None
        self.after: BaseException | None = None
        self.jobs: list[ProgrammingJob] = []

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self.jobs.append(job)
        if self.before is not None:
            raise self.before
        result = await self.client.program(job, wait=wait)
        if self.after is not None:
            raise self.after
        return result

    async def find(self, job_id: str, *, wait: timedelta = NO_WAIT) -> ProgrammingResult | JobPending:
        for trouble in (self.before, self.after):
            if trouble is not None:
                raise trouble
        return await self.client.find(job_id, wait=wait)


class HeldBox(PassedOn):
    """A gateway whose box starts, or refuses, only when the test says so."""

    def __init__(self, client: FsbClient, *, refusal: FsbRejected | None = None) -> None:
        super().__init__(client)
        self._refusal = refusal
        self.called = asyncio.Event()
        self.go = asyncio.Event()

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self.called.set()
        await self.go.wait()
        if self._refusal is not None:
            raise self._refusal
        return await self.client.program(job, wait=wait)


def position(
    number: int = 10, *, sku: str = "CAD", quantity: int = 1, **options: JsonValue
) -> OrderedPosition:
    return OrderedPosition(position=number, sku=sku, quantity=quantity, options=options)


def order_draft(number: str, *positions: OrderedPosition, reference: str = "ACME") -> OrderDraft:
    return OrderDraft(order_number=number, customer_reference=reference, positions=positions or (position(),))


def collecting(
    context: Context,
    ticket: str | None,
    licenses: Sequence[LicenseId] | None = None,
    *,
    give_back: Sequence[LicenseId] = (),
    container: str | None = None,
    authenticated: bool = True,
) -> TransferRequest:
    return TransferRequest(
        context=context,
        container=container,
        action=TransferAction.ACTIVATE,
        wish=Wish(
            ticket=ticket,
            activate=None if licenses is None else tuple(licenses),
            deactivate=tuple(give_back),
        ),
        principal="erp",
        authenticated=authenticated,
    )


def returning(context: Context, licenses: Sequence[LicenseId], ticket: str | None = None) -> TransferRequest:
    return TransferRequest(
        context=context,
        container=None,
        action=TransferAction.DEACTIVATE,
        wish=Wish(ticket=ticket, activate=(), deactivate=tuple(licenses)),
        principal="erp",
        authenticated=True,
    )


def updating(context: Context, *, ticket: str | None = None, authenticated: bool = True) -> TransferRequest:
    return TransferRequest(
        context=context,
        container=None,
        action=TransferAction.AUTO_UPDATE,
        wish=Wish(ticket=ticket, activate=(), deactivate=()),
        principal="wizard",
        authenticated=authenticated,
    )


def put_contract(db: Database, row: Contract) -> None:
    def body(tx: Tx) -> JsonObject:
        put_contracts(tx, [row])
        return {}

    db.run_tx(new_id("op"), body)


def dump(db: Database) -> Dump:
    """Every row of every table."""
    with db.engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in instance_metadata.sorted_tables
        }


def changed_tables(before: Dump, after: Dump) -> dict[str, tuple[list[object], list[object]]]:
    """Rows that went and rows that came, by table."""
    return {
        name: (
            [row for row in before[name] if row not in rows],
            [row for row in rows if row not in before[name]],
        )
        for name, rows in after.items()
        if rows != before[name]
    }


@contextmanager
def nothing_changes(db: Database, *, but: Sequence[str] = ()) -> Iterator[None]:
    """Compare every table before and after, except those named."""
    before = dump(db)
    yield
    changed = changed_tables(before, dump(db))
    assert {name: rows for name, rows in changed.items() if name not in but} == {}


@dataclass(frozen=True, slots=True)
class Collected:
    """A container with some confirmed licences of one ticket."""

    device: Device
    ticket: str
    licenses: list[LicenseId]
    transfer: Transfer


def collected(
    world: World, quantity: int = 1, *, serial: str = "130-1000000001", number: str = "A-1"
) -> Collected:
    """Order, collect, apply, confirm. The item has to be there."""
    device = world.device(serial)
    ticket = world.ticket(quantity, number=number)
    transfer = world.collect(device, ticket)
    device.apply(transfer)
    world.confirm(transfer, device.receipt())
    return Collected(device, ticket, world.ids(ticket), transfer)


def next_month(moment: datetime = START) -> datetime:
    return month_of(moment).end
