from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address

import pytest

from app.core.command import Command
from app.core.db import Reader
from app.core.errors import DomainError
from app.core.ids import ApiClientId, InstanceId
from app.core.outbox import list_events
from tenancy import AccessCache, AccessPolicy, Insistence, Instance, Scope, check_scopes, make_policy
from tenancy.errors import (
    ClientNotFound,
    InstanceNotFound,
    InstanceNotReady,
    NameTaken,
    PolicyVersionConflict,
)
from tests.integration.tenancy.world import World

PEER = ip_address("192.0.2.7")
BASIC = make_policy(mode="all", methods=["basic"])
EITHER = make_policy(mode="any", methods=["basic", "network"], networks=["198.51.100.0/24"])
FORCE = Insistence(force=True)
ORDERS: frozenset[Scope] = check_scopes(["orders"])


def opened(world: World, policy: AccessPolicy = BASIC, *, name: str = "acme") -> Instance:
    instance = world.ready_instance(name)
    world.access.put_policy(instance.instance_id, policy, expected_version=1)
    return instance


def add(world: World, instance: Instance, name: str = "erp") -> tuple[ApiClientId, tuple[str, str]]:
    added = world.clients.add_client(instance.instance_id, name=name, scopes=ORDERS).value
    assert added.secret is not None
    return added.client.client_id, (added.client.username, added.secret)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(DomainError) as error:
        call()
    return error.value.code


def code(cache: AccessCache, basic: tuple[str, str] | None) -> str:
    return refused(lambda: cache.check(peer=PEER, basic=basic))


def test_new_instance_is_closed_until_its_customer_chooses(world: World) -> None:
    instance = world.ready_instance()
    cache = world.cache(instance.instance_id)
    assert code(cache, None) == "access_closed"
    _, basic = add(world, instance)
    assert code(cache, basic) == "access_closed"
    world.access.put_policy(instance.instance_id, BASIC, expected_version=1)
    admitted = cache.check(peer=PEER, basic=basic)
    assert (admitted.principal.name, admitted.scopes) == ("acme.erp", ORDERS)


def test_wrong_secret_and_missing_credentials_are_401_and_another_instances_client_is_404(
    world: World,
) -> None:
    mine, other = opened(world), opened(world, name="beta")
    cache = world.cache(mine.instance_id)
    _, basic = add(world, mine)
    _, others = add(world, other)
    assert code(cache, None) == "credentials_missing"
    assert code(cache, (basic[0], others[1])) == "credentials_invalid"
    assert code(cache, others) == "instance_not_found"
    assert code(cache, (others[0], basic[1])) == "instance_not_found"
    assert world.cache(other.instance_id).check(peer=PEER, basic=others).principal.name == "beta.erp"


