"""What always holds of a plan, whatever is seen."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from app.operations.reconcile.flood import flooded_kinds, observe_kinds
from app.operations.reconcile.observation import Observation, Verdict
from app.operations.reconcile.past import DISRUPTIVE, NO_PAST, Past, Tried, judge, look
from app.operations.reconcile.plan import Situation, make_plan
from tests.unit.app.operations.reconcile.scene import LONG_AGO, NOW, RAILS, part

_VERDICT: st.SearchStrategy[Verdict] = st.sampled_from(["ok", "bad", "unknown"])
_AGO = st.integers(0, 3700).map(lambda seconds: NOW - timedelta(seconds=seconds))
_TRIED = st.builds(
    Tried,
    at=_AGO,
    action=st.sampled_from(["take_out", "restart", "replace", "put_back"]),
    outcome=st.sampled_from(["open", "met", "not_met", "failed"]),
)
_PAST = st.builds(
    Past,
    bad_since=st.none() | _AGO,
    ok_since=st.none() | _AGO,
    tried=st.lists(_TRIED, max_size=5).map(lambda each: tuple(sorted(each, key=lambda one: one.at))),
    is_frozen=st.booleans(),
    called_at=st.none() | _AGO,
)


@st.composite
def observations(draw: st.DrawFn) -> list[Observation]:
    groups = [f"g{number}" for number in range(draw(st.integers(1, 6)))]
    found = []
    for group in groups:
        for number in range(draw(st.integers(1, 4))):
            by = draw(st.sampled_from([None, None, "reconciler", "staff"]))
            seen = part(
                f"{group}-{number}",
                *draw(st.lists(_VERDICT, min_size=1, max_size=3)),
                group=group,
                in_service=by is None and draw(st.sampled_from([True, True, True, False])),
                taken_out_by=by,
                is_healing=draw(st.booleans()),
                is_changing=draw(st.sampled_from([False, False, False, True])),
            )
            found.append(seen)
    return found


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    seen = draw(observations())
    keys = [each.subject.key for each in seen]
    scopes = ["all", *keys, *(f"group:{each.subject.group}" for each in seen)]
    return Situation(
        now=NOW,
        observations=[*seen, *observe_kinds(seen, RAILS)],
        past={key: draw(_PAST) for key in keys if draw(st.booleans())},
        paused=frozenset(draw(st.lists(st.sampled_from(scopes), max_size=2))),
        watching_since=draw(st.sampled_from([LONG_AGO, LONG_AGO, LONG_AGO, NOW, None])),
        has_lease=draw(st.sampled_from([True, True, True, False])),
    )


@settings(max_examples=400, deadline=None)
@given(situations())
def test_rails_hold(situation: Situation) -> None:
    by_key = {each.subject.key: each for each in situation.observations}
    decisions = make_plan(situation)
    assert [each.subject.key for each in decisions] == sorted(by_key)
    acting = [each for each in decisions if each.action != "none"]
    disruptive = [each for each in decisions if each.action in DISRUPTIVE]
    assert max(Counter(each.subject.group for each in disruptive).values(), default=0) <= 1
    if not situation.has_lease or situation.watching_since != LONG_AGO:
        assert acting == []
    flooded = flooded_kinds(situation.observations, RAILS)
    for decision in acting:
        seen, past = by_key[decision.subject.key], situation.past.get(decision.subject.key, NO_PAST)
        assert seen.verdict != "unknown"
        assert not situation.paused & {"all", seen.subject.key, f"group:{seen.subject.group}"}
        assert seen.taken_out_by in (None, "reconciler")
        assert not past.is_frozen
        if decision.action in DISRUPTIVE:
            assert seen.verdict == "bad"
            assert seen.subject.kind not in flooded
            assert past.bad_for(NOW) >= RAILS.patience
            assert not seen.is_changing
        if decision.action == "take_out":
            rest = [each for each in by_key.values() if each.subject.group == seen.subject.group]
            assert any(each.in_service and each.verdict == "ok" for each in rest if each != seen)
        if decision.action in ("restart", "replace"):
            cures = [each for each in past.tried if each.action in ("restart", "replace")]
            assert len(cures) < RAILS.most_an_hour
            assert all(NOW - each.at >= RAILS.recovery for each in cures)


@settings(max_examples=300, deadline=None)
@given(situations())
def test_planning_again_after_acting_is_empty(situation: Situation) -> None:
    """The actions have been begun, and what they change at once is seen; the sick are still sick."""
    decisions = make_plan(situation)
    past, seen = dict(situation.past), {each.subject.key: each for each in situation.observations}
    for each in decisions:
        key = each.subject.key
        if each.action == "none":
            continue
        past[key] = past.get(key, NO_PAST).after(each.action, now=NOW)
        if each.action == "take_out":
            # What follows is the next step of the same part.
            past[key] = replace(past[key], bad_since=None)
            seen[key] = replace(seen[key], in_service=False, taken_out_by="reconciler")
        if each.action == "put_back":
            seen[key] = replace(seen[key], in_service=True, taken_out_by=None)
    again = make_plan(replace(situation, past=past, observations=list(seen.values())))
    acted = {each.subject.key for each in decisions if each.action != "none"}
    assert [each for each in again if each.action != "none" and each.subject.key in acted] == []


class Fleet:
    """Three lines that are sick and well as a test says, and a healer that does what it plans."""

    def __init__(self) -> None:
        self.now: datetime = NOW
        self.past: dict[str, Past] = {}
        self.out: set[str] = set()
        self.begun: dict[str, tuple[str, datetime]] = {}
        self.log: list[tuple[datetime, str, str]] = []

    def turn(self, verdicts: list[Verdict], seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        seen = [
            part(
                str(number),
                verdict,
                verdict,
                in_service=f"line:{number}" not in self.out,
                taken_out_by="reconciler" if f"line:{number}" in self.out else None,
            )
            for number, verdict in enumerate(verdicts)
        ]
        for each in seen:
            key = each.subject.key
            self.past[key] = look(self.past.get(key, NO_PAST), each, now=self.now)
            if key in self.begun:
                action, at = self.begun[key]
                outcome = judge(action, at, each, now=self.now, rails=RAILS)  # type: ignore[arg-type]
                self.past[key] = self.past[key].ended(at, outcome)
        plan = make_plan(Situation(now=self.now, observations=seen, past=self.past, watching_since=LONG_AGO))
        for decision in plan:
            self._do(decision.subject.key, decision.action)

    def _do(self, key: str, action: str) -> None:
        if action == "none":
            return
        self.past[key] = self.past[key].after(action, now=self.now)  # type: ignore[arg-type]
        self.log.append((self.now, key, action))
        self.begun[key] = (action, self.now)
        if action == "take_out":
            self.out.add(key)
        if action == "put_back":
            self.out.discard(key)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(_VERDICT, min_size=3, max_size=3), st.integers(1, 120)), min_size=10, max_size=80
    )
)
def test_over_time_rates_are_kept_and_somebody_stays_in_service(
    story: list[tuple[list[Verdict], int]],
) -> None:
    fleet = Fleet()
    for verdicts, seconds in story:
        fleet.turn(verdicts, seconds)
        assert len(fleet.out) < 3
    for key in {key for _, key, _ in fleet.log}:
        cures = [at for at, part_, action in fleet.log if part_ == key and action in ("restart", "replace")]
        for first, fourth in zip(cures, cures[3:], strict=False):
            assert fourth - first > timedelta(hours=1)
        for before, after in itertools.pairwise(cures):
            assert after - before >= RAILS.recovery
