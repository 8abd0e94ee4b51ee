from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import DomainError, InputInvalid
from app.core.ids import LicenseId, TransferId
from app.licensing import License, LicenseAction, LicenseState, ProductOptions, Wish
from app.licensing.transfer.transfer_plan import (
    ACTIONS_MAX,
    STEPS_MAX_BYTES,
    Target,
    check_number,
    check_size,
    plan_actions,
)
from tests.fake.clock import START
from tests.unit.app.licensing.factory import SERIAL, TICKET, license_

TARGET = Target(serial=SERIAL, container_type="cm_act_license")
OTHER = "130-2"
FREE = LicenseState.NOT_COLLECTED
TAKEN = LicenseState.COLLECTED
PROVEN = LicenseState.CONFIRMED_COLLECTED
RETURNED = LicenseState.RETURNED
FREE_AGAIN = LicenseState.CONFIRMED_RETURNED
EXPIRED = ProductOptions(product_code=1, expiration_time=START)


def here(name: str, state: LicenseState = PROVEN, **values: object) -> License:
    return license_(name, state=state, container=SERIAL, fuc=1, **values)


def plan(
    licenses: Sequence[License],
    *,
    activate: Sequence[str] | None = (),
    deactivate: Sequence[str] = (),
    ticket: str | None = TICKET,
) -> list[tuple[str, str]]:
    wish = Wish(
        ticket=ticket,
        activate=None if activate is None else tuple(LicenseId(each) for each in activate),
        deactivate=tuple(LicenseId(each) for each in deactivate),
    )
    return [
        (str(each.action), each.license.license_id)
        for each in plan_actions(wish, licenses, target=TARGET, now=START)
    ]


def refusal(licenses: Sequence[License], **wish: object) -> DomainError:
    with pytest.raises(DomainError) as caught:
        plan(licenses, **wish)  # type: ignore[arg-type]
    return caught.value


def test_deactivations_come_first_then_activations_each_in_the_order_of_their_ids() -> None:
    licenses = [license_("a"), license_("d", state=FREE_AGAIN), here("b"), here("c")]
    assert plan(licenses, activate=["d", "a"], deactivate=["c", "b"]) == [
        ("deactivate", "b"),
        ("deactivate", "c"),
        ("activate", "a"),
        ("activate", "d"),
    ]


def test_everything_that_can_be_collected_leaves_the_rest_where_it_is() -> None:
    licenses = [
        license_("free"),
        license_("again", state=FREE_AGAIN),
        here("here"),
        license_("pending", pending_transfer=TransferId("trf_1")),
        license_("expired", options=EXPIRED),
        license_("dongle", container_types=("cm_dongle",)),
        license_("suits", container_types=("cm_dongle", "cm_act_license")),
        license_("other", ticket="other"),
    ]
    assert [name for _, name in plan(licenses, activate=None)] == ["again", "free", "suits"]


@pytest.mark.parametrize(
    ("code", "given_license"),
    [
        ("license_not_on_ticket", license_("x", ticket="other")),
        ("license_pending", license_("x", pending_transfer=TransferId("trf_1"))),
        ("license_not_available", here("x", TAKEN)),
        ("license_not_available", here("x")),
        ("license_not_available", here("x", RETURNED)),
        ("license_not_available", license_("x", state=PROVEN, container=OTHER)),
        ("license_expired", license_("x", options=EXPIRED)),
        ("container_type_not_allowed", license_("x", container_types=("cm_dongle",))),
    ],
)
def test_activation_is_refused_naming_the_licence(code: str, given_license: License) -> None:
    found = refusal([license_("good"), given_license], activate=["good", "x"])
    assert (found.code, found.detail["license_id"]) == (code, "x")


