"""Numbers and times at the ends of what can be written: taken or refused, never our own failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from app.core.ids import new_id
from tests.api.site import ITEM, Instance, Site, good, refused

NUMBERS = ("9" * 18, "9" * 20, "9" * 400, "-1", str(2**62 + 1), str(2**63), "1e400", "NaN")
NO_UTC = ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59")
TIMES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59Z")


@pytest.fixture(scope="module")
def there(site: Site) -> Instance:
    return site.add_instance("dedicated", f"extreme-{new_id('i')[-8:]}")


def parameters(site: Site, kind: str) -> Iterator[tuple[str, str, str]]:
    """API, path and name of every parameter of a kind that a GET has in its query."""
    for api in ("instance", "admin", "portal"):
        for path, methods in good(site.call("GET", f"/openapi/{api}.json"))["paths"].items():
            for each in methods.get("get", {}).get("parameters", []):
                schemas = [each["schema"], *each["schema"].get("anyOf", [])]
                if each["in"] == "query" and any(kind in (s.get("type"), s.get("format")) for s in schemas):
                    yield api, path, each["name"]


def ask(there: Instance, api: str, path: str, params: dict[str, str]) -> httpx2.Response:
    operation = good(there.site.admin("GET", "/operations"))["data"][0]["operation_id"]
    known = {"instance": there.name, "instance_id": there.instance_id, "operation_id": operation}
    path = path.format_map({**dict.fromkeys(("access_id", "order_number"), "x"), **known})
    if api == "admin":
        query = {"period": "2026-03", "meter": "activations"} if path.endswith("/ledger") else {}
        return there.site.admin("GET", path.removeprefix("/admin/v1"), params={**query, **params})
    return there.site.call("GET", path, params=params, auth=there.auth)


def test_numbers_of_any_size_are_no_failure_of_ours(site: Site, there: Instance) -> None:
    asked = set()
    for api, path, name in parameters(site, "integer"):
        for number in NUMBERS:
            answer = ask(there, api, path, {name: number})
            asked.add((api, name))
            assert answer.status_code < 500, (path, name, number, answer.text)
            if number.isdecimal() and int(number) > 2**62:
                refused(answer, 422, "request_invalid")
    assert {("admin", "after"), ("admin", "limit"), ("instance", "after"), ("portal", "limit")} <= asked


def test_times_without_utc_are_refused_and_the_ends_of_the_calendar_are_taken(
    site: Site, there: Instance
) -> None:
    asked = set()
    for api, path, name in parameters(site, "date-time"):
        asked.add((path.rpartition("/")[2], name))
        for moment in NO_UTC:
            refused(ask(there, api, path, {name: moment}), 422, "request_invalid")
        for moment in TIMES:
            answer = ask(there, api, path, {name: moment})
            assert answer.status_code == 200, (path, name, moment, answer.text)
    assert {("audit", "from"), ("export", "until"), ("instances", "retained_before")} <= asked


def test_last_number_of_a_stream_may_be_any(there: Instance) -> None:
    site = there.site
    operation = good(site.admin("GET", "/operations", params={"object_id": there.instance_id}))["data"][0]
    path = f"/operations/{operation['operation_id']}/events"
    for number in ("9" * 20, "9" * 18, "x", "-1", "٣"):
        answer = site.admin("GET", path, headers={"Last-Event-ID": number.encode()})
        assert answer.status_code == 200, answer.text
        assert answer.text.count("event: end") == 1
    refused(site.admin("GET", path, headers={"Last-Event-ID": "9" * 21}), 422, "request_invalid")


def sent(there: Instance, moment: str) -> Iterator[httpx2.Response]:
    """Everything that takes a time in its body."""
    client = {"name": f"c-{new_id('c')[-8:]}", "scopes": ["read"]}
    yield there.admin("POST", "/clients", {**client, "expires_at": moment})
    yield there.site.call(
        "POST",
        f"/portal/v1/{there.name}/clients",
        json={**client, "expires_at": moment},
        headers={"Idempotency-Key": new_id("key")},
        auth=there.auth,
    )
    client_id = good(there.admin("GET", "/clients"))[0]["client_id"]
    version = there.admin("GET", f"/clients/{client_id}").headers["ETag"]
    change = {"expires_at": moment}
    yield there.admin("PATCH", f"/clients/{client_id}", change, headers={"If-Match": version})
    for field in ("effective_from", "effective_until"):
        yield there.admin("POST", "/contracts", {"edition": "dedicated", field: moment})
    for field in ("activation_time", "expiration_time", "maintenance_start", "maintenance_end"):
        options: dict[str, Any] = {**ITEM["options"], field: moment}
        body = {**ITEM, "sku": new_id("sku")[-20:], "options": options}
        yield there.call("POST", "/items", body)
        yield there.admin("POST", "/items", body)


@pytest.mark.parametrize("moment", [*NO_UTC, *TIMES])
def test_times_in_bodies_are_no_failure_of_ours(there: Instance, moment: str) -> None:
    for answer in sent(there, moment):
        assert answer.status_code < 500, (answer.request.url, answer.text)
        if moment in NO_UTC:
            refused(answer, 422, "request_invalid")
    for path in ("", "/contracts", "/clients", "/usage", "/meter-audit"):
        good(there.admin("GET", path))
    assert there.call("GET", "/items").status_code == 200
    ticket = there.sell()
    assert there.licenses(ticket)
