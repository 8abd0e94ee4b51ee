"""Two load balancers that control keeps: changes reach both, and neither holds up the other."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from time import monotonic

import pytest

from tests.api.site import Instance, good
from tests.integration.app.operations.front.edge import NOW, SOON, Edge, running_edge
from tests.service.pki import YEAR, Issued, issue_for_host
from tests.service.wait import wait_until

HOST = "licenses.acme.example"
PATH = "/acme/api/v1/items"


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with running_edge(balancers=2) as running:
        yield running


@pytest.fixture(scope="module")
def acme(edge: Edge) -> Instance:
    instance = edge.site.add_instance("dedicated", "acme")
    edge.wait_in_step()
    return instance


def host_certificate(host: str = HOST) -> Issued:
    return issue_for_host(host, not_before=NOW - timedelta(days=1), lasts=YEAR)


def shown_certificate(edge: Edge, balancer: int, host: str) -> str:
    """PEM of the certificate that a load balancer proves a host with."""
    address, _, port = edge.balancers[balancer].binds[0].address.partition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as encrypted,
    ):
        return ssl.DER_cert_to_PEM_cert(encrypted.getpeercert(binary_form=True) or b"")


def on_both(condition: Callable[[int], bool], what: str) -> None:
    """Wait until it holds at the one load balancer, and at the other."""
    for balancer in (0, 1):
        wait_until(lambda: condition(balancer), what)  # noqa: B023 - called here alone


def test_new_instance_is_served_by_both(edge: Edge, acme: Instance) -> None:
    for balancer in (0, 1):
        assert edge.call(PATH, auth=acme.auth, balancer=balancer).status == 200
        unknown = edge.call("/nobody/api/v1/items", balancer=balancer)
        assert (unknown.status, unknown.code) == (404, "instance_not_found")
    assert edge.call("/livez").status == 404, "whether they live is asked elsewhere"


def test_own_host_is_served_renewed_and_removed_without_a_reload(edge: Edge, acme: Instance) -> None:
    before = [edge.report(name)["reloaded_at"] for name in ("lb1", "lb2")]
    first = host_certificate()
    body = {"host": HOST, "certificate": first.pem, "key": first.key_pem}
    added = good(acme.admin("POST", "/hosts", body), 201)
    began = monotonic()
    on_both(lambda at: shown_certificate(edge, at, HOST) == first.pem, "the host to be proven")
    assert monotonic() - began <= 1.5, "a second, and the time of a handshake"
    for balancer in (0, 1):
        # Where a host belongs to an instance, its name need not stand in the path.
        for path in (PATH, "/api/v1/items"):
            answer = edge.call(path, "--insecure", auth=acme.auth, balancer=balancer, host=HOST)
            assert answer.status == 200, (path, answer)
    second = host_certificate()
    renewal = {"certificate": second.pem, "key": second.key_pem}
    path = f"/hosts/{added['host_id']}"
    good(acme.admin("PUT", f"{path}/certificate", renewal, headers={"If-Match": '"1"'}))
    on_both(lambda at: shown_certificate(edge, at, HOST) == second.pem, "the new one to be shown")
    assert acme.admin("DELETE", path, headers={"If-Match": '"2"'}).status_code == 204
    default = shown_certificate(edge, 0, "nobody.example")
    on_both(lambda at: shown_certificate(edge, at, HOST) == default, "the host to be forgotten")
    edge.wait_in_step()
    assert [edge.report(name)["reloaded_at"] for name in ("lb1", "lb2")] == before


def test_platform_is_trusted_by_its_own_authority(edge: Edge, acme: Instance) -> None:
    assert edge.call("/status", host="localhost").protocol == "2"
    shown = good(edge.site.admin("GET", "/front"))["certificates"]
    (default,) = [each for each in shown if each["host"] is None]
    assert default["self_made"]
    assert default["expires_in_days"] > 365


def test_denied_network_is_answered_nothing_else(edge: Edge, acme: Instance) -> None:
    denied = {"network": "127.0.0.0/16", "reason": "a test", "confirm_wide_network": True}
    added = good(edge.site.admin("POST", "/denied-networks", denied), 201)
    on_both(
        lambda at: edge.call(PATH, auth=acme.auth, balancer=at).code == "caller_denied",
        "the network to be denied",
    )
    assert edge.site.admin("DELETE", f"/denied-networks/{added['denied_id']}").status_code == 204
    on_both(
        lambda at: edge.call(PATH, auth=acme.auth, balancer=at).status == 200, "the network to be answered"
    )


def test_one_that_is_down_holds_up_nobody_and_is_brought_up_to_date(edge: Edge, acme: Instance) -> None:
    stopped = edge.processes[1]
    stopped.terminate()
    stopped.wait(30)
    issued = host_certificate("second.acme.example")
    body = {"host": "second.acme.example", "certificate": issued.pem, "key": issued.key_pem}
    added = good(acme.admin("POST", "/hosts", body), 201)
    wait_until(
        lambda: shown_certificate(edge, 0, "second.acme.example") == issued.pem, "the other to have it"
    )
    down = wait_until(lambda: _behind(edge, "lb2"), "control to notice", deadline=SOON)
    assert (down["problem"], down["running"]) == ("haproxy_unavailable", False)
    assert edge.report("lb1")["in_step"]
    plans = good(edge.site.admin("POST", "/front:plan"))
    assert [each["name"] for each in plans] == ["lb1", "lb2"]
    assert plans[0] == {"name": "lb1", "steps": [], "reload": None, "problem": None, "message": None}
    edge.start_haproxy(edge.balancers[1])
    wait_until(lambda: _proves(edge, 1, "second.acme.example", issued), "it to start with it", deadline=SOON)
    edge.wait_in_step()
    headers = {"If-Match": '"1"'}
    assert acme.admin("DELETE", f"/hosts/{added['host_id']}", headers=headers).status_code == 204


def test_bad_input_leaves_the_front_as_it_is(edge: Edge, acme: Instance) -> None:
    edge.wait_in_step()
    before = [edge.report(name)["applied"] for name in ("lb1", "lb2")]
    other, fit = host_certificate(), host_certificate("bad.acme.example")
    bodies = {
        "host_unfit": {"host": "x;set server", "certificate": fit.pem, "key": fit.key_pem},
        "host_key_unfit": {"host": "bad.acme.example", "certificate": fit.pem, "key": other.key_pem},
        "host_certificate_malformed": {"host": "bad.acme.example", "certificate": "x", "key": fit.key_pem},
        "host_certificate_unfit": {
            "host": "bad.acme.example",
            "certificate": other.pem,
            "key": other.key_pem,
        },
    }
    for code, body in bodies.items():
        answer = acme.admin("POST", "/hosts", body)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert fit.key_pem not in answer.text
    assert [edge.report(name)["applied"] for name in ("lb1", "lb2")] == before


def _behind(edge: Edge, name: str) -> dict[str, object] | None:
    report = edge.report(name)
    return None if report["in_step"] else report


def _proves(edge: Edge, balancer: int, host: str, issued: Issued) -> bool:
    try:
        return shown_certificate(edge, balancer, host) == issued.pem
    except OSError:
        return False
