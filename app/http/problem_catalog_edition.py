"""Problems with quotas, editions, contracts and lines. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

EDITION_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "quota_exceeded",
        429,
        en=(
            "Monthly quota used up",
            "The quota of this month is used up, and nothing was changed. It begins anew next month; a "
            "larger edition or more lines lift the limit at once.",
        ),
        de=(
            "Monatskontingent aufgebraucht",
            "Das Kontingent dieses Monats ist aufgebraucht, und es wurde nichts geändert. Im nächsten "
            "Monat beginnt es neu; eine größere Edition oder weitere Linien heben die Grenze sofort an.",
        ),
        retry_after_s=3600,
    ),
    problem_kind(
        "edition_feature_unavailable",
        403,
        en=(
            "Not part of this edition",
            "The edition of this instance does not include this function. The answer names the editions "
            "that do; an edition can be changed at any time.",
        ),
        de=(
            "Nicht Teil dieser Edition",
            "Die Edition dieser Instanz enthält diese Funktion nicht. Die Antwort nennt die Editionen, "
            "die sie enthalten; ein Wechsel ist jederzeit möglich.",
        ),
    ),
    problem_kind(
        "no_contract_in_force",
        403,
        en=(
            "No contract in force",
            "No contract is in force for this instance at present. Please ask your contact for the contract.",
        ),
        de=(
            "Kein Vertrag in Kraft",
            "Für diese Instanz ist zurzeit kein Vertrag in Kraft. Bitte wenden Sie sich an Ihren "
            "Ansprechpartner für den Vertrag.",
        ),
    ),
    problem_kind(
        "contract_invalid",
        422,
        en=(
            "Contract invalid",
            "The contract contradicts itself or the catalogue of editions. Correct the field named in "
            "the answer.",
        ),
        de=(
            "Vertrag ungültig",
            "Der Vertrag widerspricht sich selbst oder dem Katalog der Editionen. Bitte korrigieren Sie "
            "das in der Antwort genannte Feld.",
        ),
    ),
    problem_kind(
        "contract_conflict",
        409,
        en=(
            "Contract exists already",
            "There is another contract with this beginning. Contracts are never overwritten: write a new "
            "one with another beginning.",
        ),
        de=(
            "Vertrag bereits vorhanden",
            "Es gibt einen anderen Vertrag mit diesem Beginn. Verträge werden nie überschrieben: Bitte legen "
            "Sie einen neuen mit anderem Beginn an.",
        ),
    ),
    problem_kind(
        "line_superseded",
        503,
        en=(
            "Line was taken over",
            "Another process has taken this line over. Please try again at once.",
        ),
        de=(
            "Linie wurde übernommen",
            "Ein anderer Prozess hat diese Linie übernommen. Bitte versuchen Sie es sofort noch einmal.",
        ),
        retry_after_s=1,
    ),
    problem_kind(
        "route_unknown",
        404,
        en=(
            "No such instance here",
            "No instance of this name is served here. Compare the name in the address.",
        ),
        de=(
            "Keine solche Instanz hier",
            "Eine Instanz dieses Namens wird hier nicht betrieben. Bitte vergleichen Sie den Namen in "
            "der Adresse.",
        ),
    ),
    problem_kind(
        "no_line_ready",
        503,
        en=(
            "No line ready",
            "No line of this instance takes requests at the moment. Please try again shortly.",
        ),
        de=(
            "Keine Linie bereit",
            "Keine Linie dieser Instanz nimmt im Moment Anfragen an. Bitte versuchen Sie es gleich noch "
            "einmal.",
        ),
        retry_after_s=2,
    ),
)
