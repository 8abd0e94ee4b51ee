"""The healer beside staff, operations and another healer: what they did stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.ids import LineId
from app.operations.reconcile.lease import LEASE
from app.operations.reconcile.past import Rails
from app.operations.reconcile.service import ReconcileService
from tests.integration.app.operations.reconcile.ward import FIRST, SECOND, OwnBoxes, Ward, run

QUICK = Rails(recovery=timedelta(seconds=6))
"""Every second of waiting is a turn."""
pytestmark = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)


def test_what_staff_put_back_is_not_taken_out_again_until_it_was_well(ward: Ward) -> None:
    async def body() -> None:
        healer, lease = ward.healer(rails=QUICK)
        ward.heals = False
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "recovering")
        ward.track.lines.restore_line(ward.acme.instance_id, FIRST)
        await ward.until(healer, "overruled")
        await ward.pass_time(healer, 8)
        assert ward.track.front(ward.acme)[FIRST].in_service
        # The next healer knows it from the journal.
        lease.give_up()
        second, _ = ward.healer(rails=QUICK)
        await ward.pass_time(second, 15)
        assert ward.reason(second) == "overruled"
        assert [action for action, _ in ward.actions()] == ["take_out", "restart"]
        ward.states[FIRST] = "ready"
        await ward.until(second, "healthy")
        ward.states[FIRST] = "frozen"
        await ward.pass_time(second, 5)
        assert not ward.track.front(ward.acme)[FIRST].in_service

    run(body)


def test_line_that_staff_put_back_while_nobody_healed_is_theirs(ward: Ward) -> None:
    async def body() -> None:
        first, lease = ward.healer(rails=QUICK)
        ward.heals = False
        await ward.pass_time(first, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(first, "recovering")
        lease.give_up()
        ward.track.lines.restore_line(ward.acme.instance_id, FIRST)
        second, _ = ward.healer(rails=QUICK)
        await ward.pass_time(second, 15)
        assert ward.reason(second) == "overruled"
        assert ward.track.front(ward.acme)[FIRST].in_service

    run(body)


def test_next_healer_knows_that_the_one_before_put_back_a_line_that_then_fell_sick(ward: Ward) -> None:
    """Nobody else did it: it is taken out again."""

    async def body() -> None:
        first, lease = ward.healer(rails=QUICK)
        await ward.pass_time(first, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(first, "healthy_again")
        ward.heals = False
        ward.states[FIRST] = "frozen"
        # Before it has been seen well and back, and so briefly that it is not taken out again.
        clock = ward.track.world.clock
        clock.advance(timedelta(seconds=4))
        await first.turn()
        clock.advance(timedelta(seconds=4))
        ward.states[FIRST] = "starting"
        await first.turn()
        assert ward.actions()[-1] == ("put_back", "not_met")
        lease.give_up()
        second, _ = ward.healer(rails=QUICK)
        await ward.pass_time(second, 2)
        assert second._past["line:acme-1"].overruled_since is None

    run(body)


def test_last_line_comes_back_as_soon_as_it_is_well_although_its_twin_is_sick(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        ward.heals = False
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "recovering")
        ward.states[SECOND] = "frozen"
        await ward.pass_time(healer, 2)
        assert ward.reason(healer, "line:acme-2") == "too_many_sick"
        ward.states[FIRST] = "ready"
        await ward.pass_time(healer, 1)
        assert ward.track.front(ward.acme)[FIRST].in_service
        back = ward.journal("line:acme-1")[-1]
        assert (back.action, back.reason) == ("put_back", "nobody_else_serves")

    run(body)


@pytest.mark.parametrize("meanwhile", ["lease", "operation", "staff"])
def test_cure_that_had_to_wait_is_not_carried_out_if_something_else_came_first(
    ward: Ward, meanwhile: str
) -> None:
    """Permission is asked for behind the keeper's lock, not before it."""

    async def body() -> None:
        healer, _ = ward.healer()
        _, other = ward.healer()

        async def wait() -> None:
            if meanwhile == "lease":
                ward.track.world.clock.advance(LEASE + timedelta(seconds=1))
                assert other.keep() == 2
            elif meanwhile == "staff":
                ward.track.lines.drain_line(ward.acme.instance_id, FIRST, by="staff", reason="looking")
            else:
                ward.start_operation(FIRST)

        await ward.pass_time(healer, 7)
        ward.before_cure = wait
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 6)
        assert ward.restarted == []
        done = [each for each in ward.journal("line:acme-1") if each.action == "restart"]
        codes = {
            "lease": "reconcile_lease_lost",
            "operation": "operation_running",
            "staff": "line_state_unfit",
        }
        assert [(each.outcome, each.outcome_code) for each in done] == [("failed", codes[meanwhile])]

    run(body)


