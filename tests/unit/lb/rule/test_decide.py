from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from app.core.ids import LineId
from lb.routing import Line, NoLineReady
from lb.rule.decide import (
    Condition,
    LineChosen,
    Refused,
    RequestFacts,
    RuleDecision,
    RuleVerdict,
    choose,
    decide,
)
from lb.rule.errors import RuleLinesNotReady, RuleMaintenance
from lb.rule.rule import NO_RULES, HeaderMatch, Maintenance, Match, Network, Otherwise, Rule, RuleSet, ToLines

ONE, TWO, THREE = (LineId(f"lin_{each}") for each in "123")
PRINT = "ab" * 32


def lines(*names: LineId, away: Sequence[LineId] = ()) -> list[Line]:
    return [Line(line_id=each, weight=100, ready=each not in away) for each in names or (ONE, TWO, THREE)]


def to(*names: LineId, sticky: bool = False, otherwise: Otherwise = "any_line") -> ToLines:
    return ToLines(weights=dict.fromkeys(names, 1), sticky=sticky, otherwise=otherwise)


def rules(
    *matches: Match,
    action: ToLines | Maintenance | None = None,
    sources: Mapping[str, tuple[Network, ...]] = {},
) -> RuleSet:
    return RuleSet(
        rules=tuple(
            Rule(name=f"r{index}", match=match, action=action or to(ONE))
            for index, match in enumerate(matches)
        ),
        sources=sources,
    )


def facts(
    method: str = "GET",
    path: bytes = b"/acme/api/v1/orders",
    *headers: tuple[bytes, bytes],
    source: IPv4Address | IPv6Address | None = None,
    fingerprint: str | None = None,
) -> RequestFacts:
    return RequestFacts.of(method, path, headers=headers, source=source, fingerprint=fingerprint)


def basic(text: bytes) -> tuple[bytes, bytes]:
    return b"Authorization", b"Basic " + base64.b64encode(text)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/acme/api/v1", "/api/v1"),
        (b"/acme/", "/"),
        (b"/acme", "/"),
        (b"/acme?x=/api/", "/"),
        (b"/acme/a?b/c", "/a"),
        (b"/acme//api/", "//api/"),
        (b"/acme/%61pi/\xff", "/%61pi/\xff"),
    ],
)
def test_path_is_what_was_sent_below_the_instance(raw: bytes, path: str) -> None:
    assert facts("GET", raw).path == path


def test_header_that_comes_twice_says_nothing() -> None:
    found = facts("GET", b"/acme/", (b"X-Batch", b" night "), (b"User-Agent", b"a"), (b"user-agent", b"a"))
    assert found.headers == {"x-batch": "night"}


def test_headers_outside_the_vocabulary_are_not_kept() -> None:
    assert facts("GET", b"/acme/", (b"Cookie", b"secret"), basic(b"acme.erp:secret")).headers == {}


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (b"Basic " + base64.b64encode(b"acme.erp:x"), "acme.erp"),
        (b"BASIC   " + base64.b64encode(b"acme.erp:a:b"), "acme.erp"),
        (b"Basic " + base64.b64encode(b"acme.erp:"), "acme.erp"),
        (b"Bas " + base64.b64encode(b"acme.erp:x"), None),
        (b"Bearer " + base64.b64encode(b"acme.erp:x"), None),
        (b"Basic " + base64.b64encode(b"acme.erp"), None),
        (b"Basic " + base64.b64encode(b":x"), None),
        (b"Basic " + base64.b64encode(b"acme\0.erp:x"), None),
        (b"Basic " + base64.b64encode(b"acme.erp:x") + b", Basic eDp5", None),
        (b"Basic " + base64.b64encode(b"acme.erp:x" * 100), None),
        (b"Basic YTpi=", None),
        (b"Basic !!!!", None),
        (b"Basic", None),
    ],
)
def test_user_is_taken_from_well_formed_credentials_only(value: bytes, user: str | None) -> None:
    assert facts("GET", b"/acme/", (b"Authorization", value)).user == user


def test_credentials_sent_twice_name_nobody() -> None:
    assert facts("GET", b"/acme/", basic(b"a.b:x"), basic(b"a.b:x")).user is None


def test_mapped_address_is_an_ipv4_address() -> None:
    sources = {"office": (ip_network("192.0.2.0/24"),)}
    office = rules(Match(source="office"), sources=sources)
    assert decide(office, facts(source=IPv6Address("::ffff:192.0.2.7"))).rule == "r0"
    assert decide(office, facts(source=IPv6Address("::192.0.2.7"))).rule is None
    assert decide(office, facts(source=None)).rule is None


def test_first_rule_that_holds_decides_and_later_ones_are_not_looked_at() -> None:
    decision = decide(rules(Match(methods=frozenset({"POST"})), Match(), Match()), facts())
    assert (decision.rule, decision.index) == ("r1", 1)
    assert [(each.rule, each.failed is None) for each in decision.verdicts] == [("r0", False), ("r1", True)]


def test_without_rules_nothing_is_decided() -> None:
    assert decide(NO_RULES, facts()) == RuleDecision()


