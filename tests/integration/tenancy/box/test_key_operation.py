"""Firm keys that two people have copied, moved, rotated or retired; killed half-way, and back."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from app.core.db import Tx
from app.core.ids import OperationId, new_id
from app.core.json import JsonObject
from fsb_gateway.error import BoxUnknown, FsbUnavailable, PoolForeign
from tenancy import Instance
from tenancy.box import plan
from tenancy.box.errors import FirmKeyPresent
from tenancy.errors import InstanceNotReady
from tenancy.lifecycle.errors import InstanceStateUnfit
from tenancy.operation.plan import OperationPlan
from tenancy.operation.start import start_operation
from tenancy.staff.errors import ApprovalOpen
from tests.integration.tenancy.box.rack import Rack, failing, killed_after
from tests.integration.tenancy.staff_material import as_staff


@pytest.fixture
def acme(rack: Rack) -> Instance:
    """An instance whose pool has two boxes; only the first one holds its key."""
    instance = rack.world.ready_instance("acme", "high_performance")
    rack.add("acme-box-2", "acme", instance.instance_id)
    rack.fsb.held[instance.firm_code].pop("acme-box-2")
    return instance


def give(rack: Rack, instance: Instance, box: str) -> None:
    """Let a box hold an instance's key, whoever has brought it."""
    rack.fsb.held[instance.firm_code][box] = f"key_{instance.firm_code}"


def end(rack: Rack, instance: Instance) -> None:
    with rack.world.platform.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE instance SET state = 'ended' WHERE instance_id = '{instance.instance_id}'"
        )


def begin(rack: Rack, instance: Instance, steps: OperationPlan, parameters: JsonObject) -> OperationId:
    """Start an operation that no check has seen."""

    def body(tx: Tx) -> JsonObject:
        return {"id": start_operation(tx, steps, object_id=instance.instance_id, parameters=parameters)}

    return OperationId(str(rack.world.platform.run_tx(new_id("op"), body).value["id"]))


def of(rack: Rack, operation_id: OperationId, *kinds: str) -> list[str]:
    """What the platform's chain says that an operation has done."""
    found = [event for kind in kinds for event in rack.told(kind)]
    return [event.type for event in found if event.data["operation_id"] == operation_id]


@pytest.mark.parametrize("killed", [None, "copy"])
def test_key_is_copied_into_one_more_box(rack: Rack, acme: Instance, killed: str | None) -> None:
    asked = rack.start("copyFirmKey", acme.instance_id, rack.copy(acme, "acme-box-2"))
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(asked).state == "succeeded"
    assert rack.holders(acme) == {"acme-box-1", "acme-box-2"}
    copied = [event for event in rack.told("firm_key.copied") if event.data["operation_id"] == asked]
    assert [event.data["to"] for event in copied] == ["acme-box-2"]


def test_copy_that_is_taken_back_leaves_nothing(rack: Rack, acme: Instance) -> None:
    asked = rack.start("copyFirmKey", acme.instance_id, rack.copy(acme, "acme-box-2"))
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("copy"))
    rack.operations.cancel(asked, reason="not there")
    assert rack.end(asked).state == "recovered"
    assert rack.holders(acme) == {"acme-box-1"}


@pytest.mark.parametrize("action", ["copyFirmKey", "moveFirmKey"])
def test_move_that_is_taken_back_leaves_what_was_there(rack: Rack, acme: Instance, action: str) -> None:
    """Copies that were asked for before wops refused them are carried out, and say what they did."""
    give(rack, acme, "acme-box-2")
    parameters = rack.copy(acme, "acme-box-2", **{"from": "acme-box-1"})
    steps = plan.MOVE_FIRM_KEY if action == "moveFirmKey" else plan.COPY_FIRM_KEY
    asked = begin(rack, acme, steps, parameters)
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("copy"))
    rack.operations.cancel(asked, reason="not there")
    assert rack.end(asked).state == "recovered"
    assert rack.holders(acme) == {"acme-box-1", "acme-box-2"}
    assert of(rack, asked, "firm_key.copied", "firm_key.dropped") == []


