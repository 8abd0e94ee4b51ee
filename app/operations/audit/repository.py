"""SQL of the audit: entries of any chain, checkpoints of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, delete, func, insert, literal, or_, select

from app.core.chain import ChainEntry, entry_digest
from app.core.db import Reader, Row, Tx
from app.core.json import dump_json, load_json
from app.core.outbox import last_sequence
from app.core.outbox_chain import Link, entry_of
from app.core.schema import instance_metadata
from app.operations.audit.tables import audit_checkpoint as _checkpoint
from app.operations.audit.verify_audit import Round, read_round

_event = instance_metadata.tables["outbox_event"]

_OVERLAP_US: Final = 60_000_000
"""Longer than any transaction: its time is taken when it begins, its numbers when it ends. **Source:** `Database`
gives up after 12 s."""

_AFTER = (
    select(_event)
    .where(_event.c.sequence > bindparam("b_after"), _event.c.sequence <= bindparam("b_until"))
    .order_by(_event.c.sequence)
    .limit(bindparam("b_limit"))
)
_NUMBERS = (
    select(_event.c.sequence)
    .where(_event.c.sequence > bindparam("b_after"))
    .order_by(_event.c.sequence)
    .limit(bindparam("b_limit"))
)
_END = select(_event.c.sequence, _event.c.hash).order_by(_event.c.sequence.desc()).limit(1)
_LINK = select(_event.c.sequence, _event.c.hash).where(_event.c.sequence == bindparam("b_sequence"))
_FIRST_SINCE = (
    select(_event.c.sequence)
    .where(_event.c.occurred_at_us >= bindparam("b_at"), _event.c.sequence >= bindparam("b_from"))
    .order_by(_event.c.sequence)
    .limit(1)
)
_LAST_BEFORE = (
    select(_event.c.sequence)
    .where(_event.c.occurred_at_us < bindparam("b_at"), _event.c.sequence <= bindparam("b_to"))
    .order_by(_event.c.sequence.desc())
    .limit(1)
)
_TIME_FROM = (
    select(_event.c.sequence, _event.c.occurred_at_us)
    .where(_event.c.sequence >= bindparam("b_from"))
    .order_by(_event.c.sequence)
    .limit(1)
)
_LAST_UP_TO = (
    select(_event.c.sequence)
    .where(_event.c.sequence <= bindparam("b_to"))
    .order_by(_event.c.sequence.desc())
    .limit(1)
)
_HAPPENED = (
    select(_event.c.sequence)
    .where(_event.c.type == bindparam("b_type"), _event.c.subject == bindparam("b_subject"))
    .limit(1)
)


def _is(column: str, name: str) -> ColumnElement[bool]:
    return or_(bindparam(name) == literal(""), _event.c[column] == bindparam(name))


_PERSON: Final = "per_"
# Actors are canonical JSON, so a member's text stands in it in one form only.
_FOUND = (
    select(_event)
    .where(
        _event.c.sequence < bindparam("b_before"),
        _event.c.sequence >= bindparam("b_from"),
        _is("type", "b_type"),
        _is("subject", "b_subject"),
        _is("action", "b_action"),
        _is("request_id", "b_request"),
        or_(bindparam("b_actor") == literal(""), func.instr(_event.c.actor, bindparam("b_actor")) > 0),
        or_(
            bindparam("b_about") == literal(""),
            _event.c.subject == bindparam("b_about"),
            func.instr(_event.c.data, bindparam("b_about")) > 0,
            func.instr(_event.c.before_change, bindparam("b_about")) > 0,
        ),
        and_(
            _event.c.occurred_at_us >= bindparam("b_since"),
            _event.c.occurred_at_us < bindparam("b_until"),
        ),
    )
    .order_by(_event.c.sequence.desc())
    .limit(bindparam("b_limit"))
)

_ADD_ROUND = insert(_checkpoint)
_ROUNDS = (
    select(_checkpoint)
    .where(
        _checkpoint.c.number > bindparam("b_after"),
        _checkpoint.c.number <= bindparam("b_until"),
        # Texts of JSON, so that a chain's name stands in them in one form only.
        or_(bindparam("b_chain") == literal(""), func.instr(_checkpoint.c.links, bindparam("b_chain")) > 0),
    )
    .order_by(_checkpoint.c.number)
    .limit(bindparam("b_limit"))
)
_ROUND_NUMBERS = (
    select(_checkpoint.c.number)
    .where(_checkpoint.c.number > bindparam("b_after"))
    .order_by(_checkpoint.c.number)
    .limit(bindparam("b_limit"))
)
_NEWEST_ROUNDS = (
    select(_checkpoint)
    .where(
        _checkpoint.c.number < bindparam("b_before"),
        or_(bindparam("b_chain") == literal(""), func.instr(_checkpoint.c.links, bindparam("b_chain")) > 0),
    )
    .order_by(_checkpoint.c.number.desc())
    .limit(bindparam("b_limit"))
)
_ANCHORS = (
    select(_checkpoint)
    .where(_checkpoint.c.anchor == 1, _checkpoint.c.number > bindparam("b_after"))
    .order_by(_checkpoint.c.number)
    .limit(bindparam("b_limit"))
)
_NEWEST_ANCHOR = select(func.max(_checkpoint.c.number, type_=BigInteger).label("number")).where(
    _checkpoint.c.anchor == 1, _checkpoint.c.signed_at_us <= bindparam("b_at")
)
_COUNT_ROUNDS = select(
    func.count().label("count"), func.max(_checkpoint.c.number, type_=BigInteger).label("number")
).select_from(_checkpoint)
# A number that somebody has made a text is above all others in SQLite.
_NEWEST_TIME = (
    select(_checkpoint.c.number, _checkpoint.c.signed_at_us)
    .where(_checkpoint.c.number < 2**62)
    .order_by(_checkpoint.c.number.desc())
    .limit(1)
)
_THINNABLE = (
    select(_checkpoint.c.number)
    .where(_checkpoint.c.number < bindparam("b_before"), _checkpoint.c.anchor == 0)
    .order_by(_checkpoint.c.number)
    .limit(bindparam("b_limit"))
)
_REMOVE_ROUND = delete(_checkpoint).where(_checkpoint.c.number == bindparam("b_number"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """An entry as it is found.

    Attributes:
        sequence: 0 if not even that can be read.
        entry: None if it was changed into something that no entry can be.
        hash: that stands beside it; None if an older wops wrote it a moment ago.
    """

    sequence: int
    entry: ChainEntry | None
    hash: str | None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the entry; None if it cannot be read."""
        return None if self.entry is None else entry_digest(self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which entries are looked for; an empty text leaves its field alone.

    Attributes:
        subject: id of the object.
        actor_id: id of who did it: of a token or client, or of a person (`per_…`).
        about: id of an instance that the entry names.
        since_us, until_us: microseconds since 1970; until is not included.
    """

    type: str = ""
    subject: str = ""
    action: str = ""
    request_id: str = ""
    actor_id: str = ""
    about: str = ""
    since_us: int = 0
    until_us: int = 2**62


def list_entries(reader: Reader, *, after: int, limit: int, until: int = 2**62) -> list[StoredEntry]:
    """Entries with a number above `after` and up to `until`, in the order of the chain."""
    found = reader.all(_AFTER, {"b_after": after, "b_until": until, "b_limit": limit})
    return [_stored(row) for row in found]


def list_numbers(reader: Reader, *, after: int, limit: int) -> list[int]:
    """Numbers of entries above `after`: can be read where an entry cannot."""
    found = reader.all(_NUMBERS, {"b_after": after, "b_limit": limit})
    return [row.sequence for row in found if isinstance(row.sequence, int)]


def find_entries(
    reader: Reader, wanted: EntryFilter, *, before: int, window: int, limit: int
) -> list[StoredEntry]:
    """Entries that fit, newest first, among the `window` numbers below `before`."""
    rows = reader.all(
        _FOUND,
        {
            "b_before": before,
            "b_from": before - window,
            "b_type": wanted.type,
            "b_subject": wanted.subject,
            "b_action": wanted.action,
            "b_request": wanted.request_id,
            "b_actor": _actor_text(wanted.actor_id),
            "b_about": wanted.about,
            "b_since": wanted.since_us,
            "b_until": wanted.until_us,
            "b_limit": limit,
        },
    )
    return [_stored(row) for row in rows]


def _actor_text(actor_id: str) -> str:
    if not actor_id:
        return ""
    return f'"{"person" if actor_id.startswith(_PERSON) else "id"}":"{actor_id}"'


def find_end(reader: Reader) -> Link | None:
    """The newest entry and its hash; None before the first, and while an older wops's entry has none."""
    row = reader.first(_END)
    return _link(row)


def find_link(reader: Reader, sequence: int) -> Link | None:
    """The entry of that number and its hash."""
    row = reader.first(_LINK, {"b_sequence": sequence})
    return _link(row)


def find_range(reader: Reader, *, since_us: int, until_us: int) -> tuple[int, int] | None:
    """First and last number between two times; None if nothing happened then.

    Times rise with the numbers but for what transactions that overlap take: the border is looked for near to where
    halving finds it.
    """
    count = last_sequence(reader)
    begin = _halve(reader, since_us - _OVERLAP_US, count) if since_us > 0 else 1
    end = _halve(reader, until_us + _OVERLAP_US, count)
    first = reader.scalar(_FIRST_SINCE, {"b_at": since_us, "b_from": begin})
    last = reader.scalar(_LAST_BEFORE, {"b_at": until_us, "b_to": end})
    if not isinstance(first, int) or not isinstance(last, int) or last < first:
        return None
    return first, last


def _halve(reader: Reader, at_us: int, count: int) -> int:
    """The first number whose entry is not older than a time, as if times rose with the numbers."""
    low, high = 1, count + 1
    while low < high:
        middle = (low + high) // 2
        row = reader.first(_TIME_FROM, {"b_from": middle})
        if row is None or not isinstance(row.sequence, int) or row.sequence >= high:
            high = middle
        elif isinstance(row.occurred_at_us, int) and row.occurred_at_us < at_us:
            low = row.sequence + 1
        else:
            high = middle
    return low


def last_up_to(reader: Reader, sequence: int) -> int:
    """The number of the last entry that is there up to a number; 0 if there is none."""
    value = reader.scalar(_LAST_UP_TO, {"b_to": sequence})
    return value if isinstance(value, int) else 0


def has_event(reader: Reader, *, event_type: str, subject: str) -> bool:
    """Whether something has happened to an object. Walks along the whole chain if it has not."""
    return reader.scalar(_HAPPENED, {"b_type": event_type, "b_subject": subject}) is not None


def add_round(tx: Tx, found: Round) -> bool:
    """Store one; False if there is one of that number already."""
    return tx.insert_if_absent(
        _ADD_ROUND, {**found._asdict(), "links": dump_json(list(map(list, found.links)))}
    )


def list_rounds(
    reader: Reader, *, after: int, limit: int, until: int = 2**62, chain: str = ""
) -> tuple[list[Round], int | None]:
    """Rounds with a number above `after`, oldest first; of one chain, or of all if it is empty.

    Those that cannot be read are left out. Returns them, and the number behind which there are more, or None.
    """
    found = reader.all(
        _ROUNDS, {"b_after": after, "b_until": until, "b_chain": _quoted(chain), "b_limit": limit}
    )
    is_full = len(found) == limit and isinstance(found[-1].number, int)
    return _rounds(found), found[-1].number if is_full else None


def list_round_numbers(reader: Reader, *, after: int, limit: int) -> list[int]:
    """Numbers of rounds above `after`: can be read where a round cannot."""
    found = reader.all(_ROUND_NUMBERS, {"b_after": after, "b_limit": limit})
    return [row.number for row in found if isinstance(row.number, int)]


def list_newest_rounds(reader: Reader, *, chain: str, before: int, limit: int) -> list[Round]:
    """Rounds with a number below `before`, newest first; of one chain, or of all if it is empty."""
    return _rounds(
        reader.all(_NEWEST_ROUNDS, {"b_chain": _quoted(chain), "b_before": before, "b_limit": limit})
    )


def list_anchors(reader: Reader, *, after: int, limit: int) -> list[Round]:
    """Anchors with a number above `after`, oldest first."""
    return _rounds(reader.all(_ANCHORS, {"b_after": after, "b_limit": limit}))


def newest_anchor(reader: Reader, *, until_us: int = 2**62) -> int:
    """The number of the newest anchor that was signed by then; 0 if there is none."""
    value = reader.scalar(_NEWEST_ANCHOR, {"b_at": until_us})
    return value if isinstance(value, int) else 0


def count_rounds(reader: Reader) -> tuple[int, int]:
    """How many there are, and the highest number."""
    row = reader.first(_COUNT_ROUNDS)
    if row is None or not isinstance(row.number, int):
        return (0, 0)
    return int(row.count), row.number


def newest_time(reader: Reader) -> tuple[int, int]:
    """The highest number and when it was signed (microseconds), whether the rest of its row can be read or not."""
    row = reader.first(_NEWEST_TIME)
    if row is None:
        return (0, 0)
    return int(row.number), row.signed_at_us if isinstance(row.signed_at_us, int) else 0


def has_thinnable(reader: Reader, *, before: int) -> bool:
    """Whether there is a round below that number that is no anchor."""
    return reader.scalar(_THINNABLE, {"b_before": before, "b_limit": 1}) is not None


def thin_rounds(tx: Tx, *, before: int, limit: int) -> int:
    """Remove rounds that are no anchors and have a number below `before`; returns how many."""
    old = tx.all(_THINNABLE, {"b_before": before, "b_limit": limit})
    tx.write_many(_REMOVE_ROUND, [{"b_number": row.number} for row in old])
    return len(old)


def _link(row: Row | None) -> Link | None:
    return None if row is None or not isinstance(row.hash, str) else Link(row.sequence, row.hash)


def _stored(row: Row) -> StoredEntry:
    entry = entry_of(row)
    texts, numbers = (entry[1:6], (entry.sequence, entry.occurred_at_us))
    # SQLite stores anything anywhere.
    is_readable = (
        all(isinstance(each, int) for each in numbers)
        and all(isinstance(each, str) for each in texts)
        and all(each is None or isinstance(each, str) for each in entry[7:])
    )
    return StoredEntry(
        sequence=row.sequence if isinstance(row.sequence, int) else 0,
        entry=entry if is_readable else None,
        hash=row.hash if isinstance(row.hash, str) else None,
    )


def _rounds(rows: Sequence[Row]) -> list[Round]:
    found = []
    for row in rows:
        # What somebody has bent is not there: the copy outside the database has it.
        with suppress(KeyError, TypeError, ValueError):
            fields = {name: getattr(row, name) for name in Round._fields}
            found.append(read_round({**fields, "links": load_json(row.links)}))
    return found


def _quoted(chain: str) -> str:
    return f'["{chain}",' if chain else ""
