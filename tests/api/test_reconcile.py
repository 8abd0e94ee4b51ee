"""Self-healing through the admin API, at a platform whose lines work in its own process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.core.clock import to_text
from app.core.db import Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from app.operations.reconcile import repository
from app.operations.reconcile.observation import Evidence
from app.operations.reconcile.past import Action
from app.operations.reconcile.record import Entry, EntryId
from tests.api.site import Site, good, refused

WHY = {"reason": "a memory leak"}


def write(site: Site, part: str, *actions: Action) -> list[EntryId]:
    """Lines of the journal, oldest first."""
    ids: list[EntryId] = []
    for action in actions:
        ids.append(EntryId(new_id("rcn")))
        entry = Entry(
            entry_id=ids[-1],
            part=part,
            group="acme",
            action=action,
            wanted=action,
            reason="sick",
            verdict="bad",
            evidence=(Evidence(witness="runner", verdict="bad", detail="frozen"),),
            token=7,
            decided_at=site.clock.now(),
            scope=part,
            until=datetime(2026, 3, 10, 12, tzinfo=UTC),
            outcome=None if action in ("none", "call_human") else "met",
        )

        def body(tx: Tx, entry: Entry = entry) -> JsonObject:
            repository.add_entry(tx, entry)
            return {}

        site.platform.platform_db.run_tx(new_id("op"), body, origin=system_origin("reconcile.note"))
    return ids


def test_platform_without_line_processes_heals_nothing_and_says_so(site: Site) -> None:
    found = good(site.admin("GET", "/reconcile"))
    assert (found["is_watching"], found["has_lease"], found["parts"]) == (False, False, [])


def test_pause_is_set_again_listed_and_ended(site: Site) -> None:
    path = "/reconcile/pauses/line:*"
    first = good(site.admin("PUT", path, WHY))
    assert (first["scope"], first["reason"], first["until"]) == ("line:*", WHY["reason"], None)
    assert first["paused_by"].startswith("stk_")
    until = to_text(site.clock.now() + timedelta(hours=1))
    second = good(site.admin("PUT", path, {"reason": "another", "until": until}))
    assert second["reason"] == "another"
    listed = [each for each in good(site.admin("GET", "/reconcile"))["pauses"] if each["scope"] != "all"]
    assert listed == [second]
    site.pass_time(3601)
    assert [each["scope"] for each in good(site.admin("GET", "/reconcile"))["pauses"]] in ([], ["all"])
    assert site.admin("DELETE", path).status_code == 204
    refused(site.admin("DELETE", path), 404, "pause_not_found")


def test_pause_that_is_repeated_after_somebody_has_ended_it_gets_the_first_answer(site: Site) -> None:
    path, key = "/reconcile/pauses/line:*", {"Idempotency-Key": new_id("key")}
    body = {**WHY, "until": "2099-03-10T14:00:00+02:00"}
    first = good(site.admin("PUT", path, body, headers=key))
    assert first["until"] == "2099-03-10T12:00:00Z"
    good(site.admin("PUT", path, {"reason": "another"}))
    assert site.admin("DELETE", path).status_code == 204
    with site.nothing_changes():
        again = site.admin("PUT", path, body, headers=key)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert good(again) == first


@pytest.mark.parametrize(
    "scope",
    [
        "everything",
        "group:",
        "group:ins_1",
        "group:*",
        "line:nobody-1",
        "line:acme;1",
        "line:acme%0a1",
        "lines:acme-1",
        "line:Acme",
        "line:" + "a" * 95,
    ],
)
def test_scope_that_is_none_is_refused_naming_those_there_are(site: Site, scope: str) -> None:
    with site.nothing_changes():
        refusal = refused(site.admin("PUT", f"/reconcile/pauses/{scope}", WHY), 422, "pause_scope_unfit")
    known, prefix = refusal["context"]["known"], f"{scope.partition(':')[0]}:"
    assert 0 < len(known) <= refusal["context"]["known_count"]
    if prefix == "line:":
        assert all(each.startswith(prefix) for each in known)
    assert site.admin("PUT", f"/reconcile/pauses/{known[0]}", WHY).status_code == 200
    assert site.admin("DELETE", f"/reconcile/pauses/{known[0]}").status_code == 204


def test_all_of_a_kind_a_part_and_a_group_can_be_paused_before_anything_was_seen(site: Site) -> None:
    acme = site.add_instance("high_availability", "paused")
    for scope in ("line:*", "box:*", "line:paused-2", f"group:{acme.instance_id}", "group:pool-paused"):
        assert good(site.admin("PUT", f"/reconcile/pauses/{scope}", WHY))["scope"] == scope
        assert site.admin("DELETE", f"/reconcile/pauses/{scope}").status_code == 204


def test_pause_of_the_past_or_without_reason_is_refused(site: Site) -> None:
    past = to_text(site.clock.now() - timedelta(seconds=1))
    with site.nothing_changes():
        refused(site.admin("PUT", "/reconcile/pauses/all", {**WHY, "until": past}), 422, "pause_end_unfit")
        assert site.admin("PUT", "/reconcile/pauses/all", {"reason": ""}).status_code == 422
        assert site.admin("PUT", "/reconcile/pauses/all", {"until": None}).status_code == 422


def test_journal_is_read_newest_first_page_by_page(site: Site) -> None:
    ids = write(site, "line:paged-1", "take_out", "restart", "put_back")
    write(site, "line:paged-2", "none")
    query = {"part": "line:paged-1", "limit": 2}
    page = good(site.admin("GET", "/reconcile/decisions", params=query))
    assert [each["decision_id"] for each in page["data"]] == ids[:0:-1]
    newest = page["data"][0]
    assert newest["words"] == {
        "en": "put back into service: it is sick for certain",
        "de": "wieder in Betrieb genommen: es ist sicher krank",
    }
    assert (newest["scope"], newest["until"]) == ("line:paged-1", "2026-03-10T12:00:00Z")
    assert newest["evidence"] == [{"witness": "runner", "verdict": "bad", "detail": "frozen"}]
    rest = good(site.admin("GET", "/reconcile/decisions", params={**query, "cursor": page["page"]["next"]}))
    assert ([each["decision_id"] for each in rest["data"]], rest["page"]["next"]) == (ids[:1], None)
    everything = good(site.admin("GET", "/reconcile/decisions", params={"limit": 100}))["data"]
    assert {"line:paged-1", "line:paged-2"} <= {each["part"] for each in everything}
    other = {"part": "line:paged-2", "limit": 2, "cursor": page["page"]["next"]}
    refused(site.admin("GET", "/reconcile/decisions", params=other), 422, "cursor_invalid")


def test_alarm_stays_until_somebody_releases_the_part(site: Site) -> None:
    write(site, "box:shared-box-7", "call_human")
    (alarm,) = good(site.admin("GET", "/reconcile"))["alarms"]
    assert (alarm["part"], alarm["released_at"]) == ("box:shared-box-7", None)
    body = {"part": "box:shared-box-7"}
    assert good(site.admin("POST", "/reconcile:release", body)) == body
    assert good(site.admin("GET", "/reconcile"))["alarms"] == []
    (entry,) = good(site.admin("GET", "/reconcile/decisions", params={"part": "box:shared-box-7"}))["data"]
    assert entry["released_by"].startswith("stk_")
    with site.nothing_changes():
        refused(site.admin("POST", "/reconcile:release", body), 409, "part_not_frozen")


def test_only_those_who_change_the_fleet_pause_and_release(site: Site) -> None:
    token = site.new_token("support")
    headers = {"Authorization": f"Bearer {token}"}
    assert site.call("GET", "/admin/v1/reconcile", headers=headers).status_code == 200
    refused(
        site.call("PUT", "/admin/v1/reconcile/pauses/all", json=WHY, headers=headers),
        403,
        "staff_role_insufficient",
    )
