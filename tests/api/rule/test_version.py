"""Rules of instances are changed and undone, version by version."""

from __future__ import annotations

import threading

import httpx2

from tests.api.rule.rule_scene import PAUSE, Ask, pin, put, send
from tests.api.site import USED, Instance, good, refused


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
