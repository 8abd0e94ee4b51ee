"""What the tests of metering are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from app.core.db import Database, Tx
from app.core.ids import LineId, new_id
from app.core.json import JsonObject
from app.core.outbox import Event, list_events
from editions import (
    ACTIVATIONS,
    WEB_SERVICE_CALLS,
    CallMeter,
    Contract,
    EditionKey,
    Effect,
    Meter,
    Month,
    Overage,
    QuotaState,
    WebServiceCall,
    audit_meters,
    count,
    month_of,
    put_contracts,
    quota_state,
    release,
    reserve,
    void,
)
from tests.fake.clock import START

MONTH = month_of(START)


def contract(
    edition: EditionKey = "dedicated",
    *,
    activations: int | None = None,
    calls: int | None = None,
    overage: Overage = "block",
    start: datetime = MONTH.start,
) -> Contract:
    limits: dict[Meter, int] = {}
    if activations is not None:
        limits[ACTIVATIONS] = activations
    if calls is not None:
        limits[WEB_SERVICE_CALLS] = calls
    lines = 2 if edition == "high_availability" else 1
    return Contract(
        contract_id=new_id("con"),
        edition=edition,
        lines=lines,
        overage=overage,
        effective_from=start,
        limits=limits or None,
    )


def put(db: Database, *rows: Contract) -> None:
    def body(tx: Tx) -> JsonObject:
        put_contracts(tx, rows)
        return {}

    db.run_tx(new_id("op"), body)


def effects(number: int, *, deactivations: int = 0) -> list[Effect]:
    transfer = new_id("trf")
    kinds = ["activation"] * number + ["deactivation"] * deactivations
    return [
        Effect(
            effect_id=new_id("eff"),
            kind="activation" if kind == "activation" else "deactivation",
            subject=new_id("lic"),
            reference=transfer,
            principal="api_1",
        )
        for kind in kinds
    ]


def do_reserve(db: Database, what: Sequence[Effect], month: Month = MONTH) -> QuotaState:
    return _state(db, lambda tx: reserve(tx, what, month=month))


def do_count(db: Database, what: Sequence[Effect], month: Month = MONTH) -> QuotaState:
    return _state(db, lambda tx: count(tx, what, month=month))


def do_release(db: Database, what: Sequence[Effect], month: Month = MONTH) -> QuotaState:
    return _state(db, lambda tx: release(tx, what, month=month))


def do_void(
    db: Database, effect_ids: Sequence[str], month: Month = MONTH, *, reference: str = "opn_1"
) -> dict[str, int]:
    def body(tx: Tx) -> JsonObject:
        return {
            str(meter): number
            for meter, number in void(tx, effect_ids, month=month, reference=reference).items()
        }

    return {meter: int(str(number)) for meter, number in db.run_tx(new_id("op"), body).value.items()}


def _state(db: Database, body: Callable[[Tx], QuotaState]) -> QuotaState:
    return QuotaState.from_json(db.run_tx(new_id("op"), lambda tx: body(tx).to_json()).value)


def call(at: datetime, *, status: int = 200) -> WebServiceCall:
    return WebServiceCall(
        operation="listItems", principal="api_1", request_id=new_id("req"), answered_at=at, status=status
    )


def meter_for(db: Database, line: str = "line_1") -> CallMeter:
    return CallMeter(db, LineId(line), clock=db.clock)


def serve(meter: CallMeter, db: Database, times: int = 1) -> None:
    for _ in range(times):
        meter.begin().count(call(db.clock.now()))


def state(db: Database, meter: Meter, at: datetime | None = None) -> QuotaState:
    return db.read(lambda reader: quota_state(reader, meter, at or reader.now))


def notices(db: Database) -> list[tuple[object, object, object]]:
    """(meter, threshold, limit) of the notices in the outbox, in their order."""
    found: list[Event] = db.read(lambda reader: list_events(reader, after=0, limit=1_000))
    data: list[Mapping[str, object]] = [each.data for each in found if each.type == "quota.threshold_reached"]
    return [(each["meter"], each["threshold"], each["limit"]) for each in data]


def check(db: Database) -> None:
    """Everything agrees with the ledger."""
    assert db.read(audit_meters) == ()


DAY = timedelta(days=1)
