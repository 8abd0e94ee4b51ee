"""Requests that are wrong as such: a stable code, and nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.core.ids import new_id
from tests.api.routes import (
    OPTIONAL_BODIES,
    Material,
    Operation,
    admin_operations,
    instance_operations,
    make_material,
    portal_operations,
)
from tests.api.site import ITEM, METERED, USED, Instance, Site, good, refused

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def material(site: Site) -> Material:
    return make_material(site.add_instance("dedicated", "requests"))


@pytest.fixture(scope="module")
def shop(material: Material) -> Instance:
    return material.instance


@pytest.fixture(scope="module")
def writers(site: Site) -> list[Operation]:
    found = [*instance_operations(site), *admin_operations(site), *portal_operations(site)]
    return [each for each in found if not each.reads]


def send(material: Material, operation: Operation, **more: Any) -> Any:
    """Call an operation with every right, but with another body."""
    site = material.instance.site
    method, path, prepared = material.request(operation)
    headers = {**prepared["headers"], **more.pop("headers", {})}
    if operation.path.startswith("/admin"):
        headers["Authorization"] = f"Bearer {site.token}"
    elif operation.is_web_service or operation.path.startswith("/portal"):
        more["auth"] = material.instance.auth
    return site.call(method, path, headers=headers, **more)


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 65536 + 1):
        yield b" " * 65536


def test_body_too_large_gets_413_declared_or_not(material: Material, writers: list[Operation]) -> None:
    kind = {"Content-Type": "application/json"}
    with material.instance.site.nothing_changes(but=USED):
        for operation in writers:
            declared = send(material, operation, content=b" " * (MEGABYTE + 1), headers=kind)
            problem = refused(declared, 413, "body_too_large")
            assert problem["context"] == {"most": MEGABYTE}
            refused(send(material, operation, content=chunks(MEGABYTE), headers=kind), 413, "body_too_large")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"a": }',
        b"\xff\xfe",
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
        b'"\\ud800"',
    ],
)
def test_malformed_json_gets_422(material: Material, writers: list[Operation], body: bytes) -> None:
    kind = {"Content-Type": "application/json"}
    with material.instance.site.nothing_changes(but=USED):
        for operation in writers:
            if material.bodies[operation.name] is not None:
                answer = send(material, operation, content=body, headers=kind)
                assert answer.status_code == 422, f"{operation.name}: {answer.text}"
                assert answer.json()["code"] in ("json_malformed", "request_invalid"), answer.text


def test_missing_and_unknown_fields_get_422_naming_them(material: Material, writers: list[Operation]) -> None:
    with material.instance.site.nothing_changes(but=USED):
        for operation in writers:
            body = material.bodies[operation.name]
            if body is None:
                continue
            problem = refused(send(material, operation, json={**body, "surprise": 1}), 422, "request_invalid")
            assert [each["pointer"] for each in problem["errors"]] == ["/surprise"]
            if operation.name not in OPTIONAL_BODIES:
                problem = refused(send(material, operation, json={}), 422, "request_invalid")
                assert problem["errors"]
            refused(send(material, operation, json=[]), 422, "request_invalid")
            refused(
                send(material, operation, headers={"Content-Type": "application/json"}),
                422,
                "request_invalid",
            )


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "", "application/jsonx", "multipart/form-data; boundary=x"]
)
def test_wrong_media_type_gets_415(material: Material, writers: list[Operation], kind: str) -> None:
    with material.instance.site.nothing_changes(but=USED):
        for operation in writers:
            content = json.dumps(material.bodies[operation.name] or {}).encode()
            answer = send(material, operation, content=content, headers={"Content-Type": kind})
            refused(answer, 415, "media_type_unsupported")


def test_json_with_a_charset_is_json(shop: Instance) -> None:
    content = json.dumps({"sku": "CHARSET", **ITEM}).encode()
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    good(shop.call("POST", "/items", content=content, headers=headers), 201)


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_wrong_method_gets_405_with_those_that_are_right(
    material: Material, site: Site, writers: list[Operation], method: str
) -> None:
    taken = {each.path for each in writers if each.method == method}
    with site.nothing_changes(but=METERED):
        # With such a method, `x:rotate` is taken for the id of something that is not there.
        for operation in (each for each in writers if each.path.rpartition(":")[0] not in taken):
            if operation.path in taken:
                continue
            answer = site.call(method, material.path(operation))
            refused(answer, 405, "method_not_allowed")
            assert operation.method in answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/{name}",
        "/{name}/",
        "/{name}/api/v1",
        "/{name}/api/v1/nothing",
        "/{name}/api/v2/items",
        "/{name}/api/v1/items/",
        "/{name}//api/v1/items",
        "/{name}/gateways/v1/items",
        "/{name}/depot",
        "/admin",
        "/admin/v1/nothing",
        "/admin/v2/customers",
        "/openapi/nothing.json",
    ],
)
def test_unknown_path_gets_404(site: Site, shop: Instance, path: str) -> None:
    with site.nothing_changes(but=METERED):
        answer = site.call(
            "GET", path.format(name=shop.name), headers={"Authorization": f"Bearer {site.token}"}
        )
        refused(answer, 404, "route_not_found")


@pytest.mark.parametrize(
    "name",
    ["no-such-instance", "", "REQUESTS", "requests%20", "..", "%2e%2e", "a" * 3000, "ü", "admin'--", "%00"],
)
def test_unknown_instance_gets_404(site: Site, shop: Instance, name: str) -> None:
    with site.nothing_changes():
        for path in ("api/v1/items", "gateways/v1/template"):
            answer = site.call("GET", f"/{name}/{path}", auth=shop.auth)
            assert answer.status_code == 404, answer.text
            assert answer.json()["code"] in ("instance_not_found", "route_not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/items/NO-SUCH", 404, "item_not_found"),
        ("GET", "/orders/NO-SUCH", 404, "order_not_found"),
        ("GET", "/orders/a/b/c", 404, "order_not_found"),
        ("GET", "/licenses/lic_x", 404, "license_not_found"),
        ("GET", "/containers/130-1", 404, "container_not_found"),
        ("GET", "/transfers/trf_x", 404, "transfer_not_found"),
        ("GET", "/items?limit=0", 422, "request_invalid"),
        ("GET", "/items?limit=101", 422, "request_invalid"),
        ("GET", "/items?limit=x", 422, "request_invalid"),
        ("GET", "/licenses?state=stolen", 422, "request_invalid"),
        ("GET", "/events?after=-1", 422, "request_invalid"),
        ("GET", "/events?after=99999999999999999999", 422, "request_invalid"),
        ("GET", "/usage?period=2026-13", 422, "input_invalid"),
        ("GET", "/usage?period=now", 422, "input_invalid"),
        ("GET", "/usage?period=0000-01", 422, "input_invalid"),
        ("GET", "/usage?period=9999-12", 422, "input_invalid"),
        ("GET", f"/containers/{'1' * 33}", 422, "request_invalid"),
        ("GET", f"/licenses/{'1' * 65}", 422, "request_invalid"),
    ],
)
def test_read_of_what_is_not_there(shop: Instance, method: str, path: str, status: int, code: str) -> None:
    with shop.site.nothing_changes(but=METERED):
        refused(shop.call(method, path), status, code)


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        (0, "quantity_out_of_range"),
        (-1, "quantity_out_of_range"),
        (1001, "quantity_out_of_range"),
        (10**9, "quantity_out_of_range"),
        (10**30, "quantity_out_of_range"),
        (1.5, "request_invalid"),
        (1e400, "request_invalid"),
        ("1", "request_invalid"),
        (True, "request_invalid"),
        (None, "request_invalid"),
    ],
)
def test_absurd_quantity_is_refused(material: Material, quantity: object, code: str) -> None:
    order = {"order_number": "Q-1", "positions": [{"sku": material.sku, "quantity": quantity}]}
    shop = material.instance
    content = json.dumps(order).encode()
    for ask in (shop.call, shop.admin):
        with shop.site.nothing_changes(but=METERED):
            answer = ask("POST", "/orders", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, answer.text
            assert answer.json()["code"] in (code, "json_malformed" if quantity == 1e400 else code)


def test_order_number_with_other_content_is_refused(material: Material) -> None:
    shop = material.instance
    known = {"order_number": material.order_number}
    position = {"position": 10, "sku": material.sku, "quantity": 2}
    for changed in (
        {"positions": [{**position, "quantity": 3}]},
        {"positions": [position], "customer_reference": "somebody else"},
        {"positions": [{**position, "options": {"feature_map": 9}}]},
        {"positions": [{**position, "position": 20}, {**position, "quantity": 7}]},
    ):
        with shop.site.nothing_changes(but=METERED):
            refused(shop.call("POST", "/orders", {**known, **changed}), 409, "order_conflict")
    with shop.site.nothing_changes(but=(*USED, "sales_order")):  # A guarding row's version counts touches.
        again = shop.call("POST", "/orders", {**known, "positions": [position]})
        assert again.headers["idempotency-replayed"] == "true"
        assert good(again)["ticket"] == material.ticket


def test_item_with_other_content_is_refused(material: Material) -> None:
    shop = material.instance
    with shop.site.nothing_changes(but=METERED):
        body = {**ITEM, "sku": material.sku, "name": "Something else"}
        refused(shop.call("POST", "/items", body), 409, "item_conflict")


@pytest.mark.parametrize(
    "changed",
    [
        {"sku": ""},
        {"sku": "with blank"},
        {"sku": "a/b"},
        {"sku": "x" * 64},
        {"name": ""},
        {"name": "x" * 151},
        {"name": "line\nfeed"},
        {"returnable": "yes"},
        {"container_types": ["paper"]},
        {"options": {"product_code": 0}},
        {"options": {"product_code": 2**32}},
        {"options": {"product_code": 1, "feature_map": -1}},
        {"options": {"product_code": 1, "usage_period_seconds": 0}},
        {"options": {"product_code": 1, "text": "x" * 257}},
        {"options": {"product_code": 1, "expiration_time": "tomorrow"}},
        {"options": {"product_code": 1, "expiration_time": "2027-01-01T00:00:00"}},
        {
            "options": {
                "product_code": 1,
                "maintenance_start": "2027-01-02T00:00:00Z",
                "maintenance_end": "2027-01-01T00:00:00Z",
            }
        },
    ],
)
def test_item_out_of_range_is_refused(shop: Instance, changed: dict[str, Any]) -> None:
    with shop.site.nothing_changes(but=METERED):
        answer = shop.call("POST", "/items", {"sku": new_id("sku")[-20:], **ITEM, **changed})
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] in ("request_invalid", "input_invalid")


def test_order_of_an_unknown_item_is_refused(shop: Instance) -> None:
    with shop.site.nothing_changes(but=METERED):
        order = {"order_number": "U-1", "positions": [{"sku": "NO-SUCH", "quantity": 1}]}
        refused(shop.call("POST", "/orders", order), 404, "item_not_found")


# Versions.


# Idempotency keys.


# Cursors.


# HTTP itself.


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Idempotency-Key",
        "If-Match",
        "Request-Id",
        "traceparent",
        "Accept",
        "Cookie",
        "X-Any",
    ],
)
def test_huge_header_is_refused_without_a_failure(material: Material, name: str) -> None:
    shop = material.instance
    with shop.site.nothing_changes(but=METERED):
        for size in (8 * 1024, 60 * 1024):
            answer = shop.call(
                "GET",
                "/items",
                headers={name: "x" * size},
                auth=None if name == "Authorization" else shop.auth,
            )
            assert answer.status_code in (200, 401)


@pytest.mark.parametrize("size", [65 * 1024, 100 * 1024, 10 * MEGABYTE])
def test_header_beyond_all_measure_ends_the_connection(shop: Instance, size: int) -> None:
    answer = shop.call("GET", "/items", headers={"X-Any": "x" * size})
    assert answer.status_code in (400, 431)
    good(shop.call("GET", "/items"))


def test_unforeseen_error_is_told_as_such_and_nothing_of_it(
    shop: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = next(each for each in shop.site.platform.runtimes() if each.instance_id == shop.instance_id)

    def fail(**_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(runtime.items, "list_items", fail)
    used = shop.meter("web_service_calls")["used"]
    answer = shop.call("GET", "/items")
    problem = refused(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert problem["retryable"] is False
    assert shop.meter("web_service_calls")["used"] == used


def test_health_and_pages_need_nothing(site: Site) -> None:
    assert good(site.call("GET", "/livez")) == {"status": "ok"}
    assert good(site.call("GET", "/readyz")) == {"status": "ready"}
    page = site.call("GET", "/problems/quota-exceeded")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert site.call("GET", "/problems/nothing").status_code == 404
