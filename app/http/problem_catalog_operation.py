"""Problems with long-running operations. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

OPERATION_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "operation_running",
        409,
        en=(
            "Another operation is running",
            "Something is being changed here already. The answer names the operation: wait for its end, or decide "
            "about it, then try again.",
        ),
        de=(
            "Ein anderer Vorgang läuft",
            "Hier wird bereits etwas geändert. Die Antwort nennt den Vorgang: Bitte warten Sie sein Ende ab oder "
            "entscheiden Sie über ihn, und versuchen Sie es dann erneut.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "probe_running",
        409,
        en=(
            "The probe is running",
            "A round of the isolation probe is under way. Wait for its end and read its result, or try again then.",
        ),
        de=(
            "Die Prüfung läuft",
            "Eine Runde der Isolationsprüfung läuft gerade. Bitte warten Sie ihr Ende ab und lesen Sie ihr Ergebnis, "
            "oder versuchen Sie es dann erneut.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "operation_state_unfit",
        409,
        en=(
            "Does not fit the operation's state",
            "The operation is no longer, or not yet, in a state in which that can be decided. Look at it again; it "
            "says what is possible now.",
        ),
        de=(
            "Passt nicht zum Zustand des Vorgangs",
            "Der Vorgang ist nicht mehr oder noch nicht in einem Zustand, in dem das entschieden werden kann. Bitte "
            "sehen Sie ihn sich erneut an; er sagt, was jetzt möglich ist.",
        ),
    ),
    problem_kind(
        "operation_step_needed",
        409,
        en=(
            "Step cannot be skipped",
            "What comes after this step needs it. Remove the reason why it fails and retry, or let the operation be "
            "undone.",
        ),
        de=(
            "Schritt kann nicht übersprungen werden",
            "Was nach diesem Schritt kommt, braucht ihn. Bitte beseitigen Sie den Grund des Fehlers und wiederholen "
            "Sie ihn, oder lassen Sie den Vorgang zurücknehmen.",
        ),
    ),
    problem_kind(
        "operation_past_no_return",
        409,
        en=(
            "Cannot be undone any more",
            "The operation has done something that nobody can take back, so it only goes forward. Retry it once the "
            "reason of its failure is gone.",
        ),
        de=(
            "Kann nicht mehr zurückgenommen werden",
            "Der Vorgang hat etwas getan, das niemand zurücknehmen kann; er geht nur noch vorwärts. Bitte wiederholen "
            "Sie ihn, sobald der Grund seines Fehlers beseitigt ist.",
        ),
    ),
    problem_kind(
        "operation_owner_lost",
        409,
        en=(
            "Operation was taken over",
            "Another worker goes on with this operation; the work of this one was dropped. Nothing has to be done.",
        ),
        de=(
            "Vorgang wurde übernommen",
            "Ein anderer Arbeitsprozess führt diesen Vorgang fort; die Arbeit dieses einen wurde verworfen. Es ist "
            "nichts zu tun.",
        ),
    ),
    problem_kind(
        "box_busy",
        409,
        en=(
            "Firm Security Box has work",
            "A Firm Security Box that has work is not taken out of service. Try again when its queue is empty.",
        ),
        de=(
            "Firm Security Box hat Arbeit",
            "Eine Firm Security Box, die Arbeit hat, wird nicht außer Dienst genommen. Bitte versuchen Sie es erneut, "
            "wenn ihre Warteschlange leer ist.",
        ),
        retry_after_s=10,
    ),
)
