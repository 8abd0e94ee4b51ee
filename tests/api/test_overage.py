"""What an order says about the end of the month's amounts, from the order to the refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from editions import limit
from editions.catalog import EDITIONS
from tests.api.conftest import MakeInstance
from tests.api.site import USED, good, refused


@pytest.mark.parametrize(
    ("asked", "overage", "included", "room"),
    [
        ({"overage": "block"}, "block", 1, 1),
        ({"overage": "block"}, "block", 5, 5),
        ({"overage": "grace"}, "grace", 5, 6),
        ({}, "grace", 5, 6),
    ],
)
def test_overage_policy_of_an_order_holds_from_the_first_month_on(
    make_instance: MakeInstance,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, str],
    overage: str,
    included: int,
    room: int,
) -> None:
    """The contract that an order begins with has no amounts of its own: the edition is made a small one."""
    small = replace(EDITIONS["datacenter"], activations=included)
    monkeypatch.setattr(limit, "EDITIONS", {**EDITIONS, "datacenter": small})
    instance = make_instance("datacenter", **asked)
    (contract,) = good(instance.admin("GET", "/contracts"))
    assert (contract["overage"], contract["limits"]) == (overage, None)
    ticket = instance.sell(room + 1)
    free = [each["license_id"] for each in instance.licenses(ticket)]
    body = {"action": "activate", "ticket": ticket}
    taken = {**body, "license_ids": free[:room], "context": instance.device().context()}
    good(instance.gate("POST", "/transfers", taken), 201)
    meter = instance.meter("activations")
    assert (meter["used"], meter["limit"], meter["overage"]) == (room, included, overage)
    one_more = {**body, "license_ids": free[room:], "context": instance.device().context()}
    with instance.site.nothing_changes(but=(*USED, "meter_counter")):
        problem = refused(instance.gate("POST", "/transfers", one_more), 429, "quota_exceeded")
    assert (problem["context"]["limit"], problem["context"]["overage"]) == (included, overage)
    instance.check_books()
