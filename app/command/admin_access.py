"""`wops admin access`: who may call an instance's web services, and who was refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from app.command.call import Call, InstanceArgument, changes, reads
from app.command.edition import warn_without_web_services
from app.command.file_input import pem_in
from app.command.output import line, out
from app.command.session import version_in
from app.core.errors import InputInvalid
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Who may call an instance's web services.")


@commands.command("show")
@reads
def show_access(call: Call, instance: InstanceArgument) -> None:
    """Show who may call an instance's web services."""
    call.show(call.api.get(f"{call.instance(instance)}/access").object())


@commands.command("set")
@changes
def set_access(
    call: Call,
    instance: InstanceArgument,
    method: Annotated[
        list[str] | None, typer.Option(help="network, basic, certificate; may be given several times.")
    ] = None,
    close: Annotated[bool, typer.Option("--close", help="No method at all: nobody comes in.")] = False,
    network: Annotated[
        list[str] | None, typer.Option(help="In CIDR form; may be given several times.")
    ] = None,
    network_scope: Annotated[
        list[str] | None,
        typer.Option(
            help="read, orders, licenses, admin: what whoever comes in by his network alone may do."
        ),
    ] = None,
    mode: Annotated[str | None, typer.Option(help="all or any of the methods.")] = None,
    confirm_wide_networks: Annotated[bool, typer.Option(help="Allow networks like 0.0.0.0/0.")] = False,
    force: Annotated[
        bool, typer.Option(help="Even if no API client, or nobody, could come in any more.")
    ] = False,
) -> None:
    """Change who may call an instance's web services, within a second; what is not named stays.

    Networks go with the method network, and with no other.
    """
    named: JsonObject = {
        "methods": [] if close else method,
        "networks": network,
        "network_scopes": network_scope,
        "mode": mode,
    }
    named = {name: value for name, value in named.items() if value is not None}
    if not named:
        raise InputInvalid("Name what is to be changed; --close lets nobody in.", field="method")
    if close and (method or network):
        raise InputInvalid("With --close there are neither methods nor networks.", field="method")
    path = f"{call.instance(instance)}/access"
    before = call.api.get(path)
    body = _changed(before.object(), named)
    # Networks that stay were confirmed when they were named.
    body["confirm_wide_networks"] = confirm_wide_networks or network is None
    body["force"] = force
    call.show(call.api.put(path, body, if_match=version_in(before)).object())
    warn_without_web_services(call, path.removesuffix("/access"))


def _changed(before: JsonObject, named: JsonObject) -> JsonObject:
    """A whole policy: as it was, but for what is named."""
    body: JsonObject = {name: before[name] for name in ("mode", "methods", "networks", "network_scopes")}
    body |= named
    if "network" not in cast(Sequence[str], body["methods"]) and "networks" not in named:
        body["networks"] = []
    if not body["network_scopes"]:
        # There were no networks, so it said nothing: the platform's own.
        del body["network_scopes"]
    return body


@commands.command("failures")
@reads
def list_failures(call: Call, instance: InstanceArgument) -> None:
    """List who was refused, from where and why, the latest first; at most a minute old."""
    rows = call.api.get(f"{call.instance(instance)}/access-failures").list()
    call.show_table(rows, ("last_at", "client", "network", "code", "failures", "first_at"))


@commands.command("check")
@reads
def check_access(
    call: Call,
    instance: InstanceArgument,
    address: Annotated[str, typer.Option(help="The caller's, as the platform sees it.")],
    username: Annotated[str | None, typer.Option(help="That the caller sends.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file that the caller shows.")] = None,
    scope: Annotated[str | None, typer.Option(help="That the route asks for, like orders.")] = None,
    wrong_secret: Annotated[
        bool, typer.Option("--wrong-secret", help="Assume that the caller's secret is wrong.")
    ] = False,
) -> None:
    """Ask the access doctor whether a call would be let in, and why not."""
    body: JsonObject = {"address": address, "secret_is_right": not wrong_secret}
    pem = None if certificate is None else pem_in(certificate)
    given: JsonObject = {"username": username, "certificate": pem, "scope": scope}
    body |= {name: value for name, value in given.items() if value is not None}
    found = call.api.post(f"{call.instance(instance)}/access:diagnose", body).object()
    if call.as_json:
        call.show(found)
        return
    call.show({name: value for name, value in found.items() if name != "findings"})
    for each in cast(Sequence[JsonObject], found["findings"]):
        out.print(line(f"{each['rule']}: {each['outcome']}: {each['saw']}. {each['advice']}"))
