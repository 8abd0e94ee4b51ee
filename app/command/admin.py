"""`wops admin`: what staff do from a terminal, through the admin API."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command import admin_contract, admin_instance, admin_operation, admin_probe, admin_server, staff
from app.command.output import JsonFlag, failing_clearly, show, show_secret, show_table
from app.command.session import DataDirOption, TokenOption, UrlOption, admin_session, instance_id_of
from app.command.wait import wait_for_operation
from app.core.json import JsonObject

commands = typer.Typer(
    no_args_is_help=True, help="Customers, instances, API clients, contracts and staff tokens."
)
customer = typer.Typer(no_args_is_help=True, help="Software vendors who rent hosting.")
instance = typer.Typer(no_args_is_help=True, help="Hosted License Centrals.")
client = typer.Typer(no_args_is_help=True, help="API clients of an instance.")
access = typer.Typer(no_args_is_help=True, help="Who may call an instance's web services.")
for _name, _group in {
    "customer": customer,
    "instance": instance,
    "client": client,
    "contract": admin_contract.commands,
    "access": access,
    "token": staff.token,
    "person": staff.person,
    "approval": staff.approval,
    "support": staff.support,
    "operation": admin_operation.commands,
    "server": admin_server.commands,
    "probe": admin_probe.commands,
}.items():
    commands.add_typer(_group, name=_name)
admin_instance.add_to(instance)
access.command("check")(admin_probe.check_access)

InstanceArgument = Annotated[str, typer.Argument(help="Name or id of the instance.", metavar="INSTANCE")]


@customer.command("add")
def add_customer(
    name: str,
    display_name: Annotated[str | None, typer.Option(help="As people write it.")] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Add a customer."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {"name": name, "display_name": display_name or name}
        show(api.post("/admin/v1/customers", body).object(), as_json=as_json)


@customer.command("list")
def list_customers(
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List customers."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        rows = api.get_all("/admin/v1/customers")
        show_table(rows, ("customer_id", "name", "display_name", "created_at"), as_json=as_json)


@instance.command("add")
def add_instance(
    name: str,
    customer_id: Annotated[str, typer.Option("--customer", help="Id of the customer.")],
    edition: Annotated[
        str, typer.Option(help="datacenter, dedicated, high_performance or high_availability.")
    ],
    lines: Annotated[int | None, typer.Option(help="As contracted; the edition's least if left out.")] = None,
    overage: Annotated[str, typer.Option(help="grace or block.")] = "grace",
    country: Annotated[
        str | None, typer.Option(help="Where its data lie, ISO 3166-1, like DE; the contract allows it then.")
    ] = None,
    firm_code: Annotated[
        int | None, typer.Option(help="The vendor's own; the next free universal one if left out.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Create an instance and wait until it is ready."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {"customer_id": customer_id, "edition": edition, "name": name, "overage": overage}
        given: JsonObject = {"lines": lines, "country": country, "firm_code": firm_code}
        given["countries"] = None if country is None else [country]
        body |= {name: value for name, value in given.items() if value is not None}
        ordered = api.post("/admin/v1/instances", body).object()
        done = wait_for_operation(api, str(ordered["operation_id"]), quiet=as_json)
        show(api.get(f"/admin/v1/instances/{done['object_id']}").object(), as_json=as_json)


@instance.command("list")
def list_instances(
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List instances."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        rows = api.get_all("/admin/v1/instances")
        show_table(rows, ("name", "edition", "lines", "state", "firm_code", "instance_id"), as_json=as_json)


@instance.command("show")
def show_instance(
    name: InstanceArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show an instance with this month's usage."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        found = api.get(f"/admin/v1/instances/{instance_id_of(api, name)}").object()
        show(
            {**found, "usage": api.get(f"/admin/v1/instances/{found['instance_id']}/usage").body},
            as_json=as_json,
        )


@client.command("add")
def add_client(
    instance: InstanceArgument,
    name: str,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, orders, licenses, admin; all but admin if left out.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Add an API client; its secret is shown once."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {"name": name, "scopes": list(scope or ("read", "orders", "licenses"))}
        made = api.post(f"/admin/v1/instances/{instance_id_of(api, instance)}/clients", body).object()
        show_secret(made, "client", as_json=as_json)


@client.command("list")
def list_clients(
    instance: InstanceArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List API clients; never their secrets."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        rows = api.get(f"/admin/v1/instances/{instance_id_of(api, instance)}/clients").list()
        show_table(rows, ("username", "scopes", "last_used_at", "disabled_at", "client_id"), as_json=as_json)


@client.command("rotate")
def rotate_client(
    instance: InstanceArgument,
    client_id: str,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=168, help="How long the old secret goes on; 0 ends it at once.")
    ] = 24,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Give an API client a new secret; the old one goes on beside it for a while."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        path = f"/admin/v1/instances/{instance_id_of(api, instance)}/clients/{client_id}:rotate"
        made = api.post(path, {"overlap_hours": overlap_hours}).object()
        show_secret(made, "client", as_json=as_json)


@client.command("disable")
def disable_client(
    instance: InstanceArgument,
    client_id: str,
    force: Annotated[bool, typer.Option(help="Even if it is the last one that can come in.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Shut an API client out, within a second."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        path = f"/admin/v1/instances/{instance_id_of(api, instance)}/clients/{client_id}:disable"
        show(api.post(path, {"force": force}).object(), as_json=as_json)


@access.command("show")
def show_access(
    instance: InstanceArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show who may call an instance's web services."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.get(f"/admin/v1/instances/{instance_id_of(api, instance)}/access").object(), as_json=as_json)


@access.command("set")
def set_access(
    instance: InstanceArgument,
    method: Annotated[
        list[str] | None,
        typer.Option(help="network, basic, certificate; may be given several times; none: closed."),
    ] = None,
    network: Annotated[list[str] | None, typer.Option(help="In CIDR form.")] = None,
    mode: Annotated[str, typer.Option(help="all or any of the methods.")] = "all",
    confirm_wide_networks: Annotated[bool, typer.Option(help="Allow networks like 0.0.0.0/0.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Change who may call an instance's web services, within a second."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        path = f"/admin/v1/instances/{instance_id_of(api, instance)}/access"
        version = api.get(path).object()["version"]
        body: JsonObject = {
            "mode": mode,
            "methods": list(method or ()),
            "networks": list(network or ()),
            "confirm_wide_networks": confirm_wide_networks,
        }
        show(api.put(path, body, if_match=f'"{version}"').object(), as_json=as_json)
