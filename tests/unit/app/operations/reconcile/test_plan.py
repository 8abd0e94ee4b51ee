"""What is done about what is seen: a table of situations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.operations.reconcile.flood import observe_kinds
from app.operations.reconcile.observation import Observation
from app.operations.reconcile.past import Past, Tried, judge, look
from tests.unit.app.operations.reconcile.scene import (
    NOW,
    RAILS,
    SICK,
    WELL,
    decide,
    evidence,
    part,
    plan,
    sick,
)

TWIN = part("acme-2")
OUT: dict[str, Any] = {"in_service": False, "taken_out_by": "reconciler"}
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def tried(*actions: tuple[Any, timedelta, Any]) -> tuple[Tried, ...]:
    return tuple(Tried(at=NOW - ago, action=action, outcome=outcome) for action, ago, outcome in actions)


@pytest.mark.parametrize(
    ("said", "witnesses", "verdict"),
    [
        (("ok", "ok"), 2, "ok"),
        (("ok",), 2, "ok"),
        (("bad", "bad"), 2, "bad"),
        (("bad", "bad", "unknown"), 3, "bad"),
        (("bad", "bad", "ok"), 3, "unknown"),
        (("bad", "unknown"), 2, "unknown"),
        (("bad",), 1, "bad"),
        (("unknown", "unknown"), 2, "unknown"),
        ((), 2, "unknown"),
    ],
)
def test_verdict_needs_two_who_say_bad_and_nobody_who_says_otherwise(
    said: tuple[Any, ...], witnesses: int, verdict: str
) -> None:
    assert replace(part("acme-1"), evidence=evidence(*said), witnesses=witnesses).verdict == verdict


def test_healthy_part_is_left_alone() -> None:
    assert decide(part("acme-1"), TWIN) == ("none", "healthy")


def test_sick_part_is_taken_out_while_another_serves() -> None:
    assert decide(sick("acme-1"), TWIN) == ("take_out", "sick")


def test_sick_part_that_is_out_is_restarted() -> None:
    assert decide(sick("acme-1", **OUT), TWIN) == ("restart", "sick")


def test_last_one_is_restarted_where_it_is() -> None:
    assert decide(sick("acme-1")) == ("restart", "last_of_its_group")


def test_twin_that_is_in_doubt_or_without_weight_stands_in_for_nobody() -> None:
    assert decide(sick("acme-1"), part("acme-2", "bad", "ok")) == ("restart", "last_of_its_group")
    assert decide(sick("acme-1"), part("acme-2", in_service=False)) == ("restart", "last_of_its_group")


def test_doubt_leads_to_nothing() -> None:
    assert decide(part("acme-1", "bad", "ok"), TWIN) == ("none", "in_doubt")
    assert decide(part("acme-1", "bad", "unknown"), TWIN) == ("none", "in_doubt")


def test_short_sickness_leads_to_nothing() -> None:
    past = {"line:acme-1": Past(bad_since=NOW - 2 * SECOND)}
    assert decide(sick("acme-1"), TWIN, past=past) == ("none", "not_long_enough")


def test_part_that_its_runner_starts_again_has_more_time_and_is_not_restarted() -> None:
    healing = sick("acme-1", is_healing=True)
    early = {"line:acme-1": Past(bad_since=NOW - 5 * SECOND)}
    assert decide(healing, TWIN, past=early) == ("none", "being_healed")
    assert decide(healing, TWIN) == ("take_out", "sick")
    assert decide(replace(healing, **OUT), TWIN) == ("none", "being_healed")
    for_long = {"line:acme-1": Past(bad_since=NOW - 6 * MINUTE)}
    assert decide(replace(healing, **OUT), TWIN, past=for_long) == ("call_human", "healed_in_vain")


def test_each_cure_has_its_time_and_the_next_follows() -> None:
    ill = sick("acme-1", **OUT)

    def after(*actions: tuple[Any, timedelta, Any]) -> tuple[str, str]:
        return decide(ill, TWIN, past={"line:acme-1": replace(SICK, tried=tried(*actions))})

    assert after(("restart", 10 * SECOND, "open")) == ("none", "recovering")
    first = ("restart", 40 * MINUTE, "not_met")
    assert after(("restart", 40 * SECOND, "not_met")) == ("replace", "sick_after_restart")
    assert after(first, ("replace", 4 * MINUTE, "not_met")) == ("none", "acted_lately")
    assert after(first, ("replace", 6 * MINUTE, "not_met")) == ("replace", "sick_after_restart")
    three = (first, ("replace", 20 * MINUTE, "not_met"))
    assert after(*three, ("replace", 10 * SECOND, "open")) == ("none", "recovering")
    assert after(*three, ("replace", 40 * SECOND, "not_met")) == ("call_human", "too_often")


def test_cure_that_helped_is_tried_again_after_a_pause_that_doubles() -> None:
    ill = sick("acme-1", **OUT)

    def after(*actions: tuple[Any, timedelta, Any]) -> tuple[str, str]:
        return decide(ill, TWIN, past={"line:acme-1": replace(SICK, tried=tried(*actions))})

    assert after(("restart", 4 * MINUTE, "met")) == ("none", "acted_lately")
    assert after(("restart", 6 * MINUTE, "met")) == ("restart", "sick_again")
    assert after(("restart", 40 * MINUTE, "met"), ("restart", 9 * MINUTE, "met")) == ("none", "acted_lately")
    assert after(("restart", 40 * MINUTE, "met"), ("restart", 11 * MINUTE, "met")) == (
        "restart",
        "sick_again",
    )


def test_well_again_it_is_put_back_after_a_while_that_doubles() -> None:
    back = part("acme-1", **OUT)
    just = {"line:acme-1": Past(ok_since=NOW - 2 * SECOND)}
    assert decide(back, TWIN, past=just) == ("none", "not_long_enough")
    assert decide(back, TWIN) == ("put_back", "healthy_again")
    takes = tuple(("take_out", minute * MINUTE, "met") for minute in (50, 40, 30, 20))
    flapping = Past(ok_since=NOW - 15 * SECOND, tried=tried(*takes[:3]))
    assert decide(back, TWIN, past={"line:acme-1": flapping}) == ("none", "not_long_enough")
    longer = replace(flapping, ok_since=NOW - 25 * SECOND)
    assert decide(back, TWIN, past={"line:acme-1": longer}) == ("put_back", "healthy_again")
    often = replace(longer, tried=tried(*takes))
    assert decide(back, TWIN, past={"line:acme-1": often}) == ("call_human", "too_often")


def test_part_that_others_took_out_is_theirs() -> None:
    for by in ("staff", "customer"):
        theirs: dict[str, Any] = {"in_service": False, "taken_out_by": by}
        assert decide(part("acme-1", **theirs), TWIN) == ("none", "taken_out_by_others")
        assert decide(sick("acme-1", **theirs), TWIN) == ("none", "taken_out_by_others")


def test_part_without_weight_is_healed_and_never_put_back() -> None:
    assert decide(sick("acme-1", in_service=False), TWIN) == ("restart", "sick")
    assert decide(part("acme-1", in_service=False), TWIN) == ("none", "healthy")


def test_part_under_change_is_not_touched() -> None:
    assert decide(sick("acme-1", is_changing=True), TWIN) == ("none", "change_under_way")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"has_lease": False}, "no_lease"),
        ({"watching_since": None}, "warming_up"),
        ({"watching_since": NOW - 4 * SECOND}, "warming_up"),
        ({"pauses": {"all": None}}, "paused"),
        ({"pauses": {"group:acme": None}}, "paused"),
        ({"pauses": {"line:acme-1": None}}, "paused"),
    ],
)
def test_what_holds_the_healer_back_is_said_beside_what_it_would_do(
    values: dict[str, Any], reason: str
) -> None:
    found = plan(sick("acme-1"), TWIN, **values)["line:acme-1"]
    assert (found.action, found.reason, found.wanted) == ("none", reason, "take_out")
    assert decide(TWIN, **values) == ("none", "healthy")


def test_pause_of_something_else_holds_nothing_back() -> None:
    assert decide(sick("acme-1"), TWIN, pauses={"line:acme-2": None, "group:beta": None})[0] == "take_out"


def test_second_sick_part_of_a_group_waits() -> None:
    many = [part(f"acme-{number}") for number in range(3, 9)]
    found = plan(sick("acme-1"), sick("acme-2"), *many)
    assert (found["line:acme-1"].action, found["line:acme-2"].reason) == ("take_out", "one_at_a_time")
    # The first one is out, and comes later by its name.
    found = plan(sick("acme-1"), sick("acme-2", **OUT), *many)
    assert (found["line:acme-1"].reason, found["line:acme-2"].action) == ("one_at_a_time", "restart")
    elsewhere = plan(sick("acme-1"), sick("beta-1", group="beta"), part("beta-2", group="beta"), *many)
    assert {elsewhere[key].action for key in ("line:acme-1", "line:beta-1")} == {"take_out"}


def test_frozen_part_holds_up_nobody_and_is_left_to_the_person() -> None:
    many = [part(f"acme-{number}") for number in range(3, 9)]
    frozen = replace(SICK, is_frozen=True, called_at=NOW - MINUTE)
    found = plan(sick("acme-1", **OUT), sick("acme-2"), *many, past={"line:acme-1": frozen})
    assert found["line:acme-1"].reason == "frozen"
    assert found["line:acme-2"].action == "take_out"
    well = part("acme-1", **OUT)
    assert decide(well, TWIN, past={"line:acme-1": replace(WELL, is_frozen=True)}) == ("none", "frozen")


def test_too_many_sick_at_once_stop_everything() -> None:
    assert decide(sick("acme-1"), sick("acme-2")) == ("none", "too_many_sick")
    few = [part(f"x-{number}", group="x") for number in range(20)]
    assert decide(sick("acme-1", group="a"), sick("beta-1", group="b"), *few)[0] == "restart"
    groups = [sick(f"{group}-{number}", group=group) for group in ("a", "b") for number in (1, 2)]
    assert decide(*groups, *few) == ("none", "too_many_sick")
    # Boxes do not count for lines.
    boxes = [sick(f"box-{number}", kind="box", group="pool") for number in range(3)]
    assert decide(sick("acme-1"), TWIN, *boxes)[0] == "take_out"


def test_flood_is_told_to_a_person_once() -> None:
    def tell(*seen: Observation, **past: Past) -> tuple[str, str]:
        whole = observe_kinds(seen, RAILS)
        return decide(*whole, *seen, past={"line:*": past.get("past", SICK)})

    assert tell(sick("acme-1"), sick("acme-2")) == ("call_human", "too_many_sick")
    just = Past(bad_since=NOW - SECOND)
    assert tell(sick("acme-1"), sick("acme-2"), past=just) == ("none", "not_long_enough")
    assert tell(sick("acme-1"), sick("acme-2"), past=replace(SICK, is_frozen=True)) == ("none", "frozen")
    assert tell(sick("acme-1"), TWIN) == ("none", "healthy")


def test_lines_that_start_and_lines_that_are_changed_are_no_flood() -> None:
    starting = [sick(f"acme-{number}", is_healing=True) for number in (1, 2)]
    (whole,) = observe_kinds(starting, RAILS)
    assert decide(whole, *starting, past={"line:*": SICK}) == ("none", "being_healed")
    for_long = Past(bad_since=NOW - 6 * MINUTE)
    assert decide(whole, *starting, past={"line:*": for_long}) == ("call_human", "too_many_sick")
    changing = [sick(f"acme-{number}", is_changing=True) for number in (1, 2)]
    (whole,) = observe_kinds(changing, RAILS)
    assert whole.verdict == "ok"
    assert whole.evidence[0].detail == "2 of 2 known are sick"


def test_part_that_nothing_can_be_done_about_is_a_persons() -> None:
    front = sick("lb1", kind="front", group="fronts")
    assert decide(front) == ("call_human", "nothing_can_be_done")
    box = sick("b1", kind="box", group="pool", may_leave=True)
    assert decide(box, part("b2", kind="box", group="pool")) == ("take_out", "sick")
    assert decide(replace(box, **OUT)) == ("call_human", "nothing_can_be_done")
    assert decide(box) == ("call_human", "last_of_its_group")


def test_person_who_has_released_a_part_is_not_called_about_the_same_at_once() -> None:
    front = sick("lb1", kind="front", group="fronts")
    lately = replace(SICK, called_at=NOW - 10 * MINUTE)
    assert decide(front, past={"front:lb1": lately}) == ("none", "acted_lately")
    long_ago = replace(SICK, called_at=NOW - 61 * MINUTE)
    assert decide(front, past={"front:lb1": long_ago})[0] == "call_human"


def test_what_cannot_be_carried_out_is_tried_rarely_and_then_a_persons() -> None:
    def after(*since: timedelta) -> tuple[str, str]:
        failed = tried(*(("take_out", ago, "failed") for ago in since))
        return decide(sick("acme-1"), TWIN, past={"line:acme-1": replace(SICK, tried=failed)})

    assert after(10 * SECOND) == ("none", "acted_lately")
    assert after(40 * SECOND) == ("take_out", "sick")
    assert after(3 * MINUTE, 2 * MINUTE, 40 * SECOND) == ("call_human", "nothing_can_be_done")


def test_doubt_ends_both_spans_and_an_hour_forgets_what_was_tried() -> None:
    old = tried(("restart", 61 * MINUTE, "met"), ("restart", 59 * MINUTE, "met"))
    past = look(replace(SICK, tried=old), part("acme-1", "bad", "ok"), now=NOW)
    assert (past.bad_since, past.ok_since, len(past.tried)) == (None, None, 1)
    bad = look(past, sick("acme-1"), now=NOW)
    assert bad.bad_since == NOW
    assert look(bad, sick("acme-1"), now=NOW + SECOND).bad_since == NOW


@pytest.mark.parametrize(
    ("action", "seen", "seconds", "outcome"),
    [
        ("take_out", sick("a", **OUT), 1, "met"),
        ("take_out", sick("a"), 1, "open"),
        ("take_out", sick("a"), 31, "not_met"),
        ("restart", part("a", **OUT), 1, "met"),
        ("restart", sick("a", **OUT), 31, "not_met"),
        ("replace", part("a", "bad", "ok"), 29, "open"),
        ("put_back", part("a"), 1, "met"),
        ("put_back", part("a", **OUT), 31, "not_met"),
    ],
)
def test_outcome_is_what_is_seen_afterwards(action: Any, seen: Any, seconds: int, outcome: str) -> None:
    begun = NOW - timedelta(seconds=seconds)
    assert judge(action, begun, seen, now=NOW, rails=RAILS) == outcome
