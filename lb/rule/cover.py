"""How rules of one set stand to each other: one covers another, or they meet and want different things. Pure.

Pairs only: that several earlier rules together leave nothing for a later one is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import TypeVar

from lb.rule.rule import Match, Network, Rule, RuleSet

T = TypeVar("T")


def find_cover(rules: RuleSet, index: int) -> Rule | None:
    """An earlier rule that holds whenever this one does, so that this one never decides."""
    match = rules.rules[index].match
    earlier = rules.rules[:index]
    return next((rule for rule in earlier if covers(rule.match, match, rules)), None)


def find_overlap(rules: RuleSet, index: int) -> Rule | None:
    """An earlier rule with another action that holds for some of this one's requests.

    A special case before its general one is how rules are written, and not meant here.
    """
    rule = rules.rules[index]
    for earlier in rules.rules[:index]:
        special = covers(rule.match, earlier.match, rules)
        if earlier.action != rule.action and not special and meets(earlier.match, rule.match, rules):
            return earlier
    return None


def covers(wide: Match, narrow: Match, rules: RuleSet) -> bool:
    """Whether every request that `narrow` holds for is one that `wide` holds for."""
    return all(
        (
            wide.path_prefix is None or (narrow.path_prefix or "").startswith(wide.path_prefix),
            _holds_all(wide.methods, narrow.methods),
            wide.header is None or wide.header == narrow.header,
            _source_covers(wide.source, narrow.source, rules),
            _holds_all(wide.clients, narrow.clients),
        )
    )


def meets(one: Match, other: Match, rules: RuleSet) -> bool:
    """Whether there are requests that both hold for."""
    return all(
        (
            _both(one.path_prefix, other.path_prefix, _is_same_branch),
            not one.methods or not other.methods or bool(one.methods & other.methods),
            _both(one.header, other.header, lambda a, b: a.name != b.name or a.value == b.value),
            _both(one.source, other.source, lambda a, b: _sources_meet(a, b, rules)),
            # A caller may show the name of one client and the certificate of another; that is not what is looked for.
            not one.clients or not other.clients or bool(one.clients & other.clients),
        )
    )


def _holds_all(wide: frozenset[str], narrow: frozenset[str]) -> bool:
    return not wide or (bool(narrow) and narrow <= wide)


def _both(one: T | None, other: T | None, agree: Callable[[T, T], bool]) -> bool:
    return one is None or other is None or agree(one, other)


def _is_same_branch(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _source_covers(wide: str | None, narrow: str | None, rules: RuleSet) -> bool:
    if wide is None or wide == narrow:
        return True
    if narrow is None:
        return False
    around = tuple(_collapsed(rules.sources[wide]))
    return all(any(_is_within(each, other) for other in around) for each in rules.sources[narrow])


def _sources_meet(one: str, other: str, rules: RuleSet) -> bool:
    return any(a.overlaps(b) for a in rules.sources[one] for b in rules.sources[other])


def _collapsed(networks: Iterable[Network]) -> Iterator[Network]:
    known = tuple(networks)
    yield from collapse_addresses(each for each in known if isinstance(each, IPv4Network))
    yield from collapse_addresses(each for each in known if isinstance(each, IPv6Network))


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)
