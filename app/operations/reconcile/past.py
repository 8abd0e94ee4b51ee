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
    "last_of_its_group",
    "one_at_a_time",
    "recovering",
    "acted_lately",
    "frozen",
    "sick",
    "sick_again",
    "sick_after_restart",
    "healthy_again",
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
        most_an_hour: restarts and replacements of one part; then it is frozen and a person called.
        sick_share: of all parts of a kind that are known; above it, and with `sick_least` sick or more, nothing is
            done.
        sick_groups: groups of several parts that are sick as a whole; the same.
        warm_up: after the start of the healer, a new lease or a pause of its own, before it judges anything.
        call_again: after which a person is called about the very same again.

    **Source:** high availability reference §4, rules 3 and 4 (5 min, doubling, 3 an hour, 30 %, 2 groups); the others
    are our own decisions.
    """

    patience: timedelta = timedelta(seconds=3)
    healing_patience: timedelta = timedelta(seconds=10)
    healing_most: timedelta = timedelta(minutes=5)
    settled: timedelta = timedelta(seconds=5)
    recovery: timedelta = timedelta(seconds=30)
    pause_after: timedelta = timedelta(minutes=5)
    most_an_hour: int = 3
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
        bad_since, ok_since: without a break, as far as it was watched; None: it is not so now.
        tried: what was done about it within an hour and since a person last released it, oldest first.
        is_frozen: a person was called, and has not released it.
        called_at: when that was, the last time.
    """

    bad_since: datetime | None = None
    ok_since: datetime | None = None
    tried: tuple[Tried, ...] = ()
    is_frozen: bool = False
    called_at: datetime | None = None

    def bad_for(self, now: datetime) -> timedelta:
        """How long it has been bad without a break; nothing, if it is not."""
        return timedelta(0) if self.bad_since is None else now - self.bad_since

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
        return replace(self, tried=(), is_frozen=False)


NO_PAST: Final = Past()


def look(past: Past, observation: Observation, *, now: datetime) -> Past:
    """What has been with a part, once this is known of it; doubt ends both spans."""
    verdict = observation.verdict
    return replace(
        past,
        bad_since=(past.bad_since or now) if verdict == "bad" else None,
        ok_since=(past.ok_since or now) if verdict == "ok" else None,
        tried=tuple(each for each in past.tried if each.at > now - _REMEMBERED),
    )


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
