"""What can be wrong with one field of a request: stable codes for what pydantic finds. Pure.

Texts are ours and speak of the rule, never of what was sent: a request may hold secrets, and pydantic's own
texts repeat parts of it. **Source:** error types of pydantic-core 2 (`pydantic_core.core_schema.ErrorType`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from app.core.json import JsonObject

FIELD_TEXTS: Final[Mapping[str, str]] = {
    "field_missing": "This field is required.",
    "unknown_field": "There is no such field.",
    "type_wrong": "The value has the wrong type.",
    "value_out_of_range": "The value is out of range.",
    "length_out_of_range": "The value is too short or too long.",
    "format_wrong": "The value does not have the required form.",
    "value_not_offered": "The value is not one of those possible.",
    "value_invalid": "The value is not allowed.",
}
"""Every code of a field with its text."""

_CODES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "missing",
            "missing_argument",
            "missing_keyword_only_argument",
            "missing_positional_only_argument",
            "union_tag_not_found",
        ),
        "field_missing",
    ),
    **dict.fromkeys(
        ("extra_forbidden", "unexpected_keyword_argument", "unexpected_positional_argument"), "unknown_field"
    ),
    **dict.fromkeys(("bool_parsing", "float_parsing", "int_from_float", "int_parsing"), "type_wrong"),
    **dict.fromkeys(
        (
            "date_future",
            "date_past",
            "datetime_future",
            "datetime_past",
            "decimal_max_digits",
            "decimal_max_places",
            "decimal_whole_digits",
            "finite_number",
            "greater_than",
            "greater_than_equal",
            "int_parsing_size",
            "less_than",
            "less_than_equal",
            "multiple_of",
        ),
        "value_out_of_range",
    ),
    **dict.fromkeys(
        (
            "bytes_too_long",
            "bytes_too_short",
            "string_too_long",
            "string_too_short",
            "too_long",
            "too_short",
            "url_too_long",
        ),
        "length_out_of_range",
    ),
    **dict.fromkeys(
        (
            "bytes_invalid_encoding",
            "date_from_datetime_inexact",
            "string_not_ascii",
            "string_pattern_mismatch",
            "string_unicode",
            "timezone_aware",
            "timezone_naive",
            "timezone_offset",
            "url_scheme",
            "url_syntax_violation",
            "uuid_version",
        ),
        "format_wrong",
    ),
    **dict.fromkeys(("enum", "literal_error", "union_tag_invalid"), "value_not_offered"),
}

_BOUNDS: Final[Mapping[str, str]] = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "multiple_of": "a multiple of {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
    "expected": "one of {}",
    "expected_tags": "one of {}",
}
"""Facts that pydantic takes from our own schema, and how they are said."""

_FACT_MAX: Final = 200
"""Characters; longer lists of possible values are in the description of the interface."""
FIELDS_MAX: Final = 20
"""Faults told in one answer; who has more corrects these first."""
_DEPTH_MAX: Final = 12
_INDEX_MAX: Final = 1_000_000

# Names of our own fields look like this. Another key of a body may be a secret that slipped there: ours have more
# than 40 characters, tickets have dashes.
_MEMBER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_PARAMETER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_PLACES: Final = frozenset({"body", "query", "path", "header", "cookie"})


def field_code(pydantic_type: str) -> str:
    """The stable code for a type of pydantic's."""
    if pydantic_type in _CODES:
        return _CODES[pydantic_type]
    if pydantic_type.endswith("_type"):
        return "type_wrong"
    return "format_wrong" if pydantic_type.endswith("_parsing") else "value_invalid"


def field_problems(errors: Iterable[Mapping[str, object]]) -> list[JsonObject]:
    """What a caller is told about pydantic's findings.

    Returns:
        For each of the first `FIELDS_MAX`: `in` (body, query, path, header or cookie), `pointer` (RFC 6901, within
        that place), `code`, `detail`. The pointer ends early where a name does not look like one of a field.
    """
    found: list[JsonObject] = []
    for error in errors:
        problem = _field_problem(error)
        # The members of a union fail one by one at the same place.
        if problem not in found:
            found.append(problem)
        if len(found) == FIELDS_MAX:
            break
    return found


def _field_problem(error: Mapping[str, object]) -> JsonObject:
    pydantic_type = str(error.get("type", ""))
    code = field_code(pydantic_type)
    location = error.get("loc")
    place, *inner = location if isinstance(location, (tuple, list)) and location else ("body",)
    if place not in _PLACES:
        place, inner = "body", [place, *inner]
    return {
        "in": str(place),
        "pointer": _pointer(inner, is_declared=place != "body" and code != "unknown_field"),
        "code": code,
        # Only of types known here: a validator's own may carry anything.
        "detail": FIELD_TEXTS[code] + (_bounds(error.get("ctx")) if pydantic_type in _CODES else ""),
    }


def _pointer(segments: Iterable[object], *, is_declared: bool) -> str:
    pattern = _PARAMETER if is_declared else _MEMBER
    pointer = ""
    for depth, segment in enumerate(segments):
        is_index = isinstance(segment, int) and 0 <= segment < _INDEX_MAX
        is_name = isinstance(segment, str) and pattern.fullmatch(segment)
        if depth == _DEPTH_MAX or not (is_index or is_name):
            break
        # None of the characters let through has to be escaped.
        pointer += f"/{segment}"
    return pointer


def _bounds(context: object) -> str:
    if not isinstance(context, Mapping):
        return ""
    said = [text.format(context[name]) for name, text in _BOUNDS.items() if context.get(name) is not None]
    joined = ", ".join(said)
    return f" Allowed: {joined}." if joined and len(joined) <= _FACT_MAX else ""
