"""run_tx and read on healthy databases: replays, refusals, rivals, roll-backs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar

import pytest
from sqlalchemy import bindparam, select, update

from app.core.clock import to_us
from app.core.db import MOST_AT_ONCE, Database, Reader, Tx
from app.core.errors import DatabaseUnavailable, DomainError, OperationIdReused
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.schema import instance_metadata
from tests.fake.clock import FakeClock
from tests.integration.app.core.conftest import Bench
from tests.integration.app.core.fault import mariadb_error, raises, sqlite_error
from tests.integration.app.core.tally import ADD, COUNT, READ, TALLY, Body, count, events_of, tally_of
from tests.service.crowd import together
from tests.service.database import EngineKind
from tests.service.wait import wait_until

RIVALS = 16
_OP = instance_metadata.tables["op"]
_OP_ROW = select(_OP).where(_OP.c.op_id == bindparam("b_op"))
_SET = update(TALLY).where(TALLY.c.name == bindparam("b_name")).values(n=bindparam("b_n"))


class Refused(DomainError):
    code: ClassVar[str] = "refused"


@pytest.fixture
def name() -> str:
    """Of an operation that no other test of the module has."""
    return new_id("op")


@pytest.fixture
def db(open_bench: Callable[..., Bench], engine_kind: EngineKind, clock: FakeClock) -> Database:
    """Waits in earnest between attempts: here threads compete."""
    bench: Bench = open_bench(engine_kind, clock=clock)
    return bench.db


def test_same_id_again_gives_the_stored_answer_and_does_nothing(db: Database, name: str) -> None:
    body = Body(name)
    first = db.run_tx(name, body, fingerprint="f")
    again = db.run_tx(name, body, fingerprint="f")
    assert (first.replayed, again.replayed, body.runs) == (False, True, 1)
    assert first.value == again.value == {"name": name, "n": 1, "list": [1, {"x": "ß"}]}
    assert (tally_of(db, name), len(events_of(db, name))) == (1, 1)


def test_operation_row_holds_id_fingerprint_time_and_answer(bench: Bench, name: str) -> None:
    bench.db.run_tx(name, lambda _tx: {"b": 1, "a": "ü"}, fingerprint="f" * 64)
    row = bench.db.read(lambda reader: reader.first(_OP_ROW, {"b_op": name}))
    assert row is not None
    assert (row.op_id, row.fingerprint, row.answer, row.created_at_us) == (
        name,
        "f" * 64,
        '{"a":"ü","b":1}',
        to_us(bench.clock.now()),
    )


def test_same_id_for_another_request_is_refused_and_nothing_changes(db: Database, name: str) -> None:
    db.run_tx(name, Body(name), fingerprint="one")
    other = Body(name)
    with pytest.raises(OperationIdReused) as refused:
        db.run_tx(name, other, fingerprint="two")
    assert (refused.value.code, other.runs, tally_of(db, name)) == ("idempotency_key_reused", 0, 1)
    assert db.run_tx(name, other, fingerprint="one").replayed is True


@pytest.mark.parametrize("error", [Refused("No."), ValueError("a defect"), KeyboardInterrupt()])
def test_whatever_the_body_raises_undoes_everything_and_reaches_the_caller(
    bench: Bench, name: str, error: BaseException
) -> None:
    def refuse(tx: Tx) -> JsonObject:
        Body(name)(tx)
        raise error

    with pytest.raises(type(error)) as raised:
        bench.db.run_tx(name, refuse)
    assert raised.value is error
    assert (tally_of(bench.db, name), events_of(bench.db, name), bench.clock.pauses) == (0, [], [])
    bench.assert_nothing_leaked()
    assert bench.db.run_tx(name, Body(name)).replayed is False


@pytest.mark.parametrize("value", [{"n": float("nan")}, {"n": object()}, {"n": "\ud800"}])
def test_answer_that_cannot_be_stored_undoes_everything(db: Database, name: str, value: JsonObject) -> None:
    def answer(tx: Tx) -> JsonObject:
        Body(name)(tx)
        return value

    with pytest.raises((ValueError, TypeError)):
        db.run_tx(name, answer)
    assert (tally_of(db, name), events_of(db, name)) == (0, [])


def test_body_that_runs_again_gets_a_fresh_transaction_and_doubles_no_event(bench: Bench, name: str) -> None:
    error = mariadb_error(1213) if bench.db.dialect == "mariadb" else sqlite_error(5)
    bench.faults.at("store", "after", raises(error), times=3)
    body = Body(name)
    bench.db.run_tx(name, body)
    assert body.runs == 4
    assert len({id(tx) for tx in body.seen}) == 4
    assert [len(tx.pending_events) for tx in body.seen] == [1, 1, 1, 1]
    assert (tally_of(bench.db, name), len(events_of(bench.db, name))) == (1, 1)


def test_body_that_runs_again_sees_the_time_of_its_own_attempt(bench: Bench, name: str) -> None:
    error = mariadb_error(1213) if bench.db.dialect == "mariadb" else sqlite_error(5)
    bench.faults.at("store", "after", raises(error))
    body = Body(name)
    bench.db.run_tx(name, body)
    first, second = (tx.now for tx in body.seen)
    assert second > first
    assert events_of(bench.db, name)[0].occurred_at == second


def test_forgotten_operation_is_carried_out_again(db: Database, name: str) -> None:
    db.run_tx(name, Body(name), fingerprint="one")

    def take_back(tx: Tx) -> JsonObject:
        tx.write(_SET, {"b_name": name, "b_n": 0})
        tx.forget(name)
        return {}

    db.run_tx(f"{name}-undo", take_back)
    again = db.run_tx(name, Body(name), fingerprint="two")
    assert (again.replayed, tally_of(db, name)) == (False, 1)
    assert db.run_tx(f"{name}-undo", take_back).replayed is True


def test_old_operation_ids_are_forgotten_in_portions_and_young_ones_kept(
    instance_db: Database, clock: FakeClock
) -> None:
    for number in range(5):
        instance_db.run_tx(f"old-{number}", lambda _tx: {"old": True})
    young = clock.advance(timedelta(days=1))
    instance_db.run_tx("young", lambda _tx: {"old": False})
    assert [instance_db.forget_operations(before=young, limit=3) for _ in range(3)] == [3, 2, 0]
    assert instance_db.run_tx("young", lambda _tx: {}).replayed is True
    assert instance_db.run_tx("old-0", lambda _tx: {}).replayed is False


def test_sixteen_rivals_with_one_id_have_one_effect_and_equal_answers(db: Database, name: str) -> None:
    answers = together(RIVALS, lambda _number: db.run_tx(name, Body(name), fingerprint="f"))
    values = [answer.value for answer in answers]
    assert values == [values[0]] * RIVALS
    assert [answer.replayed for answer in answers].count(False) == 1
    assert (tally_of(db, name), len(events_of(db, name))) == (1, 1)


def test_rivals_whose_first_is_refused_are_each_refused_or_served_once(db: Database, name: str) -> None:
    """A refusal leaves no operation row: the next one with the same id is free to succeed, and one does."""

    def work(number: int) -> object:
        def body(tx: Tx) -> JsonObject:
            count(tx, name)
            if number % 2:
                raise Refused("No.")
            return {"by": number}

        try:
            return db.run_tx(name, body).value
        except Refused:
            return None

    answers = [answer for answer in together(RIVALS, work) if answer is not None]
    assert tally_of(db, name) == 1
    assert len(answers) >= RIVALS // 2
    assert answers == [answers[0]] * len(answers)


def test_sixteen_rivals_on_one_row_each_count(db: Database, name: str) -> None:
    db.run_tx(name, Body(name))
    answers = together(
        RIVALS, lambda number: db.run_tx(f"{name}-{number}", lambda tx: {"n": count(tx, name)}).value["n"]
    )
    assert sorted(int(str(each)) for each in answers) == list(range(2, RIVALS + 2))


def test_rivals_for_one_new_row_get_one_insert(db: Database, name: str) -> None:
    def body(tx: Tx) -> JsonObject:
        return {
            "first": tx.insert_if_absent(ADD, {"name": name, "n": 1}),
            "n": tx.write(COUNT, {"b_name": name}),
        }

    answers = together(RIVALS, lambda number: db.run_tx(f"{name}-{number}", body).value)
    assert [answer["first"] for answer in answers].count(True) == 1
    assert tally_of(db, name) == RIVALS + 1


def test_taken_key_is_noticed_and_the_transaction_goes_on(db: Database, name: str) -> None:
    db.run_tx(name, Body(name))

    def body(tx: Tx) -> JsonObject:
        before = tx.write(COUNT, {"b_name": name})
        absent = tx.insert_if_absent(ADD, {"name": name, "n": 50})
        return {"before": before, "absent": absent, "n": count(tx, name)}

    assert db.run_tx(f"{name}-2", body).value == {"before": 1, "absent": False, "n": 3}
    assert tally_of(db, name) == 3


def test_write_says_how_many_rows_matched_also_when_nothing_changed(db: Database, name: str) -> None:
    db.run_tx(name, Body(name))

    def body(tx: Tx) -> JsonObject:
        same = tx.write(_SET, {"b_name": name, "b_n": 1})
        return {"same": same, "none": tx.write(_SET, {"b_name": f"{name}-absent", "b_n": 1})}

    assert db.run_tx(f"{name}-2", body).value == {"same": 1, "none": 0}


def test_read_sees_one_moment_and_writes_nothing(db: Database, name: str) -> None:
    db.run_tx(name, Body(name))

    def body(reader: Reader) -> tuple[object, object]:
        before = reader.scalar(READ, {"b_name": name})
        db.run_tx(f"{name}-2", Body(name))
        return before, reader.scalar(READ, {"b_name": name})

    assert db.read(body) == (1, 1)
    assert tally_of(db, name) == 2


def test_reads_go_on_while_somebody_writes(db: Database, name: str) -> None:
    db.run_tx(name, Body(name))

    def body(tx: Tx) -> JsonObject:
        inside = count(tx, name)
        return {"inside": inside, "outside": tally_of(db, name)}

    assert db.run_tx(f"{name}-2", body).value == {"inside": 2, "outside": 1}


HOSTILE = [
    "'",
    '"',
    "\\",
    "\\'; DROP TABLE op; --",
    "%s",
    "%(x)s",
    "%",
    "?",
    ":x",
    "\x00",
    "\n",
    "😀",
    "ß",
    "a b",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_stored_as_it_is(db: Database, name: str, text: str) -> None:
    db.run_tx(name, lambda tx: {"text": text, "more": [text, {text: text}]}, fingerprint=text)
    assert db.run_tx(name, Body(name), fingerprint=text).value == {"text": text, "more": [text, {text: text}]}


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_any_64_bit_number_is_stored_as_it_is(db: Database, name: str, number: int) -> None:
    db.run_tx(name, lambda tx: {"rows": tx.write(ADD, {"name": name, "n": number})})
    assert tally_of(db, name) == number


def test_more_threads_than_connections_take_turns(db: Database, name: str) -> None:
    answers = together(32, lambda number: db.run_tx(f"{name}-{number}", Body(f"{name}-{number}")).replayed)
    assert answers == [False] * 32


def test_two_processes_worth_of_pools_write_to_one_database(
    open_bench: Callable[..., Bench], engine_kind: EngineKind, clock: FakeClock, name: str
) -> None:
    """On SQLite they meet at the file, not at the lock inside one Database."""
    databases = [open_bench(engine_kind, clock=clock).db for _ in range(4)]
    together(
        8, lambda number: databases[number % 4].run_tx(f"{name}-{number}", lambda tx: {"n": count(tx, name)})
    )
    assert tally_of(databases[0], name) == 8


def test_idle_database_holds_no_connection_and_closes_what_it_had(db: Database, name: str) -> None:
    db.run_tx(name, Body(name))
    db.close()
    assert tally_of(db, name) == 1


def test_a_database_that_hangs_holds_no_more_threads_than_its_places(instance_db: Database) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def hang(_reader: Reader) -> None:
        entered.release()
        assert leave.wait(timeout=30)

    with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
        # Readers on SQLite and MariaDB alike wait for one of the pooled connections; all of them count.
        waiting = [threads.submit(_read_or_refused, instance_db, hang) for _ in range(MOST_AT_ONCE)]
        assert entered.acquire(timeout=30)
        wait_until(lambda: instance_db._places._value == 0, "all places taken")
        with pytest.raises(DatabaseUnavailable):
            instance_db.run_tx(new_id("op"), lambda _tx: {})
        leave.set()
        for each in waiting:
            each.result(timeout=60)
    assert instance_db.run_tx(new_id("op"), lambda _tx: {"done": True}).value == {"done": True}


def _read_or_refused(db: Database, body: Callable[[Reader], None]) -> None:
    with suppress(DatabaseUnavailable):
        db.read(body)
