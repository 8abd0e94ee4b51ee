"""Files that outlive a power cut: whole or not at all, and nobody else's to read (mode 0600)."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def sync_directory(path: Path) -> None:
    """Make sure that new, renamed and removed names in a directory stay so."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that is not there yet; on the disk when the block ends. Its name is not synced.

    Raises:
        FileExistsError: something has this name.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def draft_of(path: Path) -> Path:
    """A name beside a file's that nobody else uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def put_in_place(draft: Path, path: Path) -> bool:
    """Give a finished file its name, never in the place of another; False if somebody was faster. The draft is gone."""
    try:
        # A link appears whole or not at all.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_directory(path.parent)
    return True


def create_file(path: Path, content: bytes) -> bool:
    """Write a whole file unless there is one; False if there is. Makes the directory (0700), too."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = draft_of(path)
    with new_file(draft) as file:
        file.write(content)
    return put_in_place(draft, path)


def replace_file(path: Path, content: bytes) -> None:
    """Write a whole file so that a reader, or a crash, sees the old one or the new one."""
    draft = path.with_name(path.name + ".new")
    # What lies under this name is the rest of a crash, or a stranger's link in a folder that others can write to.
    draft.unlink(missing_ok=True)
    with new_file(draft) as file:
        file.write(content)
    draft.replace(path)
    sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there, so that it stays removed."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)
