from __future__ import annotations

from datetime import timedelta

import pytest

from app.core.command import Command
from app.core.errors import InputInvalid
from app.core.ids import CustomerId
from tenancy.errors import (
    CustomerNotFound,
    ExpiryUnfit,
    LimitUnfit,
    NameTaken,
    NameUnfit,
    RoleUnknown,
    StaffTokenInvalid,
    StaffTokenNotFound,
)
from tenancy.staff.person import PersonService
from tests.integration.tenancy.world import KEY, World


def people(world: World) -> PersonService:
    return PersonService(world.platform, key=KEY)


def add(world: World, name: str = "bootstrap", role: str = "admin") -> tuple[str, str]:
    expires_at = world.clock.now() + timedelta(days=1)
    made = world.staff.add_token(name, role, person=f"{name}@wops.example", expires_at=expires_at).value
    assert made.secret is not None
    return made.token.token_id, made.secret


def test_token_says_who_is_calling_until_it_expires(world: World) -> None:
    token_id, secret = add(world, "mona", "operator")
    assert secret.startswith("wops_staff_")
    principal = world.staff.check(secret)
    person = people(world).list_people()[0]
    assert (principal.token_id, principal.role) == (token_id, "operator")
    assert (principal.person_id, person.name) == (person.person_id, "mona@wops.example")
    world.clock.advance(timedelta(days=1))
    with pytest.raises(StaffTokenInvalid) as refused:
        world.staff.check(secret)
    assert refused.value.code == "staff_token_invalid"


def test_secret_in_use_outlives_a_rotation_whose_answer_was_lost(world: World) -> None:
    token_id, first = add(world)

    def rotate(hours: int = 24) -> str:
        world.clock.advance(timedelta(seconds=1))
        return str(world.staff.rotate(token_id, overlap=timedelta(hours=hours)).value.secret)

    def holding(*secrets: str) -> list[bool]:
        found = []
        for secret in secrets:
            try:
                found.append(world.staff.check(secret).token_id == token_id)
            except StaffTokenInvalid:
                found.append(False)
        return found

    lost = rotate(hours=3)
    second = rotate(hours=6)
    assert holding(first, lost, second) == [True, False, True]
    # To its own end, as it was told first.
    world.clock.advance(timedelta(hours=3) - timedelta(seconds=1, microseconds=1))
    assert holding(first, second) == [True, True]
    world.clock.advance(timedelta(microseconds=1))
    assert holding(first, second) == [False, True]
    third = rotate(hours=6)
    fourth = rotate(hours=1)
    world.clock.advance(timedelta(hours=1))
    assert holding(second, third, fourth) == [False, False, True]
    fifth, sixth = rotate(), rotate(hours=0)
    assert holding(fourth, fifth, sixth) == [False, False, True]


def test_revoked_token_ends_at_once_and_revoking_twice_changes_nothing(world: World) -> None:
    token_id, secret = add(world)
    first = world.staff.revoke(token_id).value.revoked_at
    with pytest.raises(StaffTokenInvalid):
        world.staff.check(secret)
    world.clock.advance(timedelta(hours=1))
    assert world.staff.revoke(token_id).value.revoked_at == first
    with pytest.raises(StaffTokenNotFound):
        world.staff.revoke("stk_0")


@pytest.mark.parametrize(
    "secret", ["", "wops_staff_", "Bearer x", "wops_client_abc", "wops_staff_" + "x" * 300, "ü"]
)
def test_text_that_is_no_token_is_refused(world: World, secret: str) -> None:
    add(world)
    with pytest.raises(StaffTokenInvalid):
        world.staff.check(secret)


def test_repeated_command_shows_no_secret(world: World) -> None:
    expires = world.clock.now() + timedelta(days=1)
    command = Command(op_id="key-1")
    done = [
        world.staff.add_token("n", "admin", person="mona", expires_at=expires, command=command)
        for _ in range(2)
    ]
    assert done[0].value.token == done[1].value.token
    assert (done[0].value.secret is None, done[1].value.secret) == (False, None)
    assert len(world.staff.list_tokens()) == 1


def test_token_that_cannot_be_had_is_refused(world: World) -> None:
    now = world.clock.now()
    with pytest.raises(RoleUnknown):
        world.staff.add_token("n", "root", person="mona", expires_at=now + timedelta(days=1))
    for expires in (now, now - timedelta(days=1), now + timedelta(days=367)):
        with pytest.raises(ExpiryUnfit):
            world.staff.add_token("n", "admin", person="mona", expires_at=expires)
    for name in ("", "x" * 121, "mo\nna"):
        with pytest.raises(InputInvalid):
            world.staff.add_token(name, "admin", person="mona", expires_at=now + timedelta(days=1))
    assert (world.staff.list_tokens(), people(world).list_people()) == ([], [])


def test_customers_are_added_once_and_listed_in_pages(world: World) -> None:
    names = [f"vendor-{n}" for n in range(5)]
    for name in names:
        world.customers.add_customer(name)
    with pytest.raises(NameTaken):
        world.customers.add_customer("vendor-0")
    with pytest.raises(NameUnfit):
        world.customers.add_customer("admin")
    with pytest.raises(InputInvalid):
        world.customers.add_customer("vendor-9", display_name="x" * 121)
    page = world.customers.list_customers(limit=3)
    rest = world.customers.list_customers(after=page[-1].customer_id, limit=3)
    assert [each.name for each in page + rest] == names
    for limit in (0, 102):
        with pytest.raises(LimitUnfit):
            world.customers.list_customers(limit=limit)
    with pytest.raises(CustomerNotFound):
        world.customers.get_customer(CustomerId("cus_0"))
