"""`wops admin probe`: whether instances are isolated from each other, tried out."""

from __future__ import annotations

from typing import Final

import typer

from app.command.call import Call, changes, reads

commands = typer.Typer(help="Whether instances are isolated from each other.", invoke_without_command=True)

_COLUMNS: Final = ("started_at", "finished_at", "held")


@commands.callback()
@reads
def list_probes(call: Call, context: typer.Context) -> None:
    """Whether instances are isolated from each other: the last rounds; `run` tries it now."""
    if context.invoked_subcommand is None:
        call.show_table(call.api.get("/admin/v1/probes/isolation").list(), _COLUMNS)


@commands.command("run")
@changes
def run_probe(call: Call) -> None:
    """Try the isolation now."""
    call.show(call.api.post("/admin/v1/probes/isolation:run", {}).object())
