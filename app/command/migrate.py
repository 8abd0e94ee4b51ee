"""`wops migrate`: every database of a data directory to the newest schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress

from app.command.output import err, out
from app.container import DataDirectoryInUse
from app.core.errors import InputInvalid
from app.core.lock import PRIVATE_UMASK, locked, make_private
from app.core.migrate import head, upgrade
from app.settings import Settings


def migrate_all(settings: Settings) -> int:
    """Migrate the platform and every instance database; returns how many changed. Safe to repeat and to kill.

    Raises:
        InputInvalid: there is no platform database to migrate.
        DataDirectoryInUse: a platform serves the directory; it migrates at its start.
        OSError: the directory or its lock cannot be opened.
    """
    data_dir = settings.data_dir.resolve()
    if not settings.platform_file.is_file():
        raise InputInvalid(
            f"There is no platform database in {data_dir}; `wops up` makes one.", field="data_dir"
        )
    os.umask(PRIVATE_UMASK)
    make_private(data_dir)
    with _alone(data_dir):
        return _migrate(settings.platform_url, sorted(_instance_files(data_dir / "instances")))


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    try:
        with locked(data_dir):
            yield
    except BlockingIOError:
        raise DataDirectoryInUse(
            f"Another wops works on {data_dir}. Stop it first; `wops up` migrates by itself when it starts."
        ) from None


def _migrate(platform_url: str, files: list[Path]) -> int:
    changed = int(upgrade(platform_url, "platform"))
    with Progress(console=err, transient=True) as progress:
        for file in progress.track(files, description="instances"):
            changed += int(upgrade(f"sqlite:///{file}", "instance"))
    out.print(
        f"{len(files) + 1} databases, {changed} changed;"
        f" platform at {head('platform')}, instances at {head('instance')}"
    )
    return changed


def _instance_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("ins_*.db") if path.is_file()] if folder.is_dir() else []
