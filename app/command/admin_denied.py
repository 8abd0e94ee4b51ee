"""`wops admin denied`: networks from which nobody is answered."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from app.command.call import Call, Reason, changes, reads
from app.core.clock import SystemClock
from app.core.errors import InputInvalid
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Networks from which nobody is answered.")

_MOST_HOURS = 24 * 365


@commands.command("add")
@changes
def deny_network(
    call: Call,
    network: Annotated[str, typer.Argument(help="Like 203.0.113.0/24.", metavar="NETWORK")],
    reason: Reason,
    hours: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_HOURS, help="For how long; until it is removed if left out."),
    ] = None,
    confirm_wide_network: Annotated[bool, typer.Option(help="Deny networks like 10.0.0.0/8.")] = False,
) -> None:
    """Answer nobody from a network, at every load balancer within a second."""
    body: JsonObject = {
        "network": network,
        "reason": reason,
        "confirm_wide_network": confirm_wide_network,
    }
    if hours is not None:
        body["until"] = (SystemClock().now() + timedelta(hours=hours)).isoformat()
    call.show(call.api.post("/admin/v1/denied-networks", body).object())


@commands.command("list")
@reads
def list_denied(call: Call) -> None:
    """List denied networks."""
    rows = call.api.get_all("/admin/v1/denied-networks")
    call.show_table(rows, ("network", "reason", "until", "in_force", "denied_id"))


@commands.command("remove")
@changes
def allow_network(
    call: Call,
    network: Annotated[str, typer.Argument(help="The network, or its id.", metavar="NETWORK")],
) -> None:
    """Answer a network again."""
    for found in call.api.get_all("/admin/v1/denied-networks"):
        if network in (found["network"], found["denied_id"]):
            call.api.delete(f"/admin/v1/denied-networks/{found['denied_id']}")
            call.show({"removed": found["network"]})
            return
    raise InputInvalid(f"{network} is not denied; `wops admin denied list` shows all.", field="network")
