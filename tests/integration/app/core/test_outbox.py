"""The outbox: no gap, the order of the commits, nothing missed by a reader that polls."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
from sqlalchemy import delete

from app.core import outbox
from app.core.db import Database, Tx
from app.core.errors import DomainError
from app.core.json import JsonObject
from app.core.schema import instance_metadata
from tests.integration.app.core.tally import count, create_tally, tally_of

WRITERS = 16
ROUNDS = 12
_NO_SEQUENCE = delete(instance_metadata.tables["outbox_sequence"])


class Refused(DomainError):
    code: ClassVar[str] = "refused"


def _write(db: Database, writer: int) -> int:
    """Some transactions, each with one to four events or none, a third of them rolled back."""
    choose = random.Random(writer)
    emitted = 0
    for turn in range(ROUNDS):
        events = choose.randint(0, 4)
        refuse = choose.random() < 0.34

        def body(tx: Tx, turn: int = turn, events: int = events, refuse: bool = refuse) -> JsonObject:
            place = count(tx, f"writer-{writer}")
            for number in range(events):
                tx.emit("test.done", subject=f"writer-{writer}", data={"turn": place, "number": number})
            if refuse:
                raise Refused("No.")
            return {}

        try:
            db.run_tx(f"{writer}-{turn}", body)
            emitted += events
        except Refused:
            pass
    return emitted


def _poll(db: Database, is_over: Callable[[], bool]) -> list[outbox.Event]:
    """Read on after the last event seen, as workers and `GET events?after=` do."""
    seen: list[outbox.Event] = []
    while True:
        over = is_over()
        after = seen[-1].sequence if seen else 0
        new = db.read(lambda reader, after=after: outbox.list_events(reader, after=after, limit=7))  # type: ignore[misc]
        seen += new
        if over and not new:
            return seen


def test_sequence_has_no_gap_and_a_polling_reader_misses_nothing(instance_db: Database) -> None:
    create_tally(instance_db)
    with ThreadPoolExecutor(WRITERS + 1) as threads:
        writers = [threads.submit(_write, instance_db, number) for number in range(WRITERS)]
        reader = threads.submit(_poll, instance_db, lambda: all(writer.done() for writer in writers))
        emitted = sum(writer.result() for writer in writers)
        seen = reader.result()
    assert [event.sequence for event in seen] == list(range(1, emitted + 1))
    assert instance_db.read(outbox.last_sequence) == emitted
    everything = instance_db.read(lambda at: outbox.list_events(at, after=0, limit=emitted + 1))
    assert everything == seen
    assert len({event.event_id for event in seen}) == emitted


def test_order_of_the_sequence_is_the_order_of_the_commits(instance_db: Database) -> None:
    """All writers count one row; its value says in which order they committed."""
    create_tally(instance_db)

    def work(number: int) -> None:
        def body(tx: Tx) -> JsonObject:
            tx.emit("test.counted", subject="one", data={"n": count(tx, "one")})
            return {}

        for turn in range(4):
            instance_db.run_tx(f"{number}-{turn}", body)

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(work, range(WRITERS)))
    events = instance_db.read(lambda reader: outbox.list_events(reader, after=0, limit=1_000))
    assert [event.data["n"] for event in events] == list(range(1, 4 * WRITERS + 1))
    assert tally_of(instance_db, "one") == 4 * WRITERS


def test_event_tells_everything_that_was_emitted(instance_db: Database) -> None:
    def body(tx: Tx) -> JsonObject:
        tx.emit("license.activated", subject="lic_1", data={"ü": [1, None, {"x": "'; --"}]})
        tx.emit("license.activated", subject="lic_2", data={})
        return {}

    instance_db.run_tx("op_1", body)
    first, second = instance_db.read(lambda reader: outbox.list_events(reader, after=0, limit=10))
    assert (first.sequence, first.type, first.subject) == (1, "license.activated", "lic_1")
    assert first.data == {"ü": [1, None, {"x": "'; --"}]}
    assert first.occurred_at == second.occurred_at == instance_db.clock.now()
    assert first.event_id < second.event_id


def test_reading_goes_on_after_a_number_and_stops_at_the_limit(instance_db: Database) -> None:
    def body(tx: Tx) -> JsonObject:
        for number in range(10):
            tx.emit("test.done", subject="s", data={"number": number})
        return {}

    assert instance_db.read(outbox.last_sequence) == 0
    instance_db.run_tx("op_1", body)

    def numbers(after: int, limit: int) -> list[int]:
        found = instance_db.read(lambda reader: outbox.list_events(reader, after=after, limit=limit))
        return [event.sequence for event in found]

    assert numbers(0, 3) == [1, 2, 3]
    assert numbers(8, 5) == [9, 10]
    assert numbers(10, 5) == []


def test_database_without_its_sequence_row_is_a_defect_that_shows(instance_db: Database) -> None:
    instance_db.run_tx("op_1", lambda tx: {"gone": tx.write(_NO_SEQUENCE)})

    def body(tx: Tx) -> JsonObject:
        tx.emit("test.done", subject="s", data={})
        return {}

    with pytest.raises(RuntimeError, match="not migrated"):
        instance_db.run_tx("op_2", body)
    assert instance_db.read(lambda reader: outbox.list_events(reader, after=0, limit=1)) == []
