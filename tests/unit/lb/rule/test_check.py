from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import LineId
from lb.rule.check import check_rules, find_problems, read_network
from lb.rule.compile import RuledInstance, compile_rules
from lb.rule.cover import covers, meets
from lb.rule.decide import RequestFacts, decide
from lb.rule.errors import RuleInvalid, RuleNetworkInvalid
from lb.rule.rule import HeaderMatch, Maintenance, Match, Network, Rule, RuleSet, ToLines

ONE, TWO = LineId("lin_1"), LineId("lin_2")
TO_ONE = ToLines(weights={ONE: 1})
OFFICE: dict[str, tuple[Network, ...]] = {"office": (ip_network("192.0.2.0/24"),)}
HOSTILE = (
    *(
        "",
        ";",
        "a;b",
        "a\nb",
        "a\r\nb",
        'a"b',
        "a'b",
        "%[src]",
        "$HOME",
        "\0",
        "a\0",
        " a",
        "a ",
        "\\",
        "`id`",
    ),
    *("#", "ä", "\u0661", "\ud800", "{", "}", "a\tb", "a|b", "A" * 10_000_000),
)


def rule(name: str = "a", *, match: Match | None = None, action: ToLines | Maintenance = TO_ONE) -> Rule:
    return Rule(name=name, match=match or Match(), action=action)


def faults(rules: RuleSet) -> list[tuple[str, str]]:
    return [(each.code, each.field) for each in find_problems(rules, lines={ONE, TWO}).errors]


def warnings(*rules: Rule, clients: set[str] | None = None) -> list[tuple[str, str, dict[str, object]]]:
    found = check_rules(RuleSet(rules=rules, sources=SOURCES), lines={ONE, TWO}, clients=clients)
    return [(each.code, each.field, dict(each.facts)) for each in found if each.code != "rule_source_unused"]


SOURCES: dict[str, tuple[Network, ...]] = {
    "all": (ip_network("10.0.0.0/9"), ip_network("10.128.0.0/9"), ip_network("2001:db8::/32")),
    "some": (ip_network("10.0.0.0/8"),),
    "few": (ip_network("10.1.0.0/16"), ip_network("192.0.2.0/24")),
    "other": (ip_network("198.51.100.0/24"),),
}


def test_rules_as_they_should_be_have_no_fault_and_no_warning() -> None:
    match = Match(
        path_prefix="/api/v1/",
        methods=frozenset({"GET", "POST"}),
        header=HeaderMatch(name="x-batch", value="night run"),
        source="office",
        clients=frozenset({"acme.erp"}),
    )
    rules = RuleSet(rules=(rule(match=match), rule("rest", action=Maintenance())), sources=OFFICE)
    assert check_rules(rules, lines=[ONE], clients=["acme.erp"]) == ()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_bytes_get_in_nowhere(text: str) -> None:
    fields = {
        "rule_name_invalid": rule(text),
        "rule_path_invalid": rule(match=Match(path_prefix=f"/{text}" if text else text)),
        "rule_method_unknown": rule(match=Match(methods=frozenset({text}))),
        "rule_header_unknown": rule(match=Match(header=HeaderMatch(name=text, value="x"))),
        "rule_source_unknown": rule(match=Match(source=text)),
        "rule_client_invalid": rule(match=Match(clients=frozenset({f"acme.{text}"}))),
        "rule_line_foreign": rule(action=ToLines(weights={LineId(text): 1})),
    }
    for code, each in fields.items():
        assert code in [fault for fault, _ in faults(RuleSet(rules=(each,)))]
    assert ("rule_source_invalid") in [code for code, _ in faults(RuleSet(sources={text: OFFICE["office"]}))]
    with pytest.raises(RuleNetworkInvalid):
        read_network(text, field="sources[x][0]")


@pytest.mark.parametrize(
    "value", ["", " a", "a ", "\ta", "a\nb", "a\0", "ä", "\x7f", "\ud800", "v" * 81, "A" * 10_000_000]
)
def test_header_value_is_printable_and_bounded(value: str) -> None:
    odd = rule(match=Match(header=HeaderMatch(name="x-batch", value=value)))
    assert faults(RuleSet(rules=(odd,))) == [("rule_header_value_invalid", "rules[0].match.header.value")]


@pytest.mark.parametrize("value", ['%[src];"$HOME', "a|b:c", "\\", "v" * 80, "a  b", "-m"])
def test_any_printable_header_value_can_be_compiled(value: str) -> None:
    odd = RuleSet(rules=(rule(match=Match(header=HeaderMatch(name="x-client-version", value=value))),))
    assert not faults(odd)
    compile_rules([_longest(odd)])


