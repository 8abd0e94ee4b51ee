"""What the front itself answers instead of a line: problems as lines shape them (RFC 9457). Pure.

The texts of kinds that lines know, too, are those of the platform's catalogue; a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MEDIA_TYPE: Final = "application/problem+json"
REQUEST_ID: Final = "%[var(txn.rid)]"
"""Filled in by HAProxy: the file is read as a log format."""


_RETRY: Final = "%[var(txn.retry)]"
"""Seconds that a rule names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontProblem:
    """One kind of answer; its members as in the platform's catalogue.

    Attributes:
        detail: what lines say in the same case; without it, the text for the hotline.
        asks_rule: the rule that led here says when to come back.
    """

    code: str
    status: int
    title_en: str
    hotline_en: str
    title_de: str
    hotline_de: str
    detail: str | None = None
    retry_after_s: int | None = None
    asks_rule: bool = False

    @property
    def body(self) -> str:
        """The answer's content, as a log format of HAProxy's."""
        problem: dict[str, object] = {
            "type": f"/problems/{self.code.replace('_', '-')}",
            "title": self.title_en,
            "status": self.status,
            "detail": self.detail or self.hotline_en,
            "code": self.code,
            "retryable": self.retry_after_s is not None,
            "hotline_text": {"de": self.hotline_de, "en": self.hotline_en},
            "instance": f"urn:wops:request:{REQUEST_ID}",
        }
        if self.retry_after_s is not None:
            problem["retry_after_s"] = _RETRY if self.asks_rule else self.retry_after_s
        text = json.dumps(problem, ensure_ascii=False, separators=(",", ":"))
        # A number, though it is only known when somebody asks.
        return text.replace(f'"{_RETRY}"', _RETRY)

    @property
    def retry_header(self) -> str:
        """As it follows in a `return` or `http-error`."""
        if self.retry_after_s is None:
            return ""
        return f" hdr Retry-After {_RETRY if self.asks_rule else self.retry_after_s}"

    @property
    def file_name(self) -> str:
        """Its file in a release's `problems`."""
        return f"{self.code}.json"


