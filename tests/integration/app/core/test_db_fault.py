"""run_tx under every error of the matrix: one effect, one answer, no connection lost, no endless waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pymysql
import pytest

from app.core.db import Database, Tx
from app.core.errors import CommitOutcomeUnknown, DatabaseUnavailable, OperationInProgress
from app.core.ids import new_id
from app.core.json import JsonObject
from tests.integration.app.core.conftest import Bench
from tests.integration.app.core.fault import Point, When, mariadb_error, raises, sqlite_error
from tests.integration.app.core.tally import Body, events_of, tally_of
from tests.service.mariadb import MariaDbServer
from tests.service.wait import wait_until

GONE = (1047, 2002, 2003, 1040, 2006, 2013, 0, 1053, 1203, 1226, 1290, 1836, 1927, 4151)
"""0 stands for PyMySQL's InterfaceError(0, '')."""
PASSING = (1213, 1020, 1205, *GONE)
POINTS: tuple[Point, ...] = ("claim", "body", "outbox", "store")
INSIDE: tuple[tuple[Point, When], ...] = tuple(product(POINTS, ("before", "after")))


def answer_of(name: str) -> JsonObject:
    return {"name": name, "n": 1, "list": [1, {"x": "ß"}]}


def assert_done_once(db: Database, name: str) -> None:
    assert tally_of(db, name) == 1
    assert [event.data for event in events_of(db, name)] == [{"ü": [1, None]}]


def assert_not_done(db: Database, name: str) -> None:
    assert (tally_of(db, name), events_of(db, name)) == (0, [])


mariadb = pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
sqlite = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)


@pytest.fixture
def name() -> str:
    """Of an operation that no other test of the module has."""
    return new_id("op")


# A passing error before COMMIT: the body runs again.


@mariadb
@pytest.mark.parametrize(("point", "when"), INSIDE)
@pytest.mark.parametrize("code", PASSING)
def test_passing_error_before_commit_reruns_the_body(
    bench: Bench, name: str, code: int, point: Point, when: When
) -> None:
    bench.faults.at(point, when, raises(mariadb_error(code)))
    body = Body(name)
    answer = bench.db.run_tx(name, body)
    assert (answer.value, answer.replayed) == (answer_of(name), False)
    assert body.runs == (1 if point == "claim" else 2)
    assert_done_once(bench.db, name)
    assert bench.db.run_tx(name, body).value == answer.value


@mariadb
@pytest.mark.parametrize("code", [1040, 2002, 2003, 1047, 4151, 1053])
@pytest.mark.parametrize("times", [1, 4])
def test_refused_connection_is_tried_again(bench: Bench, name: str, code: int, times: int) -> None:
    bench.faults.at("connect", "before", raises(mariadb_error(code)), times=times)
    assert bench.db.run_tx(name, Body(name)).replayed is False
    assert len(bench.clock.pauses) == times
    assert_done_once(bench.db, name)


@mariadb
@pytest.mark.parametrize("statement", range(6))
@pytest.mark.parametrize("code", [2013, 1047])
def test_first_connection_that_breaks_while_it_is_examined_is_made_again(
    bench: Bench, name: str, code: int, statement: int
) -> None:
    bench.faults.at("setup", "before", lambda: None, times=statement)
    bench.faults.at("setup", "before", raises(mariadb_error(code)))
    assert bench.db.run_tx(name, Body(name)).replayed is False
    assert_done_once(bench.db, name)


@sqlite
@pytest.mark.parametrize(
    ("point", "when"), [("begin", "before"), ("begin", "after"), *INSIDE, ("commit", "before")]
)
@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_LOCKED])
def test_busy_file_reruns_the_body(bench: Bench, name: str, code: int, point: Point, when: When) -> None:
    bench.faults.at(point, when, raises(sqlite_error(code)))
    answer = bench.db.run_tx(name, Body(name))
    assert (answer.value, answer.replayed) == (answer_of(name), False)
    assert_done_once(bench.db, name)


# COMMIT: nobody knows. The same id settles it.


@mariadb
@pytest.mark.parametrize("code", [*PASSING, 1180, 1062, 1114, 1317])
def test_error_instead_of_commit_is_settled_by_the_same_id(bench: Bench, name: str, code: int) -> None:
    bench.faults.at("commit", "before", raises(mariadb_error(code)))
    body = Body(name)
    answer = bench.db.run_tx(name, body)
    assert (answer.value, answer.replayed, body.runs) == (answer_of(name), False, 2)
    assert_done_once(bench.db, name)


