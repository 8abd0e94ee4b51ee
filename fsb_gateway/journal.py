"""What a box remembers: one record per finished job, on disk before the result leaves.

    record = length (4 bytes) · CRC-32 of the length (4) · SHA-256 of the payload (32) · payload
    payload = JSON [job id, request digest, time in µs, result]

A record that the end of the file cuts short was never handed out and is cut off. Damage before the end means that
the box cannot know what it has done: it refuses to work until somebody looks. Two generations: when the current file
is full and the older one holds nothing younger than an hour, the current one becomes the older one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec

from app.core.clock import Clock, to_us
from app.core.file import sync_directory
from fsb_gateway.error import BoxJournalDamaged, BoxJournalUnwritable, JobIdReused

_log = logging.getLogger(__name__)

_LENGTH = struct.Struct(">II")
_DIGEST_BYTES = 32
_HEAD_BYTES = _LENGTH.size + _DIGEST_BYTES
# About 4,000 jobs; reading two generations back at start takes well under a second.
GENERATION_BYTES = 16 * 1024 * 1024
# A line resends a job until the transfer's deadline: 10 minutes, at most 30 (`Settings.program_deadline_seconds`).
# Twice that; more would only be read at every start.
KEEP = timedelta(hours=1)


_OLDER = ".1"
_LOCK = ".lock"


class _Record(msgspec.Struct, array_like=True):
    job_id: str
    request: str
    at_us: int
    result: msgspec.Raw


_decoder = msgspec.json.Decoder(_Record)
_encoder = msgspec.json.Encoder()


class _Generation:
    """One file: its descriptor, its length up to the last whole record, where each job's record lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = 0
        self.newest_us = 0
        self.offsets: dict[str, int] = {}

    def load(self) -> None:
        """Index the file, cut off a torn end, and make sure that what is indexed is on disk.

        Raises:
            BoxJournalDamaged: a record before the end does not hold.
        """
        content = self.path.read_bytes()
        for offset, record in _scan(content, self.path):
            self.offsets[record.job_id] = offset
            self.newest_us = max(self.newest_us, record.at_us)
            self.size = offset + _HEAD_BYTES + _LENGTH.unpack_from(content, offset)[0]
        if self.size < len(content):
            _log.warning(
                "journal %s: cut off %d bytes of a torn record", self.path.name, len(content) - self.size
            )
            os.ftruncate(self.descriptor, self.size)
        os.fsync(self.descriptor)

    def append(self, record: _Record) -> None:
        """Write a record, wait until the disk has it, then index it. After a failure the file must be loaded again."""
        payload = _encoder.encode(record)
        check = zlib.crc32(len(payload).to_bytes(4, "big"))
        content = _LENGTH.pack(len(payload), check) + hashlib.sha256(payload).digest() + payload
        if os.pwrite(self.descriptor, content, self.size) != len(content):
            raise OSError(errno.ENOSPC, "the record was written in part only")
        os.fdatasync(self.descriptor)
        self.offsets[record.job_id], self.size = self.size, self.size + len(content)
        self.newest_us = max(self.newest_us, record.at_us)

    def read(self, offset: int) -> _Record:
        """The record at an indexed offset."""
        length = _LENGTH.unpack(os.pread(self.descriptor, _LENGTH.size, offset))[0]
        return _decoder.decode(os.pread(self.descriptor, length, offset + _HEAD_BYTES))

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)


