"""Which language a person reads: German or English. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Language = Literal["de", "en"]
_LANGUAGES: Final[Mapping[str, Language]] = {"de": "de", "en": "en"}
_ACCEPT_LANGUAGE_MAX: Final = 256
"""Characters looked at; browsers send fewer."""


def choose_language(asked: str | None, accept_language: str) -> Language:
    """German or English: what was asked for, or else what the browser likes better, or else English.

    **Source:** RFC 9110 §12.5.4.
    """
    chosen = _LANGUAGES.get(asked or "")
    if chosen is not None:
        return chosen
    weights = {"de": 0.0, "en": 0.0}
    for entry in accept_language[:_ACCEPT_LANGUAGE_MAX].split(","):
        tag, _, parameter = entry.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in weights:
            weights[language] = max(weights[language], _weight(parameter))
    return "de" if weights["de"] > weights["en"] else "en"


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0
