"""What a box remembers: one record per finished job, on disk before the result leaves.

    group = length (4 bytes) · CRC-32 of the length (4) · SHA-256 of the payload (32) · payload
    payload = one line per job: JSON [job id, request digest, time in µs, result, transactions spent so far]

Jobs that finish together make one group, written and synced once. A group that the end of the file cuts short was
never handed out and is cut off. Damage before the end means that the box cannot know what it has done: it refuses to
work until somebody looks. Two generations: when the current file is full and the older one holds nothing younger than
an hour, the current one becomes the older one. Records made before transactions were counted have no last member.
The total is kept beside it, too (`journal_total`): one that is set aside gives no transactions back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec

from app.core.clock import Clock, to_us
from app.core.file import sync_directory
from fsb_gateway.engine.journal_total import SUFFIX, keep_total, read_total
from fsb_gateway.error import BoxJournalDamaged, BoxJournalUnwritable, JobIdReused

_log = logging.getLogger(__name__)

_LENGTH = struct.Struct(">II")
_DIGEST_BYTES = 32
_HEAD_BYTES = _LENGTH.size + _DIGEST_BYTES
_PAYLOAD_START = b'["'
# About 4,000 jobs; reading two generations back at start takes well under a second.
GENERATION_BYTES = 16 * 1024 * 1024
# A line resends a job until the transfer's deadline: 10 minutes, at most 30 (`Settings.program_deadline_seconds`).
# Twice that; more would only be read at every start.
KEEP = timedelta(hours=1)


_OLDER = ".1"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A job to be recorded.

    Attributes:
        request: digest of what was asked.
        result: a JSON text on one line.
        transactions: deducted for it.
    """

    job_id: str
    request: str
    result: bytes
    transactions: int = 0


class _Record(msgspec.Struct, array_like=True):
    job_id: str
    request: str
    at_us: int
    result: msgspec.Raw
    spent: int = 0


_decoder = msgspec.json.Decoder(_Record)
_encoder = msgspec.json.Encoder()


