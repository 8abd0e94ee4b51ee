"""Every route without the right to call it: refused for the right reason, and nothing has changed."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.api.routes import (
    NEEDS_SLOW_BOX,
    Material,
    Operation,
    admin_operations,
    instance_operations,
    make_material,
)
from tests.api.site import ELSEWHERE, HERE, METERED, USED, Instance, Site, good, refused

OPEN = frozenset(
    {
        "cancelHolderTransfer",
        "confirmHolderTransfer",
        "getContainerTemplate",
        "getHolderTicket",
        "getHolderTransfer",
        "startHolderTransfer",
    }
)


@pytest.fixture(scope="module")
def material(site: Site, instances: dict[str, Instance]) -> Material:
    return make_material(instances["dedicated"])


@pytest.fixture(scope="module")
def stranger(instances: dict[str, Instance]) -> Instance:
    return instances["high_performance"]


@pytest.fixture(scope="module")
def web_services(site: Site) -> list[Operation]:
    return [each for each in instance_operations(site) if each.is_web_service]


def test_nothing_but_the_gateways_is_open(site: Site) -> None:
    assert {each.name for each in instance_operations(site) if not each.is_web_service} == OPEN


def test_every_route_serves_those_who_may_call_it(site: Site) -> None:
    material = make_material(site.add_instance("dedicated", "allowed"))
    turns = {"blockContainer": 1, "restoreContainer": 2}
    found = [each for each in instance_operations(site) if each.name not in NEEDS_SLOW_BOX]
    for operation in sorted(found, key=lambda each: turns.get(each.name, 0)):
        auth = material.instance.auth if operation.is_web_service else None
        answer = material.send(operation, auth=auth)
        assert answer.status_code in (200, 201), f"{operation.name}: {answer.text}"
        assert answer.headers["x-content-type-options"] == "nosniff"
    material.instance.check_books()


def test_call_without_credentials_gets_401(
    site: Site, material: Material, web_services: list[Operation]
) -> None:
    with site.nothing_changes():
        for operation in web_services:
            answer = material.send(operation)
            refused(answer, 401, "credentials_missing")
            assert answer.headers["www-authenticate"] == 'Basic realm="wops", charset="UTF-8"'


def test_call_with_a_wrong_secret_gets_401(
    site: Site, material: Material, web_services: list[Operation]
) -> None:
    username, secret = material.instance.auth
    with site.nothing_changes():
        for operation in web_services:
            wrong = (username, secret[:-1] + "?")
            answer = material.send(operation, auth=wrong, source=site.new_address())
            refused(answer, 401, "credentials_invalid")
            assert "www-authenticate" in answer.headers


def test_disabled_client_and_old_secret_get_401(
    site: Site, material: Material, web_services: list[Operation]
) -> None:
    instance = material.instance
    gone, rotated = (instance.add_client(name, ["admin"]) for name in ("gone", "rotated"))
    good(instance.call("GET", "/items", auth=gone))
    ids = {each["name"]: each["client_id"] for each in good(instance.admin("GET", "/clients"))}
    good(instance.admin("POST", f"/clients/{ids['gone']}:disable"))
    at_once = {"overlap_hours": 0}
    new = good(instance.admin("POST", f"/clients/{ids['rotated']}:rotate", at_once))["secret"]
    site.pass_time(2)
    good(instance.call("GET", "/items", auth=(rotated[0], new)))
    with site.nothing_changes():
        for operation, auth in product(web_services, (gone, rotated)):
            answer = material.send(operation, auth=auth, source=site.new_address())
            refused(answer, 401, "credentials_invalid")


def test_call_as_another_customer_gets_404(
    site: Site, material: Material, stranger: Instance, web_services: list[Operation]
) -> None:
    with site.nothing_changes():
        for operation in web_services:
            answer = material.send(operation, auth=stranger.auth, source=site.new_address())
            refused(answer, 404, "instance_not_found")
            missing = site.call(
                operation.method,
                material.path(operation).replace(material.instance.name, "no-such-instance", 1),
                auth=stranger.auth,
            )
            told = {"detail", "title", "type", "hotline_text", "status", "code"}
            assert {name: missing.json()[name] for name in told} == {
                name: answer.json()[name] for name in told
            }


def test_things_of_another_customer_are_not_there(
    site: Site, material: Material, stranger: Instance, web_services: list[Operation]
) -> None:
    named = [each for each in instance_operations(site) if each.path.count("{") > 1]
    assert len(named) >= 10
    with site.nothing_changes(but=METERED):
        for operation in named:
            method, path, more = material.request(operation)
            path = path.replace(material.instance.name, stranger.name, 1)
            code = 409 if operation.name.startswith("confirm") else 404
            auth = stranger.auth if operation.is_web_service else None
            answer = site.call(method, path, auth=auth, **more)
            assert answer.status_code == code, f"{operation.name}: {answer.text}"


@pytest.mark.parametrize("kind", ["startTransfer", "startHolderTransfer"])
def test_ticket_and_container_of_another_customer_are_of_no_use(
    site: Site, material: Material, stranger: Instance, kind: str
) -> None:
    operation = next(each for each in instance_operations(site) if each.name == kind)
    path = material.path(operation).replace(material.instance.name, stranger.name, 1)
    device = stranger.device()
    theirs = {"action": "activate", "ticket": material.ticket, "context": material.device.context()}
    mixed = {"action": "activate", "ticket": material.ticket, "context": device.context()}
    with site.nothing_changes(but=METERED):
        refused(site.call("POST", path, json=theirs, auth=stranger.auth), 409, "context_wrong_firm_code")
        refused(site.call("POST", path, json=mixed, auth=stranger.auth), 404, "ticket_unknown")


def test_call_without_the_scope_gets_403(
    site: Site, material: Material, web_services: list[Operation]
) -> None:
    instance = material.instance
    reader = instance.add_client("reader", ["read"])
    writer = instance.add_client("writer", ["orders", "licenses"])
    with site.nothing_changes(but=USED):
        for operation in web_services:
            auth = writer if operation.scope == "read" else reader
            problem = refused(material.send(operation, auth=auth), 403, "scope_missing")
            assert problem["context"]["scope"] == operation.scope


def test_datacenter_edition_has_no_web_services(
    site: Site, instances: dict[str, Instance], web_services: list[Operation]
) -> None:
    material = make_material(instances["datacenter"])
    with site.nothing_changes(but=USED):
        for operation in web_services:
            problem = refused(
                material.send(operation, auth=material.instance.auth), 403, "edition_feature_unavailable"
            )
            assert problem["context"]["editions"] == ["dedicated", "high_performance", "high_availability"]
            assert problem["context"]["edition"] == "datacenter"


def test_call_from_a_wrong_network_gets_403(
    site: Site, instance: Instance, web_services: list[Operation]
) -> None:
    material = make_material(instance)
    instance.put_access(mode="all", methods=["network", "basic"], networks=[f"{ELSEWHERE}/32"])
    with site.nothing_changes():
        for operation in web_services:
            refused(material.send(operation, auth=instance.auth), 403, "network_not_allowed")
            headers = {"X-Forwarded-For": ELSEWHERE, "Forwarded": f"for={ELSEWHERE}", "X-Real-IP": ELSEWHERE}
            refused(material.send(operation, auth=instance.auth, headers=headers), 403, "network_not_allowed")
            refused(material.send(operation), 403, "network_not_allowed")
    good(instance.call("GET", "/items", source=ELSEWHERE))


POLICIES: dict[str, dict[str, Any]] = {
    "closed": {"methods": []},
    "basic": {"methods": ["basic"]},
    "network": {"methods": ["network"], "networks": [f"{HERE}/32"], "network_scopes": ["read"]},
    "all": {"mode": "all", "methods": ["network", "basic"], "networks": [f"{HERE}/32"]},
    "any": {"mode": "any", "methods": ["network", "basic"], "networks": [f"{HERE}/32"]},
}
# What a caller gets who is in the network, or not, and sends the right secret, none, or a wrong one.
EXPECTED = {
    "closed": ("access_closed", "access_closed", "credentials_invalid") * 2,
    "basic": ("erp", "credentials_missing", "credentials_invalid") * 2,
    "network": (
        *("network", "network", "credentials_invalid"),
        *("network_not_allowed", "network_not_allowed", "credentials_invalid"),
    ),
    "all": (
        *("erp", "credentials_missing", "credentials_invalid"),
        *("network_not_allowed", "network_not_allowed", "credentials_invalid"),
    ),
    "any": ("erp", "network", "credentials_invalid", "erp", "credentials_missing", "credentials_invalid"),
}


def test_policy_lets_in_who_keeps_all_or_any_of_it(instance: Instance) -> None:
    right, wrong = instance.auth, (instance.auth[0], "wrong")
    for name, policy in POLICIES.items():
        instance.put_access(**policy)
        found = [
            _outcome(instance, source, auth) for source in (HERE, ELSEWHERE) for auth in (right, None, wrong)
        ]
        assert tuple(found) == EXPECTED[name], name


def _outcome(instance: Instance, source: str, auth: tuple[str, str] | None) -> str:
    """The code of the refusal, or as whom the caller was let in: only `erp` may write."""
    answer = instance.call("GET", "/items", auth=auth, source=source)
    if answer.status_code != 200:
        return str(answer.json()["code"])
    body = {"sku": "S-1", "name": "Item", "options": {"product_code": 1}}
    written = instance.call("POST", "/items", body, auth=auth, source=source)
    if written.status_code == 403:
        refused(written, 403, "scope_missing")
        return "network"
    assert written.status_code in (200, 201)
    return "erp"


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic bm9jb2xvbg==",
        "Bearer abc",
        "Basic " + "QQ==" * 300,
        "Digest x",
        "",
        "Basic w7w6w7w=",
    ],
)
def test_credentials_that_cannot_be_read_are_none_or_wrong(
    site: Site, material: Material, header: str
) -> None:
    site.pass_time(61)
    with site.nothing_changes():
        answer = material.instance.call("GET", "/items", auth=None, headers={"Authorization": header})
    assert answer.status_code in (401, 404)
    assert answer.json()["code"] in ("credentials_missing", "instance_not_found")


# The admin API.


@pytest.fixture(scope="module")
def admin_routes(site: Site) -> list[Operation]:
    return admin_operations(site)


def test_admin_route_without_a_valid_token_gets_401(
    site: Site, material: Material, admin_routes: list[Operation]
) -> None:
    made = site.add_token("admin")
    revoked, expired = made["secret"], site.new_token("admin", days=1)
    good(site.admin("POST", f"/staff-tokens/{made['token']['token_id']}:revoke"))
    site.pass_time(24 * 3600 + 1)
    headers = [
        {},
        *(
            {"Authorization": f"Bearer {token}"}
            for token in ("x", "wops_staff_" + "A" * 43, revoked, expired, "x" * 600)
        ),
        {"Authorization": "Bearer"},
        {"Authorization": f"Token {site.token}"},
    ]
    with site.nothing_changes():
        for operation, given in product(admin_routes, headers):
            answer = material.send(operation, headers=given)
            refused(answer, 401, "staff_token_invalid")
            assert answer.headers["www-authenticate"] == 'Bearer realm="wops"'


def test_customers_credentials_open_no_admin_route(
    site: Site, material: Material, admin_routes: list[Operation]
) -> None:
    with site.nothing_changes():
        for operation in admin_routes:
            refused(material.send(operation, auth=material.instance.auth), 401, "staff_token_invalid")
            bearer = {"Authorization": f"Bearer {material.instance.auth[1]}"}
            refused(material.send(operation, headers=bearer), 401, "staff_token_invalid")


# Which member of staff may call which route: test_staff_role.py.


def test_every_admin_post_needs_an_idempotency_key(
    site: Site, material: Material, admin_routes: list[Operation]
) -> None:
    bearer = {"Authorization": f"Bearer {site.token}"}
    with site.nothing_changes():
        for operation in admin_routes:
            if operation.method == "POST":
                method, path, more = material.request(operation)
                answer = site.call(method, path, json=more["json"], headers=bearer)
                refused(answer, 400, "idempotency_key_missing")


def test_control_socket_is_for_those_who_may_open_it(site: Site) -> None:
    mode = site.settings.control_socket.stat().st_mode
    assert mode & 0o077 == 0
    assert site.settings.data_dir.stat().st_mode & 0o077 == 0
    assert good(site.operator("GET", "/admin/v1/editions"))
