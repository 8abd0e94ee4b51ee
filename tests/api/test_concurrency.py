"""Sixteen clients at once on the last unit of the quota, one container, one order number: over HTTP, on SQLite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx2

from app.core.ids import new_id
from tests.api.conftest import MakeInstance
from tests.api.site import ITEM, Instance, good, refused

CLIENTS = 16


def at_once(work: Callable[[int], httpx2.Response]) -> list[httpx2.Response]:
    """The answers to sixteen requests that leave together."""
    barrier = Barrier(CLIENTS)

    def start(number: int) -> httpx2.Response:
        barrier.wait(timeout=10)
        return work(number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(start, range(CLIENTS)))


def outcomes(answers: list[httpx2.Response]) -> Counter[str]:
    """How often which status came, or which code."""
    return Counter(
        str(each.status_code) if each.status_code < 400 else str(each.json()["code"]) for each in answers
    )


def collecting(instance: Instance, ticket: str) -> dict[str, Any]:
    return {"action": "activate", "ticket": ticket, "context": instance.device().context()}


def test_last_activation_of_the_month_goes_to_one(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.contract(limits={"activations": 5}, overage="block")
    good(instance.gate("POST", "/transfers", collecting(instance, instance.sell(4))), 201)
    bodies = [collecting(instance, instance.sell()) for _ in range(CLIENTS)]
    answers = at_once(lambda number: instance.call("POST", "/transfers", bodies[number]))
    assert outcomes(answers) == {"201": 1, "quota_exceeded": CLIENTS - 1}
    meter = instance.meter("activations")
    assert (meter["used"], meter["open"]) == (5, 0)
    instance.check_books()


def test_last_call_of_the_month_goes_to_one_reader_or_writer(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.contract(limits={"web_service_calls": 11}, overage="block")
    for _ in range(10):
        good(instance.call("GET", "/items"))
    instance.site.flush()

    def work(number: int) -> httpx2.Response:
        if number % 2:
            return instance.call("GET", "/items")
        return instance.call("POST", "/items", {"sku": f"S-{number}", **ITEM})

    answers = at_once(work)
    assert sorted(outcomes(answers).values()) == [1, CLIENTS - 1]
    assert outcomes(answers)["quota_exceeded"] == CLIENTS - 1
    assert instance.meter("web_service_calls")["used"] == len(instance.ledger("web_service_calls")) == 11
    instance.check_books()


def test_one_container_takes_one_transfer_after_the_other(instance: Instance) -> None:
    device = instance.device()
    tickets = [instance.sell() for _ in range(CLIENTS)]
    contexts = [device.context() for _ in range(CLIENTS)]

    def work(number: int) -> httpx2.Response:
        body = {"action": "activate", "ticket": tickets[number], "context": contexts[number]}
        return instance.call("POST", "/transfers", body)

    found = outcomes(at_once(work))
    assert found["201"] >= 1
    assert set(found) <= {"201", "transfer_open", "context_outdated"}
    counters = good(instance.admin("GET", f"/containers/{device.serial}"))
    assert counters["fuc_issued"] == found["201"]
    assert counters["open_transfer"] is None
    update = good(instance.gate("POST", "/transfers", {"action": "auto_update", "context": device.context()}))
    device.apply(update["update"])
    assert (device.fuc, len(device.items)) == (found["201"], found["201"])
    assert instance.meter("activations")["used"] == found["201"]
    instance.check_books()


def test_same_request_by_all_is_carried_out_once(instance: Instance) -> None:
    device = instance.device()
    body = {"action": "activate", "ticket": instance.sell(), "context": device.context()}
    key = {"Idempotency-Key": new_id("key")}
    before = instance.meter("web_service_calls")["used"]
    answers = at_once(
        lambda number: instance.call("POST", "/transfers", body, headers=key if number % 2 else {})
    )
    assert outcomes(answers) == {"201": 1, "200": CLIENTS - 1}
    assert len({each.text for each in answers}) == 1
    assert sum("idempotency-replayed" in each.headers for each in answers) == CLIENTS - 1
    assert instance.meter("activations")["used"] == 1
    assert instance.meter("web_service_calls")["used"] == before + 1
    device.apply(answers[0].json()["update"])
    instance.check_books()


def test_one_licence_goes_to_one_of_sixteen_containers(instance: Instance) -> None:
    ticket = instance.sell()
    bodies = [collecting(instance, ticket) for _ in range(CLIENTS)]
    answers = at_once(lambda number: instance.gate("POST", "/transfers", bodies[number]))
    found = outcomes(answers)
    assert found["201"] == 1
    assert set(found) <= {"201", "license_pending", "license_not_available"}
    assert instance.meter("activations")["used"] == 1
    instance.check_books()


def test_one_order_number_becomes_one_order(instance: Instance) -> None:
    good(instance.call("POST", "/items", {"sku": "S", **ITEM}), 201)
    before = instance.meter("web_service_calls")["used"]

    def work(number: int) -> httpx2.Response:
        position = {"sku": "S", "quantity": 1, "position": 10}
        return instance.call("POST", "/orders", {"order_number": "SO-1", "positions": [position]})

    answers = at_once(work)
    assert outcomes(answers) == {"201": 1, "200": CLIENTS - 1}
    assert len({each.json()["ticket"] for each in answers}) == 1
    assert len(instance.licenses(answers[0].json()["ticket"])) == 1
    assert instance.meter("web_service_calls")["used"] == before + 1
    instance.check_books()


def test_extensions_of_one_order_by_all_are_all_there(instance: Instance) -> None:
    good(instance.call("POST", "/items", {"sku": "S", **ITEM}), 201)

    def work(number: int) -> httpx2.Response:
        position = {"sku": "S", "quantity": 1, "position": number + 1}
        return instance.call("POST", "/orders", {"order_number": "SO-1", "positions": [position]})

    answers = at_once(work)
    assert outcomes(answers) == {"201": 1, "200": CLIENTS - 1}
    assert not any("idempotency-replayed" in each.headers for each in answers)
    licenses = instance.licenses(answers[0].json()["ticket"])
    assert sorted(each["position"] for each in licenses) == list(range(1, CLIENTS + 1))
    instance.check_books()


def test_one_version_of_an_item_is_changed_by_one(instance: Instance) -> None:
    good(instance.call("POST", "/items", {"sku": "S", **ITEM}), 201)

    def work(number: int) -> httpx2.Response:
        changed = {**ITEM, "name": f"Name {number}"}
        return instance.call("PUT", "/items/S", changed, headers={"If-Match": '"1"'})

    answers = at_once(work)
    assert outcomes(answers) == {"200": 1, "item_version_conflict": CLIENTS - 1}
    for each in answers:
        if each.status_code != 200:
            refused(each, 412, "item_version_conflict")
    assert good(instance.call("GET", "/items/S"))["version"] == 2
