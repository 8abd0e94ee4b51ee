"""Routing rules as values: a closed vocabulary, so that nothing else can be said. Pure.

A rule set is ordered; the first rule whose conditions all hold decides. No rule: any line, by weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

from app.core.ids import LineId

Network = IPv4Network | IPv6Network
Otherwise = Literal["any_line", "refuse"]

MOST_RULES: Final = 62
"""Which rules hold is one 63-bit number in HAProxy, the sign left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    """A header of the list and the one value that it must have."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What must hold, all of it; what is left out holds for every request.

    Attributes:
        path_prefix: of the path below the instance's name, `/…`, as it was sent.
        methods: any of them; empty: all.
        source: name of a group of networks of the rule set.
        clients: user names of API clients, any of them; empty: all.
    """

    path_prefix: str | None = None
    methods: frozenset[str] = frozenset()
    header: HeaderMatch | None = None
    source: str | None = None
    clients: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToLines:
    """Send it to some of the instance's lines.

    Attributes:
        weights: by line, 1 to 256; one line alone is a pinned one.
        sticky: requests of the same API client go to the same line while it is there.
        otherwise: when none of them is there.
    """

    weights: Mapping[LineId, int]
    sticky: bool = False
    otherwise: Otherwise = "any_line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Answer 503 with `Retry-After` instead of asking a line."""

    retry_after_seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        name: `[a-z0-9-]{1,40}`, unique in its set; what people see in a dry run and in logs.
    """

    name: str
    match: Match
    action: ToLines | Maintenance


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The rules of one instance, in order.

    Attributes:
        sources: groups of networks, by name.
    """

    rules: tuple[Rule, ...] = ()
    sources: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)


NO_RULES: Final = RuleSet()
