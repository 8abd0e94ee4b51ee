from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import InstanceId
from editions import quota_state
from tenancy import ContractCreate, Instance
from tenancy.errors import (
    ContractConflict,
    ContractUnfit,
    EditionUnknown,
    InstanceNotFound,
    LinesTooFew,
    LinesTooMany,
)
from tests.integration.tenancy.world import World

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
    monkeypatch.setattr("tenancy.contract._MOST_PUSHED", 1)
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
