from __future__ import annotations

from datetime import timedelta

import pytest

from app.core.chain import GENESIS, link_hash
from app.core.command import Command
from app.core.db import Database
from app.core.errors import InputInvalid
from app.core.outbox_chain import entry_of
from tenancy.errors import StaffTokenInvalid, StaffTokenNotFound
from tenancy.staff import tables
from tenancy.staff.errors import OverlapUnfit, PersonErased, PersonLocal, PersonNotFound, StaffTokenEnded
from tenancy.staff.person import ERASED_NAME, check_erasable
from tests.fake.clock import FakeClock
from tests.integration.tenancy.staff_material import Office, as_staff
from tests.service.crowd import at_once


@pytest.fixture
def office(platform_db: Database) -> Office:
    return Office(platform_db)


def dump(db: Database) -> str:
    """Everything in the tables of staff and the outbox, as text."""
    names = ("person", "subject_key", "staff_token", "op", "outbox_event")
    with db.engine.connect() as connection:
        return "\n".join(
            str(row) for name in names for row in connection.exec_driver_sql(f"SELECT * FROM {name}")
        )


def check_chain(db: Database) -> int:
    """The chain's length, when every hash is right."""
    with db.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM outbox_event ORDER BY sequence").all()
    previous = GENESIS
    for row in rows:
        previous = link_hash(previous, entry_of(row))
        assert row.hash == previous
    return len(rows)


def test_one_person_has_many_tokens_however_he_is_written(office: Office) -> None:
    found = {
        office.hire(name).person_id
        for name in ("Mona@wops.example", " mona@wops.example ", "MONA@WOPS.EXAMPLE")
    }
    assert len(found) == 1
    (person,) = office.people.list_people()
    assert (person.name, {person.person_id}) == ("mona@wops.example", found)


@pytest.mark.parametrize(
    "name", ["", "x", "mo na", "mönä", "\u0430" * 5, "x" * 121, "a\nb", "@mona", "\x00ab"]
)
def test_what_is_no_name_of_a_person_is_refused(office: Office, name: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        office.hire(name)
    assert refused.value.detail == {"field": "person"}
    assert office.people.list_people() == []


@pytest.mark.parametrize("name", ["local", " LOCAL "])
def test_nobody_gets_a_token_as_the_local_operator(office: Office, name: str) -> None:
    with pytest.raises(PersonLocal):
        office.hire(name)


def test_many_tokens_for_a_new_person_at_once_make_one_person(office: Office) -> None:
    found = at_once(8, lambda _: office.hire("mona").person_id)
    assert [set(found)] == [{person.person_id} for person in office.people.list_people()]


def test_audit_chain_has_the_name_sealed_and_staff_can_read_it(office: Office) -> None:
    mona = office.hire("mona@wops.example")
    assert mona.person_id is not None
    assert mona.sealed_name is not None
    assert office.people.read_name(mona.person_id, mona.sealed_name) == "mona@wops.example"
    assert office.people.read_name("local", "") == "local"
    assert office.people.read_name("per_0", mona.sealed_name) == ERASED_NAME
    other = office.hire("hugo")
    assert other.person_id is not None
    assert office.people.read_name(other.person_id, mona.sealed_name) == ERASED_NAME


def test_no_name_stands_anywhere_but_in_the_list_of_people(office: Office) -> None:
    mona = office.hire("mona@wops.example")
    office.tokens.rotate(mona.token_id, command=as_staff(mona))
    with office.db.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE person SET name = NULL")
    assert "mona" not in dump(office.db)


def test_old_secret_holds_until_its_time_is_over(office: Office, clock: FakeClock) -> None:
    first = office.secret("mona")
    token_id = office.tokens.check(first).token_id
    second = office.tokens.rotate(token_id).value.secret
    assert second is not None
    clock.advance(timedelta(hours=24) - timedelta(microseconds=1))
    assert [office.tokens.check(each).token_id for each in (first, second)] == [token_id] * 2
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(StaffTokenInvalid):
        office.tokens.check(first)
    assert office.tokens.check(second).token_id == token_id


def test_only_the_last_secret_overlaps_and_none_if_so_asked(office: Office) -> None:
    first = office.secret("mona")
    token_id = office.tokens.check(first).token_id
    second = office.tokens.rotate(token_id).value.secret
    third = office.tokens.rotate(token_id, overlap=timedelta(0)).value.secret
    assert second is not None
    assert third is not None
    for ended in (first, second):
        with pytest.raises(StaffTokenInvalid):
            office.tokens.check(ended)
    assert office.tokens.check(third).token_id == token_id


def test_overlap_ends_with_the_token_and_with_its_revocation(office: Office, clock: FakeClock) -> None:
    secrets = [office.secret("mona"), office.secret("hugo")]
    ids = [office.tokens.check(each).token_id for each in secrets]
    clock.advance(timedelta(days=300) - timedelta(hours=1))
    secrets += [str(office.tokens.rotate(each).value.secret) for each in ids]
    office.tokens.revoke(ids[0])
    for secret in (secrets[0], secrets[2]):
        with pytest.raises(StaffTokenInvalid):
            office.tokens.check(secret)
    clock.advance(timedelta(hours=1))
    for secret in (secrets[1], secrets[3]):
        with pytest.raises(StaffTokenInvalid):
            office.tokens.check(secret)
    for token_id in ids:
        with pytest.raises(StaffTokenEnded):
            office.tokens.rotate(token_id)


def test_rotation_that_cannot_be_is_refused(office: Office) -> None:
    mona = office.hire("mona")
    for hours in (-1, 169):
        with pytest.raises(OverlapUnfit):
            office.tokens.rotate(mona.token_id, overlap=timedelta(hours=hours))
    with pytest.raises(StaffTokenNotFound):
        office.tokens.rotate("stk_0")
    assert office.events("staff_token.rotated") == []


def test_repeated_rotation_shows_no_secret_and_keeps_the_first_new_one(office: Office) -> None:
    token_id = office.hire("mona").token_id
    first, second = (
        office.tokens.rotate(token_id, overlap=timedelta(0), command=Command(op_id="turn")).value.secret
        for _ in range(2)
    )
    assert second is None
    assert office.tokens.check(str(first)).token_id == token_id


def test_who_cannot_be_erased(office: Office) -> None:
    mona = office.hire("mona")
    assert mona.person_id is not None

    def check(person_id: str) -> None:
        office.db.read(lambda reader: check_erasable(reader, person_id, {}))

    check(mona.person_id)
    with pytest.raises(PersonLocal):
        check("local")
    with pytest.raises(PersonNotFound):
        check("per_0")
    with office.db.engine.begin() as connection:
        connection.execute(tables.person.update().values(erased_at_us=1, name=None))
    with pytest.raises(PersonErased):
        check(mona.person_id)


def test_chain_still_verifies_when_the_key_of_a_person_is_gone(office: Office) -> None:
    mona = office.hire("mona@wops.example")
    office.tokens.rotate(mona.token_id, command=as_staff(mona))
    assert check_chain(office.db) == 3
    with office.db.engine.begin() as connection:
        connection.execute(tables.subject_key.delete())
    assert mona.person_id is not None
    assert office.people.read_name(mona.person_id, str(mona.sealed_name)) == ERASED_NAME
    assert check_chain(office.db) == 3
