"""Operations on temporary lines: their steps. Pure.

add_line     wait ──► add_box ──► start_line ──► open          object: the line
remove_line  close ──► wait_idle ──► stop_line ──► remove_box  no way back from `stop_line` on

A line has its own box with the firm key, and its process, before the front sends it anything; it finishes what it has
before its process ends. Its contract row and its place on a server come with the order and go with the end of either
operation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tenancy.operation.plan import OperationPlan, StepPlan

_DEADLINE: Final = timedelta(hours=1)
"""As provisioning: an hour outlasts a restarted gateway."""
_BOX: Final = timedelta(hours=1)
"""As long as a box may take to join or leave (`tenancy.box.plan`)."""

ADD_LINE: Final = OperationPlan(
    kind="add_line",
    steps=(
        # As far ahead as a line can be ordered (`tenancy.line.record`).
        StepPlan(name="wait", longest_wait=timedelta(days=366)),
        StepPlan(name="add_box", undo=True, longest_wait=_BOX),
        StepPlan(name="start_line", undo=True, longest_wait=timedelta(minutes=10)),
        StepPlan(name="open", undo=True, longest_wait=timedelta(minutes=10)),
    ),
    deadline=_DEADLINE,
)
REMOVE_LINE: Final = OperationPlan(
    kind="remove_line",
    steps=(
        StepPlan(name="close", undo=True),
        StepPlan(name="wait_idle", longest_wait=timedelta(minutes=10)),
        StepPlan(name="stop_line", longest_wait=timedelta(minutes=10)),
        # A box that is dead for good gives nothing back; staff say so.
        StepPlan(name="remove_box", may_skip=True, longest_wait=_BOX),
    ),
    deadline=_DEADLINE,
    point_of_no_return="stop_line",
)