class Journal:
    """The journal of one box. One thread appends; any thread may look up."""

    def __init__(self, path: Path, *, clock: Clock, generation_bytes: int = GENERATION_BYTES) -> None:
        """Read both generations.

        Raises:
            BoxJournalDamaged: a record before the end does not hold.
            BoxJournalUnwritable: the files cannot be opened for writing, or another box has them.
        """
        self._path = path
        self._clock = clock
        self._generation_bytes = generation_bytes
        self._lock = threading.Lock()
        self._generations: list[_Generation] = []
        self._owner: int | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._owner = _own(path)
            for generation_path in (path, path.with_name(path.name + _OLDER)):
                generation = _Generation(generation_path)
                self._generations.append(generation)
                generation.load()
            sync_directory(path.parent)
        except OSError as error:
            self.close()
            raise BoxJournalUnwritable("the box journal cannot be opened", journal=path.name) from error
        except BoxJournalDamaged:
            self.close()
            raise

    @property
    def name(self) -> str:
        """Name of the current file."""
        return self._path.name

    def find(self, job_id: str, request: str | None = None) -> bytes | None:
        """The recorded result of a job, or nothing.

        Args:
            request: digest of the job's content; without it, whatever was recorded under the id.

        Raises:
            JobIdReused: the id is recorded with other content.
        """
        with self._lock:
            record = self._find_record(job_id)
        if record is None:
            return None
        if request is not None and record.request != request:
            raise JobIdReused(f"job {job_id} was done before with other content", job_id=job_id)
        return bytes(record.result)

    def append(self, job_id: str, request: str, result: bytes) -> None:
        """Record a result (a JSON text); when this returns, it survives a loss of power.

        Raises:
            BoxJournalUnwritable: it could not be recorded; the result must not be handed out.
        """
        record = _Record(job_id, request, to_us(self._clock.now()), msgspec.Raw(result))
        try:
            if self._generations[0].size >= self._generation_bytes:
                self._rotate(record.at_us)
            self._generations[0].append(record)
        except OSError as error:
            raise BoxJournalUnwritable(
                "the box journal cannot be written", journal=self._path.name
            ) from error

    def close(self) -> None:
        """Give the files back."""
        with self._lock:
            for generation in self._generations:
                generation.close()
            self._generations = []
            if self._owner is not None:
                os.close(self._owner)
                self._owner = None

    def _find_record(self, job_id: str) -> _Record | None:
        for generation in self._generations:
            offset = generation.offsets.get(job_id)
            if offset is not None:
                return generation.read(offset)
        return None

    def _rotate(self, now_us: int) -> None:
        current, older = self._generations
        if older.newest_us > now_us - KEEP // timedelta(microseconds=1):
            return
        with self._lock:
            current.path.rename(older.path)
            current.path = older.path
            self._generations = [_Generation(self._path), current]
            older.close()
            sync_directory(self._path.parent)


def remove_journal(path: Path) -> None:
    """Remove the files of a box that is gone, if there are any; safe to repeat and to kill.

    Raises:
        BoxJournalUnwritable: a box, of whatever process, still works with them, or they cannot be removed.
    """
    if not path.parent.is_dir():
        return
    try:
        owner = _own(path)
        try:
            for suffix in ("", _OLDER, _LOCK):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            sync_directory(path.parent)
        finally:
            os.close(owner)
    except OSError as error:
        raise BoxJournalUnwritable("the box journal cannot be removed", journal=path.name) from error


def _own(path: Path) -> int:
    """Keep other processes away: two writers would write over each other. Ends with the process at the latest.

    Raises:
        OSError: another process, or another journal of this process, has it.
    """
    descriptor = os.open(path.with_name(path.name + _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _scan(content: bytes, path: Path) -> Iterator[tuple[int, _Record]]:
    """Every whole record with its offset; stops at a torn end."""
    offset = 0
    while len(content) - offset >= _HEAD_BYTES:
        length, check = _LENGTH.unpack_from(content, offset)
        if zlib.crc32(content[offset : offset + 4]) != check or not length:
            # After a loss of power a file can be longer than what was written to it, filled with zeros.
            if content[offset:].strip(b"\0"):
                raise _damaged(path, offset)
            return
        start, end = offset + _HEAD_BYTES, offset + _HEAD_BYTES + length
        payload = content[start:end]
        if len(payload) < length:
            return
        if hashlib.sha256(payload).digest() != content[start - _DIGEST_BYTES : start]:
            if end != len(content):
                raise _damaged(path, offset)
            return
        yield offset, _decode(payload, path, offset)
        offset = end


def _decode(payload: bytes, path: Path, offset: int) -> _Record:
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise _damaged(path, offset) from error


def _damaged(path: Path, offset: int) -> BoxJournalDamaged:
    return BoxJournalDamaged(
        "the box journal is damaged before its end: compare it with the instance databases, then set it aside",
        journal=path.name,
        offset=offset,
    )