def _longest(rules: RuleSet) -> RuledInstance:
    return RuledInstance(instance_id="ins_" + "0" * 32, line_set="s" * 64, lines={ONE: 1}, rules=rules)  # type: ignore[arg-type]


def test_longest_values_can_be_compiled() -> None:
    match = Match(path_prefix="/" + "a" * 120, clients=frozenset({"a" * 40 + "." + "b" * 40}))
    rules = RuleSet(rules=(rule("r" * 40, match=match),))
    assert not faults(rules)
    compile_rules([_longest(rules)])


@pytest.mark.parametrize(
    "prefix", ["api/", "/a/../b", "/..", "/a//b", "//", "/%2e%2e/", "/a?b", "/" + "a" * 121]
)
def test_path_that_could_be_read_in_two_ways_is_refused(prefix: str) -> None:
    odd = RuleSet(rules=(rule(match=Match(path_prefix=prefix)),))
    assert faults(odd) == [("rule_path_invalid", "rules[0].match.path_prefix")]


@pytest.mark.parametrize(
    ("action", "code", "field"),
    [
        (ToLines(weights={}), "rule_lines_missing", "weights"),
        (ToLines(weights={ONE: 0}), "rule_weight_invalid", "weights[lin_1]"),
        (ToLines(weights={ONE: 257}), "rule_weight_invalid", "weights[lin_1]"),
        (ToLines(weights={LineId("lin_of_others"): 1}), "rule_line_foreign", "weights[lin_of_others]"),
        (Maintenance(retry_after_seconds=0), "rule_retry_after_invalid", "retry_after_seconds"),
        (Maintenance(retry_after_seconds=86_401), "rule_retry_after_invalid", "retry_after_seconds"),
    ],
)
def test_action_that_cannot_be_is_refused(action: ToLines | Maintenance, code: str, field: str) -> None:
    assert faults(RuleSet(rules=(rule(action=action),))) == [(code, f"rules[0].action.{field}")]


def test_bounds_of_a_rule_set_hold() -> None:
    assert faults(RuleSet(rules=tuple(rule(f"r{number}") for number in range(62)))) == []
    assert faults(RuleSet(rules=tuple(rule(f"r{number}") for number in range(63)))) == [
        ("rules_too_many", "rules")
    ]
    assert faults(RuleSet(rules=(rule("a"), rule("b"), rule("a")))) == [("rule_name_taken", "rules[2].name")]
    groups = {f"g{number}": OFFICE["office"] for number in range(17)}
    assert faults(RuleSet(sources=groups)) == [("rule_source_invalid", "sources")]
    assert faults(RuleSet(sources={"g": ()})) == [("rule_source_invalid", "sources[g]")]
    assert faults(RuleSet(sources={"g": OFFICE["office"] * 65})) == [("rule_source_invalid", "sources[g]")]


def test_all_faults_are_found_and_the_first_is_raised() -> None:
    rules = RuleSet(rules=(rule("A"), rule("b", action=ToLines(weights={ONE: 0}))))
    assert faults(rules) == [
        ("rule_name_invalid", "rules[0].name"),
        ("rule_weight_invalid", "rules[1].action.weights[lin_1]"),
    ]
    with pytest.raises(RuleInvalid) as refused:
        check_rules(rules, lines=[ONE])
    assert (refused.value.code, refused.value.detail["field"]) == ("rule_name_invalid", "rules[0].name")


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
    ],
)
def test_network_is_read(text: str, network: str) -> None:
    assert str(read_network(text, field="f")) == network


@pytest.mark.parametrize(
    "text",
    [
        *("192.0.2.1/24", "192.0.2.0/255.255.255.0", "192.0.2.0/33", "fe80::1%eth0", "::ffff:192.0.2.0/120"),
        *("::ffff:0:0/96", "192.0.2.0/", "/24", "192.0.2", "01.2.3.4", "localhost", "1", "0x7f.1.1.1"),
    ],
)
def test_network_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(RuleNetworkInvalid) as refused:
        read_network(text, field="sources[g][0]")
    assert refused.value.detail == {"field": "sources[g][0]"}


