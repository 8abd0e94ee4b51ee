"""Ordering a temporary line: looked at when somebody asks for it, and taken when a second person has approved it.

Context: a line has a box of its own with the instance's firm key, and nobody brings a key into another box alone
(`tenancy.box.guard`). Decision: a temporary line is asked for and approved like a box; its end is not, for it only
takes away what was approved. Alternative: a line that borrows the permanent lines' boxes, which takes from them in the
very peak that it is ordered for.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from app.core.clock import to_text
from app.core.db import Reader, Tx
from app.core.ids import InstanceId, OperationId, new_id
from app.core.json import JsonObject
from fsb_gateway.box_driver import BoxSpec
from tenancy.box.own_box import list_own_boxes
from tenancy.box.repository import find_box
from tenancy.box.spec_json import describe_spec
from tenancy.contract.temporary import add_temporary_line
from tenancy.lifecycle.state import check_state
from tenancy.line import repository
from tenancy.line.errors import LineBoxMissing, LinePeriodUnfit, LineVersionConflict
from tenancy.line.plan import ADD_LINE
from tenancy.line.record import LineRecord, check_edition, check_period, line_name, next_number
from tenancy.line.service import describe_line, read_lines
from tenancy.operation.start import check_idle, start_operation
from tenancy.placement import find_edition
from tenancy.record import Instance, InstanceState
from tenancy.server.placing import place_another
from tenancy.staff.approval import GuardedActions

_LIVE: Final[frozenset[InstanceState]] = frozenset({"ready", "frozen"})


def register_line_actions(guarded: GuardedActions) -> None:
    """Make a temporary line something that a second person has to approve."""
    guarded.register("addLine", start_addition, check=check_addition, asked=("starts_at", "ends_at"))


def check_addition(reader: Reader, instance_id: str, parameters: JsonObject) -> None:
    """Whether an instance can have a temporary line.

    Args:
        reader: of the platform database.
        instance_id: whose.
        parameters: `starts_at`, None for as soon as it is approved; `ends_at`.

    Raises:
        InstanceNotFound, InstanceStateUnfit: not this instance.
        LineEditionUnfit, LinePeriodUnfit, LinesTooMany, LineBoxMissing: not such a line.
    """
    instance, lines = read_lines(reader, InstanceId(instance_id))
    check_state(instance, _LIVE)
    check_edition(find_edition(instance.edition))
    starts_at, ends_at = read_period(parameters)
    check_period(starts_at, ends_at, now=reader.now)
    plan_box(reader, instance, next_number(instance, lines))


def start_addition(tx: Tx, instance_id: str, parameters: JsonObject) -> OperationId:
    """Take the order: number, contract row, place on a server, and the operation that makes the line.

    Raises:
        DomainError: see `check_addition`. A start that has passed while it waited for approval is now.
        CapacityExhausted: no server is free.
        OperationRunning: something is being done to the instance.
    """
    owner = InstanceId(instance_id)
    repository.hold_lines(tx, owner)
    starts_at, ends_at = read_period(parameters)
    starts_at = max(starts_at or tx.now, tx.now)
    check_addition(tx, owner, {**parameters, "starts_at": to_text(starts_at)})
    check_idle(tx, owner)
    instance, lines = read_lines(tx, owner)
    line = _reserve(tx, instance, next_number(instance, lines), starts_at=starts_at, ends_at=ends_at)
    tx.emit("instance.line_ordered", subject=owner, data={"line": line.line_id, **describe_line(line)})
    box = plan_box(tx, instance, line.number)
    wanted: JsonObject = {
        "instance_id": owner,
        "starts_at": to_text(starts_at),
        "ends_at": to_text(ends_at),
        "box_name": box_name(instance, line.number),
        "box": None if box is None else describe_spec(box),
    }
    return start_operation(tx, ADD_LINE, object_id=line.line_id, parameters=wanted)


def _reserve(
    tx: Tx, instance: Instance, number: int, *, starts_at: datetime, ends_at: datetime
) -> LineRecord:
    """Its contract row, its place on a server, and the line itself."""
    owner = instance.instance_id
    contract_id = new_id("ctr")
    add_temporary_line(tx, instance, contract_id, starts_at=starts_at, ends_at=ends_at)
    edition = find_edition(instance.edition)
    server = place_another(tx, owner, edition=edition, country=instance.country, ordinal=number - 1)
    line = LineRecord(
        line_id=line_name(instance, number),
        instance_id=owner,
        number=number,
        phase="planned",
        contract_id=contract_id,
        starts_at=starts_at,
        ends_at=ends_at,
        server_id=server.server_id,
    )
    if not repository.add_line(tx, line):
        raise LineVersionConflict("Another line has this number by now; try again.", line=line.line_id)
    return line


def read_period(parameters: JsonObject) -> tuple[datetime | None, datetime]:
    """From when to when.

    Raises:
        LinePeriodUnfit: no times.
    """
    starts_at = parameters.get("starts_at")
    return (
        None if starts_at is None else _time(starts_at, "starts_at"),
        _time(parameters.get("ends_at"), "ends_at"),
    )


def box_name(instance: Instance, number: int) -> str:
    """What the box of a line is called, as provisioning calls those of permanent lines."""
    return f"{instance.pool}-box-{number}"


def plan_box(reader: Reader, instance: Instance, number: int) -> BoxSpec | None:
    """The box that a new line needs, like the first of the instance's own; None: staff have added it before.

    Raises:
        LineBoxMissing: the instance's boxes are tokens, of which wops cannot make one.
    """
    name = box_name(instance, number)
    if find_box(reader, name) is not None:
        return None
    own = list_own_boxes(reader, instance.instance_id)
    if not own:
        return BoxSpec(name=name, pool=instance.pool, owner=instance.instance_id)
    first = own[0].spec
    if first.driver != "software":
        raise LineBoxMissing(
            f"The boxes of the instance are tokens: add the box {name} to its pool first.",
            box=name,
            pool=instance.pool,
        )
    return replace(first, name=name, drained=False, lent_to=None, lent_until=None)


def _time(value: object, field: str) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise LinePeriodUnfit("A time is written like 2027-01-01T00:00:00Z.", field=field) from None
