"""The outbox: no gap, the order of the commits, nothing missed by a reader that polls."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from sqlalchemy import delete, select

from app.core import outbox
from app.core.chain import GENESIS, link_hash
from app.core.clock import SystemClock
from app.core.db import Database, Tx
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.json import JsonObject
from app.core.origin import Actor, Origin
from app.core.outbox_chain import CHAINED_AT_ONCE, ChainEnd, Link, entry_of
from app.core.schema import instance_metadata
from tests.architecture.source import ROOT
from tests.fake.clock import FakeClock
from tests.integration.app.core.conftest import Bench
from tests.integration.app.core.tally import count, create_tally, tally_of

WRITERS = 16
ROUNDS = 12
_nobody = nullcontext()
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


_ROWS = select(instance_metadata.tables["outbox_event"]).order_by(
    instance_metadata.tables["outbox_event"].c.sequence
)


def _check_chain(db: Database) -> Link:
    """Every hash by hand; the last link."""
    link = Link(0, GENESIS)
    for row in db.read(lambda reader: reader.all(_ROWS)):
        assert row.sequence == link.sequence + 1
        link = Link(row.sequence, link_hash(link.hash, entry_of(row)))
        assert row.hash == link.hash, f"entry {row.sequence}"
    return link


def _emit(db: Database, count: int = 1) -> None:
    def body(tx: Tx) -> JsonObject:
        for number in range(count):
            tx.emit("test.done", subject="s", data={"n": number})
        return {}

    db.run_tx(f"emit-{random.getrandbits(60)}", body)


def _write_as_an_older_wops(db: Database, count: int) -> None:
    """As the release before the chain does it: a number, no hash, none of the columns of the audit."""
    with db.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql(f"UPDATE outbox_sequence SET last = last + {count} WHERE name = 'events'")
        (last,) = connection.exec_driver_sql("SELECT last FROM outbox_sequence").fetchone()  # type: ignore[misc]
        for number in range(last - count + 1, last + 1):
            connection.exec_driver_sql(
                "INSERT INTO outbox_event (sequence, event_id, type, subject, op_id, data, occurred_at_us, delivery)"
                f" VALUES ({number}, 'evt_old_{number}', 'old.done', 'ü', 'op', '{{}}', 1, 0)"
            )
        connection.exec_driver_sql("COMMIT")


def test_sixteen_writers_make_one_chain_without_a_fork(instance_db: Database) -> None:
    create_tally(instance_db)
    with ThreadPoolExecutor(WRITERS) as threads:
        emitted = sum(threads.map(lambda number: _write(instance_db, number), range(WRITERS)))
    link = _check_chain(instance_db)
    assert link.sequence == emitted
    assert instance_db.chain_end.link == link


@pytest.mark.parametrize("where", ["body", "store", "commit"])
def test_killed_writer_among_others_leaves_no_hole_in_the_chain(
    open_bench: Callable[..., Bench], engine_kind: str, where: str
) -> None:
    db = open_bench(engine_kind, clock=SystemClock()).db
    url = db.engine.url.render_as_string(hide_password=False)
    op_id = f"killed-{random.getrandbits(60)}"
    command = [sys.executable, "-m", "tests.integration.app.core.crash", url, op_id, where]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        with ThreadPoolExecutor(4) as threads:
            writing = [threads.submit(_emit, db, 2) for _ in range(8)]
            child.kill()
            for each in writing:
                each.result()
    before = _check_chain(db)
    assert db.run_tx(op_id, _again).replayed is (where == "commit")
    assert _check_chain(db).sequence == before.sequence + (0 if where == "commit" else 1)


def _again(tx: Tx) -> JsonObject:
    tx.emit("test.counted", subject="again", data={})
    return {}


def test_events_of_an_older_wops_get_their_hashes_before_the_next_one(instance_db: Database) -> None:
    _write_as_an_older_wops(instance_db, 3)
    _emit(instance_db, 2)
    _write_as_an_older_wops(instance_db, 1)
    _emit(instance_db)
    assert _check_chain(instance_db).sequence == 7


@pytest.mark.parametrize("extra", [-1, 0, 1, 700])
def test_many_events_of_an_older_wops_are_chained_in_several_transactions(
    instance_db: Database, extra: int
) -> None:
    _write_as_an_older_wops(instance_db, CHAINED_AT_ONCE + extra)
    _emit(instance_db)
    assert _check_chain(instance_db).sequence == CHAINED_AT_ONCE + extra + 1


class _SlowClock(FakeClock):
    """Every transaction takes five seconds."""

    def now(self) -> datetime:
        self._jumped += 5.0
        return super().now()


def test_writer_waits_for_the_chain_no_longer_than_his_deadline_and_the_next_goes_on(
    instance_db: Database,
) -> None:
    _write_as_an_older_wops(instance_db, 5 * CHAINED_AT_ONCE)
    url = instance_db.engine.url.render_as_string(hide_password=False)
    db = Database(url, clock=_SlowClock(), deadline=timedelta(seconds=12))
    for turn in (1, 2):
        with pytest.raises(DatabaseUnavailable, match="brought up to date"):
            _emit(db)
        chained = [row for row in db.read(lambda reader: reader.all(_ROWS)) if row.hash is not None]
        assert len(chained) == 2 * turn * CHAINED_AT_ONCE
    _emit(db)
    db.close()
    assert _check_chain(instance_db).sequence == 5 * CHAINED_AT_ONCE + 1


def test_chaining_up_beforehand_goes_on_for_as_long_as_it_takes(instance_db: Database) -> None:
    _write_as_an_older_wops(instance_db, 5 * CHAINED_AT_ONCE)
    url = instance_db.engine.url.render_as_string(hide_password=False)
    db = Database(url, clock=_SlowClock(), deadline=timedelta(seconds=12))
    assert db.chain_up() == 5 * CHAINED_AT_ONCE
    db.close()


def test_chaining_up_beforehand_says_says_how_many(instance_db: Database) -> None:
    assert instance_db.chain_up() == 0
    _write_as_an_older_wops(instance_db, CHAINED_AT_ONCE + 5)
    assert (instance_db.chain_up(), instance_db.chain_up()) == (CHAINED_AT_ONCE + 5, 0)
    _check_chain(instance_db)


def test_older_and_newer_writers_at_once_make_one_chain(instance_db: Database) -> None:
    def work(number: int) -> None:
        for _ in range(5):
            if number % 2:
                _emit(instance_db, 2)
            else:
                with instance_db._writer or _nobody:
                    _write_as_an_older_wops(instance_db, 2)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    instance_db.chain_up()
    assert _check_chain(instance_db).sequence == 60


def test_chain_goes_on_behind_removed_entries_and_says_so(
    instance_db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has cut off the end: the instance works on, and the gap stays in the chain for ever."""
    _emit(instance_db, 5)
    with instance_db.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("DELETE FROM outbox_event WHERE sequence > 3")
        connection.exec_driver_sql("COMMIT")
    with caplog.at_level(logging.CRITICAL):
        _emit(instance_db)
    assert [record.message for record in caplog.records] == ["audit_chain_has_gap"]
    rows = instance_db.read(lambda reader: reader.all(_ROWS))
    assert [row.sequence for row in rows] == [1, 2, 3, 6]
    assert rows[-1].hash == link_hash(rows[-2].hash, entry_of(rows[-1]))


def test_entry_says_who_did_it_why_and_what_was_before(instance_db: Database) -> None:
    def body(tx: Tx) -> JsonObject:
        tx.emit("item.changed", subject="A", data={"n": 2}, before={"n": 1})
        return {}

    actor = Actor(kind="staff", actor_id="stk_1", person="per_1", sealed_name="x")
    instance_db.run_tx(
        "op_1", body, origin=Origin(actor=actor, action="doIt", request_id="r", reason="Because.")
    )
    (row,) = instance_db.read(lambda reader: reader.all(_ROWS))
    assert row.actor == '{"id":"stk_1","kind":"staff","person":"per_1","sealed_name":"x"}'
    assert (row.action, row.request_id, row.reason, row.before_change) == ("doIt", "r", "Because.", '{"n":1}')


def test_end_that_is_known_is_the_end_that_was_committed(instance_db: Database) -> None:
    _emit(instance_db)
    assert instance_db.chain_end.link == _check_chain(instance_db)
    instance_db.run_tx("twice", _again)
    assert instance_db.run_tx("twice", _again).replayed
    assert instance_db.chain_end.link == _check_chain(instance_db)
    instance_db.chain_end = ChainEnd()
    assert instance_db.chain_end.link is None
