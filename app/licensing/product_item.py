"""Product item options: what a licence grants. Pure.

**Source:** CodeMeter Core API and white paper p. 11, as collected in the domain reference §1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from app.core.clock import to_text
from app.core.errors import InputInvalid
from app.core.json import JsonObject, JsonValue

UINT32_MAX: Final = 0xFFFF_FFFF
"""Product code, feature map, quantity and unit counter are unsigned 32-bit numbers. Source: CodeMeter Core API."""
TEXT_MAX: Final = 256
"""Characters of a product item text. Source: CodeMeter Core API."""
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998
"""Times are stored since 1970; a year below Python's last one leaves room for any time zone. A choice of ours."""


class ContainerType(StrEnum):
    """Kinds of CmContainer, told apart by the mask of their serial."""

    CM_DONGLE = "cm_dongle"
    CM_ACT_LICENSE = "cm_act_license"
    CM_CLOUD_CONTAINER = "cm_cloud_container"


_TYPE_OF_MASK: Final[Mapping[str, ContainerType]] = {
    "1": ContainerType.CM_DONGLE,
    "2": ContainerType.CM_DONGLE,
    "3": ContainerType.CM_DONGLE,
    "127": ContainerType.CM_ACT_LICENSE,
    "128": ContainerType.CM_ACT_LICENSE,
    "130": ContainerType.CM_ACT_LICENSE,
    "140": ContainerType.CM_CLOUD_CONTAINER,
}


def container_type_of(serial: str) -> ContainerType:
    """Tell the type from the serial's mask, `mask-number`.

    Raises:
        InputInvalid: not a serial, or a mask that nobody has given out.
    """
    mask, _, number = serial.partition("-")
    found = _TYPE_OF_MASK.get(mask)
    if found is None or not (number.isascii() and number.isdigit()) or len(number) > 12:
        raise InputInvalid("A container serial reads like 130-1234567890.", field="serial")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductOptions:
    """The product item options of an item or a licence.

    Attributes:
        product_code: the entry's number within the firm item, 1 … 2³²-1.
        feature_map: 32 switches.
        license_quantity: seats in a network; 0 means local use only.
        unit_counter: units the software uses up.
        activation_time: not usable before.
        expiration_time: not usable from then on.
        usage_period_seconds: how long it can be used from the first use.
        maintenance_start, maintenance_end: releases in this span are covered; both or none.
        text: free text, at most 256 characters.
    """

    product_code: int
    feature_map: int | None = None
    license_quantity: int | None = None
    unit_counter: int | None = None
    activation_time: datetime | None = None
    expiration_time: datetime | None = None
    usage_period_seconds: int | None = None
    maintenance_start: datetime | None = None
    maintenance_end: datetime | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        _check_number("product_code", self.product_code, least=1)
        for name in ("feature_map", "license_quantity", "unit_counter"):
            _check_number(name, getattr(self, name), least=0)
        _check_number("usage_period_seconds", self.usage_period_seconds, least=1)
        for name in ("activation_time", "expiration_time", "maintenance_start", "maintenance_end"):
            _check_time(name, getattr(self, name))
        self._check_spans()
        _check_text(self.text)

    def _check_spans(self) -> None:
        if (self.maintenance_start is None) != (self.maintenance_end is None):
            raise InputInvalid("A maintenance period needs a start and an end.", field="maintenance_end")
        if self.maintenance_start and self.maintenance_end and self.maintenance_start >= self.maintenance_end:
            raise InputInvalid("A maintenance period ends after it starts.", field="maintenance_end")
        if self.activation_time and self.expiration_time and self.activation_time >= self.expiration_time:
            raise InputInvalid("The expiration time lies after the activation time.", field="expiration_time")

    def has_expired(self, now: datetime) -> bool:
        """Whether the expiration time has passed."""
        return self.expiration_time is not None and self.expiration_time <= now


_FIELDS: Final = tuple(field.name for field in fields(ProductOptions))
_TIMES: Final = frozenset({"activation_time", "expiration_time", "maintenance_start", "maintenance_end"})


def options_to_json(options: ProductOptions) -> JsonObject:
    """The stored and programmed form: only what is set, times as RFC 3339 UTC."""
    shown: JsonObject = {}
    for name in _FIELDS:
        value = getattr(options, name)
        if value is not None:
            shown[name] = to_text(value) if isinstance(value, datetime) else value
    return shown


def options_from_json(stored: Mapping[str, JsonValue]) -> ProductOptions:
    """Read what `options_to_json` has written.

    Raises:
        InputInvalid: an unknown option or a value out of range.
    """
    values: dict[str, Any] = {}
    for name, value in stored.items():
        if name not in _FIELDS:
            raise InputInvalid(f"There is no product item option called {name}.", field=name)
        values[name] = _read_time(name, value) if name in _TIMES else value
    # The types of the values are checked in __post_init__.
    return ProductOptions(**values)


def merge_options(item: ProductOptions, overrides: Mapping[str, JsonValue]) -> ProductOptions:
    """An item's options with those of an order position put over them.

    Raises:
        InputInvalid: the product code would change, or the result makes no sense.
    """
    if "product_code" in overrides:
        raise InputInvalid(
            "The product code belongs to the item and cannot be changed by an order.", field="product_code"
        )
    return options_from_json({**options_to_json(item), **overrides}) if overrides else item


def _check_number(name: str, value: object, *, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= UINT32_MAX:
        raise InputInvalid(f"{name} is a whole number from {least} to {UINT32_MAX}.", field=name)


def _check_text(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        raise InputInvalid(f"A text has at most {TEXT_MAX} characters.", field="text")
    # Half of a surrogate pair is no character: it can neither be stored nor be programmed.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputInvalid("The text holds something that is not a character.", field="text")


def _read_time(name: str, value: JsonValue) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise _no_time(name) from error
    _check_time(name, moment)
    return moment.astimezone(UTC)


def _check_time(name: str, value: datetime | None) -> None:
    if value is not None and (value.tzinfo is None or not _FIRST_YEAR <= value.year <= _LAST_YEAR):
        raise _no_time(name)


def _no_time(name: str) -> InputInvalid:
    return InputInvalid(f"{name} is a time with its time zone, for example 2027-01-31T00:00:00Z.", field=name)