def test_mapped_network_in_a_rule_set_is_refused() -> None:
    odd = RuleSet(sources={"g": (ip_network("192.0.2.0/24"), ip_network("::ffff:192.0.2.0/120"))})
    assert faults(odd) == [("rule_network_invalid", "sources[g][1]")]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (Match(), Match(path_prefix="/erp/")),
        (Match(path_prefix="/erp"), Match(path_prefix="/erp/x/")),
        (Match(methods=frozenset({"GET", "PUT"})), Match(methods=frozenset({"GET"}), source="few")),
        (Match(source="some"), Match(source="some")),
        (Match(source="all"), Match(source="some")),
        (Match(clients=frozenset({"a.b", "a.c"})), Match(clients=frozenset({"a.c"}))),
    ],
)
def test_rule_behind_a_wider_one_is_unreachable(wide: Match, narrow: Match) -> None:
    first, second = rule("wide", match=wide), rule("narrow", match=narrow, action=Maintenance())
    assert ("rule_unreachable", "rules[1]", {"covered_by": "wide"}) in warnings(first, second)
    codes = [code for code, _, _ in warnings(second, first)]
    assert "rule_overlap" not in codes
    assert ("rule_unreachable" in codes) == (wide == narrow)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Match(path_prefix="/erp/"), Match(methods=frozenset({"GET"}))),
        (Match(source="few"), Match(source="some")),
        (
            Match(header=HeaderMatch(name="x-batch", value="a")),
            Match(header=HeaderMatch(name="user-agent", value="b")),
        ),
        (Match(clients=frozenset({"a.b", "a.c"})), Match(clients=frozenset({"a.c", "a.d"}))),
    ],
)
def test_rules_that_meet_and_want_different_things_are_told(one: Match, other: Match) -> None:
    told = ("rule_overlap", "rules[1]", {"with": "one"})
    assert told in warnings(rule("one", match=one), rule("other", match=other, action=Maintenance()))
    assert told not in warnings(rule("one", match=one), rule("other", match=other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Match(path_prefix="/erp/"), Match(path_prefix="/crm/")),
        (Match(methods=frozenset({"GET"})), Match(methods=frozenset({"PUT"}))),
        (Match(source="few"), Match(source="other")),
        (
            Match(header=HeaderMatch(name="x-batch", value="a")),
            Match(header=HeaderMatch(name="x-batch", value="b")),
        ),
        (Match(clients=frozenset({"a.b"})), Match(clients=frozenset({"a.c"}))),
    ],
)
def test_rules_that_never_meet_are_not_told(one: Match, other: Match) -> None:
    assert warnings(rule("one", match=one), rule("other", match=other, action=Maintenance())) in (
        [],
        warnings(rule("one", match=one)),
    )


def test_other_things_that_are_probably_not_meant() -> None:
    match = Match(path_prefix="/erp", clients=frozenset({"acme.erp", "acme.gone"}))
    assert warnings(rule(match=match), clients={"acme.erp"}) == [
        ("rule_prefix_without_end", "rules[0].match.path_prefix", {"prefix": "/erp"}),
        ("rule_client_unknown", "rules[0].match.clients", {"client": "acme.gone"}),
    ]
    unused = check_rules(RuleSet(rules=(rule(),), sources=OFFICE), lines=[ONE])
    assert [(each.code, each.field) for each in unused] == [("rule_source_unused", "sources[office]")]


PREFIXES = st.sampled_from([None, "/", "/a", "/a/", "/a/b/", "/b/"])
MATCHES = st.builds(
    Match,
    path_prefix=PREFIXES,
    methods=st.frozensets(st.sampled_from(["GET", "PUT"])),
    header=st.sampled_from(
        [None, HeaderMatch(name="x-batch", value="1"), HeaderMatch(name="user-agent", value="1")]
    ),
    source=st.sampled_from([None, *SOURCES]),
    clients=st.frozensets(st.sampled_from(["a.b", "a.c"])),
)
FACTS = [
    RequestFacts(method=method, path=path, headers=headers, source=IPv4Address(source), user=user)
    for method in ("GET", "PUT", "PATCH")
    for path in ("/", "/ab", "/a/", "/a/b/c", "/b/")
    for headers in ({}, {"x-batch": "1"}, {"x-batch": "1", "user-agent": "1"}, {"user-agent": "1"})
    for source in ("10.1.0.1", "10.200.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1")
    for user in ("a.b", "a.c", None)
]


@given(MATCHES, MATCHES)
def test_cover_and_meeting_are_as_requests_have_it(one: Match, other: Match) -> None:
    rules = RuleSet(sources=SOURCES)

    def held(match: Match) -> set[int]:
        alone = replace(rules, rules=(rule(match=match),))
        return {index for index, facts in enumerate(FACTS) if decide(alone, facts).rule is not None}

    first, second = held(one), held(other)
    if covers(one, other, rules):
        assert second <= first
    if first & second:
        assert meets(one, other, rules)
    if not meets(one, other, rules):
        assert not covers(one, other, rules)
