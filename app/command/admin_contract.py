"""`wops admin contract`: dated contract rows of an instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from app.command.call import Call, InstanceArgument, changes, reads
from app.core.errors import InputInvalid
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Dated contract rows of an instance.")

_COLUMNS = (
    "kind",
    "edition",
    "lines",
    "overage",
    "effective_from",
    "effective_until",
    "limits",
    "contract_id",
)


@commands.command("add")
@changes
def add_contract(
    call: Call,
    instance: InstanceArgument,
    edition: Annotated[
        str, typer.Option(help="datacenter, dedicated, high_performance or high_availability.")
    ],
    lines: Annotated[int | None, typer.Option(help="The edition's least if left out.")] = None,
    overage: Annotated[str, typer.Option(help="grace or block.")] = "grace",
    temporary: Annotated[
        bool, typer.Option("--temporary", help="Lines besides the base contract; needs --until.")
    ] = False,
    effective_from: Annotated[
        str | None, typer.Option("--from", help="Like 2027-01-01T00:00:00Z; now if left out.")
    ] = None,
    effective_until: Annotated[
        str | None, typer.Option("--until", help="Like 2027-02-01T00:00:00Z; open-ended if left out.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="Negotiated: activations=N or web_service_calls=N a month.", metavar="METER=N"),
    ] = None,
    country: Annotated[
        list[str] | None, typer.Option(help="Where the instance may lie; as before if left out.")
    ] = None,
) -> None:
    """Add a contract row, in force from now on unless told otherwise; a limit it raises lifts a refusal at once."""
    given: JsonObject = {
        "lines": lines,
        "effective_from": effective_from,
        "effective_until": effective_until,
        "limits": _limits(limit) if limit else None,
        "countries": list(country) if country else None,
    }
    body: JsonObject = {"edition": edition, "overage": overage}
    body["kind"] = "temporary_lines" if temporary else "base"
    body |= {name: value for name, value in given.items() if value is not None}
    call.show(call.api.post(f"{call.instance(instance)}/contracts", body).object())


@commands.command("list")
@reads
def list_contracts(
    call: Call,
    instance: InstanceArgument,
) -> None:
    """List an instance's contract rows."""
    rows = call.api.get(f"{call.instance(instance)}/contracts").list()
    call.show_table(rows, _COLUMNS)


@commands.command("withdraw")
@changes
def withdraw_contract(
    call: Call,
    instance: InstanceArgument,
    contract_id: Annotated[str, typer.Argument(help="Id of the row.", metavar="CONTRACT")],
) -> None:
    """Take a contract row back before it begins; one that is in force, or has been, stays."""
    call.api.delete(f"{call.instance(instance)}/contracts/{contract_id}")
    call.show({"withdrawn": contract_id})


def _limits(given: Sequence[str]) -> JsonObject:
    """Amounts by meter.

    Raises:
        InputInvalid: one is not written `METER=N`.
    """
    limits: JsonObject = {}
    for each in given:
        meter, _, amount = each.partition("=")
        if not (meter and amount.isascii() and amount.isdigit()):
            raise InputInvalid(f"--limit {each!r}: write it like activations=1000.", field="limit")
        limits[meter] = int(amount)
    return limits