_PROBLEMS: Final = (
    FrontProblem(
        code="request_refused",
        status=400,
        title_en="Request not understood",
        hotline_en="The server could not read the request. Check the program or the proxy that sent it.",
        title_de="Anfrage nicht verständlich",
        hotline_de=(
            "Der Server konnte die Anfrage nicht lesen. Bitte prüfen Sie das Programm oder den Proxy, "
            "von dem sie kommt."
        ),
    ),
    FrontProblem(
        code="client_cert_not_accepted",
        status=400,
        title_en="Client certificate header not accepted",
        hotline_en=(
            "The header Client-Cert is believed from the load balancer only. Leave it out and connect with "
            "the certificate itself."
        ),
        title_de="Kopfzeile mit Client-Zertifikat nicht angenommen",
        hotline_de=(
            "Der Kopfzeile Client-Cert wird nur geglaubt, wenn sie vom Load-Balancer kommt. Bitte lassen Sie "
            "sie weg und verbinden Sie sich mit dem Zertifikat selbst."
        ),
    ),
    FrontProblem(
        code="caller_denied",
        status=403,
        title_en="Not served",
        hotline_en="Calls from this address are not answered here. If that is a mistake, tell support the address.",
        title_de="Wird nicht bedient",
        hotline_de=(
            "Aufrufe von dieser Adresse werden hier nicht beantwortet. Wenn das ein Irrtum ist, nennen Sie "
            "dem Support bitte die Adresse."
        ),
    ),
    FrontProblem(
        code="network_not_allowed",
        status=403,
        detail="Your address is in none of the networks that may call.",
        title_en="Network not allowed",
        hotline_en=(
            "The address you call from is in none of the allowed networks. Call from an allowed "
            "network, or have yours added to the access policy."
        ),
        title_de="Netz nicht zugelassen",
        hotline_de=(
            "Die Adresse, von der Sie kommen, liegt in keinem zugelassenen Netz. Bitte nutzen Sie ein "
            "zugelassenes Netz oder lassen Sie Ihres in die Zugangsregel aufnehmen."
        ),
    ),
    FrontProblem(
        # As a line answers whoever is unknown to an instance: who asks learns of no instance that it is there.
        code="instance_not_found",
        status=404,
        detail="There is no such instance.",
        title_en="Instance not found",
        hotline_en="There is no such instance, or it does not know you. Compare the address and the user name.",
        title_de="Instanz nicht gefunden",
        hotline_de=(
            "Eine solche Instanz gibt es nicht, oder sie kennt Sie nicht. Bitte vergleichen Sie die "
            "Adresse und den Benutzernamen."
        ),
    ),
    FrontProblem(
        code="request_too_slow",
        status=408,
        detail="The request did not arrive in time.",
        title_en="Request too slow",
        hotline_en="The request did not arrive in time. Check the connection, then send it again.",
        title_de="Anfrage zu langsam",
        hotline_de=(
            "Die Anfrage ist nicht rechtzeitig angekommen. Bitte prüfen Sie die Verbindung und senden Sie sie erneut."
        ),
    ),
    FrontProblem(
        code="body_too_large",
        status=413,
        title_en="Request too large",
        hotline_en="The request is larger than the server accepts. Split it into several smaller requests.",
        title_de="Anfrage zu groß",
        hotline_de=(
            "Die Anfrage ist größer, als der Server annimmt. Bitte teilen Sie sie in mehrere kleinere Anfragen auf."
        ),
    ),
    FrontProblem(
        code="caller_too_fast",
        status=429,
        title_en="Too many requests from one address",
        hotline_en=(
            "More requests come from this address than are served. Send fewer of them, and try again after the time "
            "that the answer names."
        ),
        title_de="Zu viele Anfragen von einer Adresse",
        hotline_de=(
            "Von dieser Adresse kommen mehr Anfragen, als bedient werden. Bitte senden Sie weniger und versuchen "
            "Sie es nach der Zeit wieder, die in der Antwort steht."
        ),
        retry_after_s=10,
    ),
    FrontProblem(
        code="front_failed",
        status=500,
        title_en="Load balancer failed",
        hotline_en="The load balancer could not work on the request. If it happens again, tell support the time.",
        title_de="Load-Balancer gestört",
        hotline_de=(
            "Der Load-Balancer konnte die Anfrage nicht bearbeiten. Wenn es wieder geschieht, nennen Sie dem "
            "Support bitte den Zeitpunkt."
        ),
    ),
    FrontProblem(
        code="line_failed",
        status=502,
        title_en="Line failed",
        hotline_en=(
            "The line that worked on the request ended before it had answered. Send exactly the same request "
            "again, with the same idempotency key; it takes effect only once."
        ),
        title_de="Linie ausgefallen",
        hotline_de=(
            "Die Linie, die die Anfrage bearbeitete, endete vor der Antwort. Bitte senden Sie genau dieselbe "
            "Anfrage mit demselben Idempotency-Key erneut; sie wirkt nur einmal."
        ),
    ),
    FrontProblem(
        code="no_line_ready",
        status=503,
        title_en="No line ready",
        hotline_en="No line of this instance takes requests at the moment. Please try again shortly.",
        title_de="Keine Linie bereit",
        hotline_de=(
            "Keine Linie dieser Instanz nimmt im Moment Anfragen an. Bitte versuchen Sie es gleich noch einmal."
        ),
        retry_after_s=2,
    ),
    FrontProblem(
        code="control_unavailable",
        status=503,
        title_en="Administration not available",
        hotline_en=(
            "Administration and portal do not answer at the moment; licences are served all the same. Please "
            "try again shortly."
        ),
        title_de="Verwaltung nicht erreichbar",
        hotline_de=(
            "Verwaltung und Portal antworten im Moment nicht; Lizenzen werden trotzdem bedient. Bitte versuchen "
            "Sie es gleich noch einmal."
        ),
        retry_after_s=5,
    ),
    FrontProblem(
        code="line_too_slow",
        status=504,
        title_en="Line too slow",
        hotline_en=(
            "The line did not answer in time. Send exactly the same request again, with the same idempotency "
            "key; it takes effect only once."
        ),
        title_de="Linie zu langsam",
        hotline_de=(
            "Die Linie hat nicht rechtzeitig geantwortet. Bitte senden Sie genau dieselbe Anfrage mit demselben "
            "Idempotency-Key erneut; sie wirkt nur einmal."
        ),
    ),
    FrontProblem(
        code="rule_maintenance",
        status=503,
        title_en="Maintenance",
        hotline_en=(
            "This part of the instance is under maintenance at the moment. Please come back after the time that "
            "the answer names."
        ),
        title_de="Wartung",
        hotline_de=(
            "Dieser Teil der Instanz wird gerade gewartet. Bitte kommen Sie nach der Zeit wieder, die in der "
            "Antwort steht."
        ),
        retry_after_s=60,
        asks_rule=True,
    ),
    FrontProblem(
        code="rule_lines_not_ready",
        status=503,
        title_en="Lines not ready",
        hotline_en=(
            "None of the lines that are meant for this request takes requests at the moment. Please try again "
            "shortly."
        ),
        title_de="Linien nicht bereit",
        hotline_de=(
            "Keine der Linien, die für diese Anfrage bestimmt sind, nimmt im Moment Anfragen an. Bitte "
            "versuchen Sie es gleich noch einmal."
        ),
        retry_after_s=2,
    ),
)

FRONT_PROBLEMS: Final[Mapping[str, FrontProblem]] = MappingProxyType({each.code: each for each in _PROBLEMS})
"""By code."""


def answer(directory: str, code: str) -> str:
    """What follows `http-request return` for a problem.

    Args:
        directory: of the problems' files, as it stands in the configuration.
    """
    problem = FRONT_PROBLEMS[code]
    return f"status {problem.status} {_content(directory, problem)}"


def own_error(directory: str, code: str) -> str:
    """The line for an answer that HAProxy makes by itself."""
    problem = FRONT_PROBLEMS[code]
    return f"http-error status {problem.status} {_content(directory, problem)}"


def _content(directory: str, problem: FrontProblem) -> str:
    file = f"{directory}/{problem.file_name}"
    return f"content-type {MEDIA_TYPE} lf-file {file} hdr Cache-Control no-store{problem.retry_header}"
