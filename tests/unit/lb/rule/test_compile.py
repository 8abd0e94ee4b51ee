from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import InstanceId, LineId
from lb.rule.block import blocks_of
from lb.rule.compile import RuledInstance, compile_rules, fragment
from lb.rule.errors import RuleInvalid, RulesTooMany
from lb.rule.rule import HeaderMatch, Maintenance, Match, Network, Rule, RuleSet, ToLines

ONE, TWO = LineId("lin_1"), LineId("lin_2")
ADDRESSES = st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address))


def rule(name: str, *, match: Match | None = None, weight: int = 1) -> Rule:
    return Rule(name=name, match=match or Match(), action=ToLines(weights={ONE: weight}))


def instance(*rules: Rule, number: int = 1, line_set: str = "set_1") -> RuledInstance:
    return RuledInstance(
        instance_id=InstanceId(f"ins_{number}"),
        line_set=line_set,
        lines={ONE: 1, TWO: 2},
        rules=RuleSet(rules=rules),
    )


def numbers_of(*names: str, before: dict[str, dict[str, int]] | None = None) -> dict[str, int]:
    compiled = compile_rules([instance(*(rule(name) for name in names))], numbers=before or {})
    return {group.rule: group.number for group in compiled.groups}


@st.composite
def networks(draw: st.DrawFn) -> Network:
    address = draw(ADDRESSES)
    length = draw(st.integers(0, address.max_prefixlen))
    return ip_network(f"{address}/{length}", strict=False)


@given(networks(), ADDRESSES, st.integers(0, 128))
def test_blocks_hold_what_the_network_holds(
    network: Network, stranger: IPv4Address | IPv6Address, bits: int
) -> None:
    near = type(network.network_address)(
        int(network.network_address) ^ (1 << min(bits, network.max_prefixlen - 1))
    )
    blocks = list(blocks_of(network))
    assert 1 <= len(blocks) <= 8
    for address in (stranger, near, network.network_address, network.broadcast_address):
        digits = address.packed.hex().upper()
        key = f"{len(digits)}|{digits}"
        assert any(key.startswith(block) for block in blocks) == (address in network)


def test_instance_without_rules_leaves_nothing() -> None:
    compiled = compile_rules([instance()])
    assert compiled.maps == {"rule.map": {}, "rule_mask.map": {}, "rule_text.map": {}}
    assert compiled.groups == ()


def test_every_key_begins_with_a_tag_of_the_instance() -> None:
    compiled = compile_rules([instance(rule("a"), number=1), instance(rule("a"), number=11)])
    tags = compiled.maps["rule.map"]
    assert tags.keys() == {"ins_1", "ins_11"}
    for name in ("rule_mask.map", "rule_text.map"):
        owners = {key.partition("|")[0] for key in compiled.maps[name]}
        assert owners == set(tags.values())
    assert all(tag.startswith(f"{instance_id}.") for instance_id, tag in tags.items())


def test_tag_changes_with_anything_in_the_rules_and_with_nothing_else() -> None:
    base = instance(rule("a", match=Match(path_prefix="/erp/")))
    neighbour = instance(rule("z"), number=2, line_set="set_2")
    tag = compile_rules([base]).maps["rule.map"]["ins_1"]
    assert compile_rules([neighbour, base]).maps["rule.map"]["ins_1"] == tag
    pause = Rule(name="a", match=Match(path_prefix="/erp/"), action=Maintenance())
    others = [
        instance(rule("a", match=Match(path_prefix="/erq/"))),
        instance(rule("b", match=Match(path_prefix="/erp/"))),
        instance(pause),
        instance(replace(pause, action=Maintenance(retry_after_seconds=61))),
        replace(base, client_certificates={"acme.erp": ("ab" * 32,)}),
    ]
    tags = {compile_rules([other]).maps["rule.map"]["ins_1"] for other in others}
    assert len(tags | {tag}) == len(others) + 1


def test_group_keeps_its_number_whatever_becomes_of_other_rules() -> None:
    first = compile_rules([instance(rule("a"), rule("b"), rule("c"))])
    assert [group.backend for group in first.groups] == ["set_1_g1", "set_1_g2", "set_1_g3"]
    second = compile_rules([instance(rule("new"), rule("c", weight=7), rule("b"))], numbers=first.numbers)
    assert {group.rule: group.number for group in second.groups} == {"b": 2, "c": 3, "new": 4}
    third = compile_rules([instance(rule("b"), rule("newer"), rule("newest"))], numbers=second.numbers)
    assert {group.rule: group.number for group in third.groups} == {"b": 2, "newer": 1, "newest": 5}


