"""Rules of instances: changed, refused, undone, tried out; and a request goes where the dry run says."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from app.operations.line import Address
from tests.api.site import ELSEWHERE, HERE, USED, Instance, Site, good, refused
from tests.api.test_portal import Front
from tests.service.pki import issue

Ask = Callable[..., httpx2.Response]
PAUSE = {"name": "pause", "action": {"kind": "maintenance", "retry_after_seconds": 7}}
FACTS = {"method": "GET", "path": "/api/v1/items", "source": HERE}


@pytest.fixture(scope="module")
def pair(site: Site) -> Instance:
    """A High Availability instance: two lines."""
    return site.add_instance("high_availability", "ruled")


@pytest.fixture
def ruled(pair: Instance) -> Iterator[Instance]:
    """The same, without rules when the test is over."""
    yield pair
    put(pair.admin, [])


@pytest.fixture(params=["admin", "portal"])
def ask(request: pytest.FixtureRequest, ruled: Instance) -> Ask:
    """Either way of looking after rules."""
    chosen: Ask = getattr(ruled, request.param)
    return chosen


def put(ask: Ask, rules: list[Any], *, sources: Any = None, etag: str | None = None, **more: Any) -> Any:
    answer = send(ask, {"rules": rules, "sources": sources or {}, **more}, etag=etag)
    return good(answer)


def send(ask: Ask, body: Any, *, etag: str | None = None) -> httpx2.Response:
    etag = etag or ask("GET", "/rules").headers["ETag"]
    return ask("PUT", "/rules", body, headers={"If-Match": etag})


def pin(line: str, *, name: str = "pin", otherwise: str = "any_line", **match: Any) -> dict[str, Any]:
    action = {"kind": "lines", "weights": {line: 1}, "otherwise": otherwise}
    return {"name": name, "match": match, "action": action}


# Versions.


def test_rules_are_read_changed_and_undone_version_by_version(ask: Ask, ruled: Instance) -> None:
    before = ask("GET", "/rules")
    first = good(before)
    assert (first["rules"], first["sources"], first["warnings"]) == ([], {}, [])
    changed = send(ask, {"rules": [pin("ruled-2")], "reason": "line 1 is slow"})
    now = good(changed)
    assert now["version"] == first["version"] + 1
    assert changed.headers["ETag"] == f'"{now["version"]}"'
    assert now["rules"] == [
        {
            "name": "pin",
            "match": {},
            "action": {
                "kind": "lines",
                "weights": {"ruled-2": 1},
                "sticky": False,
                "otherwise": "any_line",
            },
        }
    ]
    assert now["reason"] == "line 1 is slow"
    undone = ask("POST", "/rules:undo", headers={"If-Match": changed.headers["ETag"]})
    assert good(undone)["restored"] == first["version"]
    assert good(undone)["rules"] == []
    listed = good(ask("GET", "/rules/versions", params={"limit": 2}))
    assert [each["version"] for each in listed["data"]] == [now["version"] + 1, now["version"]]
    assert [each["rule_names"] for each in listed["data"]] == [[], ["pin"]]
    one = good(ask("GET", f"/rules/versions/{now['version']}"))
    assert (one["rules"], one["reason"]) == (now["rules"], "line 1 is slow")
    again = ask(
        "POST", "/rules:undo", {"version": now["version"]}, headers={"If-Match": undone.headers["ETag"]}
    )
    assert (good(again)["rules"], good(again)["restored"]) == (now["rules"], now["version"])


def test_history_says_who_and_goes_back_to_the_first_version(ruled: Instance) -> None:
    put(ruled.admin, [pin("ruled-1")], reason="by staff")
    put(ruled.portal, [pin("ruled-2")], reason="by the customer")
    customer, staff = good(ruled.portal("GET", "/rules/versions", params={"limit": 2}))["data"]
    assert (customer["actor"]["kind"], staff["actor"]["kind"]) == ("client", "staff")
    assert (customer["actor"]["id"][:4], staff["actor"]["id"][:4]) == ("cli_", "stk_")
    assert (customer["reason"], staff["reason"]) == ("by the customer", "by staff")
    found, cursor = [], None
    while True:
        params = {"limit": 3, **({} if cursor is None else {"cursor": cursor})}
        page = good(ruled.admin("GET", "/rules/versions", params=params))
        found += [each["version"] for each in page["data"]]
        cursor = page["page"]["next"]
        if cursor is None:
            break
    assert found == list(range(found[0], 0, -1))
    assert good(ruled.admin("GET", "/rules/versions/1"))["actor"] == {"kind": "system", "id": "wops"}
    foreign = good(ruled.admin("GET", "/rules/versions", params={"limit": 1}))["page"]["next"]
    answer = ruled.admin("GET", "/clients", params={"cursor": foreign})
    assert answer.status_code == 200
    refused(
        ruled.portal("GET", "/rules/versions", params={"limit": 1, "cursor": foreign}), 422, "cursor_invalid"
    )


def test_reason_of_staff_may_stand_in_the_header(ruled: Instance) -> None:
    etag = ruled.admin("GET", "/rules").headers["ETag"]
    headers = {"If-Match": etag, "Wops-Reason": "because%20of%20load"}
    assert good(ruled.admin("PUT", "/rules", {"rules": [PAUSE]}, headers=headers))["reason"] == (
        "because of load"
    )
    told = good(ruled.admin("GET", "/rules/versions", params={"limit": 1}))["data"]
    assert told[0]["reason"] == "because of load"
    entries = good(ruled.portal("GET", "/audit", params={"type": "instance.rules_changed", "limit": 1}))
    assert entries["data"][0]["reason"] == "because of load"
    assert entries["data"][0]["data"]["rules"] == ["pause"]


def test_same_rules_again_are_no_version(ask: Ask, ruled: Instance) -> None:
    first = put(ask, [pin("ruled-1")])
    with ruled.site.nothing_changes(but=USED):
        assert put(ask, [pin("ruled-1")])["version"] == first["version"]


def test_answer_can_be_sent_as_it_is(ask: Ask, ruled: Instance) -> None:
    sources = {"office": ["192.0.2.0/24", "2001:db8::/48"]}
    header = {"name": "x-client-class", "value": "batch"}
    rule = pin("ruled-1", path_prefix="/api/", methods=["GET"], header=header, source="office")
    told = put(ask, [rule, PAUSE], sources=sources)
    again = put(ask, told["rules"], sources=told["sources"])
    assert again["version"] == told["version"]


def test_repeated_request_is_carried_out_once(ruled: Instance) -> None:
    etag = ruled.admin("GET", "/rules").headers["ETag"]
    headers = {"If-Match": etag, "Idempotency-Key": "the-same"}
    first = ruled.admin("PUT", "/rules", {"rules": [PAUSE]}, headers=headers)
    repeated = ruled.admin("PUT", "/rules", {"rules": [PAUSE]}, headers=headers)
    assert good(first)["version"] == good(repeated)["version"]
    assert repeated.headers["Idempotency-Replayed"] == "true"
    other = ruled.admin("PUT", "/rules", {"rules": []}, headers=headers)
    assert other.status_code == 422


def test_of_changes_at_once_one_wins(ask: Ask, ruled: Instance) -> None:
    etag = ask("GET", "/rules").headers["ETag"]
    start = threading.Barrier(4)
    answers: list[httpx2.Response] = []

    def change(name: str) -> None:
        start.wait(timeout=10)
        answers.append(send(ask, {"rules": [pin("ruled-1", name=name)]}, etag=etag))

    threads = [threading.Thread(target=change, args=(f"rule-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    won = [each for each in answers if each.status_code == 200]
    assert len(won) == 1
    for each in answers:
        if each is not won[0]:
            refused(each, 412, "rule_version_conflict")
    assert good(ask("GET", "/rules"))["rules"] == won[0].json()["rules"]


# Refusals.


def test_change_needs_the_version_it_is_based_on(ask: Ask, ruled: Instance) -> None:
    put(ask, [pin("ruled-1")])
    with ruled.site.nothing_changes(but=USED):
        changes: list[tuple[str, str, Any]] = [("PUT", "/rules", {"rules": []}), ("POST", "/rules:undo", {})]
        for method, path, body in changes:
            refused(ask(method, path, body), 428, "if_match_missing")
            refused(ask(method, path, body, headers={"If-Match": '"1"'}), 412, "rule_version_conflict")
            refused(ask(method, path, body, headers={"If-Match": "nonsense"}), 412, "if_match_stale")


def test_undo_to_nowhere_and_of_nothing_is_refused(site: Site, ruled: Instance) -> None:
    fresh = site.add_instance("dedicated", "unruled")
    nothing = fresh.admin("POST", "/rules:undo", headers={"If-Match": '"1"'})
    refused(nothing, 409, "rules_nothing_to_undo")
    etag = ruled.admin("GET", "/rules").headers["ETag"]
    missing = ruled.admin("POST", "/rules:undo", {"version": 4711}, headers={"If-Match": etag})
    refused(missing, 404, "rule_version_not_found")
    refused(ruled.admin("GET", "/rules/versions/4711"), 404, "rule_version_not_found")
    for odd in ("0", "-1", "x", str(2**31), str(10**30)):
        refused(ruled.admin("GET", f"/rules/versions/{odd}"), 422, "request_invalid")


HOSTILE = ("a;b", "a\nb", "a\r\nb", 'a"b', "a'b", "a\\b", "a%[b]", "a$b", "a\x00b", "a b", "a#b", "ä", "")


def _rules(**changed: Any) -> dict[str, Any]:
    return {"rules": [{**pin("ruled-1"), **changed}]}


def _match(**match: Any) -> dict[str, Any]:
    return _rules(match=match)


def _to(**action: Any) -> dict[str, Any]:
    return _rules(action={"kind": "lines", "weights": {"ruled-1": 1}, **action})


REFUSED: list[tuple[dict[str, Any], str]] = [
    *((_rules(name=each), "rule_name_invalid") for each in (*HOSTILE, "Großes", "n" * 41)),
    *((_match(path_prefix="/" + each), "rule_path_invalid") for each in HOSTILE if each),
    (_match(path_prefix="api/"), "rule_path_invalid"),
    (_match(path_prefix="/../admin"), "rule_path_invalid"),
    (_match(path_prefix="/" + "p" * 1000), "rule_path_invalid"),
    *((_match(methods=[each]), "rule_method_unknown") for each in (*HOSTILE, "get", "TRACE")),
    *(
        (_match(header={"name": each, "value": "x"}), "rule_header_unknown")
        for each in (*HOSTILE, "host", "authorization")
    ),
    *(
        (_match(header={"name": "x-client-class", "value": each}), "rule_header_value_invalid")
        for each in ("a\nb", "a\r\nb", "a\x00b", "v" * 1000)
    ),
    *((_match(source=each), "rule_source_unknown") for each in HOSTILE),
    *((_match(clients=[each]), "rule_client_invalid") for each in HOSTILE),
    *((_to(weights={each: 1}), "rule_line_foreign") for each in (*HOSTILE, "shared-1", "dedicated-1")),
    *((_to(weights={"ruled-1": each}), "rule_weight_invalid") for each in (0, 257, 10**12)),
    (_to(weights={}), "rule_lines_missing"),
    *(
        (_rules(action={"kind": "maintenance", "retry_after_seconds": each}), "rule_retry_after_invalid")
        for each in (0, 86401, 10**12)
    ),
    ({"rules": [PAUSE, PAUSE]}, "rule_name_taken"),
    ({"rules": [{**PAUSE, "name": f"r-{n}"} for n in range(63)]}, "rules_too_many"),
    *(
        ({"rules": [], "sources": {"office": [each]}}, "rule_network_invalid")
        for each in (*HOSTILE, "192.0.2.1/24", "fe80::1%eth0", "::ffff:192.0.2.1", "192.0.2.0/33")
    ),
    *(({"rules": [], "sources": {each: ["192.0.2.0/24"]}}, "rule_source_invalid") for each in HOSTILE),
    ({"rules": [], "sources": {"office": []}}, "rule_source_invalid"),
]
MISSHAPEN: list[Any] = [
    {},
    [],
    {"rules": None},
    {"rules": [{}]},
    {"rules": [{"name": "x"}]},
    {"rules": [{"name": "x", "action": {}}]},
    {"rules": [{"name": "x", "action": {"kind": "deny"}}]},
    {"rules": [{"name": "x", "action": {"kind": "lines"}}]},
    _to(weights={"ruled-1": True}),
    _to(weights={"ruled-1": 1.5}),
    _to(otherwise="maybe"),
    _to(retry_after_seconds=5),
    _rules(note="x"),
    _match(path_regex=".*"),
    {"rules": [], "sources": {"office": "192.0.2.0/24"}},
    {"rules": [], "reason": "x" * 501},
    {"rules": [PAUSE] * 1001},
    _rules(name="x" * 1025),
    {"rules": [], "sources": {f"g-{n}": [] for n in range(1001)}},
]


def test_what_no_rule_may_say_is_refused_by_its_code_and_changes_nothing(ruled: Instance) -> None:
    put(ruled.admin, [pin("ruled-1")])
    wrong = []
    with ruled.site.nothing_changes(but=USED):
        for body, code in REFUSED:
            answer = send(ruled.admin, body)
            if (answer.status_code, answer.json().get("code")) != (422, code):
                wrong.append((body, code, answer.status_code, answer.json().get("code")))
            else:
                assert refused(answer, 422, code)["context"]["field"]
    assert wrong == []


def test_what_has_not_the_shape_of_rules_is_refused(ask: Ask, ruled: Instance) -> None:
    with ruled.site.nothing_changes(but=USED):
        for body in MISSHAPEN:
            refused(send(ask, body), 422, "request_invalid")


def test_ten_megabytes_are_not_read(ask: Ask, ruled: Instance) -> None:
    etag = ask("GET", "/rules").headers["ETag"]
    huge = {"rules": [], "reason": "x" * 10_000_000}
    with ruled.site.nothing_changes(but=USED):
        refused(ask("PUT", "/rules", huge, headers={"If-Match": etag}), 413, "body_too_large")
        refused(
            ask("POST", "/rules:dryRun", {**FACTS, "path": "/" + "x" * 10_000_000}), 413, "body_too_large"
        )


def test_edition_with_a_shared_line_has_no_rules(instances: dict[str, Instance]) -> None:
    shared = instances["datacenter"]
    version = {"If-Match": '"1"'}
    with shared.site.nothing_changes(but=USED):
        for ask in (shared.admin, shared.portal):
            refused(ask("GET", "/rules"), 409, "rules_not_offered")
            refused(ask("PUT", "/rules", {"rules": []}, headers=version), 409, "rules_not_offered")
            refused(ask("POST", "/rules:undo", headers=version), 409, "rules_not_offered")
            refused(ask("GET", "/rules/versions"), 409, "rules_not_offered")
            refused(ask("GET", "/rules/versions/1"), 409, "rules_not_offered")
            refused(ask("POST", "/rules:dryRun", FACTS), 409, "rules_not_offered")


def test_odd_rules_are_taken_with_warnings_in_both_languages(ask: Ask, ruled: Instance) -> None:
    everything, later = pin("ruled-1", name="everything"), pin("ruled-2", name="later", path_prefix="/api/")
    told = put(ask, [everything, later], sources={"nobody": ["192.0.2.0/24"]})
    found = {each["code"]: each for each in told["warnings"]}
    assert set(found) >= {"rule_unreachable", "rule_source_unused"}
    assert "everything" in found["rule_unreachable"]["text"]["en"]
    assert "everything" in found["rule_unreachable"]["text"]["de"]
    assert good(ask("GET", "/rules"))["warnings"] == told["warnings"]


# What rules do.


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


# The dry run.


def test_dry_run_says_why_in_both_languages_and_changes_nothing(ask: Ask, ruled: Instance) -> None:
    header = {"name": "x-client-class", "value": "batch"}
    put(
        ask,
        [
            pin("ruled-1", name="orders", path_prefix="/api/v1/orders"),
            pin("ruled-2", name="batch", header=header),
            pin("ruled-1", name="rest"),
        ],
    )
    with ruled.site.nothing_changes(but=USED):
        said = good(ask("POST", "/rules:dryRun", {**FACTS, "headers": {"X-Client-Class": "batch"}}))
    assert (said["outcome"], said["rule"], said["line"], said["by"]) == ("line", "batch", "ruled-2", "rule")
    assert said["sentence"] == {
        "en": "This request would go to line ruled-2, because rule “batch” holds (the header x-client-class: batch).",
        "de": "Diese Anfrage ginge an Linie ruled-2, weil die Regel „batch“ zutrifft "
        "(die Kopfzeile x-client-class: batch).",
    }
    assert [(each["rule"], each["outcome"], each["condition"]) for each in said["verdicts"]] == [
        ("orders", "fails", "path_prefix"),
        ("batch", "decides", None),
        ("rest", "not_reached", None),
    ]
    assert (said["verdicts"][0]["wanted"], said["verdicts"][0]["seen"]) == (
        ["/api/v1/orders"],
        "/api/v1/items",
    )


def test_dry_run_by_rules_that_are_stored_nowhere(ask: Ask, ruled: Instance) -> None:
    with ruled.site.nothing_changes(but=USED):
        given = {"rules": [PAUSE], "sources": {}}
        said = good(ask("POST", "/rules:dryRun", {**FACTS, "rules": given}))
        assert (said["version"], said["outcome"], said["code"]) == (None, "maintenance", "rule_maintenance")
        assert said["retry_after_seconds"] == 7
        assert "Retry-After: 7" in said["sentence"]["de"]
        bad = {"rules": [pin("shared-1")]}
        refused(ask("POST", "/rules:dryRun", {**FACTS, "rules": bad}), 422, "rule_line_foreign")
        without = good(ask("POST", "/rules:dryRun", FACTS))
    assert (without["rule"], without["by"], len(without["candidates"])) == (None, "no_rule", 2)
    assert sum(each["share"] for each in without["candidates"]) == pytest.approx(1)
    assert "no rules" in without["sentence"]["en"]


def test_request_that_cannot_be_is_not_tried(ask: Ask, ruled: Instance) -> None:
    with ruled.site.nothing_changes(but=USED):
        for wrong in (
            {"method": ""},
            {"method": "GET\r\n"},
            {"path": "api"},
            {"path": "/a b"},
            {"path": "/\x00"},
            {"path": "/ä"},
            {"headers": {"x client": "a"}},
            {"headers": {"x-client-class": "a\nb"}},
            {"headers": ["x"]},
            {"source": "nowhere"},
            {"client": "a:b"},
            {"certificate_fingerprint": "ff"},
            {"more": 1},
        ):
            refused(ask("POST", "/rules:dryRun", {**FACTS, **wrong}), 422, "request_invalid")
