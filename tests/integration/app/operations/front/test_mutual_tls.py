"""Client certificates from a foreign client through a real HAProxy to the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from json import loads
from time import monotonic

import pytest

from tests.api.site import Instance, good
from tests.integration.app.operations.front.edge import (
    DAY,
    NOW,
    SOON,
    Answer,
    Edge,
    pin,
    real_authority,
    real_client,
    running_edge,
)
from tests.service.pki import Issued, make_revocation_list, renew
from tests.service.wait import wait_until

CA = real_authority()
GOOD, REVOKED = real_client(CA), real_client(CA)
EXPIRED = real_client(CA, lasts=9 * DAY)
NAMESAKE = real_authority()
FOREIGN = real_client(NAMESAKE)
OWN = real_client(None, "CN=its own")
PATH = "/acme/api/v1/items"
WEEK = timedelta(days=7)

PROTOCOLS = {
    "TLS 1.2, HTTP/1.1": ("--tls-max", "1.2", "--http1.1"),
    "TLS 1.2, HTTP/2": ("--tls-max", "1.2", "--http2"),
    "TLS 1.3, HTTP/1.1": ("--tlsv1.3", "--http1.1"),
    "TLS 1.3, HTTP/2": ("--tlsv1.3", "--http2"),
}


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with running_edge() as running:
        yield running


@pytest.fixture(scope="module")
def acme(edge: Edge) -> Instance:
    """Its ERP is known by authority and subject, and by a certificate that it has signed itself."""
    instance = edge.site.add_instance("dedicated", "acme")
    pin(instance, CA, subject="CN=erp,O=ACME")
    pin(instance, OWN)
    listed = make_revocation_list(CA, REVOKED, number=1, this_update=NOW - DAY, lasts=WEEK)
    good(instance.admin("PUT", "/revocation-lists", {"list": listed}))
    edge.wait_in_step()
    return instance


def put_policy(edge: Edge, instance: Instance, mode: str, *methods: str) -> None:
    instance.put_access(mode=mode, methods=list(methods), force=True)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mode", ["all", "any"])
def test_certificate_is_judged_alike_over_every_protocol(
    edge: Edge, acme: Instance, mode: str, protocol: str
) -> None:
    put_policy(edge, acme, mode, "certificate", "basic")
    options = PROTOCOLS[protocol]
    # With `all`, the right user name and secret come with each certificate; with `any`, the certificate alone.
    auth = acme.auth if mode == "all" else None

    def call(client: Issued | None, *more: str) -> tuple[int, str]:
        answer = edge.call(PATH, *options, *more, client=client, auth=auth)
        assert answer.protocol == ("2" if "--http2" in options else "1.1")
        return said(answer)

    def settled() -> bool:
        return call(None) == ((403, "certificate_missing") if mode == "all" else (401, "credentials_missing"))

    wait_until(settled, "the line to know the policy")
    assert call(GOOD) == (200, "")
    assert call(OWN) == (200, "")
    assert call(FOREIGN) == (404, "instance_not_found")
    assert call(EXPIRED) == (403, "certificate_outdated")
    assert call(REVOKED) == (403, "certificate_revoked")
    for header in (
        f"Client-Cert: {GOOD.header}",
        "Client-Cert-Verify: 0,0",
        f"Client-Cert-Chain: {CA.header}",
    ):
        for client in (None, FOREIGN, GOOD):
            assert call(client, "--header", header) == (400, "client_cert_not_accepted"), header


def test_address_that_the_caller_claims_is_never_believed(edge: Edge, acme: Instance) -> None:
    acme.put_access(mode="any", methods=["network", "basic"], networks=["198.51.100.0/24"], force=True)
    claims = ("Forwarded: for=198.51.100.7", "X-Forwarded-For: 198.51.100.7")
    for claim in claims:
        answer = edge.call(PATH, "--header", claim)
        assert said(answer) == (401, "credentials_missing"), claim


def test_network_is_asked_for_at_the_edge_as_in_the_line(edge: Edge, acme: Instance) -> None:
    acme.put_access(mode="all", methods=["network", "basic"], networks=["198.51.100.0/24"], force=True)
    edge.wait_in_step()
    outside = (403, "network_not_allowed")
    wait_until(lambda: said(edge.call(PATH, auth=acme.auth)) == outside, "the line to know the policy")
    assert said(edge.call(PATH)) == outside
    assert said(edge.call(PATH, auth=("acme.nobody", "x"))) == (404, "instance_not_found")
    acme.put_access(mode="all", methods=["network", "basic"], networks=["127.0.0.0/8"], force=True)
    wait_until(lambda: edge.call(PATH, auth=acme.auth).status == 200, "the network to be known")


def test_revocation_list_is_replaced_without_a_reload_and_within_a_second(edge: Edge, acme: Instance) -> None:
    put_policy(edge, acme, "any", "certificate", "basic")
    wait_until(lambda: edge.call(PATH, client=GOOD).status == 200, "the line to know the policy")
    edge.wait_in_step()
    before = edge.report()
    newer = make_revocation_list(CA, REVOKED, GOOD, number=2, this_update=datetime.now(UTC) - DAY, lasts=WEEK)
    good(acme.admin("PUT", "/revocation-lists", {"list": newer}))
    began = monotonic()
    revoked = (403, "certificate_revoked")
    wait_until(lambda: said(edge.call(PATH, client=GOOD)) == revoked, "the list to be in force")
    assert monotonic() - began <= 1.5, "a second, and the time of a call"
    edge.wait_in_step()
    after = edge.report()
    assert after["applied"] > before["applied"]
    assert after["reloaded_at"] == before["reloaded_at"]
    assert any("revocation" in step for step in after["last_plan"]), after["last_plan"]
    older = make_revocation_list(CA, number=1, this_update=NOW - DAY, lasts=WEEK)
    answer = acme.admin("PUT", "/revocation-lists", {"list": older})
    assert (answer.status_code, answer.json()["code"]) == (409, "revocation_list_older")


def test_authority_is_renewed_without_a_reload(edge: Edge) -> None:
    shop = edge.site.add_instance("dedicated", "shop")
    first = real_authority("CN=Shop CA")
    client = real_client(first, "CN=till")
    pin(shop, first, subject="CN=till")
    good(shop.admin("PUT", "/revocation-lists", {"list": _list_of(first)}))
    put_policy(edge, shop, "any", "certificate", "basic")
    path = "/shop/api/v1/items"
    wait_until(lambda: edge.call(path, client=client).status == 200, "the client to be known")
    edge.wait_in_step()
    before = edge.report()
    pin(shop, renew(first, not_before=NOW - DAY), subject="CN=till")
    second = real_authority("CN=Shop CA 2")
    pin(shop, second, subject="CN=till")
    good(shop.admin("PUT", "/revocation-lists", {"list": _list_of(second)}))
    successor = real_client(second, "CN=till")
    wait_until(lambda: edge.call(path, client=successor).status == 200, "its successor to be known")
    assert edge.call(path, client=client).status == 200
    wait_until(lambda: edge.report()["applied"] > before["applied"], "the front to have it")
    edge.wait_in_step()
    assert edge.report()["reloaded_at"] == before["reloaded_at"]


def test_nobody_comes_in_by_an_authority_whose_list_has_run_out(edge: Edge) -> None:
    shop = edge.site.add_instance("dedicated", "kiosk")
    authority = real_authority("CN=Kiosk CA")
    client = real_client(authority, "CN=till")
    pin(shop, authority, subject="CN=till")
    put_policy(edge, shop, "any", "certificate", "basic")
    short = make_revocation_list(
        authority, this_update=datetime.now(UTC) - DAY, lasts=DAY + timedelta(seconds=4)
    )
    good(shop.admin("PUT", "/revocation-lists", {"list": short}))
    path = "/kiosk/api/v1/items"
    outdated = (403, "revocation_list_outdated")
    wait_until(lambda: said(edge.call(path, client=client)) == outdated, "the list to run out")
    shown = good(shop.admin("GET", "/revocation-lists"))
    assert [each["outdated"] for each in shown] == [True]
    removed = shop.admin("DELETE", f"/revocation-lists/{shown[0]['authority']}")
    assert removed.status_code == 204
    wait_until(lambda: edge.call(path, client=client).status == 200, "nobody to ask for a list")


def test_nobody_comes_in_by_an_authority_that_has_run_out_until_it_is_renewed(edge: Edge) -> None:
    depot = edge.site.add_instance("dedicated", "depot")
    path = "/depot/api/v1/items"
    authority = real_authority("CN=Depot CA", ends=datetime.now(UTC) + timedelta(seconds=6))
    client = real_client(authority, "CN=till")
    pin(depot, authority, subject="CN=till")
    good(depot.admin("PUT", "/revocation-lists", {"list": _list_of(authority)}))
    for mode in ("any", "all"):
        put_policy(edge, depot, mode, "certificate", "basic")
        # With `all`, the right user name and secret come with the certificate, and do not help.
        auth = depot.auth if mode == "all" else None
        missing = (403, "certificate_missing") if mode == "all" else (401, "credentials_missing")
        wait_until(lambda: said(edge.call(path, auth=auth)) == missing, "the line to know the policy")  # noqa: B023
        outdated = (403, "certificate_outdated")
        wait_until(
            lambda: said(edge.call(path, client=client, auth=auth)) == outdated,  # noqa: B023
            "the authority to have run out",
            deadline=SOON,
        )
    pin(depot, renew(authority, not_before=NOW - DAY), subject="CN=till")
    wait_until(
        lambda: edge.call(path, client=client, auth=depot.auth).status == 200, "the renewed one to be known"
    )
    edge.wait_in_step()


def test_authority_that_has_run_out_is_refused_and_the_front_left_alone(edge: Edge, acme: Instance) -> None:
    edge.wait_in_step()
    before = edge.report()
    client_id = good(acme.admin("GET", "/clients"))[0]["client_id"]
    ended = real_authority("CN=Ended CA", ends=datetime.now(UTC) - timedelta(seconds=1))
    body = {"certificate": ended.pem, "subject": "CN=erp,O=ACME"}
    answer = acme.admin("POST", f"/clients/{client_id}/certificates", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "certificate_expired")
    edge.wait_in_step()
    after = edge.report()
    assert (after["applied"], after["release"]) == (before["applied"], before["release"])


def test_kept_connections_are_judged_by_what_holds_now_not_at_their_handshake(edge: Edge) -> None:
    shop = edge.site.add_instance("dedicated", "kept")
    authority = real_authority("CN=Kept CA")
    client = real_client(authority, "CN=till")
    pin(shop, authority, subject="CN=till")
    put_policy(edge, shop, "any", "certificate", "basic")

    def put(number: int, lasts: timedelta, *revoked: Issued) -> None:
        listed = make_revocation_list(
            authority, *revoked, number=number, this_update=datetime.now(UTC) - DAY, lasts=lasts
        )
        good(shop.admin("PUT", "/revocation-lists", {"list": listed}))

    def asked(connection: HTTPSConnection) -> tuple[int, str]:
        connection.request("GET", "/kept/api/v1/items")
        answer = connection.getresponse()
        body = loads(answer.read())
        return answer.status, body["code"] if answer.status >= 400 else ""

    put(1, DAY + timedelta(seconds=3))
    path = "/kept/api/v1/items"
    wait_until(lambda: edge.call(path, client=client).code == "revocation_list_outdated", "it to run out")
    edge.wait_in_step()
    with closing(edge.connect(client)) as connection:
        assert asked(connection) == (403, "revocation_list_outdated")
        put(2, WEEK)
        wait_until(lambda: asked(connection) == (200, ""), "the newer list to be in force")
        put(3, WEEK, client)
        wait_until(lambda: asked(connection) == (403, "certificate_revoked"), "the client to be refused")


def test_namesake_of_an_authority_harms_nobody(edge: Edge, acme: Instance) -> None:
    """Another customer pins an authority of the same name, and brings a list that names our client's number."""
    put_policy(edge, acme, "any", "certificate", "basic")
    client = real_client(CA)
    wait_until(lambda: edge.call(PATH, client=client).status == 200, "the line to know the policy")
    rival = edge.site.add_instance("dedicated", "rival")
    forged = real_authority()
    assert forged.subject == CA.subject
    pin(rival, forged, subject="CN=erp,O=ACME")
    listed = make_revocation_list(forged, client, number=9, this_update=NOW - DAY, lasts=WEEK)
    good(rival.admin("PUT", "/revocation-lists", {"list": listed}))
    shared = {"kind": "authority", "name": CA.subject, "why": "authority_name_shared"}
    front = wait_until(
        lambda: (found := good(edge.site.admin("GET", "/front"))) and shared in found["left_out"] and found,
        "the front to leave both out",
    )
    assert front["left_out"].count(shared) == 1
    edge.wait_in_step()
    assert edge.call(PATH, client=client).status == 200
    assert said(edge.call(PATH, client=REVOKED)) == (403, "certificate_revoked"), "the line checks alone"


def _list_of(authority: Issued) -> str:
    return make_revocation_list(authority, this_update=NOW - DAY, lasts=WEEK)
