"""Problems with boxes and firm keys as staff run them. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

FLEET_BOX_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "box_name_taken",
        409,
        en=(
            "Firm Security Box known already",
            "A Firm Security Box with this name is there already. Choose another name.",
        ),
        de=(
            "Firm Security Box schon bekannt",
            "Eine Firm Security Box mit diesem Namen gibt es schon. Bitte wählen Sie einen anderen Namen.",
        ),
    ),
    problem_kind(
        "box_version_conflict",
        412,
        en=(
            "Firm Security Box changed meanwhile",
            "Somebody has changed the box since you read it. Read it again, then decide anew.",
        ),
        de=(
            "Firm Security Box inzwischen geändert",
            "Jemand hat die Box geändert, seit Sie sie gelesen haben. Bitte lesen Sie sie erneut und entscheiden Sie "
            "dann.",
        ),
    ),
    problem_kind(
        "box_state_unfit",
        409,
        en=(
            "Not possible with this box now",
            "The box is joining or leaving its pool, is lent, is not lent, or cannot work; the answer says which. Wait "
            "for the end of that, or end it first.",
        ),
        de=(
            "Mit dieser Box jetzt nicht möglich",
            "Die Box tritt ihrem Pool gerade bei oder verlässt ihn, ist verliehen, ist nicht verliehen oder kann nicht "
            "arbeiten; die Antwort sagt, was zutrifft. Bitte warten Sie das ab, oder beenden Sie es zuerst.",
        ),
    ),
    problem_kind(
        "loan_unfit",
        422,
        en=(
            "Box cannot be lent so",
            "A box is lent to another pool than its own, for 1 to 720 hours. The answer names the field.",
        ),
        de=(
            "Box so nicht verleihbar",
            "Eine Box wird an einen anderen Pool als den eigenen verliehen, für 1 bis 720 Stunden. Die Antwort nennt "
            "das Feld.",
        ),
    ),
    problem_kind(
        "firm_key_not_found",
        404,
        en=(
            "No such firm key",
            "There is no key of this firm code. Compare the number with the list of firm keys.",
        ),
        de=(
            "Firm Key nicht gefunden",
            "Einen Schlüssel mit diesem Firm Code gibt es nicht. Bitte vergleichen Sie die Nummer mit der Liste der "
            "Firm Keys.",
        ),
    ),
    problem_kind(
        "ceremony_not_found",
        404,
        en=(
            "No record of a key ceremony",
            "This operation does nothing to firm keys, so there is no record of a ceremony. Choose another operation.",
        ),
        de=(
            "Kein Zeremonieprotokoll",
            "Dieser Vorgang betrifft keine Firm Keys, deshalb gibt es kein Zeremonieprotokoll. Bitte wählen Sie einen "
            "anderen Vorgang.",
        ),
    ),
    problem_kind(
        "ceremony_unfinished",
        409,
        en=(
            "Key ceremony not finished",
            "The operation is still under way; its record is made when it has ended. Wait for its end.",
        ),
        de=(
            "Schlüsselzeremonie nicht beendet",
            "Der Vorgang läuft noch; sein Protokoll entsteht, wenn er beendet ist. Bitte warten Sie das Ende ab.",
        ),
    ),
)
