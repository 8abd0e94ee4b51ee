"""`wops admin quota`: the ledger behind an instance's counters, and what two people set right."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from app.command.call import Call, InstanceArgument, Reason, changes, reads
from app.core.json import JsonObject

quota = typer.Typer(no_args_is_help=True, help="What is counted of an instance, entry by entry.")

MonthOption = Annotated[str, typer.Option("--month", help="In which it was counted, like 2026-11.")]

_COLUMNS: Final = ("at", "phase", "kind", "subject", "reference", "principal", "effect_id")
_PAGE: Final = 1000
"""As many entries as one answer may hold."""


@quota.command("ledger")
@reads
def list_ledger(
    call: Call,
    instance: InstanceArgument,
    month: MonthOption,
    meter: Annotated[str, typer.Option(help="activations or web_service_calls.")] = "activations",
) -> None:
    """List the entries that a month's counter is derived from, oldest first."""
    path = f"{call.instance(instance)}/ledger"
    rows: list[JsonObject] = []
    after = ""
    while page := call.api.get(path, period=month, meter=meter, after=after, limit=_PAGE).list():
        rows += page
        after = str(page[-1]["position"])
    call.show_table(rows, _COLUMNS)


@quota.command("correct")
@changes
def correct_quota(
    call: Call,
    instance: InstanceArgument,
    month: MonthOption,
    effect: Annotated[
        list[str],
        typer.Option(
            help="As in the ledger, phase counted; may be given several times.", metavar="EFFECT_ID"
        ),
    ],
    reason: Reason,
) -> None:
    """Ask to take counts back; a second person has to approve it."""
    body: JsonObject = {"month": month, "effect_ids": list(effect), "reason": reason}
    call.show_asked(call.api.post(f"{call.instance(instance)}/quota:correct", body).object())
