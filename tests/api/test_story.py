"""The story of a licence through HTTP, in each edition."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from app.core.ids import new_id
from editions import EDITIONS, month_of
from tests.api.conftest import MakeInstance
from tests.api.device import Device
from tests.api.forgery import Forger
from tests.api.site import EDITIONS as EDITION_NAMES
from tests.api.site import ITEM, USED, Instance, good, refused

UPDATE_TYPE = "application/vnd.wops.update+jose"


class Vendor:
    """Does everything by the doors that an edition has: web services, or staff and the gateways."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.calls = 0

    def ask(self, method: str, path: str, json: Any = None) -> httpx2.Response:
        """Call web services; Datacenter customers have staff do it."""
        if not self.instance.has_web_services:
            return self.instance.admin(method, path, json)
        self.calls += 1
        return self.instance.call(method, path, json)

    def transfer(self, method: str, path: str, json: Any = None, **more: Any) -> httpx2.Response:
        """Call about transfers; ticket holders use the gateways."""
        if not self.instance.has_web_services:
            return self.instance.gate(method, path, json, **more)
        self.calls += 1
        return self.instance.call(method, path, json, **more)

    def collect(self, device: Device, ticket: str) -> dict[str, Any]:
        body = {"action": "activate", "ticket": ticket, "context": device.context()}
        return dict(good(self.transfer("POST", "/transfers", body), 201))

    def give_back(self, device: Device, ticket: str, licenses: list[str]) -> dict[str, Any]:
        body = {
            "action": "deactivate",
            "ticket": ticket,
            "license_ids": licenses,
            "context": device.context(),
        }
        return dict(good(self.transfer("POST", "/transfers", body), 201))

    def confirm(self, transfer: dict[str, Any], device: Device) -> dict[str, Any]:
        path = f"/transfers/{transfer['transfer_id']}:confirm"
        return dict(good(self.transfer("POST", path, {"receipt": device.receipt()})))

    def states(self, ticket: str) -> list[str]:
        return [each["state"] for each in good(self.ask("GET", f"/tickets/{ticket}"))["licenses"]]


@pytest.mark.parametrize("edition", EDITION_NAMES)
def test_licences_are_collected_confirmed_returned_and_collected_again(
    edition: str, make_instance: MakeInstance
) -> None:
    instance = make_instance(edition)
    vendor = Vendor(instance)
    device = instance.device()
    item = {"sku": "CAD", "name": "Drawing", "options": {"product_code": 201, "feature_map": 5}}
    assert good(vendor.ask("POST", "/items", item), 201)["options"]["feature_map"] == 5
    order = {"order_number": "SO-1", "positions": [{"position": 10, "sku": "CAD", "quantity": 2}]}
    ticket = good(vendor.ask("POST", "/orders", order), 201)["ticket"]
    assert vendor.states(ticket) == ["not_collected"] * 2

    collected = vendor.collect(device, ticket)
    assert (collected["state"], collected["base_fuc"], collected["fuc"]) == ("issued", 0, 1)
    assert vendor.states(ticket) == ["collected"] * 2
    device.apply(collected["update"])
    licenses = [each["license_id"] for each in collected["licenses"]]
    assert device.items == set(licenses)
    assert vendor.confirm(collected, device)["state"] == "confirmed"
    assert vendor.states(ticket) == ["confirmed_collected"] * 2

    returned = vendor.give_back(device, ticket, licenses[:1])
    assert vendor.states(ticket) == ["returned", "confirmed_collected"]
    device.apply(returned["update"])
    assert device.items == set(licenses[1:])
    vendor.confirm(returned, device)
    assert vendor.states(ticket) == ["confirmed_returned", "confirmed_collected"]

    again = vendor.collect(device, ticket)
    device.apply(again["update"])
    vendor.confirm(again, device)
    assert device.items == set(licenses)
    assert device.fuc == 3
    container = good(vendor.ask("GET", f"/containers/{device.serial}"))
    assert (container["fuc_confirmed"], container["fuc_issued"], container["state"]) == (3, 3, "ok")

    _check_books(instance, vendor, licenses)


