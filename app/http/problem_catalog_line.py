"""Problems with lines: taken out, weighed, added for a time. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

LINE_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "line_not_found",
        404,
        en=("No such line", "The instance has no line of that id. List its lines to see their ids."),
        de=(
            "Keine solche Linie",
            "Die Instanz hat keine Linie mit dieser Kennung. Bitte listen Sie ihre Linien auf, um die Kennungen "
            "zu sehen.",
        ),
    ),
    problem_kind(
        "line_last",
        409,
        en=(
            "Last line in service",
            "No other line of the instance takes requests, so this one stays. Put another one into service "
            "first.",
        ),
        de=(
            "Letzte Linie in Betrieb",
            "Keine andere Linie der Instanz nimmt Anfragen an, deshalb bleibt diese in Betrieb. Bitte nehmen "
            "Sie zuerst eine andere in Betrieb.",
        ),
    ),
    problem_kind(
        "line_shared",
        409,
        en=(
            "Line shared with others",
            "This line serves many instances. It is not changed for one of them; operations look after it.",
        ),
        de=(
            "Gemeinsam genutzte Linie",
            "Diese Linie bedient viele Instanzen. Für eine einzelne wird sie nicht geändert; der Betrieb kümmert "
            "sich um sie.",
        ),
    ),
    problem_kind(
        "line_state_unfit",
        409,
        en=(
            "Line not ready for that",
            "A permanent line is not ended, and a temporary one is changed only while it is active. Look at "
            "the line again; its phase is in the details.",
        ),
        de=(
            "Linie dafür nicht bereit",
            "Eine dauerhafte Linie wird nicht beendet, und eine befristete wird nur geändert, solange sie aktiv "
            "ist. Bitte sehen Sie sich die Linie noch einmal an; die Einzelheiten nennen ihre Phase.",
        ),
    ),
    problem_kind(
        "line_version_conflict",
        412,
        en=("Line changed meanwhile", "The line has been changed since you read it. Read it again."),
        de=(
            "Linie inzwischen geändert",
            "Die Linie wurde geändert, seit Sie sie gelesen haben. Bitte lesen Sie sie noch einmal.",
        ),
    ),
    problem_kind(
        "line_weight_unfit",
        422,
        en=("Not a weight", "The weight of a line is a number from 0 to 256."),
        de=("Kein Gewicht", "Das Gewicht einer Linie ist eine Zahl von 0 bis 256."),
    ),
    problem_kind(
        "line_period_unfit",
        422,
        en=(
            "Period does not fit",
            "A temporary line starts now or later, ends after its start, and within a year. Correct the times.",
        ),
        de=(
            "Zeitraum passt nicht",
            "Eine befristete Linie beginnt jetzt oder später, endet nach ihrem Beginn und innerhalb eines "
            "Jahres. Bitte korrigieren Sie die Zeiten.",
        ),
    ),
    problem_kind(
        "line_edition_unfit",
        409,
        en=(
            "Edition without temporary lines",
            "Only High Availability has temporary lines, and it has to be contracted at the time of the line.",
        ),
        de=(
            "Edition ohne befristete Linien",
            "Nur High Availability hat befristete Linien, und die Edition muss zu der Zeit der Linie vereinbart "
            "sein.",
        ),
    ),
    problem_kind(
        "line_box_missing",
        409,
        en=(
            "Box of the line missing",
            "The boxes of this instance are tokens, and nobody makes one by software. Add the box that the "
            "details name to the instance's pool first.",
        ),
        de=(
            "Box der Linie fehlt",
            "Die Boxen dieser Instanz sind Token, die keine Software herstellt. Bitte nehmen Sie zuerst die Box, "
            "die die Einzelheiten nennen, in den Pool der Instanz auf.",
        ),
    ),
    problem_kind(
        "contract_of_line",
        409,
        en=(
            "Contract of a line",
            "A temporary line is contracted by this row. End the line; the row ends with it.",
        ),
        de=(
            "Vertrag einer Linie",
            "Diese Zeile ist der Vertrag einer befristeten Linie. Bitte beenden Sie die Linie; die Zeile endet "
            "mit ihr.",
        ),
    ),
)
