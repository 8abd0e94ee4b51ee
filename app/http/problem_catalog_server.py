"""Problems with servers, placement and the databases of instances. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

SERVER_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "capacity_exhausted",
        409,
        en=(
            "No server has room",
            "The details say of which purpose and in which country servers are missing. Register one, or raise the "
            "capacity of one that is there.",
        ),
        de=(
            "Kein Server hat Platz",
            "Die Einzelheiten sagen, welche Art von Server in welchem Land fehlt. Bitte registrieren Sie einen, oder "
            "erhöhen Sie die Kapazität eines vorhandenen.",
        ),
    ),
    problem_kind(
        "country_forbidden",
        409,
        en=(
            "Country not in the contract",
            "The contract does not allow the data of the instance to lie in this country. Choose one of the countries "
            "in the answer, or have the contract changed first.",
        ),
        de=(
            "Land nicht im Vertrag",
            "Der Vertrag erlaubt nicht, dass die Daten der Instanz in diesem Land liegen. Bitte wählen Sie eines der "
            "Länder aus der Antwort, oder lassen Sie zuerst den Vertrag ändern.",
        ),
    ),
    problem_kind(
        "country_unknown",
        422,
        en=(
            "No such country",
            "There is no country of that code. Write the two capital letters of ISO 3166-1, for example DE; the answer "
            "names the field.",
        ),
        de=(
            "Land unbekannt",
            "Ein Land mit diesem Kürzel gibt es nicht. Bitte schreiben Sie die zwei Großbuchstaben nach ISO 3166-1, "
            "zum Beispiel DE; die Antwort nennt das Feld.",
        ),
    ),
    problem_kind(
        "country_repeated",
        422,
        en=("Country named twice", "A country stands in the list twice. Name each one once."),
        de=("Land doppelt", "Ein Land steht zweimal in der Liste. Bitte nennen Sie jedes nur einmal."),
    ),
    problem_kind(
        "server_description_unfit",
        422,
        en=(
            "No server is like that",
            "What was said of the server contradicts itself. The answer names the field.",
        ),
        de=(
            "Angaben zum Server passen nicht",
            "Die Angaben zum Server widersprechen sich. Die Antwort nennt das Feld.",
        ),
    ),
    problem_kind(
        "server_address_unfit",
        422,
        en=(
            "Address not allowed",
            "A directory must lie below the data directory, without dots; a database server is given as host:port.",
        ),
        de=(
            "Adresse nicht erlaubt",
            "Ein Verzeichnis muss unterhalb des Datenverzeichnisses liegen, ohne Punkte; ein Datenbankserver wird als "
            "Host:Port angegeben.",
        ),
    ),
    problem_kind(
        "server_name_taken",
        409,
        en=("Server known already", "A server with this name is registered. Choose another name."),
        de=(
            "Server schon bekannt",
            "Ein Server mit diesem Namen ist schon registriert. Bitte wählen Sie einen anderen Namen.",
        ),
    ),
    problem_kind(
        "server_taken",
        409,
        en=(
            "Address registered already",
            "Another server is registered at this address; instances that paid for a server of their own would share "
            "it. If that is what you want, say so with shares_address.",
        ),
        de=(
            "Adresse schon registriert",
            "Unter dieser Adresse ist schon ein Server registriert; Instanzen mit eigenem Server würden ihn sich "
            "teilen. Wenn das so sein soll, geben Sie shares_address an.",
        ),
    ),
    problem_kind(
        "server_not_found",
        404,
        en=("No such server", "There is no server with this id."),
        de=("Server nicht gefunden", "Einen Server mit dieser Kennung gibt es nicht."),
    ),
    problem_kind(
        "server_version_conflict",
        412,
        en=(
            "Server changed meanwhile",
            "Somebody has changed the server since you read it. Read it again, then decide anew.",
        ),
        de=(
            "Server inzwischen geändert",
            "Der Server wurde geändert, seit Sie ihn gelesen haben. Bitte lesen Sie ihn neu und entscheiden Sie dann.",
        ),
    ),
    problem_kind(
        "server_in_use",
        409,
        en=(
            "Instances are on this server",
            "Set it to draining, so that it takes nothing new, and move or end its instances first.",
        ),
        de=(
            "Auf diesem Server liegen Instanzen",
            "Bitte setzen Sie ihn auf draining, damit er nichts Neues bekommt, und verlegen oder beenden Sie zuerst "
            "seine Instanzen.",
        ),
    ),
    problem_kind(
        "server_unreachable",
        503,
        en=(
            "Database server does not answer",
            "Compare address, port and certificate, and see whether the server is running.",
        ),
        de=(
            "Datenbankserver antwortet nicht",
            "Bitte prüfen Sie Adresse, Port und Zertifikat, und ob der Server läuft.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "server_rejected",
        409,
        en=(
            "Database server refuses its administrator",
            "Name or password of the administrator are wrong, or he may not connect from here.",
        ),
        de=(
            "Datenbankserver weist den Administrator ab",
            "Name oder Passwort des Administrators stimmen nicht, oder er darf sich von hier aus nicht anmelden.",
        ),
    ),
    problem_kind(
        "server_unfit",
        409,
        en=(
            "Database server not suited",
            "It must be MariaDB 10.11 or newer, and its administrator must be able to make users and databases whose "
            "names begin with wops_, and to end their connections.",
        ),
        de=(
            "Datenbankserver nicht geeignet",
            "Es muss MariaDB ab 10.11 sein, und der Administrator muss Benutzer und Datenbanken anlegen können, deren "
            "Namen mit wops_ beginnen, und deren Verbindungen beenden.",
        ),
    ),
    problem_kind(
        "instance_not_placed",
        409,
        en=(
            "Instance has no server",
            "No server holds a place for the instance: its order failed, or it was given back.",
        ),
        de=(
            "Instanz hat keinen Server",
            "Kein Server hält einen Platz für die Instanz: Die Bestellung ist gescheitert, oder der Platz wurde "
            "zurückgegeben.",
        ),
    ),
)
