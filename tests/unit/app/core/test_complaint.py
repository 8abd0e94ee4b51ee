from __future__ import annotations

from datetime import timedelta

from app.core.complaint import AGAIN_SECONDS, Complaints
from tests.fake.clock import FakeClock


def test_same_complaint_is_told_at_once_and_once_a_minute_with_how_often_it_was() -> None:
    clock = FakeClock()
    complaints = Complaints(clock=clock)
    assert complaints.note("away") == 1
    assert [complaints.note("away") for _ in range(5)] == [None] * 5
    clock.advance(timedelta(seconds=AGAIN_SECONDS))
    assert complaints.note("away") == 6
    assert complaints.note("away") is None


def test_another_complaint_is_told_beside_it() -> None:
    complaints = Complaints(clock=FakeClock())
    assert [complaints.note(what) for what in ("away", "refused", "away", "refused")] == [1, 1, None, None]


def test_after_it_went_well_the_same_is_new() -> None:
    complaints = Complaints(clock=FakeClock())
    assert not complaints.end()
    complaints.note("away")
    complaints.note("away")
    assert complaints.end()
    assert not complaints.end()
    assert complaints.note("away") == 1


def test_words_that_are_new_each_time_fill_no_memory() -> None:
    complaints = Complaints(clock=FakeClock())
    assert all(complaints.note(f"away {number}") == 1 for number in range(1000))
    assert len(complaints._told_at) <= 100