@mariadb
@pytest.mark.parametrize("code", [*PASSING, 1180, 1062, 1114, 1317])
def test_error_after_commit_is_settled_by_the_same_id(bench: Bench, name: str, code: int) -> None:
    bench.faults.at("commit", "after", raises(mariadb_error(code)))
    body = Body(name)
    answer = bench.db.run_tx(name, body)
    assert (answer.value, answer.replayed, body.runs) == (answer_of(name), True, 1)
    assert_done_once(bench.db, name)


@sqlite
@pytest.mark.parametrize(("when", "replayed"), [("before", False), ("after", True)])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_FSYNC])
def test_failed_sync_at_commit_is_settled_by_the_same_id(
    bench: Bench, name: str, code: int, when: When, replayed: bool
) -> None:
    bench.faults.at("commit", when, raises(sqlite_error(code)))
    answer = bench.db.run_tx(name, Body(name))
    assert (answer.value, answer.replayed) == (answer_of(name), replayed)
    assert_done_once(bench.db, name)


@mariadb
def test_many_faults_one_after_the_other_are_survived(bench: Bench, name: str) -> None:
    for point, code in (("claim", 1213), ("body", 1020), ("commit", 1213), ("store", 2013), ("outbox", 1205)):
        bench.faults.at(point, "before", raises(mariadb_error(code)))  # type: ignore[arg-type]
    bench.faults.at("commit", "after", raises(mariadb_error(2013)))
    answer = bench.db.run_tx(name, Body(name))
    assert (answer.value, answer.replayed) == (answer_of(name), True)
    assert_done_once(bench.db, name)


# What does not pass.


@sqlite
@pytest.mark.parametrize(("point", "when"), [("begin", "before"), *INSIDE, ("commit", "before")])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY])
def test_full_disk_is_said_at_once_and_nothing_is_written(
    bench: Bench, name: str, code: int, point: Point, when: When
) -> None:
    bench.faults.at(point, when, raises(sqlite_error(code)))
    with pytest.raises(DatabaseUnavailable) as refused:
        bench.db.run_tx(name, Body(name))
    assert refused.type is DatabaseUnavailable
    assert bench.clock.pauses == []
    assert_not_done(bench.db, name)
    assert bench.db.run_tx(name, Body(name)).replayed is False


@sqlite
@pytest.mark.parametrize(("point", "when"), INSIDE)
def test_failed_read_or_write_of_the_file_before_commit_writes_nothing(
    bench: Bench, name: str, point: Point, when: When
) -> None:
    bench.faults.at(point, when, raises(sqlite_error(sqlite3.SQLITE_IOERR)))
    with pytest.raises(DatabaseUnavailable):
        bench.db.run_tx(name, Body(name))
    assert_not_done(bench.db, name)


def test_file_that_may_not_grow_refuses_and_keeps_what_it_has(
    open_bench: Callable[..., Bench], name: str
) -> None:
    bench: Bench = open_bench("sqlite")
    bench.db.run_tx(name, Body(name))
    with bench.db.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    def grow(tx: Tx) -> JsonObject:
        Body(f"{name}-2")(tx)
        return {"large": "x" * 1_000_000}

    with pytest.raises(DatabaseUnavailable, match="Nothing was changed"):
        bench.db.run_tx(f"{name}-2", grow)
    assert_not_done(bench.db, f"{name}-2")
    assert bench.db.run_tx(name, Body(name)).replayed is True
    assert bench.db.run_tx(f"{name}-2", grow).value == {"large": "x" * 1_000_000}


@mariadb
@pytest.mark.parametrize(("point", "when"), INSIDE)
@pytest.mark.parametrize("code", [1180, 1064, 1054, 1146])
def test_defect_is_shown_and_nothing_is_written(
    bench: Bench, name: str, code: int, point: Point, when: When
) -> None:
    bench.faults.at(point, when, raises(mariadb_error(code)))
    with pytest.raises(pymysql.err.OperationalError, match="injected"):
        bench.db.run_tx(name, Body(name))
    assert bench.clock.pauses == []
    assert_not_done(bench.db, name)


# Deadlines.


