"""Databases of instances on both engines: made, opened, removed; repeated, killed anywhere, at once."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from weakref import ref

import pymysql
import pytest
from sqlalchemy import text

from app.core import db_admin, migrate
from app.core.db import Database
from app.core.db_pool import SharedPool
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from app.core.outbox import last_sequence, list_events
from tenancy import PasswordSeal, PlacedDatabases
from tenancy.credential import CredentialKey
from tenancy.database import repository
from tenancy.database.placed import Bounds
from tenancy.errors import InstanceDatabaseMissing
from tenancy.server.errors import DatabasePasswordDamaged, InstanceNotPlaced
from tests.fake.clock import FakeClock
from tests.integration.tenancy.database.fleet import Fleet, mark
from tests.integration.tenancy.world import KEY
from tests.service.database import EngineKind
from tests.service.placed import MariaDbAdmin

UNKNOWN = InstanceId(f"ins_{1:032x}")


class Killed(BaseException):
    """Stands for kill -9: nothing between here and the process's end catches it."""


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
    databases = PlacedDatabases(
        fleet.platform,
        data_dir=tmp_path,
        seal=PasswordSeal(KEY),
        clock=clock,
        bounds=Bounds(connections=8, databases=2),
    )
    held = databases.open(ids[0])
    forgotten = ref(databases.open(ids[1]))
    for each in ids[2:]:
        databases.open(each).read(last_sequence)
    assert databases.open(ids[0]) is held
    gc.collect()
    assert forgotten() is None
    databases.close()


