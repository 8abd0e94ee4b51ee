"""SQL of migrations: which instances have a database, and what came of the last run over each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from sqlalchemy import bindparam, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import InstanceId
from app.operations.migration.record import Candidate, Outcome
from tenancy import tables
from tenancy.record import KEPT_STATES

_instance = tables.instance
_migration = tables.instance_migration

# Columns of the first release only: a dry run reads a platform database that has not been migrated yet. What is being
# provisioned gets the newest schema there; the database of one that failed half-way is made again or removed.
_CANDIDATES = (
    select(_instance.c.instance_id, _instance.c.name)
    .where(_instance.c.state.in_(KEPT_STATES), _instance.c.instance_id > bindparam("b_after"))
    .order_by(_instance.c.instance_id)
    .limit(bindparam("b_limit"))
)
_STATE = select(_instance.c.state).where(_instance.c.instance_id == bindparam("b_instance"))
_LAST = (
    select(_migration, _instance.c.name)
    .select_from(_instance.join(_migration, _migration.c.instance_id == _instance.c.instance_id))
    .where(_instance.c.state.in_(KEPT_STATES), _instance.c.instance_id > bindparam("b_after"))
    .order_by(_instance.c.instance_id)
    .limit(bindparam("b_limit"))
)
_IS_NOTED = select(_migration.c.instance_id).where(
    _migration.c.instance_id == bindparam("b_instance"),
    _migration.c.target == bindparam("b_target"),
    _migration.c.state == "done",
)
_ADD = insert(_migration)
_CHANGE = (
    update(_migration)
    .where(_migration.c.instance_id == bindparam("b_instance"))
    .values(
        target=bindparam("b_target"),
        state=bindparam("b_state"),
        from_revision=bindparam("b_from"),
        to_revision=bindparam("b_to"),
        attempts=_migration.c.attempts + 1,
        error_code=bindparam("b_code"),
        error_message=bindparam("b_message"),
        finished_at_us=bindparam("b_now"),
    )
)
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LastMigration:
    """What came of the last run over an instance.

    Attributes:
        target: the newest revision then.
        attempts: runs that changed it, or tried to.
    """

    candidate: Candidate
    target: str
    state: Literal["done", "failed"]
    from_revision: str | None
    to_revision: str | None
    attempts: int
    error_code: str | None
    error_message: str | None
    finished_at: datetime


def list_candidates(reader: Reader) -> list[Candidate]:
    """All instances that have a database to keep, oldest first."""
    found: list[Candidate] = []
    while page := reader.all(_CANDIDATES, {"b_after": _last_id(found), "b_limit": _PAGE}):
        found += [Candidate(instance_id=InstanceId(row.instance_id), name=row.name) for row in page]
    return found


def _last_id(found: list[Candidate]) -> str:
    return found[-1].instance_id if found else ""


def is_candidate(reader: Reader, instance_id: InstanceId) -> bool:
    """Whether the instance still has a database to keep."""
    return reader.scalar(_STATE, {"b_instance": instance_id}) in KEPT_STATES


def is_noted(reader: Reader, instance_id: InstanceId, *, target: str) -> bool:
    """Whether it is known that the instance has reached this revision."""
    return reader.first(_IS_NOTED, {"b_instance": instance_id, "b_target": target}) is not None


def list_last(reader: Reader, *, after: str, limit: int) -> list[LastMigration]:
    """What came of the last run over each instance with an id above `after`, oldest instance first."""
    return [_to_last(row) for row in reader.all(_LAST, {"b_after": after, "b_limit": limit})]


def list_all_last(reader: Reader) -> Iterable[LastMigration]:
    """The same of all instances."""
    after = ""
    while page := list_last(reader, after=after, limit=_PAGE):
        yield from page
        after = page[-1].candidate.instance_id


def note_outcome(tx: Tx, outcome: Outcome, *, target: str) -> None:
    """Store what came of one instance."""
    values: Parameters = {
        "instance_id": outcome.candidate.instance_id,
        "target": target,
        "state": "failed" if outcome.state == "failed" else "done",
        "from_revision": outcome.before,
        "to_revision": outcome.after,
        "attempts": 1,
        "error_code": outcome.code,
        "error_message": outcome.message,
        "finished_at_us": to_us(tx.now),
    }
    if not tx.insert_if_absent(_ADD, values):
        tx.write(
            _CHANGE,
            {
                "b_instance": outcome.candidate.instance_id,
                "b_target": target,
                "b_state": values["state"],
                "b_from": outcome.before,
                "b_to": outcome.after,
                "b_code": outcome.code,
                "b_message": outcome.message,
                "b_now": values["finished_at_us"],
            },
        )


def _to_last(row: Row) -> LastMigration:
    return LastMigration(
        candidate=Candidate(instance_id=InstanceId(row.instance_id), name=row.name),
        target=row.target,
        state=cast(Literal["done", "failed"], row.state),
        from_revision=row.from_revision,
        to_revision=row.to_revision,
        attempts=row.attempts,
        error_code=row.error_code,
        error_message=row.error_message,
        finished_at=from_us(row.finished_at_us),
    )
