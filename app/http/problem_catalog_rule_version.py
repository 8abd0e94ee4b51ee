"""Problems with the rules of an instance as a whole: their versions, and editions without. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

RULE_VERSION_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "rules_not_offered",
        409,
        en=(
            "No rules in this edition",
            "This edition has one line, which serves other instances, too, so there is nothing to choose from. "
            "Editions with lines of their own have rules.",
        ),
        de=(
            "Keine Regeln in dieser Edition",
            "Diese Edition hat eine Linie, die auch andere Instanzen bedient; es gibt nichts auszuwählen. "
            "Editionen mit eigenen Linien haben Regeln.",
        ),
    ),
    problem_kind(
        "rule_version_conflict",
        412,
        en=(
            "Rules changed meanwhile",
            "Somebody else has changed the rules since you read them. Read them again and repeat your change.",
        ),
        de=(
            "Regeln zwischenzeitlich geändert",
            "Jemand hat die Regeln geändert, seit Sie sie gelesen haben. Bitte lesen Sie sie neu und "
            "wiederholen Sie Ihre Änderung.",
        ),
    ),
    problem_kind(
        "rule_version_not_found",
        404,
        en=(
            "No such version of the rules",
            "The rules of this instance never had this version. List the versions and choose one of them.",
        ),
        de=(
            "Keine solche Fassung der Regeln",
            "Die Regeln dieser Instanz hatten diese Fassung nie. Bitte lassen Sie sich die Fassungen auflisten "
            "und wählen Sie eine davon.",
        ),
    ),
    problem_kind(
        "rules_nothing_to_undo",
        409,
        en=(
            "Nothing to undo",
            "Nobody has changed the rules of this instance yet, so there is no earlier version to go back to.",
        ),
        de=(
            "Nichts zurückzunehmen",
            "Noch hat niemand die Regeln dieser Instanz geändert; es gibt keine frühere Fassung, zu der man "
            "zurückkehren könnte.",
        ),
    ),
)
