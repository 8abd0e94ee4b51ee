"""If-Match, idempotency keys and cursors: what a request says it is based on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.core.ids import new_id
from tests.api.audit_scene import Stage
from tests.api.openapi_snapshot import describe
from tests.api.routes import (
    Material,
    Operation,
    admin_operations,
    instance_operations,
    make_material,
    portal_operations,
)
from tests.api.site import ITEM, METERED, USED, Instance, Site, good, refused

Change = tuple[str, str, dict[str, Any]]
"""Method, path and keyword arguments of a call."""
DECLARED: dict[str, Callable[[Site], list[Operation]]] = {
    "instance": instance_operations,
    "admin": admin_operations,
    "portal": portal_operations,
}


@pytest.fixture(scope="module")
def material(site: Site) -> Material:
    return make_material(site.add_instance("dedicated", "preconditions"))


@pytest.fixture(scope="module")
def shop(material: Material) -> Instance:
    return material.instance


def test_change_without_or_with_a_stale_version_is_refused(material: Material, shop: Instance) -> None:
    path = f"/items/{material.sku}"
    etag = shop.call("GET", path).headers["etag"]
    changed = shop.call("PUT", path, {**ITEM, "name": "Second"}, headers={"If-Match": etag})
    good(changed)
    old, now = (int(each.strip('"')) for each in (etag, changed.headers["etag"]))
    assert now == old + 1
    expected = [
        (None, 428, "if_match_missing"),
        ("*", 428, "if_match_any"),
        (f'"{old}"', 412, "item_version_conflict"),
        ('"99"', 412, "item_version_conflict"),
        (f'W/"{now}"', 412, "if_match_stale"),
        (f"{now}", 412, "if_match_stale"),
        (f'"{now}", "{now + 1}"', 412, "if_match_stale"),
        (f'W/"{now}", W/"{now + 1}"', 412, "if_match_stale"),
        (f'W/"{now}", "{now + 1}"', 412, "item_version_conflict"),
        ('"99999999999"', 412, "if_match_stale"),
    ]
    with shop.site.nothing_changes(but=METERED):
        for given, status, code in expected:
            headers = {} if given is None else {"If-Match": given}
            refused(shop.call("PUT", path, {**ITEM, "name": "Third"}, headers=headers), status, code)
        unknown = shop.call("PUT", "/items/NO-SUCH", dict(ITEM), headers={"If-Match": '"1"'})
        refused(unknown, 404, "item_not_found")


@pytest.fixture(scope="module")
def changes(material: Material) -> dict[str, Change]:
    """Every operation that declares If-Match in any description, and a call of it that lacks nothing else."""
    shop = material.instance
    stage = Stage(site=shop.site, instance=shop)
    ids = {
        "approval_id": stage.approval()["approval_id"],
        "server_id": good(stage.staff("POST", "/servers", {**stage.server(), "country": "FR"}), 201)[
            "server_id"
        ],
        "access_id": stage.support_access(),
    }
    bearer = {"Authorization": f"Bearer {shop.site.token}"}
    found: dict[str, Change] = {}
    for api, declared in DECLARED.items():
        described = describe(shop.site, api)
        for operation in declared(shop.site):
            if not demands_version(described, operation):
                continue
            path = operation.path
            for name, value in ids.items():
                path = path.replace(f"{{{name}}}", value)
            method, path, more = material.request(replace(operation, path=path))
            more["headers"].pop("If-Match", None)
            if api == "admin":
                more["headers"] |= bearer
            else:
                more["auth"] = shop.auth
            found[operation.name] = (method, path, more)
    return found


def demands_version(description: dict[str, Any], operation: Operation) -> bool:
    """Whether the description of an API names If-Match among the parameters of an operation."""
    methods = description["paths"][operation.path.replace(":path}", "}")]
    parameters = methods[operation.method.lower()].get("parameters", [])
    return any(each["name"].lower() == "if-match" for each in parameters)


def test_every_change_of_what_has_a_version_needs_the_one_in_force(
    shop: Instance, changes: dict[str, Change]
) -> None:
    assert set(changes) >= {"replaceItem", "changeClient", "changeOwnClient", "approveApproval"}
    assert len(changes) >= 15
    for name, (method, path, more) in changes.items():
        with shop.site.nothing_changes(but=METERED):
            bare = shop.site.call(method, path, **more)
            assert (bare.status_code, bare.json()["code"]) == (428, "if_match_missing"), name
            headers = {**more["headers"], "Idempotency-Key": new_id("key"), "If-Match": '"987654"'}
            stale = shop.site.call(method, path, **{**more, "headers": headers})
            assert stale.status_code == 412, (name, stale.text)
            assert stale.json()["code"].endswith("_version_conflict"), (name, stale.text)
            weak = {**headers, "Idempotency-Key": new_id("key"), "If-Match": 'W/"1"'}
            answer = shop.site.call(method, path, **{**more, "headers": weak})
            assert (answer.status_code, answer.json()["code"]) == (412, "if_match_stale"), name


def test_list_of_etags_matches_by_the_one_strong_etag_in_it(material: Material, shop: Instance) -> None:
    path = f"/items/{material.sku}"
    etag = shop.call("GET", path).headers["etag"]
    changed = shop.call("PUT", path, dict(ITEM), headers={"If-Match": f'W/"1", "somebody else\'s", {etag}'})
    good(changed)
    assert changed.headers["etag"] != etag


def test_access_policy_without_or_with_a_stale_version_is_refused(shop: Instance) -> None:
    body = {"methods": ["basic"]}
    with shop.site.nothing_changes():
        refused(shop.admin("PUT", "/access", body), 428, "if_match_missing")
        refused(
            shop.admin("PUT", "/access", body, headers={"If-Match": '"99"'}), 412, "policy_version_conflict"
        )
        refused(shop.admin("PUT", "/access", body, headers={"If-Match": "x"}), 412, "if_match_stale")


def test_idempotency_key_is_demanded_where_there_is_no_natural_key(material: Material) -> None:
    path = f"/containers/{material.device.serial}"
    with material.instance.site.nothing_changes(but=USED):
        refused(
            material.instance.call("POST", f"{path}:block", {"reason": "x"}), 400, "idempotency_key_missing"
        )
        body = {"decision": "keep_recorded", "reason": "x"}
        refused(material.instance.call("POST", f"{path}:restore", body), 400, "idempotency_key_missing")


@pytest.mark.parametrize("key", ["", '""', "with blank", "x" * 129, "ümlaut", '"', "a\tb"])
def test_idempotency_key_that_is_none_is_refused(material: Material, key: str) -> None:
    shop = material.instance
    headers = {"Idempotency-Key": key.encode()}
    with shop.site.nothing_changes(but=USED):
        for ask, path, body in (
            (shop.call, "/items", {"sku": "K-1", **ITEM}),
            (shop.call, f"/containers/{material.device.serial}:block", {"reason": "x"}),
            (shop.gate, "/transfers", material.bodies["startTransfer"]),
            (shop.admin, "/items", {"sku": "K-1", **ITEM}),
        ):
            refused(ask("POST", path, body, headers=headers), 400, "idempotency_key_invalid")


def doors(shop: Instance) -> dict[str, Callable[..., Any]]:
    return {"api": shop.call, "admin": shop.admin}


@pytest.mark.parametrize("door", ["api", "admin"])
def test_idempotency_key_used_again(shop: Instance, door: str) -> None:
    ask, key = doors(shop)[door], {"Idempotency-Key": f'"{new_id("key")}"'}
    first = {"sku": new_id("sku")[-20:], **ITEM}
    made = good(ask("POST", "/items", first, headers=key), 201)
    with shop.site.nothing_changes(but=USED):
        again = ask("POST", "/items", first, headers=key)
        assert good(again) == made
        assert again.headers["idempotency-replayed"] == "true"
        for other in ({**first, "name": "Other"}, {**first, "sku": "OTHER"}):
            refused(ask("POST", "/items", other, headers=key), 422, "idempotency_key_reused")
        bare = {"Idempotency-Key": key["Idempotency-Key"].strip('"')}
        assert ask("POST", "/items", first, headers=bare).headers["idempotency-replayed"] == "true"


def test_idempotency_key_belongs_to_its_principal_and_route(shop: Instance) -> None:
    key = {"Idempotency-Key": new_id("key")}
    sku, other = new_id("sku")[-20:], shop.add_client("second", ["orders"])
    good(shop.call("POST", "/items", {"sku": sku, **ITEM}, headers=key), 201)
    good(shop.call("POST", "/items", {"sku": f"{sku}2", **ITEM}, headers=key, auth=other), 201)
    order = {"order_number": sku, "positions": [{"sku": sku, "quantity": 1}]}
    good(shop.call("POST", "/orders", order, headers=key), 201)


def test_refused_request_leaves_its_idempotency_key_free(shop: Instance) -> None:
    key = {"Idempotency-Key": new_id("key")}
    sku = new_id("sku")[-20:]
    order = {"order_number": sku, "positions": [{"sku": sku, "quantity": 1}]}
    refused(shop.call("POST", "/orders", order, headers=key), 404, "item_not_found")
    good(shop.call("POST", "/items", {"sku": sku, **ITEM}), 201)
    good(shop.call("POST", "/orders", order, headers=key), 201)


def test_cursor_of_another_list_is_refused(shop: Instance, instances: dict[str, Instance]) -> None:
    for _ in range(2):
        shop.sell()
        instances["high_performance"].sell()
    cursor = good(shop.call("GET", "/items?limit=1"))["page"]["next"]
    foreign = good(instances["high_performance"].call("GET", "/items?limit=1"))["page"]["next"]
    admin = good(shop.site.admin("GET", "/instances?limit=1"))["page"]["next"]
    with shop.site.nothing_changes(but=METERED):
        assert good(shop.call("GET", "/items", params={"cursor": cursor}))["data"]
        for path, given in (
            ("/orders", cursor),
            ("/licenses", cursor),
            ("/items", foreign),
            ("/items", admin),
            ("/items", cursor[:-1] + ("A" if cursor[-1] != "A" else "B")),
            ("/items", "nonsense"),
            ("/items", ""),
            ("/items", "ü" * 10),
            ("/items", "A"),
        ):
            refused(shop.call("GET", path, params={"cursor": given}), 422, "cursor_invalid")
        refused(shop.call("GET", "/items", params={"cursor": "A" * 513}), 422, "request_invalid")
        refused(shop.site.admin("GET", "/customers", params={"cursor": cursor}), 422, "cursor_invalid")


def test_cursor_belongs_to_its_filter(shop: Instance) -> None:
    ticket = shop.sell(2)
    cursor = good(shop.call("GET", "/licenses", params={"ticket": ticket, "limit": 1}))["page"]["next"]
    for filters in ({}, {"ticket": shop.sell()}, {"ticket": ticket, "state": "collected"}):
        answer = shop.call("GET", "/licenses", params={"cursor": cursor, **filters})
        refused(answer, 422, "cursor_invalid")
    rest = good(shop.call("GET", "/licenses", params={"ticket": ticket, "cursor": cursor, "limit": 5}))
    assert len(rest["data"]) == 1
