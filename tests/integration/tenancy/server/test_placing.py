"""Places are taken and given back by transactions; the last one goes to one of those who want it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.core.db import Database, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.outbox import list_events
from editions.catalog import EDITIONS
from tenancy.errors import TenancyError
from tenancy.placement import choose_servers
from tenancy.server import placing, repository
from tenancy.server.embedded import register_embedded_servers
from tenancy.server.errors import CapacityExhausted
from tenancy.server.record import ServerCreate
from tests.integration.tenancy.world import KEY
from tests.service.placed import store_servers

DISK = ServerCreate(
    name="disk",
    kind="sqlite",
    purpose="shared",
    site="karlsruhe",
    country="DE",
    capacity=3,
    address="instances",
)


def shared(name: str, capacity: int) -> ServerCreate:
    return replace(DISK, name=name, capacity=capacity, address=name)


def dedicated(name: str, site: str = "karlsruhe") -> ServerCreate:
    return replace(DISK, name=name, purpose="dedicated", capacity=1, site=site, address=name)


def place(db: Database, edition: str = "datacenter", *, lines: int = 1, country: str = "DE") -> InstanceId:
    instance_id = InstanceId(new_id("ins"))

    def body(tx: Tx) -> JsonObject:
        placing.place(tx, instance_id, edition=EDITIONS[edition], lines=lines, country=country)
        return {}

    db.run_tx(new_id("op"), body)
    return instance_id


def release(db: Database, instance_id: InstanceId) -> list[str]:
    freed: list[str] = []

    def body(tx: Tx) -> JsonObject:
        freed[:] = [each.name for each in placing.release(tx, instance_id)]
        return {}

    db.run_tx(new_id("op"), body)
    return freed


_COUNT_PLACED = text("SELECT COUNT(*) FROM placement WHERE server_id = :server")


def used(db: Database) -> dict[str, int]:
    """Places taken by name, checked against the placements themselves."""
    servers = db.read(lambda reader: repository.list_servers(reader, after="", limit=100))
    for each in servers:
        with db.engine.connect() as connection:
            counted = connection.execute(_COUNT_PLACED, {"server": each.server_id}).scalar_one()
        assert counted == each.used <= each.capacity
    return {each.name: each.used for each in servers}


def names(db: Database, instance_id: InstanceId) -> list[str]:
    return [each.name for each in db.read(lambda reader: repository.list_placed_on(reader, instance_id))]


def test_instances_spread_over_shared_servers_by_the_share_that_is_taken(platform_db: Database) -> None:
    store_servers(platform_db, [shared("big", 4), shared("small", 2)], key=KEY)
    placed = [names(platform_db, place(platform_db)) for _ in range(6)]
    assert [name for (name,) in placed] == ["big", "small", "big", "big", "small", "big"]
    with pytest.raises(CapacityExhausted):
        place(platform_db)
    assert used(platform_db) == {"big": 4, "small": 2}


def test_refused_placement_leaves_no_place_taken(platform_db: Database) -> None:
    store_servers(platform_db, [dedicated("a"), dedicated("b")], key=KEY)
    with pytest.raises(CapacityExhausted) as refused:
        place(platform_db, "high_availability", lines=3)
    assert refused.value.detail["free"] == 2
    assert used(platform_db) == {"a": 0, "b": 0}
    instance_id = place(platform_db, "high_availability", lines=2)
    assert names(platform_db, instance_id) == ["a", "b"]


def test_no_server_in_that_country(platform_db: Database) -> None:
    store_servers(platform_db, [DISK], key=KEY)
    with pytest.raises(CapacityExhausted) as refused:
        place(platform_db, country="FR")
    assert refused.value.detail == {
        "purpose": "shared",
        "kind": "sqlite",
        "country": "FR",
        "needed": 1,
        "free": 0,
    }


def test_place_given_back_twice_is_given_back_once(platform_db: Database) -> None:
    store_servers(platform_db, [DISK, dedicated("a"), dedicated("b")], key=KEY)
    keeping, leaving = place(platform_db), place(platform_db, "high_availability", lines=2)
    assert release(platform_db, leaving) == ["a", "b"]
    assert release(platform_db, leaving) == []
    assert used(platform_db) == {"disk": 1, "a": 0, "b": 0}
    assert names(platform_db, keeping) == ["disk"]
    events = platform_db.read(lambda reader: list_events(reader, after=0, limit=100))
    assert [each.type for each in events if each.subject == leaving] == [
        "instance.placed",
        "instance.released",
    ]


@pytest.mark.parametrize(
    ("servers", "edition", "lines", "winners"),
    [
        ([shared("a", 3)], "datacenter", 1, 3),
        ([shared("a", 2), shared("b", 1)], "datacenter", 1, 3),
        ([dedicated("a"), dedicated("b")], "dedicated", 1, 2),
        ([dedicated("a"), dedicated("b"), dedicated("c")], "high_availability", 2, 1),
    ],
)
def test_as_many_win_as_there_are_places_when_all_want_one_at_once(
    platform_db: Database, servers: list[ServerCreate], edition: str, lines: int, winners: int
) -> None:
    store_servers(platform_db, servers, key=KEY)

    def order(_: int) -> InstanceId | str:
        try:
            return place(platform_db, edition, lines=lines)
        except TenancyError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        outcome = list(pool.map(order, range(8)))
    assert outcome.count("capacity_exhausted") == 8 - winners
    assert sum(used(platform_db).values()) == winners * lines
    for each in outcome:
        if each != "capacity_exhausted":
            assert len(set(names(platform_db, InstanceId(each)))) == lines


def test_loser_of_the_guarded_update_takes_the_next_server(
    platform_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the list had been read before somebody else took the place."""
    store_servers(platform_db, [dedicated("a"), dedicated("b"), dedicated("c")], key=KEY)
    stale = platform_db.read(repository.list_all_servers)
    place(platform_db, "dedicated")
    assert [each.name for each in choose_servers(stale, EDITIONS["dedicated"], lines=1, country="DE")] == [
        "a"
    ]
    with monkeypatch.context() as patched:
        patched.setattr(repository, "list_all_servers", lambda *_, **__: stale)
        instance_id = place(platform_db, "high_availability", lines=2)
    assert names(platform_db, instance_id) == ["b", "c"]
    assert used(platform_db) == {"a": 1, "b": 1, "c": 1}


