"""Problems of staff: people, tokens, approvals, support access, corrections. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

STAFF_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "person_not_found",
        404,
        en=(
            "Person not found",
            "There is no such member of staff. Look the id up in the list of people.",
        ),
        de=(
            "Person nicht gefunden",
            "Eine solche Mitarbeiterin oder einen solchen Mitarbeiter gibt es nicht. Bitte suchen Sie "
            "die Id in der Liste der Personen.",
        ),
    ),
    problem_kind(
        "person_local",
        422,
        en=(
            "Local operator",
            "The local operator is whoever may open the control socket: he has no token and cannot be "
            "erased. Name a person.",
        ),
        de=(
            "Lokaler Betreiber",
            "Der Betreiber vor Ort ist, wer den Kontroll-Socket öffnen darf: Er hat kein Token und "
            "kann nicht gelöscht werden. Bitte nennen Sie eine Person.",
        ),
    ),
    problem_kind(
        "person_erased",
        409,
        en=(
            "Person erased",
            "This person has been erased already; nothing is left to be done.",
        ),
        de=(
            "Person gelöscht",
            "Diese Person ist schon gelöscht; es bleibt nichts zu tun.",
        ),
    ),
    problem_kind(
        "staff_token_ended",
        409,
        en=(
            "Staff token ended",
            "This staff token has expired or been revoked and cannot be renewed. Have a new one made.",
        ),
        de=(
            "Mitarbeiter-Token beendet",
            "Dieses Mitarbeiter-Token ist abgelaufen oder widerrufen und kann nicht erneuert werden. "
            "Bitte lassen Sie ein neues erzeugen.",
        ),
    ),
    problem_kind(
        "overlap_unfit",
        422,
        en=(
            "Overlap out of range",
            "The old secret can hold on for 0 to 168 hours. Choose a time within that range.",
        ),
        de=(
            "Übergangszeit außerhalb des Bereichs",
            "Das alte Geheimnis kann 0 bis 168 Stunden weiter gelten. Bitte wählen Sie eine Zeit in "
            "diesem Bereich.",
        ),
    ),
    problem_kind(
        "staff_person_missing",
        403,
        en=(
            "Token without a person",
            "This staff token is from before tokens belonged to people, so nobody can tell who is "
            "asking. Have a token made in your name.",
        ),
        de=(
            "Token ohne Person",
            "Dieses Mitarbeiter-Token stammt aus der Zeit, als Token noch niemandem gehörten; niemand "
            "weiß, wer damit fragt. Bitte lassen Sie ein Token auf Ihren Namen erzeugen.",
        ),
    ),
    problem_kind(
        "reason_missing",
        422,
        en=(
            "Reason missing",
            "Others decide about this, so they need a reason. Say why in the field named in the answer.",
        ),
        de=(
            "Begründung fehlt",
            "Darüber entscheiden andere, deshalb ist eine Begründung nötig. Bitte tragen Sie sie in "
            "das in der Antwort genannte Feld ein.",
        ),
    ),
    problem_kind(
        "approval_not_found",
        404,
        en=(
            "Request not found",
            "There is no such request for approval. Look at the list of requests.",
        ),
        de=(
            "Antrag nicht gefunden",
            "Einen solchen Antrag auf Freigabe gibt es nicht. Bitte sehen Sie in der Liste der Anträge nach.",
        ),
    ),
    problem_kind(
        "approval_open",
        409,
        en=(
            "Asked for already",
            "The same thing has been asked for and waits for a second person; the answer names the "
            "request. Have that one decided.",
        ),
        de=(
            "Bereits beantragt",
            "Dasselbe ist schon beantragt und wartet auf eine zweite Person; die Antwort nennt den "
            "Antrag. Bitte lassen Sie über diesen entscheiden.",
        ),
    ),
    problem_kind(
        "approval_by_requester",
        403,
        en=(
            "Own request",
            "Nobody approves what he has asked for himself, with whatever token. Have another person decide.",
        ),
        de=(
            "Eigener Antrag",
            "Niemand gibt frei, was er selbst beantragt hat, mit welchem Token auch immer. Bitte "
            "lassen Sie eine andere Person entscheiden.",
        ),
    ),
    problem_kind(
        "approval_by_subject",
        403,
        en=(
            "About oneself",
            "Nobody approves what is done to himself, for example his own erasure. Have another person decide.",
        ),
        de=(
            "In eigener Sache",
            "Niemand gibt frei, was ihn selbst betrifft, etwa die eigene Löschung. Bitte lassen Sie eine "
            "andere Person entscheiden.",
        ),
    ),
    problem_kind(
        "approval_closed",
        409,
        en=(
            "Decided already",
            "This request has been decided; the answer says how. Ask for it again if it is still needed.",
        ),
        de=(
            "Bereits entschieden",
            "Über diesen Antrag ist entschieden; die Antwort sagt, wie. Bitte stellen Sie ihn neu, "
            "wenn er noch gebraucht wird.",
        ),
    ),
    problem_kind(
        "approval_requester_gone",
        409,
        en=(
            "Requester gone",
            "Whoever asked for this has been erased or has no staff token any more, so nobody stands "
            "behind the request. Reject it, and ask for it anew.",
        ),
        de=(
            "Antragsteller nicht mehr da",
            "Wer dies beantragt hat, ist gelöscht oder hat kein gültiges Mitarbeiter-Token mehr; "
            "niemand steht mehr hinter dem Antrag. Bitte lehnen Sie ihn ab und stellen Sie ihn neu.",
        ),
    ),
    problem_kind(
        "approval_expired",
        409,
        en=(
            "Request expired",
            "Nobody decided about this request within 24 hours. Ask for it again.",
        ),
        de=(
            "Antrag abgelaufen",
            "Über diesen Antrag hat innerhalb von 24 Stunden niemand entschieden. Bitte stellen Sie ihn neu.",
        ),
    ),
    problem_kind(
        "approval_version_conflict",
        412,
        en=(
            "Request changed meanwhile",
            "The request is not the one that you have read. Read it again before you decide.",
        ),
        de=(
            "Antrag zwischenzeitlich geändert",
            "Der Antrag ist nicht der, den Sie gelesen haben. Bitte lesen Sie ihn neu, bevor Sie "
            "entscheiden.",
        ),
    ),
    problem_kind(
        "support_access_not_found",
        404,
        en=(
            "Support access not found",
            "There is no such support access here. Look at the list of support accesses.",
        ),
        de=(
            "Supportzugang nicht gefunden",
            "Einen solchen Supportzugang gibt es hier nicht. Bitte sehen Sie in der Liste der "
            "Supportzugänge nach.",
        ),
    ),
    problem_kind(
        "support_access_missing",
        403,
        en=(
            "Customer has not let support in",
            "Support looks into an instance only while its customer allows it. Ask the customer for "
            "support access.",
        ),
        de=(
            "Kunde hat den Support nicht eingelassen",
            "Der Support sieht nur in eine Instanz, solange ihr Kunde das erlaubt. Bitte beantragen "
            "Sie beim Kunden einen Supportzugang.",
        ),
    ),
    problem_kind(
        "support_access_read_only",
        403,
        en=(
            "Support may only look",
            "The customer lets support look, but change nothing. Ask for support access with the "
            "scope write.",
        ),
        de=(
            "Support darf nur lesen",
            "Der Kunde erlaubt dem Support, zu lesen, aber nichts zu ändern. Bitte beantragen Sie "
            "einen Supportzugang mit Schreibrecht.",
        ),
    ),
    problem_kind(
        "support_access_open",
        409,
        en=(
            "Support access asked for already",
            "You have asked for this already; the answer names the request. Wait until the customer decides.",
        ),
        de=(
            "Supportzugang bereits beantragt",
            "Das haben Sie schon beantragt; die Antwort nennt den Antrag. Bitte warten Sie, bis der "
            "Kunde entscheidet.",
        ),
    ),
    problem_kind(
        "support_access_closed",
        409,
        en=(
            "Support access in another state",
            "The access is not in a state in which this can be done; the answer says which. Read it again.",
        ),
        de=(
            "Supportzugang in anderem Zustand",
            "Der Zugang ist nicht in einem Zustand, in dem das geht; die Antwort nennt ihn. Bitte "
            "lesen Sie ihn neu.",
        ),
    ),
    problem_kind(
        "support_access_expired",
        409,
        en=(
            "Support access expired",
            "The time for this access has run out. Support has to ask again.",
        ),
        de=(
            "Supportzugang abgelaufen",
            "Die Zeit für diesen Zugang ist abgelaufen. Der Support muss ihn neu beantragen.",
        ),
    ),
    problem_kind(
        "support_access_version_conflict",
        412,
        en=(
            "Support access changed meanwhile",
            "The access is not as you have read it. Read it again before you decide.",
        ),
        de=(
            "Supportzugang zwischenzeitlich geändert",
            "Der Zugang ist nicht mehr so, wie Sie ihn gelesen haben. Bitte lesen Sie ihn neu, bevor "
            "Sie entscheiden.",
        ),
    ),
    problem_kind(
        "hours_unfit",
        422,
        en=(
            "Duration out of range",
            "Support access lasts for 3 to 168 hours. Choose a duration within that range.",
        ),
        de=(
            "Dauer außerhalb des Bereichs",
            "Ein Supportzugang gilt 3 bis 168 Stunden. Bitte wählen Sie eine Dauer in diesem Bereich.",
        ),
    ),
    problem_kind(
        "effect_not_found",
        404,
        en=(
            "Ledger entry not found",
            "The ledger of that month has no such entry. Take entry and month from the ledger.",
        ),
        de=(
            "Buchung nicht gefunden",
            "Das Buch dieses Monats enthält keine solche Buchung. Bitte übernehmen Sie Buchung und "
            "Monat aus dem Buch.",
        ),
    ),
    problem_kind(
        "effect_not_counted",
        409,
        en=(
            "Entry counts for nothing",
            "This entry is only reserved or has been given back, so there is no count to take back. "
            "Choose an entry that was counted.",
        ),
        de=(
            "Buchung zählt nicht",
            "Diese Buchung ist nur vorgemerkt oder zurückgegeben; es gibt keine Zählung "
            "zurückzunehmen. Bitte wählen Sie eine gezählte Buchung.",
        ),
    ),
    problem_kind(
        "effect_not_voidable",
        422,
        en=(
            "Entry cannot be taken back",
            "Only activations and web-service calls can be taken back. Choose other entries.",
        ),
        de=(
            "Buchung nicht zurücknehmbar",
            "Nur Aktivierungen und Webservice-Aufrufe können zurückgenommen werden. Bitte wählen Sie "
            "andere Buchungen.",
        ),
    ),
    problem_kind(
        "effect_already_voided",
        409,
        en=(
            "Taken back already",
            "This count was taken back before; the answer names the correction. Leave it out.",
        ),
        de=(
            "Bereits zurückgenommen",
            "Diese Zählung ist schon zurückgenommen; die Antwort nennt die Korrektur. Bitte lassen "
            "Sie sie weg.",
        ),
    ),
)
