"""SQL of self-healing: platform schema."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import bindparam, delete, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import SqlValue
from app.core.json import dump_json, load_json
from app.operations.reconcile import tables
from app.operations.reconcile.observation import Evidence, Verdict
from app.operations.reconcile.past import Action, Outcome, Reason
from app.operations.reconcile.record import Entry, EntryId, Lease, Pause

_lease = tables.reconcile_lease
_decision = tables.reconcile_decision
_pause = tables.reconcile_pause

_NAME: Final = "healer"
"""There is one lease: one healer acts on everything."""

_LEASE = select(_lease).where(_lease.c.name == _NAME)
_ADD_LEASE = insert(_lease)
_TAKE = (
    update(_lease)
    .where(_lease.c.name == _NAME, _lease.c.valid_until_us <= bindparam("b_now"))
    .values(holder=bindparam("b_holder"), token=_lease.c.token + 1, valid_until_us=bindparam("b_until"))
)
_RENEW = (
    update(_lease)
    .where(
        _lease.c.name == _NAME,
        _lease.c.holder == bindparam("b_holder"),
        _lease.c.token == bindparam("b_token"),
        _lease.c.valid_until_us > bindparam("b_now"),
    )
    .values(valid_until_us=bindparam("b_until"))
)
_TOUCH = (
    update(_lease)
    .where(
        _lease.c.name == _NAME,
        _lease.c.token == bindparam("b_token"),
        _lease.c.valid_until_us > bindparam("b_now"),
    )
    .values(touched=_lease.c.touched + 1)
)
_ADD = insert(_decision)
_END = (
    update(_decision)
    .where(_decision.c.decision_id == bindparam("b_id"), _decision.c.outcome == "open")
    .values(outcome=bindparam("b_outcome"), outcome_code=bindparam("b_code"), outcome_at_us=bindparam("b_at"))
)
_RELEASE = (
    update(_decision)
    .where(
        _decision.c.part == bindparam("b_part"),
        _decision.c.action == "call_human",
        _decision.c.released_at_us.is_(None),
    )
    .values(released_by=bindparam("b_by"), released_at_us=bindparam("b_at"))
)
_NEWEST = select(_decision).order_by(_decision.c.decision_id.desc()).limit(bindparam("b_limit"))
_BEFORE = (
    select(_decision)
    .where(_decision.c.decision_id < bindparam("b_before"))
    .order_by(_decision.c.decision_id.desc())
    .limit(bindparam("b_limit"))
)
_OF_PART = (
    select(_decision)
    .where(_decision.c.part == bindparam("b_part"))
    .order_by(_decision.c.decision_id.desc())
    .limit(bindparam("b_limit"))
)
_OF_PART_BEFORE = (
    select(_decision)
    .where(_decision.c.part == bindparam("b_part"), _decision.c.decision_id < bindparam("b_before"))
    .order_by(_decision.c.decision_id.desc())
    .limit(bindparam("b_limit"))
)
_ALL = select(_decision).order_by(_decision.c.decision_id)
_ALARMS = (
    select(_decision)
    .where(_decision.c.action == "call_human", _decision.c.released_at_us.is_(None))
    .order_by(_decision.c.decision_id)
)
_OLD = (
    select(_decision.c.decision_id)
    .where(
        _decision.c.decided_at_us < bindparam("b_before"),
        or_(_decision.c.action != "call_human", _decision.c.released_at_us.is_not(None)),
    )
    .order_by(_decision.c.decision_id)
    .limit(bindparam("b_limit"))
)
_FIRST_KEPT = (
    select(_decision.c.decided_at_us)
    .order_by(_decision.c.decision_id.desc())
    .limit(1)
    .offset(bindparam("b_kept"))
)
_DELETE = delete(_decision).where(_decision.c.decision_id == bindparam("b_id"))
_PAUSES = select(_pause).order_by(_pause.c.scope)
_PAUSE = select(_pause).where(_pause.c.scope == bindparam("b_scope"))
_ADD_PAUSE = insert(_pause)
_PUT_PAUSE = (
    update(_pause)
    .where(_pause.c.scope == bindparam("b_scope"))
    .values(
        reason=bindparam("b_reason"),
        paused_by=bindparam("b_paused_by"),
        until_us=bindparam("b_until_us"),
        created_at_us=bindparam("b_created_at_us"),
    )
)
_DELETE_PAUSE = delete(_pause).where(_pause.c.scope == bindparam("b_scope"))


def take_lease(tx: Tx, holder: str, *, ttl: timedelta) -> int | None:
    """Take the lease if it has run out; its token, also if the holder has it already. None: somebody else has it."""
    until = to_us(tx.now + ttl)
    tx.write(_TAKE, {"b_now": to_us(tx.now), "b_holder": holder, "b_until": until})
    row = tx.first(_LEASE)
    if row is None:
        first: dict[str, SqlValue] = {
            "name": _NAME,
            "holder": holder,
            "token": 1,
            "valid_until_us": until,
            "touched": 0,
        }
        return 1 if tx.insert_if_absent(_ADD_LEASE, first) else None
    if row.holder == holder and row.valid_until_us > to_us(tx.now):
        return int(row.token)
    return None


def renew_lease(tx: Tx, holder: str, token: int, *, ttl: timedelta) -> bool:
    """Hold the lease for longer. False: it has run out, or somebody else has it."""
    until = to_us(tx.now + ttl)
    values: dict[str, SqlValue] = {
        "b_now": to_us(tx.now),
        "b_holder": holder,
        "b_token": token,
        "b_until": until,
    }
    return tx.write(_RENEW, values) == 1


def end_lease(tx: Tx, holder: str, token: int) -> bool:
    """Let the next one have the lease at once."""
    now = to_us(tx.now)
    return tx.write(_RENEW, {"b_now": now, "b_holder": holder, "b_token": token, "b_until": now}) == 1


def touch_lease(tx: Tx, token: int) -> bool:
    """Write the lease's row, if this token is the one in force."""
    return tx.write(_TOUCH, {"b_token": token, "b_now": to_us(tx.now)}) == 1


