"""Requests and answers about routing rules; the same for an instance's customer and for staff.

What stands here is the shape; what may stand in the fields is judged by `lb.rule.check`, which names the rule and the
field that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field, IPvAnyAddress, JsonValue, StrictBool, StrictInt

from app.core.ids import LineId
from app.http.rule_text import explain_trial, finding_text
from app.http.schema.model import AnswerModel, RequestModel
from lb.rule.check import Finding, read_network
from lb.rule.decide import LineChosen, Refused
from lb.rule.errors import RuleMaintenance
from lb.rule.rule import MOST_RULES, HeaderMatch, Maintenance, Match, Rule, RuleSet, ToLines
from tenancy.rule.document import describe_rules
from tenancy.rule.record import JudgedRules, RuleTrial, RuleVersion

_MOST_LISTED: Final = 1000
"""Entries of any list or map, before anybody looks into them; rules allow fewer. Our own decision."""
_MOST_VERSION: Final = 2**31 - 1
Text = Annotated[str, Field(max_length=1024)]
Texts = Annotated[list[Text], Field(max_length=_MOST_LISTED)]
Reason = Annotated[str, Field(max_length=500, description="Why; stays with the version.")]
Number = Annotated[StrictInt, Field(ge=0, le=2**53)]
"""Whole numbers that every JSON parser reads as they are; which of them fit, the check of rules says."""
VersionNumber = Annotated[StrictInt, Field(ge=1, le=_MOST_VERSION)]


class HeaderBody(RequestModel):
    """A header and the value that it must have."""

    name: Text = Field(examples=["x-client-class"])
    value: Text = Field(examples=["batch"])


class MatchBody(RequestModel):
    """What must hold, all of it; what is left out holds for every request."""

    path_prefix: Text | None = Field(
        default=None, description="Of the path below the instance's name.", examples=["/api/v1/orders"]
    )
    methods: Texts = Field(default_factory=list, description="Any of them.", examples=[["GET", "HEAD"]])
    header: HeaderBody | None = None
    source: Text | None = Field(default=None, description="Name of a group in `sources`.")
    clients: Texts = Field(default_factory=list, description="User names of API clients, any of them.")

    def match(self) -> Match:
        """For the domain."""
        return Match(
            path_prefix=self.path_prefix,
            methods=frozenset(self.methods),
            header=None
            if self.header is None
            else HeaderMatch(name=self.header.name, value=self.header.value),
            source=self.source,
            clients=frozenset(self.clients),
        )


class ToLinesBody(RequestModel):
    """Send it to some of the instance's lines."""

    kind: Literal["lines"]
    weights: Annotated[dict[Text, Number], Field(max_length=_MOST_LISTED)] = Field(
        description="1 to 256 by line; one line alone is a pinned one.",
        examples=[{"acme-ha-1": 3, "acme-ha-2": 1}],
    )
    sticky: StrictBool = Field(default=False, description="An API client stays at a line while it is there.")
    otherwise: Literal["any_line", "refuse"] = Field(
        default="any_line", description="When none of the lines is there."
    )

    def action(self) -> ToLines:
        """For the domain."""
        weights = {LineId(line_id): weight for line_id, weight in self.weights.items()}
        return ToLines(weights=weights, sticky=self.sticky, otherwise=self.otherwise)


class MaintenanceBody(RequestModel):
    """Answer 503 with Retry-After instead of asking a line."""

    kind: Literal["maintenance"]
    retry_after_seconds: Number = Field(default=60, description="1 to 86400.")

    def action(self) -> Maintenance:
        """For the domain."""
        return Maintenance(retry_after_seconds=self.retry_after_seconds)


class RuleBody(RequestModel):
    """One rule."""

    name: Text = Field(examples=["batch"])
    match: MatchBody = Field(default_factory=MatchBody)
    action: Annotated[ToLinesBody | MaintenanceBody, Field(discriminator="kind")]


