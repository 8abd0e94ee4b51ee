"""What is seen of a part of the fleet, from where, and how sure that is. Pure.

A part is bad only if nobody who knows it says otherwise, and at least two say so who do not know it from the same
source; who does not know says nothing. Doubt never leads to an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Verdict = Literal["ok", "bad", "unknown"]
SubjectKind = Literal["line", "front", "config", "box"]
"""`front`: a load balancer; `config`: whether it is what it is to be."""
Cure = Literal["restart", "replace"]

ENOUGH_WITNESSES: Final = 2
"""**Source:** high availability reference §4, rule 3: evidence from two places or more."""
EVERY: Final = "*"
"""Name of the part that stands for all of a kind."""
ALL_PARTS: Final = "all"
"""Scope of what holds for everything."""
WHOLE_SCOPES: Final = (ALL_PARTS, *(f"{kind}:{EVERY}" for kind in get_args(SubjectKind)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A part that can be healed.

    Attributes:
        name: line id, name of a load balancer, name of a box; `*` for all of the kind.
        group: parts of one group stand in for each other: a line set, a pool, the load balancers.
    """

    kind: SubjectKind
    name: str
    group: str

    @property
    def key(self) -> str:
        """`line:acme-1`."""
        return f"{self.kind}:{self.name}"

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it belongs to, the widest first, and itself: what is said of one of these holds for it."""
        return ALL_PARTS, f"{self.kind}:{EVERY}", f"group:{self.group}", self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one place says.

    Attributes:
        witness: who says so: `runner`, `lb1`, `gateway`.
        detail: in words or codes, for the record.
        source: what the witness knows it from, if others know it from there, too: they count as one.
    """

    witness: str
    verdict: Verdict
    detail: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One part as it is seen now, and what can be done about such a part.

    Attributes:
        witnesses: how many sources could tell of it at all; a single one is believed.
        in_service: whether it takes work, if it is well.
        may_leave: it can be taken out of service, and put back.
        cures: what else can be done about it, the mildest first; none: only a person can help.
        taken_out_by: who took it out of service; None: nobody.
        is_healing: somebody whose job it is looks after it already: a process that ended is started again by its
            runner after a pause.
        is_changing: an operation or a drain is under way: not ours to touch.
    """

    subject: Subject
    evidence: tuple[Evidence, ...]
    witnesses: int = ENOUGH_WITNESSES
    in_service: bool = True
    may_leave: bool = False
    cures: tuple[Cure, ...] = ()
    taken_out_by: str | None = None
    is_healing: bool = False
    is_changing: bool = False

    @property
    def verdict(self) -> Verdict:
        """What all evidence comes to."""
        known = [each for each in self.evidence if each.verdict != "unknown"]
        if len({each.verdict for each in known}) != 1:
            return "unknown"
        needed = min(ENOUGH_WITNESSES, max(self.witnesses, 1))
        sources = {each.source or each.witness for each in known}
        if known[0].verdict == "bad" and len(sources) < needed:
            return "unknown"
        return known[0].verdict
