"""Boxes that are an instance's own, and whether the instance may give them up."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.db import Reader
from app.core.ids import InstanceId
from tenancy.box.errors import BoxStateUnfit
from tenancy.box.record import BoxRecord
from tenancy.box.repository import list_boxes
from tenancy.errors import OperationRunning
from tenancy.operation import repository as operations


def list_own_boxes(reader: Reader, instance_id: InstanceId) -> list[BoxRecord]:
    """Boxes of an instance's own pool."""
    return [box for box in list_boxes(reader) if box.spec.owner == instance_id]


def check_own_boxes(reader: Reader, instance_id: InstanceId) -> None:
    """Refuse to end an instance while others work with its boxes, or something is being done to these.

    Raises:
        BoxStateUnfit: a box is lent.
        OperationRunning: a box has an unfinished operation.
    """
    own = list_own_boxes(reader, instance_id)
    for box in own:
        if box.spec.lent_to is not None:
            raise BoxStateUnfit(
                "A box of the instance is lent; have it returned first.",
                box=box.name,
                lent_to=box.spec.lent_to,
            )
    check_undisturbed(reader, [box.name for box in own])


def check_undisturbed(reader: Reader, names: Sequence[str]) -> None:
    """Refuse to take boxes away from an operation.

    Raises:
        OperationRunning: a box has an unfinished one; the detail names it.
    """
    for name in names:
        found = operations.find_unfinished(reader, name)
        if found is not None:
            raise OperationRunning(
                "An operation is changing a box of the instance; wait for its end.",
                box=name,
                operation_id=found.operation_id,
                state=found.state,
            )
