"""Rules as maps for HAProxy. Pure.

Which rules hold is a number with one bit for each rule, the first one lowest. For every condition a map tells which
rules it allows; and-ed, the lowest bit left is the rule that decides (`lb.rule.fragment` asks the maps).

    rule.map        instance                    ─► tag
    rule_mask.map   tag|m|GET:                  ─► rules that allow the method        tag|m|   any other one
                    tag|p|/erp/                 ─► … paths that begin like this       tag|p|   any other one
                    tag|s|8|0A                  ─► … addresses in this block          tag|s|   any other one
                    tag|h|x-batch|6E69676874:   ─► … this value, in hexadecimal       tag|h|x-batch|
                    tag|c|acme.erp:             ─► … this client                      tag|c|
    rule_text.map   tag|a|4                     ─► what the rule with this bit does
                    tag|f|0A1B…                 ─► client whose certificate it is

Every key begins with a tag that only this instance has, and that is another one as soon as anything in its rules is:
rules are changed by adding what is new, setting the one tag, and taking away what is old. No request meets rules of
both kinds; one that has looked up its tag and nothing else yet when the old ones go meets none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from app.core.ids import InstanceId, LineId
from lb.rule.block import blocks_of
from lb.rule.decide import find_owner
from lb.rule.errors import RuleInvalid, RulesTooMany
from lb.rule.fragment import MASK_MAP, TAG_MAP, TEXT_MAP, fragment
from lb.rule.rule import MOST_RULES, Maintenance, Match, Network, Rule, RuleSet, ToLines
from lb.rule.vocabulary import HEADERS, METHODS
from lb.share import small_shares

__all__ = ["CompiledRules", "Group", "GroupNumbers", "RuledInstance", "compile_rules", "fragment"]

GroupNumbers = Mapping[str, Mapping[str, int]]
"""By line set, the number of each rule's group by `<instance id>|<rule>`."""

