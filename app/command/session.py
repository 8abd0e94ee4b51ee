"""Reaching a running platform: by address and token, or by the control socket of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from app.command.output import fail_usage
from app.core.errors import InputInvalid
from app.core.net import ApiSession, NetProtocolError, Reply
from app.settings import Settings

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", help="Address of the platform; without it, the control socket of the data directory."
    ),
]
TokenOption = Annotated[
    str | None, typer.Option("--token", help="Staff token (or WOPS_STAFF_TOKEN); goes with --url.")
]
DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Data directory (default .wops).")]


def settings_for(data_dir: Path | None = None, **given: object) -> Settings:
    """Settings with what the command line says put over them; None leaves them alone.

    Raises:
        typer.Exit: an option or a variable is wrong; it has been named.
    """
    chosen = {name: value for name, value in {"data_dir": data_dir, **given}.items() if value is not None}
    try:
        return Settings(**chosen)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0])
        where = f"--{name.replace('_', '-')}" if name in chosen else f"WOPS_{name.upper()}"
        fail_usage(where, first["msg"])


def admin_session(url: str | None, token: str | None, data_dir: Path | None) -> ApiSession:
    """A session as staff."""
    settings = settings_for(data_dir, url=url, staff_token=token)
    if settings.url is not None:
        return ApiSession(settings.url, bearer=settings.staff_token)
    return ApiSession("http://control", socket=settings.control_socket)


def served_address(url: str | None, data_dir: Path | None) -> str:
    """Where the platform serves instances: as given, or as the one of the data directory has written down."""
    settings = settings_for(data_dir, url=url)
    if settings.url is not None:
        return settings.url
    try:
        return settings.address_file.read_text("utf-8").strip()
    except OSError:
        return f"http://{settings.host}:{settings.port}"


def version_in(reply: Reply) -> str:
    """The ETag of what was read, for the change that is based on it.

    Raises:
        NetProtocolError: there is none.
    """
    etag = reply.headers.get("etag")
    if etag is None:
        raise NetProtocolError("The answer has no ETag.")
    return etag


def server_of(api: ApiSession, name: str) -> tuple[str, str]:
    """The path and the ETag of a server given by name or id.

    Raises:
        InputInvalid: there is none.
    """
    key = name if name.startswith("srv_") else None
    for found in api.get_all("/admin/v1/servers") if key is None else ():
        if found["name"] == name:
            key = str(found["server_id"])
    if key is None:
        raise InputInvalid(f"There is no server {name}; `wops admin server list` shows all.", field="server")
    path = f"/admin/v1/servers/{key}"
    return path, version_in(api.get(path))


def instance_id_of(api: ApiSession, name: str) -> str:
    """The id of an instance given by name or id.

    Raises:
        InputInvalid: there is none.
    """
    if name.startswith("ins_"):
        return name
    for found in api.get_all("/admin/v1/instances"):
        if found["name"] == name:
            return str(found["instance_id"])
    raise InputInvalid(
        f"There is no instance {name}; `wops admin instance list` shows all.", field="instance"
    )
