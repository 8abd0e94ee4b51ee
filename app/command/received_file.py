"""What a platform hands out, kept in a file that has its name only when it is whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.core.file import draft_of, new_file, put_in_place
from app.core.net import NetUnavailable


@contextmanager
def received_file(path: Path) -> Iterator[BinaryIO]:
    """Write a draft beside it, put in place when the block ends; what breaks off leaves nothing behind.

    The draft is there before the block begins: nobody waits for a large export to learn then that there is no
    place for it.

    Raises:
        FileExistsError: there is one of that name, from before or meanwhile; it stays.
        OSError: it cannot be written.
    """
    if os.path.lexists(path):
        raise _there(path)
    draft = draft_of(path)
    try:
        with new_file(draft) as file:
            yield file
        if not put_in_place(draft, path):
            raise _there(path)
    finally:
        draft.unlink(missing_ok=True)


def write_checked(file: BinaryIO, chunks: Iterable[bytes], *, sha256: str) -> int:
    """Write what comes; returns how many bytes.

    Args:
        sha256: in hexadecimal digits, of what should come.

    Raises:
        NetUnavailable: something else has come.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += file.write(chunk)
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise NetUnavailable(
            f"What came is not what the platform holds: SHA-256 {digest.hexdigest()} instead of {sha256}. "
            "Nothing was kept; try again."
        )
    return size


def _there(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} is there already.")
