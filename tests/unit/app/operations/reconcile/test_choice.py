"""What is done at once, what is left to others, what waits and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.operations.reconcile.flood import flooded_kinds
from app.operations.reconcile.observation import Evidence, Observation
from app.operations.reconcile.past import Past, Tried, look
from tests.unit.app.operations.reconcile.scene import NOW, RAILS, SICK, WELL, decide, part, plan, sick

TWIN = part("acme-2")
OUT: dict[str, Any] = {"in_service": False, "taken_out_by": "reconciler"}
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
KEY = "line:acme-1"


def tried(*actions: tuple[Any, timedelta, Any]) -> tuple[Tried, ...]:
    return tuple(Tried(at=NOW - ago, action=action, outcome=outcome) for action, ago, outcome in actions)


def past(*actions: tuple[Any, timedelta, Any], **values: Any) -> dict[str, Past]:
    return {KEY: replace(Past(**values), tried=tried(*actions))}


def waits(observation: Observation, *others: Observation, **values: Any) -> tuple[str, str, datetime | None]:
    """Reason, scope and end of a decision to do nothing."""
    found = plan(observation, *others, **values)[observation.subject.key]
    assert found.action == "none"
    return found.reason, found.scope, found.until


@pytest.mark.parametrize(
    ("others", "values"),
    [
        ([], {}),
        ([sick("acme-2")], {}),
        ([part("acme-2", "bad", "ok")], {}),
        ([part("acme-2", in_service=False)], {}),
        ([part("acme-2", is_changing=True)], {}),
        # Too much is sick for anything else.
        ([sick("acme-2"), sick("beta-1", group="beta"), sick("beta-2", group="beta")], {}),
        # A person was called.
        ([], {"past": past(ok_since=NOW, is_frozen=True, called_at=NOW - MINUTE)}),
        # It has just become well, and it came and went before.
        ([], {"past": past(*(("take_out", 9 * MINUTE, "met") for _ in range(4)), ok_since=NOW)}),
        ([], {"watching_since": NOW}),
        ([], {"acted": [NOW - SECOND] * 20}),
    ],
)
def test_line_that_is_well_comes_back_at_once_if_nobody_else_serves(
    others: list[Observation], values: dict[str, Any]
) -> None:
    assert decide(part("acme-1", **OUT), *others, **values) == ("put_back", "nobody_else_serves")


@pytest.mark.parametrize(
    ("values", "seen", "reason"),
    [
        ({"pauses": {"group:acme": None}}, {}, "paused"),
        ({"has_lease": False}, {}, "no_lease"),
        ({}, {"is_changing": True}, "change_under_way"),
        ({}, {"taken_out_by": "staff"}, "taken_out_by_others"),
    ],
)
def test_only_people_operations_and_another_healer_keep_it_from_coming_back(
    values: dict[str, Any], seen: dict[str, Any], reason: str
) -> None:
    assert decide(part("acme-1", **{**OUT, **seen}), **values) == ("none", reason)


def test_coming_back_that_fails_is_tried_again_soon_and_a_person_is_told_once() -> None:
    back = part("acme-1", **OUT)
    assert waits(back, past=past(("put_back", SECOND, "failed")))[::2] == ("recovering", NOW + 5 * SECOND)
    assert decide(back, past=past(("put_back", 7 * SECOND, "failed")))[0] == "put_back"
    thrice = tuple(("put_back", ago * SECOND, "failed") for ago in (90, 60, 31))
    assert decide(back, past=past(*thrice)) == ("call_human", "nothing_can_be_done")
    assert decide(back, past=past(*thrice, is_frozen=True))[0] == "put_back"


def test_line_that_an_operation_is_changing_is_not_put_back_either() -> None:
    assert decide(part("acme-1", is_changing=True, **OUT), TWIN) == ("none", "change_under_way")
    assert decide(part("acme-1", is_changing=True), TWIN) == ("none", "healthy")


def test_twin_that_an_operation_is_changing_stands_in_for_nobody() -> None:
    assert decide(sick("acme-1"), replace(TWIN, is_changing=True)) == ("restart", "last_of_its_group")


def test_what_somebody_else_has_put_back_is_not_taken_out_again_until_it_was_well() -> None:
    overruled = replace(SICK, bad_since=NOW - 2 * MINUTE, overruled_since=NOW - MINUTE)
    assert waits(sick("acme-1"), TWIN, past={KEY: overruled}) == ("overruled", KEY, NOW + 4 * MINUTE)
    late = replace(overruled, bad_since=NOW - 9 * MINUTE, overruled_since=NOW - 6 * MINUTE)
    assert decide(sick("acme-1"), TWIN, past={KEY: late}) == ("call_human", "overruled")
    assert look(overruled, sick("acme-1"), now=NOW).overruled_since is not None
    was_well = look(overruled, part("acme-1"), now=NOW)
    assert was_well.overruled_since is None
    again = look(was_well, sick("acme-1"), now=NOW)
    assert (
        decide(sick("acme-1"), TWIN, past={KEY: replace(again, bad_since=NOW - 3 * SECOND)})[0] == "take_out"
    )


def test_line_that_comes_and_goes_is_taken_out_four_times_an_hour() -> None:
    takes = tuple(("take_out", minute * MINUTE, "met") for minute in (50, 40, 30, 20))
    bad = NOW - MINUTE
    assert decide(sick("acme-1"), TWIN, past=past(*takes[1:], bad_since=bad)) == ("take_out", "sick")
    assert decide(sick("acme-1"), TWIN, past=past(*takes, bad_since=bad)) == ("call_human", "too_often")


def test_third_cure_has_its_time_while_the_runner_starts_the_line() -> None:
    """It has been sick for long by then; that says nothing about the last cure."""
    starting = sick("acme-1", is_healing=True, **OUT)
    three = (("restart", 12 * MINUTE, "not_met"), ("replace", 6 * MINUTE, "not_met"))
    bad = NOW - 13 * MINUTE
    just = past(*three, ("replace", 2 * SECOND, "open"), bad_since=bad)
    assert waits(starting, TWIN, past=just) == ("being_healed", KEY, NOW + 5 * MINUTE - 2 * SECOND)
    late = past(*three, ("replace", 5 * MINUTE, "not_met"), bad_since=bad)
    assert decide(starting, TWIN, past=late) == ("call_human", "healed_in_vain")
    # It is there, and still sick.
    there = replace(starting, is_healing=False)
    assert waits(there, TWIN, past=just)[0] == "recovering"
    done = past(*three, ("replace", 31 * SECOND, "not_met"), bad_since=bad)
    assert decide(there, TWIN, past=done) == ("call_human", "too_often")


def test_cure_that_could_not_be_carried_out_has_not_been_tried() -> None:
    ill = sick("acme-1", **OUT)

    def after(*actions: tuple[Any, timedelta, Any]) -> tuple[str, str]:
        return decide(ill, TWIN, past=past(*actions, bad_since=NOW - MINUTE))

    assert after(("restart", 10 * SECOND, "failed")) == ("none", "recovering")
    assert after(("restart", 31 * SECOND, "failed")) == ("restart", "sick")
    thrice = tuple(("restart", ago * SECOND, "failed") for ago in (100, 66, 31))
    assert after(*thrice) == ("call_human", "nothing_can_be_done")
    assert after(("restart", MINUTE, "not_met"), ("replace", 31 * SECOND, "failed")) == (
        "replace",
        "sick_after_restart",
    )


def test_line_under_a_cure_is_not_taken_out_before_that_had_its_time() -> None:
    cured = past(("restart", 5 * SECOND, "open"), bad_since=NOW - MINUTE)
    assert waits(sick("acme-1"), TWIN, past=cured) == ("recovering", KEY, NOW + 25 * SECOND)
    helped = past(("restart", 15 * SECOND, "met"), bad_since=NOW - 5 * SECOND)
    assert decide(sick("acme-1"), TWIN, past=helped) == ("take_out", "sick")


def test_doubt_about_a_line_that_the_healer_has_taken_out_ends_with_a_person() -> None:
    doubt = part("acme-1", "bad", "ok", **OUT)
    began = NOW - 4 * MINUTE
    assert waits(doubt, TWIN, past=past(doubt_since=began)) == ("in_doubt", KEY, began + RAILS.healing_most)
    assert decide(doubt, TWIN, past=past(doubt_since=NOW - 5 * MINUTE)) == ("call_human", "in_doubt")
    serving = part("acme-1", "bad", "ok")
    assert waits(serving, TWIN, past=past(doubt_since=NOW - 5 * MINUTE)) == ("in_doubt", KEY, None)


def test_what_is_done_to_all_parts_together_has_a_rate() -> None:
    acted = [NOW - timedelta(seconds=each) for each in (90, 50, 40, 30, 20, 10)]
    assert decide(sick("acme-1"), TWIN, acted=acted)[0] == "take_out"
    full = [*acted, NOW - 5 * SECOND]
    assert waits(sick("acme-1"), TWIN, acted=full) == ("too_much_done", "all", NOW + 10 * SECOND)
    well = [part(f"x-{number}", group="x") for number in range(30)]
    ill = [
        each for name in "abcdefgh" for each in (sick(f"{name}-1", group=name), part(f"{name}-2", group=name))
    ]
    found = [each.action for each in plan(*ill, *well, acted=acted[:3]).values() if each.action != "none"]
    assert found == ["take_out"] * 4
    # A person is called all the same.
    front = sick("lb1", kind="front", group="fronts")
    assert decide(front, acted=[NOW] * 20)[0] == "call_human"


@pytest.mark.parametrize("scope", ["all", "line:*", "group:acme", "line:acme-1"])
def test_pause_is_named_with_its_scope_and_its_end(scope: str) -> None:
    until = NOW + MINUTE
    assert waits(sick("acme-1"), TWIN, pauses={scope: until}) == ("paused", scope, until)


def test_every_wait_says_what_for_and_until_when() -> None:
    since = NOW - 2 * SECOND
    assert waits(sick("acme-1"), TWIN, watching_since=since) == ("warming_up", "all", since + 5 * SECOND)
    assert waits(sick("acme-1"), TWIN, has_lease=False) == ("no_lease", "all", None)
    short = past(bad_since=since)
    assert waits(sick("acme-1"), TWIN, past=short) == ("not_long_enough", KEY, since + RAILS.patience)
    assert waits(sick("acme-1"), sick("acme-2")) == ("too_many_sick", "line:*", None)
    many = [part(f"acme-{number}") for number in range(3, 9)]
    assert waits(sick("acme-1"), sick("acme-2", **OUT), *many) == ("one_at_a_time", "group:acme", None)
    settling = past(ok_since=NOW - SECOND)
    back = part("acme-1", **OUT)
    assert waits(back, TWIN, past=settling) == ("not_long_enough", KEY, NOW + 4 * SECOND)
    assert waits(back, TWIN, past={KEY: replace(WELL, is_frozen=True)}) == ("frozen", KEY, None)


def test_what_people_have_taken_out_makes_no_flood() -> None:
    theirs: dict[str, Any] = {"in_service": False, "taken_out_by": "staff"}
    seen = [sick("acme-1"), TWIN, sick("beta-1", group="beta", **theirs), part("beta-2", group="beta")]
    assert flooded_kinds(seen, RAILS) == frozenset()
    assert decide(*seen)[0] == "take_out"


def test_who_know_it_from_the_same_source_are_one_witness() -> None:
    def seen(*said: tuple[str, Any, str]) -> str:
        evidence = tuple(
            Evidence(witness=who, verdict=verdict, source=source) for who, verdict, source in said
        )
        return replace(part("acme-1"), evidence=evidence).verdict

    runner, readiness = ("runner", "bad", "process"), ("readiness", "bad", "process")
    assert seen(runner, readiness) == "unknown"
    assert seen(runner, readiness, ("lb1", "bad", "")) == "bad"
    assert seen(("lb1", "bad", ""), ("lb2", "bad", "")) == "bad"
    assert seen(runner, ("readiness", "ok", "process"), ("lb1", "bad", "")) == "unknown"
    assert seen(runner, ("lb1", "unknown", "")) == "unknown"
