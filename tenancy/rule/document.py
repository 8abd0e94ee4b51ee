"""Rule sets as JSON: how they are stored, and how they are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import cast

from app.core.ids import LineId
from app.core.json import JsonObject, JsonValue
from lb.rule.rule import HeaderMatch, Maintenance, Match, Network, Otherwise, Rule, RuleSet, ToLines


def describe_rules(rules: RuleSet) -> JsonObject:
    """A rule set as JSON; equal rule sets give equal JSON."""
    return {
        "rules": [_describe_rule(each) for each in rules.rules],
        "sources": {name: [str(each) for each in rules.sources[name]] for name in sorted(rules.sources)},
    }


def read_rules(document: JsonObject) -> RuleSet:
    """What `describe_rules` wrote. For stored documents: nothing is checked again."""
    sources = cast(Mapping[str, Sequence[str]], document["sources"])
    return RuleSet(
        rules=tuple(_read_rule(each) for each in cast(Sequence[JsonObject], document["rules"])),
        sources={name: _networks(texts) for name, texts in sources.items()},
    )


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in texts)


def _describe_rule(rule: Rule) -> JsonObject:
    return {"name": rule.name, "match": _describe_match(rule.match), "action": _describe_action(rule.action)}


def _describe_match(match: Match) -> JsonObject:
    """What is said; what is left out holds for every request."""
    header: JsonObject | None = None
    if match.header is not None:
        header = {"name": match.header.name, "value": match.header.value}
    said: dict[str, JsonValue] = {
        "path_prefix": match.path_prefix,
        "methods": [*sorted(match.methods)] or None,
        "header": header,
        "source": match.source,
        "clients": [*sorted(match.clients)] or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _describe_action(action: ToLines | Maintenance) -> JsonObject:
    if isinstance(action, Maintenance):
        return {"kind": "maintenance", "retry_after_seconds": action.retry_after_seconds}
    return {
        "kind": "lines",
        "weights": {line_id: action.weights[line_id] for line_id in sorted(action.weights)},
        "sticky": action.sticky,
        "otherwise": action.otherwise,
    }


def _read_rule(document: JsonObject) -> Rule:
    return Rule(
        name=str(document["name"]),
        match=_read_match(cast(JsonObject, document["match"])),
        action=_read_action(cast(JsonObject, document["action"])),
    )


def _read_match(document: JsonObject) -> Match:
    header = cast(Mapping[str, str] | None, document.get("header"))
    return Match(
        path_prefix=cast(str | None, document.get("path_prefix")),
        methods=frozenset(cast(Sequence[str], document.get("methods", ()))),
        header=None if header is None else HeaderMatch(name=header["name"], value=header["value"]),
        source=cast(str | None, document.get("source")),
        clients=frozenset(cast(Sequence[str], document.get("clients", ()))),
    )


def _read_action(document: JsonObject) -> ToLines | Maintenance:
    if document["kind"] == "maintenance":
        return Maintenance(retry_after_seconds=cast(int, document["retry_after_seconds"]))
    weights = cast(Mapping[str, int], document["weights"])
    return ToLines(
        weights={LineId(line_id): weight for line_id, weight in weights.items()},
        sticky=bool(document["sticky"]),
        otherwise=cast(Otherwise, document["otherwise"]),
    )
