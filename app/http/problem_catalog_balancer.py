"""Problems that the load balancer answers itself, and those of bringing it to a state. Pure.

What it answers itself has its texts where they are rendered for it (`lb.front.problem`).
"""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind
from lb.front.problem import FRONT_PROBLEMS

_OWN: Final = (
    "caller_denied",
    "request_too_slow",
    "caller_too_fast",
    "front_failed",
    "line_failed",
    "control_unavailable",
    "line_too_slow",
)
"""The rows of the others are in the catalogues of what lines refuse; of these, lines answer the first two, too."""

BALANCER_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    *(
        problem_kind(
            code,
            FRONT_PROBLEMS[code].status,
            en=(FRONT_PROBLEMS[code].title_en, FRONT_PROBLEMS[code].hotline_en),
            de=(FRONT_PROBLEMS[code].title_de, FRONT_PROBLEMS[code].hotline_de),
            retry_after_s=FRONT_PROBLEMS[code].retry_after_s,
        )
        for code in _OWN
    ),
    problem_kind(
        "front_state_unfit",
        422,
        en=(
            "Not possible on a load balancer",
            "A value has a form that no load balancer takes; nothing was changed. Correct the field named in "
            "the answer.",
        ),
        de=(
            "Auf einem Load-Balancer nicht möglich",
            "Ein Wert hat eine Form, die kein Load-Balancer annimmt; es wurde nichts geändert. Bitte korrigieren "
            "Sie das genannte Feld.",
        ),
    ),
    problem_kind(
        "front_certificate_unfit",
        422,
        en=(
            "Certificate cannot be used",
            "A certificate, an authority or a revocation list cannot be read, or a key does not belong to its "
            "certificate; nothing was changed.",
        ),
        de=(
            "Zertifikat nicht verwendbar",
            "Ein Zertifikat, eine Zertifizierungsstelle oder eine Sperrliste ist unlesbar, oder ein Schlüssel "
            "gehört nicht zu seinem Zertifikat; es wurde nichts geändert.",
        ),
    ),
    problem_kind(
        "front_busy",
        503,
        en=(
            "Load balancer is being changed",
            "Another process is changing this load balancer at the moment. Please try again shortly.",
        ),
        de=(
            "Load-Balancer wird gerade geändert",
            "Ein anderer Prozess ändert diesen Load-Balancer gerade. Bitte versuchen Sie es gleich noch einmal.",
        ),
        retry_after_s=2,
    ),
    problem_kind(
        "front_refused",
        409,
        en=(
            "Configuration refused",
            "The load balancer refuses the new configuration and goes on with the former one. Please tell the "
            "operators.",
        ),
        de=(
            "Konfiguration abgelehnt",
            "Der Load-Balancer lehnt die neue Konfiguration ab und arbeitet mit der bisherigen weiter. Bitte "
            "melden Sie das dem Betrieb.",
        ),
    ),
    problem_kind(
        "front_not_reloaded",
        503,
        en=(
            "Load balancer kept its configuration",
            "The load balancer did not come up with its new configuration; the former one is in force. It is "
            "tried again by itself.",
        ),
        de=(
            "Load-Balancer behielt seine Konfiguration",
            "Der Load-Balancer kam mit der neuen Konfiguration nicht hoch; die bisherige gilt weiter. Es wird "
            "von selbst erneut versucht.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "front_disk_failed",
        503,
        en=(
            "Load balancer's disk failed",
            "The load balancer's files could not be written; nothing has changed. Please tell the operators.",
        ),
        de=(
            "Datenträger des Load-Balancers gestört",
            "Die Dateien des Load-Balancers konnten nicht geschrieben werden; es hat sich nichts geändert. "
            "Bitte melden Sie das dem Betrieb.",
        ),
        retry_after_s=30,
    ),
    problem_kind(
        "haproxy_unavailable",
        503,
        en=(
            "Load balancer does not answer",
            "Its files are up to date; what runs will follow as soon as it answers. Please tell the operators.",
        ),
        de=(
            "Load-Balancer antwortet nicht",
            "Seine Dateien sind auf dem neuesten Stand; was läuft, folgt, sobald er antwortet. Bitte melden Sie das "
            "dem Betrieb.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "haproxy_rejected",
        409,
        en=(
            "Load balancer refuses a change",
            "It goes on with what it had before. Please tell the operators; they see its words in the log.",
        ),
        de=(
            "Load-Balancer lehnt eine Änderung ab",
            "Er arbeitet weiter mit dem, was er vorher hatte. Bitte melden Sie das dem Betrieb; dort steht im Log, "
            "was er sagt.",
        ),
    ),
    problem_kind(
        "haproxy_reload_failed",
        409,
        en=(
            "Load balancer refuses its configuration",
            "It goes on with the one before. Please tell the operators; they see its words in the log.",
        ),
        de=(
            "Load-Balancer lehnt seine Konfiguration ab",
            "Er arbeitet mit der vorigen weiter. Bitte melden Sie das dem Betrieb; dort steht im Log, was er sagt.",
        ),
    ),
    problem_kind(
        "haproxy_protocol_error",
        503,
        en=(
            "Load balancer not understood",
            "Its answer has an unknown form; what it does is looked at again by itself. Please tell the operators if "
            "this lasts.",
        ),
        de=(
            "Load-Balancer nicht verstanden",
            "Seine Antwort hat eine unbekannte Form; er wird von selbst erneut befragt. Bitte melden Sie es dem "
            "Betrieb, wenn das anhält.",
        ),
        retry_after_s=5,
    ),
)
