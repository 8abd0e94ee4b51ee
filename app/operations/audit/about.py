"""Which of the platform's entries are about an instance, and what of them is for its customer's eyes. Pure.

Boxes bear names of customers, and lie where others shall not look: of events about boxes and keys a customer reads what
is named here, and nothing else. What was done to his key stands in his instance's own chain.
"""

from __future__ import annotations

import re
from typing import Final

from app.core.chain import ChainEntry
from app.core.json import JsonObject, load_object

_INSTANCE_ID: Final = re.compile(r"ins_[0-9a-f]{32}")
_OF_BOXES: Final = ("box.", "pool.")
_OF_KEYS: Final = "firm_key."
_TOLD_TO_CUSTOMER: Final = '"operation_id"'
"""Events about keys from before customers were told of them in their own chain lack it."""
_REQUEST: Final = "approval."
_KEY_ACTION: Final = "FirmKey"
"""How actions on firm keys end: `rotateFirmKey`."""
_SHOWN: Final = frozenset({"firm_code", "key_id", "algorithm", "fingerprint", "state"})
"""What a customer reads of a key in the platform's entries."""


def is_about(entry: ChainEntry, instance_id: str) -> bool:
    """Whether an entry of the platform's chain is about this instance, about no other, and not about boxes."""
    texts = (entry.subject, entry.data, entry.before_change or "")
    named = {found for text in texts for found in _INSTANCE_ID.findall(text)}
    return named == {instance_id} and not _is_of_boxes(entry, instance_id)


def names_boxes(entry: ChainEntry) -> bool:
    """Whether an entry about an instance holds more of boxes than its customer may read."""
    if not entry.type.startswith((_REQUEST, _OF_KEYS)):
        return False
    data = _load(entry)
    return data is None or without_boxes(entry.type, data) != data


def without_boxes(kind: str, data: JsonObject) -> JsonObject:
    """The data of an entry about an instance, without those about boxes."""
    if kind.startswith(_OF_KEYS):
        return _shown(data)
    parameters = data.get("parameters")
    if isinstance(parameters, dict) and str(data.get("action")).endswith(_KEY_ACTION):
        return {**data, "parameters": _shown(parameters)}
    return data


def _shown(data: JsonObject) -> JsonObject:
    return {name: value for name, value in data.items() if name in _SHOWN}


def _is_of_boxes(entry: ChainEntry, instance_id: str) -> bool:
    if entry.type.startswith(_OF_KEYS):
        return _TOLD_TO_CUSTOMER in entry.data
    if entry.type.startswith(_REQUEST):
        # What is to be done to a box names its owner.
        data = _load(entry)
        return data is None or data.get("object_id") != instance_id
    return entry.type.startswith(_OF_BOXES)


def _load(entry: ChainEntry) -> JsonObject | None:
    """What it says; None if somebody has made it unreadable."""
    try:
        return load_object(entry.data)
    except (TypeError, ValueError):
        return None