def test_lost_race_for_the_last_database_server_lets_no_directory_in(
    platform_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = replace(
        DISK, name="db", kind="mariadb", address="db:3306", capacity=1, admin_user="a", admin_password="b"
    )
    store_servers(platform_db, [DISK, database], key=KEY)
    stale = platform_db.read(repository.list_all_servers)
    assert names(platform_db, place(platform_db)) == ["db"]
    with monkeypatch.context() as patched:
        patched.setattr(repository, "list_all_servers", lambda *_, **__: stale)
        with pytest.raises(CapacityExhausted):
            place(platform_db)
    assert used(platform_db) == {"disk": 0, "db": 1}


def test_embedded_servers_are_registered_when_there_are_none(platform_db: Database) -> None:
    assert register_embedded_servers(platform_db, dedicated=2) == 3
    assert register_embedded_servers(platform_db, dedicated=5) == 0
    assert used(platform_db) == {"local-shared": 0, "local-dedicated-1": 0, "local-dedicated-2": 0}
    place(platform_db, "high_availability", lines=2)
    place(platform_db)
    assert used(platform_db) == {"local-shared": 1, "local-dedicated-1": 1, "local-dedicated-2": 1}


def test_embedded_servers_stay_away_from_a_fleet_with_servers(platform_db: Database) -> None:
    store_servers(platform_db, [DISK], key=KEY)
    assert register_embedded_servers(platform_db, dedicated=2) == 0
