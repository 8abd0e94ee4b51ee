"""All checkpoints of the platform database, read page by page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from app.core.db import Database
from app.core.db_session import DRIVER_ERRORS
from app.operations.audit import repository
from app.operations.audit.verify_audit import Checkpoint, Round

_PAGE: Final = 200


def iter_rounds(db: Database, *, after: int = 0, chain: str = "") -> Iterator[Round]:
    """Those with a number above `after`, oldest first; of one chain, or of all if it is empty.

    What cannot be read is left out; whoever compares with the copy finds that it is not there.
    """
    following: int | None = after
    while following is not None:
        page, following = _read_page(db, following, chain)
        yield from page


def _read_page(db: Database, after: int, chain: str) -> tuple[list[Round], int | None]:
    try:
        return db.read(partial(repository.list_rounds, after=after, limit=_PAGE, chain=chain))
    except DRIVER_ERRORS:
        return _read_singly(db, after)


def _read_singly(db: Database, after: int) -> tuple[list[Round], int | None]:
    numbers = db.read(partial(repository.list_round_numbers, after=after, limit=_PAGE))
    found = [each for number in numbers for each in _read_one(db, number)]
    return found, numbers[-1] if len(numbers) == _PAGE else None


def _read_one(db: Database, number: int) -> list[Round]:
    try:
        return db.read(partial(repository.list_rounds, after=number - 1, until=number, limit=1))[0]
    except DRIVER_ERRORS:
        return []


def iter_chain_checkpoints(db: Database, chain: str, *, after: int = 0) -> Iterator[Checkpoint]:
    """What rounds say of a chain's entries above `after`, in the order of the chain."""
    for each in iter_rounds(db, chain=chain):
        for found in each.checkpoints(chain):
            if found.sequence > after:
                yield found
