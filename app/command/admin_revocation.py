"""`wops admin revocation`: lists of certificates that their authorities have taken back."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated

import typer

from app.command.call import Call, InstanceArgument, changes, reads

commands = typer.Typer(
    no_args_is_help=True, help="Revocation lists of authorities that API clients are pinned to."
)

_PEM = b"-----BEGIN "


@commands.command("put")
@changes
def put_list(
    call: Call,
    instance: InstanceArgument,
    file: Annotated[Path, typer.Argument(help="The list, PEM or DER.", metavar="FILE")],
) -> None:
    """Put an authority's newest list; what is on it is refused within a second."""
    content = file.read_bytes()
    text = content.decode("ascii", "replace") if _PEM in content else base64.b64encode(content).decode()
    call.show(call.api.put(f"{call.instance(instance)}/revocation-lists", {"list": text}).object())


@commands.command("list")
@reads
def list_lists(call: Call, instance: InstanceArgument) -> None:
    """List revocation lists; once one is outdated, its authority's certificates are refused."""
    rows = call.api.get(f"{call.instance(instance)}/revocation-lists").list()
    call.show_table(rows, ("issuer", "number", "entries", "next_update", "outdated", "authority"))


@commands.command("remove")
@changes
def remove_list(
    call: Call,
    instance: InstanceArgument,
    authority: Annotated[str, typer.Argument(help="Id of the authority, as listed.", metavar="AUTHORITY")],
) -> None:
    """Ask for no list of an authority any more: what it has revoked comes in again."""
    call.api.delete(f"{call.instance(instance)}/revocation-lists/{authority}")
    call.show({"removed": authority})