def test_operation_that_began_after_the_look_keeps_a_line_in_service(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.start_operation(ward.acme.instance_id)
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 5)
        assert ward.track.front(ward.acme)[FIRST].in_service
        taken = ward.journal("line:acme-1")[-2]
        assert (taken.action, taken.outcome, taken.outcome_code) == (
            "take_out",
            "failed",
            "operation_running",
        )

    run(body)


def test_part_that_another_control_was_told_to_release_is_healed_again(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer(rails=replace(QUICK, most_an_hour=1))
        ward.heals = False
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "frozen")
        ReconcileService(ward.db).release("line:acme-1")
        ward.heals = True
        await ward.until(healer, "healthy")

    run(body)


def test_action_that_took_long_ends_the_turn(ward: Ward) -> None:
    """What was seen before it says nothing about the others any more."""

    other = ward.track.instance("beta")

    async def body() -> None:
        ward.states |= {LineId("beta-1"): "ready", LineId("beta-2"): "ready"}
        healer, _ = ward.healer(rails=Rails(sick_share=1.0, sick_groups=9, patience=timedelta(seconds=1)))
        await ward.pass_time(healer, 7)
        ward.track.lines.drain_line(ward.acme.instance_id, SECOND, by="staff", reason="looking")

        async def wait() -> None:
            ward.track.world.clock.advance(timedelta(seconds=6))

        ward.before_cure = wait
        ward.states |= {FIRST: "frozen", LineId("beta-1"): "frozen"}
        await ward.pass_time(healer, 2)
        assert ward.restarted == [("restart", FIRST)]
        assert ward.track.front(other)[LineId("beta-1")].in_service
        await ward.pass_time(healer, 8)
        assert not ward.track.front(other)[LineId("beta-1")].in_service

    run(body)


def test_journal_says_what_a_reason_holds_for_and_until_when(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        scope = "group:" + ward.acme.instance_id
        until = ward.track.world.clock.now() + timedelta(hours=1)
        ward.service.pause(scope, reason="looking", until=until)
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "paused")
        entry = ward.journal("line:acme-1")[-1]
        assert (entry.reason, entry.scope, entry.until, entry.wanted) == ("paused", scope, until, "take_out")
        later = until + timedelta(hours=1)
        ward.service.pause(scope, reason="looking", until=later)
        await ward.pass_time(healer, 2)
        assert [each.until for each in ward.journal("line:acme-1")[-2:]] == [until, later]
        count = len(ward.journal())
        await ward.pass_time(healer, 5)
        assert len(ward.journal()) == count

    run(body)


@pytest.mark.parametrize("when", ["before", "after"])
def test_box_that_staff_have_drained_is_never_let_work_again(ward: Ward, when: str) -> None:
    """Also if they did it at the same moment, or on top of what the healer did."""

    async def body() -> None:
        healer, _ = ward.healer()
        boxes = await OwnBoxes.of(ward)
        boxes.see("ready")
        await ward.pass_time(healer, 7)
        boxes.see("journal_damaged")
        if when == "after":
            await ward.until(healer, "frozen", boxes.part)
            assert boxes.first.drained_by == "reconciler"
        boxes.service.drain_box(boxes.name, version=boxes.first.version)
        assert boxes.first.drained_by == "staff"
        await ward.until(healer, "taken_out_by_others", boxes.part)
        boxes.see("drained")
        await ward.pass_time(healer, 20)
        assert (boxes.first.spec.drained, boxes.first.drained_by) == (True, "staff")

    run(body)


def test_box_that_an_operation_is_changing_is_left_alone(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        boxes = await OwnBoxes.of(ward)
        ward.busy.add(boxes.name)
        boxes.see("journal_damaged")
        await ward.until(healer, "change_under_way", boxes.part)
        await ward.pass_time(healer, 10)
        assert ward.actions(boxes.part) == []

    run(body)