def test_copy_into_a_box_that_holds_the_key_is_refused_when_it_is_asked_for(
    rack: Rack, acme: Instance
) -> None:
    give(rack, acme, "acme-box-2")
    control = rack.care.control
    for refused in (
        lambda: anyio.run(lambda: control.plan_copy(acme.firm_code, to="acme-box-2")),
        lambda: rack.ask("copyFirmKey", acme.instance_id, rack.copy(acme, "acme-box-2")),
    ):
        with pytest.raises(FirmKeyPresent):
            refused()
    with pytest.raises(BoxUnknown):
        anyio.run(lambda: control.plan_copy(acme.firm_code, to="nobox"))


@pytest.mark.parametrize("action", ["copyFirmKey", "moveFirmKey"])
def test_key_that_has_come_into_the_box_since_it_was_approved_is_not_copied_nor_said_to_be(
    rack: Rack, acme: Instance, action: str
) -> None:
    parameters = rack.copy(acme, "acme-box-2", **{"from": "acme-box-1"})
    asked = rack.start(action, acme.instance_id, parameters)
    give(rack, acme, "acme-box-2")
    before = list(rack.fsb.calls)
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "plan_outdated")
    assert rack.holders(acme) == {"acme-box-1", "acme-box-2"}
    assert of(rack, asked, "firm_key.copied", "firm_key.dropped") == []
    assert rack.fsb.calls == before


def test_move_into_a_box_that_holds_the_key_says_only_that_it_was_dropped(rack: Rack, acme: Instance) -> None:
    give(rack, acme, "acme-box-2")
    move = anyio.run(
        lambda: rack.care.control.plan_move(acme.firm_code, source="acme-box-1", to="acme-box-2")
    )
    asked = rack.start("moveFirmKey", acme.instance_id, move)
    assert rack.end(asked).state == "succeeded"
    assert rack.holders(acme) == {"acme-box-2"}
    assert of(rack, asked, "firm_key.copied", "firm_key.dropped") == ["firm_key.dropped"]
    log = [line.message for line in rack.operations.list_log(asked)]
    assert "Box acme-box-2 holds the key already: nothing was copied." in log


def test_key_that_has_never_left_its_box_is_not_said_to_be_copied_back(rack: Rack, acme: Instance) -> None:
    asked = rack.start(
        "moveFirmKey", acme.instance_id, rack.copy(acme, "acme-box-2", **{"from": "acme-box-1"})
    )
    rack.run(failing("drop", FsbUnavailable("away")))
    rack.operations.cancel(asked, reason="later")
    assert rack.end(asked).state == "recovered"
    assert rack.holders(acme) == {"acme-box-1"}
    about = [
        (event.type, event.data.get("to") or event.data.get("from"))
        for kind in ("firm_key.copied", "firm_key.dropped")
        for event in rack.told(kind)
        if event.data["operation_id"] == asked
    ]
    assert about == [("firm_key.copied", "acme-box-2"), ("firm_key.dropped", "acme-box-2")]


@pytest.mark.parametrize("action", ["rotateFirmKey", "retireFirmKey"])
@pytest.mark.parametrize("approved", [("acme-box-1",), ("acme-box-1", "acme-box-2")])
def test_key_that_is_in_other_boxes_than_were_approved_stays_as_it_is(
    rack: Rack, acme: Instance, action: str, approved: tuple[str, ...]
) -> None:
    if action == "retireFirmKey":
        end(rack, acme)
    for name in approved:
        give(rack, acme, name)
    asked = rack.start(action, acme.instance_id, rack.key(acme))
    rack.fsb.held[acme.firm_code] = dict.fromkeys(
        {"acme-box-1", "acme-box-2"} if len(approved) == 1 else {"acme-box-2"}, f"key_{acme.firm_code}"
    )
    before = dict(rack.fsb.held[acme.firm_code])
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "plan_outdated")
    assert rack.fsb.held[acme.firm_code] == before
    assert rack.fsb.retired == set()
    assert of(rack, asked, "firm_key.rotated", "firm_key.retired") == []