_WORD: Final = re.compile(r"[A-Za-z0-9_|:/.~-]{1,250}")
_TAG_DIGITS: Final = 12
_NO_NUMBERS: Final[GroupNumbers] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledInstance:
    """An instance as far as its rules are concerned.

    Attributes:
        lines: number, by id, of the lines of its set that have a weight; a rule's other lines are not there.
    """

    instance_id: InstanceId
    line_set: str
    lines: Mapping[LineId, int]
    rules: RuleSet
    client_certificates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group backend: the lines of one rule.

    Attributes:
        number: within the line set, 1 and up.
        weights: by number of the line, with the shares that the rule says; the set's other lines take no requests in
            this group.
    """

    line_set: str
    number: int
    instance_id: InstanceId
    rule: str
    weights: Mapping[int, int]

    @property
    def backend(self) -> str:
        """Its name in HAProxy."""
        return f"{self.line_set}_g{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRules:
    """Rules as the front needs them.

    Attributes:
        maps: entries by name of the file, sorted.
        groups: sorted by line set and number.
        numbers: to be given the next time, so that groups keep theirs.
    """

    maps: Mapping[str, Mapping[str, str]]
    groups: tuple[Group, ...]
    numbers: GroupNumbers


def compile_rules(
    instances: Iterable[RuledInstance], *, numbers: GroupNumbers = _NO_NUMBERS
) -> CompiledRules:
    """Compile the rules of all instances.

    A rule keeps its group as long as it keeps its name, whatever happens to other rules or to its own weights. A new
    rule gets the lowest number that nobody had before, so that requests on their way never see a group change hands.

    Raises:
        RuleInvalid: a value has a form that must not get into a map, or there are more rules than bits.
    """
    ruled = sorted((each for each in instances if each.rules.rules), key=lambda each: each.instance_id)
    kept = _number(ruled, numbers)
    tags: dict[str, str] = {}
    masks: dict[str, str] = {}
    texts: dict[str, str] = {}
    for each in ruled:
        own_masks, own_texts = _masks_of(each), _texts_of(each, kept)
        tag = f"{each.instance_id}.{_digest(own_masks, own_texts)}"
        tags[each.instance_id] = tag
        masks.update({f"{tag}|{key}": value for key, value in own_masks.items()})
        texts.update({f"{tag}|{key}": value for key, value in own_texts.items()})
    return CompiledRules(
        maps={TAG_MAP: _checked(tags), MASK_MAP: _checked(masks), TEXT_MAP: _checked(texts)},
        groups=tuple(sorted(_groups(ruled, kept), key=lambda group: (group.line_set, group.number))),
        numbers=kept,
    )


def _number(instances: Iterable[RuledInstance], before: GroupNumbers) -> dict[str, dict[str, int]]:
    wanted: dict[str, list[str]] = {}
    for each in instances:
        names = [_group_key(each, rule) for rule in each.rules.rules if isinstance(rule.action, ToLines)]
        wanted.setdefault(each.line_set, []).extend(names)
    return {line_set: _assign(names, before.get(line_set, {})) for line_set, names in wanted.items() if names}


def _assign(names: Iterable[str], before: Mapping[str, int]) -> dict[str, int]:
    wanted = tuple(names)
    taken = set(before.values())
    fresh = (number for number in count(1) if number not in taken)
    return {name: before[name] if name in before else next(fresh) for name in wanted}


def _group_key(instance: RuledInstance, rule: Rule) -> str:
    return f"{instance.instance_id}|{rule.name}"


def _groups(instances: Iterable[RuledInstance], numbers: GroupNumbers) -> Iterator[Group]:
    for each in instances:
        for rule in each.rules.rules:
            if isinstance(rule.action, ToLines):
                yield Group(
                    line_set=each.line_set,
                    number=numbers[each.line_set][_group_key(each, rule)],
                    instance_id=each.instance_id,
                    rule=rule.name,
                    weights=small_shares(
                        {each.lines[line]: weight for line, weight in _present(rule.action, each)}
                    ),
                )


def _present(action: ToLines, instance: RuledInstance) -> Iterator[tuple[LineId, int]]:
    known = sorted(instance.lines, key=lambda line_id: instance.lines[line_id])
    yield from ((line_id, action.weights[line_id]) for line_id in known if line_id in action.weights)


def _masks_of(instance: RuledInstance) -> dict[str, str]:
    """Keys behind the tag, with the rules that each of them allows."""
    rules = instance.rules.rules
    if len(rules) > MOST_RULES:
        raise RulesTooMany("There are more rules than one rule set can have.", field="rules", most=MOST_RULES)
    matches = tuple(rule.match for rule in rules)
    found = {**_method_masks(matches), **_path_masks(matches), **_client_masks(matches)}
    found.update(_source_masks(matches, instance.rules.sources))
    for name in HEADERS:
        found.update(_header_masks(matches, name))
    return {key: str(mask) for key, mask in found.items()}


def _mask(held: Iterable[bool]) -> int:
    return sum(1 << index for index, holds in enumerate(held) if holds)


def _method_masks(matches: tuple[Match, ...]) -> dict[str, int]:
    found = {
        f"m|{method}:": _mask(not match.methods or method in match.methods for match in matches)
        for method in METHODS
    }
    return {**found, "m|": _mask(not match.methods for match in matches)}


def _path_masks(matches: tuple[Match, ...]) -> dict[str, int]:
    prefixes = {match.path_prefix for match in matches if match.path_prefix is not None} | {""}
    return {
        f"p|{prefix}": _mask(
            match.path_prefix is None or prefix.startswith(match.path_prefix) for match in matches
        )
        for prefix in prefixes
    }


def _client_masks(matches: tuple[Match, ...]) -> dict[str, int]:
    clients = {client for match in matches for client in match.clients}
    found = {
        f"c|{client}:": _mask(not match.clients or client in match.clients for match in matches)
        for client in clients
    }
    return {**found, "c|": _mask(not match.clients for match in matches)}


def _header_masks(matches: tuple[Match, ...], name: str) -> dict[str, int]:
    wanted = [
        match.header.value if match.header is not None and match.header.name == name else None
        for match in matches
    ]
    values = {value for value in wanted if value is not None}
    found = {
        f"h|{name}|{value.encode().hex().upper()}:": _mask(each in (None, value) for each in wanted)
        for value in values
    }
    return {**found, f"h|{name}|": _mask(each is None for each in wanted)}


def _source_masks(matches: tuple[Match, ...], sources: Mapping[str, tuple[Network, ...]]) -> dict[str, int]:
    """Of the blocks that hold an address, the longest decides: it allows what those around it allow, too."""
    everywhere = _mask(match.source is None for match in matches)
    own: dict[str, int] = {}
    for name in {match.source for match in matches if match.source is not None}:
        allowed = _mask(match.source == name for match in matches)
        for network in sources.get(name, ()):
            for block in blocks_of(network):
                own[block] = own.get(block, everywhere) | allowed
    found = {f"s|{block}": _around(block, own) for block in own}
    return {**found, "s|": everywhere}


def _around(block: str, masks: Mapping[str, int]) -> int:
    """What a block and all those that it lies in allow."""
    family = block.index("|") + 1
    found = 0
    for end in range(family, len(block) + 1):
        found |= masks.get(block[:end], 0)
    return found


def _texts_of(instance: RuledInstance, numbers: GroupNumbers) -> dict[str, str]:
    found = {
        f"a|{1 << index}": _action_text(instance, rule, numbers)
        for index, rule in enumerate(instance.rules.rules)
    }
    prints = {each.upper() for held in instance.client_certificates.values() for each in held}
    for each in prints:
        found[f"f|{each}"] = find_owner(instance.client_certificates, each) or ""
    return found


def _action_text(instance: RuledInstance, rule: Rule, numbers: GroupNumbers) -> str:
    action = rule.action
    if isinstance(action, Maintenance):
        return f"pause|{rule.name}|{action.retry_after_seconds}"
    number = numbers[instance.line_set][_group_key(instance, rule)]
    sticking = "sticky" if action.sticky else "loose"
    return f"lines|{rule.name}|{instance.line_set}_g{number}|{sticking}|{action.otherwise}"


def _digest(*entries: Mapping[str, str]) -> str:
    text = json.dumps(entries, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_TAG_DIGITS]


def _checked(entries: Mapping[str, str]) -> dict[str, str]:
    for pair in entries.items():
        if not all(_WORD.fullmatch(each) for each in pair):
            raise RuleInvalid("A rule holds a byte that no load balancer is told.", field="rules")
    return dict(sorted(entries.items()))