class RuleSetBody(RequestModel):
    """The rules of an instance in order: the first one whose conditions all hold decides."""

    rules: list[RuleBody] = Field(
        max_length=_MOST_LISTED, description=f"At most {MOST_RULES}; none: any line, by weight."
    )
    sources: Annotated[dict[Text, Texts], Field(max_length=_MOST_LISTED)] = Field(
        default_factory=dict,
        description="Groups of networks in CIDR form, by name.",
        examples=[{"office": ["192.0.2.0/24", "2001:db8::/48"]}],
    )

    def rule_set(self) -> RuleSet:
        """For the domain.

        Raises:
            RuleNetworkInvalid: a network is none.
        """
        rules = [
            Rule(name=each.name, match=each.match.match(), action=each.action.action()) for each in self.rules
        ]
        return RuleSet(
            rules=tuple(rules),
            sources={
                name: tuple(
                    read_network(text, field=f"sources[{name[:64]}][{n}]") for n, text in enumerate(texts)
                )
                for name, texts in self.sources.items()
            },
        )


class RulesBody(RuleSetBody):
    """The rules that an instance shall have, and why."""

    reason: Reason = ""


class UndoBody(RequestModel):
    """What to go back to."""

    version: VersionNumber | None = Field(
        default=None, description="The version to put back; left out: the one before."
    )
    reason: Reason = ""


class FindingRead(AnswerModel):
    """Something to be said of rules that work."""

    code: str
    field: str = Field(description="Which part of the rules it is about.")
    facts: dict[str, JsonValue]
    text: dict[str, str]

    @classmethod
    def of(cls, finding: Finding) -> FindingRead:
        """From the domain's value, with texts for people."""
        return cls(
            code=finding.code,
            field=finding.field,
            facts=cast(dict[str, JsonValue], dict(finding.facts)),
            text=finding_text(finding),
        )


class RuleActorRead(AnswerModel):
    """Who has changed rules."""

    kind: str = Field(description="client, staff or system.")
    id: str


class _VersionFields(AnswerModel):
    """What every version says of itself."""

    version: int
    created_at: datetime
    actor: RuleActorRead
    reason: str
    restored: int | None = Field(description="The version that this one has put back.")
    rule_names: list[str]


class RuleVersionRead(_VersionFields):
    """One version of an instance's rules, in a list."""

    @classmethod
    def of(cls, version: RuleVersion) -> RuleVersionRead:
        """From the domain's value."""
        return cls(**_version_fields(version))


class _RuleFields(_VersionFields):
    """A version with the rules themselves."""

    rules: list[dict[str, JsonValue]] = Field(description="As they are sent.")
    sources: dict[str, list[str]] = Field(description="As they are sent.")


class RuleSetRead(_RuleFields):
    """One version of an instance's rules."""

    @classmethod
    def of(cls, version: RuleVersion) -> RuleSetRead:
        """From the domain's value."""
        return cls(**_version_fields(version), **_document(version.rules))


class RulesRead(_RuleFields):
    """The rules in force, and what is to be said of them as lines and API clients are now."""

    warnings: list[FindingRead] = Field(description="The first 100.")

    @classmethod
    def of(cls, judged: JudgedRules) -> RulesRead:
        """From the domain's value."""
        version = judged.version
        warnings = [FindingRead.of(each) for each in judged.findings]
        return cls(**_version_fields(version), **_document(version.rules), warnings=warnings)


def _version_fields(version: RuleVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "created_at": version.created_at,
        "actor": RuleActorRead(kind=version.actor_kind, id=version.actor_id),
        "reason": version.reason,
        "restored": version.restored,
        "rule_names": [each.name for each in version.rules.rules],
    }


def _document(rules: RuleSet) -> dict[str, Any]:
    return dict(describe_rules(rules))