def test_lines_go_on_when_the_platform_database_is_gone(
    fleet: Fleet, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [fleet.made() for _ in range(2)]
    databases = PlacedDatabases(
        fleet.platform, data_dir=tmp_path, seal=PasswordSeal(KEY), clock=clock, bounds=Bounds(databases=1)
    )
    assert databases.load() == 2
    with monkeypatch.context() as patched:
        patched.setattr(fleet.platform, "read", _gone)
        for each in (*ids, *ids):
            mark(databases.open(each))
        with pytest.raises(DatabaseUnavailable):
            databases.open(UNKNOWN)
    databases.close()


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


def _gone(_body: object) -> object:
    raise DatabaseUnavailable("The database does not answer.")


STEPS = ("CREATE DATABASE", "CREATE USER", "ALTER USER", "GRANT", "CREATE TABLE", "INSERT IGNORE", "COMMIT")


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_create_killed_at_any_statement_is_finished_by_a_repeat(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    fleet.made()  # The process has its copy of the schema.
    instance_id = fleet.placed()
    if step == "COMMIT":
        _kill_at_commit(fleet, instance_id, monkeypatch, after=after)
    else:
        with monkeypatch.context() as patched:
            _kill_at(step, patched, after=after)
            with pytest.raises(Killed):
                fleet.databases.create(instance_id)
    fleet.databases.close()
    assert fleet.databases.create(instance_id)
    mark(fleet.databases.open(instance_id))
    assert fleet.databases.is_current(instance_id)
    assert _tables(fleet, instance_id) == _tables(fleet, fleet.made())


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_tables_that_an_older_wops_left_half_made_are_made_anew(fleet: Fleet) -> None:
    """A killed provisioning is finished by a newer wops: its tables are not taken for those of the newest schema."""
    fleet.made()
    instance_id = fleet.placed()
    _empty_database(fleet, instance_id)
    database = Database(fleet.databases.migration_url(instance_id))
    with Raw(database) as cursor:
        cursor.execute("CREATE TABLE op (old_column INT PRIMARY KEY)")
        cursor.execute("CREATE TABLE of_old_times (old_column INT PRIMARY KEY)")
        cursor.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    database.close()
    fleet.databases.create(instance_id)
    other = fleet.made()
    assert _tables(fleet, instance_id) == _tables(fleet, other)
    made, expected = (_definitions(fleet.databases.migration_url(each)) for each in (instance_id, other))
    assert made == expected


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_what_a_killed_process_left_on_the_server_is_removed(
    fleet: Fleet, mariadb_admin: MariaDbAdmin, clock: FakeClock
) -> None:
    server = mariadb_admin.server
    old = f"{uuid_of(clock.now() - timedelta(hours=2)):032x}"
    young = f"{uuid_of(clock.now()):032x}"
    left = [f"{prefix}{old}" for prefix in ("wops_draft_", "wops_check_")]
    kept = ["wops_check_of_somebody", *(f"{prefix}{young}" for prefix in ("wops_draft_", "wops_check_"))]
    for name in (*left, *kept):
        server.execute(f"CREATE DATABASE `{name}`")
    fleet.made()
    with server.connect_admin() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        there = {row[0] for row in cursor.fetchall()}
    for name in kept:
        server.execute(f"DROP DATABASE `{name}`")
    assert there & {*left, *kept} == {*kept}


def uuid_of(at: datetime) -> int:
    """A UUIDv7 of that time: its first 48 bits are milliseconds."""
    return int(at.timestamp() * 1000) << 80


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
    with fleet.platform.engine.begin() as connection:
        connection.execute(
            text("UPDATE instance_database SET password = 'v1.AAAA' WHERE instance_id = :id"), {"id": damaged}
        )
    databases = PlacedDatabases(fleet.platform, data_dir=tmp_path, seal=PasswordSeal(KEY), clock=clock)
    assert databases.load() == 1
    mark(databases.open(sound))
    for call in (databases.open, databases.migration_url):
        with pytest.raises(DatabasePasswordDamaged):
            call(damaged)
    assert [record.msg for record in caplog.records if record.levelname == "CRITICAL"] == [
        "database_not_known"
    ]
    databases.close()
    with fleet.platform.engine.begin() as connection:
        connection.execute(text("DELETE FROM instance_database WHERE instance_id = :id"), {"id": damaged})


def test_what_another_process_removed_is_forgotten_when_told(
    fleet: Fleet, tmp_path: Path, clock: FakeClock
) -> None:
    instance_id = fleet.made()
    databases = PlacedDatabases(fleet.platform, data_dir=tmp_path, seal=PasswordSeal(KEY), clock=clock)
    databases.load()
    databases.open(instance_id)
    fleet.databases.drop(instance_id)
    databases.forget(instance_id)
    with pytest.raises(InstanceDatabaseMissing):
        databases.open(instance_id)
    databases.close()


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("step", STEPS[:-1])
def test_create_killed_at_any_statement_can_be_taken_back(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fleet.made()
    instance_id = fleet.placed()
    with monkeypatch.context() as patched:
        _kill_at(step, patched, after=True)
        with pytest.raises(Killed):
            fleet.databases.create(instance_id)
    # Half a database is not served.
    with pytest.raises(InstanceDatabaseMissing):
        fleet.databases.open(instance_id)
    fleet.databases.drop(instance_id)
    with pytest.raises(InstanceDatabaseMissing):
        fleet.databases.open(instance_id)


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("step", ["DROP USER", "KILL", "DROP DATABASE"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_drop_killed_at_any_statement_is_finished_by_a_repeat(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    instance_id = fleet.made()
    with monkeypatch.context() as patched:
        _kill_at(step, patched, after=after)
        with pytest.raises(Killed):
            fleet.databases.drop(instance_id)
    fleet.databases.close()
    fleet.databases.drop(instance_id)
    assert fleet.platform.read(repository.list_homes) == []


def _kill_at(step: str, patched: pytest.MonkeyPatch, *, after: bool) -> None:
    """Die at the second table, or at any other first statement that begins like this."""
    execute = pymysql.cursors.Cursor.execute
    left = [2 if step == "CREATE TABLE" else 1]

    def killing(self: pymysql.cursors.Cursor, query: str | bytearray, args: object = None) -> int:
        # `executemany` builds its statement as bytes.
        hit = (query if isinstance(query, str) else query.decode()).startswith(step)
        left[0] -= hit
        if hit and not left[0] and not after:
            raise Killed
        result = execute(self, query, args)  # type: ignore[arg-type]
        if hit and not left[0]:
            raise Killed
        return result

    patched.setattr(pymysql.cursors.Cursor, "execute", killing)


def _kill_at_commit(
    fleet: Fleet, instance_id: InstanceId, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """Die around the transaction that stores where the database will be, before the server was touched."""
    run_tx = fleet.platform.run_tx

    def killing(*args: object, **more: object) -> object:
        if after:
            run_tx(*args, **more)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(fleet.platform, "run_tx", killing)
        with pytest.raises(Killed):
            fleet.databases.create(instance_id)
    assert bool(fleet.platform.read(lambda reader: repository.find_home(reader, instance_id))) is after


def _tables(fleet: Fleet, instance_id: InstanceId) -> list[str]:
    with Raw(fleet.databases.open(instance_id)) as cursor:
        cursor.execute("SHOW TABLES")
        return [row[0] for row in cursor.fetchall()]


class Raw:
    def __init__(self, database: Database) -> None:
        self._connection = database.engine.raw_connection()

    def __enter__(self) -> pymysql.cursors.Cursor:
        cursor: pymysql.cursors.Cursor = self._connection.cursor()  # type: ignore[assignment]
        return cursor

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._connection.close()


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_copied_schema_is_the_migrated_one(fleet: Fleet, database_maker: object) -> None:
    """Table by table as the server writes them down, and row by row."""
    copied = fleet.databases.migration_url(fleet.made())
    fresh = fleet.placed()
    _empty_database(fleet, fresh)
    migrated = fleet.databases.migration_url(fresh)
    assert migrate.upgrade(migrated, "instance")
    assert _definitions(copied) == _definitions(migrated)


def _empty_database(fleet: Fleet, instance_id: InstanceId) -> None:
    """What `create` makes before it makes tables."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(db_admin.ServerAdmin, "write_schema", lambda *_: None)
        fleet.databases.create(instance_id)


def _definitions(url: str) -> dict[str, tuple[str, list[tuple[object, ...]]]]:
    database = Database(url)
    found: dict[str, tuple[str, list[tuple[object, ...]]]] = {}
    with Raw(database) as cursor:
        cursor.execute("SHOW TABLES")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SHOW CREATE TABLE `{table}`")
            definition = cursor.fetchall()[0][1]
            cursor.execute(f"SELECT * FROM `{table}`")
            found[table] = (definition, sorted(cursor.fetchall()))
    database.close()
    return found


def test_database_of_an_older_wops_is_migrated_when_it_is_opened(fleet: Fleet) -> None:
    instance_id = fleet.placed()
    fleet.databases.create(instance_id)
    _set_back(fleet.databases.open(instance_id))
    fleet.databases.close()
    assert not fleet.databases.is_current(instance_id)
    fleet.databases.open(instance_id)
    assert fleet.databases.is_current(instance_id)


def test_empty_database_is_not_taken_for_a_new_one(fleet: Fleet, engine_kind: EngineKind) -> None:
    """Only `create` makes a schema; an empty one in the place of what was there would hide that it is lost."""
    instance_id = fleet.made()
    _empty(fleet.databases.open(instance_id), engine_kind)
    fleet.databases.close()
    for call in (fleet.databases.open, fleet.databases.is_current, fleet.databases.open):
        with pytest.raises(InstanceDatabaseMissing):
            call(instance_id)
    assert migrate.current(fleet.databases.migration_url(instance_id)) is None
    fleet.databases.create(instance_id)
    mark(fleet.databases.open(instance_id))


def _empty(database: Database, engine_kind: EngineKind) -> None:
    if engine_kind == "sqlite":
        database.close()
        path = Path(str(database.engine.url.database).removeprefix("file:").partition("?")[0])
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(b"")
        return
    connection = database.engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("SHOW TABLES")
    names = [row[0] for row in cursor.fetchall()]
    cursor.execute("SET SESSION foreign_key_checks=0")
    cursor.execute("DROP TABLE " + ", ".join(f"`{name}`" for name in names))
    cursor.execute("SET SESSION foreign_key_checks=1")
    connection.close()


def test_newer_schema_than_ours_is_left_alone(fleet: Fleet) -> None:
    instance_id = fleet.made()
    _set_revision(fleet.databases.open(instance_id), "9999")
    fleet.databases.close()
    mark(fleet.databases.open(instance_id))
    assert migrate.current(fleet.databases.migration_url(instance_id)) == "9999"


def _set_back(database: Database) -> None:
    """As if the newest revision had not been run; every revision can be run again."""
    _set_revision(database, f"{int(migrate.head('instance')) - 1:04}")


def _set_revision(database: Database, revision: str) -> None:
    connection = database.engine.raw_connection()
    connection.cursor().execute(f"UPDATE alembic_version SET version_num = '{revision}'")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_file_from_before_there_were_servers_goes_on_working(
    fleet: Fleet, tmp_path: Path, make_old: Callable[[Fleet, InstanceId], Path]
) -> None:
    instance_id = fleet.made()
    path = make_old(fleet, instance_id)
    fleet.databases.close()
    mark(fleet.databases.open(instance_id))
    assert fleet.databases.create(instance_id) == f"sqlite:///{path}"
    assert fleet.databases.open(instance_id).read(last_sequence) == 1
    fleet.databases.drop(instance_id)
    assert not path.exists()
    assert path.is_relative_to(tmp_path)


@pytest.fixture
def make_old() -> Callable[[Fleet, InstanceId], Path]:
    def make(fleet: Fleet, instance_id: InstanceId) -> Path:
        url = fleet.databases.migration_url(instance_id)
        with fleet.platform.engine.begin() as connection:
            connection.execute(text("DELETE FROM instance_database"))
            connection.execute(text("DELETE FROM placement"))
            connection.execute(
                text(
                    "INSERT INTO instance (instance_id, customer_id, name, edition, lines, country, firm_code,"
                    " pool, state, health, database_url, config_version, applied_version, created_at_us)"
                    " VALUES (:id, 'cus_1', 'old', 'datacenter', 1, 'DE', 6000100, 'shared', 'ready', 'ok',"
                    " :url, 1, 1, 0)"
                ),
                {"id": instance_id, "url": url},
            )
        return Path(url.removeprefix("sqlite:///"))

    return make
