"""Signing how far each audit chain has come.

    transaction ──► ChainEnd (memory) ──► sign_grown (every 30 s, and at the end) ──► table ──► file
    start ────────► look_at each database: what a killed process left unsigned is signed as well

One signature a turn stands for all chains that have grown. The first of a day (UTC) is an anchor: it is about every
chain that was signed since the anchor before. Anchors are kept for ever, the others for a week.

A checkpoint emits no event: the platform's chain would grow by each, and need another. They form a chain themselves.
"""

from __future__ import annotations

import base64
import heapq
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from app.core.clock import from_us, to_us
from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from app.core.outbox import last_sequence
from app.core.outbox_chain import ChainEnd, Link
from app.operations.audit import repository
from app.operations.audit.checkpoint_file import CheckpointFile
from app.operations.audit.checkpoint_table import iter_rounds
from app.operations.audit.key import AuditKey
from app.operations.audit.verify_audit import GENESIS, PLATFORM, Round

PLATFORM_CHAIN: Final = PLATFORM
KEEP_ALL: Final = timedelta(days=7)
"""How long every checkpoint is kept. A rewriting is located to 30 seconds as long, then to the day. Our own decision:
who verifies weekly misses nothing."""
_MOST_LINKS: Final = 400
"""In one checkpoint, so that they fit into a TEXT of 64 KiB; more make several. Names have 64 letters at most."""
_AT_ONCE: Final = 500
"""Rows in one transaction. **Source:** high availability reference §1.5."""
_MOST_THINNED: Final = 20
"""Transactions of thinning in one turn: three days' checkpoints. Our own decision."""
_SIGNING: Final = system_origin("signCheckpoints")

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Notary:
    """Signs checkpoints of all chains of a platform. Thread-safe, blocking; one per platform.

    Args:
        db: the platform database.
        key: signs.
        file: the copy outside every database.
        open_database: a chain's database, by the chain's name.
    """

    def __init__(
        self, db: Database, *, key: AuditKey, file: CheckpointFile, open_database: Callable[[str], Database]
    ) -> None:
        self._db = db
        self._key = key
        self._file = file
        self._open = open_database
        self._lock = threading.Lock()
        self._ends: dict[str, ChainEnd] = {}
        self._signed: dict[str, Link] = {}
        self._unanchored: set[str] = set()
        self._last: Round | None = None
        # Table or file could not be written the last time: nobody knows which of them has what.
        self._in_doubt = False
        self._is_thinned = False

    def start(self) -> None:
        """Bring table and file together, and go on where the newer of them ends.

        Raises:
            OSError: the file cannot be read or written.
        """
        self._load_signed()
        with self._file.in_step():
            self._file.mend()
            copied = self._last_copied()
            newest = partial(repository.list_newest_rounds, chain="", before=2**62, limit=1)
            stored = self._db.read(newest)
            self._copy_missing(after=copied.number if copied else 0)
        if copied is not None and copied.number > (stored[0].number if stored else 0):
            _log.critical("audit_checkpoints_lost", extra={"last_in_file": copied.number})
        both = [each for each in (*stored, copied) if each is not None]
        self._last = max(both, key=lambda each: each.number) if both else None

    def _last_copied(self) -> Round | None:
        try:
            return self._file.last()
        except (KeyError, TypeError, ValueError):
            # Work goes on; the file that was set aside is a finding of every verification.
            _log.critical("audit_checkpoint_file_damaged")
            readable = self._file.set_aside()
            self._file.append(_merged(iter_rounds(self._db), readable))
            return self._file.last()

    def _load_signed(self) -> None:
        """How far each chain has been signed: its last word stands in an anchor, or behind the newest one."""
        self._signed, self._unanchored = {}, set()
        newest = self._db.read(repository.newest_anchor)
        for each in self._iter_anchors():
            self._signed.update({chain: Link(sequence, link) for chain, sequence, link in each.links})
        for each in iter_rounds(self._db, after=newest):
            self._note_signed(each)

    def _iter_anchors(self) -> Iterator[Round]:
        after = 0
        while page := self._db.read(partial(repository.list_anchors, after=after, limit=_AT_ONCE)):
            yield from page
            after = page[-1].number

    def _note_signed(self, made: Round) -> None:
        self._signed.update({chain: Link(sequence, link) for chain, sequence, link in made.links})
        chains = {chain for chain, *_ in made.links}
        self._unanchored = self._unanchored - chains if made.anchor else self._unanchored | chains

    def _copy_missing(self, *, after: int) -> None:
        """Checkpoints that were stored, and the process killed before they were copied."""
        for some in _in_parts(iter_rounds(self._db, after=after), _AT_ONCE):
            self._file.append(some)

    def watch(self, chain: str, end: ChainEnd) -> None:
        """Sign what is written to a chain through a database that this process has opened."""
        if self._ends.get(chain) is end:
            return
        with self._lock:
            known = self._ends.get(chain)
            self._ends[chain] = end
        if known is None:
            return
        if known.link is not None:
            end.note(known.link)
        if known.is_unsure:
            end.note_unsure()

    def unsure(self) -> list[str]:
        """Chains in which something may stand whose link nobody has seen: they have to be looked at."""
        return [chain for chain, end in list(self._ends.items()) if end.is_unsure]

    def sign_grown(self) -> int:
        """Sign every watched chain that has grown; opens no database. Returns how many there were."""
        links = {chain: end.link for chain, end in list(self._ends.items()) if end.link is not None}
        with self._lock:
            if self._in_doubt:
                self.start()
            self._in_doubt = True
            signed = self._sign(links)
            self._in_doubt = False
        return signed

    def look_at(self, chain: str) -> None:
        """Open a chain's database and see how far it has come, for the next `sign_grown`.

        Raises:
            DomainError: the database is not there or does not answer; the chain stays unsure.
        """
        known = self._ends.get(chain)
        was_unsure = known is not None and known.take_unsure()
        try:
            database = self._open(chain)
            self.watch(chain, database.chain_end)
            database.chain_up()
            self._note_end(chain, database)
        except BaseException:
            if was_unsure:
                self._ends[chain].note_unsure()
            raise

    def _note_end(self, chain: str, database: Database) -> None:
        known = self._signed.get(chain)
        signed = 0 if known is None else known.sequence
        end, last = database.read(lambda at: (repository.find_end(at), last_sequence(at)))
        if (0 if end is None else end.sequence) < max(signed, last):
            # Never silent, and never in the way: `wops audit verify` names the place.
            _log.critical("audit_chain_truncated", extra={"chain": chain, "signed": signed, "last": last})
        if end is not None:
            database.chain_end.note(end)

    def _sign(self, links: Mapping[str, Link]) -> int:
        grown = {
            chain: link
            for chain, link in links.items()
            if chain not in self._signed or self._signed[chain].sequence < link.sequence
        }
        if not grown:
            return 0
        is_anchor = self._last is None or self._day_of(self._last.signed_at_us) != self._day_of(
            to_us(self._db.clock.now())
        )
        again = {chain: self._signed[chain] for chain in self._unanchored} if is_anchor else {}
        for some in _in_parts(sorted({**again, **grown}.items()), _MOST_LINKS):
            self._sign_some(tuple((chain, *link) for chain, link in some), is_anchor=is_anchor)
        if is_anchor:
            self._is_thinned = False
        return len(grown)

    @staticmethod
    def _day_of(moment_us: int) -> int:
        return from_us(moment_us).toordinal()

    def _sign_some(self, links: tuple[tuple[str, int, str], ...], *, is_anchor: bool) -> None:
        made = self._make(links, is_anchor=is_anchor)
        op_id = new_id("checkpoint")

        def body(tx: Tx) -> JsonObject:
            if not repository.add_round(tx, made) and not _is_stored(tx, made):
                _log.critical("audit_checkpoint_taken", extra={"number": made.number})
            # Guarded by its number: the id serves no repeat, and one row a minute would be kept for nothing.
            tx.forget(op_id)
            return {}

        with self._file.in_step():
            self._db.run_tx(op_id, body, origin=_SIGNING)
            self._file.append([made])
        self._last = made
        self._note_signed(made)

    def _make(self, links: tuple[tuple[str, int, str], ...], *, is_anchor: bool) -> Round:
        last = self._last
        draft = Round(
            number=1 if last is None else last.number + 1,
            links=links,
            signed_at_us=to_us(self._db.clock.now()),
            anchor=int(is_anchor),
            previous_hash=GENESIS if last is None else last.hash,
            anchor_hash=GENESIS if last is None else (last.hash if last.anchor else last.anchor_hash),
            key_id=self._key.key_id,
        )
        signature = base64.urlsafe_b64encode(self._key.sign(draft.message)).decode().rstrip("=")
        return draft._replace(signature=signature)

    def thin(self) -> int:
        """Remove what is no anchor and `KEEP_ALL` older than the newest; returns how many. A part in each turn.

        Raises:
            DomainError: the platform's database does not answer.
            OSError: the file cannot be written.
        """
        last = self._last
        if self._is_thinned or last is None:
            return 0
        # Counted from the newest one, so that every verification draws the same line.
        until_us = last.signed_at_us - KEEP_ALL // timedelta(microseconds=1)
        before = self._db.read(partial(repository.newest_anchor, until_us=until_us))
        total = 0
        for _ in range(_MOST_THINNED):
            removed = self._thin_some(before)
            total += removed
            if removed < _AT_ONCE:
                break
        else:
            return total
        with self._lock:
            if before:
                self._file.thin(before=before)
            self._is_thinned = True
        return total

    def _thin_some(self, before: int) -> int:
        op_id = new_id("checkpoint")

        def body(tx: Tx) -> JsonObject:
            tx.forget(op_id)
            return {"removed": repository.thin_rounds(tx, before=before, limit=_AT_ONCE)}

        if not self._db.read(partial(repository.has_thinnable, before=before)):
            return 0
        return int(str(self._db.run_tx(op_id, body, origin=_SIGNING).value["removed"]))


def _in_parts(found: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(found)
    while part := list(islice(left, size)):
        yield part


def _merged(stored: Iterator[Round], copied: Iterator[Round]) -> Iterator[Round]:
    """Both in the order of their numbers, each number once."""
    last = 0
    for each in heapq.merge(stored, copied, key=lambda found: found.number):
        if each.number > last:
            last = each.number
            yield each


def _is_stored(tx: Tx, made: Round) -> bool:
    """Whether the same transaction was committed before, and its answer lost."""
    return repository.list_rounds(tx, after=made.number - 1, limit=1)[0] == [made]
