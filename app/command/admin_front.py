"""`wops admin front`: load balancers, whether they are what they are to be, and what would change now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import typer

from app.command.call import Call, changes, reads
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Load balancers that this platform looks after.")

_COLUMNS = ("name", "running", "in_step", "applied", "wanted", "release", "problem", "reload_reason")


@commands.command("show")
@reads
def show_front(call: Call) -> None:
    """Show how load balancers are; with --json also until when certificates last, and the last plan."""
    found = call.api.get("/admin/v1/front").object()
    if call.as_json:
        call.show(found)
        return
    call.show_table(cast(Sequence[JsonObject], found["load_balancers"]), _COLUMNS)


@commands.command("plan")
@changes
def plan_front(call: Call) -> None:
    """Say what would change at each of them now; nothing is touched."""
    rows = call.api.post("/admin/v1/front:plan", {}).list()
    call.show_table(rows, ("name", "steps", "reload", "problem", "message"))