class _Generation:
    """One file: its descriptor, its length up to the last whole group, where each job's record lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = 0
        self.newest_us = 0
        self.spent: int | None = None
        self.places: dict[str, tuple[int, int]] = {}

    def load(self) -> None:
        """Index the file, cut off a torn end, and make sure that what is indexed is on disk.

        Raises:
            BoxJournalDamaged: a record before the end does not hold.
        """
        content = self.path.read_bytes()
        for start, lines in _scan(content, self.path):
            self._index(start, lines, [_decode(line, self.path, start) for line in lines])
        if self.size < len(content):
            _log.warning(
                "journal %s: cut off %d bytes of a torn record", self.path.name, len(content) - self.size
            )
            os.ftruncate(self.descriptor, self.size)
        os.fsync(self.descriptor)

    def append(self, records: Sequence[_Record]) -> None:
        """Write a group, wait until the disk has it, then index it. After a failure the file must be loaded again."""
        lines = [_encoder.encode(record) for record in records]
        payload = b"\n".join(lines)
        check = zlib.crc32(len(payload).to_bytes(4, "big"))
        content = _LENGTH.pack(len(payload), check) + hashlib.sha256(payload).digest() + payload
        try:
            if os.pwrite(self.descriptor, content, self.size) != len(content):
                raise OSError(errno.ENOSPC, "the record was written in part only")
            os.fdatasync(self.descriptor)
        except OSError:
            # It is not handed out, so it must not be found later, as if the disk had it.
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, self.size)
            raise
        self._index(self.size + _HEAD_BYTES, lines, records)

    def _index(self, start: int, lines: Sequence[bytes], records: Sequence[_Record]) -> None:
        for line, record in zip(lines, records, strict=True):
            self.places[record.job_id] = (start, len(line))
            self.newest_us = max(self.newest_us, record.at_us)
            self.spent = record.spent
            start += len(line) + 1
        self.size = start - 1

    def read(self, place: tuple[int, int]) -> _Record:
        """The record at an indexed place."""
        start, length = place
        return _decoder.decode(os.pread(self.descriptor, length, start))

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)


class Journal:
    """The journal of one box. One thread appends; any thread may look up."""

    def __init__(self, path: Path, *, clock: Clock, generation_bytes: int = GENERATION_BYTES) -> None:
        """Read both generations.

        Raises:
            BoxJournalDamaged: a record before the end does not hold.
            BoxJournalUnwritable: the files cannot be opened for writing; with `held`, another process has them.
        """
        self._path = path
        self._clock = clock
        self._generation_bytes = generation_bytes
        self._lock = threading.Lock()
        self._generations: list[_Generation] = []
        self._owner: int | None = None
        self._spent_before = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._owner = _own(path)
            self._load()
        except OSError as error:
            self.close()
            raise BoxJournalUnwritable(
                "the box journal cannot be opened", journal=path.name, held=isinstance(error, BlockingIOError)
            ) from error
        except BoxJournalDamaged:
            self.close()
            raise

    @property
    def spent(self) -> int:
        """Transactions deducted for everything that was ever recorded."""
        with self._lock:
            totals = [generation.spent for generation in self._generations]
        return max(self._spent_before, next((total for total in totals if total is not None), 0))

    def __contains__(self, job_id: str) -> bool:
        with self._lock:
            return any(job_id in generation.places for generation in self._generations)

    def newest(self, count: int) -> list[str]:
        """Ids of the jobs that were recorded last, the oldest of them first."""
        with self._lock:
            ids = [job_id for generation in reversed(self._generations) for job_id in generation.places]
        return ids[-count:]

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

    def append(self, finished: Sequence[Finished]) -> None:
        """Record jobs that finished together; when this returns, they survive a loss of power.

        Raises:
            BoxJournalUnwritable: they could not be recorded; none of the results must be handed out.
        """
        now_us = to_us(self._clock.now())
        try:
            if self._generations[0].size >= self._generation_bytes:
                self._rotate(now_us)
            self._generations[0].append(_records(finished, now_us, self.spent))
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

    def _load(self) -> None:
        for path in (self._path, self._path.with_name(self._path.name + _OLDER)):
            generation = _Generation(path)
            self._generations.append(generation)
            try:
                generation.load()
            except BoxJournalDamaged:
                # What can still be read says what was spent, whatever becomes of the file.
                self._keep_total(max(self.spent, _salvage(path)))
                raise
        spent_before = read_total(self._path)
        if spent_before is None and not any(generation.spent for generation in self._generations):
            raise _damaged(self._path.with_name(self._path.name + SUFFIX), 0)
        self._spent_before = spent_before or 0
        self._keep_total(self.spent)
        sync_directory(self._path.parent)

    def _keep_total(self, spent: int) -> None:
        try:
            keep_total(self._path, spent)
        except OSError:
            # The journal can still be read, and says it, too.
            _log.exception("journal %s: the transactions spent cannot be noted beside it", self._path.name)

    def _find_record(self, job_id: str) -> _Record | None:
        for generation in self._generations:
            place = generation.places.get(job_id)
            if place is not None:
                return generation.read(place)
        return None

    def _rotate(self, now_us: int) -> None:
        current, older = self._generations
        if older.newest_us > now_us - KEEP // timedelta(microseconds=1):
            return
        self._keep_total(self.spent)
        with self._lock:
            current.path.rename(older.path)
            current.path = older.path
            self._generations = [_Generation(self._path), current]
            older.close()
        # Whoever looks something up does not wait for the disk; nothing is in the new file yet.
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
            for suffix in ("", _OLDER, SUFFIX, _LOCK):
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


def _records(finished: Sequence[Finished], at_us: int, spent: int) -> list[_Record]:
    records = []
    for job in finished:
        spent += job.transactions
        records.append(_Record(job.job_id, job.request, at_us, msgspec.Raw(job.result), spent))
    return records


def _scan(content: bytes, path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Every whole group: where its payload starts, and its lines; stops at a torn end."""
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
        yield start, payload.split(b"\n")
        offset = end


def _salvage(path: Path) -> int:
    """The highest total in a damaged file, from the groups that hold, wherever they are."""
    content = path.read_bytes()
    spent = offset = 0
    while (start := content.find(_PAYLOAD_START, offset)) >= 0:
        offset = start + 1
        payload = _payload_at(content, start)
        if payload:
            offset = start + len(payload)
            spent = max(spent, _decode(payload.rpartition(b"\n")[2], path, start).spent)
    return spent


def _payload_at(content: bytes, start: int) -> bytes:
    """The payload that starts here, if one does, and holds."""
    if start < _HEAD_BYTES:
        return b""
    length, check = _LENGTH.unpack_from(content, start - _HEAD_BYTES)
    # The text at which payloads are looked for occurs in them, too: the digest of megabytes takes its time.
    if zlib.crc32(length.to_bytes(4, "big")) != check:
        return b""
    payload = content[start : start + length]
    holds = hashlib.sha256(payload).digest() == content[start - _DIGEST_BYTES : start]
    return payload if holds else b""


def _decode(line: bytes, path: Path, offset: int) -> _Record:
    try:
        return _decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise _damaged(path, offset) from error


def _damaged(path: Path, offset: int) -> BoxJournalDamaged:
    return BoxJournalDamaged(
        "the box journal is damaged before its end: compare it with the instance databases, then set it aside",
        journal=path.name,
        offset=offset,
    )
