from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import LineId
from app.core.json import dump_json, load_object
from lb.rule.rule import HeaderMatch, Maintenance, Match, Rule, RuleSet, ToLines
from tenancy.rule.document import describe_rules, read_rules

names = st.text("az09-", min_size=1, max_size=4)
matches = st.builds(
    Match,
    path_prefix=st.none() | st.text(max_size=20).map(lambda text: "/" + text),
    methods=st.frozensets(st.sampled_from(["GET", "HEAD", "POST", "PUT"])),
    header=st.none() | st.builds(HeaderMatch, name=names, value=st.text(max_size=20)),
    source=st.none() | names,
    clients=st.frozensets(names, max_size=3),
)
actions = st.builds(Maintenance, retry_after_seconds=st.integers(1, 86400)) | st.builds(
    ToLines,
    weights=st.dictionaries(names.map(LineId), st.integers(1, 256), min_size=1, max_size=4),
    sticky=st.booleans(),
    otherwise=st.sampled_from(["any_line", "refuse"]),
)
networks = st.sampled_from(["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32", "::1/128"]).map(ip_network)
rule_sets = st.builds(
    RuleSet,
    rules=st.lists(st.builds(Rule, name=names, match=matches, action=actions), max_size=3).map(tuple),
    sources=st.dictionaries(names, st.lists(networks, max_size=4).map(tuple), max_size=3),
)


@given(rule_sets)
def test_what_is_written_is_what_is_read(rules: RuleSet) -> None:
    assert read_rules(load_object(dump_json(describe_rules(rules)))) == rules


@given(rule_sets)
def test_order_that_means_nothing_makes_no_other_document(rules: RuleSet) -> None:
    turned = RuleSet(rules=rules.rules, sources=dict(reversed(list(rules.sources.items()))))
    assert dump_json(describe_rules(turned)) == dump_json(describe_rules(rules))


def test_other_order_of_rules_is_another_rule_set() -> None:
    first, second = (
        Rule(name=name, match=Match(), action=Maintenance(retry_after_seconds=1)) for name in ("a", "b")
    )
    one, other = RuleSet(rules=(first, second)), RuleSet(rules=(second, first))
    assert describe_rules(one) != describe_rules(other)
