"""`wops admin host`: host names of instances and of the platform, with their certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command.call import Call, changes, reads
from app.command.file_input import pem_in
from app.command.session import version_in
from app.core.errors import InputInvalid
from app.core.json import JsonObject

commands = typer.Typer(no_args_is_help=True, help="Own host names and their certificates.")

HostArgument = Annotated[str, typer.Argument(help="The host name, or its id.", metavar="HOST")]
CertificateFile = Annotated[
    Path, typer.Option("--certificate", help="PEM file: the host's certificate, then those that certify it.")
]
KeyFile = Annotated[Path, typer.Option("--key", help="PEM file: its private key, without a password.")]
InstanceOption = Annotated[
    str | None,
    typer.Option("--instance", help="Name or id of the instance; left out: the whole platform."),
]


@commands.command("add")
@changes
def add_host(
    call: Call,
    host: Annotated[str, typer.Argument(help="Like licenses.example.com.", metavar="HOST")],
    certificate: CertificateFile,
    key: KeyFile,
    instance: InstanceOption = None,
) -> None:
    """Have the load balancers answer under a host name of its own; make sure that it is the customer's."""
    where = "/admin/v1" if instance is None else call.instance(instance)
    body: JsonObject = {"host": host, "certificate": pem_in(certificate), "key": pem_in(key)}
    call.show(call.api.post(f"{where}/hosts", body).object())


@commands.command("list")
@reads
def list_hosts(call: Call, instance: InstanceOption = None) -> None:
    """List host names and how long their certificates last; never keys."""
    if instance is None:
        rows = call.api.get_all("/admin/v1/hosts")
    else:
        rows = call.api.get(f"{call.instance(instance)}/hosts").list()
    call.show_table(rows, ("host", "instance_id", "not_after", "expires_in_days", "warnings", "host_id"))


@commands.command("renew")
@changes
def renew_host(call: Call, host: HostArgument, certificate: CertificateFile, key: KeyFile) -> None:
    """Prove a host name with another certificate, at every load balancer within a second."""
    path = _path(call, host)
    body: JsonObject = {"certificate": pem_in(certificate), "key": pem_in(key)}
    etag = version_in(call.api.get(path))
    call.show(call.api.put(f"{path}/certificate", body, if_match=etag).object())


@commands.command("remove")
@changes
def remove_host(call: Call, host: HostArgument) -> None:
    """Answer under a host name no longer; its certificate and key are forgotten."""
    path = _path(call, host)
    call.api.delete(path, if_match=version_in(call.api.get(path)))
    call.show({"removed": host})


def _path(call: Call, host: str) -> str:
    """Where the admin API has a host name.

    Raises:
        InputInvalid: there is none.
    """
    for found in call.api.get_all("/admin/v1/hosts"):
        if host.lower() in (found["host"], found["host_id"]):
            return f"/admin/v1/hosts/{found['host_id']}"
    raise InputInvalid(f"There is no host {host}; `wops admin host list` shows all.", field="host")
