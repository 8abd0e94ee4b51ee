"""Self-healing as the admin API shows and takes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from app.http.schema.model import AnswerModel, Moment, RequestModel
from app.operations.reconcile.observation import EVERY, Evidence
from app.operations.reconcile.past import Action, Reason
from app.operations.reconcile.record import LONGEST_REASON, LONGEST_SCOPE, Entry, Lease, Pause
from app.operations.reconcile.report import HealerReport, PartReport
from app.operations.reconcile.words import ACTIONS, REASONS

_SCOPE: Final = "What the reason holds for: `all`, all of a kind like `line:*`, a group, or the part alone."
_UNTIL: Final = (
    "When it is decided anew at the latest. Null: once something else is seen, or somebody does something."
)


class WordsRead(AnswerModel):
    """What a decision means."""

    en: str
    de: str

    @classmethod
    def of(cls, action: Action, reason: Reason) -> WordsRead:
        """From the healer's words."""
        (action_en, action_de), (reason_en, reason_de) = ACTIONS[action], REASONS[reason]
        return cls(en=f"{action_en}: {reason_en}", de=f"{action_de}: {reason_de}")


class EvidenceRead(AnswerModel):
    """What one place says of a part."""

    witness: str
    verdict: str = Field(description="`ok`, `bad` or `unknown`.")
    detail: str

    @classmethod
    def of(cls, evidence: Evidence) -> EvidenceRead:
        """From the healer's value."""
        return cls(witness=evidence.witness, verdict=evidence.verdict, detail=evidence.detail)


class PartRead(AnswerModel):
    """A part of the fleet, and what is done about it or why nothing is."""

    part: str = Field(description="Like `line:acme-1`.")
    group: str = Field(description="Parts of one group stand in for each other.")
    verdict: str = Field(description="`ok`, `bad` or `unknown`: what all evidence comes to.")
    evidence: list[EvidenceRead]
    in_service: bool
    taken_out_by: str | None
    bad_since: datetime | None
    action: str
    reason: str
    wanted: str = Field(description="What would be done if nothing held the healer back.")
    scope: str = Field(description=_SCOPE)
    until: datetime | None = Field(description=_UNTIL)
    words: WordsRead
    tried: int = Field(description="What was done about it within an hour and since it was released.")

    @classmethod
    def of(cls, part: PartReport) -> PartRead:
        """From the healer's report."""
        observation, decision = part.observation, part.decision
        return cls(
            part=decision.subject.key,
            group=decision.subject.group,
            verdict=observation.verdict,
            evidence=[EvidenceRead.of(each) for each in observation.evidence],
            in_service=observation.in_service,
            taken_out_by=observation.taken_out_by,
            bad_since=part.bad_since,
            action=decision.action,
            reason=decision.reason,
            wanted=decision.wanted,
            scope=decision.scope,
            until=decision.until,
            words=WordsRead.of(decision.action, decision.reason),
            tried=part.tried,
        )


class DecisionRead(AnswerModel):
    """A line of the journal."""

    decision_id: str
    part: str
    group: str
    action: str
    reason: str
    wanted: str
    scope: str | None = Field(description=_SCOPE)
    until: datetime | None = Field(description=_UNTIL)
    words: WordsRead
    verdict: str
    evidence: list[EvidenceRead]
    token: int = Field(description="Of the healer that decided; grows with every change of healer.")
    decided_at: datetime
    outcome: str | None = Field(
        description="Of an action: `open`, `met`, `not_met` in time, or `failed`: it could not be carried out."
    )
    outcome_code: str | None
    outcome_at: datetime | None
    released_by: str | None = Field(description="Who has released the part after a person was called.")
    released_at: datetime | None

    @classmethod
    def of(cls, entry: Entry) -> DecisionRead:
        """From the journal's value."""
        return cls(
            decision_id=entry.entry_id,
            part=entry.part,
            group=entry.group,
            action=entry.action,
            reason=entry.reason,
            wanted=entry.wanted,
            scope=entry.scope,
            until=entry.until,
            words=WordsRead.of(entry.action, entry.reason),
            verdict=entry.verdict,
            evidence=[EvidenceRead.of(each) for each in entry.evidence],
            token=entry.token,
            decided_at=entry.decided_at,
            outcome=entry.outcome,
            outcome_code=entry.outcome_code,
            outcome_at=entry.outcome_at,
            released_by=entry.released_by,
            released_at=entry.released_at,
        )


class PausePut(RequestModel):
    """Why something is left alone, and for how long."""

    reason: str = Field(min_length=1, max_length=LONGEST_REASON, examples=["looking for a memory leak"])
    until: Moment | None = Field(default=None, description="Null: until somebody ends it.")


class PauseRead(AnswerModel):
    """Something that is left alone."""

    scope: str = Field(
        description="`all`, all of a kind like `line:*`, `group:` with a group, or the key of a part."
    )
    reason: str
    paused_by: str
    until: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, pause: Pause) -> PauseRead:
        """From the domain's value."""
        return cls(
            scope=pause.scope,
            reason=pause.reason,
            paused_by=pause.paused_by,
            until=pause.until,
            created_at=pause.created_at,
        )


