"""`wops admin client`: API clients of an instance and what they are known by."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from app.command.call import Call, InstanceArgument, changes, reads
from app.command.edition import warn_without_web_services
from app.command.file_input import pem_in
from app.core.clock import SystemClock
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="API clients of an instance.")
certificate = typer.Typer(no_args_is_help=True, help="Certificates that an API client is known by.")
commands.add_typer(certificate, name="certificate")

ClientArgument = Annotated[str, typer.Argument(help="Id of the API client.", metavar="CLIENT")]
ForceFlag = Annotated[bool, typer.Option(help="Even if it is the last one that can come in.")]

_MOST_DAYS = 36_500


@commands.command("add")
@changes
def add_client(
    call: Call,
    instance: InstanceArgument,
    name: str,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, orders, licenses, admin; all but admin if left out.")
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=_MOST_DAYS, help="Until it is shut out; never if left out.")
    ] = None,
    rate_per_second: Annotated[
        int | None,
        typer.Option(min=1, help="Requests a second in the long run; the platform's own if left out."),
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="Requests at once, likewise.")] = None,
) -> None:
    """Add an API client; its secret is shown once."""
    path = call.instance(instance)
    body: JsonObject = {"name": name, "scopes": list(scope or ("read", "orders", "licenses"))}
    if expires_in_days is not None:
        body["expires_at"] = (SystemClock().now() + timedelta(days=expires_in_days)).isoformat()
    given: JsonObject = {"rate_per_second": rate_per_second, "burst": burst}
    body |= {name: value for name, value in given.items() if value is not None}
    call.show_secret(call.api.post(f"{path}/clients", body).object(), "client")
    warn_without_web_services(call, path)


@commands.command("list")
@reads
def list_clients(call: Call, instance: InstanceArgument) -> None:
    """List API clients; never their secrets."""
    rows = call.api.get(f"{call.instance(instance)}/clients").list()
    call.show_table(rows, ("username", "scopes", "last_used_at", "disabled_at", "expires_at", "client_id"))


@commands.command("rotate")
@changes
def rotate_client(
    call: Call,
    instance: InstanceArgument,
    client_id: ClientArgument,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=168, help="How long the old secret goes on; 0 ends it at once.")
    ] = 24,
) -> None:
    """Give an API client a new secret; the old one goes on beside it for a while."""
    made = call.api.post(f"{_path(call, instance, client_id)}:rotate", {"overlap_hours": overlap_hours})
    call.show_secret(made.object(), "client")


@commands.command("disable")
@changes
def disable_client(
    call: Call, instance: InstanceArgument, client_id: ClientArgument, force: ForceFlag = False
) -> None:
    """Shut an API client out, within a second."""
    call.show(call.api.post(f"{_path(call, instance, client_id)}:disable", {"force": force}).object())


@commands.command("enable")
@changes
def enable_client(call: Call, instance: InstanceArgument, client_id: ClientArgument) -> None:
    """Let an API client in again that was shut out, with the secrets and certificates it had."""
    call.show(call.api.post(f"{_path(call, instance, client_id)}:enable", {}).object())


@commands.command("remove")
@changes
def remove_client(
    call: Call, instance: InstanceArgument, client_id: ClientArgument, force: ForceFlag = False
) -> None:
    """Remove an API client with its secrets and certificates; it is out within a second."""
    call.api.delete(_path(call, instance, client_id), force=_flag(force))
    call.show({"removed": client_id})


@certificate.command("add")
@changes
def add_certificate(
    call: Call,
    instance: InstanceArgument,
    client_id: ClientArgument,
    file: Annotated[
        Path, typer.Argument(help="PEM: its own certificate, or, with --subject, its CA's.", metavar="FILE")
    ],
    subject: Annotated[
        str | None, typer.Option(help="What the CA must have certified, like CN=erp,O=ACME,C=DE.")
    ] = None,
) -> None:
    """Let an API client be known by a certificate of its own, or by its CA and subject."""
    body: JsonObject = {"certificate": pem_in(file)}
    if subject is not None:
        body["subject"] = subject
    call.show(call.api.post(f"{_path(call, instance, client_id)}/certificates", body).object())


@certificate.command("remove")
@changes
def remove_certificate(
    call: Call,
    instance: InstanceArgument,
    client_id: ClientArgument,
    certificate_id: Annotated[str, typer.Argument(help="Id of the certificate.", metavar="CERTIFICATE")],
    force: ForceFlag = False,
) -> None:
    """Let an API client no longer be known by a certificate."""
    path = f"{_path(call, instance, client_id)}/certificates/{certificate_id}"
    call.api.delete(path, force=_flag(force))
    call.show({"removed": certificate_id})


def _path(call: Call, instance: str, client_id: str) -> str:
    return f"{call.instance(instance)}/clients/{client_id}"


def _flag(value: bool) -> str:
    return "true" if value else "false"
