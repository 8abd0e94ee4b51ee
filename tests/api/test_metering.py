"""Which calls count, and what happens when the month's are used up: exactly, over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from app.core.errors import OperationInProgress
from app.core.ids import new_id
from editions import month_of
from fsb_gateway import (
    BoxQueueFull,
    FsbRejected,
    FsbUnavailable,
    InstanceQueueReport,
    JobPending,
    PoolDrained,
    ProgrammingJob,
    ProgrammingResult,
)
from tests.api.conftest import MakeInstance
from tests.api.forgery import Forger
from tests.api.routes import NEEDS_SLOW_BOX, Material, instance_operations, make_material
from tests.api.site import ITEM, USED, Instance, Site, good, refused

CALLS = "web_service_calls"


def used(instance: Instance) -> int:
    """Counted calls, after a look whether counter and ledger agree."""
    count = int(instance.meter(CALLS)["used"])
    assert count == len(instance.ledger(CALLS))
    return count


@pytest.fixture(scope="module")
def material(site: Site) -> Material:
    return make_material(site.add_instance("dedicated", "metered"))


def test_every_web_service_counts_once_and_names_its_operation(site: Site) -> None:
    material = make_material(site.add_instance("dedicated", "counted"))
    instance = material.instance
    before = used(instance)
    web_services = [
        each for each in instance_operations(site) if each.is_web_service and each.name not in NEEDS_SLOW_BOX
    ]
    # A later context confirms, too: the receipt comes first, or it would be a repeat.
    turns = {"confirmTransfer": -1, "blockContainer": 1, "restoreContainer": 2}
    web_services.sort(key=lambda each: turns.get(each.name, 0))
    answers = {each.name: material.send(each, auth=instance.auth) for each in web_services}
    assert {
        name: each.status_code for name, each in answers.items() if each.status_code not in (200, 201)
    } == {}
    by_request = {row["reference"]: row for row in instance.ledger(CALLS)}
    for name, answer in answers.items():
        row = by_request[answer.headers["request-id"]]
        assert (row["subject"], row["principal"], row["kind"]) == (name, "counted.erp", "web_service_call")
    assert used(instance) == before + len(web_services)
    instance.check_books()


def test_gateways_and_staff_are_not_counted(site: Site) -> None:
    material = make_material(site.add_instance("dedicated", "uncounted"))
    before = used(material.instance)
    for operation in instance_operations(site):
        if not operation.is_web_service and operation.name not in NEEDS_SLOW_BOX:
            assert material.send(operation).status_code in (200, 201)
    material.instance.licenses(material.ticket)
    assert used(material.instance) == before


@pytest.mark.parametrize(
    ("status", "code", "method", "path", "more"),
    [
        (404, "item_not_found", "GET", "/items/NONE", {}),
        (404, "license_not_found", "GET", "/licenses/lic_x", {}),
        (
            404,
            "item_not_found",
            "POST",
            "/orders",
            {"json": {"order_number": "N", "positions": [{"sku": "NONE", "quantity": 1}]}},
        ),
        (409, "item_conflict", "POST", "/items", {"json": {"sku": "{sku}", **ITEM, "name": "Other"}}),
        (
            412,
            "item_version_conflict",
            "PUT",
            "/items/{sku}",
            {"json": dict(ITEM), "headers": {"If-Match": '"9"'}},
        ),
        (412, "if_match_stale", "PUT", "/items/{sku}", {"json": dict(ITEM), "headers": {"If-Match": "9"}}),
    ],
)
def test_refusal_that_was_worked_out_counts(
    material: Material, status: int, code: str, method: str, path: str, more: dict[str, Any]
) -> None:
    instance = material.instance
    before = used(instance)
    more = {name: _fill(value, material.sku) for name, value in more.items()}
    answer = instance.call(method, path.format(sku=material.sku), **more)
    refused(answer, status, code)
    assert used(instance) == before + 1
    row = next(row for row in instance.ledger(CALLS) if row["reference"] == answer.headers["request-id"])
    assert row["principal"] == "metered.erp"
    assert "ratelimit" in answer.headers


def _fill(value: Any, sku: str) -> Any:
    return {**value, "sku": sku} if isinstance(value, dict) and value.get("sku") == "{sku}" else value


@pytest.mark.parametrize(
    ("status", "method", "path", "more"),
    [
        (401, "GET", "/items", {"auth": None}),
        (401, "GET", "/items", {"auth": ("metered.erp", "wrong")}),
        (404, "GET", "/items", {"auth": ("somebody.else", "wrong")}),
        (400, "POST", "/containers/130-1:block", {"json": {"reason": "x"}}),
        (400, "POST", "/items", {"json": {"sku": "X", **ITEM}, "headers": {"Idempotency-Key": "a b"}}),
        (
            413,
            "POST",
            "/items",
            {"content": b" " * (1024 * 1024 + 1), "headers": {"Content-Type": "application/json"}},
        ),
        (415, "POST", "/items", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
        (422, "POST", "/items", {"json": {}}),
        (422, "POST", "/items", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        (422, "GET", "/items", {"params": {"cursor": "x"}}),
        (422, "GET", "/items", {"params": {"limit": "0"}}),
        (422, "GET", "/tickets/x", {}),
        (422, "POST", "/orders", {"json": {"order_number": "Z", "positions": [{"sku": "A", "quantity": 0}]}}),
        (428, "PUT", "/items/{sku}", {"json": dict(ITEM)}),
        (404, "GET", "/nothing", {}),
        (405, "DELETE", "/items", {}),
    ],
)
def test_refusal_of_a_request_as_such_does_not_count(
    material: Material, status: int, method: str, path: str, more: dict[str, Any]
) -> None:
    instance = material.instance
    before = used(instance)
    with instance.site.nothing_changes(but=(*USED, "call_lease", "meter_counter")):
        answer = instance.call(method, path.format(sku=material.sku), **more)
        assert answer.status_code == status, answer.text
    assert used(instance) == before
    instance.check_books()


def test_missing_scope_and_wrong_network_do_not_count(site: Site) -> None:
    instance = site.add_instance("dedicated", "unscoped")
    reader = instance.add_client("reader", ["read"])
    refused(instance.call("POST", "/items", {"sku": "X", **ITEM}, auth=reader), 403, "scope_missing")
    instance.put_access(methods=["network"], networks=["192.0.2.0/24"])
    refused(instance.call("GET", "/items", auth=None), 403, "network_not_allowed")
    assert used(instance) == 0


def test_repeat_does_not_count(material: Material) -> None:
    instance = material.instance
    sku, key = new_id("sku")[-20:], {"Idempotency-Key": new_id("key")}
    body = {"sku": sku, **ITEM}
    order = {"order_number": sku, "positions": [{"sku": sku, "quantity": 1}]}
    good(instance.call("POST", "/items", body, headers=key), 201)
    good(instance.call("POST", "/orders", order), 201)
    before = used(instance)
    for headers in (key, {}, {"Idempotency-Key": new_id("key")}):
        answer = instance.call("POST", "/items", body, headers=headers)
        assert (answer.status_code, answer.headers["idempotency-replayed"]) == (200, "true")
        answer = instance.call("POST", "/orders", order, headers=headers)
        assert (answer.status_code, answer.headers["idempotency-replayed"]) == (200, "true")
    assert used(instance) == before
    good(
        instance.call(
            "POST", "/orders", {**order, "positions": [*order["positions"], {"sku": sku, "quantity": 1}]}
        )
    )
    assert used(instance) == before + 1, "an extension is no repeat"


def test_auto_update_counts_each_time_it_is_asked_anew(make_instance: MakeInstance) -> None:
    instance = limited(make_instance, CALLS, 6)
    device, ticket = instance.device(), instance.sell()
    lost = good(
        instance.call(
            "POST", "/transfers", {"action": "activate", "ticket": ticket, "context": device.context()}
        ),
        201,
    )
    before = used(instance)
    asked = {"action": "auto_update", "context": device.context()}
    answers = [instance.call("POST", "/transfers", asked) for _ in range(2)]
    assert [good(each)["update"] for each in answers] == [lost["update"]] * 2
    assert ["idempotency-replayed" in each.headers for each in answers] == [False, True]
    assert used(instance) == before + 1
    device.apply(lost["update"])
    for number in range(2, 4):
        asked = {"action": "auto_update", "context": device.context()}
        answers = [instance.call("POST", "/transfers", asked) for _ in range(2)]
        assert [each.status_code for each in answers] == [204, 204]
        assert ["idempotency-replayed" in each.headers for each in answers] == [False, True]
        assert used(instance) == before + number
    repeated = instance.call("POST", "/transfers", asked)
    assert (repeated.status_code, repeated.headers["idempotency-replayed"]) == (204, "true")
    new = {"action": "auto_update", "context": device.context()}
    with instance.site.nothing_changes(but=("call_lease", *USED)):
        refused(instance.call("POST", "/transfers", new), 429, "quota_exceeded")
    assert used(instance) == before + 3 == 6
    instance.check_books()


def test_second_attempt_while_the_first_is_under_way_is_sent_away_uncounted(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    good(instance.gate("GET", "/template"))
    runtimes = instance.site.platform.runtimes()
    runtime = next(each for each in runtimes if each.instance_id == instance.instance_id)

    def busy(*_: object, **__: object) -> None:
        raise OperationInProgress("The first attempt of this operation has not ended yet; try again shortly.")

    monkeypatch.setattr(runtime.items, "_db", SimpleNamespace(run_command=busy))
    answer = instance.call("POST", "/items", {"sku": "S", **ITEM}, headers={"Idempotency-Key": new_id("key")})
    refused(answer, 409, "operation_in_progress")
    assert answer.headers["retry-after"] == "1"
    assert used(instance) == 0


class Trouble:
    """A gateway that answers with what a test wants."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        raise self.error

    async def find(self, job_id: str, *, wait: timedelta) -> ProgrammingResult | JobPending:
        raise self.error

    async def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
        raise self.error


