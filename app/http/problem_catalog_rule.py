"""Problems with routing rules, and what rules answer instead of a line. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

RULE_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "rule_invalid",
        422,
        en=("Rule not possible", "Something about the rules cannot be. The answer names the field."),
        de=(
            "Regel nicht möglich",
            "Etwas an den Regeln ist so nicht möglich. Die Antwort nennt das Feld.",
        ),
    ),
    problem_kind(
        "rule_name_invalid",
        422,
        en=("Rule name not possible", "A rule's name has 1 to 40 small letters, digits and hyphens."),
        de=(
            "Regelname nicht möglich",
            "Der Name einer Regel besteht aus 1 bis 40 Kleinbuchstaben, Ziffern und Bindestrichen.",
        ),
    ),
    problem_kind(
        "rule_name_taken",
        422,
        en=("Rule name used twice", "Two rules have the same name. Give each rule a name of its own."),
        de=(
            "Regelname doppelt",
            "Zwei Regeln haben denselben Namen. Bitte geben Sie jeder Regel einen eigenen.",
        ),
    ),
    problem_kind(
        "rule_path_invalid",
        422,
        en=(
            "Path not possible",
            "A path in a rule begins with a slash and holds letters, digits, slashes, dots, hyphens, underscores and "
            "tildes, at most 121 characters, no two dots or slashes in a row. It is compared as it is sent, without "
            "decoding.",
        ),
        de=(
            "Pfad nicht möglich",
            "Ein Pfad in einer Regel beginnt mit einem Schrägstrich und enthält nur Buchstaben, Ziffern, "
            "Schrägstriche, Punkte, Binde- und Unterstriche und Tilden, höchstens 121 Zeichen, nie zwei Punkte oder "
            "Schrägstriche hintereinander. Er wird so verglichen, wie er gesendet wird, ohne Umwandlung von "
            "Prozentzeichen.",
        ),
    ),
    problem_kind(
        "rule_method_unknown",
        422,
        en=(
            "Method not possible in a rule",
            "Rules tell GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS apart; write them in capitals.",
        ),
        de=(
            "Methode in Regel nicht möglich",
            "Regeln unterscheiden GET, HEAD, POST, PUT, PATCH, DELETE und OPTIONS; bitte in Großbuchstaben.",
        ),
    ),
    problem_kind(
        "rule_header_unknown",
        422,
        en=(
            "Header not possible in a rule",
            "Rules look at a few headers only; the answer lists them. Have the program send one of those.",
        ),
        de=(
            "Kopfzeile in Regel nicht möglich",
            "Regeln beachten nur wenige Kopfzeilen; die Antwort zählt sie auf. Bitte lassen Sie das Programm "
            "eine davon senden.",
        ),
    ),
    problem_kind(
        "rule_header_value_invalid",
        422,
        en=(
            "Header value not possible",
            "A header's value in a rule has 1 to 80 printable ASCII characters and no blank at either end.",
        ),
        de=(
            "Wert der Kopfzeile nicht möglich",
            "Der Wert einer Kopfzeile hat in einer Regel 1 bis 80 druckbare ASCII-Zeichen und kein "
            "Leerzeichen am Anfang oder Ende.",
        ),
    ),
    problem_kind(
        "rule_client_invalid",
        422,
        en=(
            "API client not possible in a rule",
            "A rule names at most 64 API clients, each by its user name: instance, dot, client.",
        ),
        de=(
            "API-Client in Regel nicht möglich",
            "Eine Regel nennt höchstens 64 API-Clients, jeden mit seinem Benutzernamen: Instanz, Punkt, Client.",
        ),
    ),
    problem_kind(
        "rule_source_unknown",
        422,
        en=(
            "No such group of networks",
            "A rule names a group of networks that does not exist. Define the group, or correct its name.",
        ),
        de=(
            "Keine solche Netzgruppe",
            "Eine Regel nennt eine Netzgruppe, die es nicht gibt. Bitte legen Sie die Gruppe an oder "
            "berichtigen Sie den Namen.",
        ),
    ),
    problem_kind(
        "rule_source_invalid",
        422,
        en=(
            "Group of networks not possible",
            "There are at most 16 groups with 1 to 64 networks each; a group's name has 1 to 40 small letters, "
            "digits and hyphens.",
        ),
        de=(
            "Netzgruppe nicht möglich",
            "Es gibt höchstens 16 Gruppen mit je 1 bis 64 Netzen; der Name einer Gruppe besteht aus 1 bis 40 "
            "Kleinbuchstaben, Ziffern und Bindestrichen.",
        ),
    ),
    problem_kind(
        "rule_network_invalid",
        422,
        en=(
            "Not a network",
            "Write a network as 192.0.2.0/24 or 2001:db8::/32, without bits behind its length.",
        ),
        de=(
            "Kein Netz",
            "Bitte schreiben Sie ein Netz als 192.0.2.0/24 oder 2001:db8::/32, ohne Bits hinter der Länge.",
        ),
    ),
    problem_kind(
        "rule_line_foreign",
        422,
        en=(
            "Not a line of this instance",
            "A rule names a line that this instance does not have. Compare the ids with the list of its lines.",
        ),
        de=(
            "Keine Linie dieser Instanz",
            "Eine Regel nennt eine Linie, die diese Instanz nicht hat. Bitte vergleichen Sie die Kennungen mit "
            "der Liste ihrer Linien.",
        ),
    ),
    problem_kind(
        "rule_lines_missing",
        422,
        en=(
            "Rule without a line",
            "A rule sends requests to one line or more. To refuse them for a while, make it a maintenance rule.",
        ),
        de=(
            "Regel ohne Linie",
            "Eine Regel schickt Anfragen an mindestens eine Linie. Sollen sie eine Zeit lang abgewiesen "
            "werden, machen Sie eine Wartungsregel daraus.",
        ),
    ),
    problem_kind(
        "rule_weight_invalid",
        422,
        en=(
            "Weight not possible",
            "A line's weight is 1 to 256. A line that is to get nothing is left out.",
        ),
        de=(
            "Gewicht nicht möglich",
            "Das Gewicht einer Linie ist 1 bis 256. Eine Linie, die nichts bekommen soll, wird weggelassen.",
        ),
    ),
    problem_kind(
        "rule_retry_after_invalid",
        422,
        en=("Waiting time not possible", "Callers are told to come back in 1 to 86,400 seconds."),
        de=(
            "Wartezeit nicht möglich",
            "Aufrufern wird gesagt, dass sie in 1 bis 86.400 Sekunden wiederkommen sollen.",
        ),
    ),
    problem_kind(
        "rules_too_many",
        422,
        en=("Too many rules", "An instance has at most 62 rules. Put several of them together."),
        de=(
            "Zu viele Regeln",
            "Eine Instanz hat höchstens 62 Regeln. Bitte fassen Sie einige zusammen.",
        ),
    ),
    problem_kind(
        "rule_maintenance",
        503,
        en=(
            "Maintenance",
            "This part of the instance is under maintenance at the moment. Please come back after the time that "
            "the answer names.",
        ),
        de=(
            "Wartung",
            "Dieser Teil der Instanz wird gerade gewartet. Bitte kommen Sie nach der Zeit wieder, die in der "
            "Antwort steht.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "rule_lines_not_ready",
        503,
        en=(
            "Lines not ready",
            "None of the lines that are meant for this request takes requests at the moment. Please try again "
            "shortly.",
        ),
        de=(
            "Linien nicht bereit",
            "Keine der Linien, die für diese Anfrage bestimmt sind, nimmt im Moment Anfragen an. Bitte "
            "versuchen Sie es gleich noch einmal.",
        ),
        retry_after_s=2,
    ),
)
