"""What is said of rules in German and English: warnings, and why a request goes where it goes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.http.problem_catalog import PROBLEM_BY_CODE
from lb.routing import Line
from lb.rule.check import Finding
from lb.rule.decide import LineChosen
from lb.rule.errors import RuleLinesNotReady, RuleMaintenance
from lb.rule.rule import Match
from tenancy.rule.record import RuleTrial

_FINDINGS: Final[Mapping[str, tuple[str, str]]] = {
    "rule_unreachable": (
        "This rule never decides: wherever it holds, the earlier rule {covered_by} does.",
        "Diese Regel entscheidet nie: Wo sie zutrifft, tut es schon die frühere Regel {covered_by}.",
    ),
    "rule_overlap": (
        "For some requests the earlier rule {with} holds as well, and decides otherwise.",
        "Für manche Anfragen trifft auch die frühere Regel {with} zu und entscheidet anders.",
    ),
    "rule_client_unknown": (
        "The instance has no API client {client}.",
        "Die Instanz hat keinen API-Client {client}.",
    ),
    "rule_source_unused": (
        "No rule names the group of networks {source}.",
        "Keine Regel nennt die Netzgruppe {source}.",
    ),
    "rule_prefix_without_end": (
        "The prefix holds for longer names, too; end it with a slash if only that folder is meant.",
        "Der Pfadanfang passt auch auf längere Namen; bitte mit einem Schrägstrich beenden, wenn nur "
        "dieses Verzeichnis gemeint ist.",
    ),
}


def finding_text(finding: Finding) -> dict[str, str]:
    """A warning in both languages. What is no warning, but would be refused by now, is told as the refusal is."""
    texts = _FINDINGS.get(finding.code)
    if texts is None:
        kind = PROBLEM_BY_CODE[finding.code]
        return {"en": kind.hotline_en, "de": kind.hotline_de}
    return {"en": texts[0].format_map(finding.facts), "de": texts[1].format_map(finding.facts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """One language.

    Attributes:
        conditions: by kind, with the place for what is wanted.
    """

    goes: str
    alternative: str
    share: str
    because: str
    every: str
    conditions: Mapping[str, str]
    otherwise: str
    no_rules: str
    none_holds: str
    sticks: str
    maintenance: str
    refused: str
    no_line: str


_EN: Final = _Words(
    goes="This request would go to line {lines}, because {why}.{more}",
    alternative=" or ",
    share="{line} ({percent:.0f}%)",
    because="rule “{rule}” holds ({conditions})",
    every="it holds for every request",
    conditions={
        "methods": "method {wanted}",
        "path_prefix": "the path begins with {wanted}",
        "source": "the address is in {wanted}",
        "header": "the header {wanted}",
        "clients": "the API client is {wanted}",
    },
    otherwise="{rule}, none of its lines takes requests, and any line may then serve",
    no_rules="there are no rules",
    none_holds="none of the rules holds",
    sticks=" API client {client} stays at the line that it once got.",
    maintenance=(
        "This request would be answered with 503 and Retry-After: {seconds}, because {why} and says maintenance."
    ),
    refused=(
        "This request would be refused with 503, because {why}, none of its lines takes requests, and the rule "
        "allows no other."
    ),
    no_line="This request would be refused with 503, because no line of the instance takes requests.",
)
_DE: Final = _Words(
    goes="Diese Anfrage ginge an Linie {lines}, weil {why}.{more}",
    alternative=" oder ",
    share="{line} ({percent:.0f} %)",
    because="die Regel „{rule}“ zutrifft ({conditions})",
    every="sie gilt für jede Anfrage",
    conditions={
        "methods": "Methode {wanted}",
        "path_prefix": "der Pfad beginnt mit {wanted}",
        "source": "die Adresse liegt in {wanted}",
        "header": "die Kopfzeile {wanted}",
        "clients": "der API-Client ist {wanted}",
    },
    otherwise="{rule}, keine ihrer Linien Anfragen annimmt und dann jede Linie dienen darf",
    no_rules="es keine Regeln gibt",
    none_holds="keine der Regeln zutrifft",
    sticks=" Der API-Client {client} bleibt bei der Linie, die er einmal bekommen hat.",
    maintenance=(
        "Diese Anfrage bekäme 503 und Retry-After: {seconds} als Antwort, weil {why} und Wartung ansagt."
    ),
    refused=(
        "Diese Anfrage würde mit 503 abgewiesen, weil {why}, keine ihrer Linien Anfragen annimmt und die Regel "
        "keine andere zulässt."
    ),
    no_line="Diese Anfrage würde mit 503 abgewiesen, weil keine Linie der Instanz Anfragen annimmt.",
)


def explain_trial(trial: RuleTrial) -> dict[str, str]:
    """One sentence in both languages: where a request would go, and why."""
    return {"en": _explain(trial, _EN), "de": _explain(trial, _DE)}


def _explain(trial: RuleTrial, words: _Words) -> str:
    choice = trial.choice
    if isinstance(choice, LineChosen):
        more = "" if choice.sticky_for is None else words.sticks.format(client=choice.sticky_for)
        lines = _name_lines(choice.candidates, words)
        return words.goes.format(lines=lines, why=_why(trial, choice, words), more=more)
    error = choice.error
    if isinstance(error, RuleMaintenance):
        return words.maintenance.format(seconds=error.retry_after_seconds, why=_because(trial, words))
    if isinstance(error, RuleLinesNotReady):
        return words.refused.format(why=_because(trial, words))
    return words.no_line


def _why(trial: RuleTrial, choice: LineChosen, words: _Words) -> str:
    if choice.by == "no_rule":
        return words.none_holds if trial.rules.rules else words.no_rules
    because = _because(trial, words)
    return because if choice.by == "rule" else words.otherwise.format(rule=because)


def _because(trial: RuleTrial, words: _Words) -> str:
    index = trial.decision.index
    if index is None:
        raise AssertionError("no rule decides, and yet one is to be named")
    rule = trial.rules.rules[index]
    said = [words.conditions[kind].format(wanted=wanted) for kind, wanted in _conditions(rule.match)]
    return words.because.format(rule=rule.name, conditions=", ".join(said) or words.every)


def _conditions(match: Match) -> list[tuple[str, str]]:
    """What a rule asks for, in the order in which it is looked at."""
    header = None if match.header is None else f"{match.header.name}: {match.header.value}"
    asked = [
        ("methods", "/".join(sorted(match.methods))),
        ("path_prefix", match.path_prefix),
        ("source", match.source),
        ("header", header),
        ("clients", "/".join(sorted(match.clients))),
    ]
    return [(kind, wanted) for kind, wanted in asked if wanted]


def _name_lines(lines: Sequence[Line], words: _Words) -> str:
    """`acme-1`, or `acme-1 (75%) or acme-2 (25%)`."""
    if len(lines) == 1:
        return lines[0].line_id
    total = sum(each.weight for each in lines)
    return words.alternative.join(
        words.share.format(line=each.line_id, percent=100 * each.weight / total) for each in lines
    )
