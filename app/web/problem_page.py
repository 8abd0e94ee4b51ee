"""The page behind the `type` of a problem: what it means and what to do, in German and in English.

    GET /problems                  all of them
    GET /problems/ticket-unknown   one; `?lang=de|en`, or else Accept-Language, decides which language comes first
    GET /problems/style.css        the only thing a page loads

The texts come from outside (`ProblemText`), because pages and REST do not know each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Final, Protocol

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.core.language import Language, choose_language

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # An hour: the texts change with releases only.
    "Cache-Control": "public, max-age=3600",
    "Vary": "Accept-Language",
}
_STYLE: Final = """\
:root { color-scheme: light dark; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem; overflow-wrap: anywhere; }
nav a { margin-right: 1rem; }
section { border-top: 1px solid GrayText; margin-top: 1.5rem; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid GrayText; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }
code { font-family: ui-monospace, monospace; }
"""

_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "de": {
        "name": "Deutsch",
        "all": "Alle Meldungen",
        "status": "HTTP-Status",
        "meaning": "Bedeutung",
        "action": "Was ist zu tun?",
        "retry": "Dieselbe Anfrage kann später ohne Änderung gelingen.",
        "no_retry": "Dieselbe Anfrage unverändert zu wiederholen, hilft nicht.",
        "unknown": "Seite nicht gefunden",
        "unknown_action": "Eine Meldung mit diesem Namen gibt es nicht. Die Liste zeigt alle Meldungen.",
    },
    "en": {
        "name": "English",
        "all": "All problems",
        "status": "HTTP status",
        "meaning": "Meaning",
        "action": "What to do",
        "retry": "The same request may succeed later without any change.",
        "no_retry": "Repeating the same request unchanged does not help.",
        "unknown": "Page not found",
        "unknown_action": "There is no problem of this name. The list shows all of them.",
    },
}

STATUS_MEANINGS: Final[Mapping[int, tuple[str, str]]] = {
    400: (
        "Der Anfrage fehlt etwas, oder sie war nicht lesbar.",
        "The request lacks something or is unreadable.",
    ),
    401: ("Der Server weiß nicht, wer anfragt.", "The server does not know who is asking."),
    403: (
        "Der Server hat verstanden, lässt dies aber nicht zu.",
        "The server understood and does not permit it.",
    ),
    404: ("Das Genannte gibt es hier nicht.", "What was named does not exist here."),
    405: ("Die Adresse kennt diese HTTP-Methode nicht.", "The address does not know this HTTP method."),
    408: ("Die Anfrage kam nicht rechtzeitig an.", "The request did not arrive in time."),
    409: ("Die Anfrage passt nicht zum jetzigen Zustand.", "The request does not fit the present state."),
    410: ("Was hier war, ist gelöscht.", "What was here has been erased."),
    412: ("Die Änderung beruht auf einer veralteten Version.", "The change is based on an outdated version."),
    413: ("Die Anfrage ist zu groß.", "The request is too large."),
    415: ("Dieses Format versteht der Server nicht.", "The server does not understand this format."),
    422: (
        "Eine Angabe in der Anfrage ist nicht verwendbar.",
        "Something given in the request cannot be used.",
    ),
    428: ("Die Änderung nennt nicht, worauf sie beruht.", "The change does not say what it is based on."),
    429: ("Es kamen mehr Anfragen, als möglich sind.", "There were more requests than possible."),
    500: ("Auf unserer Seite ist etwas fehlgeschlagen.", "Something failed on our side."),
    502: (
        "Was dahinter arbeitet, hat nicht verständlich geantwortet.",
        "What works behind it has not given an answer that makes sense.",
    ),
    503: (
        "Das geht im Moment nicht, später aber wieder.",
        "This is not possible now, but will be again later.",
    ),
    504: (
        "Was dahinter arbeitet, hat nicht rechtzeitig geantwortet.",
        "What works behind it has not answered in time.",
    ),
}
"""What a status means, in German and in English; every status of a problem is here."""


class ProblemText(Protocol):
    """What a page says about one kind of problem.

    Attributes:
        slug: the last part of the page's address: the code with dashes.
    """

    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def slug(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def retryable(self) -> bool: ...  # noqa: D102
    @property
    def title_de(self) -> str: ...  # noqa: D102
    @property
    def title_en(self) -> str: ...  # noqa: D102
    @property
    def hotline_de(self) -> str: ...  # noqa: D102
    @property
    def hotline_en(self) -> str: ...  # noqa: D102


def create_problem_router(kinds: Iterable[ProblemText]) -> APIRouter:
    """Make the routes of the problem pages; none of them is part of the API's description."""
    by_slug = {kind.slug: kind for kind in sorted(kinds, key=lambda kind: kind.code)}
    router = APIRouter(include_in_schema=False)

    async def show_list(request: Request) -> Response:
        first = _language_of(request)
        return _page(first, _WORDS[first]["all"], _list(by_slug.values(), first))

    async def show_style(request: Request) -> Response:
        return Response(_STYLE, media_type="text/css", headers=_HEADERS)

    async def show_problem(request: Request) -> Response:
        first = _language_of(request)
        kind = by_slug.get(request.path_params["slug"])
        if kind is None:
            unknown = _in_both(first, _unknown)
            return _page(first, _WORDS[first]["unknown"], unknown, status=404)
        return _page(first, _title(kind, first), _in_both(first, lambda language: _section(kind, language)))

    # The style sheet comes before the pattern that would match it, too.
    for path, endpoint in (
        ("/problems", show_list),
        ("/problems/style.css", show_style),
        ("/problems/{slug}", show_problem),
    ):
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"], response_model=None)
    return router


