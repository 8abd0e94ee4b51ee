"""Databases that are away, files that are damaged, rows of another type: named, and in nobody's way."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from app.core.outbox_chain import ChainEnd
from app.operations.audit.audit import Audit
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.export import ExportWish
from app.operations.audit.key import audit_key, public_keys
from app.operations.audit.repository import EntryFilter
from tests.fake.clock import FakeClock
from tests.integration.app.operations.audit.conftest import AuditWorld

UNREADABLE = [
    "UPDATE outbox_event SET data = x'00' WHERE sequence = 2",
    "UPDATE outbox_event SET data = CAST(x'ff' AS TEXT) WHERE sequence = 2",
    "UPDATE outbox_event SET occurred_at_us = 'soon' WHERE sequence = 2",
    "UPDATE outbox_event SET occurred_at_us = 9e999 WHERE sequence = 2",
    "UPDATE outbox_event SET reason = 7.5 WHERE sequence = 2",
    "UPDATE outbox_event SET hash = x'00' WHERE sequence = 2",
]


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("statement", UNREADABLE)
def test_row_of_another_type_is_found_at_its_place(world: AuditWorld, statement: str) -> None:
    world.write(world.instance, 3)
    world.audit.sign()
    world.tamper(world.instance, statement)
    (found,) = world.found(world.instance_id)
    assert found in (("changed", 2), ("unchained", 2))
    lines = list(world.audit.export(ExportWish(instance_id=world.instance_id)))
    assert [each.sequence for each in world.check(lines).findings] == [2]


BENT = ["data = '[]'", "data = 'x'", "actor = '{}'", "occurred_at_us = 4000000000000000000"]


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        *UNREADABLE[:2],
        *(f"UPDATE outbox_event SET {each} WHERE sequence = 2" for each in BENT),
    ],
)
def test_entry_that_cannot_be_read_is_shown_in_its_place(world: AuditWorld, statement: str) -> None:
    world.write(world.instance, 3)
    world.tamper(world.instance, statement)
    wanted, find = EntryFilter(subject="sub"), world.audit.reader.find
    page = find(world.instance_id, wanted)
    assert [(each.sequence, each.type) for each in page.entries] == [
        (3, "test.done"),
        (2, "unreadable"),
        (1, "test.done"),
    ]
    first = find(world.instance_id, wanted, limit=2)
    rest = find(world.instance_id, wanted, before=first.next_before or 0, limit=2)
    assert first.entries + rest.entries == page.entries


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "change",
    ["number = 'x'", "links = x'00'", "links = CAST(x'ff' AS TEXT)", "links = '[1]'", "anchor = 'x'"],
)
@pytest.mark.parametrize("number", [2, 3])
def test_checkpoint_of_another_type_is_found(world: AuditWorld, change: str, number: int) -> None:
    for _ in range(3):
        world.write(world.instance)
        world.audit.sign()
    world.tamper(world.platform, f"UPDATE audit_checkpoint SET {change} WHERE number = {number}")
    assert world.findings == [("checkpoint_missing", number)]
    assert world.audit.verifier.verify_chain(world.instance_id).vouched_until == 3


def test_chain_that_was_unsure_while_its_database_was_away_is_signed_afterwards(world: AuditWorld) -> None:
    world.audit.sign()
    world.write(world.instance)
    world.instance.chain_end = ChainEnd()
    world.audit.watch(world.instance_id, world.instance.chain_end)
    world.instance.chain_end._link = None
    world.instance.chain_end.note_unsure()
    world.is_down = True
    assert (world.audit.sign(), world.audit.sign()) == (0, 0)
    world.is_down = False
    assert world.audit.sign() == 1
    assert world.checkpoints()[-1].sequence == 1


def test_doubt_goes_over_to_the_next_database_of_a_chain(world: AuditWorld) -> None:
    first, second = ChainEnd(), ChainEnd()
    world.audit.watch(InstanceId("ins_x"), first)
    first.note_unsure()
    world.audit.watch(InstanceId("ins_x"), second)
    assert (second.is_unsure, world.audit.notary.unsure()) == (True, ["ins_x"])


def test_databases_that_do_not_answer_hold_nobody_up(
    tmp_path: Path, platform_db: Database, instance_db: Database, clock: FakeClock
) -> None:
    """Four hang, until what has grown elsewhere is signed."""
    world = AuditWorld(tmp_path / "audit", platform_db, instance_db, clock)
    signed = threading.Event()
    looked: list[str] = []

    def open_(instance_id: InstanceId) -> Database:
        looked.append(instance_id)
        assert signed.wait(20), "signing waits for a database that does not answer"
        raise DatabaseUnavailable("It does not answer.")

    audit = Audit(world.folder, platform_db, open_instance=open_)
    names = [InstanceId(f"ins_{number:032d}") for number in range(12)]
    audit.start(lambda: names)
    world.write(platform_db)
    real = audit.notary._file.append

    def append(rounds: object) -> None:
        real(rounds)  # type: ignore[arg-type]
        signed.set()

    audit.notary._file.append = append  # type: ignore[method-assign]
    assert audit.sign() == 1
    assert sorted(looked) == sorted(names)
    looked.clear()
    audit.sign()
    assert sorted(looked) == sorted(names), "they are tried again"


def test_turn_of_looks_ends_in_time_and_the_rest_comes_next(world: AuditWorld) -> None:
    looked: list[str] = []

    def open_(instance_id: InstanceId) -> Database:
        looked.append(instance_id)
        world.clock.advance(timedelta(seconds=12))
        raise DatabaseUnavailable("It does not answer.")

    audit = Audit(world.folder, world.platform, open_instance=open_)
    names = [InstanceId(f"ins_{number:032d}") for number in range(30)]
    audit.start(lambda: names)
    audit.sign()
    assert len(looked) <= 4
    for _ in range(30):
        audit.sign()
    assert set(looked) == set(names)


def test_instance_of_an_older_schema_is_not_opened_until_it_is_migrated(world: AuditWorld) -> None:
    is_current = False
    world.write(world.instance)
    world.instance.chain_end = ChainEnd()
    opened: list[str] = []

    def open_(instance_id: InstanceId) -> Database:
        opened.append(instance_id)
        return world.instance

    audit = Audit(world.folder, world.platform, open_instance=open_, is_current=lambda _: is_current)
    audit.start(lambda: [world.instance_id])
    assert (audit.sign(), opened) == (0, [])
    is_current = True
    assert (audit.sign(), opened) == (1, [world.instance_id])


@pytest.mark.parametrize("damage", [b"damaged line\n", b"[]\n", b"\xff\n", b'{"kind":"round"}\n'])
def test_damaged_file_is_set_aside_and_work_goes_on(
    world: AuditWorld, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    for _ in range(3):
        world.write(world.instance)
        world.audit.sign()
    whole = world.file.read_bytes()
    world.file.write_bytes(whole + damage)
    with caplog.at_level(logging.CRITICAL):
        world.restart()
    assert "audit_checkpoint_file_damaged" in [record.message for record in caplog.records]
    assert world.file.read_bytes() == whole
    (aside,) = world.folder.glob("checkpoints.damaged-*")
    assert aside.read_bytes() == whole + damage
    assert world.findings == [("malformed", 0)], "until somebody has looked into it"
    aside.unlink()
    world.write(world.instance)
    world.audit.sign()
    assert world.findings == []


def test_damaged_file_gives_what_an_emptied_table_has_lost(world: AuditWorld) -> None:
    for _ in range(3):
        world.write(world.instance)
        world.audit.sign()
    world.file.write_bytes(world.file.read_bytes() + b"damaged\n")
    world.tamper(world.platform, "DELETE FROM audit_checkpoint WHERE number > 1")
    world.restart()
    world.write(world.instance)
    world.audit.sign()
    assert [each.number for each in world.rounds()] == [1, 2, 3, 4]
    assert ("checkpoint_missing", 2) in world.findings


def test_empty_public_key_is_written_anew(world: AuditWorld) -> None:
    public = world.folder / "audit.pub"
    whole = public.read_bytes()
    for empty in (b"", b"\n"):
        public.write_bytes(empty)
        assert world.restart().keys == {world.audit.key.key_id: world.audit.key.public_key}
        assert public.read_bytes() == whole
    assert (audit_key(world.folder).key_id in public_keys(world.folder)) is True


def test_entries_written_while_an_export_begins_do_not_make_it_unsigned(
    world: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(world.instance, 3)
    real = world.audit._export.lines

    def late(wish: ExportWish) -> object:
        world.write(world.instance, 2)
        return real(wish)

    monkeypatch.setattr(world.audit._export, "lines", late)
    check = world.check(list(world.audit.export(ExportWish(instance_id=world.instance_id))))
    assert check.findings == []
    assert [(each.chain, each.sequence) for each in check.chains] == [
        (world.instance_id, 3),
        (PLATFORM_CHAIN, 0),
    ]


def test_nothing_is_left_where_nothing_was_to_be_chained(world: AuditWorld) -> None:
    world.write(world.instance)
    for _ in range(3):
        world.restart().sign()
    with world.instance.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM op WHERE op_id LIKE 'chain%%'").fetchone()
    assert found == (0,)
