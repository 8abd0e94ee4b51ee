from __future__ import annotations

import anyio
import pytest

from app.core.command import Command
from app.core.errors import DatabaseUnavailable, DomainError, InputInvalid
from app.core.ids import CustomerId, InstanceId
from tenancy import Instance, check_scopes
from tenancy.errors import CustomerNotFound, InstanceNotFound, NameTaken, NameUnfit, OperationRunning
from tenancy.lifecycle.errors import (
    CustomerVersionConflict,
    FirmKeyRetired,
    InstanceStateUnfit,
    InstanceVersionConflict,
)
from tenancy.lifecycle.service import start_end
from tests.integration.tenancy.box.rack import Rack
from tests.integration.tenancy.lifecycle.life import Life
from tests.integration.tenancy.staff_material import as_staff
from tests.service.crowd import at_once


def test_renamed_instance_has_its_new_name_everywhere_and_keeps_lines_boxes_and_user_names(
    life: Life,
) -> None:
    world = life.world
    acme = world.ready_instance("acme", "high_performance")
    made = world.clients.add_client(acme.instance_id, name="erp", scopes=check_scopes(["read"])).value
    renamed = life.service.rename_instance(acme.instance_id, "beta", expected_version=acme.version).value
    assert (renamed.name, renamed.version, renamed.placement_name) == ("beta", acme.version + 1, "acme")
    assert renamed.applied_version == renamed.config_version
    profile = world.cache(acme.instance_id).profile()
    assert (profile.name, profile.lines, profile.pool) == ("beta", ("acme-1",), "acme")
    assert world.instances.get_instance_by_name("beta").instance_id == acme.instance_id
    with pytest.raises(InstanceNotFound):
        world.instances.get_instance_by_name("acme")
    assert world.clients.list_clients(acme.instance_id)[0].username == made.client.username == "acme.erp"
    assert world.events("instance.renamed") == [acme.instance_id]


def test_old_name_goes_to_nobody_else_and_back_to_its_owner(life: Life) -> None:
    world = life.world
    acme, other = world.ready_instance("acme"), world.ready_instance("other")
    renamed = life.service.rename_instance(acme.instance_id, "beta", expected_version=acme.version).value
    with pytest.raises(NameTaken):
        world.order("acme")
    with pytest.raises(NameTaken):
        life.service.rename_instance(other.instance_id, "acme", expected_version=other.version)
    with pytest.raises(NameTaken):
        life.service.rename_instance(other.instance_id, "beta", expected_version=other.version)
    back = life.service.rename_instance(acme.instance_id, "acme", expected_version=renamed.version).value
    assert (back.name, back.placement_name) == ("acme", "acme")
    assert life.get(other).version == other.version


