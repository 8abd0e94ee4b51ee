"""Problems with customers, instances and operations. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

PLATFORM_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "name_unfit",
        422,
        en=(
            "Name not allowed",
            "The name breaks the rules for names, or it is reserved. Use 3 to 40 small letters, digits "
            "and hyphens.",
        ),
        de=(
            "Name nicht erlaubt",
            "Der Name verstößt gegen die Regeln für Namen oder ist reserviert. Bitte verwenden Sie 3 "
            "bis 40 Kleinbuchstaben, Ziffern und Bindestriche.",
        ),
    ),
    problem_kind(
        "name_taken",
        409,
        en=(
            "Name taken",
            "Somebody has this name already. Choose another one.",
        ),
        de=(
            "Name vergeben",
            "Dieser Name ist schon vergeben. Bitte wählen Sie einen anderen.",
        ),
    ),
    problem_kind(
        "firm_code_unfit",
        422,
        en=(
            "Not a firm code",
            "The number is not a firm code. Compare it with the documents of your Firm Security Box.",
        ),
        de=(
            "Kein Firm Code",
            "Die Zahl ist kein Firm Code. Bitte vergleichen Sie sie mit den Unterlagen Ihrer Firm "
            "Security Box.",
        ),
    ),
    problem_kind(
        "firm_code_taken",
        409,
        en=(
            "Firm code taken",
            "The firm code belongs to another instance already. Choose another one, or ask support.",
        ),
        de=(
            "Firm Code vergeben",
            "Der Firm Code gehört schon zu einer anderen Instanz. Bitte wählen Sie einen anderen oder "
            "fragen Sie den Support.",
        ),
    ),
    problem_kind(
        "not_found",
        404,
        en=(
            "Not found",
            "There is no such object here. Compare the name or number.",
        ),
        de=(
            "Nicht gefunden",
            "Ein solches Objekt gibt es hier nicht. Bitte vergleichen Sie den Namen oder die Nummer.",
        ),
    ),
    problem_kind(
        "customer_not_found",
        404,
        en=(
            "Customer not found",
            "There is no such customer. Compare the name with the list of customers.",
        ),
        de=(
            "Kunde nicht gefunden",
            "Einen solchen Kunden gibt es nicht. Bitte vergleichen Sie den Namen mit der Liste der Kunden.",
        ),
    ),
    problem_kind(
        "instance_not_found",
        404,
        en=(
            "Instance not found",
            "There is no such instance, or it does not know you. Compare the address and the user name.",
        ),
        de=(
            "Instanz nicht gefunden",
            "Eine solche Instanz gibt es nicht, oder sie kennt Sie nicht. Bitte vergleichen Sie die "
            "Adresse und den Benutzernamen.",
        ),
    ),
    problem_kind(
        "client_not_found",
        404,
        en=(
            "API client not found",
            "This instance has no such API client. Compare the name with the list of API clients.",
        ),
        de=(
            "API-Client nicht gefunden",
            "Diese Instanz hat keinen solchen API-Client. Bitte vergleichen Sie den Namen mit der Liste "
            "der API-Clients.",
        ),
    ),
    problem_kind(
        "operation_not_found",
        404,
        en=(
            "Operation not found",
            "There is no such operation. Compare its number with the answer that named it.",
        ),
        de=(
            "Vorgang nicht gefunden",
            "Einen solchen Vorgang gibt es nicht. Bitte vergleichen Sie seine Nummer mit der Antwort, "
            "die sie genannt hat.",
        ),
    ),
    problem_kind(
        "staff_token_not_found",
        404,
        en=(
            "Staff token not found",
            "There is no such staff token. Compare its number with the list of tokens.",
        ),
        de=(
            "Mitarbeiter-Token nicht gefunden",
            "Ein solches Mitarbeiter-Token gibt es nicht. Bitte vergleichen Sie seine Nummer mit der "
            "Liste der Tokens.",
        ),
    ),
    problem_kind(
        "instance_not_ready",
        503,
        en=(
            "Instance not ready",
            "The instance is still being set up. Please try again shortly; if it lasts, tell support "
            "the name of the instance.",
        ),
        de=(
            "Instanz noch nicht bereit",
            "Die Instanz wird noch eingerichtet. Bitte versuchen Sie es gleich noch einmal; wenn es "
            "anhält, nennen Sie dem Support den Namen der Instanz.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "instance_database_missing",
        503,
        en=(
            "Instance cannot be opened",
            "The data of the instance is not where it should be, so nothing was touched. Please inform "
            "operations at once.",
        ),
        de=(
            "Instanz lässt sich nicht öffnen",
            "Die Daten der Instanz liegen nicht dort, wo sie sein sollen; es wurde nichts angerührt. "
            "Bitte informieren Sie sofort den Betrieb.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "edition_unknown",
        422,
        en=(
            "Edition unknown",
            "There is no such edition. Choose one of those that the answer names.",
        ),
        de=(
            "Edition unbekannt",
            "Eine solche Edition gibt es nicht. Bitte wählen Sie eine von denen, die die Antwort nennt.",
        ),
    ),
    problem_kind(
        "lines_too_few",
        422,
        en=(
            "Too few lines",
            "The edition needs more lines than asked for. Ask for at least the number in the answer.",
        ),
        de=(
            "Zu wenige Linien",
            "Die Edition braucht mehr Linien als angegeben. Bitte geben Sie mindestens die Anzahl aus "
            "der Antwort an.",
        ),
    ),
    problem_kind(
        "lines_too_many",
        422,
        en=(
            "Too many lines",
            "The edition does not have that many lines. Ask for fewer, or choose the High Availability "
            "edition.",
        ),
        de=(
            "Zu viele Linien",
            "So viele Linien hat diese Edition nicht. Bitte geben Sie weniger an oder wählen Sie die "
            "Edition High Availability.",
        ),
    ),
    problem_kind(
        "overage_unknown",
        422,
        en=(
            "Overage policy unknown",
            "There is no such rule for going over the quota. Choose grace or block.",
        ),
        de=(
            "Überziehungsregel unbekannt",
            "Eine solche Regel für das Überschreiten des Kontingents gibt es nicht. Bitte wählen Sie "
            "grace oder block.",
        ),
    ),
    problem_kind(
        "contract_not_found",
        404,
        en=("No such contract", "The instance has no contract of this id. List its contracts."),
        de=(
            "Vertrag nicht gefunden",
            "Die Instanz hat keinen Vertrag mit dieser Kennung. Bitte sehen Sie die Liste ihrer Verträge nach.",
        ),
    ),
    problem_kind(
        "contract_begun",
        409,
        en=(
            "Contract has begun",
            "Only a contract that has not begun yet can be withdrawn. Add another one that takes its place.",
        ),
        de=(
            "Vertrag hat begonnen",
            "Nur ein Vertrag, der noch nicht begonnen hat, kann zurückgenommen werden. Bitte legen Sie einen neuen an, "
            "der ihn ablöst.",
        ),
    ),
    problem_kind(
        "contract_unfit",
        422,
        en=(
            "Contract makes no sense",
            "The dates or limits of the contract make no sense. Correct the field named in the answer.",
        ),
        de=(
            "Vertrag nicht sinnvoll",
            "Die Zeiten oder Grenzen des Vertrags ergeben keinen Sinn. Bitte korrigieren Sie das in der "
            "Antwort genannte Feld.",
        ),
    ),
    problem_kind(
        "operation_deadline_passed",
        500,
        en=(
            "Operation took too long",
            "The operation was not finished in time and was given up. Please tell support its number "
            "before you start it again.",
        ),
        de=(
            "Vorgang dauerte zu lange",
            "Der Vorgang wurde nicht rechtzeitig fertig und deshalb aufgegeben. Bitte nennen Sie dem "
            "Support seine Nummer, bevor Sie ihn neu starten.",
        ),
    ),
    problem_kind(
        "operation_step_lost",
        500,
        en=(
            "Operation was interrupted",
            "A step of the operation was interrupted, for example by a restart. It is repeated by "
            "itself; if it does not go on, tell support its number.",
        ),
        de=(
            "Vorgang wurde unterbrochen",
            "Ein Schritt des Vorgangs wurde unterbrochen, zum Beispiel durch einen Neustart. Er wird "
            "von selbst wiederholt; geht es nicht weiter, nennen Sie dem Support bitte seine Nummer.",
        ),
    ),
)
