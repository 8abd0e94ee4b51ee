"""What callers get from a front, asked from outside."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Any

import pytest

from lb.front.state import FrontHost
from lb.rule.rule import Maintenance, Match, Rule, RuleSet, ToLines
from tests.integration.lb.front.answered import echoed, header, problem
from tests.service.front_site import ACME, FrontSite
from tests.service.pki import issue, make_authority, make_revocation_list
from tests.service.wait import wait_until

HERE = (ip_network("127.0.0.0/8"),)
ELSEWHERE = (ip_network("192.0.2.0/24"),)


@pytest.fixture
def one(shared_site: FrontSite) -> FrontSite:
    shared_site.front.apply(shared_site.state(shared_site.line(1)))
    return shared_site


def test_a_line_hears_who_calls_and_by_which_id(one: FrontSite) -> None:
    answer = one.get(
        "/acme/api/v1/items?after=x", "-H", "Forwarded: for=192.0.2.1", "-H", "X-Forwarded-For: 192.0.2.1"
    )
    said = echoed(answer)
    assert said["path"] == "/acme/api/v1/items?after=x"
    assert header(said, "forwarded") == ["for=127.0.0.1"]
    assert header(said, "x-forwarded-for") == []
    assert header(said, "request-id") == [answer.headers["request-id"]]
    assert re.fullmatch(r"req_[0-9a-f-]{36}", answer.headers["request-id"])


def test_a_decent_request_id_is_kept_and_another_one_replaced(one: FrontSite) -> None:
    kept = one.get("/acme/x", "-H", "Request-Id: order-4711")
    assert header(echoed(kept), "request-id") == ["order-4711"] == [kept.headers["request-id"]]
    for bad in ('a"b;c12345', "short", "x" * 65):
        answer = one.get("/acme/x", "-H", f"Request-Id: {bad}")
        assert header(echoed(answer), "request-id") == [answer.headers["request-id"]] != [bad]


def test_every_answer_has_security_headers_and_none_names_its_server(one: FrontSite) -> None:
    for answer in (one.get("/acme/x"), one.get("/nowhere")):
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert "strict-transport-security" not in one.get_plain("/acme/x").headers


def test_http2_and_http11_are_offered_and_old_tls_is_not(one: FrontSite) -> None:
    assert one.get("/acme/x", "--http2", "-w", "%{http_version}").text.endswith("}2")
    assert one.get("/acme/x", "--http1.1", "-w", "%{http_version}").text.endswith("}1.1")
    assert echoed(one.get("/acme/x", "--tlsv1.2", "--tls-max", "1.2"))["line"] == "l1"
    assert one.get("/acme/x", "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0").status == 0


@pytest.mark.parametrize(
    "path", ["/nowhere/api", "/", "//acme/x", "/%61cme/x", "/metrics", "/livez", "/readyz", "*"]
)
def test_what_nobody_serves_is_not_found(one: FrontSite, path: str) -> None:
    answer = one.get("/", "-X", "OPTIONS", "--request-target", "*") if path == "*" else one.get(path)
    assert answer.status == 404
    assert problem(answer) == "instance_not_found"


@pytest.mark.parametrize("name", ["Client-Cert", "Client-Cert-Chain", "Client-Cert-Verify", "client-CERT"])
def test_who_sends_a_certificate_in_a_header_is_refused(one: FrontSite, name: str) -> None:
    for value in (f"{name}: :MIIB:", f"{name};"):
        answer = one.get("/acme/api/x", "-H", value)
        assert answer.status == 400
        assert problem(answer) == "client_cert_not_accepted"


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(one: FrontSite) -> None:
    answer = one.get("/acme/x", "-H", "Content-Length: 1048577", "-H", "Expect:", "--data", "x", "--http1.1")
    assert answer.status == 413
    assert problem(answer) == "body_too_large"
    assert echoed(one.get("/acme/x", "--data", "x" * 1000))["body_bytes"] == 1000


def test_nobody_from_a_denied_network_is_answered(shared_site: FrontSite) -> None:
    site = shared_site
    site.front.apply(site.state(site.line(1), denied=HERE))
    assert problem(site.get("/acme/x")) == "caller_denied"
    site.front.apply(site.state(site.line(1), denied=ELSEWHERE))
    assert echoed(site.get("/acme/x"))["line"] == "l1"


def test_who_comes_from_elsewhere_without_credentials_is_refused_for_web_services_only(
    shared_site: FrontSite,
) -> None:
    site = shared_site
    site.front.apply(site.state(site.line(1), instance={"networks": ELSEWHERE}))
    for path in ("/acme/api/v1/items", "/acme/soap", "/acme/api"):
        assert problem(site.get(path)) == "network_not_allowed"
    assert echoed(site.get("/acme/api/v1/items", "-u", "erp:secret"))["line"] == "l1"
    assert echoed(site.get("/acme/depot"))["line"] == "l1"
    site.front.apply(site.state(site.line(1), instance={"networks": (*ELSEWHERE, *HERE)}))
    assert echoed(site.get("/acme/api/v1/items"))["line"] == "l1"


def test_an_own_host_shows_its_certificate_and_puts_the_name_in_front(shared_site: FrontSite) -> None:
    site = shared_site
    host = FrontHost(
        host_id="hst_1", host="licences.example", instance_id=ACME, pem=site.pem_for("licences.example")
    )
    site.front.apply(site.state(site.line(1), control=site.address(3), hosts={"hst_1": host}))

    def ask(path: str) -> dict[str, Any]:
        return echoed(
            site.curl("--connect-to", f"::{site.tls}", "--path-as-is", f"https://licences.example{path}")
        )

    assert ask("/api/v1/items?x=1")["path"] == "/acme/api/v1/items?x=1"
    assert ask("/acme/api")["path"] == "/acme/api"
    assert ask("/admin/v1/customers")["path"] == "/acme/admin/v1/customers"
    assert ask("/problems/x")["line"] == "l3"
    assert echoed(site.get("/acme/api", "-H", "Host: LICENCES.example:8443"))["path"] == "/acme/api"


def test_staff_and_portal_get_to_control_and_hear_when_it_is_away(shared_site: FrontSite) -> None:
    site = shared_site
    site.front.apply(site.state(site.line(1), control=site.address(3)))
    for path in (
        "/admin/v1/x",
        "/portal/v1/acme/x",
        "/status",
        "/problems/a",
        "/openapi/admin.json",
        "/console",
    ):
        assert echoed(site.get(path))["line"] == "l3"
    site.front.apply(site.state(site.line(1)))
    answer = site.get("/admin/v1/x")
    assert answer.status == 503
    assert problem(answer) == "control_unavailable"


def test_a_state_without_any_line_answers_503_and_when_to_come_back(shared_site: FrontSite) -> None:
    site = shared_site
    for state in (
        site.state(),
        site.state(site.line(1, in_service=False)),
        site.state(site.line(1, weight=0)),
    ):
        site.front.apply(state)
        answer = site.get("/acme/api")
        assert answer.status == 503
        assert problem(answer) == "no_line_ready"
        assert answer.headers["retry-after"] == "2"


def test_rules_pin_and_pause(shared_site: FrontSite) -> None:
    site = shared_site
    pinned = Rule(
        name="erp", match=Match(path_prefix="/erp/"), action=ToLines(weights={site.line(2).line_id: 1})
    )
    paused = Rule(name="down", match=Match(path_prefix="/down/"), action=Maintenance(retry_after_seconds=77))
    known = {"rules": RuleSet(rules=(pinned, paused))}
    site.front.apply(site.state(site.line(1), site.line(2), instance=known))
    assert {echoed(site.get("/acme/erp/x"))["line"] for _ in range(4)} == {"l2"}
    wait_until(lambda: echoed(site.get("/acme/x"))["line"] == "l1", "the one line")
    wait_until(lambda: echoed(site.get("/acme/x"))["line"] == "l2", "the other one")
    answer = site.get("/acme/down/x")
    assert (problem(answer), answer.headers["retry-after"]) == ("rule_maintenance", "77")
    assert json.loads(answer.text)["retry_after_s"] == 77


def test_a_sticky_caller_stays_until_his_line_gets_nothing_new(shared_site: FrontSite) -> None:
    site = shared_site
    lines = [site.line(number) for number in (1, 2, 3)]
    everywhere = ToLines(weights={line.line_id: 10 for line in lines}, sticky=True)
    known = {"rules": RuleSet(rules=(Rule(name="stay", match=Match(), action=everywhere),))}
    front = site.front
    front.apply(site.state(*lines, instance=known))

    def ask(user: str) -> str:
        line: str = echoed(site.get("/acme/x", "-u", f"{user}:secret"))["line"]
        return line

    homes = {user: ask(user) for user in ("erp-1", "erp-2", "erp-3", "erp-4")}
    assert len(set(homes.values())) > 1
    assert {user: ask(user) for user in homes} == homes
    away = int(homes["erp-1"][1:])
    out = [site.line(number, in_service=number != away) for number in (1, 2, 3)]
    assert not front.apply(site.state(*out, instance=known)).reloaded
    moved = {user: ask(user) for user in homes}
    assert f"l{away}" not in moved.values()
    assert {user: line for user, line in moved.items() if homes[user] != f"l{away}"} == {
        user: line for user, line in homes.items() if line != f"l{away}"
    }
    # The next worker begins without a table where this one is young, and finds the same lines.
    site.master.reload()
    assert {user: ask(user) for user in homes} == moved


def test_a_client_certificate_is_told_to_the_line_with_what_was_found(shared_site: FrontSite) -> None:
    site = shared_site
    authority, stranger = make_authority("CN=Customer CA"), make_authority("CN=Stranger")
    good, revoked, foreign = (
        issue("CN=erp,O=ACME", issuer=authority),
        issue("CN=old,O=ACME", issuer=authority),
        issue("CN=who", issuer=stranger),
    )
    state = site.state(
        site.line(1),
        authorities={"a": authority.pem},
        revocation_lists={"a": make_revocation_list(authority, revoked)},
    )
    site.front.apply(state)

    def ask(who: Any) -> dict[str, Any]:
        path = site.home / "client.pem"
        path.write_text(who.pem + who.key_pem)
        return echoed(site.get("/acme/api", "--cert", str(path)))

    said = ask(good)
    assert header(said, "client-cert") == [good.header]
    assert header(said, "client-cert-verify") == ["0,0"]
    assert header(ask(revoked), "client-cert-verify") == ["23,0"]
    assert header(ask(foreign), "client-cert-verify")[0].split(",")[0] in {"20", "21"}
    assert header(echoed(site.get("/acme/api")), "client-cert") == []
    # Revocation comes into force without a reload.
    lists = {"a": make_revocation_list(authority, revoked, good)}
    applied = site.front.apply(
        site.state(site.line(1), authorities={"a": authority.pem}, revocation_lists=lists)
    )
    assert not applied.reloaded
    assert header(ask(good), "client-cert-verify") == ["23,0"]


def test_the_redirect_leads_to_the_same_address_by_https(one: FrontSite) -> None:
    answer = one.curl("-H", "Host: wops.example:80", f"http://{one.redirect}/acme/x?y=1")
    assert answer.status == 308
    assert answer.headers["location"] == "https://wops.example/acme/x?y=1"


def test_the_health_bind_says_which_release_serves_and_gives_figures(one: FrontSite) -> None:
    health = one.settings.health
    alive = one.curl(f"http://{health}/livez")
    said = json.loads(alive.text)
    # The one that the worker has read; steps since then have made it the one in force.
    assert said["status"] == "ok"
    assert 1 <= said["release"] <= (one.front.status().release or 0)
    assert "haproxy_process_uptime_seconds" in one.curl(f"http://{health}/metrics").text
    assert one.curl(f"http://{health}/").status == 404


def test_access_lines_are_json_and_tell_no_secret(one: FrontSite) -> None:
    secret = "hunter2-" * 3
    asked = one.get(
        f"/acme/api/v1/tickets/{secret}?q={secret}",
        "-u",
        f"erp:{secret}",
        "-A",
        secret,
        "-H",
        'Request-Id: log"x',
    )
    request_id = asked.headers["request-id"]

    def written() -> dict[str, Any] | None:
        lines = [json.loads(each) for each in one.log.splitlines() if each.startswith("{")]
        return next((each for each in lines if each["request_id"] == request_id), None)

    line = wait_until(written, "the access line")
    assert secret not in one.log
    told = {
        name: line[name] for name in ("instance", "backend", "server", "status", "method", "protocol", "tls")
    }
    assert told == {
        "instance": ACME,
        "backend": ACME,
        "server": "l1",
        "status": 200,
        "method": "GET",
        "protocol": "HTTP/2.0",
        "tls": "TLSv1.3",
    }
    assert isinstance(line["ms_all"], int)
