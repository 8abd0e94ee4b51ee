"""`wops migrate`: every database of a data directory to the newest schema."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from app.command.output import err, out
from app.core.migrate import head, upgrade
from app.settings import Settings


def migrate_all(settings: Settings) -> int:
    """Migrate the platform and every instance database; returns how many changed. Safe to repeat and to kill."""
    changed = int(upgrade(settings.platform_url, "platform"))
    files = sorted(_instance_files(settings.data_dir.resolve() / "instances"))
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
