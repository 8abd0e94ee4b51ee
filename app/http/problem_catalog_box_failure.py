"""Problems of Firm Security Boxes that do not do what they are asked. Pure.

Nothing was handed out and nothing is counted; the same job may be sent again.
"""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

BOX_FAILURE_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "box_disconnected",
        503,
        en=(
            "Firm Security Box does not answer",
            "A Firm Security Box does not answer; what it was doing will be known when it is back. Please ask "
            "again shortly: nothing is counted twice.",
        ),
        de=(
            "Firm Security Box antwortet nicht",
            "Eine Firm Security Box antwortet nicht; woran sie war, zeigt sich, wenn sie wieder da ist. Bitte "
            "fragen Sie gleich noch einmal: Es wird nichts doppelt gezählt.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "box_failed",
        503,
        en=(
            "Firm Security Box failed",
            "A Firm Security Box could not do this job, and nothing was handed out. Please try again shortly; "
            "if it lasts, call support.",
        ),
        de=(
            "Firm Security Box gestört",
            "Eine Firm Security Box konnte diesen Auftrag nicht ausführen, und es wurde nichts ausgegeben. "
            "Bitte versuchen Sie es gleich noch einmal; wenn es anhält, rufen Sie den Support an.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "box_occupied",
        503,
        en=(
            "Firm Security Box busy otherwise",
            "A Firm Security Box is busy with something else. Please try again in a few seconds.",
        ),
        de=(
            "Firm Security Box anderweitig belegt",
            "Eine Firm Security Box ist mit etwas anderem beschäftigt. Bitte versuchen Sie es in einigen "
            "Sekunden erneut.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "box_timed_out",
        503,
        en=(
            "Firm Security Box too slow",
            "A Firm Security Box did not finish in time. Please try again shortly; nothing is counted twice.",
        ),
        de=(
            "Firm Security Box zu langsam",
            "Eine Firm Security Box wurde nicht rechtzeitig fertig. Bitte versuchen Sie es gleich noch "
            "einmal; es wird nichts doppelt gezählt.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "box_answer_wrong",
        503,
        en=(
            "Firm Security Box signed wrongly",
            "What a Firm Security Box made did not stand its check and was thrown away. Please try again "
            "shortly; if it lasts, call support.",
        ),
        de=(
            "Firm Security Box signiert falsch",
            "Was eine Firm Security Box erzeugt hat, bestand die Prüfung nicht und wurde verworfen. Bitte "
            "versuchen Sie es gleich noch einmal; wenn es anhält, rufen Sie den Support an.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "box_power_lost",
        503,
        en=(
            "Firm Security Box lost its power",
            "A Firm Security Box went away while it worked. Please ask again shortly: what it had finished is "
            "kept, and nothing is counted twice.",
        ),
        de=(
            "Firm Security Box ohne Strom",
            "Eine Firm Security Box ist während der Arbeit ausgefallen. Bitte fragen Sie gleich noch einmal: "
            "Was sie fertiggestellt hat, bleibt erhalten, und es wird nichts doppelt gezählt.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "token_absent",
        503,
        en=(
            "Key token not inserted",
            "The token with the firm keys is not in its slot. Please inform operations; jobs go on when it is "
            "back.",
        ),
        de=(
            "Schlüssel-Token nicht gesteckt",
            "Das Token mit den Firm Keys steckt nicht in seinem Steckplatz. Bitte informieren Sie den Betrieb; "
            "es geht weiter, sobald es wieder da ist.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "token_library_unusable",
        503,
        en=(
            "Key token's library not usable",
            "The library through which the token with the firm keys is reached is not there, or does not start. "
            "Please inform operations; jobs go on when it can be used.",
        ),
        de=(
            "Bibliothek des Schlüssel-Tokens nicht nutzbar",
            "Die Bibliothek, über die das Token mit den Firm Keys erreicht wird, fehlt oder startet nicht. Bitte "
            "informieren Sie den Betrieb; es geht weiter, sobald sie nutzbar ist.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "token_pin_unreadable",
        503,
        en=(
            "PIN of the key token not readable",
            "The file with the PIN of the token with the firm keys is missing, empty or not readable. Please "
            "inform operations; jobs go on when it is there.",
        ),
        de=(
            "PIN des Schlüssel-Tokens nicht lesbar",
            "Die Datei mit der PIN des Tokens mit den Firm Keys fehlt, ist leer oder nicht lesbar. Bitte "
            "informieren Sie den Betrieb; es geht weiter, sobald sie da ist.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "token_pin_exposed",
        503,
        en=(
            "PIN of the key token exposed",
            "Others can read the PIN of the token with the firm keys, so it is not used. Please inform "
            "operations; the PIN has to be changed and its file protected.",
        ),
        de=(
            "PIN des Schlüssel-Tokens offengelegt",
            "Andere können die PIN des Tokens mit den Firm Keys lesen; darum wird sie nicht benutzt. Bitte "
            "informieren Sie den Betrieb; die PIN muss geändert und ihre Datei geschützt werden.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "token_pin_wrong",
        503,
        en=(
            "Key token refuses its PIN",
            "The token with the firm keys refuses its PIN, which is not tried again before its file changes. Please "
            "inform operations; a person has to look at it.",
        ),
        de=(
            "Schlüssel-Token lehnt seine PIN ab",
            "Das Token mit den Firm Keys lehnt seine PIN ab; ehe sich ihre Datei ändert, wird sie nicht noch einmal "
            "versucht. Bitte informieren Sie den Betrieb; ein Mensch muss es prüfen.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "token_key_lost",
        503,
        en=(
            "Firm key lost from its token",
            "The firm key is no longer in the token that should sign with it. Please inform operations; jobs go "
            "on when a box has the key.",
        ),
        de=(
            "Firm Key nicht mehr im Token",
            "Der Firm Key ist nicht mehr in dem Token, das damit signieren soll. Bitte informieren Sie den "
            "Betrieb; es geht weiter, sobald eine Box den Schlüssel hat.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "transactions_exhausted",
        503,
        en=(
            "No transactions left",
            "The Firm Security Box has no transactions left for this job. Please inform operations; new ones "
            "have to be bought and loaded.",
        ),
        de=(
            "Keine Transaktionen mehr",
            "Die Firm Security Box hat für diesen Auftrag keine Transaktionen mehr. Bitte informieren Sie den "
            "Betrieb; neue müssen gekauft und geladen werden.",
        ),
        retry_after_s=60,
    ),
)
