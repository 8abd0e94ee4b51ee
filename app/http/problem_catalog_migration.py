"""Problems with bringing databases to the newest schema. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

MIGRATION_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "migration_running",
        503,
        en=(
            "Being brought up to date",
            "The database is being brought up to date right now. Try again in a few seconds.",
        ),
        de=(
            "Wird aktualisiert",
            "Die Datenbank wird gerade aktualisiert. Bitte versuchen Sie es in einigen Sekunden noch einmal.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "migration_interrupted",
        503,
        en=(
            "Update interrupted",
            "Bringing the database up to date was stopped; nothing is lost. It goes on with the next try.",
        ),
        de=(
            "Aktualisierung unterbrochen",
            "Die Aktualisierung der Datenbank wurde angehalten; nichts ist verloren. Der nächste Versuch setzt "
            "sie fort.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "migration_refused",
        500,
        en=(
            "Update refused by the database",
            "The instance's database could not be brought up to date. Operations know which one; please tell "
            "support the request id.",
        ),
        de=(
            "Aktualisierung von der Datenbank abgelehnt",
            "Die Datenbank der Instanz konnte nicht aktualisiert werden. Der Betrieb weiß, welche es ist; bitte "
            "nennen Sie dem Support die Anfragenummer.",
        ),
    ),
    problem_kind(
        "schema_conflict",
        500,
        en=(
            "Something foreign in the database",
            "There is a table in the instance's database that is in the way of ours. Please tell support the "
            "request id.",
        ),
        de=(
            "Fremdes in der Datenbank",
            "In der Datenbank der Instanz steht eine Tabelle, die unserer im Weg ist. Bitte nennen Sie dem "
            "Support die Anfragenummer.",
        ),
    ),
    problem_kind(
        "migration_incomplete",
        409,
        en=(
            "Not all instances are up to date",
            "Some instances could not be brought up to date. Mend what is named there, then start the operation again.",
        ),
        de=(
            "Nicht alle Instanzen sind aktuell",
            "Einige Instanzen konnten nicht aktualisiert werden. Bitte beheben Sie, was dort steht, und starten Sie "
            "die Operation noch einmal.",
        ),
    ),
)
