"""Problems with containers, contexts, receipts and transfers. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

TRANSFER_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "container_not_found",
        404,
        en=(
            "Container not found",
            "No container with this serial number is known here. Compare the number; a container is "
            "known after its first collection.",
        ),
        de=(
            "CmContainer nicht gefunden",
            "Ein CmContainer mit dieser Seriennummer ist hier nicht bekannt. Bitte vergleichen Sie die "
            "Nummer; bekannt wird ein CmContainer mit seiner ersten Abholung.",
        ),
    ),
    problem_kind(
        "container_blocked",
        409,
        en=(
            "Container blocked",
            "The vendor has blocked this container. Please ask the vendor; only the vendor can lift the "
            "block.",
        ),
        de=(
            "CmContainer gesperrt",
            "Der Hersteller hat diesen CmContainer gesperrt. Bitte wenden Sie sich an den Hersteller; "
            "nur er kann die Sperre aufheben.",
        ),
    ),
    problem_kind(
        "container_unexpected_state",
        409,
        en=(
            "Container in an unexpected state",
            "What the container reports does not fit our records. The vendor has to decide first; "
            "please tell the vendor its serial number.",
        ),
        de=(
            "Unerwarteter Zustand des CmContainers",
            "Die Angaben des CmContainers passen nicht zu unseren Aufzeichnungen. Zuerst muss der "
            "Hersteller entscheiden; bitte nennen Sie ihm die Seriennummer.",
        ),
    ),
    problem_kind(
        "container_type_not_allowed",
        409,
        en=(
            "Container type not allowed",
            "The licence may not be collected into this type of container. Choose another container, or "
            "ask the vendor.",
        ),
        de=(
            "Art des CmContainers nicht erlaubt",
            "Die Lizenz darf nicht in diese Art von CmContainer abgeholt werden. Bitte wählen Sie einen "
            "anderen CmContainer oder fragen Sie den Hersteller.",
        ),
    ),
    problem_kind(
        "container_not_in_question",
        409,
        en=(
            "Nothing to decide",
            "There is nothing to decide about this container. Read its state again before you go on.",
        ),
        de=(
            "Nichts zu entscheiden",
            "Zu diesem CmContainer gibt es nichts zu entscheiden. Bitte lesen Sie seinen Zustand neu, "
            "bevor Sie fortfahren.",
        ),
    ),
    problem_kind(
        "context_wrong_container",
        409,
        en=(
            "File of another container",
            "The context or receipt comes from a different container. Make the file again with the "
            "right container.",
        ),
        de=(
            "Datei eines anderen CmContainers",
            "Der Kontext oder die Quittung stammt von einem anderen CmContainer. Bitte erzeugen Sie die "
            "Datei mit dem richtigen CmContainer neu.",
        ),
    ),
    problem_kind(
        "context_wrong_firm_code",
        409,
        en=(
            "File for another firm code",
            "The file was made for another vendor's firm code. Make it again with the template of this "
            "vendor.",
        ),
        de=(
            "Datei für einen anderen Firm Code",
            "Die Datei wurde für den Firm Code eines anderen Herstellers erzeugt. Bitte erzeugen Sie "
            "sie mit der Vorlage dieses Herstellers neu.",
        ),
    ),
    problem_kind(
        "context_replayed",
        409,
        en=(
            "Context used before",
            "This context has been used for another request already. Make a new one and try again.",
        ),
        de=(
            "Kontext bereits verwendet",
            "Dieser Kontext wurde bereits für eine andere Anfrage verwendet. Bitte erzeugen Sie einen "
            "neuen und versuchen Sie es erneut.",
        ),
    ),
    problem_kind(
        "context_from_future",
        422,
        en=(
            "Context from the future",
            "The clock of the computer with the container is more than a day ahead. Please set date and time "
            "there, make a new context and try again.",
        ),
        de=(
            "Kontext aus der Zukunft",
            "Die Uhr des Rechners mit dem CmContainer geht mehr als einen Tag vor. Bitte stellen Sie dort "
            "Datum und Uhrzeit richtig, erzeugen Sie einen neuen Kontext und versuchen Sie es erneut.",
        ),
    ),
    problem_kind(
        "context_outdated",
        409,
        en=(
            "Context outdated",
            "We know a newer state of this container than the context shows. Make a new context and try "
            "again.",
        ),
        de=(
            "Kontext veraltet",
            "Wir kennen einen neueren Stand dieses CmContainers, als der Kontext zeigt. Bitte erzeugen "
            "Sie einen neuen Kontext und versuchen Sie es erneut.",
        ),
    ),
    problem_kind(
        "fuc_too_old",
        409,
        en=(
            "Container was set back",
            "The container reports an older state than it has proven before; it may have been copied or "
            "restored from a backup. Please tell the vendor its serial number.",
        ),
        de=(
            "CmContainer wurde zurückgesetzt",
            "Der CmContainer meldet einen älteren Stand als schon nachgewiesen; vielleicht wurde er "
            "kopiert oder aus einer Sicherung geholt. Bitte nennen Sie dem Hersteller die Seriennummer.",
        ),
    ),
    problem_kind(
        "fuc_too_new",
        409,
        en=(
            "Container counter too new",
            "The container reports an update that was never issued here. Please tell the vendor its "
            "serial number.",
        ),
        de=(
            "Zähler des CmContainers zu neu",
            "Der CmContainer meldet ein Update, das hier nie ausgestellt wurde. Bitte nennen Sie dem "
            "Hersteller die Seriennummer.",
        ),
    ),
    problem_kind(
        "container_key_mismatch",
        409,
        en=(
            "Container not recognised",
            "The file is signed by another container with the same serial number. Please tell the "
            "vendor this number.",
        ),
        de=(
            "CmContainer nicht wiedererkannt",
            "Die Datei ist von einem anderen CmContainer mit derselben Seriennummer unterschrieben. "
            "Bitte nennen Sie dem Hersteller diese Nummer.",
        ),
    ),
    problem_kind(
        "transfer_not_found",
        404,
        en=(
            "Transfer not found",
            "There is no transfer with this number here. Start again from the ticket.",
        ),
        de=(
            "Lizenzübertragung nicht gefunden",
            "Eine Lizenzübertragung mit dieser Nummer gibt es hier nicht. Bitte beginnen Sie noch "
            "einmal beim Ticket.",
        ),
    ),
    problem_kind(
        "transfer_open",
        409,
        en=(
            "Another transfer in progress",
            "This container has another transfer in progress. Go on with that one until it has its update, or "
            "cancel it; then try again.",
        ),
        de=(
            "Andere Lizenzübertragung in Arbeit",
            "Für diesen CmContainer ist eine andere Lizenzübertragung in Arbeit. Bitte setzen Sie diese fort, "
            "bis deren Update vorliegt, oder brechen Sie sie ab; versuchen Sie es dann erneut.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "transfer_rolled_back",
        503,
        en=(
            "Transfer rolled back",
            "The container could not be programmed in time. Nothing was counted and the licences are "
            "free again: please start the transfer anew.",
        ),
        de=(
            "Lizenzübertragung zurückgenommen",
            "Der CmContainer konnte nicht rechtzeitig programmiert werden. Es wurde nichts gezählt und "
            "die Lizenzen sind wieder frei: Bitte starten Sie die Übertragung neu.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "transfer_not_issued",
        409,
        en=(
            "Update not ready yet",
            "The update of this transfer is not ready yet, so there is nothing to confirm. Wait a "
            "moment and ask for the state of the transfer.",
        ),
        de=(
            "Update noch nicht fertig",
            "Das Update dieser Lizenzübertragung ist noch nicht fertig, es gibt also nichts zu "
            "quittieren. Bitte warten Sie einen Moment und fragen Sie den Stand der Übertragung ab.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "transfer_issued",
        409,
        en=(
            "Update is there already",
            "The update of this transfer is there already, so it cannot be cancelled any more. Apply it, then "
            "return the licences if they are not wanted.",
        ),
        de=(
            "Update liegt schon vor",
            "Das Update dieser Lizenzübertragung liegt schon vor, sie lässt sich nicht mehr abbrechen. Bitte "
            "spielen Sie es ein und geben Sie die Lizenzen zurück, wenn sie nicht gewünscht sind.",
        ),
    ),
    problem_kind(
        "receipt_too_old",
        409,
        en=(
            "Receipt too old",
            "The receipt was made before the update was applied. Apply the update, then make a new receipt.",
        ),
        de=(
            "Quittung zu alt",
            "Die Quittung wurde erzeugt, bevor das Update eingespielt war. Bitte spielen Sie das Update "
            "ein und erzeugen Sie dann eine neue Quittung.",
        ),
    ),
)
