"""The pair's files on one of the two, and the word that makes it step aside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import InputInvalid
from app.core.file import sync_directory
from lb.pair.check import check_text
from lb.pair.keepalived import keepalived_text
from lb.pair.settings import ASIDE, CONFIGURATION, PairSettings
from lb.pair.unit import UNIT, unit_text


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPlace:
    """Where the files of one of the two lie.

    Attributes:
        name: which of the two.
    """

    settings: PairSettings
    name: str

    @property
    def unit(self) -> Path:
        """The unit's file; systemd takes it from there."""
        return self.settings.directory / UNIT

    def write(self) -> None:
        """Write what keepalived reads and runs, and its unit; it is told by a reload (SIGHUP), or started.

        keepalived runs the check only if nobody but root may write to it, or to a folder above it.

        Raises:
            PairNodeUnknown: it is neither of the two.
            OSError: a file cannot be written.
        """
        settings = self.settings
        files = {
            settings.configuration: (keepalived_text(settings, self.name), 0o644),
            settings.check: (check_text(settings), 0o755),
            self.unit: (unit_text(settings, self.name), 0o644),
        }
        _make_directory(settings.directory)
        for path, (text, mode) in files.items():
            _write(path, text, mode)
        sync_directory(settings.directory)


def step_aside(directory: Path) -> None:
    """Have keepalived here give the addresses to the other one, and take none until `step_back`: a planned hand-over.

    Raises:
        InputInvalid: no pair lies there.
        OSError: the file cannot be written.
    """
    _say(directory, "1\n")


def step_back(directory: Path) -> None:
    """Let keepalived here take the addresses if the other one is lost; it does not take them from it.

    Raises:
        InputInvalid: no pair lies there.
        OSError: the file cannot be written.
    """
    _say(directory, "0\n")


def _say(directory: Path, text: str) -> None:
    # keepalived would never read it anywhere else, and the addresses would stay where they are.
    if not (directory / CONFIGURATION).is_file():
        raise InputInvalid(f"No pair lies in {directory}; `wops pair write` makes one.", field="directory")
    _write(directory / ASIDE, text, 0o644)


def _make_directory(directory: Path) -> None:
    """Open for the one who asks HAProxy, whatever the umask: keepalived runs the check as somebody else."""
    for each in (*reversed(directory.parents), directory):
        if not each.exists():
            each.mkdir()
            each.chmod(0o755)


def _write(path: Path, text: str, mode: int) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w") as file:
        # What the umask has taken away.
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
