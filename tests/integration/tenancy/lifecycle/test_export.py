from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from app.core.db import Tx
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from tenancy import check_scopes
from tenancy.errors import InstanceNotFound
from tenancy.lifecycle import repository
from tenancy.lifecycle.errors import ExportDamaged, ExportNotFound, ExportNotWritten, InstanceStateUnfit
from tenancy.lifecycle.export import LONGEST_KEPT, MOST_KEPT
from tenancy.lifecycle.export_file import digest_of, write_export
from tests.fake.killed import Killed
from tests.integration.tenancy.lifecycle.life import Life, killed_in, read_export


def emit(life: Life, instance_id: InstanceId, count: int) -> None:
    """Put events into an instance's database."""

    def body(tx: Tx) -> JsonObject:
        for number in range(count):
            tx.emit("test.noted", subject=f"sub_{number}", data={"text": 'ä "\n'})
        return {}

    life.world.databases.open(instance_id).run_tx(new_id("op"), body)


def made(life: Life, instance_id: InstanceId) -> list[str]:
    return [each.export_id for each in life.exporter.list_exports(instance_id) if each.deleted_at is None]


def test_export_holds_every_table_of_the_database_but_no_hash_of_a_secret(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "_ROWS_AT_ONCE", 7)
    acme = life.world.ready_instance("acme")
    life.world.clients.add_client(acme.instance_id, name="erp", scopes=check_scopes(["read"]))
    emit(life, acme.instance_id, 23)
    operation = life.run(life.service.request_export(acme.instance_id).value)
    assert operation.state == "succeeded"
    export, path = life.exporter.find_file(acme.instance_id, operation.operation_id)
    assert (export.final, export.sha256, export.size_bytes) == (False, digest_of(path), path.stat().st_size)

    manifest, tables = read_export(path)
    db = life.world.databases.open(acme.instance_id)
    stored = {each.name: each for each in repository.list_stored_tables(db)}
    assert set(tables) == set(stored)
    counted = db.read(lambda reader: {n: repository.count_rows(reader, each) for n, each in stored.items()})
    assert {name: len(rows) for name, rows in tables.items()} == counted
    assert [each["sequence"] for each in tables["outbox_event"]] == list(
        range(1, len(tables["outbox_event"]) + 1)
    )
    assert len(tables["outbox_event"]) >= 23
    assert tables["outbox_event"][-1]["data"] == '{"text":"ä \\"\\n"}'
    assert manifest["audit_chain"] == {
        "sequence": tables["outbox_event"][-1]["sequence"],
        "hash": tables["outbox_event"][-1]["hash"],
    }
    assert manifest["schema_revision"] == tables["alembic_version"][0]["version_num"]
    assert (manifest["instance_id"], manifest["name"]) == (acme.instance_id, "acme")
    assert tables["api_client"][0]["username"] == "acme.erp"
    assert all("secret_hash" not in row for name in ("api_client", "client_secret") for row in tables[name])
    assert "api_client.secret_hash" in manifest["left_out"]
    assert life.world.events("export.made") == [acme.instance_id]


def test_tables_with_keys_of_several_columns_are_read_whole_page_by_page(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "_ROWS_AT_ONCE", 3)
    acme = life.world.ready_instance("acme")
    db = life.world.databases.open(acme.instance_id)
    table = next(each for each in repository.list_stored_tables(db) if len(each.key) == 3)
    assert table.name == "access_failure"
    wanted = sorted((client, net, code) for client in "abc" for net in "xyz" for code in "mn")
    with db.engine.begin() as connection:
        for client, net, code in reversed(wanted):
            connection.exec_driver_sql(
                "INSERT INTO access_failure (client, network, code, failures, first_at_us, last_at_us)"
                f" VALUES ('{client}', '{net}', '{code}', 1, 1, 1)"
            )
    found = db.read(
        lambda reader: [(r.client, r.network, r.code) for r in repository.read_rows(reader, table)]
    )
    assert found == wanted