def test_hash_copied_to_another_client_lets_nobody_in(world: World) -> None:
    instance = opened(world)
    client_id, basic = add(world, instance)
    _, victim = add(world, instance, "admin-tool")
    db = world.databases.open(instance.instance_id)
    with db.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE api_client SET secret_hash = (SELECT h FROM (SELECT secret_hash AS h FROM api_client"
            f" WHERE client_id = '{client_id}') AS source) WHERE username = '{victim[0]}'"
        )
        connection.exec_driver_sql(
            "UPDATE client_secret SET secret_hash = (SELECT secret_hash FROM api_client"
            " WHERE api_client.client_id = client_secret.client_id)"
        )
    assert code(world.cache(instance.instance_id), (victim[0], basic[1])) == "credentials_invalid"


def test_disabled_client_is_out_within_a_second_and_stays_listed(world: World) -> None:
    instance = opened(world)
    cache = world.cache(instance.instance_id)
    client_id, basic = add(world, instance)
    cache.check(peer=PEER, basic=basic)
    world.clients.disable_client(instance.instance_id, client_id, insistence=FORCE)
    world.clock.advance(timedelta(seconds=1.001))
    assert code(cache, basic) == "credentials_invalid"
    first = world.clients.disable_client(instance.instance_id, client_id).value.disabled_at
    assert [(each.name, each.disabled_at) for each in world.clients.list_clients(instance.instance_id)] == [
        ("erp", first)
    ]


def test_rotated_secret_works_at_once_and_the_old_one_ends(world: World) -> None:
    instance = opened(world)
    cache = world.cache(instance.instance_id)
    client_id, old = add(world, instance)
    cache.check(peer=PEER, basic=old)
    rotated = world.clients.rotate_client(instance.instance_id, client_id, overlap=timedelta(0)).value
    assert rotated.secret is not None
    new = (rotated.client.username, rotated.secret)
    assert cache.check(peer=PEER, basic=new).principal.client_id == client_id
    assert code(cache, old) == "credentials_invalid"


def test_repeated_command_adds_nothing_and_shows_no_secret(world: World) -> None:
    instance = opened(world)
    command = Command(op_id="key-1", fingerprint="a")

    def call() -> tuple[str, str | None, bool]:
        done = world.clients.add_client(instance.instance_id, name="erp", scopes=ORDERS, command=command)
        return done.value.client.client_id, done.value.secret, done.replayed

    first, again = call(), call()
    assert first[0] == again[0]
    assert (first[1] is None, first[2], again[1], again[2]) == (False, False, None, True)
    assert len(world.clients.list_clients(instance.instance_id)) == 1


def test_no_secret_lies_in_the_database(world: World) -> None:
    instance = opened(world)
    client_id, basic = add(world, instance)
    rotated = world.clients.rotate_client(instance.instance_id, client_id).value.secret
    assert rotated is not None
    db = world.databases.open(instance.instance_id)
    with db.engine.connect() as connection:
        rows = [
            str(row)
            for table in ("op", "outbox_event", "api_client", "client_secret")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
        ]
    assert not [row for row in rows if basic[1] in row or rotated in row]


def test_client_name_taken_unknown_client_and_unknown_instance_are_refused(world: World) -> None:
    instance = opened(world)
    add(world, instance)
    with pytest.raises(NameTaken):
        world.clients.add_client(instance.instance_id, name="erp", scopes=ORDERS)
    with pytest.raises(ClientNotFound):
        world.clients.rotate_client(instance.instance_id, ApiClientId("cli_0"))
    with pytest.raises(ClientNotFound):
        world.clients.disable_client(instance.instance_id, ApiClientId("cli_0"))
    with pytest.raises(InstanceNotFound):
        world.clients.list_clients(InstanceId("ins_0"))
    assert (
        refused(lambda: world.clients.add_client(instance.instance_id, name="E R P", scopes=ORDERS))
        == "name_unfit"
    )


def test_instance_under_construction_has_no_access_policy_yet(world: World) -> None:
    operation = world.order()
    with pytest.raises(InstanceNotReady):
        world.access.get_policy(InstanceId(operation.object_id))


def test_policy_edited_by_two_keeps_the_first_edit(world: World) -> None:
    instance = opened(world)
    assert world.access.get_policy(instance.instance_id).version == 2
    world.access.put_policy(instance.instance_id, EITHER, expected_version=2)
    with pytest.raises(PolicyVersionConflict) as conflict:
        world.access.put_policy(instance.instance_id, BASIC, expected_version=2)
    assert conflict.value.detail == {"expected": 2, "current": 3}
    stored = world.access.get_policy(instance.instance_id)
    assert (stored.policy, stored.version) == (EITHER, 3)


def test_repeated_policy_command_is_not_a_conflict(world: World) -> None:
    instance = world.ready_instance()
    command = Command(op_id="key-1")
    done = [
        world.access.put_policy(instance.instance_id, BASIC, expected_version=1, command=command)
        for _ in range(2)
    ]
    assert [(each.value.version, each.replayed) for each in done] == [(2, False), (2, True)]


def test_changes_of_access_are_events_of_the_instance(world: World) -> None:
    instance = opened(world)
    client_id, _ = add(world, instance)
    world.clients.rotate_client(instance.instance_id, client_id)
    world.clients.disable_client(instance.instance_id, client_id, insistence=FORCE)
    world.clients.disable_client(instance.instance_id, client_id)
    events = world.databases.open(instance.instance_id).read(
        lambda reader: list_events(reader, after=0, limit=100)
    )
    assert [event.type for event in events if event.type.startswith("access.")] == [
        "access.policy_changed",
        "access.client_added",
        "access.client_rotated",
        "access.client_disabled",
    ]


def test_check_from_memory_answers_only_while_the_copy_is_fresh_and_only_to_admit(world: World) -> None:
    instance = opened(world)
    _, basic = add(world, instance)
    cache = world.cache(instance.instance_id)
    assert cache.check_held(peer=PEER, basic=basic) is None
    cache.check(peer=PEER, basic=basic)
    assert cache.check_held(peer=PEER, basic=basic) is not None
    assert cache.check_held(peer=PEER, basic=basic) is cache.check_held(peer=PEER, basic=basic)
    assert cache.check_held(peer=PEER, basic=(basic[0], "wrong")) is None
    assert cache.check_held(peer=PEER, basic=None) is None
    world.clock.advance(timedelta(seconds=1.001))
    assert cache.check_held(peer=PEER, basic=basic) is None


def test_caller_remembered_in_memory_is_this_one_and_forgotten_with_the_next_change(world: World) -> None:
    both = make_policy(mode="all", methods=["basic", "network"], networks=["192.0.2.0/24"])
    instance = opened(world, both)
    client_id, basic = add(world, instance)
    cache = world.cache(instance.instance_id)
    cache.check(peer=PEER, basic=basic)
    assert cache.check_held(peer=PEER, basic=basic) is not None
    assert cache.check_held(peer=ip_address("203.0.113.9"), basic=basic) is None
    world.clients.disable_client(instance.instance_id, client_id, insistence=FORCE)
    world.clock.advance(timedelta(seconds=1.001))
    assert code(cache, basic) == "credentials_invalid"
    assert cache.check_held(peer=PEER, basic=basic) is None


def test_flood_of_wrong_secrets_costs_a_bounded_number_of_looks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = opened(world)
    _, basic = add(world, instance)
    db = world.databases.open(instance.instance_id)
    cache, reads, read = world.cache(instance.instance_id), [0], db.read

    def counted(body: Callable[[Reader], object]) -> object:
        reads[0] += 1
        return read(body)

    monkeypatch.setattr(db, "read", counted)
    seconds = world.clock.monotonic()
    for n in range(500):
        # From everywhere, so that nobody is slowed down.
        peer = ip_address(f"203.0.{n // 250}.{n % 250}")
        wrong = (basic[0], "wrong")
        assert refused(lambda: cache.check(peer=peer, basic=wrong)) == "credentials_invalid"  # noqa: B023
    seconds = world.clock.monotonic() - seconds
    assert reads[0] <= 12 + 11 * seconds
    cache.check(peer=PEER, basic=basic)


def test_last_use_is_kept_about_once_a_minute(world: World) -> None:
    instance = opened(world)
    _, basic = add(world, instance)
    cache = world.cache(instance.instance_id)
    cache.check(peer=PEER, basic=basic)
    used_at = world.clock.now()
    assert not cache.flush_due()
    world.clock.advance(timedelta(seconds=60))
    assert cache.flush_due()
    cache.flush_use()
    assert world.clients.list_clients(instance.instance_id)[0].last_used_at == used_at
    assert not cache.flush_due()


def test_cache_of_an_instance_that_is_not_configured_says_so(world: World) -> None:
    operation = world.order()
    world.databases.create(InstanceId(operation.object_id))
    cache = world.cache(InstanceId(operation.object_id))
    assert code(cache, None) == "instance_not_ready"
