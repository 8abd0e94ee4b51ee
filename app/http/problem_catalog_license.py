"""Problems with items, orders, tickets and licences. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

LICENSE_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "item_not_found",
        404,
        en=(
            "Item not found",
            "There is no item with this number here. Compare the number with the list of items, or "
            "create the item first.",
        ),
        de=(
            "Artikel nicht gefunden",
            "Einen Artikel mit dieser Nummer gibt es hier nicht. Bitte vergleichen Sie die Nummer mit "
            "der Artikelliste oder legen Sie den Artikel zuerst an.",
        ),
    ),
    problem_kind(
        "item_conflict",
        409,
        en=(
            "Item exists with other content",
            "An item with this number exists with other content. Change the existing item, or use "
            "another number.",
        ),
        de=(
            "Artikel mit anderem Inhalt vorhanden",
            "Einen Artikel mit dieser Nummer gibt es schon, aber mit anderem Inhalt. Bitte ändern Sie "
            "den vorhandenen Artikel oder wählen Sie eine andere Nummer.",
        ),
    ),
    problem_kind(
        "item_version_conflict",
        412,
        en=(
            "Item changed meanwhile",
            "Somebody else has changed the item since you read it. Read it again and repeat your change.",
        ),
        de=(
            "Artikel zwischenzeitlich geändert",
            "Jemand hat den Artikel geändert, seit Sie ihn gelesen haben. Bitte lesen Sie ihn neu und "
            "wiederholen Sie Ihre Änderung.",
        ),
    ),
    problem_kind(
        "item_not_returnable",
        409,
        en=(
            "Item cannot be returned",
            "Licences of this item cannot be returned by the user. Please ask the vendor of the software.",
        ),
        de=(
            "Artikel nicht zur Rückgabe vorgesehen",
            "Lizenzen dieses Artikels kann der Anwender nicht zurückgeben. Bitte wenden Sie sich an den "
            "Hersteller der Software.",
        ),
    ),
    problem_kind(
        "order_not_found",
        404,
        en=(
            "Order not found",
            "There is no order with this number here. Compare it with the order confirmation.",
        ),
        de=(
            "Auftrag nicht gefunden",
            "Einen Auftrag mit dieser Nummer gibt es hier nicht. Bitte vergleichen Sie sie mit der "
            "Auftragsbestätigung.",
        ),
    ),
    problem_kind(
        "order_conflict",
        409,
        en=(
            "Order exists with other content",
            "This order number has been used with other content. Use a new position number to extend "
            "the ticket, or a new order number.",
        ),
        de=(
            "Auftrag mit anderem Inhalt vorhanden",
            "Diese Auftragsnummer wurde schon mit anderem Inhalt verwendet. Bitte nehmen Sie eine neue "
            "Positionsnummer, um das Ticket zu erweitern, oder eine neue Auftragsnummer.",
        ),
    ),
    problem_kind(
        "quantity_out_of_range",
        422,
        en=(
            "Quantity out of range",
            "The number of licences ordered is zero or too large. Correct the quantity, or spread it "
            "over several orders.",
        ),
        de=(
            "Menge außerhalb des Bereichs",
            "Die bestellte Anzahl Lizenzen ist null oder zu groß. Bitte korrigieren Sie die Menge oder "
            "verteilen Sie sie auf mehrere Aufträge.",
        ),
    ),
    problem_kind(
        "ticket_malformed",
        422,
        en=(
            "Ticket mistyped",
            "This is not a valid ticket; probably a character was mistyped. Compare the five groups of "
            "five characters one by one.",
        ),
        de=(
            "Ticket falsch geschrieben",
            "Das ist kein gültiges Ticket; vermutlich ist ein Zeichen falsch. Bitte vergleichen Sie die "
            "fünf Gruppen zu fünf Zeichen einzeln.",
        ),
    ),
    problem_kind(
        "ticket_unknown",
        404,
        en=(
            "Ticket unknown",
            "This ticket has not been issued here. Check whether it was issued by another vendor, and "
            "compare it with the one you were sent.",
        ),
        de=(
            "Ticket unbekannt",
            "Dieses Ticket wurde hier nicht ausgestellt. Bitte prüfen Sie, ob es von einem anderen "
            "Hersteller stammt, und vergleichen Sie es mit dem zugesandten.",
        ),
    ),
    problem_kind(
        "license_not_found",
        404,
        en=(
            "Licence not found",
            "There is no licence with this number here. Look it up again by its ticket.",
        ),
        de=(
            "Lizenz nicht gefunden",
            "Eine Lizenz mit dieser Nummer gibt es hier nicht. Bitte suchen Sie sie noch einmal über "
            "ihr Ticket.",
        ),
    ),
    problem_kind(
        "license_not_on_ticket",
        404,
        en=(
            "Licence not on this ticket",
            "The licence chosen does not belong to this ticket. Open the ticket again and choose one of "
            "its licences.",
        ),
        de=(
            "Lizenz nicht auf diesem Ticket",
            "Die gewählte Lizenz gehört nicht zu diesem Ticket. Bitte öffnen Sie das Ticket neu und "
            "wählen Sie eine seiner Lizenzen.",
        ),
    ),
    problem_kind(
        "license_not_available",
        409,
        en=(
            "Licence already collected",
            "The licence is in a container already. To move it, return it from that container first.",
        ),
        de=(
            "Lizenz bereits abgeholt",
            "Die Lizenz liegt bereits in einem CmContainer. Für einen Umzug geben Sie sie bitte zuerst "
            "aus diesem CmContainer zurück.",
        ),
    ),
    problem_kind(
        "license_pending",
        409,
        en=(
            "Licence is being transferred",
            "Another transfer is moving this licence right now. Wait a moment, then look at the ticket "
            "again.",
        ),
        de=(
            "Lizenz wird gerade übertragen",
            "Diese Lizenz wird gerade durch eine andere Lizenzübertragung bewegt. Bitte warten Sie "
            "einen Moment und öffnen Sie das Ticket dann neu.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "license_expired",
        409,
        en=(
            "Licence expired",
            "The licence has expired and cannot be collected any more. Please ask the vendor for a renewal.",
        ),
        de=(
            "Lizenz abgelaufen",
            "Die Lizenz ist abgelaufen und kann nicht mehr abgeholt werden. Bitte fragen Sie den "
            "Hersteller nach einer Verlängerung.",
        ),
    ),
    problem_kind(
        "license_not_on_container",
        409,
        en=(
            "Licence not in this container",
            "The licence is not in this container. Choose the container into which it was collected.",
        ),
        de=(
            "Lizenz nicht in diesem CmContainer",
            "Die Lizenz liegt nicht in diesem CmContainer. Bitte wählen Sie den CmContainer, in den sie "
            "abgeholt wurde.",
        ),
    ),
    problem_kind(
        "license_not_confirmed",
        409,
        en=(
            "Collection not confirmed yet",
            "There is no receipt for the collection of this licence yet. Apply its update, make a new "
            "context and try again.",
        ),
        de=(
            "Abholung noch nicht quittiert",
            "Für die Abholung dieser Lizenz fehlt noch die Quittung. Bitte spielen Sie das Update ein, "
            "erzeugen Sie einen neuen Kontext und versuchen Sie es erneut.",
        ),
    ),
    problem_kind(
        "nothing_to_activate",
        409,
        en=(
            "Nothing to collect",
            "No licence of this ticket can be collected at present: all of them are collected, in "
            "transfer or expired. Please look at the state of each licence.",
        ),
        de=(
            "Nichts abzuholen",
            "Auf diesem Ticket ist zurzeit keine Lizenz abholbar: Alle sind abgeholt, in Übertragung "
            "oder abgelaufen. Bitte sehen Sie sich den Zustand der einzelnen Lizenzen an.",
        ),
    ),
)
