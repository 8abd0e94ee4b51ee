"""What is told of boxes and pools: once for each change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fsb_gateway.report import BoxReport, PoolReport
from tenancy.box.watch import Seen, compare
from tests.unit.tenancy.box.material import NOW, pool, report


class Diary:
    """Stores what is seen as the platform database does."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.now = NOW

    def look(self, boxes: Sequence[BoxReport] = (), pools: Sequence[PoolReport] = ()) -> list[str]:
        self.now += timedelta(seconds=1)
        told = []
        for sighting in compare(boxes, pools, self.seen, now=self.now):
            self.seen[sighting.seen.subject] = sighting.seen
            told += [kind for kind, _, _ in sighting.events]
        return told


def test_box_that_is_well_leaves_no_trace() -> None:
    diary = Diary()
    for condition in ("ready", "starting", "ready", "drained", "ready"):
        assert diary.look([report(condition=condition)]) == []
    assert diary.seen == {}


def test_each_change_of_condition_is_told_once_with_how_it_was() -> None:
    diary = Diary()
    told = []
    for condition in (
        "out",
        "out",
        "starting",
        "out",
        "token_pin_wrong",
        "token_pin_wrong",
        "ready",
        "ready",
    ):
        told += diary.look([report(condition=condition)])
    assert told == ["box.condition_changed"] * 3
    (sighting,) = compare([report(condition="out", error="box_failed")], (), diary.seen, now=NOW)
    ((kind, data, before),) = sighting.events
    assert (kind, data["condition"], data["error"], before) == (
        "box.condition_changed",
        "out",
        "box_failed",
        {"condition": "ready"},
    )


def test_transactions_are_warned_of_once_and_again_after_loading() -> None:
    diary = Diary()
    told = []
    for low in (False, True, True, False, True):
        told += diary.look([report(transactions="standard", transactions_left=7, transactions_low=low)])
    assert told == ["box.transactions_low", "box.transactions_enough", "box.transactions_low"]


def test_warning_does_not_move_the_time_of_the_condition() -> None:
    diary = Diary()
    diary.look([report(condition="out")])
    since = diary.seen["box:shared-box-1"].since
    assert diary.look([report(condition="out", transactions_low=True)]) == ["box.transactions_low"]
    assert diary.seen["box:shared-box-1"].since == since


def test_pool_without_a_box_is_told_with_its_reason_and_when_it_works_again() -> None:
    diary = Diary()
    empty = pool(ready_boxes=0, reason="box_disconnected")
    told = diary.look((), [pool()]) + diary.look((), [empty]) + diary.look((), [empty])
    told += diary.look((), [pool(ready_boxes=0, reason="pool_drained")]) + diary.look((), [pool()])
    assert told == ["pool.without_box", "pool.without_box", "pool.working"]
