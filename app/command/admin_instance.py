"""`wops admin instance`: the life of an instance, from its making to the certificate of its erasure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command.call import Call, InstanceArgument, Reason, changes, reads
from app.command.edition import has_web_services
from app.command.received_file import received_file, write_checked
from app.command.session import version_in
from app.command.wait import wait_for_operation
from app.core.json import JsonObject
from app.core.net import NetProtocolError, NetRejected

commands = typer.Typer(no_args_is_help=True, help="Hosted License Centrals.")


@commands.command("add")
@changes
def add_instance(
    call: Call,
    name: str,
    customer_id: Annotated[str, typer.Option("--customer", help="Id of the customer.")],
    edition: Annotated[
        str, typer.Option(help="datacenter, dedicated, high_performance or high_availability.")
    ],
    lines: Annotated[int | None, typer.Option(help="As contracted; the edition's least if left out.")] = None,
    overage: Annotated[str, typer.Option(help="grace or block.")] = "grace",
    country: Annotated[
        str | None, typer.Option(help="Where its data lie, ISO 3166-1, like DE; the contract allows it then.")
    ] = None,
    firm_code: Annotated[
        int | None, typer.Option(help="The vendor's own; the next free universal one if left out.")
    ] = None,
) -> None:
    """Create an instance and wait until it is ready."""
    body: JsonObject = {"customer_id": customer_id, "edition": edition, "name": name, "overage": overage}
    given: JsonObject = {"lines": lines, "country": country, "firm_code": firm_code}
    given["countries"] = None if country is None else [country]
    body |= {name: value for name, value in given.items() if value is not None}
    ordered = call.api.post("/admin/v1/instances", body).object()
    done = wait_for_operation(call.api, str(ordered["operation_id"]), quiet=call.as_json)
    made = call.api.get(f"/admin/v1/instances/{done['object_id']}").object()
    call.show(made)
    if not call.as_json:
        _tell_next(call, made)


def _tell_next(call: Call, made: JsonObject) -> None:
    """Where it is, and that the access policy of a new instance lets nobody in."""
    name = made["name"]
    where = f"It is at {call.served_at().rstrip('/')}/{name}."
    if has_web_services(call, made):
        call.tell(
            f"{where} Nobody may call its web services yet:",
            f"wops admin client add {name} erp",
            f"wops admin access set {name} --method network --method basic --network 192.0.2.0/24",
        )
    else:
        call.tell(f"{where} Its edition has no web services: orders are placed through the admin API.")


@commands.command("list")
@reads
def list_instances(call: Call) -> None:
    """List instances."""
    rows = call.api.get_all("/admin/v1/instances")
    call.show_table(rows, ("name", "edition", "lines", "state", "firm_code", "instance_id"))


@commands.command("show")
@reads
def show_instance(call: Call, name: InstanceArgument) -> None:
    """Show an instance with this month's usage; without it, and why, where that is refused."""
    path = call.instance(name)
    found = call.api.get(path).object()
    try:
        usage: JsonObject = {"usage": call.api.get(f"{path}/usage").body}
    except NetRejected as refusal:
        usage = {"usage": None, "usage_refused": refusal.reason}
    call.show({**found, **usage})


@commands.command("freeze")
@changes
def freeze(call: Call, name: InstanceArgument) -> None:
    """Let nobody in, within a second; the data stay."""
    _change(call, name, "freeze", {})


@commands.command("unfreeze")
@changes
def unfreeze(call: Call, name: InstanceArgument) -> None:
    """Let callers in again."""
    _change(call, name, "unfreeze", {})


@commands.command("rename")
@changes
def rename(call: Call, name: InstanceArgument, new_name: str) -> None:
    """Change the first segment of its URLs; the old name goes to nobody else."""
    _change(call, name, "rename", {"name": new_name})


@commands.command("end")
@changes
def end(
    call: Call,
    name: InstanceArgument,
    reason: Reason,
    retention_days: Annotated[int, typer.Option(help="How long the data are kept.")] = 30,
) -> None:
    """Ask for the end of a contract; a second person has to approve it (`wops admin approval`)."""
    body: JsonObject = {"reason": reason, "retention_days": retention_days}
    call.show_asked(call.api.post(f"{call.instance(name)}:end", body).object())


@commands.command("reinstate")
@changes
def reinstate(
    call: Call,
    name: InstanceArgument,
    state: Annotated[str, typer.Option(help="What it becomes: ready or frozen.")] = "ready",
) -> None:
    """Take the end of a contract back, until the instance has been erased."""
    _change(call, name, "reinstate", {"state": state})


@commands.command("erase")
@changes
def erase(
    call: Call,
    name: InstanceArgument,
    reason: Reason,
    early: Annotated[bool, typer.Option("--early", help="Before the retention has ended.")] = False,
    legal_reason: Annotated[str, typer.Option(help="What an early erasure is based on.")] = "",
) -> None:
    """Ask for the erasure of an ended instance; a second person has to approve it."""
    body: JsonObject = {"reason": reason, "early": early, "legal_reason": legal_reason}
    call.show_asked(call.api.post(f"{call.instance(name)}:erase", body).object())


@commands.command("certificate")
@reads
def certificate(call: Call, name: InstanceArgument) -> None:
    """Show the certificate of an erasure."""
    call.show(call.api.get(f"{call.instance(name)}/erasure-certificate").object())


@commands.command("export")
@changes
def export(
    call: Call,
    name: InstanceArgument,
    to: Annotated[Path, typer.Option("--to", help="ZIP file to write; must not be there yet.")],
) -> None:
    """Export everything of an instance into a file."""
    path = f"{call.instance(name)}/exports"
    with received_file(to) as file:
        key = str(call.api.post(path, {}).object()["operation_id"])
        wait_for_operation(call.api, key, quiet=call.as_json)
        digest = _digest_of(call, path, key)
        size = write_checked(file, call.api.stream(f"{path}/{key}/file"), sha256=digest)
    call.show({"export_id": key, "file": str(to), "size_bytes": size, "sha256": digest})


def _digest_of(call: Call, path: str, export_id: str) -> str:
    for each in call.api.get(path).list():
        if each["export_id"] == export_id:
            return str(each["sha256"])
    raise NetProtocolError(f"The platform does not list its export {export_id}.")


def _change(call: Call, name: str, verb: str, body: JsonObject) -> None:
    path = call.instance(name)
    etag = version_in(call.api.get(path))
    call.show(call.api.post(f"{path}:{verb}", body, if_match=etag).object())
