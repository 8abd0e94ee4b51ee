"""Bad input about licences, end to end: a stable code, and nothing changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from app.core.errors import DomainError
from app.core.ids import new_id
from app.licensing.order.ticket_code import new_ticket
from tests.api.device import Device
from tests.api.forgery import Forger, flip
from tests.api.site import METERED, Instance, Site, good, refused

Door = Callable[..., httpx2.Response]


@pytest.fixture(scope="module")
def shop(site: Site) -> Instance:
    """An instance for all tests here; each sells its own tickets."""
    return site.add_instance("dedicated", "shop")


@pytest.fixture(params=["api", "gateway"])
def door(request: pytest.FixtureRequest, shop: Instance) -> Door:
    """The vendor's own system, and a ticket's holder: they are told the same."""
    return shop.call if request.param == "api" else shop.gate


@pytest.fixture
def device(shop: Instance) -> Device:
    return shop.device()


def collecting(ticket: str, context: str, **more: Any) -> dict[str, Any]:
    return {"action": "activate", "ticket": ticket, "context": context, **more}


def collect(
    shop: Instance, device: Device, ticket: str, *, confirm: bool = True, **more: Any
) -> dict[str, Any]:
    """Collect and apply."""
    transfer = good(shop.gate("POST", "/transfers", collecting(ticket, device.context(), **more)), 201)
    device.apply(transfer["update"])
    if confirm:
        path = f"/transfers/{transfer['transfer_id']}:confirm"
        good(shop.gate("POST", path, {"receipt": device.receipt()}))
    return dict(transfer)


def refuse(shop: Instance, door: Door, body: dict[str, Any], status: int, code: str) -> dict[str, Any]:
    """Start a transfer that has to be refused."""
    with shop.site.nothing_changes(but=METERED):
        return refused(door("POST", "/transfers", body), status, code)


def test_unknown_ticket_is_refused(shop: Instance, door: Door, device: Device) -> None:
    refuse(shop, door, collecting(new_ticket(), device.context()), 404, "ticket_unknown")
    refused(door("GET", f"/tickets/{new_ticket()}"), 404, "ticket_unknown")


@pytest.mark.parametrize(
    "ticket", ["x", "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA", "O0I1L" * 5, "x" * 64, "ü" * 25, "%00"]
)
def test_text_that_is_no_ticket_is_refused(shop: Instance, door: Door, device: Device, ticket: str) -> None:
    refuse(shop, door, collecting(ticket, device.context()), 422, "ticket_malformed")
    refused(door("GET", f"/tickets/{ticket}"), 422, "ticket_malformed")


def test_ticket_with_a_wrong_character_is_refused(shop: Instance, door: Door) -> None:
    ticket = shop.sell()
    wrong = ticket[:-1] + ("A" if ticket[-1] != "A" else "B")
    refused(door("GET", f"/tickets/{wrong}"), 422, "ticket_malformed")


def test_licence_of_another_ticket_is_refused(shop: Instance, door: Door, device: Device) -> None:
    ticket, other = shop.sell(), shop.sell()
    theirs = shop.licenses(other)[0]["license_id"]
    for wanted in ([theirs], [shop.licenses(ticket)[0]["license_id"], theirs], ["lic_unknown"]):
        body = collecting(ticket, device.context(), license_ids=wanted)
        refuse(shop, door, body, 404, "license_not_on_ticket")


def test_container_of_another_instance_is_refused(
    shop: Instance, door: Door, instances: dict[str, Instance]
) -> None:
    theirs = instances["high_availability"].device()
    refuse(shop, door, collecting(shop.sell(), theirs.context()), 409, "context_wrong_firm_code")


def test_context_of_a_wrong_container_is_refused(shop: Instance, door: Door, device: Device) -> None:
    body = collecting(shop.sell(), device.context(), container="130-0000000000")
    refuse(shop, door, body, 409, "context_wrong_container")


def test_replayed_context_is_refused(shop: Instance, door: Door, device: Device) -> None:
    ticket, other = shop.sell(), shop.sell()
    context = device.context()
    transfer = good(shop.gate("POST", "/transfers", collecting(ticket, context)), 201)
    refuse(shop, door, collecting(other, context), 409, "context_replayed")
    device.apply(transfer["update"])
    refuse(shop, door, collecting(other, context), 409, "context_replayed")


def test_context_older_than_one_seen_before_is_refused(shop: Instance, door: Door, device: Device) -> None:
    old, newer = device.context(), device.context()
    good(shop.gate("POST", "/transfers", collecting(shop.sell(), newer)), 201)
    refuse(shop, door, collecting(shop.sell(), old), 409, "context_outdated")


def test_replayed_receipt_changes_nothing(shop: Instance, door: Door, device: Device) -> None:
    transfer = collect(shop, device, shop.sell(), confirm=False)
    receipt = {"receipt": device.receipt()}
    path = f"/transfers/{transfer['transfer_id']}:confirm"
    assert "idempotency-replayed" not in door("POST", path, receipt).headers
    with shop.site.nothing_changes(but=("container", "op")):
        again = door("POST", path, receipt)
    assert good(again)["state"] == "confirmed"
    assert again.headers["idempotency-replayed"] == "true"


def test_receipt_of_an_earlier_update_does_not_confirm_a_later_one(
    shop: Instance, door: Door, device: Device
) -> None:
    collect(shop, device, shop.sell(), confirm=False)
    receipt = device.receipt()
    later = collect(shop, device, shop.sell(), confirm=False)
    with shop.site.nothing_changes(but=METERED):
        answer = door("POST", f"/transfers/{later['transfer_id']}:confirm", {"receipt": receipt})
        refused(answer, 409, "receipt_too_old")


def test_receipt_of_another_container_is_refused(shop: Instance, door: Door, device: Device) -> None:
    transfer = collect(shop, device, shop.sell(), confirm=False)
    other = shop.device()
    with shop.site.nothing_changes(but=METERED):
        path = f"/transfers/{transfer['transfer_id']}:confirm"
        refused(door("POST", path, {"receipt": other.receipt()}), 409, "context_wrong_container")
        refused(
            door("POST", "/transfers/trf_x:confirm", {"receipt": device.receipt()}), 404, "transfer_not_found"
        )


def test_tampered_update_is_refused_by_its_container(shop: Instance, device: Device) -> None:
    transfer = good(shop.gate("POST", "/transfers", collecting(shop.sell(), device.context())), 201)
    before = device.path.read_bytes()
    for line in range(1, len(transfer["update"].splitlines()) - 1):
        with pytest.raises(DomainError) as caught:
            device.apply(flip(transfer["update"], line))
        assert caught.value.code in ("file_malformed", "update_tampered", "update_for_other_container")
    with pytest.raises(DomainError) as caught:
        shop.device().apply(transfer["update"])
    assert caught.value.code == "update_for_other_container"
    assert device.path.read_bytes() == before
    device.apply(transfer["update"])


def test_tampered_context_is_refused(shop: Instance, door: Door, device: Device) -> None:
    ticket, context = shop.sell(), device.context()
    for line in range(1, len(context.splitlines()) - 1):
        with shop.site.nothing_changes(but=METERED):
            answer = door("POST", "/transfers", collecting(ticket, flip(context, line)))
        assert (answer.status_code, answer.json()["code"]) in (
            (422, "context_untrusted"),
            (422, "file_malformed"),
        )


@pytest.mark.parametrize(
    "text", ["x", "-----BEGIN WOPS CONTEXT-----\n\n-----END WOPS CONTEXT-----\n", "\x00", "ü"]
)
def test_text_that_is_no_context_is_refused(shop: Instance, door: Door, text: str) -> None:
    refuse(shop, door, collecting(shop.sell(), text), 422, "file_malformed")
    refused(door("POST", "/transfers/trf_x:confirm", {"receipt": text}), 422, "file_malformed")


def test_update_sent_in_place_of_a_context_is_refused(shop: Instance, door: Door, device: Device) -> None:
    transfer = collect(shop, device, shop.sell())
    refuse(shop, door, collecting(shop.sell(), transfer["update"]), 422, "file_malformed")


# A context that contradicts the books stops its container: that is the one thing a refusal changes.


def test_container_set_back_is_stopped_until_staff_decides(
    shop: Instance, door: Door, device: Device
) -> None:
    ticket = shop.sell()
    context_before = device.path.read_bytes()
    collect(shop, device, ticket)
    newer = device.path.with_suffix(".newer")
    shutil.copyfile(device.path, newer)
    device.path.write_bytes(context_before)
    shop.site.pass_time(1)
    other = shop.sell()
    with shop.site.nothing_changes(but=(*METERED, "container", "outbox_event", "outbox_sequence")):
        problem = refused(door("POST", "/transfers", collecting(other, device.context())), 409, "fuc_too_old")
    assert problem["context"]["reason"] == "fuc_too_old"
    refuse(shop, door, collecting(other, device.context()), 409, "fuc_too_old")
    path = f"/containers/{device.serial}"
    assert good(shop.admin("GET", path))["state"] == "unexpected_state"
    body = {"decision": "keep_recorded", "reason": "the copy was destroyed"}
    assert good(shop.admin("POST", f"{path}:restore", body))["state"] == "ok"
    shutil.copyfile(newer, device.path)
    shop.site.pass_time(1)
    good(door("POST", "/transfers", collecting(other, device.context())), 201)


def test_counter_that_was_never_issued_stops_the_container(shop: Instance, door: Door) -> None:
    forger = Forger(shop)
    ticket = shop.sell(2)
    first = shop.licenses(ticket)[0]["license_id"]
    good(shop.gate("POST", "/transfers", collecting(ticket, forger.context(), license_ids=[first])), 201)
    stopped = (*METERED, "container", "outbox_event", "outbox_sequence")
    with shop.site.nothing_changes(but=stopped):
        refused(door("POST", "/transfers", collecting(ticket, forger.context(fuc=2))), 409, "fuc_too_new")
    refuse(shop, door, collecting(ticket, forger.context(fuc=1)), 409, "fuc_too_new")


def test_context_signed_by_another_key_stops_the_container(shop: Instance, door: Door) -> None:
    honest = Forger(shop)
    ticket = shop.sell(2)
    first = shop.licenses(ticket)[0]["license_id"]
    good(shop.gate("POST", "/transfers", collecting(ticket, honest.context(), license_ids=[first])), 201)
    stopped = (*METERED, "container", "outbox_event", "outbox_sequence")
    with shop.site.nothing_changes(but=stopped):
        body = collecting(ticket, Forger(shop, serial=honest.serial).context())
        refused(door("POST", "/transfers", body), 409, "container_key_mismatch")


def test_stranger_without_a_ticket_can_neither_register_nor_stop_a_container(shop: Instance) -> None:
    forger = Forger(shop)
    with shop.site.nothing_changes():
        asked = {"action": "auto_update", "context": forger.context()}
        refused(shop.gate("POST", "/transfers", asked), 404, "container_not_found")
    good(shop.gate("POST", "/transfers", collecting(shop.sell(), forger.context())), 201)
    with shop.site.nothing_changes():
        asked = {"action": "auto_update", "context": forger.context(fuc=9)}
        refused(shop.gate("POST", "/transfers", asked), 409, "fuc_too_new")


def test_blocked_container_is_refused_until_it_is_restored(
    shop: Instance, door: Door, device: Device
) -> None:
    collect(shop, device, shop.sell())
    path, ticket = f"/containers/{device.serial}", shop.sell()
    key = {"Idempotency-Key": new_id("key")}
    assert good(shop.call("POST", f"{path}:block", {"reason": "stolen"}, headers=key))["state"] == "blocked"
    refuse(shop, door, collecting(ticket, device.context()), 409, "container_blocked")
    body = {"decision": "keep_recorded", "reason": "found again"}
    key = {"Idempotency-Key": new_id("key")}
    assert good(shop.call("POST", f"{path}:restore", body, headers=key))["state"] == "ok"
    good(door("POST", "/transfers", collecting(ticket, device.context())), 201)
    key = {"Idempotency-Key": new_id("key")}
    again = shop.call("POST", f"{path}:restore", body, headers=key)
    refused(again, 409, "container_not_in_question")


# What an item or a licence does not allow.


def test_item_that_is_not_returnable_cannot_be_given_back(shop: Instance, door: Door, device: Device) -> None:
    ticket = shop.sell(item={"returnable": False})
    collect(shop, device, ticket)
    licenses = [shop.licenses(ticket)[0]["license_id"]]
    body = {"action": "deactivate", "ticket": ticket, "license_ids": licenses, "context": device.context()}
    refuse(shop, door, body, 409, "item_not_returnable")


def test_licence_that_is_not_there_cannot_be_given_back(shop: Instance, door: Door, device: Device) -> None:
    ticket = shop.sell(2)
    free = [each["license_id"] for each in shop.licenses(ticket)]
    collect(shop, device, ticket, license_ids=free[:1])
    body = {"action": "deactivate", "ticket": ticket, "license_ids": free[1:], "context": device.context()}
    refuse(shop, door, body, 409, "license_not_on_container")


def test_licence_cannot_be_collected_twice(shop: Instance, door: Door, device: Device) -> None:
    ticket = shop.sell()
    collect(shop, device, ticket)
    for other in (shop.device(), device):
        refuse(shop, door, collecting(ticket, other.context()), 409, "license_not_available")


def test_update_not_applied_yet_cannot_be_given_back(shop: Instance, door: Door, device: Device) -> None:
    ticket = shop.sell()
    good(shop.gate("POST", "/transfers", collecting(ticket, device.context())), 201)
    licenses = [shop.licenses(ticket)[0]["license_id"]]
    body = {"action": "deactivate", "ticket": ticket, "license_ids": licenses, "context": device.context()}
    refuse(shop, door, body, 409, "license_not_confirmed")


def test_expired_licence_is_refused(shop: Instance, door: Door, device: Device) -> None:
    expires = (shop.site.clock.now() + timedelta(hours=1)).isoformat()
    options = {"product_code": 7, "expiration_time": expires}
    ticket = shop.sell(item={"options": options})
    shop.site.pass_time(3600)
    refuse(shop, door, collecting(ticket, device.context()), 409, "license_expired")


def test_container_of_the_wrong_kind_is_refused(shop: Instance, door: Door, device: Device) -> None:
    ticket = shop.sell(item={"container_types": ["cm_dongle"]})
    refuse(shop, door, collecting(ticket, device.context()), 409, "container_type_not_allowed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "activate"}, "ticket"),
        ({"action": "deactivate"}, "license_ids"),
        (
            {"action": "deactivate", "license_ids": ["lic_1"], "deactivate_license_ids": ["lic_2"]},
            "deactivate_license_ids",
        ),
        ({"action": "auto_update", "deactivate_license_ids": ["lic_2"]}, "deactivate_license_ids"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(
    shop: Instance, door: Door, device: Device, body: dict[str, Any], field: str
) -> None:
    problem = refuse(shop, door, {**body, "context": device.context()}, 422, "input_invalid")
    assert problem["context"]["field"] == field


def test_licence_named_twice_or_too_many_are_refused(shop: Instance, door: Door, device: Device) -> None:
    ticket = shop.sell(2)
    one = shop.licenses(ticket)[0]["license_id"]
    body = collecting(ticket, device.context(), license_ids=[one, one])
    refuse(shop, door, body, 422, "input_invalid")
    body = collecting(ticket, device.context(), license_ids=[f"lic_{n}" for n in range(101)])
    refuse(shop, door, body, 422, "request_invalid")
