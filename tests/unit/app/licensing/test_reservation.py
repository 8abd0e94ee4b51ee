from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.core.errors import DomainError
from app.core.ids import InstanceId, LicenseId, TransferId
from app.licensing import InstanceIdentity, LicenseAction, TransferAction, TransferRequest, Wish
from app.licensing.transfer.reservation import check_request, effects_of, natural_key
from tests.fake.clock import START
from tests.unit.app.licensing.factory import SERIAL, TICKET, context

A, B = LicenseId("lic_a"), LicenseId("lic_b")
IDENTITY = InstanceIdentity(instance_id=InstanceId("ins_1"), firm_code=6_000_010, pool="shared")


def request(
    *, action: TransferAction = TransferAction.ACTIVATE, wish: dict[str, Any] | None = None, **values: Any
) -> TransferRequest:
    wanted: dict[str, Any] = {"ticket": TICKET, "activate": (A, B), "deactivate": ()}
    fields: dict[str, Any] = {
        "context": context(),
        "container": None,
        "principal": "erp",
        "authenticated": True,
        **values,
    }
    return TransferRequest(action=action, wish=Wish(**{**wanted, **(wish or {})}), **fields)


@pytest.mark.parametrize(
    "same",
    [
        request(),
        request(wish={"activate": (B, A)}),
        request(principal="somebody else"),
        request(authenticated=False),
        request(container=SERIAL),
        request(context=context(made_at=START + timedelta(days=1), context_id="ctx_2", digest="b" * 64)),
        request(context=context(kind="receipt")),
    ],
)
def test_same_wish_about_the_same_counter_has_the_same_key(same: TransferRequest) -> None:
    assert natural_key(same) == natural_key(request())


def test_everything_that_makes_another_transfer_makes_another_key() -> None:
    different = [
        request(),
        request(context=context(fuc=1)),
        request(context=context(serial="130-2")),
        request(context=context(signing_key_thumbprint="key-2")),
        request(action=TransferAction.DEACTIVATE),
        request(wish={"ticket": None}),
        request(wish={"activate": (A,)}),
        request(wish={"activate": ()}),
        request(wish={"activate": None}),
        request(wish={"activate": (A,), "deactivate": (B,)}),
        request(wish={"activate": (), "deactivate": (A, B)}),
    ]
    keys = {natural_key(each) for each in different}
    assert len(keys) == len(different)
    assert {len(key) for key in keys} == {64}


def test_request_is_checked_before_anything_is_touched() -> None:
    check_request(request(container=SERIAL), IDENTITY, now=START)
    check_request(request(context=context(made_at=START + timedelta(days=1))), IDENTITY, now=START)
    late = START + timedelta(days=1, microseconds=1)
    many = tuple(LicenseId(f"lic_{number}") for number in range(101))
    wrong = {
        "context_wrong_container": request(container="130-2"),
        "context_wrong_firm_code": request(context=context(firm_code=6_000_011)),
        "context_from_future": request(context=context(made_at=late)),
        "input_invalid": request(wish={"activate": many}),
    }
    for code, each in wrong.items():
        with pytest.raises(DomainError) as refusal:
            check_request(each, IDENTITY, now=START)
        assert refusal.value.code == code


def test_vendor_or_a_ticket_vouches_for_a_request() -> None:
    stranger = request(authenticated=False, wish={"ticket": None})
    assert not stranger.vouched_for
    assert replace(stranger, authenticated=True).vouched_for
    assert request(authenticated=False).vouched_for


def test_effects_are_numbered_the_same_in_whatever_order_the_moves_come() -> None:
    moves = [(B, LicenseAction.DEACTIVATE), (A, LicenseAction.ACTIVATE)]
    effects = effects_of(TransferId("trf_1"), moves)
    assert effects == effects_of(TransferId("trf_1"), moves[::-1])
    assert [(each.effect_id, each.kind, each.subject) for each in effects] == [
        ("trf_1:0", "activation", A),
        ("trf_1:1", "deactivation", B),
    ]
