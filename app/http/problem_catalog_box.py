"""Problems with Firm Security Boxes and their files. Pure."""

from __future__ import annotations

from typing import Final

from app.http.problem_catalog_kind import ProblemKind, problem_kind

BOX_PROBLEMS: Final[tuple[ProblemKind, ...]] = (
    problem_kind(
        "fsb_unavailable",
        503,
        en=(
            "Firm Security Box unavailable",
            "The Firm Security Box cannot be reached at the moment. Please try again in a few seconds; "
            "nothing is counted twice.",
        ),
        de=(
            "Firm Security Box nicht erreichbar",
            "Die Firm Security Box ist im Moment nicht erreichbar. Bitte versuchen Sie es in einigen "
            "Sekunden erneut; es wird nichts doppelt gezählt.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "pool_without_box",
        503,
        en=(
            "No Firm Security Box at work",
            "No Firm Security Box of this pool is working at the moment. Please try again shortly; if "
            "it lasts, call support.",
        ),
        de=(
            "Keine Firm Security Box in Betrieb",
            "In diesem Pool arbeitet im Moment keine Firm Security Box. Bitte versuchen Sie es gleich "
            "noch einmal; wenn es anhält, rufen Sie den Support an.",
        ),
        retry_after_s=10,
    ),
    problem_kind(
        "box_journal_damaged",
        503,
        en=(
            "Firm Security Box out of service",
            "A Firm Security Box has taken itself out of service because its journal is damaged. Please "
            "inform operations; a person has to look at it.",
        ),
        de=(
            "Firm Security Box außer Betrieb",
            "Eine Firm Security Box hat sich außer Betrieb genommen, weil ihr Journal beschädigt ist. "
            "Bitte informieren Sie den Betrieb; ein Mensch muss sie prüfen.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "box_journal_unwritable",
        503,
        en=(
            "Firm Security Box cannot record",
            "A Firm Security Box cannot record its work and therefore does none. Please inform "
            "operations; often its disk is full.",
        ),
        de=(
            "Firm Security Box kann nicht protokollieren",
            "Eine Firm Security Box kann ihre Arbeit nicht aufzeichnen und führt deshalb keine aus. "
            "Bitte informieren Sie den Betrieb; oft ist der Datenträger voll.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "gateway_running",
        409,
        en=(
            "Boxes are served already",
            "Another gateway serves the Firm Security Boxes of this data folder. Stop that process first, or choose "
            "another folder.",
        ),
        de=(
            "Boxen werden bereits bedient",
            "Ein anderes Gateway bedient die Firm Security Boxes dieses Datenverzeichnisses. Bitte beenden Sie zuerst "
            "jenen Prozess oder wählen Sie ein anderes Verzeichnis.",
        ),
    ),
    problem_kind(
        "fsb_rejected",
        409,
        en=(
            "Firm Security Box refused",
            "The Firm Security Box refused this job, and nothing was programmed. Please tell support "
            "the number of the request.",
        ),
        de=(
            "Firm Security Box hat abgelehnt",
            "Die Firm Security Box hat diesen Auftrag abgelehnt, und es wurde nichts programmiert. "
            "Bitte nennen Sie dem Support die Nummer der Anfrage.",
        ),
    ),
    problem_kind(
        "job_malformed",
        422,
        en=(
            "Programming job malformed",
            "The job for the Firm Security Box contradicts itself, and nothing was programmed. Please "
            "tell support the number of the request.",
        ),
        de=(
            "Programmierauftrag fehlerhaft",
            "Der Auftrag an die Firm Security Box widerspricht sich, und es wurde nichts programmiert. "
            "Bitte nennen Sie dem Support die Nummer der Anfrage.",
        ),
    ),
    problem_kind(
        "update_too_large",
        422,
        en=(
            "Too much for one update",
            "The update would be larger than a container reads, and nothing was programmed. Start the transfer again "
            "with fewer licences at once.",
        ),
        de=(
            "Zu viel für ein Update",
            "Das Update würde größer, als ein Container liest, und es wurde nichts programmiert. Bitte starten Sie "
            "den Transfer mit weniger Lizenzen auf einmal neu.",
        ),
    ),
    problem_kind(
        "job_id_reused",
        409,
        en=(
            "Programming job exists with other content",
            "A job with this number exists with other content, and nothing was programmed. Start the "
            "transfer again.",
        ),
        de=(
            "Programmierauftrag mit anderem Inhalt vorhanden",
            "Ein Auftrag mit dieser Nummer hat anderen Inhalt, und es wurde nichts programmiert. Bitte "
            "starten Sie die Lizenzübertragung neu.",
        ),
    ),
    problem_kind(
        "job_deadline_passed",
        409,
        en=(
            "Programming took too long",
            "The job waited too long for the Firm Security Box, and nothing was programmed. Please "
            "start the transfer again.",
        ),
        de=(
            "Programmierung dauerte zu lange",
            "Der Auftrag hat zu lange auf die Firm Security Box gewartet, und es wurde nichts "
            "programmiert. Bitte starten Sie die Lizenzübertragung neu.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "job_unknown",
        404,
        en=(
            "Programming job unknown",
            "The Firm Security Box does not know this job. Sending the job again is safe.",
        ),
        de=(
            "Programmierauftrag unbekannt",
            "Die Firm Security Box kennt diesen Auftrag nicht. Er kann gefahrlos noch einmal gesendet "
            "werden.",
        ),
    ),
    problem_kind(
        "job_cancelled",
        409,
        en=(
            "Transfer cancelled",
            "The transfer was cancelled before a Firm Security Box began with it. Nothing was counted and the "
            "licences are free again.",
        ),
        de=(
            "Lizenzübertragung abgebrochen",
            "Die Lizenzübertragung wurde abgebrochen, bevor eine Firm Security Box damit begann. Es wurde "
            "nichts gezählt, und die Lizenzen sind wieder frei.",
        ),
    ),
    problem_kind(
        "job_running",
        409,
        en=(
            "Programming has begun",
            "A Firm Security Box has begun with this job, or may have, so it cannot be cancelled any more. Let "
            "it finish and ask for the state of the transfer.",
        ),
        de=(
            "Programmierung hat begonnen",
            "Eine Firm Security Box hat mit diesem Auftrag begonnen oder könnte es haben; er lässt sich nicht "
            "mehr abbrechen. Bitte lassen Sie ihn zu Ende laufen und fragen Sie den Stand der Übertragung ab.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "pool_drained",
        409,
        en=(
            "Firm Security Boxes being emptied",
            "The Firm Security Boxes of this pool are being taken out of service and take no new jobs. Please "
            "try again later; how long it takes, operations can say.",
        ),
        de=(
            "Firm Security Boxes werden geleert",
            "Die Firm Security Boxes dieses Pools werden außer Betrieb genommen und nehmen keine neuen "
            "Aufträge an. Bitte versuchen Sie es später erneut; wie lange es dauert, weiß der Betrieb.",
        ),
        retry_after_s=60,
    ),
    problem_kind(
        "pool_foreign",
        403,
        en=(
            "Pool of another instance",
            "This pool does not work for this instance, and nothing was programmed. Please inform operations.",
        ),
        de=(
            "Pool einer anderen Instanz",
            "Dieser Pool arbeitet nicht für diese Instanz, und es wurde nichts programmiert. Bitte informieren "
            "Sie den Betrieb.",
        ),
    ),
    problem_kind(
        "pool_unknown",
        404,
        en=(
            "Pool unknown",
            "There is no pool of Firm Security Boxes with this name. Compare the name with the list of "
            "pools.",
        ),
        de=(
            "Pool unbekannt",
            "Einen Pool von Firm Security Boxes mit diesem Namen gibt es nicht. Bitte vergleichen Sie "
            "den Namen mit der Liste der Pools.",
        ),
    ),
    problem_kind(
        "box_unknown",
        404,
        en=(
            "Firm Security Box unknown",
            "There is no Firm Security Box with this name. Compare the name with the list of boxes.",
        ),
        de=(
            "Firm Security Box unbekannt",
            "Eine Firm Security Box mit diesem Namen gibt es nicht. Bitte vergleichen Sie den Namen mit "
            "der Liste der Boxen.",
        ),
    ),
    problem_kind(
        "box_spec_invalid",
        422,
        en=(
            "Firm Security Box cannot be set up so",
            "A Firm Security Box cannot be set up with these settings. Correct the driver, the pool or "
            "the time per operation.",
        ),
        de=(
            "Firm Security Box so nicht einrichtbar",
            "Mit diesen Angaben lässt sich keine Firm Security Box einrichten. Bitte korrigieren Sie "
            "Treiber, Pool oder Zeit je Vorgang.",
        ),
    ),
    problem_kind(
        "box_last",
        409,
        en=(
            "Last Firm Security Box of its kind",
            "No other Firm Security Box holds this firm key or works for this pool, so this one stays. Set up "
            "another one first.",
        ),
        de=(
            "Letzte Firm Security Box ihrer Art",
            "Keine andere Firm Security Box hält diesen Firm Key oder arbeitet für diesen Pool, deshalb bleibt "
            "diese. Bitte richten Sie zuerst eine andere ein.",
        ),
    ),
    problem_kind(
        "box_queue_full",
        429,
        en=(
            "Too many jobs waiting",
            "Too many jobs of this instance are waiting for the Firm Security Box. Wait as long as the "
            "answer says, then try again.",
        ),
        de=(
            "Zu viele Aufträge in der Warteschlange",
            "Zu viele Aufträge dieser Instanz warten auf die Firm Security Box. Bitte warten Sie so "
            "lange, wie die Antwort angibt, und versuchen Sie es dann erneut.",
        ),
        retry_after_s=5,
    ),
    problem_kind(
        "firm_code_not_owned",
        403,
        en=(
            "Firm code of another instance",
            "The firm code belongs to another instance. Compare the firm code with your contract.",
        ),
        de=(
            "Firm Code einer anderen Instanz",
            "Der Firm Code gehört zu einer anderen Instanz. Bitte vergleichen Sie den Firm Code mit "
            "Ihrem Vertrag.",
        ),
    ),
    problem_kind(
        "firm_key_missing",
        409,
        en=(
            "Firm code not installed",
            "No Firm Security Box of this pool is set up for the firm code. Please inform operations.",
        ),
        de=(
            "Firm Code nicht eingerichtet",
            "Keine Firm Security Box dieses Pools ist für den Firm Code eingerichtet. Bitte informieren "
            "Sie den Betrieb.",
        ),
    ),
    problem_kind(
        "firm_key_conflict",
        409,
        en=(
            "Firm code set up differently",
            "The firm code has been set up with another algorithm already. Use the existing one; it is "
            "never replaced silently.",
        ),
        de=(
            "Firm Code anders eingerichtet",
            "Der Firm Code ist bereits mit einem anderen Verfahren eingerichtet. Bitte verwenden Sie "
            "das vorhandene; es wird nie stillschweigend ersetzt.",
        ),
    ),
    problem_kind(
        "firm_key_unfit",
        422,
        en=(
            "Firm key does not fit",
            "The wrapped firm key cannot be opened by this Firm Security Box, or is another one. Nothing was "
            "changed; have it wrapped anew for this box.",
        ),
        de=(
            "Firm Key passt nicht",
            "Den verpackten Firm Key kann diese Firm Security Box nicht öffnen, oder es ist ein anderer. Es "
            "wurde nichts geändert; bitte lassen Sie ihn für diese Box neu verpacken.",
        ),
    ),
    problem_kind(
        "fsb_protocol_error",
        500,
        en=(
            "Answer not understood",
            "An internal answer was not understood. Nothing of it was used; please tell support the "
            "number of the request.",
        ),
        de=(
            "Antwort nicht verstanden",
            "Eine interne Antwort wurde nicht verstanden. Nichts davon wurde verwendet; bitte nennen "
            "Sie dem Support die Nummer der Anfrage.",
        ),
    ),
    problem_kind(
        "file_format_error",
        422,
        en=(
            "File cannot be used",
            "The context, update or receipt cannot be used. Make the file again and send it unchanged.",
        ),
        de=(
            "Datei nicht verwendbar",
            "Der Kontext, das Update oder die Quittung ist nicht verwendbar. Bitte erzeugen Sie die "
            "Datei neu und senden Sie sie unverändert.",
        ),
    ),
    problem_kind(
        "file_malformed",
        422,
        en=(
            "File damaged",
            "This is not a file of the expected kind, or it was damaged on the way. Choose the right "
            "file, or make it again and send it unchanged.",
        ),
        de=(
            "Datei beschädigt",
            "Das ist keine Datei der erwarteten Art, oder sie wurde unterwegs beschädigt. Bitte wählen "
            "Sie die richtige Datei oder erzeugen Sie sie neu und senden Sie sie unverändert.",
        ),
    ),
    problem_kind(
        "context_untrusted",
        422,
        en=(
            "Context or receipt was changed",
            "The context or receipt was changed after the container made it. Make the file again and "
            "send it unchanged.",
        ),
        de=(
            "Kontext oder Quittung wurde verändert",
            "Der Kontext oder die Quittung wurde verändert, nachdem der CmContainer sie erzeugt hat. "
            "Bitte erzeugen Sie die Datei neu und senden Sie sie unverändert.",
        ),
    ),
    problem_kind(
        "update_tampered",
        422,
        en=(
            "Update was changed",
            "The update was changed after it was made, and it was not applied. Download it again.",
        ),
        de=(
            "Update wurde verändert",
            "Das Update wurde nach dem Erzeugen verändert und nicht eingespielt. Bitte laden Sie es "
            "erneut herunter.",
        ),
    ),
    problem_kind(
        "update_untrusted",
        422,
        en=(
            "Update of unknown origin",
            "The update does not come from the expected vendor, and it was not applied. Download it "
            "again from the vendor's own address.",
        ),
        de=(
            "Update unbekannter Herkunft",
            "Das Update stammt nicht vom erwarteten Hersteller und wurde nicht eingespielt. Bitte laden "
            "Sie es erneut von der Adresse des Herstellers.",
        ),
    ),
    problem_kind(
        "update_for_other_container",
        422,
        en=(
            "Update for another container",
            "The update was made for another container. Apply it there, or make a context of this "
            "container and ask for its own update.",
        ),
        de=(
            "Update für einen anderen CmContainer",
            "Das Update wurde für einen anderen CmContainer erzeugt. Bitte spielen Sie es dort ein, "
            "oder erzeugen Sie einen Kontext dieses CmContainers und fordern Sie dessen Update an.",
        ),
    ),
)
