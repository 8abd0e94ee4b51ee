from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.core.command import Command
from app.core.db import Database
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import ContractId, InstanceId
from app.core.json import load_object
from app.core.origin import system_origin
from app.core.outbox import list_events
from app.core.schema import instance_metadata
from editions import list_contracts, quota_state
from tenancy import ContractCreate, Instance
from tenancy.access.repository import find_profile
from tenancy.errors import (
    ContractBegun,
    ContractConflict,
    ContractNotFound,
    ContractUnfit,
    CountryRepeated,
    CountryUnknown,
    EditionUnknown,
    InstanceNotFound,
    LinesTooFew,
    LinesTooMany,
)
from tenancy.server.errors import CountryForbidden
from tests.integration.tenancy.world import World

_event = instance_metadata.tables["outbox_event"]
_ENTRIES = select(_event).order_by(_event.c.sequence)
TWO_LINES = ContractCreate(edition="high_availability", lines=2, overage="block")


def limit(world: World, instance: Instance) -> int:
    """The activations contracted, as the instance's own database knows them."""
    db = world.databases.open(instance.instance_id)
    return db.read(lambda reader: quota_state(reader, "activations", world.clock.now())).contractual


def test_new_contract_changes_the_limit_in_the_instance_database_at_once(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    assert limit(world, instance) == 1_500
    assert not world.cache(instance.instance_id).profile().web_services
    world.clock.advance(timedelta(days=1))
    added = world.contracts.add_contract(instance.instance_id, TWO_LINES)
    assert added.created
    assert limit(world, instance) == 50_000
    profile = world.cache(instance.instance_id).profile()
    assert (profile.web_services, profile.edition, profile.lines) == (
        True,
        "high_availability",
        ("shared-1",),
    )
    stored = world.instances.get_instance(instance.instance_id)
    assert stored.applied_version == stored.config_version == 2


def test_instance_chain_says_what_was_configured_and_what_before(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    world.clock.advance(timedelta(days=1))
    world.contracts.add_contract(instance.instance_id, TWO_LINES)
    world.contracts.push_config(instance.instance_id)
    db = world.databases.open(instance.instance_id)
    entries = db.read(lambda reader: reader.all(_ENTRIES))
    told = [each for each in entries if each.type == "instance.configured"]
    assert [each.action for each in told] == ["pushConfig"] * 2
    assert "housekeeping" not in {each.action for each in entries}
    first, second = (load_object(each.data) for each in told)
    assert (first["edition"], first["config_version"]) == ("datacenter", 1)
    assert (second["edition"], second["config_version"]) == ("high_availability", 2)
    assert told[0].before_change is None
    assert load_object(str(told[1].before_change)) == first


def test_boundary_that_passes_before_the_platform_has_noted_a_push_is_pushed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = world.ready_instance("acme", "datacenter")
    world.clock.advance(timedelta(days=1))

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr("tenancy.repository.set_applied", away)
        begins = world.clock.now() + timedelta(days=1)
        world.contracts.add_contract(instance.instance_id, replace(TWO_LINES, effective_from=begins))
    world.clock.advance(timedelta(days=5))
    while world.contracts.push_due():
        pass
    assert world.cache(instance.instance_id).profile().edition == "high_availability"
    stored = world.instances.get_instance(instance.instance_id)
    assert stored.applied_version == stored.config_version


def test_contract_that_cannot_be_pushed_is_pushed_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = world.ready_instance("acme", "datacenter")
    world.clock.advance(timedelta(days=1))

    def away(_instance_id: InstanceId) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.databases, "open", away)
        world.contracts.add_contract(instance.instance_id, TWO_LINES)
        assert world.contracts.push_due() == 0
    assert limit(world, instance) == 1_500
    assert world.contracts.push_due() == 1
    assert limit(world, instance) == 50_000
    assert world.contracts.push_due() == 0


def test_instances_that_always_fail_do_not_keep_others_from_being_pushed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, sound = (world.ready_instance(name, "datacenter") for name in ("first", "second"))
    world.clock.advance(timedelta(days=1))
    original = world.databases.open

    def spoilt(instance_id: InstanceId) -> Database:
        if instance_id == damaged.instance_id:
            raise sqlite3.DatabaseError("file is not a database")
        return original(instance_id)

    monkeypatch.setattr(world.databases, "open", spoilt)
    monkeypatch.setattr("tenancy.contract.service._MOST_PUSHED", 1)
    world.contracts.add_contract(damaged.instance_id, TWO_LINES)
    assert world.contracts.push_due() == 0
    with monkeypatch.context() as patched:
        patched.setattr(world.contracts, "_push_or_leave", lambda _instance_id: False)
        world.contracts.add_contract(sound.instance_id, TWO_LINES)
    assert world.contracts.push_due() == 1
    assert limit(world, sound) == 50_000


def test_future_contract_is_known_at_once_and_described_when_it_begins(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    begins = world.clock.now() + timedelta(days=3)
    world.contracts.add_contract(instance.instance_id, replace(TWO_LINES, effective_from=begins))
    assert limit(world, instance) == 1_500
    assert world.contracts.push_due() == 0
    assert not world.cache(instance.instance_id).profile().web_services
    world.clock.set(begins)
    assert limit(world, instance) == 50_000
    assert world.contracts.push_due() == 1
    assert world.cache(instance.instance_id).profile().web_services
    assert world.contracts.push_due() == 0


def test_contract_that_has_not_begun_is_withdrawn_and_no_other(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    first = world.contracts.list_contracts(instance.instance_id)[0]
    begins = world.clock.now() + timedelta(days=3)
    asked = replace(TWO_LINES, effective_from=begins)
    added = world.contracts.add_contract(instance.instance_id, asked).value
    again = Command(op_id="withdraw", origin=system_origin("test"))
    for replayed in (False, True):
        done = world.contracts.withdraw_contract(
            instance.instance_id, ContractId(added.contract.contract_id), command=again
        )
        assert done.replayed is replayed
    assert world.contracts.list_contracts(instance.instance_id) == [first]
    db = world.databases.open(instance.instance_id)
    assert [row.contract_id for row in db.read(list_contracts)] == [first.contract.contract_id]
    events = world.platform.read(lambda reader: list_events(reader, after=0, limit=1000))
    (withdrawn,) = [each for each in events if each.type == "contract.withdrawn"]
    assert withdrawn.data == {"contract_id": added.contract.contract_id}
    world.clock.set(begins)
    assert limit(world, instance) == 1_500
    for contract_id, error in (
        (first.contract.contract_id, ContractBegun),
        (added.contract.contract_id, ContractNotFound),
    ):
        with pytest.raises(error):
            world.contracts.withdraw_contract(instance.instance_id, ContractId(contract_id))
    assert world.contracts.list_contracts(instance.instance_id) == [first]


def test_contract_begins_within_ten_years_and_has_the_editions_least_lines(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    now = world.clock.now()
    with pytest.raises(ContractUnfit) as refused:
        world.contracts.add_contract(
            instance.instance_id, replace(TWO_LINES, effective_from=now + timedelta(days=3654))
        )
    assert refused.value.detail["field"] == "effective_from"
    later = now + timedelta(days=3650)
    asked = ContractCreate(edition="high_availability", effective_from=later)
    assert world.contracts.add_contract(instance.instance_id, asked).value.contract.lines == 2


def test_old_push_that_comes_late_changes_nothing(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    world.clock.advance(timedelta(days=1))
    world.contracts.add_contract(instance.instance_id, TWO_LINES)
    for _ in range(3):
        world.contracts.push_config(instance.instance_id)
    assert world.cache(instance.instance_id).profile().config_version == 2
    assert limit(world, instance) == 50_000


def test_contract_that_makes_no_sense_is_refused_and_changes_nothing(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    now = world.clock.now()
    refusals: list[tuple[ContractCreate, type[DomainError] | str]] = [
        (ContractCreate(edition="platinum", lines=1), EditionUnknown),
        (ContractCreate(edition="high_availability", lines=1), LinesTooFew),
        (ContractCreate(edition="dedicated", lines=2), LinesTooMany),
        (replace(TWO_LINES, effective_from=now - timedelta(days=1)), ContractUnfit),
        (replace(TWO_LINES, effective_from=now), ContractConflict),
        (replace(TWO_LINES, effective_until=now - timedelta(days=1)), "contract_invalid"),
        (replace(TWO_LINES, limits={"activations": -1}), "contract_invalid"),
    ]
    for asked, refusal in refusals:
        with pytest.raises(DomainError) as refused:
            world.contracts.add_contract(instance.instance_id, asked)
        assert refused.value.code == (refusal if isinstance(refusal, str) else refusal.code)
    with pytest.raises(InstanceNotFound):
        world.contracts.add_contract(InstanceId("ins_0"), TWO_LINES)
    assert len(world.contracts.list_contracts(instance.instance_id)) == 1
    assert world.instances.get_instance(instance.instance_id).config_version == 1


def test_same_command_again_adds_no_second_contract(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    world.clock.advance(timedelta(days=1))
    command = Command(op_id="key-1")
    done = [world.contracts.add_contract(instance.instance_id, TWO_LINES, command=command) for _ in range(2)]
    assert [each.replayed for each in done] == [False, True]
    assert done[0].value == done[1].value
    assert len(world.contracts.list_contracts(instance.instance_id)) == 2


def test_temporary_lines_raise_the_limit_of_their_month(world: World) -> None:
    instance = world.ready_instance("acme", "high_availability")
    world.clock.advance(timedelta(days=1))
    now = world.clock.now()
    extra = ContractCreate(
        edition="high_availability",
        lines=1,
        kind="temporary_lines",
        effective_from=now,
        effective_until=now + timedelta(days=2),
    )
    world.contracts.add_contract(instance.instance_id, extra)
    assert limit(world, instance) == 75_000


def test_contract_that_forbids_the_country_in_which_the_instance_lies_is_refused(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    world.clock.advance(timedelta(days=1))
    for countries in (("AT",), ("AT", "CH")):
        with pytest.raises(CountryForbidden) as refused:
            world.contracts.add_contract(instance.instance_id, replace(TWO_LINES, countries=countries))
        assert refused.value.detail == {"country": "DE", "countries": sorted(countries)}
    for wrong in (("de",), ("DEU",), ("D1", "DE"), ("DE", "XX"), ("ZZ", "DE"), ("DE", "EU")):
        with pytest.raises(CountryUnknown) as unknown:
            world.contracts.add_contract(instance.instance_id, replace(TWO_LINES, countries=wrong))
        assert (unknown.value.code, unknown.value.detail["field"]) == ("country_unknown", "countries")
    with pytest.raises(CountryRepeated):
        world.contracts.add_contract(instance.instance_id, replace(TWO_LINES, countries=("DE", "AT", "DE")))
    assert [each.countries for each in world.contracts.list_contracts(instance.instance_id)] == [("DE",)]


def test_countries_go_on_holding_until_a_contract_names_others(world: World) -> None:
    instance = world.ready_instance("acme", "datacenter")
    for asked in (replace(TWO_LINES, countries=("DE", "AT")), TWO_LINES):
        world.clock.advance(timedelta(days=1))
        added = world.contracts.add_contract(instance.instance_id, asked).value
        assert added.countries == ("AT", "DE")
    temporary = replace(
        TWO_LINES, kind="temporary_lines", lines=1, effective_until=world.clock.now() + timedelta(days=9)
    )
    with pytest.raises(ContractUnfit):
        world.contracts.add_contract(instance.instance_id, replace(temporary, countries=("DE",)))
    assert world.contracts.add_contract(instance.instance_id, temporary).value.countries == ("AT", "DE")


def test_temporary_lines_raise_the_limit_of_their_months_only(world: World) -> None:
    instance = world.ready_instance("acme", "high_availability")
    assert limit(world, instance) == 50_000
    begins = world.clock.now() + timedelta(days=40)
    world.contracts.add_contract(
        instance.instance_id,
        ContractCreate(
            edition="high_availability",
            lines=1,
            kind="temporary_lines",
            effective_from=begins,
            effective_until=begins + timedelta(days=2),
        ),
    )
    assert limit(world, instance) == 50_000
    world.clock.set(begins)
    assert limit(world, instance) == 75_000
    world.clock.advance(timedelta(days=31))
    assert limit(world, instance) == 50_000


def test_negotiated_limits_and_policy_are_in_the_instance_database(world: World) -> None:
    instance = world.ready_instance("acme", "dedicated")
    world.clock.advance(timedelta(days=1))
    asked = ContractCreate(edition="dedicated", lines=1, overage="block", limits={"activations": 11})
    world.contracts.add_contract(instance.instance_id, asked)
    db = world.databases.open(instance.instance_id)
    state = db.read(lambda reader: quota_state(reader, "activations", world.clock.now()))
    assert (state.contractual, state.refusal) == (11, 11)
    world.clock.advance(timedelta(days=1))
    world.contracts.add_contract(instance.instance_id, replace(asked, overage="grace"))
    state = db.read(lambda reader: quota_state(reader, "activations", world.clock.now()))
    assert state.contractual == 11
    assert state.refusal > 11


def test_new_limits_come_into_an_instance_database_in_one_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = world.ready_instance("acme", "datacenter")
    world.clock.advance(timedelta(days=1))
    db = world.databases.open(instance.instance_id)
    before = world.cache(instance.instance_id).profile()

    def dies(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr("tenancy.contract.service.put_contracts", dies)
        world.contracts.add_contract(instance.instance_id, TWO_LINES)
    assert world.cache(instance.instance_id).profile() == before
    assert limit(world, instance) == 1_500
    assert world.contracts.push_due() == 1
    assert limit(world, instance) == 50_000
    assert db.read(find_profile) != before
