"""Databases of instances on both engines: made, opened, removed; repeated, at once."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from weakref import ref

import pymysql
import pytest
from sqlalchemy import text

from app.core import migrate
from app.core.db_pool import SharedPool
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from app.core.outbox import last_sequence, list_events
from tenancy import PasswordSeal
from tenancy.credential import CredentialKey
from tenancy.database import repository
from tenancy.database.placed import Bounds
from tenancy.errors import InstanceDatabaseMissing
from tenancy.server.errors import DatabasePasswordDamaged, InstanceNotPlaced
from tests.fake.clock import FakeClock
from tests.integration.tenancy.database.fleet import Fleet, mark
from tests.integration.tenancy.world import KEY
from tests.service.database import EngineKind
from tests.service.placed import open_placed

UNKNOWN = InstanceId(f"ins_{1:032x}")


def test_new_database_has_the_newest_schema_and_can_be_used(fleet: Fleet) -> None:
    instance_id = fleet.placed()
    url = fleet.databases.create(instance_id)
    assert migrate.current(fleet.databases.migration_url(instance_id)) == migrate.head("instance")
    assert fleet.databases.is_current(instance_id)
    database = fleet.databases.open(instance_id)
    mark(database)
    assert database.read(last_sequence) == 1
    assert fleet.databases.open(instance_id) is database
    home = fleet.platform.read(lambda reader: repository.find_home(reader, instance_id))
    assert home is not None
    assert home.database_name in url
    if home.password is not None:
        assert home.password not in url
        assert PasswordSeal(KEY).open(home.password, owner=instance_id) not in url


def test_create_repeated_changes_nothing(fleet: Fleet) -> None:
    instance_id = fleet.made()
    mark(fleet.databases.open(instance_id))
    first = fleet.databases.migration_url(instance_id)
    assert fleet.databases.create(instance_id)
    assert fleet.databases.migration_url(instance_id) == first
    assert fleet.databases.open(instance_id).read(last_sequence) == 1


def test_password_is_sealed_and_in_no_event(fleet: Fleet, engine_kind: EngineKind) -> None:
    instance_id = fleet.made()
    events = fleet.platform.read(lambda reader: list_events(reader, after=0, limit=500))
    assigned = [each for each in events if each.type == "instance.database_assigned"]
    assert [each.subject for each in assigned] == [instance_id]
    home = fleet.platform.read(lambda reader: repository.find_home(reader, instance_id))
    assert home is not None
    if engine_kind == "mariadb":
        assert home.password is not None
        plain = PasswordSeal(KEY).open(home.password, owner=instance_id)
        assert len(bytes.fromhex(plain)) == 32
        assert all(plain not in repr(each) and home.password not in repr(each) for each in events)
        assert plain not in repr(fleet.databases.open(instance_id).engine.url)
    else:
        assert home.password is None


def test_instance_without_a_place_gets_no_database(fleet: Fleet) -> None:
    with pytest.raises(InstanceNotPlaced) as refused:
        fleet.databases.create(UNKNOWN)
    assert refused.value.code == "instance_not_placed"
    assert fleet.platform.read(repository.list_homes) == []


def test_opening_a_database_that_was_not_created_makes_none(fleet: Fleet, tmp_path: Path) -> None:
    placed = fleet.placed()
    for each in (UNKNOWN, placed):
        for call in (fleet.databases.open, fleet.databases.migration_url, fleet.databases.is_current):
            with pytest.raises(InstanceDatabaseMissing) as refused:
                call(each)
            assert refused.value.code == "instance_database_missing"
    assert fleet.platform.read(repository.list_homes) == []
    assert not (tmp_path / "instances").exists()


@pytest.mark.parametrize("instance_id", ["", "../../etc/passwd", "ins_1", f"ins_{1:032x}\n"])
def test_id_that_is_none_is_refused_before_anything_is_asked(fleet: Fleet, instance_id: str) -> None:
    for call in (fleet.databases.open, fleet.databases.drop, fleet.databases.migration_url):
        with pytest.raises(InstanceDatabaseMissing):
            call(InstanceId(instance_id))


def test_dropped_database_is_gone_and_so_is_what_was_known_of_it(fleet: Fleet, tmp_path: Path) -> None:
    instance_id, other = fleet.made(), fleet.made()
    held = fleet.databases.open(instance_id)
    mark(held)
    mark(fleet.databases.open(other))
    for _ in range(2):
        fleet.databases.drop(instance_id)
    for call in (fleet.databases.open, fleet.databases.migration_url):
        with pytest.raises(InstanceDatabaseMissing):
            call(instance_id)
    assert [each.instance_id for each in fleet.platform.read(repository.list_homes)] == [other]
    # Somebody who held it makes no empty one by asking.
    with pytest.raises((DatabaseUnavailable, pymysql.err.OperationalError)):
        held.read(last_sequence)
    assert list(tmp_path.rglob(f"{instance_id}*")) == []
    assert fleet.databases.open(other).read(last_sequence) == 1
    removed = [
        event.subject
        for event in fleet.platform.read(lambda reader: list_events(reader, after=0, limit=500))
        if event.type == "instance.database_removed"
    ]
    assert removed == [instance_id]


def test_drop_in_the_middle_of_somebodys_transaction_does_not_wait_for_him(fleet: Fleet) -> None:
    instance_id = fleet.made()
    database = fleet.databases.open(instance_id)
    begun, may_end = threading.Event(), threading.Event()

    def busy() -> None:
        def body(reader: object) -> None:
            last_sequence(reader)  # type: ignore[arg-type]
            begun.set()
            assert may_end.wait(60)

        database.read(body)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(busy)
        assert begun.wait(60)
        try:
            fleet.databases.drop(instance_id)
            with pytest.raises(InstanceDatabaseMissing):
                fleet.databases.open(instance_id)
        finally:
            may_end.set()
        running.exception(60)


def test_database_made_again_after_a_drop_is_empty_and_has_another_password(
    fleet: Fleet, engine_kind: EngineKind
) -> None:
    instance_id = fleet.made()
    mark(fleet.databases.open(instance_id))
    before = fleet.databases.migration_url(instance_id)
    fleet.databases.drop(instance_id)
    fleet.databases.create(instance_id)
    assert fleet.databases.open(instance_id).read(last_sequence) == 0
    assert (fleet.databases.migration_url(instance_id) == before) is (engine_kind == "sqlite")


def test_eight_creates_at_once_leave_one_database(fleet: Fleet, tmp_path: Path) -> None:
    instance_id = fleet.placed()
    with ThreadPoolExecutor(8) as pool:
        urls = set(pool.map(lambda _: fleet.databases.create(instance_id), range(8)))
    assert len(urls) == 1
    mark(fleet.databases.open(instance_id))
    assert fleet.databases.open(instance_id).read(last_sequence) == 1
    assert [path.name for path in tmp_path.rglob(".draft-*")] == []


def test_eight_opens_at_once_are_one_database(fleet: Fleet) -> None:
    instance_id = fleet.made()
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: fleet.databases.open(instance_id), range(8)))
    assert len({id(each) for each in opened}) == 1


def test_database_is_kept_while_anybody_holds_it_and_forgotten_after(
    fleet: Fleet, tmp_path: Path, clock: FakeClock
) -> None:
    ids = [fleet.made() for _ in range(5)]
    few = Bounds(connections=8, databases=2)
    with open_placed(fleet.platform, data_dir=tmp_path, key=KEY, clock=clock, bounds=few) as databases:
        held = databases.open(ids[0])
        forgotten = ref(databases.open(ids[1]))
        for each in ids[2:]:
            databases.open(each).read(last_sequence)
        assert databases.open(ids[0]) is held
        gc.collect()
        assert forgotten() is None


def test_lines_go_on_when_the_platform_database_is_gone(
    fleet: Fleet, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [fleet.made() for _ in range(2)]
    one = Bounds(databases=1)
    with open_placed(fleet.platform, data_dir=tmp_path, key=KEY, clock=clock, bounds=one) as databases:
        assert databases.load() == 2
        with monkeypatch.context() as patched:
            patched.setattr(fleet.platform, "read", _gone)
            for each in (*ids, *ids):
                mark(databases.open(each))
            with pytest.raises(DatabaseUnavailable):
                databases.open(UNKNOWN)


def test_row_copied_to_another_instance_opens_nothing(fleet: Fleet, engine_kind: EngineKind) -> None:
    if engine_kind == "sqlite":
        assert fleet.databases.migration_tls(fleet.made()) is None
        return
    instance_id = fleet.made()
    home = fleet.platform.read(lambda reader: repository.find_home(reader, instance_id))
    assert home is not None
    assert home.password is not None
    with pytest.raises(DatabasePasswordDamaged):
        PasswordSeal(KEY).open(home.password, owner=UNKNOWN)
    with pytest.raises(DatabasePasswordDamaged):
        PasswordSeal(CredentialKey(bytes(32))).open(home.password, owner=instance_id)


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_servers_at_one_address_share_one_budget(fleet: Fleet) -> None:
    """However often staff have registered it, the server takes no more connections for that."""
    shared, dedicated = fleet.made(), fleet.made("dedicated")
    pools = [fleet.databases.open(each).engine.pool for each in (shared, dedicated)]
    assert isinstance(pools[0], SharedPool)
    assert isinstance(pools[1], SharedPool)
    assert pools[0].budget is pools[1].budget


def test_one_damaged_password_is_the_trouble_of_one_instance(
    fleet: Fleet, tmp_path: Path, clock: FakeClock, engine_kind: EngineKind, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, sound = fleet.made(), fleet.made()
    with (
        damaged_password(fleet, damaged),
        open_placed(fleet.platform, data_dir=tmp_path, key=KEY, clock=clock) as databases,
    ):
        assert databases.load() == 1
        mark(databases.open(sound))
        for call in (databases.open, databases.migration_url):
            with pytest.raises(DatabasePasswordDamaged):
                call(damaged)
    assert [record.msg for record in caplog.records if record.levelname == "CRITICAL"] == [
        "database_not_known"
    ]


def test_what_another_process_removed_is_forgotten_when_told(
    fleet: Fleet, tmp_path: Path, clock: FakeClock
) -> None:
    instance_id = fleet.made()
    with open_placed(fleet.platform, data_dir=tmp_path, key=KEY, clock=clock) as databases:
        databases.load()
        databases.open(instance_id)
        fleet.databases.drop(instance_id)
        databases.forget(instance_id)
        with pytest.raises(InstanceDatabaseMissing):
            databases.open(instance_id)


@contextmanager
def damaged_password(fleet: Fleet, instance_id: InstanceId) -> Iterator[None]:
    """The stored password cannot be read; whole again at the end, so that the database can be removed."""
    home = fleet.platform.read(lambda reader: repository.find_home(reader, instance_id))
    assert home is not None
    store_password(fleet, instance_id, "v1.AAAA")
    try:
        yield
    finally:
        store_password(fleet, instance_id, home.password)


def store_password(fleet: Fleet, instance_id: InstanceId, sealed: str | None) -> None:
    with fleet.platform.engine.begin() as connection:
        connection.execute(
            text("UPDATE instance_database SET password = :sealed WHERE instance_id = :id"),
            {"sealed": sealed, "id": instance_id},
        )


def _gone(_body: object) -> object:
    raise DatabaseUnavailable("The database does not answer.")
