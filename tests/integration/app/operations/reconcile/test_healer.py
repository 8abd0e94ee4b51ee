"""The healer's turns over a platform database, with lines and boxes that are as the test says."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import anyio.lowlevel
import pytest

from app.core.ids import new_id
from app.operations.reconcile import repository
from app.operations.reconcile.journal import KEEP
from app.operations.reconcile.lease import LEASE
from app.operations.reconcile.past import Rails
from tenancy.line.errors import LineStateUnfit
from tests.integration.app.operations.reconcile.ward import FIRST, SECOND, OwnBoxes, Ward, run

pytestmark = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)


def test_sick_line_is_healed_step_by_step_and_every_step_is_written_first(ward: Ward) -> None:
    async def body() -> None:
        healer, lease = ward.healer()
        await ward.pass_time(healer, 7)
        assert ward.reason(healer) == "healthy"
        assert ward.journal() == []
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "healthy_again")
        await ward.pass_time(healer, 2)
        assert ward.actions() == [("take_out", "met"), ("restart", "met"), ("put_back", "met")]
        assert ward.restarted == [("restart", FIRST)]
        assert ward.reason(healer) == "healthy"
        assert ward.track.front(ward.acme)[FIRST].in_service
        assert {each.token for each in ward.journal()} == {lease.token} == {1}
        told = ward.events()
        assert told[::2] == ["reconcile.take_out", "reconcile.restart", "reconcile.put_back"]
        assert set(told[1::2]) == {"reconcile.ended"}

    run(body)


def test_nothing_helps_and_a_person_is_called_once(ward: Ward) -> None:
    async def body() -> None:
        # The pause is shorter than in earnest: every second of it is a turn.
        rails = Rails(pause_after=timedelta(seconds=40), recovery=timedelta(seconds=10))
        healer, _ = ward.healer(rails=rails)
        ward.heals = False
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "frozen")
        await ward.pass_time(healer, 10)
        assert ward.actions() == [
            ("take_out", "met"),
            ("restart", "not_met"),
            ("replace", "not_met"),
            ("replace", "not_met"),
            ("call_human", None),
        ]
        at = [
            each.decided_at for each in ward.journal("line:acme-1") if each.action in ("restart", "replace")
        ]
        assert rails.recovery <= at[1] - at[0] < rails.recovery + timedelta(seconds=3)
        assert rails.pause_after <= at[2] - at[1] < rails.pause_after + timedelta(seconds=3)
        (alarm,) = ward.service.list_alarms()
        assert (alarm.part, alarm.reason) == ("line:acme-1", "too_often")
        assert ward.events().count("reconcile.person_called") == 1
        ward.heals = True
        ward.service.release("line:acme-1")
        assert ward.service.list_alarms() == []
        await ward.until(healer, "healthy")
        assert ward.actions()[-2:] == [("restart", "met"), ("put_back", "open")] or ward.actions()[-2:] == [
            ("restart", "met"),
            ("put_back", "met"),
        ]

    run(body)


def test_next_process_keeps_rates_and_goes_on_with_what_was_begun(ward: Ward) -> None:
    async def body() -> None:
        rails = Rails(recovery=timedelta(seconds=10))
        first, lease = ward.healer(rails=rails)
        ward.heals = False
        await ward.pass_time(first, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(first, "recovering")
        second, _ = ward.healer(rails=rails)
        await ward.pass_time(second, 3)
        assert second.report.has_lease is False
        lease.give_up()
        await ward.pass_time(second, 1)
        assert (second.report.has_lease, second.report.token) == (True, 2)
        assert second._past["line:acme-1"].tried == first._past["line:acme-1"].tried
        await ward.until(second, "acted_lately")
        assert [action for action, _ in ward.actions()] == ["take_out", "restart", "replace"]
        # The first one is still there, and does nothing.
        before = len(ward.journal())
        await ward.pass_time(first, 10)
        assert (first.report.has_lease, len(ward.journal())) == (False, before)

    run(body)


def test_who_has_no_lease_only_looks_and_says_so(ward: Ward) -> None:
    async def body() -> None:
        first, _ = ward.healer()
        second, _ = ward.healer()
        await first.turn()
        ward.states[FIRST] = "frozen"
        for _ in range(12):
            await ward.pass_time(second, 1)
        found = {each.decision.subject.key: each.decision for each in second.report.parts}
        decision = found["line:acme-1"]
        assert (decision.action, decision.reason, decision.wanted) == ("none", "no_lease", "take_out")
        assert ward.journal() == []

    run(body)


def test_platform_database_away_means_looking_only(ward: Ward) -> None:
    async def body() -> None:
        healer, lease = ward.healer()
        await ward.pass_time(healer, 7)
        lease.away = True
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 10)
        assert (healer.report.problem, healer.report.has_lease) == ("database_unavailable", False)
        assert ward.reason(healer) == "no_lease"
        assert ward.actions() == []
        lease.away = False
        await ward.until(healer, "healthy_again")
        assert healer.report.problem is None

    run(body)


@pytest.mark.parametrize("how", ["clock_set", "between_looks", "in_a_look"])
def test_healer_that_was_held_up_warms_up_again(ward: Ward, how: str) -> None:
    async def hold_up() -> None:
        ward.track.world.clock.advance(timedelta(seconds=10))

    async def body() -> None:
        healer, _ = ward.healer()
        nothing = ward.before_boxes
        clock = ward.track.world.clock
        await ward.pass_time(healer, 7)
        since = healer.report.watching_since
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 1)
        if how == "clock_set":
            clock.set(clock.now() + timedelta(seconds=10))
        elif how == "between_looks":
            await hold_up()
        else:
            ward.before_boxes = hold_up
        await healer.turn()
        ward.before_boxes = nothing
        assert healer.report.watching_since != since
        assert ward.actions() == [], "it was bad for long enough, and nobody has watched it meanwhile"
        await ward.pass_time(healer, 4)
        assert ward.actions() == []
        await ward.pass_time(healer, 2)
        assert [action for action, _ in ward.actions()][:1] == ["take_out"]

    run(body)


def test_line_is_healed_although_boxes_are_never_heard_of(ward: Ward) -> None:
    """As long as a gateway hangs."""

    async def hang() -> None:
        await asyncio.Event().wait()

    async def body() -> None:
        healer, _ = ward.healer(ask_within=timedelta(milliseconds=200))
        boxes = await OwnBoxes.of(ward)
        boxes.see("ready")
        ward.before_boxes = hang
        async with asyncio.timeout(60):
            await ward.pass_time(healer, 7)
            ward.states[FIRST] = "frozen"
            await ward.until(healer, "healthy_again")
        assert ward.restarted == [("restart", FIRST)]
        assert not any(each.decision.subject.name == boxes.name for each in healer.report.parts)
        ward.before_boxes = anyio.lowlevel.checkpoint
        await ward.pass_time(healer, 1)
        assert ward.reason(healer, boxes.part) == "healthy"

    run(body)


def test_asking_that_takes_seconds_each_time_is_no_pause_of_the_healer(ward: Ward) -> None:
    """Three seconds for asking and three between: six from one look to the next, in which nobody was held up."""

    async def take_long() -> None:
        ward.track.world.clock.advance(timedelta(seconds=3))

    async def body() -> None:
        healer, _ = ward.healer()
        ward.before_boxes = take_long
        await ward.pass_time(healer, 1)
        since = healer.report.watching_since
        ward.states[FIRST] = "frozen"
        for _ in range(5):
            ward.track.world.clock.advance(timedelta(seconds=3))
            await healer.turn()
        assert healer.report.watching_since == since
        assert ward.actions()[:1] == [("take_out", "met")]

    run(body)


def test_while_nobody_says_what_is_being_changed_nothing_is_done(ward: Ward) -> None:
    asked = threading.Event()

    async def body() -> None:
        healer, _ = ward.healer(ask_within=timedelta(milliseconds=200))
        await ward.pass_time(healer, 7)
        ward.before_busy = lambda: asked.wait(60)
        ward.states[FIRST] = "frozen"
        try:
            await ward.pass_time(healer, 6)
        finally:
            asked.set()
        assert ward.reason(healer) == "change_under_way"
        assert ward.actions() == []

    run(body)


def test_what_staff_say_wins(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.track.lines.drain_line(ward.acme.instance_id, FIRST, by="staff", reason="maintenance")
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 10)
        assert ward.reason(healer) == "taken_out_by_others"
        ward.states[FIRST] = "ready"
        await ward.pass_time(healer, 10)
        assert not ward.track.front(ward.acme)[FIRST].in_service
        ward.busy.add(ward.acme.instance_id)
        ward.states[SECOND] = "frozen"
        await ward.pass_time(healer, 10)
        assert ward.reason(healer, "line:acme-2") == "change_under_way"
        assert ward.actions("line:acme-2") == []

    run(body)


def test_action_that_is_refused_is_written_down_and_counts(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.refuses = LineStateUnfit("not now")
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "recovering")
        assert ward.actions() == [("take_out", "met"), ("restart", "failed")]
        assert ward.journal("line:acme-1")[-2].outcome_code == "line_state_unfit"

    run(body)


def test_pause_ends_by_itself(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        until = ward.track.world.clock.now() + timedelta(seconds=20)
        ward.service.pause("group:" + ward.acme.instance_id, reason="looking", until=until)
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "paused")
        await ward.pass_time(healer, 5)
        assert ward.actions() == []
        await ward.until(healer, "healthy_again")

    run(body)


def test_old_lines_are_cleared_and_alarms_stay(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.states.update({FIRST: "frozen", SECOND: "frozen"})
        await ward.until(healer, "frozen", "line:*")
        assert len(ward.journal()) > 1
        ward.states.update({FIRST: "ready", SECOND: "ready"})
        ward.track.world.clock.advance(KEEP + LEASE)
        await ward.pass_time(healer, 8)
        assert next(each.action for each in ward.journal("line:*")) == "call_human"
        assert all(
            each.action == "call_human" or each.decided_at > ward.track.world.clock.now() - KEEP
            for each in ward.journal()
        )
        alarms = ward.db.read(repository.list_alarms)
        assert [each.part for each in alarms] == ["line:*"]

    run(body)


def test_alarms_that_stay_keep_no_later_line_from_being_cleared(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.states.update({FIRST: "frozen", SECOND: "frozen"})
        await ward.until(healer, "frozen", "line:*")

    run(body)
    alarm = next(each for each in ward.journal() if each.action == "call_human")
    later = [each for each in ward.journal() if each.entry_id > alarm.entry_id]
    assert later
    ward.track.world.clock.advance(KEEP)
    before = ward.db.clock.now()
    for _ in ward.journal():
        # One at a time: the alarm comes before some of them.
        ward.db.run_tx(
            new_id("op"),
            lambda tx: {"cleared": repository.clear_entries(tx, before=before, keep=1000, limit=1)},
        )
    assert [each.entry_id for each in ward.journal()] == [alarm.entry_id]


def test_sick_box_is_drained_while_another_works_and_resumed_when_it_is_well(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        boxes = await OwnBoxes.of(ward)
        boxes.see("ready")
        await ward.pass_time(healer, 7)
        boxes.see("out")
        await ward.pass_time(healer, 10)
        assert ward.reason(healer, boxes.part) == "being_healed"
        boxes.see("token_pin_wrong")
        await ward.until(healer, "frozen", boxes.part)
        assert ward.actions(boxes.part) == [("call_human", None)]
        assert not boxes.first.spec.drained, "telling it anything would try the PIN again"
        ward.service.release(boxes.part)
        ward.track.world.clock.advance(timedelta(hours=2))
        boxes.see("journal_damaged")
        await ward.until(healer, "frozen", boxes.part)
        assert [action for action, _ in ward.actions(boxes.part)][1:] == ["take_out", "call_human"]
        assert (boxes.first.spec.drained, boxes.first.drained_by) == (True, "reconciler")
        boxes.see("drained")
        ward.service.release(boxes.part)
        await ward.until(healer, "healthy_again", boxes.part)
        assert (boxes.first.spec.drained, boxes.first.drained_by) == (False, None)

    run(body)
