"""`wops admin operation`: long-running changes from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command.call import Call, Reason, changes, reads
from app.command.wait import watch_operation
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Long-running changes.")

OperationArgument = Annotated[str, typer.Argument(help="Id of the operation.", metavar="OPERATION")]

_COLUMNS = ("operation_id", "kind", "object_id", "state", "error_code", "created_at")
_LOG_COLUMNS = ("number", "at", "event", "step", "message")


@commands.command("list")
@reads
def list_operations(
    call: Call,
    state: Annotated[
        str | None,
        typer.Option(help="queued, running, succeeded, failed, recovering, recovered or fatal."),
    ] = None,
    object_id: Annotated[
        str | None, typer.Option("--object", help="Id of what they change, e.g. of an instance.")
    ] = None,
) -> None:
    """List operations, oldest first."""
    given = {"state": state, "object_id": object_id}
    query = {name: value for name, value in given.items() if value is not None}
    call.show_table(call.api.get_all("/admin/v1/operations", **query), _COLUMNS)


@commands.command("show")
@reads
def show_operation(
    call: Call,
    operation_id: OperationArgument,
) -> None:
    """Show how far an operation is, and what can be decided about it."""
    call.show(call.api.get(_path(operation_id)).object())


@commands.command("log")
@reads
def show_log(
    call: Call,
    operation_id: OperationArgument,
) -> None:
    """Show what has happened in an operation."""
    lines: list[JsonObject] = []
    while page := call.api.get(f"{_path(operation_id)}/log", after=len(lines)).list():
        lines += page
    call.show_table(lines, _LOG_COLUMNS)


@commands.command("watch")
@reads
def watch(
    call: Call,
    operation_id: OperationArgument,
) -> None:
    """Follow an operation live until it has ended; status 1 unless it succeeded."""
    call.show(watch_operation(call.api, operation_id, quiet=call.as_json))


@commands.command("retry")
@changes
def retry(
    call: Call,
    operation_id: OperationArgument,
) -> None:
    """Try a failed operation again, from the step that failed."""
    call.show(call.api.post(f"{_path(operation_id)}:retry", {}).object())


@commands.command("skip")
@changes
def skip(
    call: Call,
    operation_id: OperationArgument,
    reason: Reason,
) -> None:
    """Go on without the step that failed, where that is possible."""
    call.show(call.api.post(f"{_path(operation_id)}:skip", {"reason": reason}).object())


@commands.command("cancel")
@changes
def cancel(
    call: Call,
    operation_id: OperationArgument,
    reason: Reason,
) -> None:
    """Stop an operation under way and undo what it has done."""
    call.show(call.api.post(f"{_path(operation_id)}:cancel", {"reason": reason}).object())


@commands.command("recover")
@changes
def recover(
    call: Call,
    operation_id: OperationArgument,
) -> None:
    """Undo a failed operation now."""
    call.show(call.api.post(f"{_path(operation_id)}:recover", {}).object())


def _path(operation_id: str) -> str:
    return f"/admin/v1/operations/{operation_id}"
