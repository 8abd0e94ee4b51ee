"""Boxes that join, leave and are lent: with their keys, killed half-way, and back."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.error import BoxLast, BoxSpecInvalid, BoxUnknown, FsbUnavailable, PoolUnknown
from tenancy.box import plan
from tenancy.box.errors import BoxNameTaken, BoxStateUnfit
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
    anyio.run(rack.fsb.ensure_box, spec)
    rack.fsb.rack[spec.name].condition = "token_pin_wrong"
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
        (BoxSpec(name="acme-box-2", pool="nobodys"), PoolUnknown),
    ):
        with pytest.raises(refusal):
            rack.ask("addBox", spec.name, {"box": describe_spec(spec)})
    assert rack.add("acme-box-2", "acme", acme.instance_id).state == "succeeded"
    assert rack.holders(acme) == {"acme-box-1", "acme-box-2"}


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


@pytest.mark.parametrize("killed", [None, *plan.LEND_BOX.names])
def test_lent_box_works_for_the_borrower_with_his_keys_and_gives_them_back(
    rack: Rack, killed: str | None
) -> None:
    acme, beta = rack.world.ready_instance("acme"), rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    asked = rack.start("lendBox", "shared-box-2", {"to": "beta", "hours": 2, "force": False})
    began = rack.world.clock.now()
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(asked).state == "succeeded"
    spec = rack.fsb.specs["shared-box-2"]
    assert (spec.lent_to, spec.lent_until) == ("beta", began + timedelta(hours=2))
    assert rack.holders(beta) == {"beta-box-1", "shared-box-2"}
    assert len(rack.told("box.lent")) == 1
    rack.world.clock.advance(timedelta(hours=1))
    rack.look()
    assert rack.told("box.returned") == []
    rack.world.clock.advance(timedelta(hours=1))
    assert rack.fsb.specs["shared-box-2"].pool_at(rack.world.clock.now()) == "shared"
    rack.look()
    rack.run()
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None
    assert len(rack.told("box.returned")) == 1
    (dropped,) = rack.told("firm_key.dropped", beta)
    assert "from" not in dropped.data
    rack.look(3)
    assert len([each for each in rack.operations.list_operations(limit=100) if each.kind == "end_loan"]) == 1


@pytest.mark.parametrize("killed", [None, *plan.END_LOAN.names])
def test_loan_that_is_ended_early_is_over_at_once(rack: Rack, killed: str | None) -> None:
    rack.world.ready_instance("acme")
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    ending = rack.service.return_box("shared-box-2").value
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(ending.operation_id).state == "succeeded"
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None
    assert [len(rack.told(kind)) for kind in ("box.taken_back", "box.returned")] == [1, 1]
    with pytest.raises(BoxStateUnfit):
        rack.service.return_box("shared-box-2")


def test_loan_whose_end_fails_is_ended_again_later(rack: Rack) -> None:
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    rack.world.clock.advance(timedelta(hours=3))
    rack.fsb.away = {"shared-box-2"}
    rack.look()
    ending = rack.operations.find_unfinished("shared-box-2")
    assert ending is not None
    assert rack.end(ending.operation_id).state == "recovered"
    rack.fsb.away = set()
    rack.look()
    rack.run()
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None


def test_only_box_of_an_own_pool_is_lent_only_if_somebody_says_so(rack: Rack) -> None:
    beta = rack.world.ready_instance("beta", "high_performance")
    acme = rack.world.ready_instance("acme")
    with pytest.raises(BoxLast):
        rack.ask("lendBox", "beta-box-1", {"to": "shared", "hours": 1, "force": False})
    assert rack.lend("beta-box-1", "shared", force=True).state == "succeeded"
    assert rack.holders(acme) == {"shared-box-1", "beta-box-1"}
    with pytest.raises(BoxStateUnfit):
        rack.ask("removeBox", "beta-box-1", {})
    assert rack.holders(beta) == {"beta-box-1"}


def test_loan_that_fails_takes_the_keys_out_again(rack: Rack) -> None:
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    asked = rack.start("lendBox", "shared-box-2", {"to": "beta", "hours": 2, "force": False})
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("hand_over"))
    rack.operations.cancel(asked, reason="not needed")
    assert rack.end(asked).state == "recovered"
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None
