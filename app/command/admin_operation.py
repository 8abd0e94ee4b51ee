"""`wops admin operation`: long-running changes from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command.output import JsonFlag, failing_clearly, show, show_table
from app.command.session import DataDirOption, TokenOption, UrlOption, admin_session
from app.command.wait import watch_operation
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Long-running changes.")

OperationArgument = Annotated[str, typer.Argument(help="Id of the operation.", metavar="OPERATION")]
Reason = Annotated[str, typer.Option("--reason", help="Why; for the log and the audit.", prompt=True)]

_COLUMNS = ("operation_id", "kind", "object_id", "state", "error_code", "created_at")
_LOG_COLUMNS = ("number", "at", "event", "step", "message")


@commands.command("list")
def list_operations(
    state: Annotated[
        str | None,
        typer.Option(help="queued, running, succeeded, failed, recovering, recovered or fatal."),
    ] = None,
    object_id: Annotated[
        str | None, typer.Option("--object", help="Id of what they change, e.g. of an instance.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List operations, oldest first."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        given = {"state": state, "object_id": object_id}
        query = {name: value for name, value in given.items() if value is not None}
        show_table(api.get_all("/admin/v1/operations", **query), _COLUMNS, as_json=as_json)


@commands.command("show")
def show_operation(
    operation_id: OperationArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how far an operation is, and what can be decided about it."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.get(_path(operation_id)).object(), as_json=as_json)


@commands.command("log")
def show_log(
    operation_id: OperationArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what has happened in an operation."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        lines: list[JsonObject] = []
        while page := api.get(f"{_path(operation_id)}/log", after=len(lines)).list():
            lines += page
        show_table(lines, _LOG_COLUMNS, as_json=as_json)


@commands.command("watch")
def watch(
    operation_id: OperationArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Follow an operation live until it has ended; status 1 unless it succeeded."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(watch_operation(api, operation_id, quiet=as_json), as_json=as_json)


@commands.command("retry")
def retry(
    operation_id: OperationArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Try a failed operation again, from the step that failed."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.post(f"{_path(operation_id)}:retry", {}).object(), as_json=as_json)


@commands.command("skip")
def skip(
    operation_id: OperationArgument,
    reason: Reason,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Go on without the step that failed, where that is possible."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.post(f"{_path(operation_id)}:skip", {"reason": reason}).object(), as_json=as_json)


@commands.command("cancel")
def cancel(
    operation_id: OperationArgument,
    reason: Reason,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Stop an operation under way and undo what it has done."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.post(f"{_path(operation_id)}:cancel", {"reason": reason}).object(), as_json=as_json)


@commands.command("recover")
def recover(
    operation_id: OperationArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Undo a failed operation now."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.post(f"{_path(operation_id)}:recover", {}).object(), as_json=as_json)


def _path(operation_id: str) -> str:
    return f"/admin/v1/operations/{operation_id}"
