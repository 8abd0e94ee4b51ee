"""The life of temporary lines: ordered by two people, made, in service, ended; with box, place and quota."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.core.clock import to_text
from app.core.errors import DomainError
from app.core.ids import LineId
from fsb_gateway.error import FsbUnavailable
from tenancy.errors import ContractNotFound, OperationRunning
from tenancy.line.errors import ContractOfLine, LineLast, LineStateUnfit
from tenancy.line.plan import ADD_LINE, REMOVE_LINE
from tenancy.operation.kind import OperationKind
from tests.integration.tenancy.box.rack import failing, killed_after
from tests.integration.tenancy.line.track import Track
from tests.service.crowd import at_once

THIRD = LineId("acme-3")


def failing_line(step: str) -> Callable[[OperationKind], OperationKind]:
    """A step of lines that cannot be carried out; a box has one of that name, too."""
    fail = failing(step, FsbUnavailable("away"))
    return lambda kind: fail(kind) if kind.plan is ADD_LINE else kind


def test_temporary_line_has_its_box_key_server_and_quota_and_is_in_service(track: Track) -> None:
    acme = track.instance()
    assert track.quota(acme) == 50_000
    before = set(track.servers(acme))
    asked = track.order(acme, ends_at=track.after(days=3))
    assert track.quota(acme) == 75_000, "contracted from the moment on that it was approved for"
    done = track.end(asked)
    assert (done.state, done.object_id) == ("succeeded", THIRD)
    assert track.front(acme)[THIRD].in_service
    assert track.holders(acme) == {"acme-box-1", "acme-box-2", "acme-box-3"}
    assert not track.is_drained("acme-box-3")
    (added,) = set(track.servers(acme)) - before
    assert added
    assert [each.type for each in track.line_events(acme)] == [
        "instance.line_ordered",
        "instance.line_started",
        "instance.line_opened",
    ]


def test_line_ends_by_itself_and_its_box_place_and_row_with_it_but_not_the_months_quota(track: Track) -> None:
    acme = track.instance()
    servers = track.servers(acme)
    track.temporary(acme, days=3)
    assert track.lines.end_due() == 0
    track.world.clock.advance(timedelta(days=3))
    assert track.lines.end_due() == 1
    assert track.ended(THIRD).state == "succeeded"
    assert set(track.front(acme)) == {"acme-1", "acme-2"}
    assert track.holders(acme) == {"acme-box-1", "acme-box-2"}
    assert track.servers(acme) == servers
    assert track.quota(acme) == 75_000, "the most lines of the month count"
    track.world.clock.advance(timedelta(days=31))
    assert track.quota(acme) == 50_000
    assert track.lines.end_due() == 0


def test_line_that_is_ended_early_is_not_contracted_any_longer(track: Track) -> None:
    acme = track.instance()
    track.temporary(acme, days=60)
    track.world.clock.advance(timedelta(days=2))
    track.lines.end_line(acme.instance_id, THIRD)
    assert track.ended(THIRD).state == "succeeded"
    assert track.quota(acme) == 75_000
    track.world.clock.advance(timedelta(days=28))
    assert track.quota(acme) == 50_000, "without the early end it would still be there"
    rows = [each.contract for each in track.world.contracts.list_contracts(acme.instance_id)]
    (row,) = [each for each in rows if each.kind == "temporary_lines"]
    assert row.effective_until is not None
    assert row.effective_until < track.world.clock.now()


def test_line_that_is_ordered_ahead_is_made_shortly_before_and_counts_from_its_start_on(track: Track) -> None:
    acme = track.instance()
    starts_at = track.after(days=40)
    asked = track.order(acme, starts_at=starts_at, ends_at=starts_at + timedelta(days=2))
    track.run()
    assert set(track.front(acme)) == {"acme-1", "acme-2"}
    assert track.quota(acme) == 50_000
    track.world.clock.set(starts_at - timedelta(minutes=5))
    track.sweeper.sweep()
    for _ in range(10):
        track.run()
        track.world.clock.advance(timedelta(seconds=2))
    assert not track.front(acme)[THIRD].in_service, "its process is there, and it has not started"
    assert track.holders(acme) == {"acme-box-1", "acme-box-2", "acme-box-3"}
    assert track.end(asked).state == "succeeded"
    assert track.world.clock.now() >= starts_at
    assert track.front(acme)[THIRD].in_service
    assert track.quota(acme) == 75_000


def test_line_that_is_cancelled_before_it_starts_leaves_nothing(track: Track) -> None:
    acme = track.instance()
    servers = track.servers(acme)
    asked = track.order(acme, starts_at=track.after(days=40), ends_at=track.after(days=50))
    track.run()
    track.operations.cancel(asked, reason="the customer does not want it")
    assert track.end(asked).state == "recovered"
    assert track.servers(acme) == servers
    assert len(track.world.contracts.list_contracts(acme.instance_id)) == 1
    track.world.clock.advance(timedelta(days=45))
    assert track.quota(acme) == 50_000
    assert track.temporary(acme) == THIRD, "its number can be had again"


@pytest.mark.parametrize("step", ["start_line", "open"])
def test_line_that_cannot_be_made_leaves_nothing(track: Track, step: str) -> None:
    acme = track.instance()
    servers = track.servers(acme)
    asked = track.order(acme, ends_at=track.after(days=3))
    for _ in range(30):
        track.run(failing_line(step))
        track.world.clock.advance(timedelta(seconds=1))
    track.operations.recover(asked)
    assert track.end(asked).state == "recovered"
    assert set(track.front(acme)) == {"acme-1", "acme-2"}
    assert track.servers(acme) == servers
    assert track.holders(acme) == {"acme-box-1", "acme-box-2"}
    assert len(track.lines.list_lines(acme.instance_id)) == 2


@pytest.mark.parametrize("step", [*ADD_LINE.names, *REMOVE_LINE.names])
def test_killed_in_any_step_it_is_carried_to_its_end_once(track: Track, step: str) -> None:
    acme = track.instance()
    asked = track.order(acme, ends_at=track.after(days=3))
    if step in ADD_LINE.names:
        with pytest.raises(BaseExceptionGroup):
            track.end_killed(killed_after(step))
    assert track.end(asked).state == "succeeded"
    track.lines.end_line(acme.instance_id, THIRD)
    if step in REMOVE_LINE.names:
        with pytest.raises(BaseExceptionGroup):
            track.end_killed(killed_after(step))
    assert track.ended(THIRD).state == "succeeded"
    assert set(track.front(acme)) == {"acme-1", "acme-2"}
    kinds = [each.type for each in track.line_events(acme)]
    assert len(kinds) == len(set(kinds)), kinds
    assert track.holders(acme) == {"acme-box-1", "acme-box-2"}


def test_line_finishes_what_it_has_before_it_is_stopped(track: Track) -> None:
    acme = track.instance()
    track.temporary(acme)
    track.running[THIRD] = 2
    track.lines.end_line(acme.instance_id, THIRD)
    for _ in range(10):
        track.run()
        track.world.clock.advance(timedelta(seconds=1))
    assert not track.front(acme)[THIRD].in_service
    (operation,) = track.operations.list_operations(object_id=THIRD, state="running")
    assert operation.step.name == "wait_idle"
    assert operation.step.waiting_for == "2 requests are still under way"
    track.running[THIRD] = 0
    assert track.ended(THIRD).state == "succeeded"


def test_end_waits_for_the_process_to_be_gone(track: Track) -> None:
    acme = track.instance()
    track.temporary(acme)
    track.held_back.add(THIRD)
    track.lines.end_line(acme.instance_id, THIRD)
    for _ in range(10):
        track.run()
        track.world.clock.advance(timedelta(seconds=1))
    (operation,) = track.operations.list_operations(object_id=THIRD, state="running")
    assert operation.step.name == "stop_line"
    assert "acme-box-3" in track.holders(acme)
    track.held_back.clear()
    assert track.ended(THIRD).state == "succeeded"


def test_temporary_line_that_alone_takes_requests_goes_on_until_another_one_does(
    track: Track, caplog: pytest.LogCaptureFixture
) -> None:
    acme = track.instance()
    track.temporary(acme, days=1)
    for name in ("acme-1", "acme-2"):
        track.lines.drain_line(acme.instance_id, LineId(name), by="staff")
    with pytest.raises(LineLast):
        track.lines.end_line(acme.instance_id, THIRD)
    track.world.clock.advance(timedelta(days=2))
    for _ in range(3):
        assert track.lines.end_due() == 0
    assert [each.message for each in caplog.records].count("line_not_ended") == 1
    assert track.front(acme)[THIRD].in_service
    track.lines.restore_line(acme.instance_id, LineId("acme-1"))
    assert track.lines.end_due() == 1
    assert track.ended(THIRD).state == "succeeded"


def test_end_that_is_cancelled_leaves_the_line_in_service(track: Track) -> None:
    acme = track.instance()
    track.temporary(acme, days=3)
    track.running[THIRD] = 1
    done = track.lines.end_line(acme.instance_id, THIRD)
    for _ in range(3):
        track.run()
        track.world.clock.advance(timedelta(seconds=1))
    track.operations.cancel(done.value.operation_id, reason="still needed")
    assert track.end(done.value.operation_id).state == "recovered"
    assert track.front(acme)[THIRD].in_service
    assert track.quota(acme) == 75_000


def test_lines_without_processes_come_and_go_as_well(track: Track) -> None:
    track.embedded = True
    acme = track.instance()
    track.temporary(acme)
    assert track.front(acme)[THIRD].in_service
    track.lines.end_line(acme.instance_id, THIRD)
    assert track.ended(THIRD).state == "succeeded"
    assert set(track.front(acme)) == {"acme-1", "acme-2"}


def test_two_lines_that_start_at_the_same_instant_both_count(track: Track) -> None:
    acme = track.instance()
    starts_at = track.after(hours=1)
    for _ in range(2):
        track.order(acme, starts_at=starts_at, ends_at=starts_at + timedelta(days=1 + _))
    assert [line.line_id for line in track.lines.list_lines(acme.instance_id)][2:] == ["acme-3", "acme-4"]
    track.world.clock.set(starts_at + timedelta(seconds=1))
    assert track.quota(acme) == 100_000


@pytest.mark.parametrize(
    ("starts", "ends", "code"),
    [
        (None, timedelta(0), "line_period_unfit"),
        (None, timedelta(days=-1), "line_period_unfit"),
        (timedelta(days=2), timedelta(days=1), "line_period_unfit"),
        (timedelta(days=2), timedelta(days=2), "line_period_unfit"),
        (timedelta(minutes=-6), timedelta(days=1), "line_period_unfit"),
        (None, timedelta(days=400), "line_period_unfit"),
    ],
)
def test_period_that_makes_no_sense_is_refused(
    track: Track, starts: timedelta | None, ends: timedelta, code: str
) -> None:
    acme = track.instance()
    now = track.world.clock.now()
    asked = {
        "starts_at": None if starts is None else to_text(now + starts),
        "ends_at": to_text(now + ends),
    }
    with pytest.raises(DomainError) as refused:
        track.ask("addLine", acme.instance_id, {**asked})
    assert refused.value.code == code
    assert len(track.lines.list_lines(acme.instance_id)) == 2


@pytest.mark.parametrize("text", ["yesterday", "2027-01-01T00:00:00", "", None, 7])
def test_time_that_is_none_is_refused(track: Track, text: object) -> None:
    acme = track.instance()
    with pytest.raises(DomainError) as refused:
        track.ask("addLine", acme.instance_id, {"starts_at": None, "ends_at": text})  # type: ignore[dict-item]
    assert refused.value.code == "line_period_unfit"


@pytest.mark.parametrize("edition", ["datacenter", "dedicated", "high_performance"])
def test_edition_with_a_fixed_number_of_lines_has_no_temporary_ones(track: Track, edition: str) -> None:
    acme = track.instance("acme", edition)
    with pytest.raises(DomainError) as refused:
        track.order(acme, ends_at=track.after(days=1))
    assert refused.value.code == "line_edition_unfit"


def test_start_that_has_passed_while_the_order_waited_is_now(track: Track) -> None:
    acme = track.instance()
    asked = {"starts_at": to_text(track.after(hours=1)), "ends_at": to_text(track.after(hours=9))}
    approval = track.ask("addLine", acme.instance_id, {**asked})
    track.world.clock.advance(timedelta(hours=2))
    track.approve(approval)
    (line,) = [each for each in track.lines.list_lines(acme.instance_id) if each.is_temporary]
    assert line.starts_at == track.world.clock.now()


def test_order_that_waited_until_after_its_end_is_refused_when_it_is_approved(track: Track) -> None:
    acme = track.instance()
    asked = {"starts_at": None, "ends_at": to_text(track.after(hours=1))}
    approval = track.ask("addLine", acme.instance_id, {**asked})
    track.world.clock.advance(timedelta(hours=2))
    with pytest.raises(DomainError) as refused:
        track.approve(approval)
    assert refused.value.code == "line_period_unfit"
    assert track.quota(acme) == 50_000


def test_permanent_line_is_not_ended(track: Track) -> None:
    acme = track.instance()
    with pytest.raises(LineStateUnfit):
        track.lines.end_line(acme.instance_id, LineId("acme-1"))


def test_line_that_is_being_made_is_neither_drained_nor_ended(track: Track) -> None:
    acme = track.instance()
    track.order(acme, starts_at=track.after(days=2), ends_at=track.after(days=3))
    with pytest.raises(LineStateUnfit):
        track.lines.drain_line(acme.instance_id, THIRD, by="staff")
    with pytest.raises(OperationRunning):
        track.lines.end_line(acme.instance_id, THIRD)


def test_contract_row_of_a_line_goes_with_the_line_only(track: Track) -> None:
    acme = track.instance()
    track.order(acme, starts_at=track.after(days=2), ends_at=track.after(days=3))
    (line,) = [each for each in track.lines.list_lines(acme.instance_id) if each.is_temporary]
    assert line.contract_id is not None
    with pytest.raises(ContractOfLine):
        track.world.contracts.withdraw_contract(acme.instance_id, track.contract_id(line))
    with pytest.raises(ContractNotFound):
        track.world.contracts.withdraw_contract(acme.instance_id, track.contract_id(line, "x"))


def test_two_ends_at_once_are_one(track: Track) -> None:
    acme = track.instance()
    track.temporary(acme)
    answers = at_once(2, lambda _: track.lines.end_line(acme.instance_id, THIRD))
    assert [type(each).__name__ for each in answers if isinstance(each, DomainError)] in (
        ["OperationRunning"],
        ["LineStateUnfit"],
    )
    assert track.ended(THIRD).state == "succeeded"


def test_line_whose_instance_has_ended_ends_with_it(track: Track) -> None:
    acme = track.instance()
    track.temporary(acme, days=60)
    track.set_state(acme, "ended")
    assert track.lines.end_due() == 1
    assert track.ended(THIRD).state == "succeeded"