def _language_of(request: Request) -> Language:
    return choose_language(request.query_params.get("lang"), request.headers.get("accept-language", ""))


def _both(first: Language) -> tuple[Language, Language]:
    return ("de", "en") if first == "de" else ("en", "de")


def _in_both(first: Language, render: Callable[[Language], str]) -> str:
    return "\n".join(render(language) for language in _both(first))


def _title(kind: ProblemText, language: Language) -> str:
    return kind.title_de if language == "de" else kind.title_en


def _section(kind: ProblemText, language: Language) -> str:
    words = _WORDS[language]
    german, english = STATUS_MEANINGS.get(kind.status, ("", ""))
    hotline = kind.hotline_de if language == "de" else kind.hotline_en
    return f"""<section lang="{language}">
<h1>{escape(_title(kind, language))}</h1>
<p><code>{escape(kind.code)}</code> · {words["status"]} {kind.status}</p>
<h2>{words["meaning"]}</h2>
<p>{escape(german if language == "de" else english)}</p>
<h2>{words["action"]}</h2>
<p>{escape(hotline)}</p>
<p>{words["retry" if kind.retryable else "no_retry"]}</p>
</section>"""


def _unknown(language: Language) -> str:
    words = _WORDS[language]
    return (
        f'<section lang="{language}">\n<h1>{words["unknown"]}</h1>\n'
        f"<p>{words['unknown_action']}</p>\n</section>"
    )


def _list(kinds: Iterable[ProblemText], first: Language) -> str:
    both = _both(first)
    names = "".join(f'<th scope="col" lang="{each}">{_WORDS[each]["name"]}</th>' for each in both)
    rows = "\n".join(_row(kind, both) for kind in kinds)
    return f"""<h1>{_WORDS[first]["all"]}</h1>
<table>
<thead><tr><th scope="col">Code</th><th scope="col">HTTP</th>{names}</tr></thead>
<tbody>
{rows}
</tbody>
</table>"""


def _row(kind: ProblemText, both: tuple[Language, Language]) -> str:
    titles = "".join(f'<td lang="{each}">{escape(_title(kind, each))}</td>' for each in both)
    link = f'<a href="/problems/{escape(kind.slug)}?lang={both[0]}"><code>{escape(kind.code)}</code></a>'
    return f"<tr><td>{link}</td><td>{kind.status}</td>{titles}</tr>"


def _page(language: Language, title: str, content: str, *, status: int = 200) -> HTMLResponse:
    page = f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · wops</title>
<link rel="stylesheet" href="/problems/style.css">
</head>
<body>
<main>
<nav aria-label="Sprache, language">
<a href="?lang=de" lang="de" hreflang="de">Deutsch</a><a href="?lang=en" lang="en" hreflang="en">English</a>
<a href="/problems?lang={language}">{_WORDS[language]["all"]}</a>
</nav>
{content}
</main>
</body>
</html>
"""
    return HTMLResponse(page, status_code=status, headers={**_HEADERS, "Content-Language": "de, en"})
