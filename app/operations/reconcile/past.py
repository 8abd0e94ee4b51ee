"""What has been with a part of the fleet, what was tried, and within which bounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from app.operations.reconcile.observation import Observation

Action = Literal["none", "take_out", "restart", "replace", "put_back", "call_human"]
Outcome = Literal["open", "met", "not_met", "failed"]
"""Of an action: what it was for has come about, or not in time; `failed`: it could not be carried out."""
Reason = Literal[
    "healthy",
    "in_doubt",
    "not_long_enough",
    "no_lease",
    "warming_up",
    "paused",
    "too_many_sick",
    "change_under_way",
    "taken_out_by_others",
    "being_healed",
    "healed_in_vain",
    "overruled",
    "last_of_its_group",
    "one_at_a_time",
    "recovering",
    "acted_lately",
    "too_much_done",
    "frozen",
    "sick",
    "sick_again",
    "sick_after_restart",
    "healthy_again",
    "nobody_else_serves",
    "too_often",
    "nothing_can_be_done",
]

CURES: Final[frozenset[Action]] = frozenset({"restart", "replace"})
DISRUPTIVE: Final[frozenset[Action]] = CURES | {"take_out"}
_REMEMBERED: Final = timedelta(hours=1)
"""**Source:** high availability reference §4, rule 4: rates are counted by the hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """What keeps healing from doing harm.

    Attributes:
        patience: how long a part must be bad without a break before anything is done.
        healing_patience: the same for a part that somebody else is healing.
        healing_most: how long that may take, before a person is called.
        settled: how long it must be well before it is put back; doubles each time within an hour.
        recovery: how long after an action it has to get better.
        pause_after: before a part is restarted or replaced again; doubles with each time.
        most_an_hour: restarts and replacements of one part; then it is frozen and a person called. So often it is put
            back, too: it is taken out once more, and stays out.
        most_at_once: actions on all parts together within `at_once`; further ones wait.
        sick_share: of all parts of a kind that are known; above it, and with `sick_least` sick or more, nothing is
            done.
        sick_groups: groups of several parts that are sick as a whole; the same.
        warm_up: after the start of the healer, a new lease or a pause of its own, before it judges anything.
        call_again: after which a person is called about the very same again.

    **Source:** high availability reference §4, rules 3 and 4 (5 min, doubling, 3 an hour, 30 %, 2 groups), and its
    table for all parts together (Kubernetes evicts 0.1 nodes a second); the others are our own decisions.
    """

    patience: timedelta = timedelta(seconds=3)
    healing_patience: timedelta = timedelta(seconds=10)
    healing_most: timedelta = timedelta(minutes=5)
    settled: timedelta = timedelta(seconds=5)
    recovery: timedelta = timedelta(seconds=30)
    pause_after: timedelta = timedelta(minutes=5)
    most_an_hour: int = 3
    most_at_once: int = 6
    at_once: timedelta = timedelta(minutes=1)
    sick_share: float = 0.3
    sick_least: int = 2
    sick_groups: int = 2
    warm_up: timedelta = timedelta(seconds=5)
    call_again: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Something that was done about a part."""

    at: datetime
    action: Action
    outcome: Outcome = "open"

    @property
    def has_helped(self) -> bool:
        """Whether what it was for has come about."""
        return self.outcome == "met"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What has been with a part.

    Attributes:
        bad_since, ok_since, doubt_since: without a break, as far as it was watched; None: it is not so now.
        overruled_since: somebody put it back into service that the healer, or somebody else, had taken out, and it has
            not been well since.
        tried: what was done about it within an hour and since a person last released it, oldest first.
        is_frozen: a person was called, and has not released it.
        called_at: when that was, the last time.
    """

    bad_since: datetime | None = None
    ok_since: datetime | None = None
    doubt_since: datetime | None = None
    overruled_since: datetime | None = None
    tried: tuple[Tried, ...] = ()
    is_frozen: bool = False
    called_at: datetime | None = None

    @property
    def cures(self) -> tuple[Tried, ...]:
        """What was tried to make it well, those that could not be carried out as well."""
        return tuple(each for each in self.tried if each.action in CURES)

    def cured_until(self, rails: Rails) -> datetime | None:
        """Until when the last cure has its time."""
        cures = self.cures
        return cures[-1].at + rails.recovery if cures else None

    def unwatched(self, now: datetime) -> Past:
        """Once nobody has watched it for a while: nothing has been so without a break."""
        tried = remembered(self.tried, now=now)
        return replace(self, bad_since=None, ok_since=None, doubt_since=None, tried=tried)

    def count(self, action: Action) -> int:
        """How often something was done."""
        return sum(each.action == action for each in self.tried)

    def is_recovering(self, now: datetime, rails: Rails) -> bool:
        """Whether something was done about it a moment ago."""
        return any(each.action in DISRUPTIVE and now - each.at < rails.recovery for each in self.tried)

    def after(self, action: Action, *, now: datetime) -> Past:
        """Once something was begun."""
        if action == "call_human":
            return replace(self, is_frozen=True, called_at=now)
        return replace(self, tried=(*self.tried, Tried(at=now, action=action)))

    def ended(self, at: datetime, outcome: Outcome) -> Past:
        """Once it is known what came of what was begun then."""
        known = tuple(replace(each, outcome=outcome) if each.at == at else each for each in self.tried)
        return replace(self, tried=known)

    def released(self) -> Past:
        """Once a person has released it: everything may be tried again."""
        return replace(self, tried=(), is_frozen=False, overruled_since=None)

    def overruled(self, now: datetime) -> Past:
        """Once somebody else has put it back into service."""
        return replace(self, overruled_since=now)


NO_PAST: Final = Past()


def look(past: Past, observation: Observation, *, now: datetime) -> Past:
    """What has been with a part, once this is known of it; doubt ends the other spans."""
    verdict = observation.verdict
    return replace(
        past,
        bad_since=(past.bad_since or now) if verdict == "bad" else None,
        ok_since=(past.ok_since or now) if verdict == "ok" else None,
        doubt_since=(past.doubt_since or now) if verdict == "unknown" else None,
        overruled_since=None if verdict == "ok" else past.overruled_since,
        tried=remembered(past.tried, now=now),
    )


def remembered(tried: tuple[Tried, ...], *, now: datetime) -> tuple[Tried, ...]:
    """What still counts."""
    return tuple(each for each in tried if each.at > now - _REMEMBERED)


def judge(action: Action, at: datetime, observation: Observation, *, now: datetime, rails: Rails) -> Outcome:
    """What has come of an action: its post-condition holds, or does not in time.

    Args:
        at: when it was begun.
    """
    is_out = observation.taken_out_by is not None
    is_well = observation.verdict == "ok"
    met = {
        "take_out": is_out,
        "put_back": is_well and not is_out,
        "restart": is_well,
        "replace": is_well,
    }
    if met.get(action, True):
        return "met"
    return "open" if now - at < rails.recovery else "not_met"
