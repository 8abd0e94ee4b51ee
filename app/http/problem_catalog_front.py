"""Problems with own host names, revocation lists, denied networks and load balancers. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

FRONT_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "host_unfit",
        422,
        en=(
            "Not a host name",
            "The text is no host name that can be served. Write it like licenses.example.com: no address, no "
            "wildcard, no path.",
        ),
        de=(
            "Kein Hostname",
            "Der Text ist kein Hostname, der bedient werden kann. Bitte schreiben Sie ihn wie "
            "licenses.example.com: keine Adresse, kein Platzhalter, kein Pfad.",
        ),
    ),
    problem_kind(
        "host_taken",
        409,
        en=(
            "Host name in use",
            "This host name is served already, for this instance or another one. Choose another name, or have"
            " it removed there first.",
        ),
        de=(
            "Hostname schon vergeben",
            "Dieser Hostname wird schon bedient, für diese Instanz oder eine andere. Bitte wählen Sie einen "
            "anderen, oder lassen Sie ihn dort zuerst entfernen.",
        ),
    ),
    problem_kind(
        "host_not_proven",
        422,
        en=(
            "Host name not proven",
            "No public authority certifies this host name in the certificate you sent. Send a certificate of "
            "such an authority with its whole chain, or ask the operators to add the name for you.",
        ),
        de=(
            "Hostname nicht belegt",
            "Keine öffentliche Zertifizierungsstelle bestätigt diesen Hostnamen in dem gesendeten Zertifikat."
            " Bitte senden Sie ein Zertifikat einer solchen Stelle mit der ganzen Kette, oder bitten Sie den "
            "Betreiber, den Namen einzutragen.",
        ),
    ),
    problem_kind(
        "hosts_too_many",
        409,
        en=(
            "Too many host names",
            "The instance has as many host names as an instance can have. Remove one that is no longer used.",
        ),
        de=(
            "Zu viele Hostnamen",
            "Die Instanz hat so viele Hostnamen, wie eine Instanz haben kann. Bitte entfernen Sie einen, der "
            "nicht mehr gebraucht wird.",
        ),
    ),
    problem_kind(
        "host_version_conflict",
        412,
        en=(
            "Host name changed meanwhile",
            "The host name has got another certificate since you read it. Read it again, then decide anew.",
        ),
        de=(
            "Hostname inzwischen geändert",
            "Der Hostname hat ein anderes Zertifikat bekommen, seit Sie ihn gelesen haben. Bitte lesen Sie "
            "ihn neu und entscheiden Sie dann.",
        ),
    ),
    problem_kind(
        "host_not_found",
        404,
        en=(
            "No such host name",
            "There is no host name with this id.",
        ),
        de=(
            "Hostname nicht gefunden",
            "Einen Hostnamen mit dieser Kennung gibt es nicht.",
        ),
    ),
    problem_kind(
        "host_certificate_malformed",
        422,
        en=(
            "Not a certificate chain",
            "The text holds no certificates in PEM, or too many. Send the certificate of the host first, then"
            " those that certify it, without the private key.",
        ),
        de=(
            "Keine Zertifikatskette",
            "Der Text enthält keine Zertifikate in PEM, oder zu viele. Bitte senden Sie zuerst das Zertifikat"
            " des Hosts, dann die Zertifikate darüber, ohne den privaten Schlüssel.",
        ),
    ),
    problem_kind(
        "host_certificate_expired",
        422,
        en=(
            "Host certificate has run out",
            "The certificate, or one of its chain, has run out. Renew it and send the new one; the one in use"
            " was not changed.",
        ),
        de=(
            "Zertifikat des Hosts abgelaufen",
            "Das Zertifikat, oder eines aus seiner Kette, ist abgelaufen. Bitte erneuern Sie es und senden "
            "Sie das neue; das bisherige wurde nicht geändert.",
        ),
    ),
    problem_kind(
        "host_certificate_unfit",
        422,
        en=(
            "Certificate not suited",
            "The certificate does not name the host, is not for servers, has its chain in the wrong order, or"
            " a key that is too weak. The answer says which.",
        ),
        de=(
            "Zertifikat nicht geeignet",
            "Das Zertifikat nennt den Host nicht, ist nicht für Server, hat seine Kette in falscher "
            "Reihenfolge oder einen zu schwachen Schlüssel. Die Antwort sagt, was davon.",
        ),
    ),
    problem_kind(
        "host_key_unfit",
        422,
        en=(
            "Private key not suited",
            "The private key cannot be read, is protected by a password, or belongs to another certificate. "
            "Send the key of this certificate in PEM, without a password.",
        ),
        de=(
            "Privater Schlüssel nicht geeignet",
            "Der private Schlüssel ist nicht lesbar, durch ein Passwort geschützt oder gehört zu einem "
            "anderen Zertifikat. Bitte senden Sie den Schlüssel dieses Zertifikats in PEM, ohne Passwort.",
        ),
    ),
    problem_kind(
        "denied_network_taken",
        409,
        en=(
            "Network denied already",
            "This network is denied already. Remove that entry first if its reason or end shall change.",
        ),
        de=(
            "Netz schon gesperrt",
            "Dieses Netz ist schon gesperrt. Bitte entfernen Sie zuerst den Eintrag, wenn sich Grund oder "
            "Ende ändern sollen.",
        ),
    ),
    problem_kind(
        "denied_network_past",
        422,
        en=(
            "End lies in the past",
            "The denial would have ended already. Name a later end, or none.",
        ),
        de=(
            "Ende liegt in der Vergangenheit",
            "Die Sperre wäre schon zu Ende. Bitte nennen Sie ein späteres Ende, oder keines.",
        ),
    ),
    problem_kind(
        "denied_networks_too_many",
        409,
        en=(
            "Too many denied networks",
            "As many networks are denied as can be. Remove some that have ended, or put several into one "
            "larger network.",
        ),
        de=(
            "Zu viele gesperrte Netze",
            "Es sind so viele Netze gesperrt, wie möglich ist. Bitte entfernen Sie abgelaufene, oder fassen "
            "Sie mehrere zu einem größeren zusammen.",
        ),
    ),
    problem_kind(
        "denied_network_not_found",
        404,
        en=(
            "No such denied network",
            "There is no denied network with this id.",
        ),
        de=(
            "Gesperrtes Netz nicht gefunden",
            "Ein gesperrtes Netz mit dieser Kennung gibt es nicht.",
        ),
    ),
    problem_kind(
        "revocation_list_malformed",
        422,
        en=(
            "Not a revocation list",
            "The text is no revocation list. Send the authority's list (CRL) as PEM, or its DER file in "
            "base64.",
        ),
        de=(
            "Keine Sperrliste",
            "Der Text ist keine Sperrliste. Bitte senden Sie die Liste der Zertifizierungsstelle (CRL) als "
            "PEM, oder die DER-Datei in Base64.",
        ),
    ),
    problem_kind(
        "revocation_list_foreign",
        422,
        en=(
            "List of another authority",
            "None of the authorities that API clients of this instance are pinned to has signed this list. "
            "Pin the authority to a client first, or send its own list.",
        ),
        de=(
            "Liste einer anderen Stelle",
            "Keine der Zertifizierungsstellen, die bei API-Clients dieser Instanz hinterlegt sind, hat diese "
            "Liste unterschrieben. Bitte hinterlegen Sie zuerst die Stelle, oder senden Sie deren eigene "
            "Liste.",
        ),
    ),
    problem_kind(
        "revocation_list_unfit",
        422,
        en=(
            "Revocation list not suited",
            "The list is not in force now, does not say until when it holds, or is not the whole list of its "
            "authority. Fetch the newest whole list and send that.",
        ),
        de=(
            "Sperrliste nicht geeignet",
            "Die Liste gilt jetzt nicht, sagt nicht, wie lange sie gilt, oder ist nicht die ganze Liste ihrer"
            " Stelle. Bitte holen Sie die neueste vollständige Liste und senden Sie diese.",
        ),
    ),
    problem_kind(
        "revocation_list_older",
        409,
        en=(
            "Newer list kept already",
            "A newer revocation list of this authority is in force; it was not changed. Fetch the newest one "
            "from the authority.",
        ),
        de=(
            "Neuere Liste schon vorhanden",
            "Es gilt schon eine neuere Sperrliste dieser Stelle; sie wurde nicht geändert. Bitte holen Sie "
            "die neueste von der Zertifizierungsstelle.",
        ),
    ),
    problem_kind(
        "revocation_list_not_found",
        404,
        en=(
            "No such revocation list",
            "The instance has no revocation list of that authority.",
        ),
        de=(
            "Sperrliste nicht gefunden",
            "Die Instanz hat keine Sperrliste dieser Stelle.",
        ),
    ),
    problem_kind(
        "revocation_lists_too_many",
        409,
        en=(
            "Too many revocation lists",
            "The instance has as many revocation lists as an instance can have. Remove one whose authority is"
            " no longer pinned.",
        ),
        de=(
            "Zu viele Sperrlisten",
            "Die Instanz hat so viele Sperrlisten, wie eine Instanz haben kann. Bitte entfernen Sie eine, "
            "deren Stelle nicht mehr hinterlegt ist.",
        ),
    ),
    problem_kind(
        "certificate_revoked",
        403,
        en=(
            "Certificate revoked",
            "The authority that issued the client certificate has revoked it. Have a new certificate issued "
            "and set it up in the calling program.",
        ),
        de=(
            "Zertifikat gesperrt",
            "Die Stelle, die das Clientzertifikat ausgestellt hat, hat es gesperrt. Bitte lassen Sie ein "
            "neues ausstellen und richten Sie es im aufrufenden Programm ein.",
        ),
    ),
    problem_kind(
        "revocation_list_outdated",
        403,
        en=(
            "Revocation list has run out",
            "The revocation list of the certificate's authority has run out, so nobody can say whether the "
            "certificate still holds. Put the authority's newest list in the portal, or remove the list.",
        ),
        de=(
            "Sperrliste abgelaufen",
            "Die Sperrliste der Stelle, die das Zertifikat ausgestellt hat, ist abgelaufen; ob das Zertifikat"
            " noch gilt, kann niemand sagen. Bitte hinterlegen Sie im Portal die neueste Liste, oder "
            "entfernen Sie die Liste.",
        ),
    ),
    problem_kind(
        "certificate_not_verified",
        403,
        en=(
            "Certificate not verified",
            "The load balancer could not verify the client certificate: its signature, its key or its chain "
            "is wrong. Have it issued anew.",
        ),
        de=(
            "Zertifikat nicht bestätigt",
            "Der Lastverteiler konnte das Clientzertifikat nicht bestätigen: Unterschrift, Schlüssel oder "
            "Kette stimmen nicht. Bitte lassen Sie es neu ausstellen.",
        ),
    ),
)