def find_lease(reader: Reader) -> Lease | None:
    """Who has it, or had it last."""
    row = reader.first(_LEASE)
    if row is None:
        return None
    return Lease(holder=row.holder, token=row.token, valid_until=from_us(row.valid_until_us))


def add_entry(tx: Tx, entry: Entry) -> None:
    """Write a line of the journal."""
    tx.write(
        _ADD,
        {
            "decision_id": entry.entry_id,
            "part": entry.part,
            "group_key": entry.group,
            "action": entry.action,
            "wanted": entry.wanted,
            "reason": entry.reason,
            "verdict": entry.verdict,
            "evidence": dump_json([_evidence_to_json(each) for each in entry.evidence]),
            "token": entry.token,
            "outcome": entry.outcome,
            "outcome_code": entry.outcome_code,
            "outcome_at_us": None,
            "released_by": None,
            "released_at_us": None,
            "decided_at_us": to_us(entry.decided_at),
            "scope": entry.scope,
            "until_us": None if entry.until is None else to_us(entry.until),
        },
    )


def end_entry(tx: Tx, entry_id: EntryId, outcome: Outcome, *, code: str | None) -> bool:
    """Write down what came of an action. False: that is known already."""
    return (
        tx.write(_END, {"b_id": entry_id, "b_outcome": outcome, "b_code": code, "b_at": to_us(tx.now)}) == 1
    )


def release_part(tx: Tx, part: str, *, by: str) -> bool:
    """Write down that somebody has released a part. False: nobody was called about it."""
    return tx.write(_RELEASE, {"b_part": part, "b_by": by, "b_at": to_us(tx.now)}) > 0


