from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InputInvalid
from app.core.json import JsonValue, dump_json, load_object
from app.licensing.product_item import (
    TEXT_MAX,
    UINT32_MAX,
    ContainerType,
    ProductOptions,
    container_type_of,
    merge_options,
    options_from_json,
    options_to_json,
)
from tests.fake.clock import START

DAY = timedelta(days=1)
number = st.integers(0, UINT32_MAX)
naive = START.replace(tzinfo=None)
moments = st.datetimes(naive.replace(year=1970), naive.replace(year=9998), timezones=st.just(UTC))


@st.composite
def product_options(draw: st.DrawFn) -> ProductOptions:
    def perhaps(strategy: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | strategy)

    pairs = [draw(st.lists(moments, min_size=2, max_size=2, unique=True).map(sorted)) for _ in range(2)]
    usable, maintained = pairs
    with_maintenance = draw(st.booleans())
    return ProductOptions(
        product_code=draw(st.integers(1, UINT32_MAX)),
        feature_map=perhaps(number),
        license_quantity=perhaps(number),
        unit_counter=perhaps(number),
        activation_time=perhaps(st.just(usable[0])),
        expiration_time=perhaps(st.just(usable[1])),
        usage_period_seconds=perhaps(st.integers(1, UINT32_MAX)),
        maintenance_start=maintained[0] if with_maintenance else None,
        maintenance_end=maintained[1] if with_maintenance else None,
        text=perhaps(st.text(st.characters(exclude_categories=["Cs"]), max_size=TEXT_MAX)),
    )


@given(product_options())
def test_options_come_back_from_json_as_they_went(options: ProductOptions) -> None:
    stored = dump_json(options_to_json(options))
    assert options_from_json(load_object(stored)) == options
    assert dump_json(options_to_json(options_from_json(load_object(stored)))) == stored


def test_only_what_is_set_is_stored_and_times_are_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    options = ProductOptions(
        product_code=1, feature_map=0, expiration_time=datetime(2027, 1, 1, tzinfo=berlin)
    )
    assert options_to_json(options) == {
        "product_code": 1,
        "feature_map": 0,
        "expiration_time": "2026-12-31T23:00:00.000000Z",
    }


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("product_code", 1, UINT32_MAX),
        ("feature_map", 0, UINT32_MAX),
        ("license_quantity", 0, UINT32_MAX),
        ("unit_counter", 0, UINT32_MAX),
        ("usage_period_seconds", 1, UINT32_MAX),
    ],
)
def test_numbers_have_their_ranges(field: str, least: int, most: int) -> None:
    for value in (least, most):
        fitting: dict[str, Any] = {"product_code": 1, field: value}
        assert getattr(ProductOptions(**fitting), field) == value
    for wrong in (least - 1, most + 1, True, 1.0, "1"):
        values: dict[str, Any] = {"product_code": 1, field: wrong}
        with pytest.raises(InputInvalid) as refusal:
            ProductOptions(**values)
        assert refusal.value.detail["field"] == field


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("maintenance_end", {"maintenance_start": START}),
        ("maintenance_end", {"maintenance_end": START}),
        ("maintenance_end", {"maintenance_start": START, "maintenance_end": START}),
        ("expiration_time", {"activation_time": START, "expiration_time": START}),
        ("expiration_time", {"activation_time": START + DAY, "expiration_time": START}),
        ("expiration_time", {"expiration_time": naive}),
        ("activation_time", {"activation_time": datetime(1969, 12, 31, tzinfo=UTC)}),
        ("expiration_time", {"expiration_time": datetime(9999, 12, 31, tzinfo=timezone(-DAY / 2))}),
        ("text", {"text": "x" * (TEXT_MAX + 1)}),
        ("text", {"text": 7}),
        ("text", {"text": "\udfff"}),
    ],
)
def test_options_that_make_no_sense_are_refused(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid) as refusal:
        ProductOptions(product_code=1, **values)
    assert refusal.value.detail["field"] == field


def test_a_licence_expires_at_its_expiration_time() -> None:
    options = ProductOptions(product_code=1, expiration_time=START)
    assert not options.has_expired(START - timedelta(microseconds=1))
    assert options.has_expired(START)
    assert not ProductOptions(product_code=1).has_expired(START)


def test_order_overrides_single_options_of_the_item() -> None:
    item = ProductOptions(product_code=5, feature_map=1, unit_counter=10)
    assert merge_options(item, {}) is item
    merged = merge_options(item, {"feature_map": 3, "expiration_time": "2027-01-01T00:00:00+01:00"})
    assert merged == ProductOptions(
        product_code=5,
        feature_map=3,
        unit_counter=10,
        expiration_time=datetime(2026, 12, 31, 23, tzinfo=UTC),
    )


def test_order_takes_an_option_of_the_item_away_with_null() -> None:
    item = ProductOptions(product_code=5, feature_map=1, expiration_time=START)
    assert merge_options(item, {"expiration_time": None, "feature_map": None}) == ProductOptions(
        product_code=5
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("product_code", 5),
        ("colour", "red"),
        ("feature_map", [1]),
        ("expiration_time", "tomorrow"),
        ("expiration_time", "2027-01-01"),
        ("expiration_time", "2027-01-01T00:00:00"),
        ("expiration_time", 1_800_000_000),
        ("expiration_time", "0001-01-01T00:00:00+14:00"),
        ("maintenance_end", "2027-01-01T00:00:00Z"),
        ("text", {"de": "Hallo"}),
    ],
)
def test_order_with_other_overrides_is_refused(field: str, value: JsonValue) -> None:
    with pytest.raises(InputInvalid) as refusal:
        merge_options(ProductOptions(product_code=5), {field: value})
    assert refusal.value.detail["field"] == field


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        ("1-1", ContainerType.CM_DONGLE),
        ("3-1234567", ContainerType.CM_DONGLE),
        ("128-99", ContainerType.CM_ACT_LICENSE),
        ("130-1234567890", ContainerType.CM_ACT_LICENSE),
        ("140-000000000001", ContainerType.CM_CLOUD_CONTAINER),
    ],
)
def test_mask_of_a_serial_tells_the_type(serial: str, expected: ContainerType) -> None:
    assert container_type_of(serial) is expected


@pytest.mark.parametrize(
    "serial", ["", "130", "130-", "-1", "9-1", "0130-1", "130-1x", "130-¹", "130-1234567890123"]
)
def test_serial_that_nobody_gives_out_is_refused(serial: str) -> None:
    with pytest.raises(InputInvalid):
        container_type_of(serial)
