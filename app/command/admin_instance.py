"""`wops admin instance freeze|unfreeze|rename|end|erase|certificate|export`: the life of an instance."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated

import typer

from app.command.output import JsonFlag, failing_clearly, show
from app.command.session import (
    DataDirOption,
    TokenOption,
    UrlOption,
    admin_session,
    instance_id_of,
    version_in,
)
from app.command.wait import wait_for_operation
from app.core.json import JsonObject
from app.core.net import ApiSession

InstanceArgument = Annotated[str, typer.Argument(help="Name or id of the instance.", metavar="INSTANCE")]
Reason = Annotated[str, typer.Option(help="Why; stands in the audit log.")]


def freeze(
    name: InstanceArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Let nobody in, within a second; the data stay."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(_changed(api, name, "freeze", {}), as_json=as_json)


def unfreeze(
    name: InstanceArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Let callers in again."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(_changed(api, name, "unfreeze", {}), as_json=as_json)


def rename(
    name: InstanceArgument,
    new_name: str,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Change the first segment of its URLs; the old name goes to nobody else."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(_changed(api, name, "rename", {"name": new_name}), as_json=as_json)


def end(
    name: InstanceArgument,
    reason: Reason,
    retention_days: Annotated[int, typer.Option(help="How long the data are kept.")] = 30,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask for the end of a contract; a second person has to approve it (`wops admin approval`)."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {"reason": reason, "retention_days": retention_days}
        show(api.post(f"{_path(api, name)}:end", body).object(), as_json=as_json)


def erase(
    name: InstanceArgument,
    reason: Reason,
    early: Annotated[bool, typer.Option("--early", help="Before the retention has ended.")] = False,
    legal_reason: Annotated[str, typer.Option(help="What an early erasure is based on.")] = "",
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask for the erasure of an ended instance; a second person has to approve it."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {"reason": reason, "early": early, "legal_reason": legal_reason}
        show(api.post(f"{_path(api, name)}:erase", body).object(), as_json=as_json)


def certificate(
    name: InstanceArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the certificate of an erasure."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.get(f"{_path(api, name)}/erasure-certificate").object(), as_json=as_json)


def export(
    name: InstanceArgument,
    to: Annotated[Path, typer.Option("--to", help="ZIP file to write; must not be there yet.")],
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Export everything of an instance into a file."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        path = _path(api, name)
        # Opened first: nobody exports a large instance to learn then that there is no place for it.
        with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            try:
                started = api.post(f"{path}/exports", {}).object()
                key = str(started["operation_id"])
                wait_for_operation(api, key, quiet=as_json)
                digest, size = hashlib.sha256(), 0
                for piece in api.stream(f"{path}/exports/{key}/file"):
                    size += sink.write(piece)
                    digest.update(piece)
            except BaseException:
                to.unlink(missing_ok=True)
                raise
        told: JsonObject = {
            "export_id": key,
            "file": str(to),
            "size_bytes": size,
            "sha256": digest.hexdigest(),
        }
        show(told, as_json=as_json)


def add_to(group: typer.Typer) -> None:
    """Put these commands into the group `instance`."""
    for command in (freeze, unfreeze, rename, end, erase, certificate, export):
        group.command(command.__name__)(command)


def _path(api: ApiSession, name: str) -> str:
    return f"/admin/v1/instances/{instance_id_of(api, name)}"


def _changed(api: ApiSession, name: str, verb: str, body: JsonObject) -> JsonObject:
    path = _path(api, name)
    return api.post(f"{path}:{verb}", body, if_match=version_in(api.get(path))).object()
