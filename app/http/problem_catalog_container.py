"""Problems with container files on the user's own machine; pages explain them, no server sends them. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

CONTAINER_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "container_file_error",
        409,
        en=(
            "Container file cannot be used",
            "The container file cannot be used like this. Read the message of the program; the file was "
            "not changed.",
        ),
        de=(
            "CmContainer-Datei so nicht verwendbar",
            "Die CmContainer-Datei ist so nicht verwendbar. Bitte lesen Sie die Meldung des Programms; "
            "die Datei wurde nicht geändert.",
        ),
    ),
    problem_kind(
        "container_file_exists",
        409,
        en=(
            "Container file exists already",
            "There is a container file in this place already, and it is never overwritten. Choose "
            "another file name.",
        ),
        de=(
            "CmContainer-Datei bereits vorhanden",
            "An dieser Stelle gibt es schon eine CmContainer-Datei, und sie wird nie überschrieben. "
            "Bitte wählen Sie einen anderen Dateinamen.",
        ),
    ),
    problem_kind(
        "container_file_missing",
        404,
        en=(
            "Container file not found",
            "There is no container file in this place. Compare the path, or create a container first.",
        ),
        de=(
            "CmContainer-Datei nicht gefunden",
            "An dieser Stelle gibt es keine CmContainer-Datei. Bitte vergleichen Sie den Pfad oder "
            "legen Sie zuerst einen CmContainer an.",
        ),
    ),
    problem_kind(
        "container_file_damaged",
        409,
        en=(
            "Container file damaged",
            "The container file was changed by something else, or it cannot be read. Do not use it any "
            "more, and ask the vendor to restore its licences.",
        ),
        de=(
            "CmContainer-Datei beschädigt",
            "Die CmContainer-Datei wurde von außen verändert oder ist nicht lesbar. Bitte verwenden Sie "
            "sie nicht mehr und bitten Sie den Hersteller, die Lizenzen wiederherzustellen.",
        ),
    ),
    problem_kind(
        "template_invalid",
        422,
        en=(
            "Template invalid",
            "This is not a vendor's template. Download the template again from the vendor.",
        ),
        de=(
            "Vorlage ungültig",
            "Das ist keine Vorlage eines Herstellers. Bitte laden Sie die Vorlage erneut vom Hersteller "
            "herunter.",
        ),
    ),
    problem_kind(
        "template_conflict",
        409,
        en=(
            "Template contradicts the container",
            "The container knows this firm code from another origin. Ask the vendor which template is "
            "the right one.",
        ),
        de=(
            "Vorlage widerspricht dem CmContainer",
            "Der CmContainer kennt diesen Firm Code aus einer anderen Herkunft. Bitte fragen Sie den "
            "Hersteller, welche Vorlage die richtige ist.",
        ),
    ),
    problem_kind(
        "firm_code_unknown",
        404,
        en=(
            "Firm code unknown to the container",
            "The container does not know this firm code yet. Import the vendor's template first.",
        ),
        de=(
            "Firm Code im CmContainer unbekannt",
            "Der CmContainer kennt diesen Firm Code noch nicht. Bitte importieren Sie zuerst die "
            "Vorlage des Herstellers.",
        ),
    ),
    problem_kind(
        "update_refused",
        409,
        en=(
            "Update refused",
            "The update does not fit the state of the container, which was not changed. Make a new "
            "context and ask for a new update.",
        ),
        de=(
            "Update abgelehnt",
            "Das Update passt nicht zum Stand des CmContainers; dieser wurde nicht geändert. Bitte "
            "erzeugen Sie einen neuen Kontext und fordern Sie ein neues Update an.",
        ),
    ),
    problem_kind(
        "update_too_old",
        409,
        en=(
            "Update too old",
            "The container has gone beyond this update already, and it was not changed. Make a new "
            "context and ask for a new update.",
        ),
        de=(
            "Update zu alt",
            "Der CmContainer ist über dieses Update schon hinaus und wurde nicht geändert. Bitte "
            "erzeugen Sie einen neuen Kontext und fordern Sie ein neues Update an.",
        ),
    ),
    problem_kind(
        "update_too_new",
        409,
        en=(
            "Update too new",
            "An earlier update is missing in this container. Apply the earlier one first, or make a new "
            "context and ask for an update that includes both.",
        ),
        de=(
            "Update zu neu",
            "In diesem CmContainer fehlt ein früheres Update. Bitte spielen Sie zuerst das frühere ein, "
            "oder erzeugen Sie einen neuen Kontext und fordern Sie ein Update an, das beide enthält.",
        ),
    ),
    problem_kind(
        "update_already_applied",
        409,
        en=(
            "Update applied before",
            "The container has applied this very update already. Nothing more is needed: go on with the "
            "receipt.",
        ),
        de=(
            "Update bereits eingespielt",
            "Genau dieses Update ist im CmContainer bereits eingespielt. Mehr ist nicht nötig: Bitte "
            "fahren Sie mit der Quittung fort.",
        ),
    ),
)
