"""What other tests here rely on: a comparison sees every change, and a site ends whatever has happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.container import Platform
from tests.api.dump import Dump, Rows, compare
from tests.api.site import Instance, Site

ONE: Rows = frozenset({("a", 1)})
BOTH: Rows = ONE | {("b", 2)}
NONE: Rows = frozenset()


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"db": {"t": ONE}}, {"db": {"t": ONE}}, {}),
        ({"db": {"t": ONE}}, {"db": {"t": BOTH}}, {("db", "t"): {("b", 2)}}),
        ({"db": {"t": BOTH}}, {"db": {"t": ONE}}, {("db", "t"): {("b", 2)}}),
        ({"db": {"t": ONE}}, {"db": {"t": NONE}}, {("db", "t"): ONE}),
        ({"db": {"t": ONE, "u": BOTH}}, {"db": {"t": ONE}}, {("db", "u"): BOTH}),
        ({"db": {"t": ONE, "u": NONE}}, {"db": {"t": ONE}}, {("db", "u"): None}),
        ({"db": {"t": ONE}}, {"db": {"t": ONE, "u": NONE}}, {("db", "u"): None}),
        ({"db": {"t": ONE}}, {}, {("db", "t"): ONE}),
        ({}, {"db": {"t": ONE}}, {("db", "t"): ONE}),
    ],
    ids=[
        *("nothing", "row_new", "row_gone", "rows_gone", "table_gone", "empty_table_gone"),
        *("empty_table_new", "database_gone", "database_new"),
    ],
)
def test_comparison_tells_what_is_on_one_side_only(
    before: Dump, after: Dump, changed: dict[tuple[str, str], Rows | None]
) -> None:
    assert compare(before, after) == changed
    assert compare(before, after, but=("t", "u")) == {}


def delete_rows(instance: Instance) -> None:
    with closing(sqlite3.connect(instance.database)) as connection, connection:
        connection.execute("DELETE FROM access_policy")


def delete_table(instance: Instance) -> None:
    with closing(sqlite3.connect(instance.database)) as connection, connection:
        connection.execute("DROP TABLE access_failure_of_nobody")


def delete_database(instance: Instance) -> None:
    instance.database.unlink()


@pytest.mark.parametrize("damage", [delete_rows, delete_table, delete_database])
def test_what_is_removed_is_noticed(own_site: Site, damage: Callable[[Instance], None]) -> None:
    instance = own_site.add_instance("datacenter", "acme")
    with closing(sqlite3.connect(instance.database)) as connection:
        connection.execute("CREATE TABLE access_failure_of_nobody (name TEXT)")
    with pytest.raises(AssertionError, match="changed"), own_site.nothing_changes():
        damage(instance)


class StillbornPlatform(Platform):
    """Comes up never."""

    async def start(self) -> None:
        raise OSError("no disk")


def test_site_that_never_came_up_says_why_and_can_be_stopped(tmp_path: Path) -> None:
    site = Site(tmp_path, make_platform=StillbornPlatform)
    site.stop()
    with pytest.raises(OSError, match="no disk"), site:
        pytest.fail("it came up")
    site.stop()


def test_addresses_for_callers_are_new_each_time(site: Site) -> None:
    addresses = [site.new_address() for _ in range(600)]
    assert len(set(addresses)) == 600
    assert site.call("GET", "/livez", source=addresses[-1]).status_code == 200
