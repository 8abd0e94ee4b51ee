"""Reaching a running platform: by address and token, or by the control socket of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.core.errors import InputInvalid
from app.core.net import ApiSession
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
    """Settings with what the command line says put over them; None leaves them alone."""
    chosen = {name: value for name, value in {"data_dir": data_dir, **given}.items() if value is not None}
    return Settings(**chosen)  # type: ignore[arg-type]


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