def _check_books(instance: Instance, vendor: Vendor, licenses: list[str]) -> None:
    rows = instance.ledger("activations")
    assert sorted((row["phase"], row["kind"]) for row in rows) == sorted(
        [(phase, "activation") for phase in ("counted", "reserved")] * 3
        + [(phase, "deactivation") for phase in ("counted", "reserved")]
    )
    assert {row["subject"] for row in rows} == set(licenses)
    activations = instance.meter("activations")
    lines = 2 if instance.edition == "high_availability" else 1
    assert (activations["used"], activations["open"]) == (4, 0)
    assert activations["limit"] == EDITIONS[instance.edition].activations * lines
    calls = instance.meter("web_service_calls")
    assert calls["used"] == vendor.calls == len(instance.ledger("web_service_calls"))
    assert calls["included"] is instance.has_web_services
    assert calls["limit"] == (250_000 * lines if instance.has_web_services else 0)
    types = [event[1] for event in instance.events()]
    assert [each for each in types if each.startswith(("transfer", "license"))] == [
        *("transfer.reserved", "transfer.issued", "license.collected", "license.collected"),
        *("transfer.confirmed", "license.collection_confirmed", "license.collection_confirmed"),
        *(
            "transfer.reserved",
            "transfer.issued",
            "license.returned",
            "transfer.confirmed",
            "license.return_confirmed",
        ),
        *(
            "transfer.reserved",
            "transfer.issued",
            "license.collected",
            "transfer.confirmed",
            "license.collection_confirmed",
        ),
    ]
    instance.check_books()


def test_events_are_read_page_by_page_without_gaps(instance: Instance) -> None:
    for _ in range(3):
        instance.sell()
    seen: list[int] = []
    more = True
    while more:
        query = {"after": seen[-1] if seen else 0, "limit": 2}
        page = good(instance.call("GET", "/events", params=query))
        seen += [each["sequence"] for each in page["data"]]
        more = page["has_more"]
    assert seen == list(range(1, page["last_sequence"] + 1))
    assert [event[0] for event in instance.events()] == seen


def test_every_counted_answer_shows_the_quota(instance: Instance) -> None:
    now = instance.site.clock.now()
    month = month_of(now)
    seconds, left = int(month.length().total_seconds()), month.seconds_to_end(now)
    for used in (1, 2):
        answer = instance.call("GET", "/items")
        policy = f'"burst";q=10000;w=1, "ws-month";q=250000;w={seconds}'
        assert answer.headers["ratelimit-policy"] == policy
        burst, _, quotas = answer.headers["ratelimit"].partition(", ")
        assert burst.startswith('"burst";r=')
        assert quotas == f'"ws-month";r={250_000 - used};t={left}'
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    instance.site.flush()  # A write's headers show what is written down; reads may wait half a second for that.
    answer = instance.call("POST", "/transfers", body)
    unit = ';wops-unit="activation"'
    assert answer.headers["ratelimit-policy"] == (
        f'"burst";q=10000;w=1, "act-month";q=3000;w={seconds}{unit}, "ws-month";q=250000;w={seconds}'
    )
    _, _, quotas = answer.headers["ratelimit"].partition(", ")
    assert quotas == f'"act-month";r=2999;t={left}, "ws-month";r=249995;t={left}'
    gate = instance.gate("POST", "/transfers", {**body, "context": device.context(), "action": "auto_update"})
    assert gate.headers["ratelimit"] == f'"act-month";r=2999;t={left}'
    assert "ratelimit" not in instance.gate("GET", f"/tickets/{ticket}").headers