@mariadb
@pytest.mark.parametrize("code", [1213, 1020, *GONE])
def test_error_that_stays_ends_at_the_deadline_with_nothing_written(
    bench: Bench, name: str, code: int
) -> None:
    bench.faults.always("body", "after", raises(mariadb_error(code)))
    with pytest.raises(DatabaseUnavailable) as refused:
        bench.db.run_tx(name, Body(name))
    assert refused.type is DatabaseUnavailable
    bench.faults.clear()
    assert_not_done(bench.db, name)
    assert bench.db.run_tx(name, Body(name)).replayed is False


def test_pauses_grow_to_a_bound_and_end_at_the_deadline(bench: Bench, name: str) -> None:
    error = sqlite_error(sqlite3.SQLITE_BUSY) if bench.db.dialect == "sqlite" else mariadb_error(1213)
    bench.faults.always("body", "before", raises(error))
    with pytest.raises(DatabaseUnavailable):
        bench.db.run_tx(name, Body(name))
    pauses = bench.clock.pauses
    assert all(0.0025 * 2**step <= pause <= 0.005 * 2**step for step, pause in enumerate(pauses[:5]))
    assert all(0.1 <= pause <= 0.2 for pause in pauses[6:])
    assert 6 < sum(pauses) < 12.2


@mariadb
def test_commit_that_never_answers_ends_as_unknown_and_is_settled_later_when_it_was_not_done(
    bench: Bench, name: str
) -> None:
    bench.faults.always("commit", "before", raises(mariadb_error(2013)))
    with pytest.raises(CommitOutcomeUnknown):
        bench.db.run_tx(name, Body(name))
    bench.faults.clear()
    assert_not_done(bench.db, name)
    assert bench.db.run_tx(name, Body(name)).replayed is False
    assert_done_once(bench.db, name)


@mariadb
def test_commit_that_never_answers_ends_as_unknown_and_is_settled_later_when_it_was_done(
    bench: Bench, name: str
) -> None:
    def cut_for_good() -> None:
        bench.faults.always("connect", "before", raises(mariadb_error(2003)))
        raise mariadb_error(2013)()

    bench.faults.at("commit", "after", cut_for_good)
    with pytest.raises(CommitOutcomeUnknown):
        bench.db.run_tx(name, Body(name))
    bench.faults.clear()
    assert_done_once(bench.db, name)
    answer = bench.db.run_tx(name, Body(name))
    assert (answer.value, answer.replayed) == (answer_of(name), True)
    assert_done_once(bench.db, name)


@mariadb
def test_refusal_after_an_unknown_commit_is_no_answer(bench: Bench, name: str) -> None:
    bench.faults.at("commit", "before", raises(mariadb_error(2013)))
    done = Body(name)

    def refusing_the_second_time(tx: Tx) -> JsonObject:
        if done.runs:
            raise OperationInProgress("the quota was used up meanwhile")
        return done(tx)

    with pytest.raises(CommitOutcomeUnknown) as unknown:
        bench.db.run_tx(name, refusing_the_second_time)
    assert isinstance(unknown.value.__cause__, OperationInProgress)
    assert bench.db.run_tx(name, Body(name)).replayed is False
    assert_done_once(bench.db, name)


@sqlite
def test_unknown_outcome_stays_unknown_when_the_disk_is_full_afterwards(bench: Bench, name: str) -> None:
    bench.faults.at("commit", "after", raises(sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)))
    bench.faults.at("begin", "before", lambda: None)
    bench.faults.always("begin", "before", raises(sqlite_error(sqlite3.SQLITE_FULL)))
    with pytest.raises(CommitOutcomeUnknown):
        bench.db.run_tx(name, Body(name))
    bench.faults.clear()
    assert bench.db.run_tx(name, Body(name)).replayed is True


@mariadb
def test_server_that_never_takes_connections_ends_at_the_deadline(bench: Bench, name: str) -> None:
    bench.faults.always("connect", "before", raises(mariadb_error(2003)))
    with pytest.raises(DatabaseUnavailable) as refused:
        bench.db.run_tx(name, Body(name))
    assert refused.type is DatabaseUnavailable
    with pytest.raises(DatabaseUnavailable):
        bench.db.read(lambda reader: reader.now)


