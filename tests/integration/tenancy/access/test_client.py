from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import pytest

from app.core.ids import ApiClientId, InstanceId
from app.core.outbox import list_events
from tenancy import (
    AccessCache,
    CallerCredentials,
    ClientChange,
    ClientLimits,
    Insistence,
    check_scopes,
    make_policy,
)
from tenancy.access.client.service import ClientService
from tests.integration.tenancy.access.outcome import outcome
from tests.integration.tenancy.world import KEY, World
from tests.service.crowd import together

PEER = ip_address("192.0.2.7")
BASIC = make_policy(mode="all", methods=["basic"])
ADMIN = check_scopes(["admin"])
FORCE = Insistence(force=True)


@dataclass
class Shop:
    """An instance with two clients, both with every scope."""

    world: World
    instance_id: InstanceId
    erp_id: ApiClientId
    erp: tuple[str, str]
    crm_id: ApiClientId
    crm: tuple[str, str]

    @property
    def clients(self) -> ClientService:
        return self.world.clients

    def cache(self) -> AccessCache:
        return self.world.cache(self.instance_id)

    def lets_in(self, basic: tuple[str, str]) -> bool:
        """Asked of a line that has held nothing so far."""
        return outcome(lambda: self.cache().check(peer=PEER, basic=basic)) == "done"

    def sql(self, statement: str) -> None:
        with self.world.databases.open(self.instance_id).engine.begin() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture
def shop(world: World) -> Shop:
    instance_id = world.ready_instance().instance_id
    world.access.put_policy(instance_id, BASIC, expected_version=1)
    made = [world.clients.add_client(instance_id, name=name, scopes=ADMIN).value for name in ("erp", "crm")]
    (erp, crm) = [(each.client.username, str(each.secret)) for each in made]
    return Shop(world, instance_id, made[0].client.client_id, erp, made[1].client.client_id, crm)


def test_old_secret_goes_on_beside_the_new_one_until_the_overlap_ends(shop: Shop) -> None:
    rotated = shop.clients.rotate_client(shop.instance_id, shop.erp_id, overlap=timedelta(hours=2)).value
    new = (shop.erp[0], str(rotated.secret))
    assert [each.ends_at for each in rotated.client.secrets] == [
        None,
        shop.world.clock.now() + timedelta(hours=2),
    ]
    assert [shop.lets_in(new), shop.lets_in(shop.erp)] == [True, True]
    cache = shop.cache()
    cache.check(peer=PEER, basic=shop.erp)
    shop.world.clock.advance(timedelta(hours=2))
    assert cache.check_held(peer=PEER, basic=shop.erp) is None
    assert outcome(lambda: cache.check(peer=PEER, basic=shop.erp)) == "credentials_invalid"
    assert shop.lets_in(new)


def test_caller_held_in_memory_is_out_when_his_secret_ends(shop: Shop) -> None:
    shop.clients.rotate_client(shop.instance_id, shop.erp_id, overlap=timedelta(seconds=0.5))
    cache = shop.cache()
    cache.check(peer=PEER, basic=shop.erp)
    assert cache.check_held(peer=PEER, basic=shop.erp) is not None
    shop.world.clock.advance(timedelta(seconds=0.5))
    assert cache.check_held(peer=PEER, basic=shop.erp) is None


def rotate(shop: Shop, *, hours: int = 24) -> str:
    shop.world.clock.advance(timedelta(seconds=1))
    overlap = timedelta(hours=hours)
    return str(shop.clients.rotate_client(shop.instance_id, shop.erp_id, overlap=overlap).value.secret)


def which_let_in(shop: Shop, secrets: list[str]) -> list[bool]:
    return [shop.lets_in((shop.erp[0], each)) for each in secrets]


def test_secret_in_use_outlives_a_rotation_whose_answer_was_lost(shop: Shop) -> None:
    secrets = [shop.erp[1], rotate(shop), rotate(shop)]
    assert which_let_in(shop, secrets) == [True, True, True]
    # To the first one's own end, not a second longer.
    shop.world.clock.advance(timedelta(hours=24) - timedelta(seconds=1, microseconds=1))
    assert which_let_in(shop, secrets) == [True, True, True]
    shop.world.clock.advance(timedelta(microseconds=1))
    assert which_let_in(shop, secrets) == [False, True, True]


def test_three_secrets_at_most_the_one_in_the_middle_ends(shop: Shop) -> None:
    secrets = [shop.erp[1], *(rotate(shop) for _ in range(3))]
    assert which_let_in(shop, secrets) == [True, False, True, True]
    assert len(shop.clients.get_client(shop.instance_id, shop.erp_id).secrets) == 3


def test_without_overlap_everything_older_ends_at_once(shop: Shop) -> None:
    secrets = [shop.erp[1], rotate(shop), rotate(shop), rotate(shop, hours=0)]
    assert which_let_in(shop, secrets) == [False, False, False, True]
    shorter = [secrets[3], rotate(shop), rotate(shop, hours=1)]
    shop.world.clock.advance(timedelta(hours=1))
    assert which_let_in(shop, shorter) == [False, False, True]


