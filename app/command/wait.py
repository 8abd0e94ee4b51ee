"""Waiting for an operation, with its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.command.output import err, line
from app.core.clock import SystemClock
from app.core.errors import DomainError
from app.core.json import JsonObject
from app.core.net import ApiSession

_ASK_EVERY_SECONDS: Final = 0.05
_ENDED: Final = ("succeeded", "recovered", "fatal")


class OperationFailed(DomainError):
    """The platform gave an operation up."""

    code = "operation_failed"


def wait_for_operation(api: ApiSession, operation_id: str, *, quiet: bool = False) -> JsonObject:
    """Ask until an operation has succeeded, showing its steps.

    Raises:
        OperationFailed: it failed; the platform says why. What can be decided then, `wops admin operation` shows.
    """
    with _progress(operation_id, quiet=quiet) as show:
        while True:
            operation = api.get(f"/admin/v1/operations/{operation_id}").object()
            show(operation)
            if operation["state"] == "succeeded":
                return operation
            if operation["state"] in ("failed", *_ENDED):
                raise _failure(operation)
            SystemClock().sleep(_ASK_EVERY_SECONDS)


def watch_operation(api: ApiSession, operation_id: str, *, quiet: bool = False) -> JsonObject:
    """Show the log of an operation as it grows, until it has ended, or only a human can help.

    Raises:
        OperationFailed: it did not succeed; the platform says why.
    """
    path, after = f"/admin/v1/operations/{operation_id}", 0
    with _progress(operation_id, quiet=quiet) as show:
        while True:
            # The operation first: what its log says afterwards is then complete when it has ended.
            operation = api.get(path).object()
            for entry in api.get(f"{path}/log", after=after).list():
                after = cast(int, entry["number"])
                _print_entry(entry, quiet=quiet)
            show(operation)
            if operation["state"] == "succeeded":
                return operation
            if operation["state"] in _ENDED:
                raise _failure(operation)
            SystemClock().sleep(_ASK_EVERY_SECONDS)


def _print_entry(entry: JsonObject, *, quiet: bool) -> None:
    if not quiet:
        parts = (str(entry[name]) for name in ("at", "event", "step", "message"))
        err.print(line("  ".join(part for part in parts if part)))


@contextmanager
def _progress(operation_id: str, *, quiet: bool) -> Iterator[Callable[[JsonObject], None]]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    # Where there is no terminal, nothing can be wiped out again: an empty line would be left.
    is_off = quiet or not err.is_terminal
    with Progress(*columns, console=err, disable=is_off, transient=True) as progress:
        task = progress.add_task(operation_id, total=None)

        def show(operation: JsonObject) -> None:
            steps = cast(list[JsonObject], operation["steps"])
            done = cast(int, operation["steps_done"])
            current = next((str(step["name"]) for step in steps if step["state"] in _OPEN), "done")
            progress.update(task, total=len(steps), completed=done, description=current)

        yield show


_OPEN: Final = ("pending", "running", "failed", "undoing")


def _failure(operation: JsonObject) -> OperationFailed:
    message, state = operation["error_message"], operation["state"]
    return OperationFailed(
        str(message or f"The operation is {state}."), reason=str(operation["error_code"] or state)
    )
