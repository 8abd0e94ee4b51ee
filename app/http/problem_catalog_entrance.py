"""Problems with certificates, front headers, secrets, lockout, slow-down and rates. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

ENTRANCE_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "client_cert_not_accepted",
        400,
        en=(
            "Client certificate header not accepted",
            "The header Client-Cert is believed from the load balancer only. Leave it out and connect with "
            "the certificate itself.",
        ),
        de=(
            "Kopfzeile mit Client-Zertifikat nicht angenommen",
            "Der Kopfzeile Client-Cert wird nur geglaubt, wenn sie vom Load-Balancer kommt. Bitte lassen Sie "
            "sie weg und verbinden Sie sich mit dem Zertifikat selbst.",
        ),
    ),
    problem_kind(
        "client_cert_malformed",
        400,
        en=(
            "Client certificate header malformed",
            "The load balancer passed a client certificate on in a form that cannot be read. Please tell "
            "the operators.",
        ),
        de=(
            "Kopfzeile mit Client-Zertifikat unlesbar",
            "Der Load-Balancer hat ein Client-Zertifikat in unlesbarer Form weitergegeben. Bitte melden Sie "
            "das dem Betrieb.",
        ),
    ),
    problem_kind(
        "forwarded_invalid",
        400,
        en=(
            "Address of the caller not understood",
            "The load balancer did not say clearly where the request comes from. Please tell the operators.",
        ),
        de=(
            "Adresse des Aufrufers nicht verstanden",
            "Der Load-Balancer hat nicht eindeutig gesagt, woher die Anfrage kommt. Bitte melden Sie das dem "
            "Betrieb.",
        ),
    ),
    problem_kind(
        "certificate_malformed",
        422,
        en=(
            "Not a certificate",
            "What was sent is not an X.509 certificate. Send exactly one certificate in PEM form, without "
            "its chain and without its key.",
        ),
        de=(
            "Kein Zertifikat",
            "Was gesendet wurde, ist kein X.509-Zertifikat. Bitte senden Sie genau ein Zertifikat in PEM-"
            "Form, ohne Kette und ohne Schlüssel.",
        ),
    ),
    problem_kind(
        "certificate_expired",
        422,
        en=(
            "Certificate has run out",
            "The certificate has run out already. Send one that is still valid.",
        ),
        de=(
            "Zertifikat abgelaufen",
            "Das Zertifikat ist bereits abgelaufen. Bitte senden Sie eines, das noch gültig ist.",
        ),
    ),
    problem_kind(
        "certificate_unfit",
        422,
        en=(
            "Certificate unfit",
            "The certificate cannot be used for this: it is not for clients, not that of a CA, weakly "
            "signed, or its subject is not written as it should be. The answer says which.",
        ),
        de=(
            "Zertifikat ungeeignet",
            "Das Zertifikat taugt nicht dafür: Es ist nicht für Clients, nicht das einer CA, schwach "
            "signiert, oder der Name ist falsch geschrieben. Die Antwort sagt, was davon.",
        ),
    ),
    problem_kind(
        "certificate_taken",
        409,
        en=(
            "Certificate known already",
            "An API client of this instance is known by this certificate already. Remove it there first.",
        ),
        de=(
            "Zertifikat schon bekannt",
            "An diesem Zertifikat wird bereits ein API-Client dieser Instanz erkannt. Bitte entfernen Sie "
            "es dort zuerst.",
        ),
    ),
    problem_kind(
        "certificates_too_many",
        409,
        en=(
            "Too many certificates",
            "The API client has as many certificates as it can have. Remove one that is no longer used.",
        ),
        de=(
            "Zu viele Zertifikate",
            "Der API-Client hat schon so viele Zertifikate, wie er haben kann. Bitte entfernen Sie eines, "
            "das nicht mehr benutzt wird.",
        ),
    ),
    problem_kind(
        "certificate_not_found",
        404,
        en=(
            "Certificate not found",
            "The API client has no such certificate. Read the list of API clients again.",
        ),
        de=(
            "Zertifikat nicht gefunden",
            "Ein solches Zertifikat hat der API-Client nicht. Bitte lesen Sie die Liste der API-Clients neu.",
        ),
    ),
    problem_kind(
        "clients_too_many",
        409,
        en=(
            "Too many API clients",
            "The instance has as many API clients as it can have. Remove one that is no longer used.",
        ),
        de=(
            "Zu viele API-Clients",
            "Die Instanz hat schon so viele API-Clients, wie sie haben kann. Bitte entfernen Sie einen, "
            "der nicht mehr benutzt wird.",
        ),
    ),
    problem_kind(
        "client_version_conflict",
        412,
        en=(
            "API client changed meanwhile",
            "Somebody else has changed the API client since you read it. Read it again and repeat your "
            "change.",
        ),
        de=(
            "API-Client zwischenzeitlich geändert",
            "Jemand hat den API-Client geändert, seit Sie ihn gelesen haben. Bitte lesen Sie ihn neu und "
            "wiederholen Sie Ihre Änderung.",
        ),
    ),
    problem_kind(
        "client_expiry_past",
        422,
        en=(
            "Expiry is over",
            "The API client would have expired already. Choose a later time, or disable the client.",
        ),
        de=(
            "Ablaufzeit liegt zurück",
            "Der API-Client wäre bereits abgelaufen. Bitte wählen Sie eine spätere Zeit oder schalten Sie "
            "den Client ab.",
        ),
    ),
    problem_kind(
        "secret_overlap_unfit",
        422,
        en=(
            "Overlap not possible",
            "An old secret can go on for 0 to 168 hours beside the new one. Choose a number of hours in "
            "between.",
        ),
        de=(
            "Überlappung nicht möglich",
            "Ein altes Passwort kann 0 bis 168 Stunden neben dem neuen weitergelten. Bitte wählen Sie "
            "eine Stundenzahl dazwischen.",
        ),
    ),
    problem_kind(
        "rate_unfit",
        422,
        en=(
            "Rate not possible",
            "The API client cannot have this rate. Choose one within the bounds in the answer, or ask the "
            "operators for a higher one.",
        ),
        de=(
            "Rate nicht möglich",
            "Diese Rate kann der API-Client nicht bekommen. Bitte bleiben Sie in den Grenzen aus der "
            "Antwort, oder bitten Sie den Betrieb um eine höhere.",
        ),
    ),
    problem_kind(
        "would_lock_out_caller",
        409,
        en=(
            "Would lock you out",
            "With this change you could not come in again with the credentials you use now. Nothing was "
            "changed; repeat it with `force` if it is meant so.",
        ),
        de=(
            "Würde Sie selbst aussperren",
            "Mit dieser Änderung kämen Sie mit Ihren jetzigen Zugangsdaten nicht wieder herein. Es wurde "
            "nichts geändert; wiederholen Sie sie mit `force`, wenn es so gemeint ist.",
        ),
    ),
    problem_kind(
        "would_lock_out_everybody",
        409,
        en=(
            "Would lock everybody out",
            "After this change no API client could come in any more. Nothing was changed; repeat it with "
            "`force` if it is meant so.",
        ),
        de=(
            "Würde alle aussperren",
            "Nach dieser Änderung käme kein API-Client mehr herein. Es wurde nichts geändert; wiederholen "
            "Sie sie mit `force`, wenn es so gemeint ist.",
        ),
    ),
    problem_kind(
        "rate_limited",
        429,
        en=(
            "Too many requests at once",
            "This API client calls faster than it may. Let the program wait as long as Retry-After says; "
            "the call was not counted.",
        ),
        de=(
            "Zu viele Anfragen auf einmal",
            "Dieser API-Client ruft schneller auf, als er darf. Bitte lassen Sie das Programm so lange "
            "warten, wie Retry-After sagt; der Aufruf wurde nicht gezählt.",
        ),
        retry_after_s=1,
    ),
    problem_kind(
        "too_many_failures",
        429,
        en=(
            "Too many wrong credentials",
            "Wrong credentials were sent too often from this network. Wait as long as Retry-After says "
            "and enter the right ones.",
        ),
        de=(
            "Zu viele falsche Zugangsdaten",
            "Aus diesem Netz kamen zu oft falsche Zugangsdaten. Bitte warten Sie so lange, wie Retry-"
            "After sagt, und tragen Sie die richtigen ein.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "certificate_outdated",
        403,
        en=(
            "Certificate not valid now",
            "The client certificate, or that of its CA, is not valid at this time. Renew it, or correct "
            "the clock that it was issued by.",
        ),
        de=(
            "Zertifikat zurzeit nicht gültig",
            "Das Client-Zertifikat oder das seiner CA ist zurzeit nicht gültig. Bitte erneuern Sie es, "
            "oder stellen Sie die Uhr richtig, nach der es ausgestellt wurde.",
        ),
    ),
    problem_kind(
        "certificate_not_for_clients",
        403,
        en=(
            "Certificate not for clients",
            "The certificate says that it is not for clients. Have one issued whose extended key usage "
            "allows clientAuth.",
        ),
        de=(
            "Zertifikat nicht für Clients",
            "Das Zertifikat sagt von sich, dass es nicht für Clients ist. Bitte lassen Sie eines mit der "
            "erweiterten Verwendung clientAuth ausstellen.",
        ),
    ),
    problem_kind(
        "certificate_of_closed_client",
        403,
        en=(
            "API client of the certificate closed",
            "The API client that is known by this certificate is disabled or has expired. Have it enabled "
            "again.",
        ),
        de=(
            "API-Client des Zertifikats geschlossen",
            "Der API-Client, der an diesem Zertifikat erkannt wird, ist abgeschaltet oder abgelaufen. "
            "Bitte lassen Sie ihn wieder einschalten.",
        ),
    ),
    problem_kind(
        "certificate_of_other_client",
        403,
        en=(
            "Certificate of another API client",
            "Certificate and user name belong to different API clients. Use both of the same one.",
        ),
        de=(
            "Zertifikat eines anderen API-Clients",
            "Zertifikat und Benutzername gehören zu verschiedenen API-Clients. Bitte benutzen Sie beides "
            "vom selben.",
        ),
    ),
)
