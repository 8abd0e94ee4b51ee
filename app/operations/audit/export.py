"""An audit chain as a file that can be verified without wops: JSON Lines, written as it is read.

    head (names the chains) · for each: chain (with its last number, and the hash before) · entries, or digests of what
    is no business of the reader · checkpoints, each behind its entry · end (with counts)

An instance's export has its own chain, and the platform's entries about it; the platform's entries about others are
digests: the chain still verifies, and tells nothing of them. A range of time is drawn out, by digests, up to the next
checkpoint, so that a signature covers all of it; an export without an end goes up to the newest one. Of an erased
instance it has the digests that were kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.core.chain import GENESIS, ChainEntry
from app.core.clock import to_text, to_us
from app.core.db import Database
from app.core.ids import InstanceId
from app.core.json import JsonObject, JsonValue, dump_json
from app.operations.audit import repository
from app.operations.audit.about import is_about, names_boxes
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.checkpoint_file import checkpoint_line
from app.operations.audit.checkpoint_table import iter_chain_checkpoints
from app.operations.audit.entry_table import read_entries
from app.operations.audit.erased import ErasedChain, ErasedChains
from app.operations.audit.repository import StoredEntry
from app.operations.audit.verify_audit import EXPORT_FORMAT, Checkpoint
from tenancy.errors import InstanceDatabaseMissing

_PAGE: Final = 500
"""Entries in memory at a time."""
_LATEST_US: Final = 2**62

Show = Callable[[ChainEntry], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """What is to be exported.

    Attributes:
        instance_id: its chain, and what the platform's says of it; None for the whole platform chain.
        since, until: of the time when it happened; until is not included.
    """

    instance_id: InstanceId | None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def _since_us(self) -> int:
        return 0 if self.since is None else to_us(self.since)

    @property
    def _until_us(self) -> int:
        return _LATEST_US if self.until is None else to_us(self.until)


class AuditExport:
    """Writes exports. Thread-safe, blocking; memory does not grow with the chain.

    Args:
        db: the platform database.
        key_id: of the key that signs now.
        open_database: a chain's database, by the chain's name.
        erased: the chains whose databases were erased.
    """

    def __init__(
        self, db: Database, *, key_id: str, open_database: Callable[[str], Database], erased: ErasedChains
    ) -> None:
        self._db = db
        self._key_id = key_id
        self._open = open_database
        self._erased = erased

    def lines(self, wish: ExportWish) -> Iterator[bytes]:
        """The lines of an export.

        Raises:
            DomainError: a database is not there or does not answer; the export then lacks its last line.
        """
        counts = {"entry": 0, "digest": 0, "checkpoint": 0}
        yield _line({"kind": "head", **self._head(wish)})
        for chain, show in _chains(wish.instance_id).items():
            for kind, line in self._chain(chain, wish, show):
                if kind in counts:
                    counts[kind] += 1
                yield line
        yield _line({"kind": "end", **counts})

    def _head(self, wish: ExportWish) -> JsonObject:
        now = self._db.clock.now()
        return {
            "format": EXPORT_FORMAT,
            "instance_id": wish.instance_id,
            "chains": list(_chains(wish.instance_id)),
            "since": None if wish.since is None else to_text(wish.since),
            "until": None if wish.until is None else to_text(wish.until),
            "made_at": to_text(now),
            "made_at_us": to_us(now),
            "key_id": self._key_id,
            "fields": list(ChainEntry._fields),
        }

    def _chain(self, chain: str, wish: ExportWish, show: Show) -> Iterator[tuple[str, bytes]]:
        try:
            database = self._open(chain)
        except InstanceDatabaseMissing:
            erased = self._erased.find(chain)
            if erased is None:
                raise
            yield from self._kept(erased)
            return
        found = database.read(
            lambda at: repository.find_range(at, since_us=wish._since_us, until_us=wish._until_us)
        )
        first, last = (1, 0) if found is None else found
        signed = self._signed_end(chain, last) if found else 0
        end = signed if signed >= first else first - 1
        before, there = database.read(
            lambda at: (repository.find_link(at, first - 1), repository.last_up_to(at, end))
        )
        yield _chain_line(
            chain, after=first - 1, last=max(there, first - 1), previous=before.hash if before else GENESIS
        )
        if end >= first:
            yield from self._entries(database, chain, _Stretch(range(first, last + 1), end), show)

    def _kept(self, erased: ErasedChain) -> Iterator[tuple[str, bytes]]:
        """The digests of an erased instance, always all of them: they say nothing."""
        last = 0
        for each in erased.links():
            last = each.sequence
        yield _chain_line(erased.chain, after=0, last=last, previous=GENESIS)
        marks = _Marks(iter_chain_checkpoints(self._db, erased.chain))
        for each in erased.links():
            yield "digest", each.line
            yield from marks.up_to(each.sequence)

    def _entries(
        self, database: Database, chain: str, stretch: _Stretch, show: Show
    ) -> Iterator[tuple[str, bytes]]:
        marks = _Marks(iter_chain_checkpoints(self._db, chain, after=stretch.wanted.start - 1))
        position = stretch.wanted.start - 1
        while position < stretch.end:
            page, _ = read_entries(database, after=position, limit=min(_PAGE, stretch.end - position))
            page = [each for each in page if position < each.sequence <= stretch.end]
            if not page:
                break
            for each in page:
                position = each.sequence
                yield _entry_line(each, show=show if position in stretch.wanted else _nothing)
                yield from marks.up_to(position)
        # Beyond the end: the chain was cut off, and the export shows it.
        yield from marks.next_up_to(stretch.end)

    def _signed_end(self, chain: str, last: int) -> int:
        """The number of the entry from `last` on that a checkpoint has signed first, or else of the last one signed."""
        found = 0
        for each in iter_chain_checkpoints(self._db, chain):
            found = each.sequence
            if found >= last:
                break
        return found


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Part of a chain: what is wanted of it, and where the signature stands that covers that."""

    wanted: range
    end: int