def list_entries(reader: Reader, *, before: str, limit: int, part: str | None = None) -> list[Entry]:
    """The newest lines first, of all parts or of one; those older than `before`, unless it is empty."""
    values: dict[str, str | int] = {"b_limit": limit}
    if before:
        values["b_before"] = before
    if part is not None:
        values["b_part"] = part
    statements = {(False, False): _NEWEST, (True, False): _BEFORE, (False, True): _OF_PART}
    statement = statements.get((bool(before), part is not None), _OF_PART_BEFORE)
    return [_to_entry(row) for row in reader.all(statement, values)]


def list_all(reader: Reader) -> list[Entry]:
    """The whole journal, oldest first; it is bounded."""
    return [_to_entry(row) for row in reader.all(_ALL)]


def list_alarms(reader: Reader) -> list[Entry]:
    """What persons were called about and have not released yet, oldest first."""
    return [_to_entry(row) for row in reader.all(_ALARMS)]


def clear_entries(tx: Tx, *, before: datetime, keep: int, limit: int) -> int:
    """Forget old lines, and those beyond a number; alarms stay. Returns how many.

    **Source:** at most 500 rows per transaction: high availability reference §1.5.
    """
    first_kept = tx.scalar(_FIRST_KEPT, {"b_kept": keep})
    bound = max(to_us(before), first_kept if isinstance(first_kept, int) else 0)
    old = tx.all(_OLD, {"b_before": bound, "b_limit": limit})
    tx.write_many(_DELETE, [{"b_id": row.decision_id} for row in old])
    return len(old)


def list_pauses(reader: Reader) -> list[Pause]:
    """All pauses, also those that have ended, by scope."""
    return [_to_pause(row) for row in reader.all(_PAUSES)]


def find_pause(reader: Reader, scope: str) -> Pause | None:
    """The pause of a scope."""
    row = reader.first(_PAUSE, {"b_scope": scope})
    return None if row is None else _to_pause(row)


def put_pause(tx: Tx, pause: Pause) -> None:
    """Store a pause in place of the one of that scope."""
    values: dict[str, SqlValue] = {
        "reason": pause.reason,
        "paused_by": pause.paused_by,
        "until_us": None if pause.until is None else to_us(pause.until),
        "created_at_us": to_us(pause.created_at),
    }
    named: dict[str, SqlValue] = {f"b_{name}": value for name, value in values.items()}
    if tx.write(_PUT_PAUSE, {"b_scope": pause.scope, **named}) != 1:
        tx.insert_if_absent(_ADD_PAUSE, {"scope": pause.scope, **values})


def remove_pauses(tx: Tx, scopes: Iterable[str]) -> None:
    """Forget pauses."""
    tx.write_many(_DELETE_PAUSE, [{"b_scope": scope} for scope in scopes])


def _evidence_to_json(evidence: Evidence) -> dict[str, str]:
    return {"witness": evidence.witness, "verdict": evidence.verdict, "detail": evidence.detail}


def _to_entry(row: Row) -> Entry:
    evidence = cast("list[dict[str, str]]", load_json(row.evidence))
    return Entry(
        entry_id=EntryId(row.decision_id),
        part=row.part,
        group=row.group_key,
        action=cast(Action, row.action),
        wanted=cast(Action, row.wanted),
        reason=cast(Reason, row.reason),
        verdict=cast(Verdict, row.verdict),
        evidence=tuple(
            Evidence(witness=each["witness"], verdict=cast(Verdict, each["verdict"]), detail=each["detail"])
            for each in evidence
        ),
        token=row.token,
        decided_at=from_us(row.decided_at_us),
        scope=row.scope,
        until=_time(row.until_us),
        outcome=cast("Outcome | None", row.outcome),
        outcome_code=row.outcome_code,
        outcome_at=_time(row.outcome_at_us),
        released_by=row.released_by,
        released_at=_time(row.released_at_us),
    )


def _to_pause(row: Row) -> Pause:
    return Pause(
        scope=row.scope,
        reason=row.reason,
        paused_by=row.paused_by,
        until=_time(row.until_us),
        created_at=from_us(row.created_at_us),
    )


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
