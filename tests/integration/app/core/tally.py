"""A table whose rows count how often something was really done, and bodies that count."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import BigInteger, Column, MetaData, String, Table, bindparam, insert, select, update
from sqlalchemy.schema import CreateTable

from app.core import outbox
from app.core.db import Database, Tx
from app.core.json import JsonObject

TALLY = Table(
    "tally", MetaData(), Column("name", String(64), primary_key=True), Column("n", BigInteger, nullable=False)
)
ADD = insert(TALLY)
COUNT = update(TALLY).where(TALLY.c.name == bindparam("b_name")).values(n=TALLY.c.n + 1)
READ = select(TALLY.c.n).where(TALLY.c.name == bindparam("b_name"))


def create_tally(database: Database) -> None:
    """Make the table; it belongs to the test alone."""
    with database.engine.connect() as connection:
        connection.execute(CreateTable(TALLY, if_not_exists=True))
        connection.commit()


def tally_of(database: Database, name: str) -> int:
    """How often something was done; 0 when nothing of it was ever committed."""
    value = database.read(lambda reader: reader.scalar(READ, {"b_name": name}))
    return value if isinstance(value, int) else 0


def count(tx: Tx, name: str) -> int:
    """Do something once more; returns how often it was done by now."""
    if tx.write(COUNT, {"b_name": name}) == 0:
        tx.write(ADD, {"name": name, "n": 1})
    value = tx.scalar(READ, {"b_name": name})
    assert isinstance(value, int)
    return value


@dataclass
class Body:
    """A body with every kind of statement: writes, reads, emits one event. Counts its own runs."""

    name: str
    runs: int = 0
    seen: list[Tx] = field(default_factory=list)

    def __call__(self, tx: Tx) -> JsonObject:
        self.runs += 1
        self.seen.append(tx)
        tx.emit("test.counted", subject=self.name, data={"ü": [1, None]})
        return {"name": self.name, "n": count(tx, self.name), "list": [1, {"x": "ß"}]}


def events_of(database: Database, subject: str) -> list[outbox.Event]:
    """All events about a subject, in their order."""
    everything = database.read(lambda reader: outbox.list_events(reader, after=0, limit=100_000))
    return [event for event in everything if event.subject == subject]
