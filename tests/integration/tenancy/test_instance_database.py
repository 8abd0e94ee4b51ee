from __future__ import annotations

import gc
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from weakref import ref

import pytest

from app.core import migrate
from app.core.ids import InstanceId
from tenancy import SqliteInstanceDatabases
from tenancy.access.repository import find_profile
from tenancy.errors import InstanceDatabaseMissing
from tests.fake.clock import FakeClock

ID = InstanceId(f"ins_{1:032x}")


@pytest.fixture
def databases(tmp_path: Path, clock: FakeClock) -> SqliteInstanceDatabases:
    return SqliteInstanceDatabases(tmp_path / "instances", clock=clock, most_open=2)


def test_opening_a_database_that_does_not_exist_makes_none(
    databases: SqliteInstanceDatabases, tmp_path: Path
) -> None:
    with pytest.raises(InstanceDatabaseMissing) as refused:
        databases.open(ID)
    assert refused.value.code == "instance_database_missing"
    assert not (tmp_path / "instances").exists()


@pytest.mark.parametrize(
    "instance_id", ["", "../../etc/passwd", "ins_1", f"ins_{1:032x}/../x", f"ins_{1:032x}\n"]
)
def test_id_that_could_leave_the_directory_is_refused(
    databases: SqliteInstanceDatabases, instance_id: str
) -> None:
    for call in (databases.open, databases.create, databases.path):
        with pytest.raises(InstanceDatabaseMissing):
            call(InstanceId(instance_id))


def test_created_database_is_migrated_private_and_survives_a_second_create(
    databases: SqliteInstanceDatabases,
) -> None:
    url = databases.create(ID)
    path = databases.path(ID)
    assert url == f"sqlite:///{path}"
    assert path.stat().st_mode & 0o077 == 0
    database = databases.open(ID)
    assert database.read(find_profile) is None
    database.run_tx("op_1", lambda _tx: {"kept": True})
    assert databases.create(ID) == url
    assert database.run_tx("op_1", lambda _tx: {}).value == {"kept": True}
    databases.close()


def test_create_interrupted_in_the_middle_is_done_again(databases: SqliteInstanceDatabases) -> None:
    databases.create(InstanceId(f"ins_{2:032x}"))
    # What a killed process leaves: a draft that never got its name.
    (databases.path(ID).parent / ".draft-0123456789abcdef").write_bytes(b"half a file")
    databases.create(ID)
    assert databases.open(ID).read(find_profile) is None
    databases.close()


def test_sixteen_creates_at_once_leave_one_database_and_no_drafts(databases: SqliteInstanceDatabases) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(databases.create, [ID] * 16))) == 1
    names = [path.name for path in databases.path(ID).parent.iterdir()]
    assert sorted(name for name in names if not name.startswith(".template")) == [f"{ID}.db"]


def test_only_the_most_recently_used_stay_open_and_one_in_use_is_never_opened_twice(
    databases: SqliteInstanceDatabases,
) -> None:
    ids = [InstanceId(f"ins_{n:032x}") for n in range(1, 6)]
    for each in ids:
        databases.create(each)
    held = databases.open(ids[0])
    forgotten = ref(databases.open(ids[1]))
    for each in ids[2:]:
        databases.open(each).read(find_profile)
    assert databases.open(ids[0]) is held
    gc.collect()
    assert forgotten() is None
    databases.close()


def test_database_of_an_older_wops_is_migrated_when_it_is_opened(databases: SqliteInstanceDatabases) -> None:
    databases.create(ID)
    path = databases.path(ID)
    with closing(sqlite3.connect(path)) as older:
        older.execute("DROP INDEX ix_op_created_at")
        older.execute("UPDATE alembic_version SET version_num = '0025'")
        older.commit()
    databases.open(ID)
    with closing(sqlite3.connect(path)) as now:
        names = {name for (name,) in now.execute("SELECT name FROM sqlite_master")}
    assert "ix_op_created_at" in names
    assert migrate.current(f"sqlite:///{path}") == migrate.head("instance")
    databases.close()