@pytest.mark.parametrize(
    ("match", "failed"),
    [
        (
            Match(methods=frozenset({"PUT", "POST"}), path_prefix="/erp/"),
            Condition(kind="method", wanted=("POST", "PUT"), seen="GET"),
        ),
        (
            Match(path_prefix="/erp/", source="office"),
            Condition(kind="path_prefix", wanted="/erp/", seen="/api/v1/orders"),
        ),
        (
            Match(path_prefix="/api/", source="office"),
            Condition(kind="source", wanted="office", seen="198.51.100.1"),
        ),
        (
            Match(header=HeaderMatch(name="x-batch", value="night"), clients=frozenset({"acme.crm"})),
            Condition(kind="header", wanted=("x-batch", "night"), seen=None),
        ),
        (
            Match(clients=frozenset({"acme.crm"})),
            Condition(kind="clients", wanted=("acme.crm",), seen="acme.erp"),
        ),
    ],
)
def test_verdict_names_the_first_condition_that_fails(match: Match, failed: Condition) -> None:
    asked = facts("GET", b"/acme/api/v1/orders", basic(b"acme.erp:x"), source=IPv4Address("198.51.100.1"))
    decision = decide(rules(match, sources={"office": (ip_network("192.0.2.0/24"),)}), asked)
    assert decision.verdicts == (RuleVerdict(rule="r0", index=0, failed=failed),)


def test_what_was_seen_is_cut_off_before_it_gets_long() -> None:
    failed = (
        decide(rules(Match(path_prefix="/erp/")), facts("GET", b"/acme/" + b"a" * 9000)).verdicts[0].failed
    )
    assert failed is not None
    assert len(failed.seen or "") == 200


def test_client_is_known_by_its_certificate_too() -> None:
    only_erp = rules(Match(clients=frozenset({"acme.erp"})))
    certificates = {"acme.erp": (PRINT,), "acme.crm": ("cd" * 32,)}
    assert decide(only_erp, facts(fingerprint=PRINT.upper()), certificates).client == "acme.erp"
    assert decide(only_erp, facts(fingerprint="cd" * 32), certificates).rule is None
    assert decide(only_erp, facts(fingerprint="ef" * 32), certificates).rule is None


def test_name_in_credentials_sticks_before_the_certificate() -> None:
    asked = facts("GET", b"/acme/", basic(b"acme.crm:x"), fingerprint=PRINT)
    assert decide(rules(Match()), asked, {"acme.erp": (PRINT,)}).client == "acme.crm"


def decision(action: ToLines | Maintenance, *, client: str | None = None) -> RuleDecision:
    return RuleDecision(rule="r0", index=0, action=action, client=client)


def test_maintenance_refuses_with_the_time_to_come_back() -> None:
    choice = choose(decision(Maintenance(retry_after_seconds=90)), lines(), request_key="k")
    assert isinstance(choice, Refused)
    assert isinstance(choice.error, RuleMaintenance)
    assert (choice.error.code, choice.error.retry_after_seconds) == ("rule_maintenance", 90)


def test_only_lines_of_the_rule_are_candidates_with_its_weights() -> None:
    action = ToLines(weights={ONE: 1, TWO: 3})
    shares: Counter[LineId] = Counter()
    for number in range(4000):
        choice = choose(decision(action), lines(), request_key=str(number))
        assert isinstance(choice, LineChosen)
        assert choice.by == "rule"
        shares[choice.line_id] += 1
    assert shares.keys() == {ONE, TWO}
    assert shares[TWO] / 4000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    "present", [lines(TWO, THREE), lines(away=(ONE,)), [Line(line_id=ONE, weight=0), *lines(TWO)]]
)
def test_without_a_line_of_the_rule_any_other_serves_or_none(present: list[Line]) -> None:
    choice = choose(decision(to(ONE)), present, request_key="k")
    assert isinstance(choice, LineChosen)
    assert choice.by == "otherwise"
    assert choice.line_id != ONE
    refused = choose(decision(to(ONE, otherwise="refuse")), present, request_key="k")
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, RuleLinesNotReady)


def test_without_any_line_nothing_serves() -> None:
    for each in (RuleDecision(), decision(to(ONE))):
        choice = choose(each, lines(away=(ONE, TWO, THREE)), request_key="k")
        assert isinstance(choice, Refused)
        assert isinstance(choice.error, NoLineReady)


def test_sticky_client_keeps_its_line_and_leaves_it_only_when_it_is_gone() -> None:
    action = to(ONE, TWO, THREE, sticky=True)

    def chosen(client: str, key: str, away: Sequence[LineId] = ()) -> LineId:
        choice = choose(decision(action, client=client), lines(away=away), request_key=key)
        assert isinstance(choice, LineChosen)
        assert choice.sticky_for == client
        return choice.line_id

    clients = [f"acme.c{number}" for number in range(60)]
    homes = {client: chosen(client, "1") for client in clients}
    assert set(homes.values()) == {ONE, TWO, THREE}
    for client, home in homes.items():
        assert {chosen(client, str(key)) for key in range(20)} == {home}
        assert (chosen(client, "x", away=(ONE,)) == home) == (home != ONE)


def test_nobody_sticks_without_a_name_or_where_the_rule_does_not_say_so() -> None:
    for each in (decision(to(ONE, TWO, sticky=True)), decision(to(ONE, TWO), client="acme.erp")):
        choices = [choose(each, lines(), request_key=str(key)) for key in range(40)]
        assert {choice.sticky_for for choice in choices if isinstance(choice, LineChosen)} == {None}
        assert len({choice.line_id for choice in choices if isinstance(choice, LineChosen)}) == 2
