"""Which processes of lines there are to be, and what is to be done about those that there are. Pure.

Frozen and waiting lines that are wanted are left alone: the runner starts again what has ended, and whoever watches the
fleet decides about what hangs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.core.ids import InstanceId, LineId
from tenancy.line.record import ServedInstance
from tenancy.runner.port import LineSeen, LineState

Verb = Literal["ensure", "drain", "stop"]

_MAY_HAVE_REQUESTS: Final[frozenset[LineState]] = frozenset({"ready", "starting", "draining"})
"""Others finish nothing: they are ended at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLine:
    """A line that is to run.

    Attributes:
        instances: whom it serves, in the order of their ids.
        share: among how many lines the connections to its database server are divided.
    """

    line_id: LineId
    instances: tuple[tuple[InstanceId, str], ...]
    share: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAction:
    """What is done about one line."""

    verb: Verb
    line_id: LineId


def want_lines(served: Sequence[ServedInstance]) -> dict[LineId, WantedLine]:
    """The lines that are to run, and whom each serves.

    Frozen and ended instances are served, too: their lines say so.
    """
    found: dict[LineId, list[tuple[InstanceId, str]]] = {}
    shares: dict[LineId, int] = {}
    for instance in sorted(served, key=lambda each: each.instance_id):
        for line in instance.lines:
            found.setdefault(line.line_id, []).append((instance.instance_id, instance.name))
            shares[line.line_id] = len(instance.lines)
    return {
        line_id: WantedLine(line_id=line_id, instances=tuple(whom), share=shares[line_id])
        for line_id, whom in found.items()
    }


def plan_lines(
    wanted: Collection[LineId], seen: Mapping[LineId, LineSeen], *, leaving: Collection[LineId] = ()
) -> tuple[LineAction, ...]:
    """What is to be done; nothing, once it has been done.

    Args:
        seen: how lines are.
        leaving: lines that are being ended already; one that drains and is not among them was told so by a control
            that is no more.
    """
    lacking = [
        LineAction(verb="ensure", line_id=each)
        for each in sorted(wanted)
        if (each not in seen or seen[each].state == "absent") and each not in leaving
    ]
    spare = [
        LineAction(verb="drain" if one.state in _MAY_HAVE_REQUESTS else "stop", line_id=line_id)
        for line_id, one in sorted(seen.items())
        if line_id not in wanted and line_id not in leaving and one.state != "absent"
    ]
    return (*lacking, *spare)
