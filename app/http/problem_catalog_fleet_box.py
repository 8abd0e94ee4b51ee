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
        "box_name_reserved",
        422,
        en=(
            "Name kept for another pool",
            "The boxes of a pool are called by its name, `-box-` and a number; this name is kept for a box of another "
            "pool. Choose another name.",
        ),
        de=(
            "Name für anderen Pool vorgesehen",
            "Die Boxen eines Pools heißen nach ihm, mit `-box-` und einer Nummer; dieser Name ist für eine Box eines "
            "anderen Pools vorgesehen. Bitte wählen Sie einen anderen Namen.",
        ),
    ),
    problem_kind(
        "token_taken",
        409,
        en=(
            "Token belongs to another box",
            "A token has one Firm Security Box, and this one's is another: either would destroy the other's firm keys. "
            "Choose another token, or remove that box first.",
        ),
        de=(
            "Token gehört einer anderen Box",
            "Ein Token hat eine Firm Security Box, und dieses hat schon eine andere: Jede würde die Firm Keys der "
            "anderen löschen. Bitte wählen Sie ein anderes Token oder entfernen Sie erst jene Box.",
        ),
    ),
    problem_kind(
        "box_token_fixed",
        409,
        en=(
            "Another token is another box",
            "Module and label of a box's token do not change, for two people have let keys into this one. Remove the "
            "box, then add it anew with the other token; where the PIN lies may change.",
        ),
        de=(
            "Anderes Token heißt andere Box",
            "Modul und Label des Tokens einer Box ändern sich nicht, denn zwei Menschen haben Schlüssel in genau "
            "dieses gelassen. Bitte entfernen Sie die Box und nehmen Sie sie mit dem anderen Token neu auf; "
            "wo die PIN liegt, darf sich ändern.",
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
        "firm_key_retired",
        409,
        en=(
            "Firm key retired",
            "The instance's firm key has been retired for good, so nothing could be programmed any more. Order a new "
            "instance; the data of this one can be exported.",
        ),
        de=(
            "Firm Key stillgelegt",
            "Der Firm Key der Instanz ist endgültig stillgelegt, programmiert werden könnte nichts mehr. Bitte "
            "bestellen Sie eine neue Instanz; die Daten dieser können Sie exportieren.",
        ),
    ),
    problem_kind(
        "firm_key_changed",
        409,
        en=(
            "Firm key changed since it was approved",
            "The firm key has been changed since two people agreed on this, so nothing was done. Look at the key, then "
            "ask anew.",
        ),
        de=(
            "Firm Key seit der Freigabe geändert",
            "Der Firm Key wurde geändert, seit zwei Menschen dem zugestimmt haben; deshalb ist nichts geschehen. Bitte "
            "sehen Sie sich den Schlüssel an und fragen Sie neu an.",
        ),
    ),
    problem_kind(
        "firm_key_present",
        409,
        en=(
            "Firm key is in the box already",
            "This Firm Security Box holds the firm key already, so there is nothing to copy. Choose another box.",
        ),
        de=(
            "Firm Key ist schon in der Box",
            "Diese Firm Security Box hat den Firm Key schon, zu kopieren ist nichts. Bitte wählen Sie eine andere Box.",
        ),
    ),
    problem_kind(
        "plan_outdated",
        409,
        en=(
            "Boxes changed since it was approved",
            "The firm key is in other Firm Security Boxes than two people saw when they agreed on this, so nothing was "
            "done. Look where the key is, then ask anew.",
        ),
        de=(
            "Boxen seit der Freigabe geändert",
            "Der Firm Key ist in anderen Firm Security Boxen als zu der Zeit, da zwei Menschen dem zugestimmt haben; "
            "deshalb ist nichts geschehen. Bitte sehen Sie nach, wo der Schlüssel ist, und fragen Sie neu an.",
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