def test_transfer_read_by_its_id_alone_does_not_show_the_ticket(instance: Instance) -> None:
    """Its id stands in events; whoever reads those must not be able to collect."""
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    started = good(instance.gate("POST", "/transfers", body), 201)
    assert started["ticket"] == ticket
    path = f"/transfers/{started['transfer_id']}"
    assert good(instance.gate("GET", path)) == {**started, "ticket": None}
    assert good(instance.call("GET", path)) == started
    device.apply(started["update"])
    confirmed = good(instance.gate("POST", f"{path}:confirm", {"receipt": device.receipt()}))
    assert confirmed["ticket"] is None
    instance.check_books()


def test_events_of_a_story_hold_no_ticket(instance: Instance) -> None:
    tickets = [instance.sell(2, number="SO-1")]
    order = {"order_number": "SO-1", "positions": [{"position": 99, "sku": "X", "quantity": 3}]}
    good(instance.call("POST", "/items", {"sku": "X", **ITEM}), 201)
    assert good(instance.call("POST", "/orders", order))["ticket"] == tickets[0]
    device = instance.device()
    body = {"action": "activate", "ticket": tickets[0], "context": device.context()}
    good(instance.call("POST", "/transfers", body), 201)
    events = good(instance.call("GET", "/events", params={"limit": 100}))["data"]
    told = {each["type"]: each["data"] for each in events}
    assert told["order.created"] == {"order_number": "SO-1", "positions": [1], "license_count": 2}
    assert told["order.extended"] == {"order_number": "SO-1", "positions": [99], "license_count": 3}
    audit = good(instance.site.admin("GET", "/audit", params={"instance_id": instance.instance_id}))["data"]
    assert {"order.created", "transfer.reserved"} <= {each["type"] for each in audit}
    assert tickets[0] not in repr(events) + repr(audit)
    instance.check_books()


def test_update_file_is_served_as_such_when_asked_for(instance: Instance) -> None:
    device, ticket = instance.device(), instance.sell()
    started = good(
        instance.call(
            "POST", "/transfers", {"action": "activate", "ticket": ticket, "context": device.context()}
        ),
        201,
    )
    path = f"/transfers/{started['transfer_id']}"
    for ask in (instance.call, instance.gate):
        answer = ask("GET", path, headers={"Accept": UPDATE_TYPE})
        assert answer.headers["content-type"].partition(";")[0] == UPDATE_TYPE
        assert answer.headers["content-disposition"] == (
            f'attachment; filename="{started["transfer_id"]}.wops-update"'
        )
        assert answer.headers["vary"] == "Accept"
        assert answer.text == started["update"]
        listed = ask("GET", path, headers={"Accept": f"{UPDATE_TYPE};q=1.0, application/json;q=0.5"})
        assert listed.text == started["update"]
        for accept in ("application/json", "*/*", f"{UPDATE_TYPE};q=0"):
            shown = ask("GET", path, headers={"Accept": accept})
            assert good(shown)["update"] == started["update"]
            assert shown.headers["vary"] == "Accept"
    device.apply(answer.text)


def test_same_request_gets_the_same_update_and_is_counted_once(instance: Instance) -> None:
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    first = instance.call("POST", "/transfers", body)
    with instance.site.nothing_changes(but=("container", "op")):
        for headers in ({}, {"Idempotency-Key": new_id("key")}):
            again = instance.call("POST", "/transfers", body, headers=headers)
            assert good(again) == good(first, 201)
            assert again.headers["idempotency-replayed"] == "true"
            assert again.headers["location"] == first.headers["location"]
        newer = instance.call("POST", "/transfers", {**body, "context": device.context()})
        assert good(newer)["update"] == first.json()["update"]
        gate = instance.gate("POST", "/transfers", body)
        assert good(gate) == first.json()
    assert instance.meter("activations")["used"] == 1


