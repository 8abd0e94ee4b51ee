"""Denied networks: listed by staff; whoever calls from one is refused by lines as by a load balancer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from lb.front.problem import FRONT_PROBLEMS, REQUEST_ID
from tests.api.site import USED, Instance, Site, good, refused
from tests.api.test_portal import Front
from tests.api.test_static_stability import mend, spoil
from tests.service.wait import wait_until

Deny = Callable[..., AbstractContextManager[dict[str, Any]]]


@pytest.fixture
def deny(site: Site) -> Deny:
    """Denies a network for as long as a context lasts, from when lines know of it."""

    @contextmanager
    def denied(network: str, **more: Any) -> Iterator[dict[str, Any]]:
        body = {"network": network, "reason": "a test", "confirm_wide_network": True, **more}
        added = good(site.admin("POST", "/denied-networks", body), 201)
        try:
            yield added
        finally:
            assert site.admin("DELETE", f"/denied-networks/{added['denied_id']}").status_code == 204

    return denied


def is_denied(answer: httpx2.Response) -> bool:
    return answer.status_code == 403 and answer.json()["code"] == "caller_denied"


def test_denied_network_is_listed_until_it_is_removed(site: Site) -> None:
    until = (site.clock.now() + timedelta(hours=1)).isoformat()
    body = {"network": "198.51.100.0/25", "reason": "a flood", "until": until}
    added = good(site.admin("POST", "/denied-networks", body), 201)
    assert (added["network"], added["reason"], added["in_force"]) == ("198.51.100.0/25", "a flood", True)
    refused(site.admin("POST", "/denied-networks", body), 409, "denied_network_taken")
    wide = {"network": "198.0.0.0/8", "reason": "x"}
    refused(site.admin("POST", "/denied-networks", wide), 422, "network_too_wide")
    past = {**body, "network": "198.51.100.128/25", "until": "2020-01-01T00:00:00Z"}
    refused(site.admin("POST", "/denied-networks", past), 422, "denied_network_past")
    path = f"/denied-networks/{added['denied_id']}"
    assert added in site.listed("/denied-networks")
    assert good(site.admin("GET", path)) == added
    assert site.admin("DELETE", path).status_code == 204
    refused(site.admin("GET", path), 404, "denied_network_not_found")


def test_caller_is_refused_as_a_load_balancer_does_and_answered_again(
    site: Site, instance: Instance, deny: Deny
) -> None:
    source, neighbour = site.new_address(), site.new_address()
    good(instance.call("GET", "/items", source=source))
    with deny(source):
        wait_until(lambda: is_denied(instance.call("GET", "/items", source=source)), "the denial")
        with site.nothing_changes(but=USED):
            answer = instance.call("GET", "/items", source=source, headers={"Request-Id": "told-by-me"})
        edge = FRONT_PROBLEMS["caller_denied"]
        assert (answer.status_code, answer.json()) == (
            edge.status,
            json.loads(edge.body.replace(REQUEST_ID, "told-by-me")),
        )
        assert (answer.headers["Cache-Control"], answer.headers["Request-Id"]) == ("no-store", "told-by-me")
        assert answer.headers["x-content-type-options"] == "nosniff"
        good(instance.call("GET", "/items", source=neighbour))
    wait_until(lambda: instance.call("GET", "/items", source=source).status_code == 200, "the end of it")


def test_denial_comes_before_everything_else(site: Site, instance: Instance, deny: Deny) -> None:
    source = site.new_address()
    with deny(source):
        wait_until(lambda: is_denied(instance.call("GET", "/items", source=source)), "the denial")
        for answer in (
            instance.call("GET", "/items", source=source, auth=None),
            instance.call("GET", "/items", source=source, auth=("x", "y")),
            instance.call("GET", "/items", source=source, headers={"Client-Cert": ":AA==:"}),
            instance.call("GET", "/items", source=source, headers={"Forwarded": "for=192.0.2.1"}),
            instance.call("GET", "/nothing", source=source),
            instance.call("DELETE", "/items", source=source),
            instance.call("POST", "/items", source=source, content=b"x" * 2_000_000),
            instance.gate("GET", "/template", source=source),
            instance.portal("GET", "/access", source=source),
            site.call("GET", "/no-such-instance/api/v1/items", source=source),
            site.call("GET", "/", source=source),
        ):
            assert is_denied(answer), (answer.request.method, answer.request.url, answer.text)


def test_health_and_staff_are_answered_from_everywhere(site: Site, instance: Instance, deny: Deny) -> None:
    source = site.new_address()
    with deny(source) as added:
        wait_until(lambda: is_denied(instance.call("GET", "/items", source=source)), "the denial")
        assert good(site.call("GET", "/readyz", source=source)) == {"status": "ready"}
        assert good(site.admin("GET", f"/denied-networks/{added['denied_id']}", source=source)) == added


def test_front_names_the_address_that_counts(site: Site, instance: Instance, deny: Deny) -> None:
    path = f"/{instance.name}/gateways/v1/template"
    with Front(site) as front, deny("192.0.2.0/24"), deny("2001:db8::/32"):
        wait_until(lambda: is_denied(front.call(path, forwarded='for="[2001:db8::1]"')), "the denial")
        assert is_denied(front.call(path, forwarded="for=192.0.2.200"))
        assert front.call(path, forwarded="for=192.0.3.1").status_code == 200
        assert front.call("/readyz", forwarded="for=192.0.2.200").status_code == 200


def test_probe_and_control_socket_have_no_network(site: Site, instance: Instance, deny: Deny) -> None:
    source = site.new_address()
    with deny(source), deny("::/0"):
        wait_until(lambda: is_denied(instance.call("GET", "/items", source=source)), "the denial")
        answer = site.operator("GET", f"/{instance.name}/gateways/v1/template")
        assert answer.status_code == 200


def test_denial_outlives_the_platform_database_and_ends_without_it(own_site: Site) -> None:
    known = own_site.add_instance("dedicated", "known")
    source = own_site.new_address()
    until = (own_site.clock.now() + timedelta(minutes=5)).isoformat()
    body = {"network": source, "reason": "a test", "until": until}
    good(own_site.admin("POST", "/denied-networks", body), 201)
    wait_until(lambda: is_denied(known.call("GET", "/items", source=source)), "the denial")
    saved = spoil(own_site)
    own_site.pass_time(299)
    assert is_denied(known.call("GET", "/items", source=source))
    own_site.pass_time(1)
    good(known.call("GET", "/items", source=source))
    mend(own_site, saved)


def test_denial_is_in_force_from_the_first_request_after_a_start(own_site: Site) -> None:
    source = own_site.new_address()
    good(own_site.admin("POST", "/denied-networks", {"network": source, "reason": "a test"}), 201)
    own_site.stop()
    with Site(own_site.folder, clock=own_site.clock) as again:
        assert is_denied(again.call("GET", "/anybody/api/v1/items", source=source))