@pytest.mark.parametrize(
    ("code", "given_license"),
    [
        ("license_not_on_ticket", here("x", ticket="other")),
        ("license_pending", here("x", pending_transfer=TransferId("trf_1"))),
        ("license_not_on_container", license_("x")),
        ("license_not_on_container", license_("x", state=PROVEN, container=OTHER)),
        ("license_not_on_container", here("x", RETURNED)),
        ("license_not_confirmed", here("x", TAKEN)),
        ("item_not_returnable", here("x", returnable=False)),
    ],
)
def test_deactivation_is_refused_naming_the_licence(code: str, given_license: License) -> None:
    found = refusal([here("good"), given_license], deactivate=["good", "x"])
    assert (found.code, found.detail["license_id"]) == (code, "x")


def test_expired_licence_can_be_given_back() -> None:
    assert plan([here("x", options=EXPIRED)], deactivate=["x"]) == [("deactivate", "x")]


def test_container_alone_is_enough_for_giving_back_but_not_for_collecting() -> None:
    assert plan([here("x")], deactivate=["x"], ticket=None) == [("deactivate", "x")]
    assert refusal([license_("x")], activate=["x"], ticket=None).code == "license_not_on_ticket"
    assert refusal([license_("x")], activate=None, ticket=None).code == "nothing_to_activate"


def test_unknown_licence_is_not_on_the_ticket() -> None:
    assert refusal([], activate=["x"]).code == "license_not_on_ticket"
    assert refusal([], deactivate=["x"]).code == "license_not_on_ticket"


def test_nothing_left_names_the_reason_when_there_is_one_licence_only() -> None:
    assert refusal([license_("x", options=EXPIRED)], activate=None).code == "license_expired"
    assert refusal([license_("x", options=EXPIRED), here("y")], activate=None).code == "nothing_to_activate"
    assert refusal([], activate=None).code == "nothing_to_activate"
    assert refusal([here("y")], activate=None, deactivate=["y"]).code == "license_not_available"


def test_nothing_or_the_same_twice_or_too_much_is_no_transfer() -> None:
    assert refusal([]).code == "input_invalid"
    assert refusal([license_("x")], activate=["x", "x"]).code == "input_invalid"
    assert refusal([here("x")], deactivate=["x", "x"]).code == "input_invalid"
    many = [license_(f"{number:03}") for number in range(ACTIONS_MAX + 1)]
    assert len(plan(many[1:], activate=None)) == ACTIONS_MAX
    assert refusal(many, activate=None).code == "input_invalid"
    check_number(ACTIONS_MAX)
    with pytest.raises(InputInvalid):
        check_number(ACTIONS_MAX + 1)


def test_update_too_large_for_a_container_says_what_to_do() -> None:
    check_size(1, STEPS_MAX_BYTES)
    with pytest.raises(InputInvalid, match="Name fewer licences"):
        check_size(1, STEPS_MAX_BYTES + 1)
    with pytest.raises(InputInvalid, match="lacks 2 earlier updates"):
        check_size(3, STEPS_MAX_BYTES + 1)


STATES = st.sampled_from(LicenseState)


@given(
    states=st.lists(STATES, min_size=1, max_size=6),
    held_here=st.booleans(),
    pending=st.integers(0, 6),
    old=st.integers(0, 6),
)
def test_collecting_all_moves_exactly_the_free_ones(
    states: list[LicenseState], held_here: bool, pending: int, old: int
) -> None:
    licenses = [
        license_(
            str(number),
            state=state,
            container=None if state in (FREE, FREE_AGAIN) else (SERIAL if held_here else OTHER),
            pending_transfer=TransferId("trf_1") if number == pending else None,
            options=ProductOptions(
                product_code=1,
                expiration_time=START + timedelta(days=-1 if number == old else 1),
            ),
        )
        for number, state in enumerate(states)
    ]
    expected = [
        ("activate", str(number))
        for number, state in enumerate(states)
        if state in (FREE, FREE_AGAIN) and number not in (pending, old)
    ]
    if expected:
        assert plan(licenses, activate=None) == expected
    else:
        assert refusal(licenses, activate=None).code


def test_actions_are_the_two_that_users_choose() -> None:
    assert {str(each) for each in LicenseAction} == {"activate", "deactivate"}
