"""What the probe sees in databases that are as they should be, and in those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.clock import to_us
from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.operations.probe import repository
from app.operations.probe.isolation import Check, Outcome, ProbeResult
from app.operations.probe.isolation_probe import (
    _look_at_file,
    _look_for_foreign_operation,
    _try_foreign_database,
)
from tests.service.database import DatabaseMaker, EngineKind
from tests.service.mariadb import MariaDbServer

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    """As instances have them: each opened by a URI that makes no file."""
    made = []
    for name in ("ins_a.db", "ins_b.db"):
        (tmp_path / name).touch(mode=0o600)
        made.append(open_file(tmp_path / name))
    yield made[0], made[1]
    for each in made:
        each.close()


def open_file(path: Path) -> Database:
    return Database(f"sqlite:///file:{path}?mode=rw&uri=true")


def test_files_of_the_platform_alone_are_in_order(two: tuple[Database, Database]) -> None:
    assert _look_at_file(*two) == ("held", "0o600")
    assert repository.file_of(two[0]).name == "ins_a.db"


def test_file_that_others_may_read_is_found(two: tuple[Database, Database]) -> None:
    repository.file_of(two[0]).chmod(0o644)
    assert _look_at_file(*two) == ("broken", "others may read the file")


def test_two_instances_on_one_file_are_found(two: tuple[Database, Database], tmp_path: Path) -> None:
    (tmp_path / "ins_c.db").hardlink_to(tmp_path / "ins_a.db")
    for path in (tmp_path / "ins_a.db", tmp_path / "ins_c.db"):
        again = open_file(path)
        assert _look_at_file(two[0], again) == ("broken", "both instances have the same file")
        again.close()


@pytest.fixture
def pair(database_maker: DatabaseMaker, engine_kind: EngineKind) -> Iterator[tuple[Database, Database]]:
    urls = [database_maker.create(engine_kind, "instance") for _ in range(2)]
    made = [Database(url) for url in urls]
    yield made[0], made[1]
    for url, each in zip(urls, made, strict=True):
        each.close()
        database_maker.remove(url)


def test_operation_of_one_is_unknown_to_the_other(pair: tuple[Database, Database]) -> None:
    own, other = pair
    assert _look_for_foreign_operation(own, other)[0] == "not_applicable"
    own.run_tx("idem:1", lambda _tx: {})
    assert _look_for_foreign_operation(own, other)[0] == "held"
    # Another customer took the same key, at another time: no breach.
    other.run_tx("idem:1", lambda _tx: {})
    assert _look_for_foreign_operation(own, other)[0] == "held"
    assert _look_for_foreign_operation(own, own)[0] == "broken"


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_right_to_look_for_a_table_that_is_not_there_is_a_right_too_much(
    pair: tuple[Database, Database], mariadb_server: MariaDbServer
) -> None:
    other = str(pair[1].engine.url.database)
    user = f"probe_{new_id('u')[-12:]}"
    mariadb_server.execute(f"CREATE USER `{user}`@`%` IDENTIFIED BY 'x'")
    own = Database(
        pair[0].engine.url.set(username=user, password="x", database="").render_as_string(hide_password=False)
    )
    try:
        for table in ("op", "no_such_table"):
            assert repository.try_to_read(own, f"`{other}`.`{table}`") == "refused"
        assert _try_foreign_database(own, pair[1]) == ("held", "refused")
        mariadb_server.execute(f"GRANT INSERT, SELECT ON `{other}`.* TO `{user}`@`%`")
        assert repository.try_to_read(own, f"`{other}`.`no_such_table`") == "absent"
        assert repository.try_to_read(own, f"`{other}`.`op`") == "read"
        mariadb_server.execute(f"DROP TABLE `{other}`.`op`")
        outcome, _ = _try_foreign_database(own, pair[1])
        assert outcome == "broken"
    finally:
        own.close()
        mariadb_server.execute(f"DROP USER `{user}`@`%`")


def test_rounds_that_held_are_kept_for_a_week_and_the_others_for_a_quarter(platform_db: Database) -> None:
    def result(days: float, outcome: Outcome) -> ProbeResult:
        at = AT - timedelta(days=days)
        check = Check(check="foreign_ids", instance="a", other="b", outcome=outcome)
        return ProbeResult(probe="isolation", started_at=at, finished_at=at, checks=(check,))

    made = [
        result(6.9, "held"),
        result(7.1, "held"),
        result(7.2, "broken"),
        result(89.9, "unknown"),
        result(90.1, "broken"),
    ]

    def keep(tx: Tx) -> JsonObject:
        for each in made:
            repository.add_result(tx, each)
        day = timedelta(days=1)
        before, held_before = AT - 90 * day, AT - 7 * day
        return {
            "forgotten": repository.forget_results(tx, "isolation", before=before, held_before=held_before)
        }

    assert platform_db.run_tx("keep", keep).value == {"forgotten": 2}
    found = platform_db.read(lambda reader: repository.list_results(reader, "isolation", limit=9))
    assert found == [made[0], made[2], made[3]]
    first = to_us(made[0].started_at)
    again = platform_db.read(lambda reader: repository.find_result(reader, "isolation", started_at_us=first))
    assert again == made[0]
