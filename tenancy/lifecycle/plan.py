"""The long changes in the life of an instance, as plans for the operations engine. Pure.

end_instance     freeze ─► settle ─► export ─► retain          undone in reverse, down to the unfreezing
export_instance  export                                        undone: no file is left
erase_instance   inventory ─► drop_database ─► remove_firm_key ─► delete_exports ─► certify
                              point of no return: from here on it only goes forward
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tenancy.operation.plan import OperationPlan, StepPlan

_FILE_TIMEOUT: Final = timedelta(hours=1)
"""For reading a whole database: 100 MB take seconds. Our own decision."""
_DEADLINE: Final = timedelta(hours=24)
"""Outlasts a night in which a database server or the boxes are down. Our own decision."""

END_INSTANCE: Final = OperationPlan(
    kind="end_instance",
    steps=(
        StepPlan(name="freeze", undo=True),
        StepPlan(name="settle", may_skip=True, longest_wait=timedelta(hours=1)),
        StepPlan(name="export", timeout=_FILE_TIMEOUT, undo=True),
        StepPlan(name="retain", undo=True),
    ),
    deadline=_DEADLINE,
)
EXPORT_INSTANCE: Final = OperationPlan(
    kind="export_instance",
    steps=(StepPlan(name="export", timeout=_FILE_TIMEOUT, undo=True),),
    deadline=_DEADLINE,
)
ERASE_INSTANCE: Final = OperationPlan(
    kind="erase_instance",
    steps=(
        StepPlan(name="inventory", timeout=_FILE_TIMEOUT, undo=True),
        StepPlan(name="drop_database", timeout=_FILE_TIMEOUT),
        # Boxes that are gone for good must not hold the erasure up for ever; the certificate says what was skipped.
        StepPlan(name="remove_firm_key", may_skip=True),
        StepPlan(name="delete_exports"),
        StepPlan(name="certify"),
    ),
    deadline=_DEADLINE,
    point_of_no_return="drop_database",
)
