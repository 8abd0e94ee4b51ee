"""A box that takes its time: 202, a place to ask, and never two transfers for one container."""

from __future__ import annotations

import math

import pytest

from tests.api.site import Instance, Site, good, refused
from tests.service.wait import wait_until


@pytest.fixture(scope="module")
def slow(slow_site: Site) -> Instance:
    return slow_site.add_instance("high_performance", "slow")


def test_slow_box_answers_202_and_the_transfers_address(slow_site: Site, slow: Instance) -> None:
    device, ticket, other = slow.device(), slow.sell(), slow.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    answer = slow.call("POST", "/transfers", body)
    reserved = good(answer, 202)
    assert (reserved["state"], reserved["update"]) == ("reserved", None)
    expected = math.ceil(reserved["queue"]["expected_wait_seconds"])
    assert answer.headers["retry-after"] == str(min(max(expected, 1), 60))
    address = answer.headers["location"]
    assert address == f"/slow/api/v1/transfers/{reserved['transfer_id']}"
    assert [each["state"] for each in slow.licenses(ticket)] == ["not_collected"]
    assert slow.licenses(ticket)[0]["pending_transfer"] == reserved["transfer_id"]
    activations = slow.meter("activations")
    assert (activations["used"], activations["open"]) == (0, 1)

    again = slow.call("POST", "/transfers", body)
    assert good(again, 202)["transfer_id"] == reserved["transfer_id"]
    assert (again.headers["idempotency-replayed"], again.headers["location"]) == ("true", address)
    with slow_site.nothing_changes(but=("op",)):
        asked = {**body, "ticket": other, "context": device.context()}
        problem = refused(slow.gate("POST", "/transfers", asked), 409, "transfer_open")
        assert problem["context"]["transfer_id"] == reserved["transfer_id"]
        wanted = {**body, "context": slow.device().context()}
        refused(slow.gate("POST", "/transfers", wanted), 409, "license_pending")
        path = f"/transfers/{reserved['transfer_id']}:confirm"
        early = device.receipt()
        answered = slow.gate("POST", path, {"receipt": early})
        assert answered.json()["code"] in ("transfer_not_issued", "receipt_too_old")

    def issued() -> bool:
        slow_site.pass_time(0.5)  # Lets the driver's lease end, so that the sweeper takes the transfer up.
        state = good(slow_site.call("GET", address, auth=slow.auth))["state"]
        assert state in ("reserved", "issued")
        return bool(state == "issued")

    wait_until(issued, "the update")
    transfer = good(slow_site.call("GET", address, auth=slow.auth))
    device.apply(transfer["update"])
    good(slow.gate("POST", path, {"receipt": device.receipt()}))
    assert good(slow.call("POST", "/transfers", body))["update"] == transfer["update"]
    slow.check_books()


def test_holder_is_sent_to_the_gateway_for_a_slow_transfer(slow: Instance) -> None:
    body = {"action": "activate", "ticket": slow.sell(), "context": slow.device().context()}
    answer = slow.gate("POST", "/transfers", body)
    assert good(answer, 202)["state"] == "reserved"
    assert answer.headers["location"].startswith("/slow/gateways/v1/transfers/trf_")
    assert good(slow.site.call("GET", answer.headers["location"]))["state"] in ("reserved", "issued")


def test_transfer_past_its_deadline_is_rolled_back_and_counts_nothing(
    slow_site: Site, slow: Instance
) -> None:
    device, ticket = slow.device(), slow.sell(5)
    used = slow.meter("activations")["used"]
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    # Before it in the box's queue, so that it is never begun.
    ahead = {"action": "activate", "ticket": slow.sell(3), "context": slow.device().context()}
    good(slow.gate("POST", "/transfers", ahead), 202)
    answer = good(slow.gate("POST", "/transfers", body), 202)
    slow_site.pass_time(601)
    path = f"/transfers/{answer['transfer_id']}"
    wait_until(lambda: good(slow.gate("GET", path))["state"] == "rolled_back", "the way back")
    assert good(slow.gate("GET", path))["reason"] == "deadline_passed"
    assert {each["state"] for each in slow.licenses(ticket)} == {"not_collected"}
    assert {each["pending_transfer"] for each in slow.licenses(ticket)} == {None}
    good(slow.gate("POST", "/transfers", body), 202)
    wait_until(lambda: slow.meter("activations")["open"] <= 5, "the first transfer to end")
    assert slow.meter("activations")["used"] <= used + 3
    slow.check_books()