@pytest.mark.parametrize("hours", [-1, 169])
def test_overlap_has_bounds(shop: Shop, hours: int) -> None:
    overlap = timedelta(hours=hours)
    call = outcome(lambda: shop.clients.rotate_client(shop.instance_id, shop.erp_id, overlap=overlap))
    assert call == "secret_overlap_unfit"
    assert shop.lets_in(shop.erp)


def test_client_made_by_an_older_wops_comes_in_and_can_be_rotated(shop: Shop) -> None:
    shop.sql(f"DELETE FROM client_secret WHERE client_id = '{shop.erp_id}'")
    assert shop.lets_in(shop.erp)
    rotated = shop.clients.rotate_client(shop.instance_id, shop.erp_id).value
    assert [shop.lets_in((shop.erp[0], str(rotated.secret))), shop.lets_in(shop.erp)] == [True, True]


def test_secret_given_by_an_older_wops_is_the_only_one(shop: Shop) -> None:
    new = shop.clients.rotate_client(shop.instance_id, shop.erp_id).value.secret
    shop.sql(
        "UPDATE api_client SET secret_hash = (SELECT secret_hash FROM client_secret WHERE ends_at_us IS NOT NULL)"
        f" WHERE client_id = '{shop.erp_id}'"
    )
    shop.sql("DELETE FROM client_secret WHERE ends_at_us IS NOT NULL")
    assert [shop.lets_in(shop.erp), shop.lets_in((shop.erp[0], str(new)))] == [True, False]
    shop.clients.rotate_client(shop.instance_id, shop.erp_id)
    assert not shop.lets_in((shop.erp[0], str(new)))


def test_secret_given_by_an_older_wops_ends_the_others_and_the_next_rotation_repairs_that(shop: Shop) -> None:
    """It changes `api_client.secret_hash` and knows nothing of `client_secret`."""
    ours = [shop.erp[1], rotate(shop)]
    theirs = "wops_client_by_an_older_one"
    theirs_hash = KEY.hash_secret(theirs, owner=shop.erp_id)
    shop.sql(f"UPDATE api_client SET secret_hash = '{theirs_hash}' WHERE client_id = '{shop.erp_id}'")
    assert which_let_in(shop, [*ours, theirs]) == [False, False, True]
    new = rotate(shop)
    assert which_let_in(shop, [*ours, theirs, new]) == [False, False, True, True]
    with shop.world.databases.open(shop.instance_id).engine.connect() as connection:
        stored = connection.exec_driver_sql(
            f"SELECT count(*) FROM client_secret WHERE client_id = '{shop.erp_id}'"
        ).scalar()
    assert stored == 2


def test_older_lines_find_the_newest_secret_where_they_look(shop: Shop) -> None:
    shop.clients.rotate_client(shop.instance_id, shop.erp_id)
    with shop.world.databases.open(shop.instance_id).engine.connect() as connection:
        newest = connection.exec_driver_sql(
            "SELECT c.secret_hash, s.ends_at_us FROM api_client c JOIN client_secret s"
            f" ON s.secret_hash = c.secret_hash WHERE c.client_id = '{shop.erp_id}'"
        ).fetchall()
    assert [row[1] for row in newest] == [None]


def test_client_expires_by_itself(shop: Shop) -> None:
    tomorrow = shop.world.clock.now() + timedelta(days=2)
    shop.clients.change_client(
        shop.instance_id, shop.erp_id, ClientChange(expires_at=tomorrow), expected_version=1
    )
    assert shop.lets_in(shop.erp)
    shop.world.clock.advance(timedelta(days=2))
    assert [shop.lets_in(shop.erp), shop.lets_in(shop.crm)] == [False, True]


def test_changed_client_keeps_its_user_name_and_its_events_show_what_was(shop: Shop) -> None:
    change = ClientChange(name="erp-2", scopes=check_scopes(["read"]), rate_per_second=7, burst=None)
    changed = shop.clients.change_client(shop.instance_id, shop.erp_id, change, expected_version=1).value
    assert (changed.name, changed.username, changed.version) == ("erp-2", shop.erp[0], 2)
    assert (changed.rate.per_second, changed.rate.burst) == (7, 50)
    admitted = shop.cache().check(peer=PEER, basic=shop.erp)
    assert (admitted.scopes, admitted.rate) == (frozenset({"read"}), changed.rate)
    events = shop.world.databases.open(shop.instance_id).read(
        lambda reader: list_events(reader, after=0, limit=100)
    )
    (event,) = [each for each in events if each.type == "access.client_changed"]
    assert event.data == {"name": "erp-2", "scopes": ["read"], "rate_per_second": 7}


def test_client_edited_by_two_keeps_the_first_edit(shop: Shop) -> None:
    def edit(name: str) -> str:
        change = ClientChange(name=name)
        return outcome(
            lambda: shop.clients.change_client(shop.instance_id, shop.erp_id, change, expected_version=1)
        )

    assert [edit("first"), edit("second")] == ["done", "client_version_conflict"]
    assert shop.clients.get_client(shop.instance_id, shop.erp_id).name == "first"