def test_export_is_one_consistent_view_while_others_write(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = life.world.ready_instance("acme")
    emit(life, acme.instance_id, 5)
    original = repository.read_rows
    wrote = threading.Event()

    def writing_meanwhile(reader: object, stored: repository.StoredTable) -> Iterator[object]:
        if stored.name == "outbox_event" and not wrote.is_set():
            wrote.set()
            writer = threading.Thread(target=emit, args=(life, acme.instance_id, 3))
            writer.start()
            writer.join(20)
        yield from original(reader, stored)  # type: ignore[arg-type]

    monkeypatch.setattr(repository, "read_rows", writing_meanwhile)
    operation = life.run(life.service.request_export(acme.instance_id).value)
    manifest, tables = read_export(life.files.export(operation.operation_id))
    assert wrote.is_set()
    last = tables["outbox_sequence"][0]["last"]
    assert tables["outbox_event"][-1]["sequence"] == last == manifest["audit_chain"]["sequence"]
    db = life.world.databases.open(acme.instance_id)
    head = db.read(repository.find_chain_head)
    assert head is not None
    assert head["sequence"] == last + 3


@pytest.mark.parametrize("after_effect", [False, True])
def test_export_killed_half_way_leaves_one_file_or_none(life: Life, *, after_effect: bool) -> None:
    acme = life.world.ready_instance("acme")
    operation = life.service.request_export(acme.instance_id).value
    action = life.exporter.operation_kind().actions["export"]
    mortal = life.runner(killing=("export", killed_in(action, after_effect=after_effect)))
    with pytest.raises(BaseExceptionGroup):
        life.world.run(mortal)
    reborn = life.runner()
    assert anyio.run(reborn.take_over) == 1
    assert life.run(operation, reborn).state == "succeeded"
    assert made(life, acme.instance_id) == [operation.operation_id]
    read_export(life.files.export(operation.operation_id))
    assert [path.name for path in (life.data_dir / "exports").iterdir()] == [f"{operation.operation_id}.zip"]


def test_export_killed_between_file_and_row_is_done_again(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = life.world.ready_instance("acme")
    operation = life.service.request_export(acme.instance_id).value

    def killed(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(repository, "add_export", killed)
        with pytest.raises(BaseExceptionGroup):
            life.world.run(life.runner())
    assert life.files.export(operation.operation_id).exists()
    reborn = life.runner()
    anyio.run(reborn.take_over)
    assert life.run(operation, reborn).state == "succeeded"
    export, path = life.exporter.find_file(acme.instance_id, operation.operation_id)
    assert digest_of(path) == export.sha256


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes; the answer is EFBIG in the place of ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_full_disk_leaves_nothing_and_says_so(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    db = life.world.databases.open(acme.instance_id)
    path = life.files.draft(new_id("opn"), token=1)
    with full_disk(1000), pytest.raises(ExportNotWritten) as refused:
        write_export(db, path, instance=acme, at=life.clock.now())
    assert refused.value.detail["errno"] == errno.EFBIG
    assert list(path.parent.iterdir()) == []


def test_export_onto_a_full_disk_is_given_up_with_its_reason_and_nothing_is_left(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = life.world.ready_instance("acme")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    operation = life.service.request_export(acme.instance_id).value
    with monkeypatch.context() as patched:
        patched.setattr("app.core.file.os.fsync", full)
        failed = life.run(operation)
    assert (failed.state, failed.error_code) == ("failed", "export_not_written")
    assert list((life.data_dir / "exports").iterdir()) == []
    assert made(life, acme.instance_id) == []
    # Nobody decides: after the grace it is taken back, and the instance is free again.
    life.clock.set(failed.deadline_at)
    life.sweeper.sweep()
    assert life.run(operation).state == "recovered"
    assert life.run(life.service.request_export(acme.instance_id).value).state == "succeeded"


def test_database_that_is_away_does_not_end_the_export(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = life.world.ready_instance("acme")
    operation = life.service.request_export(acme.instance_id).value

    def away(_instance_id: InstanceId) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(life.world.databases, "open", away)
        life.world.run(life.runner())
    waiting = life.look(operation.operation_id)
    assert (waiting.state, waiting.error_code) == ("running", "database_unavailable")
    assert life.run(operation).state == "succeeded"


def test_old_and_surplus_exports_are_deleted_and_say_so(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    ids = []
    for _ in range(MOST_KEPT + 2):
        ids.append(life.run(life.service.request_export(acme.instance_id).value).operation_id)
        life.clock.advance(LONGEST_KEPT / 100)
    assert made(life, acme.instance_id) == ids[::-1][:MOST_KEPT]
    with pytest.raises(ExportNotFound):
        life.exporter.find_file(acme.instance_id, ids[0])
    assert not life.files.export(ids[0]).exists()
    assert life.exporter.delete_old() == 0
    life.clock.advance(LONGEST_KEPT)
    assert life.exporter.delete_old() == MOST_KEPT
    assert life.exporter.delete_old() == 0
    assert made(life, acme.instance_id) == []
    assert list((life.data_dir / "exports").iterdir()) == []


def test_final_export_is_kept_while_the_contract_has_ended_and_not_for_ever_after_it_goes_on(
    life: Life,
) -> None:
    ended = life.end(life.world.ready_instance("acme"), days=400)
    back = life.end(life.world.ready_instance("back"), days=400)
    life.service.reinstate_instance(back.instance_id, expected_version=back.version)
    life.clock.advance(LONGEST_KEPT)
    assert life.exporter.delete_old() == 0
    life.clock.advance(timedelta(seconds=1))
    assert life.exporter.delete_old() == 1
    (kept,) = life.exporter.list_exports(ended.instance_id)
    (gone,) = life.exporter.list_exports(back.instance_id)
    assert (kept.deleted_at, gone.deleted_at is not None) == (None, True)


def test_export_that_cannot_be_deleted_keeps_no_other_one(
    life: Life, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = (
        life.run(life.service.request_export(life.world.ready_instance(name).instance_id).value).operation_id
        for name in ("acme", "other")
    )
    life.clock.advance(LONGEST_KEPT + timedelta(seconds=1))
    remove = life.files.remove_export

    def refuse(export_id: str) -> None:
        if export_id == stuck:
            raise PermissionError("read-only")
        remove(export_id)

    with monkeypatch.context() as patched:
        patched.setattr(life.files, "remove_export", refuse)
        assert life.exporter.delete_old() == 1
    assert "export_not_deleted" in [record.msg for record in caplog.records]
    assert not life.files.export(other).exists()
    assert life.exporter.delete_old() == 1


def test_export_is_found_by_its_own_instance_only(life: Life) -> None:
    acme, other = life.world.ready_instance("acme"), life.world.ready_instance("other")
    export_id = life.run(life.service.request_export(acme.instance_id).value).operation_id
    with pytest.raises(ExportNotFound):
        life.exporter.find_file(other.instance_id, export_id)
    assert life.exporter.list_exports(other.instance_id) == []
    with pytest.raises(InstanceNotFound):
        life.exporter.list_exports(InstanceId("ins_0"))


def test_file_that_is_not_the_one_written_is_not_handed_out(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    export_id = life.run(life.service.request_export(acme.instance_id).value).operation_id
    path = life.files.export(export_id)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExportDamaged):
        life.exporter.find_file(acme.instance_id, export_id)


def test_instance_that_is_being_made_is_not_exported(life: Life) -> None:
    ordered = InstanceId(life.world.order("acme").object_id)
    with pytest.raises(InstanceStateUnfit):
        life.service.request_export(ordered)


def test_files_are_named_by_ids_only(life: Life) -> None:
    for name in ("../platform", "opn_1", "", "a/b"):
        with pytest.raises(ValueError, match="no id"):
            life.files.export(name)


def test_directory_of_exports_is_closed_to_others(life: Life, tmp_path: Path) -> None:
    life.files.draft(new_id("opn"), token=1)
    assert (tmp_path / "exports").stat().st_mode & 0o777 == 0o700


def test_owner_who_has_lost_the_operation_neither_spoils_nor_publishes_anything(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    db, export_id = life.world.databases.open(acme.instance_id), new_id("opn")
    slow = life.files.draft(export_id, token=1)
    write_export(db, slow, instance=acme, at=life.clock.now())
    quick = life.files.draft(export_id, token=2)
    assert not slow.exists()
    written = write_export(db, quick, instance=acme, at=life.clock.now())
    with pytest.raises(ExportNotWritten):
        life.files.publish(export_id, token=1)
    life.files.publish(export_id, token=2)
    assert digest_of(life.files.export(export_id)) == written.sha256
    life.files.remove_export(export_id)
    assert list((life.data_dir / "exports").iterdir()) == []
