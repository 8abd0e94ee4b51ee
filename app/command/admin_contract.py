"""`wops admin contract`: dated contract rows of an instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from app.command.output import JsonFlag, failing_clearly, show, show_table
from app.command.session import DataDirOption, TokenOption, UrlOption, admin_session, instance_id_of
from app.core.errors import InputInvalid
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Dated contract rows of an instance.")

InstanceArgument = Annotated[str, typer.Argument(help="Name or id of the instance.", metavar="INSTANCE")]

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
def add_contract(
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
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Add a contract row, in force from now on unless told otherwise; a limit it raises lifts a refusal at once."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
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
        path = f"/admin/v1/instances/{instance_id_of(api, instance)}/contracts"
        show(api.post(path, body).object(), as_json=as_json)


@commands.command("list")
def list_contracts(
    instance: InstanceArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List an instance's contract rows."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        rows = api.get(f"/admin/v1/instances/{instance_id_of(api, instance)}/contracts").list()
        show_table(rows, _COLUMNS, as_json=as_json)


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
