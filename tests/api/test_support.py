"""Support is in an instance only while its customer lets it in, and the customer sees it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.core.ids import new_id
from tests.api.routes import Operation, admin_operations
from tests.api.site import Instance, Site, good, refused
from tests.api.test_staff import Colleague
from tests.api.test_staff_role import TABLE, send


@pytest.fixture
def sara(site: Site) -> Colleague:
    return Colleague(site, "support")


def ask(sara: Colleague, instance: Instance, **changed: Any) -> dict[str, Any]:
    body = {"instance_id": instance.instance_id, "reason": "ticket 4711", "hours": 24, **changed}
    return dict(good(sara.call("POST", "/support-accesses", body), 201))


def portal(
    instance: Instance, method: str, path: str = "", *, by: Instance | None = None, version: str | None = None
) -> httpx2.Response:
    """The customer in his portal; or another one there."""
    headers = {} if version is None else {"If-Match": version}
    return instance.portal(method, f"/support-access{path}", auth=(by or instance).auth, headers=headers)


def let_in(instance: Instance, access: dict[str, Any]) -> dict[str, Any]:
    return dict(good(portal(instance, "POST", f"/{access['access_id']}:approve", version='"1"')))


def look(sara: Colleague, instance: Instance) -> httpx2.Response:
    return sara.call("GET", f"/instances/{instance.instance_id}/usage")


def act(sara: Colleague, instance: Instance) -> httpx2.Response:
    body = {"sku": new_id("sku")[-20:], "name": "Drawing", "options": {"product_code": 1}}
    return sara.call("POST", f"/instances/{instance.instance_id}/items", body)


def test_customer_lets_support_in_sees_it_and_sends_it_away(
    site: Site, instance: Instance, sara: Colleague
) -> None:
    refused(look(sara, instance), 403, "support_access_missing")
    access = ask(sara, instance)
    (listed,) = good(portal(instance, "GET"))["data"]
    read = portal(instance, "GET", f"/{access['access_id']}")
    assert (listed, good(read), read.headers["ETag"]) == (access, access, '"1"')
    refused(look(sara, instance), 403, "support_access_missing")
    assert let_in(instance, access)["state"] == "approved"
    assert good(look(sara, instance))["period"]
    assert good(look(sara, instance))["period"]
    refused(act(sara, instance), 403, "support_access_read_only")
    site.pass_time(3600)
    assert good(look(sara, instance))["period"]
    uses = good(portal(instance, "GET", f"/{access['access_id']}/uses"))["data"]
    assert [each["action"] for each in uses] == ["getInstanceUsage"] * 2
    assert [event[1:] for event in instance.events() if event[1] == "support_access.used"] == [
        ("support_access.used", access["access_id"])
    ] * 2
    assert good(portal(instance, "POST", f"/{access['access_id']}:revoke"))["state"] == "revoked"
    with site.nothing_changes():
        refused(look(sara, instance), 403, "support_access_missing")
    instance.check_books()


def test_write_access_acts_on_the_customers_behalf(instance: Instance, sara: Colleague) -> None:
    let_in(instance, ask(sara, instance, scope="write"))
    good(act(sara, instance), 201)
    assert good(look(sara, instance))["period"]


def test_write_access_changes_nothing_about_who_gets_in(
    site: Site, instance: Instance, sara: Colleague
) -> None:
    """Or support would make itself a client, and answer its own next request with it."""
    client_id = good(instance.admin("GET", "/clients"))[0]["client_id"]
    let_in(instance, ask(sara, instance, scope="write", hours=3))
    at = f"/instances/{instance.instance_id}"
    one = f"{at}/clients/{client_id}"
    with site.nothing_changes():
        for method, path, body in (
            ("PUT", f"{at}/access", {"methods": ["network"], "networks": ["127.0.0.1/32"]}),
            ("POST", f"{at}/clients", {"name": "backdoor", "scopes": ["admin"]}),
            ("PATCH", one, {"scopes": ["admin"]}),
            ("DELETE", one, None),
            ("POST", f"{one}:rotate", None),
            ("POST", f"{one}:disable", None),
            ("POST", f"{one}:enable", None),
            ("POST", f"{one}/certificates", {"certificate": "x"}),
            ("DELETE", f"{one}/certificates/crt_0", None),
        ):
            refused(sara.call(method, path, body, If_Match='"1"'), 403, "staff_role_insufficient")


def test_access_ends_by_itself(site: Site, instance: Instance, sara: Colleague) -> None:
    access = let_in(instance, ask(sara, instance, hours=3))
    site.pass_time(3 * 3600 - 1)
    good(look(sara, instance))
    site.pass_time(1)
    refused(look(sara, instance), 403, "support_access_missing")
    refused(portal(instance, "POST", f"/{access['access_id']}:revoke"), 409, "support_access_expired")


def test_unanswered_and_refused_requests_let_nobody_in(
    site: Site, instance: Instance, sara: Colleague
) -> None:
    access = ask(sara, instance)
    body = {"instance_id": instance.instance_id, "reason": "x", "hours": 3}
    problem = refused(sara.call("POST", "/support-accesses", body), 409, "support_access_open")
    assert problem["context"]["access_id"] == access["access_id"]
    done = good(portal(instance, "POST", f"/{access['access_id']}:refuse", version='"1"'))
    assert done["state"] == "refused"
    refused(
        portal(instance, "POST", f"/{access['access_id']}:approve", version='"2"'),
        409,
        "support_access_closed",
    )
    refused(look(sara, instance), 403, "support_access_missing")
    late = ask(sara, instance)
    site.pass_time(7 * 24 * 3600)
    refused(
        portal(instance, "POST", f"/{late['access_id']}:approve", version='"1"'),
        409,
        "support_access_expired",
    )


def test_another_member_of_support_and_another_instance_stay_closed(
    site: Site, instance: Instance, instances: dict[str, Instance], sara: Colleague
) -> None:
    let_in(instance, ask(sara, instance))
    refused(look(Colleague(site, "support"), instance), 403, "support_access_missing")
    refused(look(sara, instances["dedicated"]), 403, "support_access_missing")


def test_open_access_opens_every_look_and_no_act(site: Site, instance: Instance, sara: Colleague) -> None:
    let_in(instance, ask(sara, instance))
    bearer = {"Authorization": f"Bearer {sara.token}"}
    routes: list[Operation] = admin_operations(site)
    for operation in routes:
        if TABLE[operation.name] in ("look", "act"):
            _, code = send(site, operation, bearer, instance_id=instance.instance_id)
            expected = "support_access_read_only" if TABLE[operation.name] == "act" else ""
            assert (code == "support_access_read_only") is bool(expected), (operation.name, code)
            assert code not in ("support_access_missing", "staff_role_insufficient"), operation.name


def test_the_wrong_customer_finds_no_access_and_decides_nothing(
    site: Site, instance: Instance, instances: dict[str, Instance], sara: Colleague
) -> None:
    other = instances["high_performance"]
    access = ask(sara, instance)
    paths = [
        ("GET", ""),
        ("GET", f"/{access['access_id']}"),
        ("GET", f"/{access['access_id']}/uses"),
        ("POST", f"/{access['access_id']}:approve"),
        ("POST", f"/{access['access_id']}:refuse"),
        ("POST", f"/{access['access_id']}:revoke"),
    ]
    for method, path in paths:
        # Whoever guesses is slowed down; this one takes his time.
        site.pass_time(3600)
        refused(portal(instance, method, path, by=other, version='"1"'), 404, "instance_not_found")
        if path:
            refused(portal(other, method, path, version='"1"'), 404, "support_access_not_found")
    assert good(portal(instance, "GET", f"/{access['access_id']}")) == access
    assert good(portal(other, "GET"))["data"] == []
    refused(look(sara, instance), 403, "support_access_missing")


def test_only_clients_with_scope_admin_decide_and_only_about_what_they_read(
    site: Site, instance: Instance, sara: Colleague
) -> None:
    access = ask(sara, instance)
    admin = instance.auth
    instance.auth = instance.add_client("reader", ["read", "orders", "licenses"])
    for verb in ("approve", "refuse", "revoke"):
        path = f"/{access['access_id']}:{verb}"
        refused(portal(instance, "POST", path, version='"1"'), 403, "scope_missing")
    instance.auth = admin
    approve = f"/{access['access_id']}:approve"
    refused(portal(instance, "POST", approve), 428, "if_match_missing")
    refused(portal(instance, "POST", approve, version='"2"'), 412, "support_access_version_conflict")
    assert good(portal(instance, "GET", f"/{access['access_id']}")) == access


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"hours": 2}, 422, "request_invalid"),
        ({"hours": 169}, 422, "request_invalid"),
        ({"hours": "24"}, 422, "request_invalid"),
        ({"reason": " "}, 422, "reason_missing"),
        ({"scope": "admin"}, 422, "request_invalid"),
        ({"instance_id": "ins_0"}, 404, "instance_not_found"),
    ],
)
def test_unfit_wish_is_refused(
    site: Site,
    instances: dict[str, Instance],
    sara: Colleague,
    changed: dict[str, Any],
    status: int,
    code: str,
) -> None:
    body = {"instance_id": instances["dedicated"].instance_id, "reason": "x", "hours": 24, **changed}
    with site.nothing_changes():
        refused(sara.call("POST", "/support-accesses", body), status, code)