def test_strangers_with_the_same_idempotency_key_do_not_meet(instance: Instance) -> None:
    key = {"Idempotency-Key": "1"}
    one, other = instance.device(), instance.device()
    transfers = []
    for device in (one, other):
        body = {"action": "activate", "ticket": instance.sell(), "context": device.context()}
        transfers.append(good(instance.gate("POST", "/transfers", body, headers=key), 201))
        again = instance.gate("POST", "/transfers", body, headers=key)
        assert (good(again), again.headers["idempotency-replayed"]) == (transfers[-1], "true")
        device.apply(transfers[-1]["update"])
    for device, transfer in zip((one, other), transfers, strict=True):
        path = f"/transfers/{transfer['transfer_id']}:confirm"
        good(instance.gate("POST", path, {"receipt": device.receipt()}, headers=key))


def test_context_from_the_future_is_refused_before_it_registers_anything(instance: Instance) -> None:
    forger, ticket = Forger(instance), instance.sell()
    body = {"action": "activate", "ticket": ticket}
    with instance.site.nothing_changes(but=("call_lease", "meter_counter", *USED)):
        ahead = forger.context(age=timedelta(days=-2))
        for ask in (instance.call, instance.gate):
            refused(ask("POST", "/transfers", {**body, "context": ahead}), 422, "context_from_future")
    good(instance.call("POST", "/transfers", {**body, "context": forger.context()}), 201)


def test_auto_update_with_nothing_to_do_answers_204(instance: Instance) -> None:
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    device.apply(good(instance.call("POST", "/transfers", body), 201)["update"])
    answer = instance.call("POST", "/transfers", {"action": "auto_update", "context": device.context()})
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers
    assert "content-type" not in answer.headers
    assert answer.headers["request-id"]


def test_request_id_and_trace_of_the_caller_come_back(instance: Instance) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    answer = instance.call("GET", "/items", headers={"Request-Id": "erp-4711-x", "traceparent": trace})
    assert (answer.headers["request-id"], answer.headers["traceparent"]) == ("erp-4711-x", trace)
    for bad in ("short", "with blank inside", "x" * 65, "ümlaut-umlaut"):
        answer = instance.call("GET", "/items", headers={"Request-Id": bad.encode(), "traceparent": "00-zz"})
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["request-id"])
        assert "traceparent" not in answer.headers
    instance.site.flush()
    assert {row["kind"] for row in instance.ledger("web_service_calls")} == {"web_service_call"}
    assert instance.ledger("web_service_calls")[0]["reference"] == "erp-4711-x"


def test_lists_go_on_where_the_page_before_ended(instance: Instance) -> None:
    for _ in range(5):
        instance.sell()
    seen: list[str] = []
    path: str | None = "/items?limit=2"
    while path:
        answer = instance.call("GET", path)
        page = good(answer)
        seen += [each["sku"] for each in page["data"]]
        assert page["page"]["has_more"] is (page["page"]["next"] is not None)
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("link", ""))
        path = link[1].removeprefix(f"/{instance.name}/api/v1") if link else None
    assert len(seen) == len(set(seen)) == 5


def test_ticket_filter_takes_tickets_as_people_type_them(instance: Instance) -> None:
    ticket = instance.sell(2)
    instance.sell()
    typed = ticket.lower().replace("-", "")
    assert len(good(instance.call("GET", "/licenses", params={"ticket": typed}))["data"]) == 2
    refused(instance.call("GET", "/licenses", params={"ticket": "nonsense"}), 422, "ticket_malformed")


def test_contract_raised_in_the_middle_of_the_month_counts_at_once(make_instance: MakeInstance) -> None:
    instance = make_instance(overage="block")
    instance.contract(overage="block", limits={"activations": 10})
    assert instance.meter("activations")["limit"] == 10
    until = (instance.site.clock.now() + timedelta(days=3)).isoformat()
    instance.contract(overage="block", limits={"activations": 20}, effective_until=until)
    assert instance.meter("activations")["limit"] == 20
