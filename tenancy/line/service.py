"""Which lines instances have and how they take requests. What staff and customers change about them at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.errors import DomainError
from app.core.ids import InstanceId, LineId, OperationId, new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy import repository as instances
from tenancy.errors import OperationRunning
from tenancy.lifecycle.state import check_state
from tenancy.line import repository
from tenancy.line.errors import LineLast, LineStateUnfit, LineVersionConflict
from tenancy.line.plan import REMOVE_LINE
from tenancy.line.record import (
    LineRecord,
    LineUser,
    ServedInstance,
    ServedLine,
    check_active,
    check_not_last,
    check_own,
    check_version,
    check_weight,
    find_line,
    lines_of,
    put_back,
    serve,
    take_out,
)
from tenancy.operation import repository as operations
from tenancy.operation.plan import Operation
from tenancy.operation.start import check_idle, start_operation
from tenancy.placement import find_edition
from tenancy.record import KEPT_STATES, LONGEST_PAGE, Instance
from tenancy.transaction import carry_out

_log = logging.getLogger(__name__)

_Change = Callable[[Tx, LineRecord, tuple[LineRecord, ...]], LineRecord]


class LineService:
    """Lines in the platform database. Thread-safe, blocking.

    Every change is an event `instance.line_…` of its instance.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._held_up: set[LineId] = set()

    def front_lines(self, instance_id: InstanceId) -> tuple[ServedLine, ...]:
        """The lines that serve an instance, by number, as the front sees them.

        Raises:
            InstanceNotFound: there is none of that id.
        """

        def body(reader: Reader) -> tuple[ServedLine, ...]:
            instance, lines = read_lines(reader, instance_id)
            return serve(instance, lines).lines

        return self._db.read(body)

    def list_served(self) -> list[ServedInstance]:
        """All instances that are served, frozen and ended ones too, with their lines."""

        def body(reader: Reader) -> list[ServedInstance]:
            stored = repository.list_all_lines(reader)
            return [
                serve(each, lines_of(each, stored.get(each.instance_id, {}))) for each in _list_kept(reader)
            ]

        return self._db.read(body)

    def list_lines(self, instance_id: InstanceId) -> tuple[LineRecord, ...]:
        """All lines of an instance, by number; those that are planned, too.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: read_lines(reader, instance_id)[1])

    def get_line(self, instance_id: InstanceId, line_id: LineId) -> LineRecord:
        """One line.

        Raises:
            InstanceNotFound, LineNotFound: there is none.
        """
        return find_line(self.list_lines(instance_id), line_id)

    def drain_line(
        self,
        instance_id: InstanceId,
        line_id: LineId,
        *,
        by: LineUser,
        reason: str | None = None,
        version: int | None = None,
        command: Command | None = None,
    ) -> Done[LineRecord]:
        """Take a line out of service: it gets no new request, and finishes what it has. Again: by somebody else.

        Args:
            reason: for people; None for the one that came with the command.
            version: that the caller has read; None for whatever it is.

        Raises:
            InstanceNotFound, InstanceStateUnfit, LineNotFound, LineShared, LineStateUnfit, LineVersionConflict:
                not this line.
            LineLast: no other line of the instance takes requests.
        """

        def change(tx: Tx, line: LineRecord, lines: tuple[LineRecord, ...]) -> LineRecord:
            check_not_last(lines, line)
            why = tx.origin.reason if reason is None else reason
            return take_out(line, by=by, reason=why, now=tx.now)

        return self._change(instance_id, line_id, "drained", change, version, command)

    def restore_line(
        self,
        instance_id: InstanceId,
        line_id: LineId,
        *,
        version: int | None = None,
        command: Command | None = None,
    ) -> Done[LineRecord]:
        """Put a line back into service.

        Raises:
            InstanceNotFound, InstanceStateUnfit, LineNotFound, LineShared, LineStateUnfit, LineVersionConflict:
                not this line.
        """
        return self._change(
            instance_id, line_id, "restored", lambda _tx, line, _all: put_back(line), version, command
        )

    def weigh_line(
        self,
        instance_id: InstanceId,
        line_id: LineId,
        weight: int,
        *,
        version: int | None = None,
        command: Command | None = None,
    ) -> Done[LineRecord]:
        """Change how many requests a line gets, compared with the others; 0: none.

        Raises:
            LineWeightUnfit: not 0 to 256.
            InstanceNotFound, InstanceStateUnfit, LineNotFound, LineShared, LineStateUnfit, LineVersionConflict:
                not this line.
            LineLast: no other line of the instance takes requests.
        """
        check_weight(weight)

        def change(_tx: Tx, line: LineRecord, lines: tuple[LineRecord, ...]) -> LineRecord:
            if weight == 0:
                check_not_last(lines, line)
            return replace(line, weight=weight)

        return self._change(instance_id, line_id, "weighed", change, version, command)

    def end_line(
        self,
        instance_id: InstanceId,
        line_id: LineId,
        *,
        version: int | None = None,
        command: Command | None = None,
    ) -> Done[Operation]:
        """End a temporary line now. One that is only being made is ended by cancelling that operation.

        Raises:
            InstanceNotFound, LineNotFound, LineVersionConflict: not this line.
            LineStateUnfit: a permanent one.
            LineLast: no other line of the instance takes requests.
            OperationRunning: it is being made, or ended already.
        """

        def body(tx: Tx) -> JsonObject:
            return {"operation_id": _start_end(tx, instance_id, line_id, version=version)}

        answer = carry_out(self._db, command, body)
        started = OperationId(str(answer.value["operation_id"]))
        operation = self._db.read(lambda reader: operations.get_operation(reader, started))
        return Done(value=operation, replayed=answer.replayed, created=not answer.replayed)

    def end_due(self) -> int:
        """Begin the end of temporary lines whose time, or whose instance's contract, is over; returns of how many.

        A loop calls it. One that no other line can stand in for goes on, with a warning, until one can.
        """
        due = self._db.read(_list_due)
        self._held_up &= {each.line_id for each in due}
        return sum(self._end(each) for each in due)

    def _end(self, line: LineRecord) -> bool:
        def body(tx: Tx) -> JsonObject:
            return {"operation_id": _start_end(tx, line.instance_id, line.line_id, version=line.version)}

        try:
            self._db.run_tx(new_id("op"), body, origin=system_origin("sweepLines.endLine"))
        except (OperationRunning, LineVersionConflict):
            return False
        except LineLast as error:
            if line.line_id not in self._held_up:
                self._held_up.add(line.line_id)
                _log.warning("line_not_ended", extra={"line": line.line_id, "code": error.code})
            return False
        except DomainError:
            _log.exception("line_not_ended", extra={"line": line.line_id})
            return False
        return True

    def _change(
        self,
        instance_id: InstanceId,
        line_id: LineId,
        verb: str,
        change: _Change,
        version: int | None,
        command: Command | None,
    ) -> Done[LineRecord]:
        def body(tx: Tx) -> JsonObject:
            repository.hold_lines(tx, instance_id)
            instance, lines = read_lines(tx, instance_id)
            line = find_line(lines, line_id)
            check_own(find_edition(instance.edition))
            check_state(instance, frozenset(KEPT_STATES))
            check_version(line, version)
            check_active(line)
            store_line(tx, line, change(tx, line, lines), event=f"instance.line_{verb}")
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=self.get_line(instance_id, line_id), replayed=answer.replayed)


def read_lines(reader: Reader, instance_id: InstanceId) -> tuple[Instance, tuple[LineRecord, ...]]:
    """An instance and its lines.

    Raises:
        InstanceNotFound: there is none of that id.
    """
    instance = instances.get_instance(reader, instance_id)
    return instance, lines_of(instance, repository.list_lines(reader, instance_id))


def store_line(tx: Tx, old: LineRecord, new: LineRecord, *, event: str) -> None:
    """Write a changed line with its event, which holds what differs; nothing happens if nothing does.

    The caller holds the instance's lines.

    Raises:
        LineVersionConflict: somebody else was faster.
    """
    if new == old:
        return
    is_stored = repository.put_line(tx, new)
    if not is_stored and not (
        old.version == 1 and repository.add_line(tx, replace(new, version=old.version + 1))
    ):
        raise LineVersionConflict("The line has been changed meanwhile; read it again.")
    before, after = describe_line(old), describe_line(new)
    changed = [name for name in after if after[name] != before[name]]
    tx.emit(
        event,
        subject=old.instance_id,
        data={"line": new.line_id, **{name: after[name] for name in changed}},
        before={name: before[name] for name in changed},
    )


def describe_line(line: LineRecord) -> JsonObject:
    """What the audit chain keeps of a line."""
    return {
        "weight": line.weight,
        "phase": line.phase,
        "out_by": line.out_by,
        "out_reason": line.out_reason,
        "ends_at": None if line.ends_at is None else line.ends_at.isoformat(),
    }


def _start_end(tx: Tx, instance_id: InstanceId, line_id: LineId, *, version: int | None) -> OperationId:
    repository.hold_lines(tx, instance_id)
    _, lines = read_lines(tx, instance_id)
    line = find_line(lines, line_id)
    check_version(line, version)
    if not line.is_temporary:
        raise LineStateUnfit("A permanent line ends with a change of its contract.", line=line_id)
    check_idle(tx, line_id)
    check_active(line)
    check_not_last(lines, line)
    data: JsonObject = {"line": line_id}
    tx.emit("instance.line_ending", subject=instance_id, data=data, before=describe_line(line))
    return start_operation(tx, REMOVE_LINE, object_id=line_id, parameters={"instance_id": instance_id})


def _list_due(reader: Reader) -> list[LineRecord]:
    found = repository.list_active_temporary(reader)
    return [each for each in found if _is_due(reader, each)]


def _is_due(reader: Reader, line: LineRecord) -> bool:
    if line.ends_at is not None and line.ends_at <= reader.now:
        return True
    instance = instances.find_instance(reader, line.instance_id)
    return instance is not None and instance.state in ("ended", "erased")


def _list_kept(reader: Reader) -> list[Instance]:
    found: list[Instance] = []
    after = ""
    while page := instances.list_instances(reader, after=after, limit=LONGEST_PAGE):
        found += [each for each in page if each.is_kept]
        after = page[-1].instance_id
    return found