def test_what_a_client_cannot_have_is_refused(shop: Shop) -> None:
    now = shop.world.clock.now()
    changes = {
        "name_taken": ClientChange(name="crm"),
        "name_unfit": ClientChange(name="E R P"),
        "client_expiry_past": ClientChange(expires_at=now),
        "rate_unfit": ClientChange(rate_per_second=51, highest=50),
    }
    for code, change in changes.items():
        call = outcome(
            lambda: shop.clients.change_client(
                shop.instance_id,
                shop.erp_id,
                change,  # noqa: B023
                expected_version=1,
            )
        )
        assert call == code
    for code, limits in (
        ("client_expiry_past", ClientLimits(expires_at=now)),
        ("rate_unfit", ClientLimits(burst=0)),
    ):
        call = outcome(
            lambda: shop.clients.add_client(
                shop.instance_id,
                name="new",
                scopes=ADMIN,
                limits=limits,  # noqa: B023
            )
        )
        assert call == code
    assert [each.version for each in shop.clients.list_clients(shop.instance_id)] == [1, 1]


def test_disabled_client_is_enabled_again_and_a_removed_one_is_gone(shop: Shop) -> None:
    shop.clients.disable_client(shop.instance_id, shop.erp_id)
    assert not shop.lets_in(shop.erp)
    shop.clients.enable_client(shop.instance_id, shop.erp_id)
    assert shop.lets_in(shop.erp)
    shop.clients.remove_client(shop.instance_id, shop.erp_id)
    assert outcome(lambda: shop.cache().check(peer=PEER, basic=shop.erp)) == "instance_not_found"
    assert outcome(lambda: shop.clients.get_client(shop.instance_id, shop.erp_id)) == "client_not_found"
    again = shop.clients.add_client(shop.instance_id, name="erp", scopes=ADMIN).value
    assert not shop.lets_in(shop.erp)
    assert shop.lets_in((again.client.username, str(again.secret)))


def test_caller_and_last_client_are_not_shut_out_unless_forced(shop: Shop) -> None:
    caller = Insistence(caller=CallerCredentials(peer=PEER, basic=shop.erp))

    def disable(client_id: ApiClientId, insistence: Insistence) -> str:
        return outcome(
            lambda: shop.clients.disable_client(shop.instance_id, client_id, insistence=insistence)
        )

    assert disable(shop.erp_id, caller) == "would_lock_out_caller"
    assert disable(shop.crm_id, caller) == "done"
    assert disable(shop.erp_id, Insistence()) == "would_lock_out_everybody"
    assert (
        outcome(
            lambda: shop.clients.rotate_client(
                shop.instance_id, shop.erp_id, overlap=timedelta(0), insistence=caller
            )
        )
        == "would_lock_out_caller"
    )
    assert outcome(lambda: shop.clients.remove_client(shop.instance_id, shop.erp_id)) == (
        "would_lock_out_everybody"
    )
    closed = make_policy(mode="all", methods=[])
    assert (
        outcome(
            lambda: shop.world.access.put_policy(
                shop.instance_id, closed, expected_version=2, insistence=caller
            )
        )
        == "would_lock_out_caller"
    )
    assert shop.lets_in(shop.erp)
    assert disable(shop.erp_id, FORCE) == "done"


def test_expiry_that_is_near_counts_as_shutting_out(shop: Shop) -> None:
    caller = Insistence(caller=CallerCredentials(peer=PEER, basic=shop.erp))
    for hours, expected in ((1, "would_lock_out_caller"), (48, "done")):
        change = ClientChange(expires_at=shop.world.clock.now() + timedelta(hours=hours))
        call = outcome(
            lambda: shop.clients.change_client(
                shop.instance_id,
                shop.erp_id,
                change,  # noqa: B023
                expected_version=1,
                insistence=caller,
            )
        )
        assert call == expected


def test_two_who_each_remove_the_others_client_leave_one(shop: Shop) -> None:
    """Both see another working client before; the second to commit must see that it is the last."""
    pair = (shop.erp_id, shop.crm_id)

    def remove(place: int) -> str:
        return outcome(lambda: shop.clients.remove_client(shop.instance_id, pair[place]))

    assert sorted(together(2, remove)) == ["done", "would_lock_out_everybody"]
    assert len(shop.clients.list_clients(shop.instance_id)) == 1


def test_last_use_is_kept_of_client_and_secret(shop: Shop) -> None:
    shop.world.clock.advance(timedelta(seconds=5))
    shop.clients.rotate_client(shop.instance_id, shop.erp_id)
    cache = shop.cache()
    cache.check(peer=PEER, basic=shop.erp)
    used_at = shop.world.clock.now()
    cache.flush_use()
    found = shop.clients.get_client(shop.instance_id, shop.erp_id)
    assert found.last_used_at == used_at
    assert [each.last_used_at for each in found.secrets] == [None, used_at]
