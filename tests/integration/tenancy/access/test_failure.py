from __future__ import annotations

import threading
from datetime import timedelta
from ipaddress import ip_address

import pytest

from app.core.db import MOST_AT_ONCE
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import InstanceId
from tenancy import AccessCache, check_scopes, make_policy
from tenancy.access.failure.log import MOST_ROWS
from tests.integration.tenancy.access.outcome import outcome
from tests.integration.tenancy.world import KEY, World
from tests.service.wait import wait_until

PEER = ip_address("192.0.2.7")
ELSEWHERE = ip_address("198.51.100.7")


@pytest.fixture
def instance_id(world: World) -> InstanceId:
    found = world.ready_instance().instance_id
    world.access.put_policy(found, make_policy(mode="all", methods=["basic"]), expected_version=1)
    return found


@pytest.fixture
def basic(world: World, instance_id: InstanceId) -> tuple[str, str]:
    made = world.clients.add_client(instance_id, name="erp", scopes=check_scopes(["read"])).value
    return made.client.username, str(made.secret)


@pytest.fixture
def cache(world: World, instance_id: InstanceId) -> AccessCache:
    return world.cache(instance_id)


def test_client_is_slowed_down_in_one_network_only(
    world: World, cache: AccessCache, basic: tuple[str, str]
) -> None:
    wrong = (basic[0], "wrong")
    tries = [outcome(lambda: cache.check(peer=PEER, basic=wrong)) for _ in range(7)]
    assert tries == ["credentials_invalid"] * 5 + ["too_many_failures"] * 2
    # Not even the right secret is looked at, in memory or not.
    assert outcome(lambda: cache.check(peer=PEER, basic=basic)) == "too_many_failures"
    assert outcome(lambda: cache.check_held(peer=PEER, basic=basic)) == "too_many_failures"
    assert outcome(lambda: cache.check(peer=ELSEWHERE, basic=basic)) == "done"
    world.clock.advance(timedelta(seconds=1.5))
    assert outcome(lambda: cache.check(peer=PEER, basic=basic)) == "done"
    assert outcome(lambda: cache.check(peer=PEER, basic=wrong)) == "credentials_invalid"


def test_pause_is_told(world: World, cache: AccessCache, basic: tuple[str, str]) -> None:
    for _ in range(5):
        outcome(lambda: cache.check(peer=PEER, basic=(basic[0], "wrong")))
    with pytest.raises(DomainError) as refused:
        cache.check(peer=PEER, basic=basic)
    assert refused.value.detail == {"expected_wait_seconds": 1}


def test_unknown_names_share_one_place_and_slow_nobody_known_down(
    cache: AccessCache, basic: tuple[str, str]
) -> None:
    tries = [outcome(lambda: cache.check(peer=PEER, basic=(f"other.{n}", "x"))) for n in range(20)]  # noqa: B023
    assert tries == ["instance_not_found"] * 20
    assert outcome(lambda: cache.check(peer=PEER, basic=basic)) == "done"
    assert outcome(lambda: cache.check(peer=ELSEWHERE, basic=("other.1", "x"))) == "instance_not_found"


