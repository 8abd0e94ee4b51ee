from __future__ import annotations

import pytest

from app.core.errors import InputInvalid
from app.core.json import JsonValue
from app.licensing import ItemDraft, OrderDraft, OrderedPosition, ProductOptions
from app.licensing.errors import OrderConflict, QuantityOutOfRange
from app.licensing.order.order_rule import (
    POSITION_MAX,
    POSITIONS_MAX,
    QUANTITY_MAX,
    TICKET_LICENSES_MAX,
    check_positions,
    check_ticket_size,
    new_positions,
)


def position(number: int = 1, sku: str = "CAD", quantity: int = 1, **options: JsonValue) -> OrderedPosition:
    return OrderedPosition(position=number, sku=sku, quantity=quantity, options=options)


def test_plain_repeat_brings_nothing_new() -> None:
    ordered = [position(1), position(2, feature_map=3)]
    known = {each.position: each.content() for each in ordered}
    assert new_positions(known, ordered, order_number="A") == ()
    assert new_positions(known, ordered[1:], order_number="A") == ()


def test_unknown_positions_are_new_in_the_order_they_came() -> None:
    known = {1: position(1).content()}
    ordered = [position(9), position(1), position(5)]
    assert [each.position for each in new_positions(known, ordered, order_number="A")] == [9, 5]


def test_options_are_compared_by_value_and_not_by_their_order() -> None:
    known = {1: position(1, feature_map=1, unit_counter=2).content()}
    assert new_positions(known, [position(1, unit_counter=2, feature_map=1)], order_number="A") == ()


@pytest.mark.parametrize(
    "changed",
    [position(1, "CAM"), position(1, quantity=2), position(1, feature_map=1)],
    ids=["sku", "quantity", "options"],
)
def test_known_position_with_other_content_is_a_conflict(changed: OrderedPosition) -> None:
    known = {1: position(1).content()}
    with pytest.raises(OrderConflict) as refusal:
        new_positions(known, [position(2), changed], order_number="A-1")
    assert refusal.value.detail == {"order_number": "A-1", "position": 1}


@pytest.mark.parametrize("quantity", [1, QUANTITY_MAX])
def test_quantity_within_its_range(quantity: int) -> None:
    check_positions([position(quantity=quantity)])


@pytest.mark.parametrize("quantity", [0, -1, QUANTITY_MAX + 1])
def test_quantity_out_of_its_range(quantity: int) -> None:
    with pytest.raises(QuantityOutOfRange) as refusal:
        check_positions([position(1), position(7, quantity=quantity)])
    assert refusal.value.detail == {"position": 7, "most": QUANTITY_MAX}


@pytest.mark.parametrize(
    "positions",
    [
        [],
        [position(1), position(1, "CAM")],
        [position(number) for number in range(1, POSITIONS_MAX + 2)],
        [position(0)],
        [position(-5)],
        [position(POSITION_MAX + 1)],
    ],
    ids=["none", "twice the same number", "too many", "zero", "negative", "too large"],
)
def test_positions_that_make_no_sense(positions: list[OrderedPosition]) -> None:
    with pytest.raises(InputInvalid):
        check_positions(positions)


def test_most_positions_fit() -> None:
    check_positions([position(number) for number in range(1, POSITIONS_MAX + 1)])
    check_positions([position(POSITION_MAX)])


def test_ticket_grows_to_its_limit_and_not_beyond() -> None:
    check_ticket_size(TICKET_LICENSES_MAX - 1, [position()])
    with pytest.raises(QuantityOutOfRange):
        check_ticket_size(TICKET_LICENSES_MAX - 1, [position(), position(2)])


@pytest.mark.parametrize("number", ["", "-A", "A B", "A" * 64, "Ä-1", "A\n", "A;1"])
def test_order_number_is_what_an_erp_writes(number: str) -> None:
    with pytest.raises(InputInvalid) as refusal:
        OrderDraft(order_number=number, customer_reference="", positions=(position(),))
    assert refusal.value.detail["field"] == "order_number"


@pytest.mark.parametrize("reference", ["x" * 101, "a\nb", "\ud800", "\x00"])
def test_customer_reference_is_short_and_printable(reference: str) -> None:
    with pytest.raises(InputInvalid) as refusal:
        OrderDraft(order_number="A-1", customer_reference=reference, positions=(position(),))
    assert refusal.value.detail["field"] == "customer_reference"


@pytest.mark.parametrize(
    ("field", "sku", "name"), [("sku", "a b", "N"), ("sku", "", "N"), ("name", "A", ""), ("name", "A", "\t")]
)
def test_item_has_a_sku_and_a_name(field: str, sku: str, name: str) -> None:
    with pytest.raises(InputInvalid) as refusal:
        ItemDraft(sku=sku, name=name, options=ProductOptions(product_code=1))
    assert refusal.value.detail["field"] == field
