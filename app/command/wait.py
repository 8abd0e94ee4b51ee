"""Waiting for an operation, with its progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.command.output import err
from app.core.clock import SystemClock
from app.core.errors import DomainError
from app.core.json import JsonObject
from app.core.net import ApiSession

_ASK_EVERY_SECONDS: Final = 0.05


class OperationFailed(DomainError):
    """The platform gave an operation up."""

    code = "operation_failed"


def wait_for_operation(api: ApiSession, operation_id: str, *, quiet: bool = False) -> JsonObject:
    """Ask until an operation has ended, showing its steps.

    Raises:
        OperationFailed: it was given up; the platform says why.
    """
    clock = SystemClock()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=quiet, transient=True) as progress:
        task = progress.add_task(operation_id, total=None)
        while True:
            operation = api.get(f"/admin/v1/operations/{operation_id}").object()
            steps = cast(Sequence[JsonObject], operation["steps"])
            done = sum(step["state"] == "succeeded" for step in steps)
            current = next((str(step["name"]) for step in steps if step["state"] != "succeeded"), "done")
            progress.update(task, total=len(steps), completed=done, description=current)
            if operation["state"] == "succeeded":
                return operation
            if operation["state"] == "failed":
                raise OperationFailed(str(operation["error_message"]), reason=str(operation["error_code"]))
            clock.sleep(_ASK_EVERY_SECONDS)
