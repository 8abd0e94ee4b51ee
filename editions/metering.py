"""Metering inside somebody else's transaction: reserve, count, release, count a call, change contracts.

    reserve ──► reserved ──count──► counted        counter.taken = reserved − released − voided
                    └─────release─► released       counter.used  = counted − voided (see `editions.correction`)

Each function touches the counter row of its meter first, then reads, then decides. Call them before any
plain SELECT where you can: on MariaDB an earlier SELECT fixes the view of the transaction, and a counter
that moved since then costs a rerun of the whole body. A transaction that needs both meters calls `reserve`
before `count_call`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from app.core.clock import to_text, to_us
from app.core.db import Reader, Tx
from editions import repository
from editions.catalog import ACTIVATIONS, METERS, THRESHOLDS, WEB_SERVICE_CALLS, Meter
from editions.contract import repository as contracts
from editions.errors import ContractAltered, EditionFeatureUnavailable, EffectNotReserved, NoContractInForce
from editions.ledger import repository as ledger
from editions.ledger.repository import Entry
from editions.limit import Contract, Limit, check_contract, find_limit
from editions.period import Month, month_of
from editions.quota import Effect, Phase, QuotaState, WebServiceCall, refusal_of, state_of, threshold_reached
from editions.repository import MeterView


def hold(tx: Tx, *, month: Month) -> None:
    """Take the row of the activations' counter and leave it as it is: first in each transaction about a transfer.

    Two transfers of an instance then never meet in the middle of their transactions. On MariaDB they would: a SELECT
    before the counter moves costs a rerun, and two new containers wait for each other's gap in the index. **Source:**
    measured with 8 clients: three reruns for two activations without it, none with it (tests/bench/README.md).
    """
    repository.hold_counter(tx, ACTIVATIONS, month)


def reserve(tx: Tx, effects: Sequence[Effect], *, month: Month) -> QuotaState:
    """Take quota for effects that are about to be programmed; deactivations are taken but never refused.

    Args:
        tx: the transaction that reserves the transfer.
        effects: what the transfer will do; all or nothing.
        month: the month of the reservation; keep it for `count` or `release`.

    Raises:
        QuotaExceeded: with the activations among the effects more would be taken than the limit allows.
        NoContractInForce: there are activations among the effects and nothing is contracted.
        EffectAlreadyRecorded: an effect id was used before.
    """
    number = len(effects)
    repository.add_to_counter(tx, ACTIVATIONS, month, taken=number)
    view = repository.load_meter(tx, ACTIVATIONS, month)
    limit = limit_of(view, ACTIVATIONS, month, tx)
    if any(effect.kind == "activation" for effect in effects):
        before = state_of(limit, ACTIVATIONS, month, used=view.used, taken=view.taken - number)
        refusal = refusal_of(limit, before, number)
        if refusal is not None:
            raise refusal
    ledger.add_entries(tx, ACTIVATIONS, month, _entries(effects, "reserved", tx))
    return state_of(limit, ACTIVATIONS, month, used=view.used, taken=view.taken)


def count(tx: Tx, effects: Sequence[Effect], *, month: Month) -> QuotaState:
    """Count reserved effects, in the transaction that issues their update.

    Raises:
        EffectNotReserved: an effect was not reserved in that month.
        EffectAlreadyRecorded: an effect was counted or released before.
    """
    repository.add_to_counter(tx, ACTIVATIONS, month, used=len(effects))
    view = _load_reserved(tx, effects, month)
    ledger.add_entries(tx, ACTIVATIONS, month, _entries(effects, "counted", tx))
    return notice(tx, view, ACTIVATIONS, month)


def release(tx: Tx, effects: Sequence[Effect], *, month: Month) -> QuotaState:
    """Give reserved effects back, in the transaction that rolls their transfer back.

    Raises:
        EffectNotReserved: an effect was not reserved in that month.
        EffectAlreadyRecorded: an effect was counted or released before.
    """
    repository.add_to_counter(tx, ACTIVATIONS, month, taken=-len(effects))
    view = _load_reserved(tx, effects, month)
    ledger.add_entries(tx, ACTIVATIONS, month, _entries(effects, "released", tx))
    limit = limit_of(view, ACTIVATIONS, month, tx)
    return state_of(limit, ACTIVATIONS, month, used=view.used, taken=view.taken)


def count_call(tx: Tx, call: WebServiceCall) -> QuotaState:
    """Count one web-service call in the transaction of its own effect; for routes that write.

    The month is that of the transaction's time.

    Raises:
        QuotaExceeded: the limit leaves no room; roll the effect back with it.
        EditionFeatureUnavailable: the edition has no web services.
        NoContractInForce: nothing is contracted.
        EffectAlreadyRecorded: the call was counted before.
    """
    month = month_of(tx.now)
    repository.add_to_counter(tx, WEB_SERVICE_CALLS, month, taken=1, used=1)
    view = repository.load_meter(tx, WEB_SERVICE_CALLS, month)
    limit = limit_of(view, WEB_SERVICE_CALLS, month, tx)
    before = state_of(limit, WEB_SERVICE_CALLS, month, used=view.used - 1, taken=view.taken - 1)
    refusal = refusal_of(limit, before)
    if refusal is not None:
        raise refusal
    ledger.add_entries(tx, WEB_SERVICE_CALLS, month, [call_entry(call, to_us(tx.now))])
    return notice(tx, view, WEB_SERVICE_CALLS, month)


def find_quota(reader: Reader, meter: Meter, at: datetime) -> tuple[Limit | None, QuotaState]:
    """Limit in force at an instant and the state of its month, without touching anything."""
    month = month_of(at)
    view = repository.find_meter(reader, meter, month)
    limit = find_limit(view.contracts, meter, at)
    return limit, state_of(limit, meter, month, used=view.used, taken=view.taken)


def require_included(reader: Reader, meter: Meter) -> None:
    """Refuse if the edition in force does not have what the meter counts; used-up quotas are no matter here.

    Raises:
        EditionFeatureUnavailable: the edition has no web services.
        NoContractInForce: nothing is contracted.
    """
    limit, state = find_quota(reader, meter, reader.now)
    refusal = refusal_of(limit, state, requested=0)
    if isinstance(refusal, (EditionFeatureUnavailable, NoContractInForce)):
        raise refusal


def put_contracts(tx: Tx, rows: Sequence[Contract], *, complete: bool = False) -> None:
    """Write contract rows; a refusal is lifted, or a limit lowered, by this very transaction.

    Rows are inserted, or open-ended ones get their end; nothing is overwritten. The same row again changes
    nothing.

    Args:
        tx: in which it happens.
        rows: to be written.
        complete: they are all that there are: a row that is not among them has been withdrawn, and is removed.

    Raises:
        ContractInvalid: a row contradicts the catalogue or itself.
        ContractAltered: a row with this id exists with other content.
    """
    month = month_of(tx.now)
    for meter in METERS:
        repository.add_to_counter(tx, meter, month)
    if complete:
        contracts.keep_contracts(tx, [row.contract_id for row in rows])
    for row in rows:
        check_contract(row)
        _put_contract(tx, row)
    for meter in METERS:
        notice(tx, repository.load_meter(tx, meter, month), meter, month)


def list_contracts(reader: Reader) -> tuple[Contract, ...]:
    """All contract rows of the instance, in the order of their beginning."""
    return contracts.list_contracts(reader)


def limit_of(view: MeterView, meter: Meter, month: Month, reader: Reader) -> Limit | None:
    """The limit in force now, or, for a month that is over or yet to come, at its nearest instant."""
    return find_limit(view.contracts, meter, month.clamp(reader.now))


def notice(tx: Tx, view: MeterView, meter: Meter, month: Month) -> QuotaState:
    """Write the notices that are due for a meter whose counter row the transaction has touched.

    Each threshold is noted once per contractual limit, whoever gets there first.
    """
    limit = limit_of(view, meter, month, tx)
    state = state_of(limit, meter, month, used=view.used, taken=view.taken)
    if not state.included:
        return state
    reached = threshold_reached(view.used, state.contractual)
    if reached == 0 or (state.contractual, reached) == (view.noticed_limit, view.noticed_threshold):
        return state
    for threshold in THRESHOLDS:
        if threshold <= reached and repository.add_notice(
            tx, meter, month, threshold=threshold, limit=state.contractual, used=view.used
        ):
            _emit_notice(tx, state, threshold)
    repository.set_noticed(tx, meter, month, threshold=reached, limit=state.contractual)
    return state


def call_entry(call: WebServiceCall, at_us: int) -> Entry:
    """The ledger row of a call."""
    return Entry(
        effect_id=call.effect_id,
        phase="counted",
        kind="web_service_call",
        subject=call.operation,
        reference=call.request_id,
        principal=call.principal,
        at_us=at_us,
    )


def _load_reserved(tx: Tx, effects: Sequence[Effect], month: Month) -> MeterView:
    if not effects:
        return repository.load_meter(tx, ACTIVATIONS, month)
    view = repository.load_meter_and_reservations(
        tx, ACTIVATIONS, month, [effect.effect_id for effect in effects]
    )
    if view.reserved != len(effects):
        raise EffectNotReserved("Not all of these effects were reserved in that month.", month=str(month))
    return view


def _entries(effects: Sequence[Effect], phase: Phase, tx: Tx) -> list[Entry]:
    at_us = to_us(tx.now)
    return [
        Entry(
            effect_id=effect.effect_id,
            phase=phase,
            kind=effect.kind,
            subject=effect.subject,
            reference=effect.reference,
            principal=effect.principal,
            at_us=at_us,
        )
        for effect in effects
    ]


def _emit_notice(tx: Tx, state: QuotaState, threshold: int) -> None:
    tx.emit(
        "quota.threshold_reached",
        subject=f"{state.meter}/{state.month}",
        data={
            "meter": state.meter,
            "month": str(state.month),
            "threshold": threshold,
            "limit": state.contractual,
            "used": state.used,
            "resets_at": to_text(state.resets_at),
        },
    )


def _put_contract(tx: Tx, row: Contract) -> None:
    if contracts.add_contract(tx, row):
        return
    stored = contracts.find_contract(tx, row.contract_id)
    if stored == _normal(row):
        return
    if stored is not None and stored == _normal(row, open_ended=True) and contracts.end_contract(tx, row):
        return
    raise ContractAltered(
        "A contract row with this id exists with other content. Rows are never overwritten: write a new one.",
        contract_id=row.contract_id,
    )


def _normal(row: Contract, *, open_ended: bool = False) -> Contract:
    """A row as it comes back from the database, so that it can be compared."""
    return Contract(
        contract_id=row.contract_id,
        kind=row.kind,
        edition=row.edition,
        lines=row.lines,
        overage=row.overage,
        effective_from=row.effective_from,
        effective_until=None if open_ended else row.effective_until,
        limits=None if row.limits is None else dict(row.limits),
    )
