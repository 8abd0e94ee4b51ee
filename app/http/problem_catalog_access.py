"""Problems with access policies, credentials and permissions. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

ACCESS_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "access_policy_invalid",
        422,
        en=(
            "Access policy invalid",
            "The access policy contradicts itself. Correct the field named in the answer; the policy in "
            "force was not changed.",
        ),
        de=(
            "Zugangsregel ungültig",
            "Die Zugangsregel widerspricht sich. Bitte korrigieren Sie das in der Antwort genannte "
            "Feld; die geltende Regel wurde nicht geändert.",
        ),
    ),
    problem_kind(
        "network_invalid",
        422,
        en=(
            "Not an IP network",
            "The text is not an IP network. Write it like 192.0.2.0/24 or 2001:db8::/32.",
        ),
        de=(
            "Kein IP-Netz",
            "Der Text ist kein IP-Netz. Bitte schreiben Sie es wie 192.0.2.0/24 oder 2001:db8::/32.",
        ),
    ),
    problem_kind(
        "network_too_wide",
        422,
        en=(
            "Network very large",
            "This network would let a large part of the Internet in. Name a smaller one, or confirm "
            "that it is meant so.",
        ),
        de=(
            "Netz sehr groß",
            "Dieses Netz ließe einen großen Teil des Internets herein. Bitte nennen Sie ein kleineres "
            "oder bestätigen Sie, dass es so gemeint ist.",
        ),
    ),
    problem_kind(
        "policy_version_conflict",
        412,
        en=(
            "Access policy changed meanwhile",
            "Somebody else has changed the access policy since you read it. Read it again and repeat "
            "your change.",
        ),
        de=(
            "Zugangsregel zwischenzeitlich geändert",
            "Jemand hat die Zugangsregel geändert, seit Sie sie gelesen haben. Bitte lesen Sie sie neu "
            "und wiederholen Sie Ihre Änderung.",
        ),
    ),
    problem_kind(
        "scope_unknown",
        422,
        en=(
            "Scope unknown",
            "There is no such permission, or none was named. Choose from those in the answer.",
        ),
        de=(
            "Berechtigung unbekannt",
            "Eine solche Berechtigung gibt es nicht, oder es wurde keine genannt. Bitte wählen Sie aus "
            "denen in der Antwort.",
        ),
    ),
    problem_kind(
        "role_unknown",
        422,
        en=(
            "Role unknown",
            "There is no such staff role. Choose one of those in the answer.",
        ),
        de=(
            "Rolle unbekannt",
            "Eine solche Mitarbeiterrolle gibt es nicht. Bitte wählen Sie eine aus der Antwort.",
        ),
    ),
    problem_kind(
        "expiry_unfit",
        422,
        en=(
            "Expiry not possible",
            "The token would expire in the past or too far in the future. Choose a time within the next "
            "366 days.",
        ),
        de=(
            "Ablaufzeit nicht möglich",
            "Das Token würde in der Vergangenheit oder zu weit in der Zukunft ablaufen. Bitte wählen "
            "Sie eine Zeit innerhalb der nächsten 366 Tage.",
        ),
    ),
    problem_kind(
        "limit_unfit",
        422,
        en=(
            "Page size out of range",
            "The number of entries for a page is out of range. Ask for fewer entries, but at least one.",
        ),
        de=(
            "Seitengröße außerhalb des Bereichs",
            "Die Zahl der Einträge je Seite liegt außerhalb des Bereichs. Bitte fordern Sie weniger an, "
            "mindestens aber einen.",
        ),
    ),
    problem_kind(
        "access_denied",
        403,
        en=(
            "Access denied",
            "You are not let in here. Please ask whoever looks after the access policy of the instance.",
        ),
        de=(
            "Zugang verweigert",
            "Sie haben hier keinen Zugang. Bitte wenden Sie sich an die Person, die die Zugangsregel "
            "der Instanz betreut.",
        ),
    ),
    problem_kind(
        "access_closed",
        403,
        en=(
            "Access closed",
            "This instance lets nobody in until its customer has chosen an access policy. Please set "
            "the policy first.",
        ),
        de=(
            "Zugang geschlossen",
            "Diese Instanz lässt niemanden herein, bis ihr Kunde eine Zugangsregel gewählt hat. Bitte "
            "legen Sie die Regel zuerst fest.",
        ),
    ),
    problem_kind(
        "network_not_allowed",
        403,
        en=(
            "Network not allowed",
            "The address you call from is in none of the allowed networks. Call from an allowed "
            "network, or have yours added to the access policy.",
        ),
        de=(
            "Netz nicht zugelassen",
            "Die Adresse, von der Sie kommen, liegt in keinem zugelassenen Netz. Bitte nutzen Sie ein "
            "zugelassenes Netz oder lassen Sie Ihres in die Zugangsregel aufnehmen.",
        ),
    ),
    problem_kind(
        "certificate_missing",
        403,
        en=(
            "Client certificate missing",
            "The access policy asks for a client certificate, and none came. Set the certificate up in "
            "the calling program.",
        ),
        de=(
            "Client-Zertifikat fehlt",
            "Die Zugangsregel verlangt ein Client-Zertifikat, und es kam keines. Bitte richten Sie das "
            "Zertifikat im aufrufenden Programm ein.",
        ),
    ),
    problem_kind(
        "credentials_missing",
        401,
        en=(
            "Credentials missing",
            "A user name and a secret are needed here. Enter both in the calling program.",
        ),
        de=(
            "Zugangsdaten fehlen",
            "Hier werden Benutzername und Passwort gebraucht. Bitte tragen Sie beide im aufrufenden "
            "Programm ein.",
        ),
    ),
    problem_kind(
        "credentials_invalid",
        401,
        en=(
            "Credentials invalid",
            "The secret is wrong, or this API client is disabled. Enter the secret again, or have a new "
            "one made.",
        ),
        de=(
            "Zugangsdaten ungültig",
            "Das Passwort ist falsch, oder dieser API-Client ist abgeschaltet. Bitte tragen Sie das "
            "Passwort neu ein oder lassen Sie ein neues erzeugen.",
        ),
    ),
    problem_kind(
        "scope_missing",
        403,
        en=(
            "Permission missing",
            "You are known here, but you may not do this. Have the permission named in the answer added.",
        ),
        de=(
            "Berechtigung fehlt",
            "Sie sind hier bekannt, dürfen dies aber nicht. Bitte lassen Sie sich die in der Antwort "
            "genannte Berechtigung geben.",
        ),
    ),
    problem_kind(
        "staff_token_invalid",
        401,
        en=(
            "Staff token invalid",
            "The staff token is unknown, expired or revoked. Have a new one made.",
        ),
        de=(
            "Mitarbeiter-Token ungültig",
            "Das Mitarbeiter-Token ist unbekannt, abgelaufen oder widerrufen. Bitte lassen Sie ein "
            "neues erzeugen.",
        ),
    ),
    problem_kind(
        "staff_role_insufficient",
        403,
        en=(
            "Staff role not sufficient",
            "Your staff token is valid, but its role does not allow this. Ask somebody with a higher "
            "role, or have a token with that role made.",
        ),
        de=(
            "Mitarbeiterrolle reicht nicht aus",
            "Ihr Mitarbeiter-Token ist gültig, aber seine Rolle erlaubt dies nicht. Bitte fragen Sie "
            "jemanden mit höherer Rolle oder lassen Sie ein Token mit dieser Rolle erzeugen.",
        ),
    ),
)
