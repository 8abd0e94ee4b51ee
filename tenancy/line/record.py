"""Lines as values, and what may be done about them. Pure.

A temporary line's phases, led by its operations:

    planned ──► joining ──► active ──► leaving ──► ended ──► gone
    (nothing)   (process)   (in the front)  (process)  (nothing)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from app.core.ids import InstanceId, LineId
from editions.catalog import Edition
from tenancy.errors import LinesTooMany
from tenancy.line.errors import (
    LineEditionUnfit,
    LineLast,
    LineNotFound,
    LinePeriodUnfit,
    LineShared,
    LineStateUnfit,
    LineVersionConflict,
    LineWeightUnfit,
)
from tenancy.placement import MOST_LINES, SHARED_LINE, find_edition, line_names
from tenancy.record import Instance, InstanceState

LineUser = Literal["staff", "customer", "reconciler"]
"""Who takes a line out of service: whoever else puts it back should know."""
LinePhase = Literal["planned", "joining", "active", "leaving", "ended"]

SHARED_SET: Final = "shared"
"""Key of the lines that serve all instances of shared editions."""
DEFAULT_WEIGHT: Final = 100
MOST_WEIGHT: Final = 256
"""**Source:** HAProxy configuration manual 2.6, server option `weight`."""
_BACKDATING: Final = timedelta(minutes=5)
"""For clocks that differ. Our own decision."""
_FURTHEST: Final = timedelta(days=366)
"""A line that is ordered further ahead, or for longer, belongs into the contract. Our own decision."""
_WITH_PROCESS: Final = frozenset({"joining", "active", "leaving"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRecord:
    """A line of an instance.

    Attributes:
        number: 1 and up within its instance.
        phase: permanent lines are always `active`.
        out_by: who has taken it out of service, with `out_reason` and `out_since`; None: in service.
        contract_id: of a temporary line, with `starts_at`, `ends_at` and `server_id`.
        version: for If-Match; raised by every change.
    """

    line_id: LineId
    instance_id: InstanceId
    number: int
    weight: int = DEFAULT_WEIGHT
    phase: LinePhase = "active"
    out_by: LineUser | None = None
    out_reason: str | None = None
    out_since: datetime | None = None
    contract_id: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    server_id: str | None = None
    version: int = 1

    @property
    def is_temporary(self) -> bool:
        """Whether it ends by itself."""
        return self.ends_at is not None

    @property
    def in_service(self) -> bool:
        """Whether the front sends it requests, if it has any weight."""
        return self.phase == "active" and self.out_by is None

    @property
    def takes_requests(self) -> bool:
        """Whether an instance would be served with this line alone."""
        return self.in_service and self.weight > 0

    @property
    def has_process(self) -> bool:
        """Whether somebody runs it."""
        return self.phase in _WITH_PROCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedLine:
    """A line as the front sees it.

    Attributes:
        in_service: False: it gets no new request, and finishes what it has.
    """

    line_id: LineId
    number: int
    weight: int
    in_service: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedInstance:
    """An instance and who serves it; frozen and ended ones too: their lines say so.

    Attributes:
        line_set: `shared`, or the instance's id.
        lines: by number.
    """

    instance_id: InstanceId
    name: str
    state: InstanceState
    line_set: str
    lines: tuple[ServedLine, ...]


def lines_of(instance: Instance, stored: Mapping[int, LineRecord]) -> tuple[LineRecord, ...]:
    """All lines of an instance, by number: permanent ones, of which something may be stored, and temporary ones."""
    edition = find_edition(instance.edition)
    names = line_names(instance.placement_name, edition, lines=instance.lines)
    if edition.server == "shared":
        return (LineRecord(line_id=SHARED_LINE, instance_id=instance.instance_id, number=1),)
    found = {
        number: LineRecord(line_id=name, instance_id=instance.instance_id, number=number)
        for number, name in enumerate(names, start=1)
    }
    known = {number: each for number, each in stored.items() if each.is_temporary or number in found}
    return tuple(each for _, each in sorted({**found, **known}.items()))


def serve(instance: Instance, lines: Sequence[LineRecord]) -> ServedInstance:
    """What the front has to know of an instance."""
    is_shared = find_edition(instance.edition).server == "shared"
    return ServedInstance(
        instance_id=instance.instance_id,
        name=instance.name,
        state=instance.state,
        line_set=SHARED_SET if is_shared else instance.instance_id,
        lines=tuple(
            ServedLine(
                line_id=each.line_id, number=each.number, weight=each.weight, in_service=each.in_service
            )
            for each in lines
            if each.has_process
        ),
    )


def find_line(lines: Sequence[LineRecord], line_id: LineId) -> LineRecord:
    """The line of that id.

    Raises:
        LineNotFound: the instance has none.
    """
    for each in lines:
        if each.line_id == line_id:
            return each
    raise LineNotFound("The instance has no such line.")


def check_own(edition: Edition) -> None:
    """Refuse to change a line that others are served by as well.

    Raises:
        LineShared: the edition has no lines of its own.
    """
    if edition.server == "shared":
        raise LineShared("The line serves many instances; it is not changed for one of them.")


def check_version(line: LineRecord, version: int | None) -> None:
    """Refuse a change that is based on another version; None is based on none.

    Raises:
        LineVersionConflict: it has been changed meanwhile.
    """
    if version is not None and line.version != version:
        raise LineVersionConflict("The line has been changed meanwhile; read it again.", version=line.version)


def check_active(line: LineRecord) -> None:
    """Refuse to change a line that is not there yet, or on its way out.

    Raises:
        LineStateUnfit: its phase.
    """
    if line.phase != "active":
        raise LineStateUnfit(f"The line is {line.phase}.", line=line.line_id, phase=line.phase)


def check_weight(weight: int) -> int:
    """Return the weight if it is one.

    Raises:
        LineWeightUnfit: not 0 to 256.
    """
    if not 0 <= weight <= MOST_WEIGHT:
        raise LineWeightUnfit(f"A weight is a number from 0 to {MOST_WEIGHT}.", field="weight")
    return weight


def check_not_last(lines: Sequence[LineRecord], without: LineRecord) -> None:
    """Refuse to leave an instance without a line that takes requests.

    Args:
        lines: all of the instance, as they are.
        without: the one that shall take no more; if it takes none now, nothing is lost.

    Raises:
        LineLast: no other line takes requests.
    """
    others = (each for each in lines if each.number != without.number)
    if without.takes_requests and not any(each.takes_requests for each in others):
        raise LineLast("No other line of the instance takes requests.", line=without.line_id)


def take_out(line: LineRecord, *, by: LineUser, reason: str, now: datetime) -> LineRecord:
    """The line out of service."""
    return replace(line, out_by=by, out_reason=reason, out_since=line.out_since or now)


def put_back(line: LineRecord) -> LineRecord:
    """The line in service."""
    return replace(line, out_by=None, out_reason=None, out_since=None)


def check_period(starts_at: datetime | None, ends_at: datetime, *, now: datetime) -> None:
    """Refuse a time in which no temporary line can be.

    Args:
        starts_at: None for as soon as possible.

    Raises:
        LinePeriodUnfit: `detail["field"]` names the end of it that is wrong.
    """
    begins = starts_at or now
    for field, moment in (("starts_at", begins), ("ends_at", ends_at)):
        if moment.tzinfo is None:
            raise LinePeriodUnfit("A time needs a time zone.", field=field)
    if begins < now - _BACKDATING:
        raise LinePeriodUnfit("A temporary line cannot start in the past.", field="starts_at")
    if ends_at <= max(begins, now):
        raise LinePeriodUnfit("A temporary line ends after it starts, and not in the past.", field="ends_at")
    if ends_at > now + _FURTHEST:
        raise LinePeriodUnfit("A temporary line ends within a year.", field="ends_at")


def check_edition(edition: Edition) -> None:
    """Refuse temporary lines where there are none.

    Raises:
        LineEditionUnfit: the edition has a fixed number of lines.
    """
    if not edition.per_line:
        raise LineEditionUnfit(f"{edition.name_en} has no temporary lines.", edition=edition.key)


def next_number(instance: Instance, lines: Sequence[LineRecord]) -> int:
    """The smallest number above the permanent ones that no line has.

    Raises:
        LinesTooMany: nobody has more.
    """
    taken = {each.number for each in lines}
    number = instance.lines + 1
    while number in taken:
        number += 1
    if number > MOST_LINES:
        raise LinesTooMany(f"An instance has at most {MOST_LINES} lines.", maximum=MOST_LINES, lines=number)
    return number


def line_name(instance: Instance, number: int) -> LineId:
    """What a line of that number is called."""
    return LineId(f"{instance.placement_name}-{number}")
