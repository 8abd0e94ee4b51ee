"""Values of metering and the words of its refusals. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, cast

from app.core.clock import to_text
from app.core.ids import new_id
from app.core.json import JsonObject
from editions.catalog import (
    ACTIVATIONS,
    EDITIONS,
    THRESHOLDS,
    EditionKey,
    Meter,
    Overage,
    editions_with_web_services,
)
from editions.errors import EditionFeatureUnavailable, EditionsError, QuotaExceeded
from editions.limit import Limit, no_contract, refusal_amount
from editions.period import Month

Phase = Literal["reserved", "counted", "released", "voided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One licence that is activated or deactivated: what the ledger has a row for.

    Attributes:
        effect_id: unique for good, ASCII, at most 64 characters.
        subject: id of the licence.
        reference: id of the transfer.
        principal: who caused it.
    """

    effect_id: str
    kind: Literal["activation", "deactivation"]
    subject: str
    reference: str
    principal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServiceCall:
    """One authenticated and processed call of a web service.

    Attributes:
        operation: the operation's name in the API's description.
        principal: id of the API client.
        answered_at: when the answer was known, aware; decides the month.
        status: HTTP status of the answer.
    """

    operation: str
    principal: str
    request_id: str
    answered_at: datetime
    status: int = 200
    effect_id: str = field(default_factory=lambda: new_id("wsc"))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """One meter of one month at an instant.

    Attributes:
        used: counted effects.
        taken: counted and reserved ones; for calls also rights that lines hold in stock.
        included: False: the edition does not have what the meter counts, or nothing is contracted.
    """

    meter: Meter
    month: Month
    contractual: int
    refusal: int
    used: int
    taken: int
    included: bool = True

    @property
    def resets_at(self) -> datetime:
        """When the month is over and counting begins anew, UTC."""
        return self.month.end

    @property
    def remaining(self) -> int:
        """What is left of the contractual amount."""
        return max(0, self.contractual - self.used)

    def to_json(self) -> JsonObject:
        """For the stored answer of the operation that caused it."""
        return {
            "meter": self.meter,
            "month": str(self.month),
            "contractual": self.contractual,
            "refusal": self.refusal,
            "used": self.used,
            "taken": self.taken,
            "included": self.included,
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> QuotaState:
        """Read what `to_json` wrote."""
        return cls(
            meter=cast(Meter, value["meter"]),
            month=Month.parse(cast(str, value["month"])),
            contractual=cast(int, value["contractual"]),
            refusal=cast(int, value["refusal"]),
            used=cast(int, value["used"]),
            taken=cast(int, value["taken"]),
            included=cast(bool, value["included"]),
        )


def is_counted(status: int) -> bool:
    """Whether a web-service call with this answer counts: our own 5xx and 429 do not.

    **Source:** "Decisions" in the domain reference (counted web-service calls).
    """
    return status < 500 and status != 429


def threshold_reached(used: int, contractual: int) -> int:
    """The highest of 50, 80, 100 and 120 per cent that a count has reached; 0 below the first."""
    if used <= 0:
        return 0
    return max((each for each in THRESHOLDS if used * 100 >= each * contractual), default=0)


def state_of(limit: Limit | None, meter: Meter, month: Month, *, used: int, taken: int) -> QuotaState:
    """Put counter and limit together."""
    return QuotaState(
        meter=meter,
        month=month,
        contractual=0 if limit is None else limit.contractual,
        refusal=0 if limit is None else limit.refusal,
        used=used,
        taken=taken,
        included=limit is not None and limit.included,
    )


def refusal_of(limit: Limit | None, state: QuotaState, requested: int = 1) -> EditionsError | None:
    """Why a request cannot be met, or None when it can.

    Args:
        limit: in force now.
        state: the quota without the request.
        requested: how many effects are asked for.
    """
    if limit is None:
        return no_contract()
    if not limit.included:
        return _feature_unavailable(limit.edition)
    if state.taken + requested > limit.refusal:
        return _quota_exceeded(limit, state, requested)
    return None


def _feature_unavailable(edition: EditionKey) -> EditionFeatureUnavailable:
    return EditionFeatureUnavailable(
        "The edition of this instance has no web services.",
        feature="web_services",
        edition=edition,
        editions=list(editions_with_web_services()),
    )


def _quota_exceeded(limit: Limit, state: QuotaState, requested: int) -> QuotaExceeded:
    what = "activations" if limit.meter == ACTIVATIONS else "web-service calls"
    return QuotaExceeded(
        f"The {what} of this month are used up.",
        state=state,
        meter=limit.meter,
        month=str(limit.month),
        limit=limit.contractual,
        refusal_limit=limit.refusal,
        overage=limit.overage,
        used=state.used,
        taken=state.taken,
        requested=requested,
        resets_at=to_text(state.resets_at),
        lifted_by=what_lifts(limit, state.taken + requested),
    )


def what_lifts(limit: Limit, needed: int) -> JsonObject:
    """Which changes of contract would make room.

    Returns:
        `at`: when the month ends; `editions`: those that are enough at the present policy (with the lines
        they need); `overage`: `grace`, if that policy alone is enough.
    """
    editions: list[JsonObject] = []
    for edition in EDITIONS.values():
        amount = edition.amount(limit.meter)
        if amount is None:
            continue
        lines = _lines_needed(amount, limit.overage, needed) if edition.per_line else 1
        lines = max(lines, edition.min_lines)
        if refusal_amount(amount * lines, limit.overage) >= needed:
            editions.append({"edition": edition.key, "lines": lines})
    lifted: JsonObject = {"at": to_text(limit.month.end), "editions": editions}
    if limit.overage == "block" and refusal_amount(limit.contractual, "grace") >= needed:
        lifted["overage"] = "grace"
    return lifted


def _lines_needed(amount: int, overage: Overage, needed: int) -> int:
    lines = max(1, needed // refusal_amount(amount, overage))
    while refusal_amount(amount * lines, overage) < needed:
        lines += 1
    return lines