def test_instances_on_the_same_lines_share_no_group() -> None:
    compiled = compile_rules([instance(rule("a"), number=1), instance(rule("a"), number=2)])
    assert [(group.instance_id, group.number) for group in compiled.groups] == [("ins_1", 1), ("ins_2", 2)]


def test_same_numbers_come_out_however_instances_are_ordered() -> None:
    several = [instance(rule("a"), rule("b"), number=number) for number in range(5)]
    assert compile_rules(several) == compile_rules(reversed(several))


def test_group_has_only_lines_that_are_there() -> None:
    both = Rule(name="a", match=Match(), action=ToLines(weights={ONE: 5, TWO: 256, LineId("lin_gone"): 1}))
    assert compile_rules([instance(both)]).groups[0].weights == {1: 5, 2: 256}
    less = replace(instance(both), lines={TWO: 2})
    assert compile_rules([less]).groups[0].weights.keys() == {2}
    none = replace(instance(both), lines={})
    assert compile_rules([none]).groups[0].weights == {}


@given(st.dictionaries(st.sampled_from([ONE, TWO, LineId("lin_3")]), st.integers(1, 256), min_size=1))
def test_group_shares_as_the_rule_says_in_small_numbers(weights: dict[LineId, int]) -> None:
    known = replace(
        instance(Rule(name="a", match=Match(), action=ToLines(weights=weights))),
        lines={ONE: 1, TWO: 2, LineId("lin_3"): 3},
    )
    found = compile_rules([known]).groups[0].weights
    by_line = {line_id: found[known.lines[line_id]] for line_id in weights}
    assert all(
        by_line[one] * weights[other] == by_line[other] * weights[one] for one in weights for other in weights
    )
    assert all(1 <= weight <= 256 for weight in found.values())
    if len(set(weights.values())) == 1:
        assert max(found.values()) == 8


def test_maintenance_needs_no_group() -> None:
    compiled = compile_rules([instance(Rule(name="a", match=Match(), action=Maintenance()))])
    assert compiled.groups == ()
    assert "pause|a|60" in compiled.maps["rule_text.map"].values()


@pytest.mark.parametrize(
    "match",
    [
        Match(path_prefix="/a b"),
        Match(path_prefix="/a\nset server x/y state maint"),
        Match(path_prefix="/a;b"),
        Match(path_prefix="/%[env(HOME)]"),
        Match(path_prefix="/$HOME"),
        Match(path_prefix="/\0"),
        Match(path_prefix="/" + "a" * 300),
        Match(clients=frozenset({"a b"})),
        Match(clients=frozenset({'a"b'})),
        Match(clients=frozenset({"a\\b"})),
    ],
)
def test_what_could_break_out_of_a_map_is_refused(match: Match) -> None:
    with pytest.raises(RuleInvalid):
        compile_rules([instance(rule("a", match=match))])


def test_name_that_could_break_out_is_refused() -> None:
    with pytest.raises(RuleInvalid):
        compile_rules([instance(rule("a\nb"))])


def test_no_byte_of_a_header_value_is_in_a_map() -> None:
    odd = rule("a", match=Match(header=HeaderMatch(name="x-batch", value="%[src];\"$HOME\\ '#")))
    keys = compile_rules([instance(odd)]).maps["rule_mask.map"]
    assert any(key.endswith("|h|x-batch|" + b"%[src];\"$HOME\\ '#".hex().upper() + ":") for key in keys)


def test_more_rules_than_bits_are_refused() -> None:
    with pytest.raises(RulesTooMany):
        compile_rules([instance(*(rule(f"r{number}") for number in range(63)))])


def test_last_possible_rule_has_a_bit_below_the_sign() -> None:
    compiled = compile_rules([instance(*(rule(f"r{number}") for number in range(62)))])
    bits = [int(key.rpartition("|")[2]) for key in compiled.maps["rule_text.map"]]
    assert max(bits) == 2**61


def test_fragment_is_one_line_of_printable_text_each() -> None:
    lines = fragment("/run/front/current/maps")
    assert all(re.fullmatch(r"http-request [ -~]+", line) for line in lines)
    assert sum(line.startswith("http-request return") for line in lines) == 2
