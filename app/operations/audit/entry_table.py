"""The entries of a database's chain, read page by page, whatever somebody has made of them."""

from __future__ import annotations

from functools import partial

from app.core.db import Database, Reader
from app.core.db_session import DRIVER_ERRORS
from app.core.outbox import last_sequence
from app.operations.audit import repository
from app.operations.audit.repository import EntryFilter, StoredEntry


def read_entries(db: Database, *, after: int, limit: int) -> tuple[list[StoredEntry], int]:
    """Entries with a number above `after`, in the order of the chain, and the number that was given last.

    Entries that cannot be read are in their place, without content.

    Raises:
        DomainError: the database does not answer.
    """

    def read(reader: Reader) -> tuple[list[StoredEntry], int]:
        found = repository.list_entries(reader, after=after, limit=limit)
        return found, last_sequence(reader)

    try:
        return db.read(read)
    except DRIVER_ERRORS:
        numbers = db.read(partial(repository.list_numbers, after=after, limit=limit))
        return [_read_one(db, number) for number in numbers], db.read(last_sequence)


def find_entries(
    db: Database, wanted: EntryFilter, *, before: int, window: int, limit: int
) -> list[StoredEntry]:
    """Entries that fit, newest first, among the `window` numbers below `before`.

    Entries that cannot be read fit whatever is looked for, without content.

    Raises:
        DomainError: the database does not answer.
    """
    try:
        return db.read(
            partial(repository.find_entries, wanted=wanted, before=before, window=window, limit=limit)
        )
    except DRIVER_ERRORS:
        if window == 1:
            return [StoredEntry(sequence=before - 1, entry=None, hash=_hash_of(db, before - 1))]
    # One of them breaks the query: it is narrowed down to it.
    upper = window // 2
    found = find_entries(db, wanted, before=before, window=upper, limit=limit)
    if len(found) < limit:
        found += find_entries(
            db, wanted, before=before - upper, window=window - upper, limit=limit - len(found)
        )
    return found


def _read_one(db: Database, sequence: int) -> StoredEntry:
    try:
        (found,) = db.read(partial(repository.list_entries, after=sequence - 1, until=sequence, limit=1))
    except DRIVER_ERRORS:
        return StoredEntry(sequence=sequence, entry=None, hash=_hash_of(db, sequence))
    return found


def _hash_of(db: Database, sequence: int) -> str | None:
    try:
        link = db.read(partial(repository.find_link, sequence=sequence))
    except DRIVER_ERRORS:
        return None
    return None if link is None else link.hash
