from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from app.core.ids import LineId
from app.http.rule_text import explain_trial, finding_text
from lb.routing import Line
from lb.rule.check import Finding
from lb.rule.decide import RequestFacts, choose, decide
from lb.rule.rule import HeaderMatch, Maintenance, Match, Rule, RuleSet, ToLines
from tenancy.rule.record import RuleTrial

LINES = tuple(Line(line_id=LineId(f"acme-{n}")) for n in (1, 2))
BOTH = {each.line_id: weight for each, weight in zip(LINES, (3, 1), strict=True)}
SECOND = {LineId("acme-2"): 1}


def tried(*rules: Rule, lines: tuple[Line, ...] = LINES, user: str | None = None) -> dict[str, str]:
    rule_set = RuleSet(rules=rules, sources={"office": (ip_network("192.0.2.0/24"),)})
    facts = RequestFacts(
        method="GET",
        path="/api/v1/items",
        headers={"x-client-class": "batch"},
        source=ip_address("192.0.2.7"),
        user=user,
    )
    decision = decide(rule_set, facts)
    trial = RuleTrial(
        version=1,
        rules=rule_set,
        lines=lines,
        decision=decision,
        choice=choose(decision, lines, request_key="k"),
        findings=(),
    )
    return explain_trial(trial)


def test_pinned_line_and_each_condition_of_its_rule_are_named() -> None:
    match = Match(
        path_prefix="/api/",
        methods=frozenset({"GET", "HEAD"}),
        header=HeaderMatch(name="x-client-class", value="batch"),
        source="office",
        clients=frozenset({"acme.erp"}),
    )
    said = tried(Rule(name="batch", match=match, action=ToLines(weights=SECOND)), user="acme.erp")
    assert said == {
        "en": "This request would go to line acme-2, because rule “batch” holds (method GET/HEAD, the path begins "
        "with /api/, the address is in office, the header x-client-class: batch, the API client is acme.erp).",
        "de": "Diese Anfrage ginge an Linie acme-2, weil die Regel „batch“ zutrifft (Methode GET/HEAD, der Pfad "
        "beginnt mit /api/, die Adresse liegt in office, die Kopfzeile x-client-class: batch, der API-Client "
        "ist acme.erp).",
    }


def test_lines_by_weight_are_named_with_their_shares_and_who_sticks() -> None:
    rule = Rule(name="all", match=Match(), action=ToLines(weights=BOTH, sticky=True))
    assert tried(rule, user="acme.erp") == {
        "en": "This request would go to line acme-1 (75%) or acme-2 (25%), because rule “all” holds (it holds for "
        "every request). API client acme.erp stays at the line that it once got.",
        "de": "Diese Anfrage ginge an Linie acme-1 (75 %) oder acme-2 (25 %), weil die Regel „all“ zutrifft (sie "
        "gilt für jede Anfrage). Der API-Client acme.erp bleibt bei der Linie, die er einmal bekommen hat.",
    }


@pytest.mark.parametrize(
    ("rules", "english", "german"),
    [
        ((), "because there are no rules.", "weil es keine Regeln gibt."),
        (
            (Rule(name="post", match=Match(methods=frozenset({"POST"})), action=Maintenance()),),
            "because none of the rules holds.",
            "weil keine der Regeln zutrifft.",
        ),
    ],
)
def test_no_rule_that_decides_is_said(rules: tuple[Rule, ...], english: str, german: str) -> None:
    said = tried(*rules)
    assert said["en"].startswith("This request would go to line acme-1 (50%) or acme-2 (50%), ")
    assert said["en"].endswith(english)
    assert said["de"].endswith(german)


def test_lines_that_are_away_are_said() -> None:
    away = (LINES[0], Line(line_id=LINES[1].line_id, ready=False))
    anywhere, nowhere = (
        tried(
            Rule(name="pin", match=Match(), action=ToLines(weights=SECOND, otherwise=otherwise)), lines=away
        )
        for otherwise in ("any_line", "refuse")
    )
    assert anywhere["en"] == (
        "This request would go to line acme-1, because rule “pin” holds (it holds for every request), none of its "
        "lines takes requests, and any line may then serve."
    )
    assert "keine ihrer Linien Anfragen annimmt" in anywhere["de"]
    assert nowhere["en"].startswith("This request would be refused with 503, because rule “pin” holds")
    assert nowhere["de"].startswith("Diese Anfrage würde mit 503 abgewiesen, weil die Regel „pin“ zutrifft")
    nobody = tried(lines=(Line(line_id=LINES[0].line_id, ready=False),))
    assert nobody["en"].endswith("because no line of the instance takes requests.")
    assert nobody["de"].endswith("weil keine Linie der Instanz Anfragen annimmt.")


def test_maintenance_is_said_with_the_time_to_come_back() -> None:
    said = tried(Rule(name="pause", match=Match(), action=Maintenance(retry_after_seconds=90)))
    assert said["en"].startswith(
        "This request would be answered with 503 and Retry-After: 90, because rule “pause”"
    )
    assert said["de"].startswith(
        "Diese Anfrage bekäme 503 und Retry-After: 90 als Antwort, weil die Regel „pause“"
    )


def test_warning_names_what_it_is_about_and_outdated_rule_is_told_as_its_refusal() -> None:
    warned = finding_text(
        Finding(code="rule_unreachable", field="rules[1]", facts={"covered_by": "everything"})
    )
    assert all("everything" in text for text in warned.values())
    outdated = finding_text(Finding(code="rule_line_foreign", field="rules[0].action.weights[x]", facts={}))
    assert set(outdated) == {"en", "de"}
    assert all(len(text) > 20 for text in outdated.values())
