"""What isolation promises, as checks between two instances, and which pairs are tried in a round. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from app.core.errors import DomainError
from app.core.json import JsonObject

CheckName = Literal[
    "foreign_database",
    "platform_database",
    "system_tables",
    "own_file",
    "own_profile",
    "foreign_ids",
    "foreign_operation",
    "foreign_credentials",
    "foreign_cursor",
    "foreign_firm_key",
]
Outcome = Literal["held", "broken", "not_applicable", "unknown"]
"""`unknown`: the check itself failed, e.g. because a server did not answer; it proves nothing either way."""

PROBE: Final = "isolation"


class ProbeRunning(DomainError):
    """A round is under way; its result is there when it ends."""

    code = "probe_running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was tried.

    Attributes:
        instance: name of the one that tried.
        other: name of the one that must have stayed closed.
        detail: what was seen; no secret in it.
    """

    check: CheckName
    instance: str
    other: str
    outcome: Outcome
    detail: str = ""

    def to_json(self) -> JsonObject:
        """The form in which it is stored."""
        return {
            "check": self.check,
            "instance": self.instance,
            "other": self.other,
            "outcome": self.outcome,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One round.

    Attributes:
        held: nothing was found broken, at least one thing was proved, and of no kind of check only that it failed.
    """

    probe: str
    started_at: datetime
    finished_at: datetime
    checks: tuple[Check, ...]

    @property
    def held(self) -> bool:
        """Whether every check that could be made held, and there was one of each kind that was tried."""
        found: dict[CheckName, set[Outcome]] = {}
        for each in self.checks:
            found.setdefault(each.check, set()).add(each.outcome)
        outcomes = {each.outcome for each in self.checks}
        # A kind that failed for everybody is no accident of one server: it proves nothing, today and tomorrow.
        blind = any("unknown" in kind and "held" not in kind for kind in found.values())
        return "broken" not in outcomes and not blind and (not outcomes or "held" in outcomes)


def choose_pairs(names: Sequence[str], *, round_number: int, most: int) -> list[tuple[str, str]]:
    """Which instance tries which in a round: over the rounds, everyone tries everyone.

    Args:
        names: of all instances, sorted.
        round_number: 0, 1, 2 …
        most: pairs at most.
    """
    count = len(names)
    if count < 2:
        return []
    # All ordered pairs in a line: first everyone with his next neighbour, then with the one after that.
    first, total = round_number * most, count * (count - 1)
    chosen = []
    for number in range(first, first + min(most, total)):
        distance, index = divmod(number % total, count)
        chosen.append((names[index], names[(index + distance + 1) % count]))
    return chosen
