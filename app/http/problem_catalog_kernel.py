"""Problems of the kernel and of HTTP itself. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

KERNEL_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "input_invalid",
        422,
        en=(
            "Input invalid",
            "A value is malformed or out of range. Correct the field named in the answer and send the "
            "request again.",
        ),
        de=(
            "Eingabe ungültig",
            "Ein Wert hat die falsche Form oder liegt außerhalb des erlaubten Bereichs. Bitte "
            "korrigieren Sie das genannte Feld und senden Sie die Anfrage erneut.",
        ),
    ),
    problem_kind(
        "idempotency_key_reused",
        422,
        en=(
            "Idempotency key used before",
            "This idempotency key already belongs to a different request. Send the new request with a "
            "new key.",
        ),
        de=(
            "Idempotency-Key bereits verwendet",
            "Dieser Idempotency-Key gehört bereits zu einer anderen Anfrage. Bitte senden Sie die neue "
            "Anfrage mit einem neuen Schlüssel.",
        ),
    ),
    problem_kind(
        "operation_in_progress",
        409,
        en=(
            "Request still in progress",
            "The first attempt of this request is still being carried out. Wait a moment and send "
            "exactly the same request again.",
        ),
        de=(
            "Anfrage noch in Arbeit",
            "Der erste Versuch dieser Anfrage wird noch ausgeführt. Bitte warten Sie einen Moment und "
            "senden Sie genau dieselbe Anfrage erneut.",
        ),
        retry_after_s=1,
    ),
    problem_kind(
        "database_unavailable",
        503,
        en=(
            "Database unavailable",
            "The database does not answer at the moment, and nothing was changed. Please try again in a "
            "few seconds.",
        ),
        de=(
            "Datenbank nicht erreichbar",
            "Die Datenbank antwortet im Moment nicht, und es wurde nichts geändert. Bitte versuchen Sie "
            "es in einigen Sekunden erneut.",
        ),
        retry_after_s=2,
    ),
    problem_kind(
        "commit_outcome_unknown",
        503,
        en=(
            "Outcome not known yet",
            "It is not certain yet whether the change was saved. Send exactly the same request again "
            "with the same idempotency key; it takes effect only once.",
        ),
        de=(
            "Ergebnis noch nicht bekannt",
            "Es steht noch nicht fest, ob die Änderung gespeichert wurde. Bitte senden Sie genau "
            "dieselbe Anfrage mit demselben Idempotency-Key erneut; sie wirkt nur einmal.",
        ),
        retry_after_s=2,
    ),
    problem_kind(
        "internal_error",
        500,
        en=(
            "Internal error",
            "Something failed on our side, and it has been recorded. If it happens again, tell support "
            "the number of the request.",
        ),
        de=(
            "Interner Fehler",
            "Auf unserer Seite ist etwas fehlgeschlagen, und es wurde aufgezeichnet. Wenn es wieder "
            "geschieht, nennen Sie dem Support bitte die Nummer der Anfrage.",
        ),
    ),
    problem_kind(
        "data_directory_in_use",
        409,
        en=(
            "Data folder in use",
            "Another wops process is using this data folder. Stop that process first, or choose another "
            "folder.",
        ),
        de=(
            "Datenverzeichnis in Benutzung",
            "Ein anderer wops-Prozess benutzt dieses Datenverzeichnis. Bitte beenden Sie zuerst jenen "
            "Prozess oder wählen Sie ein anderes Verzeichnis.",
        ),
    ),
    problem_kind(
        "request_invalid",
        422,
        en=(
            "Request invalid",
            "The request does not have the expected form. Correct the fields listed in the answer and "
            "send it again.",
        ),
        de=(
            "Anfrage ungültig",
            "Die Anfrage hat nicht die erwartete Form. Bitte korrigieren Sie die in der Antwort "
            "aufgeführten Felder und senden Sie sie erneut.",
        ),
    ),
    problem_kind(
        "json_malformed",
        422,
        en=(
            "JSON malformed",
            "The content of the request is not valid JSON. Check how the sending program writes it, "
            "then send it again.",
        ),
        de=(
            "JSON fehlerhaft",
            "Der Inhalt der Anfrage ist kein gültiges JSON. Bitte prüfen Sie, wie das sendende Programm "
            "ihn schreibt, und senden Sie ihn erneut.",
        ),
    ),
    problem_kind(
        "body_too_large",
        413,
        en=(
            "Request too large",
            "The request is larger than the server accepts. Split it into several smaller requests.",
        ),
        de=(
            "Anfrage zu groß",
            "Die Anfrage ist größer, als der Server annimmt. Bitte teilen Sie sie in mehrere kleinere "
            "Anfragen auf.",
        ),
    ),
    problem_kind(
        "media_type_unsupported",
        415,
        en=(
            "Media type not supported",
            "The content was sent as a type that is not understood here. Send it as application/json.",
        ),
        de=(
            "Medientyp nicht unterstützt",
            "Der Inhalt wurde in einem Format gesendet, das hier nicht verstanden wird. Bitte senden "
            "Sie ihn als application/json.",
        ),
    ),
    problem_kind(
        "route_not_found",
        404,
        en=(
            "Address not found",
            "There is nothing at this address. Compare it with the description of the interface.",
        ),
        de=(
            "Adresse nicht gefunden",
            "Unter dieser Adresse gibt es nichts. Bitte vergleichen Sie sie mit der Beschreibung der "
            "Schnittstelle.",
        ),
    ),
    problem_kind(
        "method_not_allowed",
        405,
        en=(
            "Method not allowed",
            "This address exists, but not for this HTTP method. The answer names the methods that are "
            "possible.",
        ),
        de=(
            "Methode nicht erlaubt",
            "Diese Adresse gibt es, aber nicht für diese HTTP-Methode. Die Antwort nennt die möglichen "
            "Methoden.",
        ),
    ),
    problem_kind(
        "idempotency_key_missing",
        400,
        en=(
            "Idempotency key missing",
            "This request needs an Idempotency-Key header. Send it again with a newly made UUID as the key.",
        ),
        de=(
            "Idempotency-Key fehlt",
            "Diese Anfrage braucht den Header Idempotency-Key. Bitte senden Sie sie mit einer neu "
            "erzeugten UUID als Schlüssel erneut.",
        ),
    ),
    problem_kind(
        "idempotency_key_invalid",
        400,
        en=(
            "Idempotency key invalid",
            "The idempotency key is empty, too long or holds characters that are not allowed. Use a "
            "newly made UUID.",
        ),
        de=(
            "Idempotency-Key ungültig",
            "Der Idempotency-Key ist leer, zu lang oder enthält unerlaubte Zeichen. Bitte verwenden Sie "
            "eine neu erzeugte UUID.",
        ),
    ),
    problem_kind(
        "if_match_missing",
        428,
        en=(
            "If-Match missing",
            "A change needs an If-Match header with the version you have read. Read the object, then "
            "send the change with its ETag.",
        ),
        de=(
            "If-Match fehlt",
            "Eine Änderung braucht den Header If-Match mit der gelesenen Version. Bitte lesen Sie das "
            "Objekt und senden Sie die Änderung mit dessen ETag.",
        ),
    ),
    problem_kind(
        "if_match_any",
        428,
        en=(
            "If-Match names no version",
            "If-Match: * protects nobody from overwriting what he has not read. Read the object, then send "
            "the change with its ETag.",
        ),
        de=(
            "If-Match nennt keine Version",
            "If-Match: * schützt niemanden davor, Ungelesenes zu überschreiben. Bitte lesen Sie das Objekt "
            "und senden Sie die Änderung mit dessen ETag.",
        ),
    ),
    problem_kind(
        "if_match_stale",
        412,
        en=(
            "Version outdated",
            "The version in the If-Match header is not one of this object. Read the object again and "
            "repeat your change.",
        ),
        de=(
            "Version veraltet",
            "Die Version im Header If-Match gehört nicht zu diesem Objekt. Bitte lesen Sie das Objekt "
            "neu und wiederholen Sie Ihre Änderung.",
        ),
    ),
    problem_kind(
        "cursor_invalid",
        422,
        en=(
            "Cursor invalid",
            "This cursor does not belong to this list. Start again with the first page, without a cursor.",
        ),
        de=(
            "Cursor ungültig",
            "Dieser Cursor gehört nicht zu dieser Liste. Bitte beginnen Sie ohne Cursor wieder mit der "
            "ersten Seite.",
        ),
    ),
    problem_kind(
        "request_refused",
        400,
        en=(
            "Request not understood",
            "The server could not read the request. Check the program or the proxy that sent it.",
        ),
        de=(
            "Anfrage nicht verständlich",
            "Der Server konnte die Anfrage nicht lesen. Bitte prüfen Sie das Programm oder den Proxy, "
            "von dem sie kommt.",
        ),
    ),
)