@mariadb
def test_first_attempt_still_running_at_the_deadline_is_named(bench: Bench, name: str) -> None:
    def hold(tx: Tx) -> JsonObject:
        with pytest.raises(OperationInProgress):
            second.run_tx(name, Body(name))
        return {"held": True}

    second = Database(bench.db.engine.url.render_as_string(hide_password=False), deadline=timedelta(0))
    with second.engine.connect() as connection:
        connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout=1")
    assert bench.db.run_tx(name, hold).value == {"held": True}
    assert second.run_tx(name, Body(name)).value == {"held": True}
    second.close()


@mariadb
def test_process_that_stands_still_in_a_transaction_holds_nobody_up_for_long(bench: Bench, name: str) -> None:
    second = Database(bench.db.engine.url.render_as_string(hide_password=False))
    bench.db.run_tx(new_id("op"), Body(name))
    still = Body(name)

    def stand_still(tx: Tx) -> JsonObject:
        done = still(tx)
        if still.runs == 1:
            # It has the row, and says nothing until somebody else has changed it.
            assert second.run_tx(new_id("op"), Body(name)).replayed is False
        return done

    answer = bench.db.run_tx(name, stand_still)
    assert (answer.replayed, still.runs, tally_of(bench.db, name)) == (False, 2, 3)
    second.close()


# Reads.


@mariadb
@pytest.mark.parametrize("code", PASSING)
def test_read_is_repeated_after_a_passing_error(bench: Bench, name: str, code: int) -> None:
    bench.db.run_tx(name, Body(name))
    bench.faults.at("body", "before", raises(mariadb_error(code)))
    assert tally_of(bench.db, name) == 1


# The real thing instead of an injected error.


@mariadb
def test_session_killed_by_the_administrator_is_replaced(
    bench: Bench, name: str, mariadb_server: MariaDbServer
) -> None:
    body = Body(name)

    def kill_first(tx: Tx) -> JsonObject:
        value = body(tx)
        if body.runs == 1:
            thread = tx._cursor.connection.thread_id()
            mariadb_server.execute(f"KILL {thread}")
        return value

    answer = bench.db.run_tx(name, kill_first)
    assert (answer.value, answer.replayed, body.runs) == (answer_of(name), False, 2)
    assert_done_once(bench.db, name)


@mariadb
def test_idle_sessions_killed_by_the_administrator_are_replaced(
    bench: Bench, name: str, mariadb_server: MariaDbServer
) -> None:
    bench.db.run_tx(name, Body(name))
    user = bench.db.engine.url.username
    mariadb_server.execute(f"KILL USER `{user}`@`%`")
    assert bench.db.run_tx(f"{name}-2", Body(f"{name}-2")).replayed is False
    assert tally_of(bench.db, f"{name}-2") == 1


@mariadb
@pytest.mark.parametrize("code", [1213, 2013])
def test_dropped_connections_are_closed_at_the_server(
    bench: Bench, name: str, code: int, mariadb_server: MariaDbServer
) -> None:
    bench.faults.at("body", "after", raises(mariadb_error(code)), times=20)
    bench.faults.at("commit", "after", raises(mariadb_error(code)))
    bench.db.run_tx(name, Body(name))
    user = bench.db.engine.url.username

    def is_down_to_one() -> bool:
        with mariadb_server.connect_admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s", (user,))
            return bool(cursor.fetchall()[0][0] <= 1)

    wait_until(is_down_to_one, "dropped connections to be gone")


def test_waiting_for_the_writer_ends_at_the_deadline(open_bench: Callable[..., Bench], name: str) -> None:
    bench: Bench = open_bench("sqlite", deadline=timedelta(milliseconds=50))

    def nested(tx: Tx) -> JsonObject:
        with pytest.raises(DatabaseUnavailable, match="Nothing was changed"):
            bench.db.run_tx(f"{name}-2", Body(f"{name}-2"))
        return {}

    bench.db.run_tx(name, nested)
    assert_not_done(bench.db, f"{name}-2")


@sqlite
def test_error_that_the_caller_keeps_does_not_keep_the_file_locked(bench: Bench, name: str) -> None:
    bench.faults.at("store", "before", raises(sqlite_error(sqlite3.SQLITE_FULL)))
    with pytest.raises(DatabaseUnavailable) as kept:
        bench.db.run_tx(name, Body(name))
    other = sqlite3.connect(str(bench.db.engine.url.database), timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.close()
    assert kept.value.__cause__ is not None
