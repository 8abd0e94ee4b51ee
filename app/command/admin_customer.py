"""`wops admin customer`: who rents instances."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command.call import Call, changes, reads
from app.command.session import path_of, version_in
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Software vendors who rent hosting.")


@commands.command("add")
@changes
def add_customer(
    call: Call,
    name: str,
    display_name: Annotated[str | None, typer.Option(help="As people write it.")] = None,
) -> None:
    """Add a customer."""
    body: JsonObject = {"name": name, "display_name": display_name or name}
    call.show(call.api.post("/admin/v1/customers", body).object())


@commands.command("list")
@reads
def list_customers(call: Call) -> None:
    """List customers."""
    rows = call.api.get_all("/admin/v1/customers")
    call.show_table(rows, ("customer_id", "name", "display_name", "created_at"))


@commands.command("change")
@changes
def change_customer(
    call: Call,
    customer: Annotated[str, typer.Argument(help="Name or id of the customer.", metavar="CUSTOMER")],
    display_name: Annotated[str, typer.Option(help="As people write it from now on.")],
) -> None:
    """Change how a customer's name is written; the short name stays."""
    path = path_of(call.api, "customer", customer)
    etag = version_in(call.api.get(path))
    call.show(call.api.patch(path, {"display_name": display_name}, if_match=etag).object())