def test_copies_to_two_boxes_wait_side_by_side_and_the_same_copy_only_once(
    rack: Rack, acme: Instance
) -> None:
    rack.add("acme-box-3", "acme", acme.instance_id)
    rack.fsb.held[acme.firm_code].pop("acme-box-3")
    first = rack.ask("copyFirmKey", acme.instance_id, rack.copy(acme, "acme-box-2"))
    second = rack.ask("copyFirmKey", acme.instance_id, rack.copy(acme, "acme-box-3"))
    with pytest.raises(ApprovalOpen) as refused:
        rack.ask("copyFirmKey", acme.instance_id, {**rack.copy(acme, "acme-box-3"), "boxes": []})
    assert refused.value.detail["approval_id"] == second
    with pytest.raises(BoxUnknown):
        rack.ask("copyFirmKey", acme.instance_id, rack.copy(acme, "nobox"))
    for approval_id in (first, second):
        done = rack.approvals.approve(
            approval_id, expected_version=1, by=rack.hugo, command=as_staff(rack.hugo)
        )
        assert done.value.operation_id is not None
        assert rack.end(done.value.operation_id).state == "succeeded"
    assert rack.holders(acme) == {"acme-box-1", "acme-box-2", "acme-box-3"}


@pytest.mark.parametrize("action", ["copyFirmKey", "moveFirmKey", "rotateFirmKey", "retireFirmKey"])
def test_what_is_done_is_what_was_approved(rack: Rack, acme: Instance, action: str) -> None:
    if action == "retireFirmKey":
        end(rack, acme)
    asked = rack.start(action, acme.instance_id, rack.copy(acme, "acme-box-2", **{"from": "acme-box-1"}))
    rack.fsb.held[acme.firm_code]["acme-box-1"] = "key_other"
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "firm_key_changed")
    assert rack.fsb.held[acme.firm_code] == {"acme-box-1": "key_other"}
    assert [call for call in rack.fsb.calls if call.startswith("rotate")] == []


def test_key_that_has_left_the_box_that_was_approved_is_not_moved(rack: Rack, acme: Instance) -> None:
    asked = rack.start(
        "moveFirmKey", acme.instance_id, rack.copy(acme, "acme-box-2", **{"from": "acme-box-1"})
    )
    held = rack.fsb.held[acme.firm_code]
    held["elsewhere"] = held.pop("acme-box-1")
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "firm_key_missing")
    assert rack.holders(acme) == {"elsewhere"}


@pytest.mark.parametrize("killed", [None, *plan.MOVE_FIRM_KEY.names])
def test_key_is_moved_and_never_nowhere(rack: Rack, acme: Instance, killed: str | None) -> None:
    parameters: JsonObject = {**rack.copy(acme, "acme-box-2"), "from": "acme-box-1"}
    asked = rack.start("moveFirmKey", acme.instance_id, parameters)
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.holders(acme)
    assert rack.end(asked).state == "succeeded"
    assert rack.holders(acme) == {"acme-box-2"}
    moved = [each for each in rack.fsb.calls if each.endswith((" acme-box-1", " acme-box-2"))]
    assert moved[-1] == f"drop {acme.firm_code} acme-box-1"


def test_move_that_is_taken_back_puts_the_key_where_it_was(rack: Rack, acme: Instance) -> None:
    parameters: JsonObject = {**rack.copy(acme, "acme-box-2"), "from": "acme-box-1"}
    asked = rack.start("moveFirmKey", acme.instance_id, parameters)
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("drop"))
    rack.operations.cancel(asked, reason="wrong box")
    assert rack.end(asked).state == "recovered"
    assert rack.holders(acme) == {"acme-box-1"}


def test_key_does_not_go_where_no_job_for_it_comes(rack: Rack, acme: Instance) -> None:
    rack.world.ready_instance("beta")
    with pytest.raises(PoolForeign):
        rack.ask("copyFirmKey", acme.instance_id, rack.copy(acme, "shared-box-1"))


