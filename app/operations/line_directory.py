"""Directories of lines in processes of their own. Whether a line lives there says its lock, gone with its process."""

from __future__ import annotations

import shutil
from pathlib import Path

from app.core.lock import locked
from tenancy.line_file import LINES_DIRECTORY


def list_lines(data_dir: Path) -> list[Path]:
    """Directories of all lines that there are, or were."""
    root = data_dir / LINES_DIRECTORY
    return sorted(each for each in root.iterdir() if each.is_dir()) if root.is_dir() else []


def is_running(directory: Path) -> bool:
    """Whether a process serves the line, ready, draining or frozen."""
    try:
        with locked(directory):
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        # It has been removed meanwhile.
        return False


def remove_line(directory: Path) -> bool:
    """Remove what a line has: it names databases and their passwords. False: a process serves it.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        with locked(directory):
            shutil.rmtree(directory)
    except BlockingIOError:
        return False
    return True
