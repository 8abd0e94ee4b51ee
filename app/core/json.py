"""JSON as wops stores and signs it: compact, keys sorted, no NaN."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
JsonObject = dict[str, JsonValue]

_encoder = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False, ensure_ascii=False)


def dump_json(value: JsonValue | JsonObject) -> str:
    """Write a value in the one canonical form, so that equal values give equal text."""
    return _encoder.encode(value)


def load_json(text: str) -> JsonValue:
    """Read any JSON text."""
    return cast(JsonValue, json.loads(text))


def load_object(text: str) -> JsonObject:
    """Read a JSON object that wops itself has written.

    Raises:
        TypeError: the text holds something else.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"expected a JSON object, found {type(value).__name__}")
    return cast(JsonObject, value)
