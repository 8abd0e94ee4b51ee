"""`wops admin line`: who serves an instance, and how."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from app.command.call import Call, InstanceArgument, Reason, changes, reads
from app.command.session import version_in

commands = typer.Typer(
    no_args_is_help=True, help="Lines of an instance: weights, maintenance, temporary ones."
)

LineArgument = Annotated[str, typer.Argument(help="Id of the line, e.g. acme-ha-1.", metavar="LINE")]

_COLUMNS = (
    "line_id",
    "weight",
    "in_service",
    "out_by",
    "out_reason",
    "ends_at",
    "phase",
    "state",
    "running",
    "restarts",
    "problem",
)


@commands.command("list")
@reads
def list_lines(call: Call, instance: InstanceArgument) -> None:
    """List an instance's lines: what is wanted of them, and what is seen of them."""
    call.show_table(call.api.get(f"{call.instance(instance)}/lines").list(), _COLUMNS)


@commands.command("weight")
@changes
def weigh_line(
    call: Call,
    instance: InstanceArgument,
    line: LineArgument,
    weight: Annotated[int, typer.Argument(help="0 to 256, compared with the others; 0: no requests.")],
) -> None:
    """Change how many requests a line gets."""
    path, etag = _read(call, instance, line)
    call.show(call.api.patch(path, {"weight": weight}, if_match=etag).object())


@commands.command("drain")
@changes
def drain_line(call: Call, instance: InstanceArgument, line: LineArgument) -> None:
    """Take a line out of service; it finishes what it has."""
    path, etag = _read(call, instance, line)
    found = call.api.post(f"{path}:drain", {}, if_match=etag).object()
    call.show(found)
    seconds = found.get("idle_within_seconds")
    if seconds:
        call.tell(f"Nothing runs there any more in {seconds} s at the latest.")


@commands.command("restore")
@changes
def restore_line(call: Call, instance: InstanceArgument, line: LineArgument) -> None:
    """Put a line back into service."""
    path, etag = _read(call, instance, line)
    call.show(call.api.post(f"{path}:restore", {}, if_match=etag).object())


@commands.command("add")
@changes
def add_line(
    call: Call,
    instance: InstanceArgument,
    until: Annotated[str, typer.Option(help="When it ends by itself, like 2027-01-01T00:00:00Z.")],
    reason: Reason,
    start: Annotated[
        str | None,
        typer.Option("--from", help="From when on it takes requests; as soon as it can if left out."),
    ] = None,
) -> None:
    """Ask for a temporary line (High Availability only); a second person has to approve it."""
    body = {"starts_at": start, "ends_at": until, "reason": reason}
    call.show_asked(call.api.post(f"{call.instance(instance)}/lines", {**body}).object())


@commands.command("remove")
@changes
def remove_line(call: Call, instance: InstanceArgument, line: LineArgument) -> None:
    """End a temporary line now."""
    path, etag = _read(call, instance, line)
    call.show(call.api.delete(path, if_match=etag).object())


def _read(call: Call, instance: str, line: str) -> tuple[str, str]:
    """Where a line is, and its ETag."""
    path = f"{call.instance(instance)}/lines/{quote(line, safe='')}"
    return path, version_in(call.api.get(path))