class _Marks:
    """A chain's checkpoints, each to be put behind its entry."""

    def __init__(self, found: Iterator[Checkpoint]) -> None:
        self._found = found
        self._next = next(found, None)

    def up_to(self, position: int) -> Iterator[tuple[str, bytes]]:
        """Those about the entry of that number; what is about one before has no place any more."""
        while self._next is not None and self._next.sequence <= position:
            if self._next.sequence == position:
                yield "checkpoint", checkpoint_line(self._next)
            self._next = next(self._found, None)

    def next_up_to(self, position: int) -> Iterator[tuple[str, bytes]]:
        """The next one, if it is about an entry up to that number."""
        if self._next is not None and self._next.sequence <= position:
            yield "checkpoint", checkpoint_line(self._next)


def _chains(instance_id: InstanceId | None) -> Mapping[str, Show]:
    if instance_id is None:
        return {PLATFORM_CHAIN: _everything}
    return {
        instance_id: _everything,
        PLATFORM_CHAIN: lambda entry: is_about(entry, instance_id) and not names_boxes(entry),
    }


def _everything(_entry: ChainEntry) -> bool:
    return True


def _nothing(_entry: ChainEntry) -> bool:
    return False


def _chain_line(chain: str, *, after: int, last: int, previous: str) -> tuple[str, bytes]:
    return "chain", _line(
        {"kind": "chain", "chain": chain, "after": after, "last": last, "previous": previous}
    )


def _entry_line(stored: StoredEntry, *, show: Show) -> tuple[str, bytes]:
    if stored.entry is not None and show(stored.entry):
        fields: list[JsonValue] = list(stored.entry)
        return "entry", _line({"kind": "entry", "entry": fields, "hash": stored.hash})
    # Nothing that can be read has this digest: the verifier names the place.
    digest = stored.digest or ""
    sequence = stored.sequence
    return "digest", _line({"kind": "digest", "sequence": sequence, "digest": digest, "hash": stored.hash})


def _line(value: JsonObject) -> bytes:
    return dump_json(value).encode() + b"\n"
