"""A request goes where its instance's rules, and the dry run, say."""

from __future__ import annotations

import random
from typing import Any

import pytest

from app.operations.line import Address
from tests.api.rule.rule_scene import FACTS, PAUSE, pin, put
from tests.api.site import ELSEWHERE, HERE, Instance, Site, good, refused
from tests.api.test_portal import Front
from tests.service.pki import issue


@pytest.fixture
def went(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines to which requests went, in order."""
    found: list[str] = []
    original = site.platform.directory.find

    def find(name: str, **more: Any) -> Address | None:
        address = original(name, **more)
        if address is not None:
            found.append(address.line_id)
        return address

    monkeypatch.setattr(site.platform.directory, "find", find)
    return found


def test_pinned_requests_go_to_one_line_from_the_next_on(ruled: Instance, went: list[str]) -> None:
    for line in ("ruled-2", "ruled-1", "ruled-2"):
        put(ruled.portal, [pin(line)])
        went.clear()
        for _ in range(10):
            good(ruled.call("GET", "/items"))
        assert went == [line] * 10


def test_maintenance_is_answered_for_and_nobody_else_notices(
    ruled: Instance, instances: dict[str, Instance]
) -> None:
    put(ruled.portal, [{**PAUSE, "match": {"path_prefix": "/api/"}}])
    answer = ruled.call("GET", "/items")
    refused(answer, 503, "rule_maintenance")
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ruled.gate("GET", "/template").status_code == 200
    good(instances["dedicated"].call("GET", "/items"))
    good(ruled.portal("GET", "/rules"))
    good(ruled.portal("GET", "/clients"))
    etag = ruled.portal("GET", "/rules").headers["ETag"]
    good(ruled.portal("POST", "/rules:undo", headers={"If-Match": etag}))
    good(ruled.call("GET", "/items"))


def test_request_without_rules_never_asks_for_its_facts(
    ruled: Instance, instances: dict[str, Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("somebody asked for the facts of a request")

    monkeypatch.setattr("app.main.caller_of", asked)
    good(instances["dedicated"].call("GET", "/items"))
    good(ruled.call("GET", "/items"))


PATHS = ("/api/v1/items", "/api/v1/licenses", "/gateways/v1/template", "/depot", "/API/v1/items", "/")
CLASSES = ("batch", "Batch", "interactive", "")


def _random_rule(chance: random.Random, n: int, clients: list[str]) -> dict[str, Any]:
    match: dict[str, Any] = {}
    if chance.random() < 0.5:
        match["path_prefix"] = chance.choice(["/api/", "/api/v1/items", "/gateways/", "/a", "/"])
    if chance.random() < 0.4:
        match["methods"] = chance.sample(["GET", "HEAD", "POST", "DELETE"], 2)
    if chance.random() < 0.3:
        match["source"] = chance.choice(["here", "elsewhere", "both"])
    if chance.random() < 0.3:
        match["header"] = {"name": "x-client-class", "value": chance.choice(["batch", "interactive"])}
    if chance.random() < 0.3:
        match["clients"] = [chance.choice(clients)]
    if chance.random() < 0.2:
        return {**PAUSE, "name": f"r-{n}", "match": match}
    return {**pin(f"ruled-{chance.choice([1, 2])}", name=f"r-{n}", otherwise="refuse"), "match": match}


def test_requests_go_where_the_dry_run_says(
    ruled: Instance, went: list[str], instances: dict[str, Instance]
) -> None:
    chance = random.Random(5)
    names = {each["username"] for each in good(ruled.admin("GET", "/clients"))}
    reader = ruled.add_client("reader", ["read"]) if "ruled.reader" not in names else None
    auths = [ruled.auth, *([reader] if reader else []), None]
    clients = [auth[0] for auth in auths if auth is not None]
    sources = {"here": [f"{HERE}/32"], "elsewhere": [f"{ELSEWHERE}/32"], "both": ["127.0.0.0/8", "::1/128"]}
    rules_seen, outcomes = set(), set()
    for _ in range(12):
        put(ruled.admin, [_random_rule(chance, n, clients) for n in range(6)], sources=sources)
        for _ in range(8):
            method, path = chance.choice(["GET", "POST", "DELETE"]), chance.choice(PATHS)
            headers = {"x-client-class": chance.choice(CLASSES)}
            auth, source = chance.choice(auths), chance.choice([HERE, ELSEWHERE])
            described = {"method": method, "path": path, "headers": headers, "source": source}
            described |= {} if auth is None else {"client": auth[0]}
            said = good(ruled.admin("POST", "/rules:dryRun", described))
            went.clear()
            answer = ruled.site.call(
                method, f"/{ruled.name}{path}", source=source, headers=headers, auth=auth
            )
            rules_seen.add(said["rule"])
            outcomes.add(said["outcome"])
            if said["outcome"] == "line":
                assert len(went) == 1, (described, answer.text)
                assert went[0] in {each["line_id"] for each in said["candidates"]}, (described, said)
                assert said["line"] in (went[0], None)
            else:
                refused(answer, 503, said["code"])
                assert went == []
                assert answer.headers["Retry-After"] == str(said["retry_after_seconds"])
    assert None in rules_seen
    assert len(rules_seen) > 4
    assert outcomes == {"line", "maintenance"}


def test_behind_the_front_its_word_of_address_and_certificate_decides(
    site: Site, ruled: Instance, went: list[str]
) -> None:
    pinned, other = issue(), issue()
    known = {each["username"]: each["client_id"] for each in good(ruled.admin("GET", "/clients"))}
    pins = f"/clients/{known[ruled.auth[0]]}/certificates"
    good(ruled.admin("POST", pins, {"certificate": pinned.pem}), 201)
    site.pass_time(2)
    put(
        ruled.admin,
        [
            pin("ruled-1", name="erp", clients=[ruled.auth[0]]),
            pin("ruled-2", name="office", source="office"),
            PAUSE,
        ],
        sources={"office": ["192.0.2.0/24"]},
    )
    path = f"/{ruled.name}/gateways/v1/template"
    with Front(site) as front:
        for _ in range(5):
            front.call(path, forwarded="for=198.51.100.1", headers={"Client-Cert": pinned.header})
            front.call(path, forwarded="for=192.0.2.7", headers={"Client-Cert": other.header})
            stranger = front.call(path, forwarded="for=198.51.100.1", headers={"Client-Cert": other.header})
            refused(stranger, 503, "rule_maintenance")
    assert went == ["ruled-1", "ruled-2"] * 5
    shown = pinned.fingerprint.upper()
    described = {**FACTS, "source": "198.51.100.1", "certificate_fingerprint": shown}
    assert good(ruled.admin("POST", "/rules:dryRun", described))["rule"] == "erp"
