"""Whether a rule set can be, and what about it is probably not meant. Pure.

A fault has a code and names its field (`rules[3].match.path_prefix`); a warning does not keep anybody from anything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network

from app.core.ids import LineId
from app.core.json import JsonValue
from lb.rule.cover import find_cover, find_overlap
from lb.rule.errors import (
    RuleClientInvalid,
    RuleHeaderUnknown,
    RuleHeaderValueInvalid,
    RuleInvalid,
    RuleLineForeign,
    RuleLinesMissing,
    RuleMethodUnknown,
    RuleNameInvalid,
    RuleNameTaken,
    RuleNetworkInvalid,
    RulePathInvalid,
    RuleRetryAfterInvalid,
    RuleSourceInvalid,
    RuleSourceUnknown,
    RulesTooMany,
    RuleWeightInvalid,
)
from lb.rule.rule import MOST_RULES, Maintenance, Match, Network, Rule, RuleSet, ToLines
from lb.rule.vocabulary import (
    HEADER_VALUE,
    HEADER_VALUE_MAX,
    HEADERS,
    METHODS,
    MOST_CLIENTS,
    MOST_GROUPS,
    MOST_NETWORKS,
    NAME,
    RETRY_AFTER_MAX,
    USERNAME,
    WEIGHT_MAX,
    is_prefix,
)

_NETWORK_TEXT_MAX = 64
_NETWORK_TEXT = re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?", re.ASCII)
"""Plain notation: `ip_network` alone would take digits of other scripts and netmasks, too."""
_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about a rule set that is allowed and probably not meant.

    Attributes:
        field: where.
        facts: for the text: names of rules, groups and clients.
    """

    code: str
    field: str
    facts: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All there is to say about a rule set; it can be if there are no errors."""

    errors: tuple[RuleInvalid, ...] = ()
    warnings: tuple[Finding, ...] = ()


def check_rules(
    rules: RuleSet, *, lines: Collection[LineId], clients: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """Return the warnings about a rule set that can be.

    Args:
        rules: to be checked.
        lines: the instance's.
        clients: user names of the instance's API clients; None: not known.

    Raises:
        RuleInvalid: it cannot be; the first fault.
    """
    findings = find_problems(rules, lines=lines, clients=clients)
    if findings.errors:
        raise findings.errors[0]
    return findings.warnings


def find_problems(
    rules: RuleSet, *, lines: Collection[LineId], clients: Collection[str] | None = None
) -> Findings:
    """Say all there is to say about a rule set; about one with errors no warnings are given."""
    errors = (*_set_errors(rules), *_source_errors(rules), *_rule_errors(rules, lines))
    if errors:
        return Findings(errors=errors)
    return Findings(warnings=(*_rule_warnings(rules, clients), *_source_warnings(rules)))


def read_network(text: str, *, field: str) -> Network:
    """Read a network, or an address as one.

    Args:
        text: as `192.0.2.0/24` or `2001:db8::/32`.
        field: where it stands.

    Raises:
        RuleNetworkInvalid: it is none, has bits beyond its length, a zone, or is an IPv4 network in IPv6 form.
    """
    try:
        if len(text) > _NETWORK_TEXT_MAX or not _NETWORK_TEXT.fullmatch(text):
            raise ValueError
        network = ip_network(text)
    except ValueError:
        raise RuleNetworkInvalid(
            "This is no network; write 192.0.2.0/24 or 2001:db8::/32, without bits behind the length.",
            field=field,
        ) from None
    _refuse_mapped(network, field)
    return network


def _refuse_mapped(network: Network, field: str) -> None:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise RuleNetworkInvalid("Write an IPv4 network as such: 192.0.2.0/24.", field=field)


def _set_errors(rules: RuleSet) -> Iterator[RuleInvalid]:
    if len(rules.rules) > MOST_RULES:
        yield RulesTooMany(f"A rule set has at most {MOST_RULES} rules.", field="rules", most=MOST_RULES)
    names = Counter(rule.name for rule in rules.rules)
    seen: set[str] = set()
    for index, rule in enumerate(rules.rules):
        if names[rule.name] > 1 and rule.name in seen:
            yield RuleNameTaken("Another rule has this name.", field=f"rules[{index}].name")
        seen.add(rule.name)


def _source_errors(rules: RuleSet) -> Iterator[RuleInvalid]:
    if len(rules.sources) > MOST_GROUPS:
        yield RuleSourceInvalid(
            f"A rule set has at most {MOST_GROUPS} groups of networks.", field="sources", most=MOST_GROUPS
        )
    for name, networks in rules.sources.items():
        where = f"sources[{_shown(name)}]"
        if not NAME.fullmatch(name):
            yield RuleSourceInvalid(
                "A group's name has 1 to 40 small letters, digits and hyphens.", field=where
            )
        if not 1 <= len(networks) <= MOST_NETWORKS:
            yield RuleSourceInvalid(
                f"A group has 1 to {MOST_NETWORKS} networks.", field=where, most=MOST_NETWORKS
            )
        for index, network in enumerate(networks):
            try:
                _refuse_mapped(network, f"{where}[{index}]")
            except RuleNetworkInvalid as error:
                yield error


def _rule_errors(rules: RuleSet, lines: Collection[LineId]) -> Iterator[RuleInvalid]:
    for index, rule in enumerate(rules.rules):
        where = f"rules[{index}]"
        if not NAME.fullmatch(rule.name):
            yield RuleNameInvalid(
                "A rule's name has 1 to 40 small letters, digits and hyphens.", field=f"{where}.name"
            )
        yield from _match_errors(rule.match, rules, f"{where}.match")
        if isinstance(rule.action, Maintenance):
            yield from _pause_errors(rule.action, f"{where}.action")
        else:
            yield from _lines_errors(rule.action, lines, f"{where}.action")


def _match_errors(match: Match, rules: RuleSet, where: str) -> Iterator[RuleInvalid]:
    if match.path_prefix is not None and not is_prefix(match.path_prefix):
        yield RulePathInvalid(
            "A path begins with a slash and has at most 120 letters, digits and . _ ~ / - behind it, no two dots or "
            "slashes in a row.",
            field=f"{where}.path_prefix",
        )
    unknown = sorted(match.methods.difference(METHODS))
    if unknown:
        yield RuleMethodUnknown(
            f"Rules tell these methods apart: {', '.join(METHODS)}.",
            field=f"{where}.methods",
            allowed=list(METHODS),
        )
    yield from _header_errors(match, where)
    if match.source is not None and match.source not in rules.sources:
        yield RuleSourceUnknown("There is no group of networks with this name.", field=f"{where}.source")
    if len(match.clients) > MOST_CLIENTS:
        yield RuleClientInvalid(
            f"A rule names at most {MOST_CLIENTS} clients.", field=f"{where}.clients", most=MOST_CLIENTS
        )
    if not all(USERNAME.fullmatch(client) for client in match.clients):
        yield RuleClientInvalid(
            "A client is named by its user name: instance, dot, client.", field=f"{where}.clients"
        )


def _header_errors(match: Match, where: str) -> Iterator[RuleInvalid]:
    header = match.header
    if header is None:
        return
    if header.name not in HEADERS:
        yield RuleHeaderUnknown(
            f"Rules look at these headers: {', '.join(HEADERS)}.",
            field=f"{where}.header.name",
            allowed=list(HEADERS),
        )
    if len(header.value) > HEADER_VALUE_MAX or not HEADER_VALUE.fullmatch(header.value):
        yield RuleHeaderValueInvalid(
            f"A header's value has 1 to {HEADER_VALUE_MAX} printable ASCII characters, no blank first or last.",
            field=f"{where}.header.value",
        )


def _pause_errors(action: Maintenance, where: str) -> Iterator[RuleInvalid]:
    if not 1 <= action.retry_after_seconds <= RETRY_AFTER_MAX:
        yield RuleRetryAfterInvalid(
            f"Callers are told to come back in 1 to {RETRY_AFTER_MAX} seconds.",
            field=f"{where}.retry_after_seconds",
            most=RETRY_AFTER_MAX,
        )


def _lines_errors(action: ToLines, lines: Collection[LineId], where: str) -> Iterator[RuleInvalid]:
    if not action.weights:
        yield RuleLinesMissing("A rule sends requests to one line or more.", field=f"{where}.weights")
    for line_id, weight in action.weights.items():
        at = f"{where}.weights[{_shown(line_id)}]"
        if line_id not in lines:
            yield RuleLineForeign("The instance has no such line.", field=at)
        if not 1 <= weight <= WEIGHT_MAX:
            yield RuleWeightInvalid(
                f"A line has a weight of 1 to {WEIGHT_MAX}; leave it out to send it nothing.",
                field=at,
                most=WEIGHT_MAX,
            )


def _shown(name: str) -> str:
    """A name as it may be shown: bounded, and nothing that is not printable."""
    return "".join(each if " " <= each <= "~" else "?" for each in name[:64])


def _rule_warnings(rules: RuleSet, clients: Collection[str] | None) -> Iterator[Finding]:
    for index, rule in enumerate(rules.rules):
        where = f"rules[{index}]"
        yield from _order_warnings(rules, index, where)
        prefix = rule.match.path_prefix
        if prefix is not None and not prefix.endswith("/"):
            facts: Mapping[str, JsonValue] = {"prefix": prefix}
            yield Finding(code="rule_prefix_without_end", field=f"{where}.match.path_prefix", facts=facts)
        if clients is not None:
            for client in sorted(rule.match.clients.difference(clients)):
                yield Finding(
                    code="rule_client_unknown", field=f"{where}.match.clients", facts={"client": client}
                )


def _order_warnings(rules: RuleSet, index: int, where: str) -> Iterator[Finding]:
    cover: Rule | None = find_cover(rules, index)
    if cover is not None:
        yield Finding(code="rule_unreachable", field=where, facts={"covered_by": cover.name})
        return
    overlap = find_overlap(rules, index)
    if overlap is not None:
        yield Finding(code="rule_overlap", field=where, facts={"with": overlap.name})


def _source_warnings(rules: RuleSet) -> Iterator[Finding]:
    used = {rule.match.source for rule in rules.rules}
    for name in rules.sources:
        if name not in used:
            yield Finding(code="rule_source_unused", field=f"sources[{name}]", facts={"source": name})
