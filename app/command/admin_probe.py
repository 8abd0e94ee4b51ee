"""`wops admin probe` and `wops admin access check`: what would happen, tried out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command.output import JsonFlag, failing_clearly, out, show, show_table
from app.command.session import DataDirOption, TokenOption, UrlOption, admin_session, instance_id_of
from app.core.json import JsonObject, JsonValue

commands = typer.Typer(help="Whether instances are isolated from each other.", invoke_without_command=True)

_COLUMNS = ("started_at", "finished_at", "held")


@commands.callback()
def list_probes(
    context: typer.Context,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Whether instances are isolated from each other: the last rounds; `run` tries it now."""
    if context.invoked_subcommand is not None:
        return
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show_table(api.get("/admin/v1/probes/isolation").list(), _COLUMNS, as_json=as_json)


@commands.command("run")
def run_probe(
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Try the isolation now."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.post("/admin/v1/probes/isolation:run", {}).object(), as_json=as_json)


def check_access(
    instance: Annotated[str, typer.Argument(help="Name or id of the instance.", metavar="INSTANCE")],
    address: Annotated[str, typer.Option(help="The caller's, as the platform sees it.")],
    username: Annotated[str | None, typer.Option(help="That the caller sends.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file that the caller shows.")] = None,
    scope: Annotated[str | None, typer.Option(help="That the route asks for, like orders.")] = None,
    wrong_secret: Annotated[
        bool, typer.Option("--wrong-secret", help="Assume that the caller's secret is wrong.")
    ] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask the access doctor whether a call would be let in, and why not."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {"address": address, "secret_is_right": not wrong_secret}
        pem = None if certificate is None else certificate.read_text("ascii", "replace")
        given: JsonObject = {"username": username, "certificate": pem, "scope": scope}
        body |= {name: value for name, value in given.items() if value is not None}
        path = f"/admin/v1/instances/{instance_id_of(api, instance)}/access:diagnose"
        _show_diagnosis(api.post(path, body).object(), as_json=as_json)


def _show_diagnosis(found: JsonObject, *, as_json: bool) -> None:
    if as_json:
        show(found, as_json=True)
        return
    findings: JsonValue = found["findings"]
    show({name: value for name, value in found.items() if name != "findings"}, as_json=False)
    for each in findings if isinstance(findings, list) else ():
        if isinstance(each, dict):
            line = f"{each['rule']}: {each['outcome']}: {each['saw']}. {each['advice']}"
            out.print(line, markup=False)
