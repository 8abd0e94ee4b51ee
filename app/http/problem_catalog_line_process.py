"""Problems with lines in processes of their own. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

LINE_PROCESS_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "instance_served_elsewhere",
        404,
        en=(
            "Instances are served by lines",
            "This is the control address; instances are served by their lines. Send the request to the load "
            "balancer's address.",
        ),
        de=(
            "Instanzen werden von Linien bedient",
            "Dies ist die Adresse der Steuerung; Instanzen werden von ihren Linien bedient. Bitte senden Sie "
            "die Anfrage an die Adresse des Load-Balancers.",
        ),
    ),
    problem_kind(
        "line_unreachable",
        503,
        en=(
            "Line does not answer",
            "A line that serves the instance does not answer, so it cannot be told what to do. It is tried again.",
        ),
        de=(
            "Linie antwortet nicht",
            "Eine Linie, die die Instanz bedient, antwortet nicht; ihr lässt sich nichts auftragen. Es wird "
            "wieder versucht.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "lines_running",
        409,
        en=(
            "Lines run as processes",
            "Lines of this platform still run as processes of their own, so they cannot work inside this process as "
            "well. End them first, or go on with lines as processes.",
        ),
        de=(
            "Linien laufen als Prozesse",
            "Linien dieser Plattform laufen noch als eigene Prozesse; sie können nicht zugleich in diesem Prozess "
            "arbeiten. Bitte beenden Sie sie zuerst, oder lassen Sie die Linien weiter als Prozesse laufen.",
        ),
    ),
)
