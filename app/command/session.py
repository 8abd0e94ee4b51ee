"""Reaching a running platform: by address, or by the control socket of a data directory; with a token, or as local."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from app.command.file_input import secret_in
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
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File with a staff token in its first line (or WOPS_STAFF_TOKEN): who you are. Without one you are whoever"
        " may open the data directory.",
    ),
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
        # What our own checks say comes with a word of the library in front.
        fail_usage(where, first["msg"].removeprefix("Value error, "))


def admin_session(
    url: str | None, token_file: Path | None, data_dir: Path | None, *, reason: str | None = None
) -> ApiSession:
    """A session as staff.

    Args:
        token_file: a token that stood among the arguments would be seen by everybody on this machine.
            Whoever gives one is its owner, on the control socket, too.
        reason: why things are changed; goes with every change.

    Raises:
        InputInvalid, OSError: no token can be read from the file, it cannot be one, or the address is none.
    """
    given = None if token_file is None else secret_in(token_file)
    settings = settings_for(data_dir, url=url, staff_token=given)
    token = settings.staff_token
    if token is not None and not token.strip():
        raise InputInvalid("The staff token is empty. Leave WOPS_STAFF_TOKEN out to be local.", field="token")
    if settings.url is not None:
        session = ApiSession(settings.url, bearer=token, authority=settings.authority)
    else:
        session = ApiSession("http://control", socket=settings.control_socket, bearer=token)
    session.reason = reason
    return session


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


def id_of(api: ApiSession, noun: str, name: str) -> str:
    """The id of an instance, a server or a customer (`noun`) that is given by name or id; no name has an underscore.

    Raises:
        InputInvalid: there is none.
    """
    if name.startswith(_PREFIXES[noun]):
        return name
    for found in api.get_all(f"/admin/v1/{noun}s"):
        if found["name"] == name:
            return str(found[f"{noun}_id"])
    raise InputInvalid(f"There is no {noun} {name}; `wops admin {noun} list` shows all.", field=noun)


def path_of(api: ApiSession, noun: str, name: str) -> str:
    """Where the admin API has it; like `id_of`."""
    return f"/admin/v1/{noun}s/{id_of(api, noun, name)}"


_PREFIXES: Final = {"instance": "ins_", "server": "srv_", "customer": "cus_"}
