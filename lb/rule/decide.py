"""Which rule decides about a request, and which line serves it then. Pure.

HAProxy decides the same from compiled maps (`lb.rule.compile`, `lb.rule.fragment`); a test compares the two.

    request ── RequestFacts.of ──► facts ── decide ──► rule, or none ── choose ──► line, or a refusal
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from app.core.ids import LineId
from lb.routing import Line, NoLineReady, Route, RoutingError, RoutingTable, choose_line
from lb.rule.errors import RuleLinesNotReady, RuleMaintenance
from lb.rule.rule import Maintenance, Match, Network, RuleSet, ToLines
from lb.rule.vocabulary import HEADERS

Address = IPv4Address | IPv6Address
ConditionKind = Literal["method", "path_prefix", "source", "header", "clients"]

_AUTHORIZATION: Final = "authorization"
_LOOKED_AT: Final = frozenset({*HEADERS, _AUTHORIZATION})
_BLANKS: Final = " \t"
# As in `lb.rule.fragment`: HAProxy alone would take `Bas` for Basic and leave out what stands behind a comma.
_BASIC: Final = re.compile(r"basic +([a-z0-9+/]{1,512}={0,2})", re.IGNORECASE | re.ASCII)
_SEEN_MAX: Final = 200
_NO_CERTIFICATES: Final[Mapping[str, tuple[str, ...]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What rules may know of a request.

    Attributes:
        method: as it was sent; small letters are other methods.
        path: below the instance's name, `/…`; bytes as Latin-1, nothing decoded, without query.
        headers: those of the vocabulary that were sent exactly once, by name in small letters.
        source: whose connection it is; an IPv4 address in IPv6 form is an IPv4 address. None: a Unix socket's.
        user: name in well-formed Basic credentials that were sent once; who they belong to is not known here.
        fingerprint: SHA-256 of the client certificate, hexadecimal.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    source: Address | None = None
    user: str | None = None
    fingerprint: str | None = None

    @classmethod
    def of(
        cls,
        method: str,
        raw_path: bytes,
        *,
        headers: Iterable[tuple[bytes, bytes]],
        source: Address | None,
        fingerprint: str | None = None,
    ) -> RequestFacts:
        """Take the facts from a request.

        Args:
            method: as it was sent.
            raw_path: whose first segment is the instance's name.
            headers: all of them.
            source: whose connection it is.
            fingerprint: of the client certificate.
        """
        once = _sent_once(headers)
        credentials = once.pop(_AUTHORIZATION, None)
        return cls(
            method=method,
            path=_below_instance(raw_path),
            headers=once,
            source=_unmapped(source),
            user=None if credentials is None else _basic_user(credentials),
            fingerprint=fingerprint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that does not hold.

    Attributes:
        wanted: by the rule; a group of networks by its name.
        seen: in the request; None: it has nothing of that kind.
    """

    kind: ConditionKind
    wanted: str | tuple[str, ...]
    seen: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """What became of one rule.

    Attributes:
        failed: the first condition that does not hold; None: all do.
    """

    rule: str
    index: int
    failed: Condition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDecision:
    """Which rule decides about a request; none: any line serves it, by weight.

    Attributes:
        client: as whom the caller sticks to a line.
        verdicts: of the rules that were looked at, in order; the deciding one is the last.
    """

    rule: str | None = None
    index: int | None = None
    action: ToLines | Maintenance | None = None
    client: str | None = None
    verdicts: tuple[RuleVerdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChosen:
    """A line serves the request.

    Attributes:
        candidates: among which it was chosen, with the weights that counted.
        by: the deciding rule's lines; all, because none of those was there; all, because no rule holds.
        sticky_for: the client who gets the same line the next time.
    """

    line_id: LineId
    candidates: tuple[Line, ...]
    by: Literal["rule", "otherwise", "no_rule"]
    sticky_for: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No line serves the request; the error says why, and may be raised."""

    error: RoutingError


Choice = LineChosen | Refused


def decide(
    rules: RuleSet,
    facts: RequestFacts,
    client_certificates: Mapping[str, tuple[str, ...]] = _NO_CERTIFICATES,
) -> RuleDecision:
    """Find the first rule whose conditions all hold.

    Args:
        rules: the instance's.
        facts: of the request.
        client_certificates: fingerprints by user name, as in `FrontInstance`.
    """
    owner = find_owner(client_certificates, facts.fingerprint)
    names = [name for name in (facts.user, owner) if name is not None]
    verdicts = []
    for index, rule in enumerate(rules.rules):
        failed = _first_failing(rule.match, facts, names, rules.sources)
        verdicts.append(RuleVerdict(rule=rule.name, index=index, failed=failed))
        if failed is None:
            return RuleDecision(
                rule=rule.name,
                index=index,
                action=rule.action,
                client=next(iter(names), None),
                verdicts=tuple(verdicts),
            )
    return RuleDecision(verdicts=tuple(verdicts))


def choose(decision: RuleDecision, lines: Sequence[Line], *, request_key: str) -> Choice:
    """Choose the line for a request.

    Args:
        decision: about the request.
        lines: all of the instance's; a line that is not among them is not there.
        request_key: spreads requests that stick to no line.
    """
    action = decision.action
    if action is None:
        return _pick(lines, request_key, by="no_rule")
    rule = decision.rule or ""
    if isinstance(action, Maintenance):
        return Refused(error=RuleMaintenance(rule=rule, retry_after_seconds=action.retry_after_seconds))
    sticky_for = decision.client if action.sticky else None
    key = request_key if sticky_for is None else f"{rule}|{sticky_for}"
    meant = tuple(
        Line(line_id=line.line_id, weight=action.weights[line.line_id])
        for line in lines
        if line.line_id in action.weights and line.takes_requests
    )
    if meant:
        return _pick(meant, key, by="rule", sticky_for=sticky_for)
    if action.otherwise == "refuse":
        return Refused(error=RuleLinesNotReady(rule=rule))
    return _pick(lines, key, by="otherwise", sticky_for=sticky_for)


def find_owner(client_certificates: Mapping[str, tuple[str, ...]], fingerprint: str | None) -> str | None:
    """User name of the client whose certificate it is; of several, the first by name."""
    if fingerprint is None:
        return None
    wanted = fingerprint.lower()
    owners = (
        name for name, prints in client_certificates.items() if any(each.lower() == wanted for each in prints)
    )
    return min(owners, default=None)


def _pick(
    lines: Sequence[Line],
    key: str,
    *,
    by: Literal["rule", "otherwise", "no_rule"],
    sticky_for: str | None = None,
) -> Choice:
    candidates = tuple(line for line in lines if line.takes_requests)
    table = RoutingTable.of(Route(instance="", lines=candidates))
    try:
        line_id = choose_line(table, "", request_key=key)
    except NoLineReady as error:
        return Refused(error=error)
    return LineChosen(line_id=line_id, candidates=candidates, by=by, sticky_for=sticky_for)


def _first_failing(
    match: Match, facts: RequestFacts, names: Sequence[str], sources: Mapping[str, tuple[Network, ...]]
) -> Condition | None:
    if match.methods and facts.method not in match.methods:
        return _failed("method", tuple(sorted(match.methods)), facts.method)
    if match.path_prefix is not None and not facts.path.startswith(match.path_prefix):
        return _failed("path_prefix", match.path_prefix, facts.path)
    if match.source is not None and not _is_in(facts.source, sources.get(match.source, ())):
        return _failed("source", match.source, None if facts.source is None else str(facts.source))
    return _failing_caller(match, facts, names)


def _failing_caller(match: Match, facts: RequestFacts, names: Sequence[str]) -> Condition | None:
    header = match.header
    if header is not None and facts.headers.get(header.name) != header.value:
        return _failed("header", (header.name, header.value), facts.headers.get(header.name))
    if match.clients and match.clients.isdisjoint(names):
        return _failed("clients", tuple(sorted(match.clients)), ", ".join(names) or None)
    return None


def _failed(kind: ConditionKind, wanted: str | tuple[str, ...], seen: str | None) -> Condition:
    return Condition(kind=kind, wanted=wanted, seen=None if seen is None else seen[:_SEEN_MAX])


def _is_in(source: Address | None, networks: Iterable[Network]) -> bool:
    return source is not None and any(source in network for network in networks)


def _below_instance(raw_path: bytes) -> str:
    parts = raw_path.partition(b"?")[0].split(b"/", 2)
    return "/" + (parts[2].decode("latin-1") if len(parts) > 2 else "")


def _sent_once(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that are looked at. One that comes twice says two things, so it says nothing."""
    found: dict[str, str] = {}
    repeated = set()
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        if name in _LOOKED_AT:
            if name in found:
                repeated.add(name)
            found[name] = raw_value.decode("latin-1").strip(_BLANKS)
    return {name: value for name, value in found.items() if name not in repeated}


def _basic_user(credentials: str) -> str | None:
    """As HAProxy's `http_auth_user` reads it, where the form is right."""
    form = _BASIC.fullmatch(credentials)
    if form is None or len(form[1]) % 4:
        return None
    try:
        user, colon, _ = base64.b64decode(form[1]).partition(b":")
    except binascii.Error:
        return None
    return user.decode("latin-1") if colon and user and b"\0" not in user else None


def _unmapped(source: Address | None) -> Address | None:
    if isinstance(source, IPv6Address):
        return source.ipv4_mapped or source
    return source