class PartRelease(RequestModel):
    """The part that a person has seen to."""

    part: str = Field(min_length=1, max_length=LONGEST_SCOPE, examples=["line:acme-1"])


class PartReleased(AnswerModel):
    """A part that is healed again."""

    part: str


class ReconcileRead(AnswerModel):
    """How self-healing is."""

    is_watching: bool = Field(
        description="False: lines work in control's own process and no load balancer is kept, so there is nothing "
        "that could be healed from here."
    )
    has_lease: bool = Field(description="This control process acts; others only look.")
    token: int | None = Field(description="Of its lease.")
    holder: str | None = Field(description="Who has the lease, or had it last.")
    valid_until: datetime | None
    watching_since: datetime | None
    warm_until: datetime | None = Field(description="Before that it only looks.")
    looked_at: datetime | None
    problem: str | None = Field(description="Code of why it only looks although it would act.")
    pauses: list[PauseRead]
    alarms: list[DecisionRead] = Field(description="What persons were called about and nobody has released.")
    kinds: list[PartRead] = Field(description="One for all parts of a kind: sick if too many are.")
    parts: list[PartRead]

    @classmethod
    def of(
        cls, report: HealerReport, lease: Lease | None, pauses: list[Pause], alarms: list[Entry]
    ) -> ReconcileRead:
        """From the healer's report and what is stored."""
        shown = [(PartRead.of(each), each.observation.subject.name == EVERY) for each in report.parts]
        return cls(
            is_watching=report.is_watching,
            has_lease=report.has_lease,
            token=report.token,
            holder=None if lease is None else lease.holder,
            valid_until=None if lease is None else lease.valid_until,
            watching_since=report.watching_since,
            warm_until=report.warm_until,
            looked_at=report.looked_at,
            problem=report.problem,
            pauses=[PauseRead.of(each) for each in pauses],
            alarms=[DecisionRead.of(each) for each in alarms],
            kinds=[part for part, is_whole in shown if is_whole],
            parts=[part for part, is_whole in shown if not is_whole],
        )


_EVIDENCE_EXAMPLE: Final[list[dict[str, Any]]] = [
    {"witness": "runner", "verdict": "bad", "detail": "frozen"},
    {"witness": "lb1", "verdict": "bad", "detail": "stopped"},
    {"witness": "readiness", "verdict": "bad", "detail": "net_unavailable"},
]
PAUSE_EXAMPLE: Final[dict[str, Any]] = {
    "scope": "line:acme-2",
    "reason": "looking for a memory leak",
    "paused_by": "stk_019b0a3c7e1b7c2d8e9f0a1b2c3d4e5f",
    "until": "2026-11-21T12:00:00Z",
    "created_at": "2026-11-21T10:15:00Z",
}
DECISION_EXAMPLE: Final[dict[str, Any]] = {
    "decision_id": "rcn_019b0a3c7e1b7c2d8e9f0a1b2c3d4e5f",
    "part": "line:acme-1",
    "group": "ins_019b0a3c4b1b7c2d8e9f0a1b2c3d4e5f",
    "action": "restart",
    "reason": "sick",
    "wanted": "restart",
    "scope": "line:acme-1",
    "until": None,
    "words": {
        "en": "started anew: it is sick for certain",
        "de": "neu gestartet: es ist sicher krank",
    },
    "verdict": "bad",
    "evidence": _EVIDENCE_EXAMPLE,
    "token": 3,
    "decided_at": "2026-11-21T10:15:00Z",
    "outcome": "met",
    "outcome_code": None,
    "outcome_at": "2026-11-21T10:15:04Z",
    "released_by": None,
    "released_at": None,
}
RELEASED_EXAMPLE: Final[dict[str, Any]] = {"part": "line:acme-1"}
RECONCILE_EXAMPLE: Final[dict[str, Any]] = {
    "is_watching": True,
    "has_lease": True,
    "token": 3,
    "holder": "hea_019b0a3c7e1b7c2d8e9f0a1b2c3d4e5f",
    "valid_until": "2026-11-21T10:15:12Z",
    "watching_since": "2026-11-21T08:00:00Z",
    "warm_until": "2026-11-21T08:00:05Z",
    "looked_at": "2026-11-21T10:15:00Z",
    "problem": None,
    "pauses": [PAUSE_EXAMPLE],
    "alarms": [],
    "kinds": [],
    "parts": [
        {
            "part": "line:acme-1",
            "group": "ins_019b0a3c4b1b7c2d8e9f0a1b2c3d4e5f",
            "verdict": "bad",
            "evidence": _EVIDENCE_EXAMPLE,
            "in_service": False,
            "taken_out_by": "reconciler",
            "bad_since": "2026-11-21T10:14:56Z",
            "action": "none",
            "reason": "recovering",
            "wanted": "none",
            "scope": "line:acme-1",
            "until": "2026-11-21T10:15:30Z",
            "words": {
                "en": "nothing is done: something was just done; it has its time",
                "de": "nichts geschieht: eben wurde etwas getan; es bekommt seine Zeit",
            },
            "tried": 2,
        }
    ],
}
