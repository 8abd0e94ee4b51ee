"""The portal: a customer looks after who may call his instance, and nobody else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from app.core.ids import new_id
from tests.api.routes import Material, Operation, make_material, portal_operations
from tests.api.site import ELSEWHERE, HERE, USED, Instance, Site, good, refused
from tests.service.pki import issue, make_authority
from tests.service.wait import wait_until


@pytest.fixture(scope="module")
def material(instances: dict[str, Instance]) -> Material:
    return make_material(instances["dedicated"])


@pytest.fixture(scope="module")
def portal(site: Site) -> list[Operation]:
    return portal_operations(site)


def client_of(instance: Instance, name: str) -> dict[str, Any]:
    found = good(instance.portal("GET", "/clients"))
    return dict(next(each for each in found if each["name"] == name))


# Who may call it.


def test_operation_names_are_unique_in_the_whole_description(site: Site) -> None:
    names = [
        operation["operationId"]
        for api in ("instance", "admin", "portal")
        for methods in good(site.call("GET", f"/openapi/{api}.json"))["paths"].values()
        for operation in methods.values()
    ]
    assert len(names) == len(set(names))


def test_portal_without_credentials_or_with_wrong_ones_is_closed(
    site: Site, material: Material, portal: list[Operation]
) -> None:
    username, secret = material.instance.auth
    with site.nothing_changes():
        for operation in portal:
            refused(material.send(operation), 401, "credentials_missing")
            wrong = (username, secret[:-1] + "?")
            answer = material.send(operation, auth=wrong, source=site.new_address())
            refused(answer, 401, "credentials_invalid")


def test_portal_as_another_customer_gets_404(
    site: Site, material: Material, instances: dict[str, Instance], portal: list[Operation]
) -> None:
    stranger = instances["high_performance"]
    with site.nothing_changes():
        for operation in portal:
            answer = material.send(operation, auth=stranger.auth, source=site.new_address())
            refused(answer, 404, "instance_not_found")


def test_portal_is_for_administrators_among_the_clients(
    site: Site, material: Material, portal: list[Operation]
) -> None:
    reader = material.instance.add_client("portal-reader", ["read", "orders", "licenses"])
    with site.nothing_changes(but=USED):
        for operation in portal:
            problem = refused(material.send(operation, auth=reader), 403, "scope_missing")
            assert problem["context"]["scope"] == "admin"


def test_network_alone_does_not_open_the_portal(instance: Instance, portal: list[Operation]) -> None:
    instance.put_access(
        mode="any", methods=["network", "basic"], networks=[f"{HERE}/32"], network_scopes=["admin"]
    )
    refused(instance.portal("GET", "/access", auth=None), 401, "credentials_missing")
    good(instance.portal("GET", "/access"))


def test_staff_token_opens_no_portal(site: Site, material: Material) -> None:
    headers = {"Authorization": f"Bearer {site.token}"}
    answer = material.instance.portal("GET", "/access", auth=None, headers=headers)
    refused(answer, 401, "credentials_missing")


def test_portal_serves_every_edition_and_counts_nothing(instances: dict[str, Instance]) -> None:
    for instance in instances.values():
        before = instance.ledger("web_service_calls") if instance.has_web_services else []
        assert good(instance.portal("GET", "/access"))["methods"] == ["basic"]
        assert [each["name"] for each in good(instance.portal("GET", "/clients"))].count("erp") == 1
        if instance.has_web_services:
            assert instance.ledger("web_service_calls") == before


def test_things_of_another_customer_are_not_there(material: Material, instances: dict[str, Instance]) -> None:
    stranger, client_id = instances["high_availability"], material.client_id
    for method, path, body in (
        ("GET", f"/clients/{client_id}", None),
        ("DELETE", f"/clients/{client_id}", None),
        ("POST", f"/clients/{client_id}:rotate", None),
        ("POST", f"/clients/{client_id}:disable", None),
        ("POST", f"/clients/{client_id}:enable", None),
        ("POST", f"/clients/{client_id}/certificates", {"certificate": issue().pem}),
        ("DELETE", f"/clients/{client_id}/certificates/{material.certificate_id}", None),
    ):
        refused(stranger.portal(method, path, body), 404, "client_not_found")
    patched = stranger.portal("PATCH", f"/clients/{client_id}", {"name": "mine"}, headers={"If-Match": '"1"'})
    refused(patched, 404, "client_not_found")


# What it does.


def test_customer_looks_after_his_clients(instance: Instance) -> None:
    made = good(instance.portal("POST", "/clients", {"name": "crm", "scopes": ["read"], "burst": 9}), 201)
    client, crm = made["client"], (made["client"]["username"], made["secret"])
    assert (client["burst"], client["rate_per_second"], len(client["secrets"])) == (9, 50, 1)
    assert made["secret"] not in str(client)
    instance.site.pass_time(2)
    good(instance.call("GET", "/items", auth=crm))
    path = f"/clients/{client['client_id']}"
    read = instance.portal("GET", path)
    change = {"name": "crm-2", "scopes": ["read", "orders"], "rate_per_second": 5}
    refused(instance.portal("PATCH", path, change), 428, "if_match_missing")
    changed = instance.portal("PATCH", path, change, headers={"If-Match": read.headers["ETag"]})
    assert good(changed)["name"] == "crm-2"
    stale = instance.portal("PATCH", path, change, headers={"If-Match": read.headers["ETag"]})
    refused(stale, 412, "client_version_conflict")
    assert good(instance.portal("POST", f"{path}:disable"))["disabled_at"]
    instance.site.pass_time(2)
    refused(instance.call("GET", "/items", auth=crm), 401, "credentials_invalid")
    assert good(instance.portal("POST", f"{path}:enable"))["disabled_at"] is None
    assert instance.portal("DELETE", path).status_code == 204
    refused(instance.portal("GET", path), 404, "client_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "crm", "scopes": ["read"], "rate_per_second": 51}, "rate_unfit"),
        ({"name": "crm", "scopes": ["read"], "rate_per_second": 0}, "request_invalid"),
        ({"name": "crm", "scopes": ["root"]}, "request_invalid"),
        ({"name": "crm", "scopes": ["read"], "expires_at": "2026-01-01T00:00:00Z"}, "client_expiry_past"),
        ({"name": "crm", "scopes": ["read"], "expires_at": "2026-12-01T00:00:00"}, "request_invalid"),
        ({"name": "erp", "scopes": ["read"]}, "name_taken"),
    ],
)
def test_client_that_cannot_be_had_is_refused(
    site: Site, instances: dict[str, Instance], body: dict[str, Any], code: str
) -> None:
    with site.nothing_changes(but=USED):
        answer = instances["dedicated"].portal("POST", "/clients", body)
    assert answer.json()["code"] == code


@pytest.mark.parametrize("body", [{}, {"force": True}, {"name": None}, {"scopes": []}, {"scopes": None}])
def test_change_that_says_nothing_is_refused(material: Material, body: dict[str, Any]) -> None:
    path = f"/clients/{material.client_id}"
    answer = material.instance.portal("PATCH", path, body, headers={"If-Match": '"1"'})
    refused(answer, 422, "request_invalid")


def test_customer_does_not_lock_himself_out_unless_he_insists(instance: Instance) -> None:
    erp = client_of(instance, "erp")["client_id"]
    etag = instance.portal("GET", "/access").headers["ETag"]
    with instance.site.nothing_changes(but=USED):
        for method, path, body in (
            ("POST", f"/clients/{erp}:disable", None),
            ("POST", f"/clients/{erp}:rotate", {"overlap_hours": 0}),
            ("DELETE", f"/clients/{erp}", None),
            ("PATCH", f"/clients/{erp}", {"scopes": ["read"]}),
            ("PATCH", f"/clients/{erp}", {"expires_at": soon(instance)}),
            ("PUT", "/access", {"methods": []}),
            ("PUT", "/access", {"methods": ["certificate"]}),
            ("PUT", "/access", {"methods": ["network", "basic"], "networks": [f"{ELSEWHERE}/32"]}),
        ):
            answer = instance.portal(
                method, path, body, headers={"If-Match": etag if method == "PUT" else '"1"'}
            )
            refused(answer, 409, "would_lock_out_caller")
        # Staff are not the caller; the last working client still counts.
        refused(instance.admin("POST", f"/clients/{erp}:disable"), 409, "would_lock_out_everybody")
    closed = instance.portal("PUT", "/access", {"methods": [], "force": True}, headers={"If-Match": etag})
    assert good(closed)["methods"] == []
    instance.site.pass_time(2)
    refused(instance.portal("GET", "/access"), 403, "access_closed")


def soon(instance: Instance) -> str:
    return (instance.site.clock.now() + timedelta(hours=1)).isoformat()


def test_wide_network_is_confirmed_and_policy_needs_its_version(instance: Instance) -> None:
    etag = {"If-Match": instance.portal("GET", "/access").headers["ETag"]}
    wide = {"mode": "any", "methods": ["network", "basic"], "networks": ["0.0.0.0/0"]}
    refused(instance.portal("PUT", "/access", wide), 428, "if_match_missing")
    refused(instance.portal("PUT", "/access", wide, headers=etag), 422, "network_too_wide")
    confirmed = instance.portal("PUT", "/access", {**wide, "confirm_wide_networks": True}, headers=etag)
    good(confirmed)
    refused(instance.portal("PUT", "/access", wide, headers=etag), 422, "network_too_wide")
    narrow = {"methods": ["basic"]}
    refused(instance.portal("PUT", "/access", narrow, headers=etag), 412, "policy_version_conflict")


def test_credential_is_rotated_under_load_without_one_failed_call(instance: Instance) -> None:
    erp, done = client_of(instance, "erp"), threading.Event()
    auths = [instance.auth]
    answers: list[int] = []

    def work() -> None:
        while not done.is_set():
            answers.append(instance.call("GET", "/items", auth=auths[-1]).status_code)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(answers)
            wait_until(lambda: len(answers) > before + 30, "calls with the old secret")  # noqa: B023
            rotated = good(instance.portal("POST", f"/clients/{erp['client_id']}:rotate", auth=auths[-1]))
            before = len(answers)
            wait_until(lambda: len(answers) > before + 30, "calls with the old secret beside the new one")  # noqa: B023
            auths.append((rotated["client"]["username"], rotated["secret"]))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {200}
    assert len(set(auths)) == 4
    instance.site.pass_time(24 * 3600 + 1)
    refused(instance.call("GET", "/items", auth=auths[-2]), 401, "credentials_invalid")
    good(instance.call("GET", "/items", auth=auths[-1]))


def test_repeat_of_a_rotation_shows_no_secret_and_rotates_nothing(instance: Instance) -> None:
    erp, key = client_of(instance, "erp"), {"Idempotency-Key": new_id("key")}
    path = f"/clients/{erp['client_id']}:rotate"
    first, again = (instance.portal("POST", path, headers=key) for _ in range(2))
    assert good(first)["secret"]
    assert good(again)["secret"] is None
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["client"]["secrets"] == first.json()["client"]["secrets"]


# The doctor.


def test_doctor_says_what_would_become_of_a_call(instance: Instance) -> None:
    instance.put_access(mode="all", methods=["network", "basic"], networks=[f"{HERE}/32"])

    def diagnose(**call: Any) -> dict[str, Any]:
        with instance.site.nothing_changes(but=USED):
            return dict(good(instance.portal("POST", "/access:diagnose", call)))

    fine = diagnose(address=HERE, username=instance.auth[0], scope="admin")
    assert (fine["let_in"], fine["code"], fine["principal"]) == (True, None, instance.auth[0])
    elsewhere = diagnose(address="198.51.100.7", username=instance.auth[0])
    assert (elsewhere["code"], elsewhere["decided_by"]) == ("network_not_allowed", "network")
    network = next(each for each in elsewhere["findings"] if each["rule"] == "network")
    assert network["compared_with"] == [f"{HERE}/32"]
    assert network["advice"]
    assert set(network["hotline_text"]) == {"de", "en"}
    wrong = diagnose(address=HERE, username=instance.auth[0], secret="wrong")
    assert wrong["code"] == "credentials_invalid"
    right = diagnose(address=HERE, username=instance.auth[0], secret=instance.auth[1])
    assert right["let_in"] is True
    shown = diagnose(address=HERE, username="other.erp", certificate=issue().pem)
    assert shown["code"] == "instance_not_found"
    body = {"address": HERE, "certificate": "x"}
    refused(instance.portal("POST", "/access:diagnose", body), 422, "certificate_malformed")
    assert (
        good(instance.admin("POST", "/access:diagnose", {"address": HERE}))["code"] == "credentials_missing"
    )


def test_doctor_says_what_a_line_does(instance: Instance) -> None:
    reader = instance.add_client("doctor-reader", ["read"])
    policies: list[dict[str, Any]] = [
        {"methods": []},
        {"methods": ["basic"]},
        {"mode": "any", "methods": ["basic", "network"], "networks": [f"{HERE}/32"]},
        {"mode": "all", "methods": ["basic", "network"], "networks": [f"{ELSEWHERE}/32"]},
        {"methods": ["certificate"]},
    ]
    for policy in policies:
        instance.put_access(**policy)
        for auth in (instance.auth, reader, None):
            called = instance.call("GET", "/items", auth=auth)
            user, secret = auth or (None, None)
            call = {"address": HERE, "username": user, "secret": secret, "scope": "read"}
            found = good(instance.admin("POST", "/access:diagnose", call))
            assert found["let_in"] == (called.status_code == 200)
            assert called.status_code == 200 or called.json()["code"] == found["code"]


# Slowing down, and rates.


def test_wrong_secrets_slow_one_client_in_one_network_down(instance: Instance) -> None:
    username, _ = instance.auth
    for _ in range(5):
        refused(instance.call("GET", "/items", auth=(username, "wrong")), 401, "credentials_invalid")
    problem = refused(instance.call("GET", "/items"), 429, "too_many_failures")
    assert problem["retry_after_s"] == 1
    good(instance.call("GET", "/items", source=ELSEWHERE))
    instance.site.pass_time(1.5)
    good(instance.call("GET", "/items"))
    instance.site.flush()
    rows = good(instance.portal("GET", "/access-failures"))
    found = {(row["client"], row["network"], row["code"]): row["failures"] for row in rows}
    assert found == {
        (username, f"{HERE}/32", "credentials_invalid"): 5,
        (username, f"{HERE}/32", "too_many_failures"): 1,
    }
    assert good(instance.admin("GET", "/access-failures")) == rows


def test_client_that_calls_too_fast_is_told_when_to_come_back_and_not_charged(instance: Instance) -> None:
    made = good(
        instance.admin(
            "POST", "/clients", {"name": "slow", "scopes": ["read"], "rate_per_second": 1, "burst": 3}
        ),
        201,
    )
    instance.site.pass_time(2)
    slow = (made["client"]["username"], made["secret"])
    used = instance.meter("web_service_calls")["used"]
    answers = [instance.call("GET", "/items", auth=slow) for _ in range(3)]
    assert {each.status_code for each in answers} == {200}
    assert answers[0].headers["ratelimit-policy"].startswith('"burst";q=3;w=3, "ws-month";')
    assert answers[2].headers["ratelimit"].startswith('"burst";r=0;t=3, "ws-month";')
    late = instance.call("GET", "/items", auth=slow)
    problem = refused(late, 429, "rate_limited")
    assert problem["violated-policies"] == ["burst"]
    assert late.headers["ratelimit"] == '"burst";r=0;t=3'
    good(instance.call("GET", "/items"))
    assert instance.meter("web_service_calls")["used"] == used + 4
    instance.site.pass_time(1)
    good(instance.call("GET", "/items", auth=slow))


# Certificates, and the trusted front.


class Front:
    """The load balancer, as the platform sees it: the other end of its socket, for as long as the context lasts."""

    def __init__(self, site: Site) -> None:
        transport = httpx2.HTTPTransport(uds=str(site.settings.front_socket))
        self._caller = httpx2.Client(transport=transport, base_url="http://front")

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_error: object) -> None:
        self._caller.close()

    def call(self, path: str, *, forwarded: str = f"for={HERE}", **more: Any) -> httpx2.Response:
        headers = {"Forwarded": forwarded, **more.pop("headers", {})}
        return self._caller.request(more.pop("method", "GET"), path, headers=headers, **more)


@pytest.fixture
def front(site: Site) -> Iterator[Front]:
    """The trusted front of the shared platform."""
    with Front(site) as opened:
        yield opened


def test_certificate_lets_its_client_in_through_the_front_only(instance: Instance, front: Front) -> None:
    mine, authority = issue(), make_authority()
    theirs = issue("CN=crm,O=ACME", issuer=authority)
    erp = client_of(instance, "erp")["client_id"]
    pins = f"/clients/{erp}/certificates"
    added = good(instance.portal("POST", pins, {"certificate": mine.pem}), 201)
    good(instance.portal("POST", pins, {"certificate": authority.pem, "subject": "CN=crm,O=ACME"}), 201)
    instance.put_access(mode="any", methods=["certificate", "basic"])
    path = f"/{instance.name}/api/v1/items"
    for certificate in (mine, theirs):
        good(front.call(path, headers={"Client-Cert": certificate.header}))
        refused(
            instance.call("GET", "/items", auth=None, headers={"Client-Cert": certificate.header}),
            400,
            "client_cert_not_accepted",
        )
    unknown = front.call(path, headers={"Client-Cert": issue().header})
    refused(unknown, 404, "instance_not_found")
    refused(front.call(path), 401, "credentials_missing")
    good(front.call(f"/portal/v1/{instance.name}/access", headers={"Client-Cert": mine.header}))
    assert instance.portal("DELETE", f"{pins}/{added['certificate_id']}").status_code == 204
    instance.site.pass_time(2)
    refused(front.call(path, headers={"Client-Cert": mine.header}), 404, "instance_not_found")


def test_header_of_a_caller_is_refused_everywhere_else(site: Site, instances: dict[str, Instance]) -> None:
    name = instances["dedicated"].name
    header = {"Client-Cert": issue().header}
    for path in ("/livez", "/readyz", f"/{name}/api/v1/items", f"/{name}/gateways/v1/template"):
        refused(site.call("GET", path, headers=header), 400, "client_cert_not_accepted")
    refused(site.admin("GET", "/instances", headers=header), 400, "client_cert_not_accepted")
    chain = {"Client-Cert-Chain": issue().header}
    refused(site.call("GET", f"/portal/v1/{name}/access", headers=chain), 400, "client_cert_not_accepted")


def test_front_names_the_callers_address_and_nobody_else_does(instance: Instance, front: Front) -> None:
    instance.put_access(mode="all", methods=["network", "basic"], networks=["192.0.2.0/24"])
    path = f"/{instance.name}/api/v1/items"
    good(front.call(path, forwarded="for=192.0.2.7", auth=instance.auth))
    outside = front.call(path, forwarded='for="[2001:db8::1]:4711"', auth=instance.auth)
    refused(outside, 403, "network_not_allowed")
    lied = instance.call("GET", "/items", headers={"Forwarded": "for=192.0.2.7"})
    refused(lied, 403, "network_not_allowed")
    for forwarded in ("", "for=unknown", "for=192.0.2.7, for=192.0.2.8"):
        refused(front.call(path, forwarded=forwarded, auth=instance.auth), 400, "forwarded_invalid")
    refused(
        front.call(path, auth=instance.auth, headers={"Client-Cert": "MIIB"}), 400, "client_cert_malformed"
    )


def test_front_socket_is_for_those_who_may_open_it_and_makes_nobody_staff(site: Site, front: Front) -> None:
    assert site.settings.front_socket.stat().st_mode & 0o777 == 0o600
    refused(front.call("/admin/v1/instances"), 401, "staff_token_invalid")


def test_front_asks_for_our_health_without_naming_a_caller(site: Site) -> None:
    transport = httpx2.HTTPTransport(uds=str(site.settings.front_socket))
    with httpx2.Client(transport=transport, base_url="http://front") as front:
        assert [good(front.get(path))["status"] for path in ("/livez", "/readyz")] == ["ok", "ready"]
        for path in ("/admin/v1/instances", "/openapi/portal.json"):
            refused(front.get(path), 400, "forwarded_invalid")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"certificate": "no certificate"}, "certificate_malformed"),
        ({"certificate": issue(lasts=timedelta(days=1)).pem}, "certificate_expired"),
        ({"certificate": issue().pem, "subject": "CN=erp"}, "certificate_unfit"),
    ],
    ids=["malformed", "expired", "unfit"],
)
def test_certificate_that_is_of_no_use_is_refused(
    site: Site, material: Material, body: dict[str, Any], code: str
) -> None:
    with site.nothing_changes(but=USED):
        refused(
            material.instance.portal("POST", f"/clients/{material.client_id}/certificates", body), 422, code
        )


def test_portal_goes_on_while_the_instance_is_frozen(instance: Instance) -> None:
    etag = instance.admin("GET", "").headers["ETag"]
    good(instance.admin("POST", ":freeze", {"reason": "unpaid"}, headers={"If-Match": etag}))
    instance.site.pass_time(2)
    refused(instance.call("GET", "/items"), 403, "instance_frozen")
    good(instance.portal("POST", "/clients", {"name": "crm", "scopes": ["read"]}), 201)
    diagnosed = good(
        instance.portal("POST", "/access:diagnose", {"address": HERE, "username": instance.auth[0]})
    )
    assert (diagnosed["code"], diagnosed["decided_by"]) == ("instance_frozen", "frozen")