def test_renaming_to_the_own_name_changes_nothing(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    same = life.service.rename_instance(acme.instance_id, "acme", expected_version=acme.version).value
    assert same == acme
    assert life.world.events("instance.renamed") == []


@pytest.mark.parametrize("name", ["ac", "Acme", "admin", "acme-", "a" * 41, "a/b"])
def test_unfit_name_is_refused(life: Life, name: str) -> None:
    acme = life.world.ready_instance("acme")
    with pytest.raises(NameUnfit):
        life.service.rename_instance(acme.instance_id, name, expected_version=acme.version)
    assert life.get(acme) == acme


def test_repeated_command_changes_once(life: Life) -> None:
    acme, command = life.world.ready_instance("acme"), Command(op_id="idem:1")
    first = life.service.rename_instance(
        acme.instance_id, "beta", expected_version=acme.version, command=command
    )
    again = life.service.rename_instance(
        acme.instance_id, "beta", expected_version=acme.version, command=command
    )
    assert (first.replayed, again.replayed) == (False, True)
    assert again.value == first.value


def test_of_two_renames_at_once_one_is_told_that_it_came_late(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    names = ("beta", "gamma")

    def rename(place: int) -> Instance:
        return life.service.rename_instance(
            acme.instance_id, names[place], expected_version=acme.version
        ).value

    outcomes = at_once(2, rename)
    lost = [each for each in outcomes if isinstance(each, DomainError)]
    assert [type(each) for each in lost] == [InstanceVersionConflict]
    assert life.get(acme).name in ("beta", "gamma")
    assert life.get(acme).version == acme.version + 1


def test_of_two_instances_that_want_one_name_one_gets_it(life: Life) -> None:
    world = life.world
    pair = [world.ready_instance(name) for name in ("acme", "other")]

    def rename(place: int) -> Instance:
        mine = pair[place]
        return life.service.rename_instance(mine.instance_id, "wanted", expected_version=mine.version).value

    lost = [each for each in at_once(2, rename) if isinstance(each, DomainError)]
    assert [type(each) for each in lost] == [NameTaken]
    assert sorted(life.get(each).name for each in pair) in (["acme", "wanted"], ["other", "wanted"])


def test_frozen_instance_is_told_to_its_database_and_back(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    frozen = life.service.freeze_instance(acme.instance_id, expected_version=acme.version).value
    assert (frozen.state, frozen.applied_version) == ("frozen", frozen.config_version)
    assert life.world.cache(acme.instance_id).profile().frozen
    back = life.service.unfreeze_instance(acme.instance_id, expected_version=frozen.version).value
    assert back.state == "ready"
    assert not life.world.cache(acme.instance_id).profile().frozen
    with pytest.raises(InstanceStateUnfit):
        life.service.unfreeze_instance(acme.instance_id, expected_version=back.version)


def test_freezing_that_cannot_be_pushed_is_pushed_later(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    world = life.world
    acme = world.ready_instance("acme")

    def away(_instance_id: InstanceId) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.databases, "open", away)
        frozen = life.service.freeze_instance(acme.instance_id, expected_version=acme.version).value
        assert frozen.applied_version < frozen.config_version
    assert not world.cache(acme.instance_id).profile().frozen
    assert world.contracts.push_due() == 1
    assert world.cache(acme.instance_id).profile().frozen
    assert world.contracts.push_due() == 0


def test_stale_version_is_refused_and_changes_nothing(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    frozen = life.service.freeze_instance(acme.instance_id, expected_version=acme.version).value
    for change in (life.service.unfreeze_instance, life.service.freeze_instance):
        with pytest.raises(InstanceVersionConflict) as refused:
            change(acme.instance_id, expected_version=acme.version)
        assert refused.value.detail["current"] == frozen.version
    assert life.get(acme) == frozen


def test_change_during_an_operation_is_refused_naming_it(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    operation = life.service.request_export(acme.instance_id).value
    with pytest.raises(OperationRunning) as refused:
        life.service.freeze_instance(acme.instance_id, expected_version=acme.version)
    assert refused.value.detail["operation_id"] == operation.operation_id
    with pytest.raises(OperationRunning):
        life.service.request_export(acme.instance_id)
    assert life.get(acme) == acme


def test_change_that_was_read_before_an_end_was_started_is_refused(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    life.start(start_end, acme)
    with pytest.raises(InstanceVersionConflict):
        life.service.freeze_instance(acme.instance_id, expected_version=acme.version)
    with pytest.raises(OperationRunning):
        life.service.freeze_instance(acme.instance_id, expected_version=life.get(acme).version)


def test_instance_that_is_not_there_cannot_be_changed(life: Life) -> None:
    for change in (life.service.freeze_instance, life.service.unfreeze_instance):
        with pytest.raises(InstanceNotFound):
            change(InstanceId("ins_0"), expected_version=1)


def test_customer_is_changed_by_whoever_has_read_him_last(life: Life) -> None:
    customers = life.world.customers
    customer = customers.add_customer("wibu", display_name="Wibu").value
    changed = customers.change_customer(
        customer.customer_id, display_name=" Wibu SE ", expected_version=1
    ).value
    assert (changed.name, changed.display_name, changed.version) == ("wibu", "Wibu SE", 2)
    with pytest.raises(CustomerVersionConflict):
        customers.change_customer(customer.customer_id, display_name="late", expected_version=1)
    with pytest.raises(InputInvalid):
        customers.change_customer(customer.customer_id, display_name="\x00", expected_version=2)
    with pytest.raises(CustomerNotFound):
        customers.change_customer(CustomerId("cus_0"), display_name="nobody", expected_version=1)
    assert customers.get_customer(customer.customer_id) == changed
    assert life.world.events("customer.changed") == [customer.customer_id]


def test_instance_whose_key_is_retired_is_never_reinstated(life: Life) -> None:
    rack = Rack(life.world)
    acme = life.end(life.world.ready_instance("acme", "high_performance"))
    asked = anyio.run(rack.care.control.plan_key, acme.firm_code)
    read_before = acme.version
    first = rack.start("retireFirmKey", acme.instance_id, asked)
    with pytest.raises(InstanceVersionConflict):
        life.service.reinstate_instance(acme.instance_id, expected_version=read_before)
    rack.operations.cancel(first, reason="too early")
    assert rack.end(first).state == "recovered"
    back = life.service.reinstate_instance(acme.instance_id, expected_version=life.get(acme).version).value
    assert back.state == "ready"
    acme = life.end(back)
    assert rack.do("retireFirmKey", acme.instance_id, asked).state == "succeeded"
    with pytest.raises(FirmKeyRetired):
        life.service.reinstate_instance(acme.instance_id, expected_version=life.get(acme).version)
    assert life.get(acme).state == "ended"


def test_reinstatement_and_retirement_at_the_same_moment_are_not_both_done(life: Life) -> None:
    rack = Rack(life.world)
    acme = life.end(life.world.ready_instance("acme", "high_performance"))
    approval_id = rack.ask("retireFirmKey", acme.instance_id, {"firm_code": acme.firm_code})

    def decide(place: int) -> object:
        if place:
            return life.service.reinstate_instance(acme.instance_id, expected_version=acme.version)
        return rack.approvals.approve(
            approval_id, expected_version=1, by=rack.hugo, command=as_staff(rack.hugo)
        )

    refused = [each for each in at_once(2, decide) if isinstance(each, DomainError)]
    assert len(refused) == 1
    assert life.get(acme).version == acme.version + 1, "each of them changes the row that the other has read"