def test_unknown_names_are_not_even_looked_at_while_they_are_slowed_down(
    world: World, instance_id: InstanceId, basic: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [0]

    class CountingKey:
        def matches(self, *given: object, **more: object) -> bool:
            looks[0] += 1
            return KEY.matches(*given, **more)  # type: ignore[arg-type]

    cache = AccessCache(world.databases.open(instance_id), clock=world.clock, key=CountingKey())  # type: ignore[arg-type]
    for _ in range(50):
        assert outcome(lambda: cache.check(peer=PEER, basic=("other.erp", "x"))) == "instance_not_found"
    assert 5 <= looks[0] <= 10
    assert outcome(lambda: cache.check_held(peer=PEER, basic=("other.erp", "x"))) == "instance_not_found"
    cache.flush_use()
    (row,) = world.access.list_failures(instance_id)
    assert (row.client, row.code, row.failures) == ("-", "instance_not_found", 51)


def test_call_without_credentials_is_never_slowed_down(cache: AccessCache, basic: tuple[str, str]) -> None:
    assert {outcome(lambda: cache.check(peer=PEER, basic=None)) for _ in range(20)} == {"credentials_missing"}
    assert outcome(lambda: cache.check(peer=PEER, basic=basic)) == "done"


def test_probe_is_not_counted(
    world: World, instance_id: InstanceId, cache: AccessCache, basic: tuple[str, str]
) -> None:
    for _ in range(20):
        call = outcome(lambda: cache.check(peer=PEER, basic=("other.erp", "x"), counted=False))
        assert call == "instance_not_found"
    cache.flush_use()
    assert world.access.list_failures(instance_id) == []


def test_probe_takes_no_look_from_a_customer_with_a_new_secret(
    world: World, instance_id: InstanceId, cache: AccessCache, basic: tuple[str, str]
) -> None:
    cache.check(peer=PEER, basic=basic)
    for _ in range(50):
        outcome(lambda: cache.check(peer=PEER, basic=("other.erp", "x"), counted=False))
    made = world.clients.add_client(instance_id, name="crm", scopes=check_scopes(["read"])).value
    assert outcome(lambda: cache.check(peer=PEER, basic=(made.client.username, str(made.secret)))) == "done"


def test_what_could_not_be_written_down_is_kept_for_the_next_minute(
    world: World, instance_id: InstanceId, cache: AccessCache, basic: tuple[str, str]
) -> None:
    cache.check(peer=PEER, basic=basic)
    used_at = world.clock.now()
    wrong = (basic[0], "wrong")
    outcome(lambda: cache.check(peer=PEER, basic=wrong))
    db = world.databases.open(instance_id)
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE access_failure RENAME TO away")
    with pytest.raises(Exception, match="access_failure"):
        cache.flush_use()
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO access_failure")
    world.clock.advance(timedelta(seconds=61))
    outcome(lambda: cache.check(peer=PEER, basic=wrong))
    assert cache.flush_due()
    cache.flush_use()
    (row,) = world.access.list_failures(instance_id)
    assert (row.failures, row.first_at, row.last_at) == (2, used_at, world.clock.now())
    (client,) = world.clients.list_clients(instance_id)
    assert client.last_used_at == used_at


class HungDatabase:
    """Answers nobody until it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked = 0

    def read(self, _body: object) -> object:
        self.asked += 1
        self.go_on.wait(30)
        raise DatabaseUnavailable("The database does not answer.")


def test_database_that_hangs_holds_a_bounded_number_of_threads(world: World) -> None:
    hung = HungDatabase()
    cache = AccessCache(hung, clock=world.clock, key=KEY)  # type: ignore[arg-type]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(outcome(lambda: cache.check(peer=PEER, basic=None))))
        for _ in range(MOST_AT_ONCE + 20)
    ]
    try:
        for thread in threads:
            thread.start()
        # Those who find no place are sent away at once, the others but one after a while.
        wait_until(lambda: len(found) >= 20, "the surplus to be sent away")
        wait_until(lambda: len(found) == len(threads) - 1, "all but who looks to give up")
    finally:
        hung.go_on.set()
        for thread in threads:
            thread.join()
    assert set(found) == {"database_unavailable"}
    assert hung.asked == 1


def test_failures_are_written_down_every_minute_and_added_up(
    world: World, instance_id: InstanceId, cache: AccessCache, basic: tuple[str, str]
) -> None:
    first = world.clock.now()
    for _ in range(2):
        for _ in range(2):
            outcome(lambda: cache.check(peer=PEER, basic=(basic[0], "wrong")))
        outcome(lambda: cache.check(peer=ELSEWHERE, basic=None))
        assert not cache.flush_due()
        world.clock.advance(timedelta(seconds=61))
        assert cache.flush_due()
        cache.flush_use()
    other_line = world.cache(instance_id)
    outcome(lambda: other_line.check(peer=PEER, basic=(basic[0], "wrong")))
    other_line.flush_use()
    rows = world.access.list_failures(instance_id)
    assert [(row.client, row.network, row.code, row.failures) for row in rows] == [
        ("acme.erp", "192.0.2.7/32", "credentials_invalid", 5),
        ("-", "198.51.100.7/32", "credentials_missing", 2),
    ]
    assert (rows[0].first_at, rows[0].last_at) == (first, world.clock.now())


def test_rows_are_bounded_and_the_oldest_go_first(
    world: World, instance_id: InstanceId, cache: AccessCache, basic: tuple[str, str]
) -> None:
    outcome(lambda: cache.check(peer=PEER, basic=(basic[0], "wrong")))
    cache.flush_use()
    for turn in range(2):
        world.clock.advance(timedelta(seconds=61))
        for n in range(300):
            peer = ip_address(f"203.{turn}.{n // 250}.{n % 250}")
            outcome(lambda: cache.check(peer=peer, basic=None))  # noqa: B023
        cache.flush_use()
    rows = world.access.list_failures(instance_id)
    assert len(rows) == MOST_ROWS
    assert all(row.network.startswith("203.1.") for row in rows[:300])
    assert not any(row.client == "acme.erp" for row in rows)
