"""Problems with self-healing. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

RECONCILE_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "pause_scope_unfit",
        422,
        en=(
            "Not something to pause",
            "Pause `all`, a kind like `line:*`, a group like `group:shared`, or a part like `line:acme-1`. The details "
            "name such as there are.",
        ),
        de=(
            "Lässt sich nicht anhalten",
            "Anhalten lassen sich `all`, eine Art wie `line:*`, eine Gruppe wie `group:shared` oder ein Teil wie "
            "`line:acme-1`. Die Einzelheiten nennen, was es davon gibt.",
        ),
    ),
    problem_kind(
        "pause_end_unfit",
        422,
        en=("End of the pause has passed", "A pause ends in the future, or when somebody ends it."),
        de=(
            "Ende der Pause ist vorbei",
            "Eine Pause endet in der Zukunft, oder wenn jemand sie beendet.",
        ),
    ),
    problem_kind(
        "pause_not_found",
        404,
        en=("Not paused", "Nothing is paused like that. The status lists the pauses."),
        de=("Nicht angehalten", "So etwas ist nicht angehalten. Der Status listet die Pausen auf."),
    ),
    problem_kind(
        "part_not_frozen",
        409,
        en=(
            "Nobody was called about it",
            "Only a part about which a person was called is released, and only once. The status lists the alarms.",
        ),
        de=(
            "Dazu wurde niemand gerufen",
            "Nur ein Teil, zu dem ein Mensch gerufen wurde, wird freigegeben, und nur einmal. Der Status listet die "
            "Alarme auf.",
        ),
    ),
)