class TrialBody(RequestModel):
    """A request that somebody wonders about."""

    method: str = Field(max_length=32, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", examples=["GET"])
    path: str = Field(
        max_length=4096,
        pattern=r"^/[\x21-\x7e]*$",
        description="Below the instance's name, as it is sent.",
        examples=["/api/v1/orders"],
    )
    headers: Annotated[
        dict[
            Annotated[str, Field(max_length=64, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")],
            Annotated[str, Field(max_length=1024, pattern=r"^[\x20-\x7e]*$")],
        ],
        Field(max_length=100),
    ] = Field(default_factory=dict, examples=[{"x-client-class": "batch"}])
    source: IPvAnyAddress = Field(description="The caller's address, as the platform sees it.")
    client: str | None = Field(
        default=None,
        max_length=191,
        pattern=r"^[^:\x00-\x1f\x7f]+$",
        description="User name that is sent by Basic authentication.",
    )
    certificate_fingerprint: str | None = Field(
        default=None,
        pattern=r"^[0-9a-fA-F]{64}$",
        description="SHA-256 of the client certificate that is shown.",
    )
    rules: RuleSetBody | None = Field(
        default=None, description="Rules to ask that are not stored; left out: those in force."
    )


class CandidateRead(AnswerModel):
    """A line that the request may go to."""

    line_id: str
    weight: int
    share: float = Field(description="Of such requests, 0 to 1.")


class VerdictRead(AnswerModel):
    """What one rule says to the request."""

    rule: str
    outcome: Literal["decides", "fails", "not_reached"]
    condition: str | None = Field(description="The first one that does not hold.")
    wanted: list[str]
    seen: str | None


class TrialRead(AnswerModel):
    """What would become of a request, and why."""

    version: int | None = Field(description="Of the rules that were asked; null: those of the request.")
    outcome: Literal["line", "maintenance", "refused"]
    code: str | None = Field(description="Of the refusal that callers get.")
    retry_after_seconds: int | None
    rule: str | None = Field(description="Which decides; null: none does.")
    by: Literal["rule", "otherwise", "no_rule"] | None
    line: str | None = Field(
        description="The one line that it goes to; null: one of `candidates`, by weight."
    )
    candidates: list[CandidateRead]
    sticky_for: str | None = Field(description="API client that stays at the line it once got.")
    verdicts: list[VerdictRead]
    sentence: dict[str, str]
    warnings: list[FindingRead]

    @classmethod
    def of(cls, trial: RuleTrial) -> TrialRead:
        """From the domain's value, with sentences for people."""
        return cls(
            version=trial.version,
            rule=trial.decision.rule,
            verdicts=_verdicts(trial),
            sentence=explain_trial(trial),
            warnings=[FindingRead.of(each) for each in trial.findings],
            **_choice_fields(trial.choice),
        )


def _choice_fields(choice: LineChosen | Refused) -> dict[str, Any]:
    if isinstance(choice, LineChosen):
        total = sum(each.weight for each in choice.candidates)
        return {
            "outcome": "line",
            "code": None,
            "retry_after_seconds": None,
            "by": choice.by,
            "line": choice.line_id if len(choice.candidates) == 1 else None,
            "candidates": [
                CandidateRead(line_id=each.line_id, weight=each.weight, share=round(each.weight / total, 4))
                for each in choice.candidates
            ],
            "sticky_for": choice.sticky_for,
        }
    error = choice.error
    pause = error.retry_after_seconds if isinstance(error, RuleMaintenance) else None
    return {
        "outcome": "refused" if pause is None else "maintenance",
        "code": error.code,
        "retry_after_seconds": pause,
        "by": None,
        "line": None,
        "candidates": [],
        "sticky_for": None,
    }


def _verdicts(trial: RuleTrial) -> list[VerdictRead]:
    looked_at = trial.decision.verdicts
    found = []
    for each in looked_at:
        failed = each.failed
        found.append(
            VerdictRead(
                rule=each.rule,
                outcome="decides" if failed is None else "fails",
                condition=None if failed is None else failed.kind,
                wanted=[] if failed is None else _listed(failed.wanted),
                seen=None if failed is None else failed.seen,
            )
        )
    rest = trial.rules.rules[len(looked_at) :]
    return found + [
        VerdictRead(rule=each.name, outcome="not_reached", condition=None, wanted=[], seen=None)
        for each in rest
    ]


def _listed(wanted: str | Sequence[str]) -> list[str]:
    return [wanted] if isinstance(wanted, str) else list(wanted)
