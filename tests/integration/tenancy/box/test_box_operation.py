"""Boxes that join, leave and are lent: with their keys, killed half-way, and back."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from fsb_gateway.box_driver import BoxSpec, TokenSpec
from fsb_gateway.error import (
    BoxLast,
    BoxSpecInvalid,
    BoxUnknown,
    FsbUnavailable,
    PoolUnknown,
    TokenTaken,
)
from fsb_gateway.report import BoxCondition
from tenancy.box import plan, repository
from tenancy.box.errors import BoxNameReserved, BoxNameTaken
from tenancy.box.spec_json import describe_spec
from tests.integration.tenancy.box.rack import Rack, failing, killed_after


def test_box_that_joins_has_all_keys_of_its_pool_before_it_takes_work(rack: Rack) -> None:
    acme, beta = rack.world.ready_instance("acme"), rack.world.ready_instance("beta")
    other = rack.world.ready_instance("gamma", "high_performance")
    asked = rack.start(
        "addBox", "shared-box-2", {"box": describe_spec(BoxSpec(name="shared-box-2", pool="shared"))}
    )
    rack.run(failing("open", FsbUnavailable("away")))
    assert rack.holders(acme) == rack.holders(beta) == {"shared-box-1", "shared-box-2"}
    assert "shared-box-2" not in rack.holders(other)
    assert rack.is_drained("shared-box-2")
    assert rack.end(asked).state == "succeeded"
    assert not rack.is_drained("shared-box-2")
    assert rack.service.get_box("shared-box-2").state == "active"
    log = [line.message for line in rack.operations.list_log(asked)]
    assert f"Key of firm code {acme.firm_code} copied, 1 of 2." in log
    for instance in (acme, beta):
        (event,) = rack.told("firm_key.copied", instance)
        assert event.subject == str(instance.firm_code)
        assert not {"boxes", "to", "from"} & set(event.data), "a box may bear another customer's name"
    copied = rack.told("firm_key.copied")
    assert [event.data["to"] for event in copied] == ["shared-box-2"] * 2
    assert {event.data["operation_id"] for event in copied} == {asked}


@pytest.mark.parametrize("step", plan.ADD_BOX.names)
def test_joining_killed_in_any_step_is_carried_to_its_end_once(rack: Rack, step: str) -> None:
    acme = rack.world.ready_instance("acme")
    spec = BoxSpec(name="shared-box-2", pool="shared")
    asked = rack.start("addBox", spec.name, {"box": describe_spec(spec)})
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after(step))
    assert rack.end(asked).state == "succeeded"
    assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}
    for kind in ("box.added", "box.opened", "firm_key.copied"):
        assert len(rack.told(kind)) == 1, kind
    assert len(rack.told("firm_key.copied", acme)) == 1


@pytest.mark.parametrize("killed", [None, "undo copy_keys", "undo set_up"])
def test_joining_that_fails_leaves_neither_box_nor_keys(rack: Rack, killed: str | None) -> None:
    acme = rack.world.ready_instance("acme")
    spec = BoxSpec(name="shared-box-2", pool="shared")
    asked = rack.start("addBox", spec.name, {"box": describe_spec(spec)})
    rack.run(failing("open", FsbUnavailable("away")))
    rack.operations.cancel(asked, reason="not this one")
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(asked).state == "recovered"
    assert rack.holders(acme) == {"shared-box-1"}
    assert set(rack.fsb.specs) == {"shared-box-1"}
    with pytest.raises(BoxUnknown):
        rack.service.get_box("shared-box-2")
    assert [len(rack.told(kind)) for kind in ("box.added", "box.removed")] == [1, 1]
    assert rack.add("shared-box-2").state == "succeeded"


def test_box_that_cannot_work_does_not_join_and_its_pin_is_not_tried_again(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    spec = BoxSpec(name="shared-box-2", pool="shared")
    asked = rack.start("addBox", spec.name, {"box": describe_spec(spec)})
    rack.fsb.condition_of_new = "token_pin_wrong"
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "box_state_unfit")
    failed = [line for line in rack.operations.list_log(asked) if line.event == "failed"]
    assert "token_pin_wrong" in failed[0].message
    assert rack.told("box.removed")
    assert "shared-box-2" not in rack.fsb.rack


def test_box_whose_token_refuses_the_pin_is_told_of_once(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    spec = BoxSpec(name="shared-box-2", pool="shared")
    asked = rack.start("addBox", spec.name, {"box": describe_spec(spec)})

    rack.fsb.condition_of_new = "token_pin_wrong"
    for _ in range(3):
        rack.run()
        rack.world.clock.advance(timedelta(seconds=5))
    assert rack.operations.get_operation(asked).state == "failed"
    assert rack.fsb.rack[spec.name].puts == 1


def test_what_cannot_join_is_refused_before_anybody_approves_it(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme", "high_performance")
    for spec, refusal in (
        (BoxSpec(name="acme-box-1", pool="acme", owner=acme.instance_id), BoxNameTaken),
        (BoxSpec(name="acme-box-2", pool="acme"), BoxSpecInvalid),
        (BoxSpec(name="acme-box-2", pool="acme", owner="ins_0"), BoxSpecInvalid),
        (BoxSpec(name="more", pool="nobodys"), PoolUnknown),
        (BoxSpec(name="acme-box-2", pool="shared"), BoxNameReserved),
        (BoxSpec(name="future-box-1", pool="shared"), BoxNameReserved),
    ):
        with pytest.raises(refusal):
            rack.ask("addBox", spec.name, {"box": describe_spec(spec)})
    assert rack.add("acme-box-2", "acme", acme.instance_id).state == "succeeded"
    assert rack.holders(acme) == {"acme-box-1", "acme-box-2"}


def test_joining_that_is_taken_back_leaves_alone_what_somebody_else_has_added(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme")
    spec = BoxSpec(name="shared-box-2", pool="shared")
    asked = rack.start("addBox", spec.name, {"box": describe_spec(spec)})
    rack.world.platform.run_tx("other", lambda tx: {"added": repository.add_box(tx, spec)})
    rack.look()
    rack.fsb.held[acme.firm_code][spec.name] = f"key_{acme.firm_code}"
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "box_name_taken")
    assert rack.service.get_box(spec.name).state == "active"
    assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}
    assert rack.told("box.removed") == []


@pytest.mark.parametrize("killed", [None, "undo open"])
def test_joining_that_is_taken_back_after_it_was_opened_waits_for_its_jobs(
    rack: Rack, killed: str | None
) -> None:
    acme = rack.world.ready_instance("acme")
    spec = BoxSpec(name="shared-box-2", pool="shared")
    asked = rack.start("addBox", spec.name, {"box": describe_spec(spec)})
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("open"))
    assert not rack.is_drained(spec.name)
    rack.fsb.rack[spec.name].running = 1
    rack.operations.cancel(asked, reason="not this one")
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    for _ in range(3):
        rack.run()
        rack.world.clock.advance(timedelta(seconds=2))
    assert rack.is_drained(spec.name)
    assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}, "a job still needs it"
    rack.fsb.rack[spec.name].running = 0
    assert rack.end(asked).state == "recovered"
    assert rack.holders(acme) == {"shared-box-1"}
    assert set(rack.fsb.specs) == {"shared-box-1"}


def test_box_that_nobody_ordered_is_neither_taken_over_nor_destroyed(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme")
    spec = BoxSpec(name="old-1", pool="shared")
    asked = rack.start("addBox", spec.name, {"box": describe_spec(spec)})
    anyio.run(rack.fsb.ensure_box, spec)
    rack.fsb.held[acme.firm_code][spec.name] = f"key_{acme.firm_code}"
    with pytest.raises(BoxNameTaken):
        anyio.run(rack.care.control.plan_addition, spec)
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "box_name_taken")
    assert rack.fsb.rack[spec.name].puts == 1
    assert rack.holders(acme) == {"shared-box-1", "old-1"}
    with pytest.raises(BoxUnknown):
        rack.service.get_box(spec.name)


@pytest.mark.parametrize("killed", [None, "remove"])
def test_keys_that_stay_in_a_dead_box_are_told_of(rack: Rack, killed: str | None) -> None:
    acme = rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    rack.fsb.away = {"shared-box-2"}
    asked = rack.start("removeBox", "shared-box-2", {"firm_codes": [acme.firm_code]})
    rack.until(asked, "failed")
    rack.operations.skip(asked, reason="burnt")
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(asked).state == "succeeded"
    (left,) = rack.told("firm_key.left")
    assert (left.data["from"], left.data["boxes"]) == ("shared-box-2", ["shared-box-1"])
    assert left.data["operation_id"] == asked
    (customer,) = rack.told("firm_key.left", acme)
    assert "from" not in customer.data
    assert rack.told("firm_key.dropped") == []
    assert f"Key of firm code {acme.firm_code} left in the box." in [
        line.message for line in rack.operations.list_log(asked)
    ]


def test_two_boxes_that_leave_at_once_do_not_leave_their_pool_without_one(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    names = ("shared-box-1", "shared-box-2")
    asked = [rack.start("removeBox", name, {"firm_codes": []}) for name in names]
    ended = [rack.end(each) for each in asked]
    assert sorted(each.state for each in ended) == ["recovered", "succeeded"]
    assert [each.error_code for each in ended if each.state == "recovered"] == ["box_last"]
    assert len(rack.holders(acme)) == 1


def test_key_that_no_other_box_has_any_more_stays_in_the_box_that_leaves(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme")
    rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    rack.lend("beta-box-1", "shared", force=True)
    asked = rack.start("removeBox", "shared-box-2", {"firm_codes": [acme.firm_code]})
    rack.fsb.rack["shared-box-2"].running = 1
    rack.run()
    rack.fsb.held[acme.firm_code].pop("shared-box-1")
    rack.fsb.rack["shared-box-2"].running = 0
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "box_last")
    assert "shared-box-2" in rack.holders(acme)


@pytest.mark.parametrize("killed", [None, *plan.REMOVE_BOX.names])
def test_box_that_leaves_finishes_its_work_and_takes_its_keys_with_it(rack: Rack, killed: str | None) -> None:
    acme = rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    rack.fsb.rack["shared-box-2"].running = 2
    asked = rack.start("removeBox", "shared-box-2", {"firm_codes": [acme.firm_code]})
    if killed not in (None, "leave", "wait_empty"):
        rack.fsb.rack["shared-box-2"].running = 0
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    else:
        rack.run()
    if killed in (None, "leave", "wait_empty"):
        assert rack.is_drained("shared-box-2")
        assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}, "jobs still need it"
        rack.fsb.rack["shared-box-2"].running = 0
    assert rack.end(asked).state == "succeeded"
    assert rack.holders(acme) == {"shared-box-1"}
    assert set(rack.fsb.specs) == {"shared-box-1"}
    with pytest.raises(BoxUnknown):
        rack.service.get_box("shared-box-2")
    for kind in ("box.leaving", "box.removed", "firm_key.dropped"):
        assert len(rack.told(kind)) == 1, kind


def test_leaving_that_has_begun_to_remove_the_box_is_not_taken_back(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    asked = rack.start("removeBox", "shared-box-2", {"firm_codes": [acme.firm_code]})
    rack.run(failing("remove", FsbUnavailable("away")))
    assert rack.holders(acme) == {"shared-box-1"}
    found = rack.operations.get_operation(asked)
    assert found.step.name == "remove"
    assert "cancel" not in rack.operations.decisions(found)
    assert rack.end(asked).state == "succeeded"


def test_leaving_that_is_cancelled_in_time_gives_the_box_its_keys_back(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    asked = rack.start("removeBox", "shared-box-2", {"firm_codes": [acme.firm_code]})
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("drop_keys"))
    assert rack.holders(acme) == {"shared-box-1"}
    rack.operations.cancel(asked, reason="needed after all")
    assert rack.end(asked).state == "recovered"
    assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}
    assert not rack.is_drained("shared-box-2")


TOKEN = TokenSpec(module="/usr/lib/hsm.so", label="firm", pin_file="/etc/wops/pin")


def test_token_of_another_box_is_refused_when_asked_for_and_again_when_it_is_set_up(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme")
    specs = {
        name: BoxSpec(name=name, pool="shared", driver="pkcs11", token=TOKEN) for name in ("hsm-a", "hsm-b")
    }
    asked = {name: rack.start("addBox", name, {"box": describe_spec(spec)}) for name, spec in specs.items()}
    # Both were asked for in time, and either may be set up first.
    ended = {name: rack.end(operation_id) for name, operation_id in asked.items()}
    (winner,) = [name for name, found in ended.items() if found.state == "succeeded"]
    (loser,) = set(specs) - {winner}
    assert (ended[loser].state, ended[loser].error_code) == ("recovered", "token_taken")
    assert winner in str(ended[loser].error_message)
    assert set(rack.fsb.specs) == {"shared-box-1", winner}
    assert rack.holders(acme) == {"shared-box-1", winner}
    with pytest.raises(TokenTaken) as refused:
        rack.ask("addBox", loser, {"box": describe_spec(specs[loser])})
    assert refused.value.detail["holder"] == winner
    rack.do("removeBox", winner, {"firm_codes": [acme.firm_code]})
    assert rack.do("addBox", loser, {"box": describe_spec(specs[loser])}).state == "succeeded"


@pytest.mark.parametrize("condition", ["out", "token_absent", "disconnected"])
def test_box_does_not_leave_its_key_to_one_that_cannot_sign(rack: Rack, condition: BoxCondition) -> None:
    acme = rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    rack.fsb.rack["shared-box-2"].condition = condition
    with pytest.raises(BoxLast):
        anyio.run(rack.care.control.plan_removal, "shared-box-1")
    found = rack.do("removeBox", "shared-box-1", {"firm_codes": [acme.firm_code]})
    assert (found.state, found.error_code) == ("recovered", "box_last")
    assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}
    rack.fsb.rack["shared-box-2"].condition = "ready"
    assert rack.do("removeBox", "shared-box-1", {"firm_codes": [acme.firm_code]}).state == "succeeded"


def test_last_box_of_a_pool_does_not_leave(rack: Rack) -> None:
    acme = rack.world.ready_instance("acme", "high_performance")
    with pytest.raises(BoxLast):
        rack.ask("removeBox", "acme-box-1", {})
    with pytest.raises(BoxLast):
        anyio.run(rack.care.control.plan_removal, "acme-box-1")
    rack.add("acme-box-2", "acme", acme.instance_id)
    rack.fsb.held[acme.firm_code].pop("acme-box-2")
    with pytest.raises(BoxLast):
        anyio.run(rack.care.control.plan_removal, "acme-box-1")
    found = rack.do("removeBox", "acme-box-1", {})
    assert (found.state, found.error_code) == ("recovered", "box_last")
    assert rack.holders(acme) == {"acme-box-1"}
    assert not rack.is_drained("acme-box-1")
