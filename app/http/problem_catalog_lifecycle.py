"""Problems in the life of an instance: frozen, ended, exported, erased. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

LIFECYCLE_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "instance_frozen",
        403,
        en=(
            "Instance frozen",
            "This instance is frozen or its contract has ended; its data are kept. Ask the vendor or the host.",
        ),
        de=(
            "Instanz eingefroren",
            "Diese Instanz ist eingefroren, oder ihr Vertrag ist beendet; ihre Daten bleiben erhalten. Bitte fragen "
            "Sie den Hersteller oder den Betreiber.",
        ),
    ),
    problem_kind(
        "instance_erased",
        410,
        en=(
            "Instance erased",
            "The data of this instance have been erased. The certificate of erasure says what they were.",
        ),
        de=(
            "Instanz gelöscht",
            "Die Daten dieser Instanz sind gelöscht. Was gelöscht wurde, steht im Löschzertifikat.",
        ),
    ),
    problem_kind(
        "instance_state_unfit",
        409,
        en=(
            "Not possible in this state",
            "The instance's state does not allow that. Read the instance again and see what it is.",
        ),
        de=(
            "In diesem Zustand nicht möglich",
            "Der Zustand der Instanz lässt das nicht zu. Bitte lesen Sie die Instanz neu und sehen Sie nach, wie es um "
            "sie steht.",
        ),
    ),
    problem_kind(
        "instance_version_conflict",
        412,
        en=(
            "Instance changed meanwhile",
            "Somebody has changed the instance since you read it. Read it again and repeat your change.",
        ),
        de=(
            "Instanz inzwischen geändert",
            "Jemand hat die Instanz geändert, seit Sie sie gelesen haben. Bitte lesen Sie sie neu und wiederholen Sie "
            "Ihre Änderung.",
        ),
    ),
    problem_kind(
        "customer_version_conflict",
        412,
        en=(
            "Customer changed meanwhile",
            "Somebody has changed the customer since you read it. Read it again and repeat your change.",
        ),
        de=(
            "Kunde inzwischen geändert",
            "Jemand hat den Kunden geändert, seit Sie ihn gelesen haben. Bitte lesen Sie ihn neu und wiederholen Sie "
            "Ihre Änderung.",
        ),
    ),
    problem_kind(
        "retention_unfit",
        422,
        en=(
            "Retention out of range",
            "Data are retained for 0 to 3,650 days. Choose a number of days in between.",
        ),
        de=(
            "Aufbewahrungsfrist unzulässig",
            "Daten werden 0 bis 3.650 Tage aufbewahrt. Bitte wählen Sie eine Zahl dazwischen.",
        ),
    ),
    problem_kind(
        "retention_running",
        409,
        en=(
            "Data still retained",
            "The data are retained until a day that is still to come. Wait, or erase early because the law demands it.",
        ),
        de=(
            "Aufbewahrungsfrist läuft noch",
            "Die Daten werden noch aufbewahrt. Bitte warten Sie, oder löschen Sie vorzeitig, wenn das Gesetz es "
            "verlangt.",
        ),
    ),
    problem_kind(
        "legal_reason_missing",
        422,
        en=(
            "Legal request missing",
            "Erasing before the end of the retention needs the legal request it is based on. Name it as the reason.",
        ),
        de=(
            "Rechtsgrundlage fehlt",
            "Vor dem Ende der Aufbewahrungsfrist wird nur auf ein rechtliches Verlangen gelöscht. Bitte nennen Sie es "
            "als Grund.",
        ),
    ),
    problem_kind(
        "export_not_written",
        503,
        en=(
            "Export not written",
            "The export could not be written, perhaps for want of space. Nothing is lost; it is tried again.",
        ),
        de=(
            "Export nicht geschrieben",
            "Der Export konnte nicht geschrieben werden, vielleicht aus Platzmangel. Es ist nichts verloren; er wird "
            "erneut versucht.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "export_damaged",
        409,
        en=(
            "Export damaged",
            "The file of this export is not the one that was written. Ask for a new export.",
        ),
        de=(
            "Export beschädigt",
            "Die Datei dieses Exports ist nicht die, die geschrieben wurde. Bitte fordern Sie einen neuen Export an.",
        ),
    ),
    problem_kind(
        "export_not_found",
        404,
        en=("Export not found", "There is no such export, or it has been deleted. See the list of exports."),
        de=(
            "Export nicht gefunden",
            "Einen solchen Export gibt es nicht, oder er wurde gelöscht. Bitte sehen Sie in der Liste nach.",
        ),
    ),
    problem_kind(
        "erasure_certificate_not_found",
        404,
        en=(
            "No certificate of erasure",
            "The instance has not been erased, so there is no certificate of it. See its state.",
        ),
        de=(
            "Kein Löschzertifikat",
            "Die Instanz wurde nicht gelöscht, also gibt es darüber kein Zertifikat. Bitte sehen Sie nach ihrem "
            "Zustand.",
        ),
    ),
)
"""The rows of this part; `app.http.problem_catalog` has all of them."""