def trouble(instance: Instance, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the gateway answer an instance's lines with an error, until the patch is undone."""
    for runtime in instance.site.platform.runtimes():
        if runtime.instance_id == instance.instance_id:
            monkeypatch.setattr(runtime.transfers._driver, "_programmer", Trouble(error))


@pytest.mark.parametrize(
    ("error", "status", "code", "pause"),
    [
        (BoxQueueFull("full", limit=256, expected_wait_seconds=12.2), 429, "box_queue_full", "13"),
        (FsbRejected("no such key"), 503, "transfer_rolled_back", "5"),
        (PoolDrained("being emptied"), 503, "transfer_rolled_back", "5"),
    ],
)
def test_transfer_that_no_box_does_counts_nothing(
    instance: Instance,
    monkeypatch: pytest.MonkeyPatch,
    error: FsbRejected,
    status: int,
    code: str,
    pause: str,
) -> None:
    device, ticket = instance.device(), instance.sell()
    before = used(instance)
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    trouble(instance, monkeypatch, error)
    key = {"Idempotency-Key": new_id("key")}
    answer = instance.call("POST", "/transfers", body, headers=key)
    problem = refused(answer, status, code)
    assert (problem["retryable"], answer.headers["retry-after"]) == (True, pause)
    if status == 503:
        assert problem["context"]["reason"] == error.code
    assert used(instance) == before
    activations = instance.meter("activations")
    assert (activations["used"], activations["open"]) == (0, 0)
    assert [each["state"] for each in instance.licenses(ticket)] == ["not_collected"]
    monkeypatch.undo()
    transfer = good(instance.call("POST", "/transfers", body, headers=key), 201)
    device.apply(transfer["update"])
    assert instance.meter("activations")["used"] == 1
    assert used(instance) == before + 1
    instance.check_books()


def test_transfer_whose_box_is_away_is_accepted_and_counted(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, ticket = instance.device(), instance.sell()
    before = used(instance)
    trouble(instance, monkeypatch, FsbUnavailable("gone"))
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    answer = instance.call("POST", "/transfers", body)
    reserved = good(answer, 202)
    assert reserved["state"] == "reserved"
    assert (reserved["queue"]["state"], reserved["queue"]["reason"]) == ("unknown", "fsb_unavailable")
    assert {reserved["queue"][each] for each in ("position", "expected_wait_seconds", "others_share")} == {
        None
    }
    assert used(instance) == before + 1
    assert instance.meter("activations")["open"] == 1
    monkeypatch.undo()
    again = instance.call("POST", "/transfers", body)
    assert good(again)["state"] == "issued"
    device.apply(again.json()["update"])
    assert used(instance) == before + 1
    instance.check_books()


# Used up.


def limited(make_instance: MakeInstance, meter: str, limit: int, overage: str = "block") -> Instance:
    instance = make_instance()
    instance.contract(limits={meter: limit}, overage=overage)
    return instance


def check_quota_problem(
    instance: Instance, answer: httpx2.Response, meter: str, *, limit: int, overage: str
) -> None:
    problem = refused(answer, 429, "quota_exceeded")
    now = instance.site.clock.now()
    month = month_of(now)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["act-month" if meter == "activations" else "ws-month"]
    assert answer.headers["retry-after"] == str(month.seconds_to_end(now)) == str(problem["retry_after_s"])
    context = problem["context"]
    assert (context["meter"], context["limit"], context["overage"]) == (meter, limit, overage)
    assert context["resets_at"].startswith("2026-03-31T22:00:00")
    lifted = context["lifted_by"]
    assert lifted["at"] == context["resets_at"]
    assert {"edition": "high_performance", "lines": 1} in lifted["editions"]
    assert ("overage" in lifted) is (overage == "block" and limit >= 5)


@pytest.mark.parametrize(("overage", "room"), [("block", 5), ("grace", 6)])
def test_used_up_calls_get_429_until_a_new_contract_lifts_it(
    make_instance: MakeInstance, overage: str, room: int
) -> None:
    instance = limited(make_instance, CALLS, 5, overage)
    for _ in range(room):
        good(instance.call("GET", "/items"))
    with instance.site.nothing_changes(but=("call_lease", *USED)):
        for method, path, body in (
            ("GET", "/items", None),
            ("POST", "/items", {"sku": "X", **ITEM}),
            ("GET", "/items/NONE", None),
            ("PUT", "/items/NONE", dict(ITEM)),
            ("POST", "/orders", {"order_number": "N", "positions": [{"sku": "NONE", "quantity": 1}]}),
        ):
            answer = instance.call(method, path, body, headers={"If-Match": '"1"'})
            check_quota_problem(instance, answer, CALLS, limit=5, overage=overage)
    assert used(instance) == room
    good(instance.gate("GET", "/template"))
    instance.contract(limits={CALLS: 8}, overage="block")
    good(instance.call("POST", "/items", {"sku": "X", **ITEM}), 201)
    instance.site.pass_time(0.25)  # A line that refuses reads looks again four times a second.
    good(instance.call("GET", "/items"))
    instance.check_books()


@pytest.mark.parametrize("door", ["api", "gateway"])
@pytest.mark.parametrize(("overage", "room"), [("block", 5), ("grace", 6)])
def test_used_up_activations_get_429_until_a_new_contract_lifts_it(
    make_instance: MakeInstance, overage: str, room: int, door: str
) -> None:
    instance = limited(make_instance, "activations", 5, overage)
    ask = instance.call if door == "api" else instance.gate
    device, ticket = instance.device(), instance.sell(10)
    free = [each["license_id"] for each in instance.licenses(ticket)]
    body = {"action": "activate", "ticket": ticket, "license_ids": free[:room]}
    transfer = good(ask("POST", "/transfers", {**body, "context": device.context()}), 201)
    device.apply(transfer["update"])
    with instance.site.nothing_changes(but=(*USED, "call_lease", "meter_counter")):
        wanted = {**body, "license_ids": free[room : room + 1], "context": device.context()}
        check_quota_problem(
            instance, ask("POST", "/transfers", wanted), "activations", limit=5, overage=overage
        )
    returned = {**body, "action": "deactivate", "license_ids": free[:1], "context": device.context()}
    assert good(ask("POST", "/transfers", returned), 201)["state"] == "issued", "returns are never refused"
    instance.contract(limits={"activations": 20})
    good(ask("POST", "/transfers", {**wanted, "context": Forger(instance).context()}), 201)
    assert instance.meter("activations")["used"] == room + 2
    instance.check_books()


def test_transfer_that_would_go_over_the_limit_takes_nothing(make_instance: MakeInstance) -> None:
    instance = limited(make_instance, "activations", 3)
    device, ticket = instance.device(), instance.sell(4)
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    with instance.site.nothing_changes(but=(*USED, "call_lease", "meter_counter")):
        problem = refused(instance.call("POST", "/transfers", body), 429, "quota_exceeded")
        assert (problem["context"]["requested"], problem["context"]["taken"]) == (4, 0)
    free = [each["license_id"] for each in instance.licenses(ticket)]
    good(
        instance.call("POST", "/transfers", {**body, "license_ids": free[:3], "context": device.context()}),
        201,
    )
    instance.check_books()


def test_receipt_is_taken_when_the_calls_are_used_up(make_instance: MakeInstance) -> None:
    instance = limited(make_instance, CALLS, 4)
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    transfer = good(instance.call("POST", "/transfers", body), 201)
    good(instance.call("GET", "/items"))
    refused(instance.call("GET", "/items"), 429, "quota_exceeded")
    device.apply(transfer["update"])
    path = f"/transfers/{transfer['transfer_id']}:confirm"
    assert good(instance.call("POST", path, {"receipt": device.receipt()}))["state"] == "confirmed"
    assert used(instance) == 4
    assert [each["state"] for each in instance.licenses(ticket)] == ["confirmed_collected"]
    instance.check_books()


def test_repeat_of_a_transfer_is_answered_when_the_calls_are_used_up(make_instance: MakeInstance) -> None:
    instance = limited(make_instance, CALLS, 3)
    device, ticket = instance.device(), instance.sell(2)
    one, other = (each["license_id"] for each in instance.licenses(ticket))
    body = {"action": "activate", "ticket": ticket, "license_ids": [one], "context": device.context()}
    transfer = good(instance.call("POST", "/transfers", body), 201)
    with instance.site.nothing_changes(but=(*USED, "container", "call_lease", "meter_counter")):
        again = instance.call("POST", "/transfers", body)
        assert good(again) == transfer
        assert again.headers["idempotency-replayed"] == "true"
        device.apply(transfer["update"])
        wanted = {**body, "license_ids": [other], "context": device.context()}
        refused(instance.call("POST", "/transfers", wanted), 429, "quota_exceeded")
    assert used(instance) == 3
    instance.check_books()


def test_notices_are_written_once_per_threshold(make_instance: MakeInstance) -> None:
    instance = limited(make_instance, CALLS, 10, "grace")
    for _ in range(12):
        good(instance.call("GET", "/items"))
    refused(instance.call("GET", "/items"), 429, "quota_exceeded")
    instance.site.flush()
    assert instance.meter(CALLS)["thresholds_reached"] == [50, 80, 100, 120]
    assert [event[1] for event in instance.events()].count("quota.threshold_reached") == 4


def test_customer_reads_the_same_usage_as_staff(instance: Instance) -> None:
    instance.sell()
    instance.site.flush()
    theirs = good(instance.call("GET", "/usage"))
    ours = good(instance.admin("GET", "/usage"))
    assert theirs["period"] == ours["period"] == "2026-03"
    assert theirs["resets_at"] == "2026-03-31T22:00:00Z"
    assert [each["used"] for each in theirs["meters"]] == [each["used"] for each in ours["meters"]] == [0, 2]


@pytest.mark.parametrize("limit", [3, 100])
def test_limit_is_reached_exactly_whichever_line_serves(make_instance: MakeInstance, limit: int) -> None:
    instance = make_instance("high_availability")
    instance.contract(limits={CALLS: limit}, overage="block")
    statuses = [instance.call("GET", "/items").status_code for _ in range(limit + 20)]
    assert statuses == [200] * limit + [429] * 20
    lines = [each for each in instance.site.platform.runtimes() if each.instance_id == instance.instance_id]
    assert len(lines) == 2
    assert used(instance) == limit
    instance.check_books()


def test_calls_of_sixteen_clients_are_all_counted(instance: Instance) -> None:
    def work(_: int) -> int:
        return instance.call("GET", "/items").status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(work, range(320))) == {200}
    assert used(instance) == 320
    instance.check_books()
