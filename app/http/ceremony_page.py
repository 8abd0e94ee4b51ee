"""The printable page of a key ceremony's record."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from typing import Final

from app.core.language import Language
from app.operations.ceremony.layout import SIGNATURES, Section, lay_out
from app.operations.ceremony.record import CeremonyRecord
from app.operations.ceremony.words import WORDS

_STYLE: Final = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 48rem; padding: 1.5rem 1rem; font: 10.5pt/1.4 system-ui, sans-serif; }
h1 { font-size: 16pt; margin: 0 0 1rem; }
h2 { font-size: 11pt; margin: 1.2rem 0 .3rem; border-bottom: 1px solid GrayText; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; font-weight: normal; }
th { width: 14rem; color: #444; }
td { overflow-wrap: anywhere; }
.signature { margin-top: 3rem; border-top: 1px solid; width: 22rem; padding-top: .2rem; }
section { break-inside: avoid-page; }
@page { size: A4; margin: 18mm; }
@media print { nav { display: none; } body { padding: 0; max-width: none; } }
"""
_STYLE_HASH: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()

PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Vary": "Accept-Language",
}
PAGE_EXAMPLE: Final = "<!doctype html>…"


def render_page(record: CeremonyRecord, language: Language) -> str:
    """The whole page."""
    words = WORDS[language]
    sections = "\n".join(_section(each) for each in lay_out(record, language))
    lines = "\n".join(f'<p class="signature">{escape(words[each])}</p>' for each in SIGNATURES)
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(words["title"])} · wops</title>
<style>{_STYLE}</style>
</head>
<body>
<nav aria-label="Sprache, language">
<a href="?lang=de" lang="de" hreflang="de">Deutsch</a> <a href="?lang=en" lang="en" hreflang="en">English</a>
· {escape(words["print"])}
</nav>
<main>
<h1>{escape(words["title"])}</h1>
{sections}
<section>
<h2>{escape(words["signatures"])}</h2>
{lines}
</section>
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(value)}</td></tr>'
        for label, value in section.rows
    )
    return f"<section>\n<h2>{escape(section.title)}</h2>\n<table>\n{rows}\n</table>\n</section>"