@pytest.mark.parametrize("killed", [None, "rotate"])
def test_key_is_rotated_once_and_its_customer_is_told(rack: Rack, acme: Instance, killed: str | None) -> None:
    asked = rack.start("rotateFirmKey", acme.instance_id, rack.key(acme))
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(asked).state == "succeeded"
    assert set(rack.fsb.held[acme.firm_code].values()) == {f"key_{asked}"}
    assert [call for call in rack.fsb.calls if call.startswith("rotate")] == [
        f"rotate {acme.firm_code} key_{asked}"
    ]
    (event,) = rack.told("firm_key.rotated", acme)
    assert (event.subject, event.data["key_id"]) == (str(acme.firm_code), f"key_{asked}")
    (staff,) = rack.told("firm_key.rotated")
    assert staff.data["boxes"] == ["acme-box-1"]
    with rack.world.platform.engine.connect() as connection:
        (before,) = connection.exec_driver_sql(
            "SELECT before_change FROM outbox_event WHERE type = 'firm_key.rotated'"
        ).one()
    assert f"key_{acme.firm_code}" in before


def test_rotation_that_cannot_reach_a_box_leaves_the_old_key_at_work(rack: Rack, acme: Instance) -> None:
    rack.fsb.away = {"acme-box-1"}
    found = rack.do("rotateFirmKey", acme.instance_id, rack.key(acme))
    assert (found.state, found.error_code) == ("recovered", "box_disconnected")
    assert set(rack.fsb.held[acme.firm_code].values()) == {f"key_{acme.firm_code}"}
    assert rack.told("firm_key.rotated") == []


def test_rotation_that_has_begun_to_sign_is_carried_to_its_end_when_it_is_taken_back(
    rack: Rack, acme: Instance
) -> None:
    asked = rack.start("rotateFirmKey", acme.instance_id, rack.key(acme))

    async def half_way(firm_code: int, *, key_id: str) -> object:
        await original(firm_code, key_id=key_id)
        raise FsbUnavailable("away")

    original = rack.fsb.rotate_firm_key
    rack.fsb.rotate_firm_key = half_way  # type: ignore[assignment,method-assign]
    rack.run()
    rack.fsb.rotate_firm_key = original  # type: ignore[method-assign]
    rack.operations.cancel(asked, reason="later")
    assert rack.end(asked).state == "recovered"
    assert set(rack.fsb.held[acme.firm_code].values()) == {f"key_{asked}"}
    assert len(rack.told("firm_key.rotated")) == len(rack.told("firm_key.rotated", acme)) == 1


def test_key_is_retired_only_when_its_instance_has_ended_and_never_comes_back(
    rack: Rack, acme: Instance
) -> None:
    with pytest.raises(InstanceStateUnfit):
        rack.ask("retireFirmKey", acme.instance_id, rack.key(acme))
    with rack.world.platform.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE instance SET state = 'ended' WHERE instance_id = '{acme.instance_id}'"
        )
    with pytest.raises(InstanceNotReady):
        rack.ask("rotateFirmKey", acme.instance_id, rack.key(acme))
    asked = rack.start("retireFirmKey", acme.instance_id, rack.key(acme))
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("retire"))
    assert rack.end(asked).state == "succeeded"
    assert rack.holders(acme) == set()
    (event,) = rack.told("firm_key.retired")
    assert event.data["state"] == "retired"
    assert len(rack.told("firm_key.retired", acme)) == 1


def test_retirement_that_cannot_reach_a_box_waits_for_a_human(rack: Rack, acme: Instance) -> None:
    with rack.world.platform.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE instance SET state = 'ended' WHERE instance_id = '{acme.instance_id}'"
        )
    asked = rack.start("retireFirmKey", acme.instance_id, rack.key(acme))
    rack.fsb.away = {"acme-box-1"}
    for _ in range(8):
        rack.run()
        found = rack.operations.get_operation(asked)
        rack.world.clock.advance(max(found.due_at - rack.world.clock.now(), timedelta(0)))
        rack.sweeper.sweep()
    assert rack.operations.get_operation(asked).state == "fatal"
    rack.fsb.away = set()
    rack.operations.retry(asked)
    assert rack.end(asked).state == "succeeded"
