"""`wops admin server`: what instances are placed on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.command.call import Call, changes, reads
from app.command.file_input import pem_in, secret_in
from app.command.session import path_of, version_in
from app.core.errors import InputInvalid
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Servers that instances are placed on.")

ServerArgument = Annotated[str, typer.Argument(help="Name or id of the server.", metavar="SERVER")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="File with the administrator's password in its first line."),
]
CaFile = Annotated[
    Path | None, typer.Option("--tls-ca", help="PEM file of the authority of the server's certificate.")
]

_COLUMNS = ("name", "kind", "purpose", "site", "country", "used", "capacity", "state", "address", "server_id")


@commands.command("add")
@changes
def add_server(
    call: Call,
    name: str,
    kind: Annotated[str, typer.Option(help="sqlite or mariadb.")],
    purpose: Annotated[str, typer.Option(help="shared or dedicated.")],
    address: Annotated[
        str, typer.Option(help="mariadb: host:port; sqlite: a directory below the data directory.")
    ],
    site: Annotated[str, typer.Option(help="Data centre, for spreading lines.")],
    country: Annotated[str, typer.Option(help="ISO 3166-1, like DE.")] = "DE",
    capacity: Annotated[int, typer.Option(help="Instances it may hold; 1 if dedicated.")] = 1,
    admin_user: Annotated[
        str | None, typer.Option(help="mariadb: makes databases and users; you are asked for the password.")
    ] = None,
    password_file: PasswordFile = None,
    tls_ca: CaFile = None,
    shares_address: Annotated[
        bool, typer.Option("--shares-address", help="Another server is registered at this address, too.")
    ] = False,
) -> None:
    """Register a server; a database server is tried out first."""
    body: JsonObject = {
        "name": name,
        "kind": kind,
        "purpose": purpose,
        "site": site,
        "country": country,
        "capacity": capacity,
        "address": address,
        "shares_address": shares_address,
    }
    if admin_user is not None:
        body["admin_user"] = admin_user
        body["admin_password"] = _password(password_file)
    if tls_ca is not None:
        body["tls_ca"] = pem_in(tls_ca)
    call.show(call.api.post("/admin/v1/servers", body).object())


@commands.command("list")
@reads
def list_servers(
    call: Call,
) -> None:
    """List servers; never their passwords."""
    call.show_table(call.api.get_all("/admin/v1/servers"), _COLUMNS)


@commands.command("change")
@changes
def change_server(
    call: Call,
    server: ServerArgument,
    capacity: Annotated[int | None, typer.Option(help="Instances it may hold.")] = None,
    state: Annotated[
        str | None, typer.Option(help="active; draining: takes nothing new; retired: holds nothing.")
    ] = None,
    admin_user: Annotated[str | None, typer.Option(help="The new administrator.")] = None,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Ask for the administrator's new password.")
    ] = False,
    password_file: PasswordFile = None,
    tls_ca: CaFile = None,
) -> None:
    """Change a server; what is not named stays."""
    given = {"capacity": capacity, "state": state, "admin_user": admin_user}
    body: JsonObject = {name: value for name, value in given.items() if value is not None}
    if new_password or password_file is not None:
        body["admin_password"] = _password(password_file)
    if tls_ca is not None:
        body["tls_ca"] = pem_in(tls_ca)
    path = path_of(call.api, "server", server)
    etag = version_in(call.api.get(path))
    call.show(call.api.patch(path, body, if_match=etag).object())


@commands.command("remove")
@changes
def remove_server(
    call: Call,
    server: ServerArgument,
) -> None:
    """Remove a server that holds nothing; nothing is done on the server itself."""
    path = path_of(call.api, "server", server)
    call.api.delete(path, if_match=version_in(call.api.get(path)))
    call.show({"removed": path.rpartition("/")[2]})


def _password(file: Path | None) -> str:
    """The administrator's password: from a file or a prompt, never from the command line, which others can see.

    Raises:
        InputInvalid: there is neither a file with a password nor a terminal to ask at.
    """
    if file is not None:
        return secret_in(file)
    if not sys.stdin.isatty():
        raise InputInvalid("Nobody can be asked for the password: name a --password-file.", field="password")
    return str(typer.prompt("The administrator's password", hide_input=True, err=True))
