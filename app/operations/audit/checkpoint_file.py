"""The copy of all checkpoints outside every database: one JSON line each, appended and flushed to the disk.

Whoever can rewrite the databases has to rewrite this file as well, and cannot sign it. A file that cannot be read is
set aside, `checkpoints.damaged-1.jsonl`, and stays there as evidence until somebody takes it away.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from app.core.file import new_file, sync_directory
from app.core.json import JsonObject, dump_json
from app.operations.audit.verify_audit import Checkpoint, Round, read_round

_BLOCK_BYTES: Final = 65_536
"""Read at a time, backwards, for the last line: most lines are shorter, and none is longer than the database's 64 KiB
and a little."""
_DAMAGED: Final = "{}.damaged-{}{}"


class CheckpointFile:
    """`audit/checkpoints.jsonl`. One writer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Held by whoever writes table and file, and by whoever compares them, in this process or another."""
        try:
            descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Nothing was ever written.
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def append(self, rounds: Iterable[Round]) -> None:
        """Add some, and wait until the disk has them.

        Raises:
            OSError: it cannot be written.
        """
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for each in rounds:
                file.write(round_line(each))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_directory(self._path.parent)

    def mend(self) -> None:
        """Cut off half a line that a killed process has left; the database has the whole checkpoint."""
        if not self._path.exists():
            return
        torn = len(_tail(self._path, lines=0))
        if torn:
            with self._path.open("r+b") as file:
                file.truncate(file.seek(0, os.SEEK_END) - torn)
                os.fsync(file.fileno())

    def last(self) -> Round | None:
        """The newest one; None before the first.

        Raises:
            KeyError, TypeError, ValueError: the line is no checkpoint.
        """
        if not self._path.exists():
            return None
        lines = _tail(self._path, lines=1).splitlines()
        return _round_of(lines[0]) if lines else None

    @contextmanager
    def reading(self) -> Iterator[Iterator[Round]]:
        """All that are there at this moment, oldest first; later ones are left out.

        Reading one raises KeyError, TypeError or ValueError if its line is no checkpoint.
        """
        if not self._path.exists():
            yield iter(())
            return
        with self._path.open("rb") as file:
            yield _rounds(file, os.fstat(file.fileno()).st_size)

    def thin(self, *, before: int) -> None:
        """Write it anew without those that are no anchors and have a number below `before`.

        Raises:
            OSError: it cannot be written.
        """
        with self._path.open("rb") as lines:
            if not _has_thinnable(lines, before):
                return
        draft = self._path.with_name(f".{self._path.name}")
        draft.unlink(missing_ok=True)
        with new_file(draft) as file, self._path.open("rb") as lines:
            file.writelines(line for line in lines if not _is_thinnable(line, before))
        draft.replace(self._path)
        sync_directory(self._path.parent)

    def set_aside(self) -> Iterator[Round]:
        """Give the file another name; returns what can still be read of it, oldest first."""
        place = len(self.damaged()) + 1
        while (aside := self._aside(str(place))).exists():
            place += 1
        self._path.rename(aside)
        sync_directory(self._path.parent)
        return _readable(aside)

    def damaged(self) -> list[Path]:
        """Files that have been set aside."""
        return sorted(self._path.parent.glob(self._aside("*").name))

    def state(self) -> tuple[int, int, int]:
        """Is another one when the file has changed."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_ino, found.st_size, found.st_mtime_ns)

    def _aside(self, place: str) -> Path:
        return self._path.with_name(_DAMAGED.format(self._path.stem, place, self._path.suffix))


def _rounds(file: BinaryIO, size: int) -> Iterator[Round]:
    for line in file:
        size -= len(line)
        if size < 0:
            return
        yield _round_of(line)


def checkpoint_line(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as it stands in exports."""
    found: JsonObject = {"kind": "checkpoint", **checkpoint._asdict(), "path": list(checkpoint.path)}
    return dump_json(found).encode() + b"\n"


def round_line(found: Round) -> bytes:
    """A round as it stands in the file."""
    value: JsonObject = {"kind": "round", **found._asdict(), "links": [list(link) for link in found.links]}
    return dump_json(value).encode() + b"\n"


def _round_of(line: bytes) -> Round:
    return read_round(json.loads(line.decode()))


def _readable(path: Path) -> Iterator[Round]:
    last = 0
    with path.open("rb") as lines:
        for line in lines:
            with suppress(KeyError, TypeError, ValueError):
                found = _round_of(line)
                if found.number > last:
                    last = found.number
                    yield found


def _has_thinnable(lines: Iterable[bytes], before: int) -> bool:
    for line in lines:
        with suppress(KeyError, TypeError, ValueError):
            if _round_of(line).number >= before:
                return False
        if _is_thinnable(line, before):
            return True
    return False


def _is_thinnable(line: bytes, before: int) -> bool:
    """What cannot be read stays, for verification to find it."""
    try:
        found = _round_of(line)
    except (KeyError, TypeError, ValueError):
        return False
    return found.number < before and not found.anchor


def _tail(path: Path, *, lines: int) -> bytes:
    """The end of a file, from behind the line break before its last `lines` whole lines; torn ones count with them."""
    with path.open("rb") as file:
        place = file.seek(0, os.SEEK_END)
        found = b""
        while place > 0 and found.count(b"\n") <= lines:
            start = max(0, place - _BLOCK_BYTES)
            file.seek(start)
            found = file.read(place - start) + found
            place = start
    breaks = found.split(b"\n")
    return b"\n".join(breaks[-1 - lines :])
