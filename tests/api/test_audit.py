"""The audit through HTTP: every change has its entry, every reader sees what is his, and nobody rewrites it unseen."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from app.core.ids import new_id
from app.operations.audit.verify_audit import CheckpointCheck, ExportCheck, read_keys
from tests.api.audit_scene import ELSEWHERE, NO_CHANGE, REASON, SCENES, Stage
from tests.api.conftest import MakeInstance
from tests.api.routes import admin_operations, instance_operations, portal_operations
from tests.api.site import Instance, Site, good, refused
from tests.api.test_box import approved as box_approved
from tests.api.test_box import new_box


def test_every_changing_route_has_a_scene(site: Site) -> None:
    """Whoever adds a route adds its scene: the next test then finds its entry, or that it has none."""
    declared = [*admin_operations(site), *instance_operations(site), *portal_operations(site)]
    changing = {each.name for each in declared if each.method not in ("GET", "HEAD")}
    assert changing == set(SCENES) | NO_CHANGE | ELSEWHERE


@pytest.mark.parametrize("name", sorted(SCENES))
def test_every_change_leaves_an_entry_with_who_did_it_why_and_in_which_request(
    site: Site, make_instance: MakeInstance, name: str
) -> None:
    instance = make_instance()
    answer = SCENES[name](Stage(site=site, instance=instance))
    assert answer.status_code < 300, answer.text
    entry = find_entry(site, answer.headers["request-id"], name, instance)
    assert entry is not None, "no entry has this action and request id"
    path = answer.request.url.path
    kind = "staff" if path.startswith("/admin/") else "holder" if "/gateways/" in path else "client"
    assert entry["actor"]["kind"] == kind
    assert entry["actor"]["id"]
    if kind == "staff":
        assert entry["reason"] == REASON
        assert entry["actor"]["person"].startswith("per_")
        assert entry["actor"]["name"] == "admin@wops.example"
    if answer.request.method in ("PUT", "PATCH", "DELETE"):
        assert entry["before"], "nothing says what was before"


def find_entry(site: Site, request_id: str, action: str, instance: Instance) -> dict[str, Any] | None:
    """An entry of a request, in the platform's chain or in the instance's."""
    for more in ({}, {"instance_id": instance.instance_id}):
        query = {"request_id": request_id, "action": action, **more}
        found = good(site.admin("GET", "/audit", params=query))["data"]
        if found:
            return dict(found[-1])
    return None


def export(site: Site, **query: Any) -> list[bytes]:
    answer = site.admin("GET", "/audit/export", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    return [line + b"\n" for line in answer.content.splitlines()]


def check(site: Site, lines: list[bytes]) -> ExportCheck:
    """As an auditor does who got the key some other way."""
    verifying = ExportCheck(CheckpointCheck(read_keys(good(site.admin("GET", "/audit/key"))["line"])))
    verifying.run(lines)
    return verifying


def test_export_of_an_instance_verifies_and_names_no_other(
    site: Site, instance: Instance, make_instance: MakeInstance
) -> None:
    other = make_instance()
    instance.sell()
    other.sell()
    lines = export(site, instance_id=instance.instance_id)
    found = check(site, lines)
    assert found.findings == []
    assert [each.chain for each in found.chains] == [instance.instance_id, "platform"]
    assert all(each.vouched == each.sequence for each in found.chains), "the newest entries are signed, too"
    text = b"".join(lines).decode()
    assert other.instance_id not in text
    assert other.name not in text
    shown = [json.loads(line)["entry"][2] for line in lines if b'"kind":"entry"' in line]
    assert {"order.created", "instance.created"} <= set(shown)
    assert check(site, export(site)).findings == []


def test_export_of_a_time_holds_what_happened_then(site: Site, instance: Instance) -> None:
    site.pass_time(3600)
    begin = site.clock.now()
    instance.sell()
    site.pass_time(3600)
    instance.sell()
    query = {"from": begin.isoformat(), "until": (begin + timedelta(minutes=30)).isoformat()}
    lines = export(site, instance_id=instance.instance_id, **query)
    entries = [json.loads(line)["entry"] for line in lines if b'"kind":"entry"' in line]
    assert [each[2] for each in entries if each[2].startswith("order")] == ["order.created"]
    assert check(site, lines).findings == []


def verify(site: Site, chain: str) -> dict[str, Any]:
    return dict(good(site.admin("GET", "/audit/verification", params={"chain": chain})))


def test_altered_row_is_found_and_named(site: Site, instance: Instance) -> None:
    instance.sell()
    assert verify(site, instance.instance_id)["sound"] is True
    with closing(sqlite3.connect(instance.database)) as connection, connection:
        connection.execute("UPDATE outbox_event SET data = '{}' WHERE sequence = 2")
    report = verify(site, instance.instance_id)
    assert report["sound"] is False
    assert [(each["code"], each["sequence"]) for each in report["findings"]] == [("changed", 2)]
    assert [each.code for each in check(site, export(site, instance_id=instance.instance_id)).findings] == [
        "changed"
    ]
    assert verify(site, "platform")["sound"] is True
    assert verify(site, "checkpoints")["findings"] == []


def test_entries_are_filtered_and_paged_newest_first(site: Site, instance: Instance) -> None:
    for _ in range(3):
        instance.sell()
    entries = site.listed(f"/instances/{instance.instance_id}/audit", limit=2)
    seen = [each["sequence"] for each in entries]
    assert len(seen) > 4
    assert seen == sorted(seen, reverse=True) == list(range(seen[0], 0, -1))
    chosen = {"instance_id": instance.instance_id, "type": "order.created"}
    orders = good(site.admin("GET", "/audit", params=chosen))["data"]
    assert {each["action"] for each in orders} == {"placeOrder"}
    by_object = {"instance_id": instance.instance_id, "object": orders[0]["subject"]}
    assert good(site.admin("GET", "/audit", params=by_object))["data"] == orders[:1]
    by_actor = {
        "instance_id": instance.instance_id,
        "actor": orders[0]["actor"]["id"],
        "action": "placeOrder",
    }
    assert good(site.admin("GET", "/audit", params=by_actor))["data"] == orders
    about = good(
        site.admin("GET", "/audit", params={"instance_id": instance.instance_id, "source": "platform"})
    )
    assert "instance.created" in {each["type"] for each in about["data"]}
    assert {each["chain"] for each in about["data"]} == {"platform"}
    assert all(instance.instance_id in json.dumps(each) for each in about["data"])


def test_cursor_is_of_use_in_its_list_only(site: Site, instance: Instance) -> None:
    instance.sell()
    cursor = good(instance.admin("GET", "/audit", params={"limit": 1}))["page"]["next"]
    refused(site.admin("GET", "/audit", params={"cursor": cursor}), 422, "cursor_invalid")
    refused(site.admin("GET", "/audit", params={"cursor": "nonsense"}), 422, "cursor_invalid")


def test_unknown_instance_and_times_without_zone_are_refused(site: Site) -> None:
    for path in (
        "/audit?instance_id=ins_0",
        "/audit/export?instance_id=ins_0",
        "/audit/verification?chain=ins_0",
    ):
        refused(site.admin("GET", path), 404, "instance_not_found")
    refused(site.admin("GET", "/audit?from=2026-01-01T00:00:00"), 422, "request_invalid")
    refused(site.admin("GET", "/audit/export?until=yesterday"), 422, "request_invalid")


def test_checkpoints_are_listed_newest_first(site: Site, instance: Instance) -> None:
    export(site, instance_id=instance.instance_id)
    instance.sell()
    export(site, instance_id=instance.instance_id)
    query = {"chain": instance.instance_id, "limit": 1}
    page = good(site.admin("GET", "/audit/checkpoints", params=query))
    older = good(site.admin("GET", "/audit/checkpoints", params={**query, "cursor": page["page"]["next"]}))
    assert page["data"][0]["sequence"] > older["data"][0]["sequence"]
    assert page["data"][0]["key_id"] == good(site.admin("GET", "/audit/key"))["key_id"]


def test_auditor_and_operator_read_and_support_does_not(site: Site) -> None:
    for role, status in (("auditor", 200), ("operator", 200), ("admin", 200), ("support", 403)):
        headers = {"Authorization": f"Bearer {site.new_token(role)}"}
        for path in ("/audit", "/audit/key", "/audit/checkpoints", "/audit/verification"):
            assert site.call("GET", f"/admin/v1{path}", headers=headers).status_code == status


def test_customer_reads_his_own_entries_and_no_name_of_staff(
    site: Site, instance: Instance, make_instance: MakeInstance
) -> None:
    other = make_instance()
    instance.sell()
    good(
        Stage(site=site, instance=instance).of("POST", "/clients", {"name": "second", "scopes": ["read"]}),
        201,
    )
    answer = site.call("GET", f"/portal/v1/{instance.name}/audit", auth=instance.auth)
    entries = good(answer)["data"]
    by_staff = next(each for each in entries if each["action"] == "createClient" and each["reason"] == REASON)
    assert set(by_staff["actor"]) == {"kind", "id"}
    assert (by_staff["actor"]["kind"], by_staff["actor"]["id"][:4]) == ("staff", "stk_")
    assert {"client", "staff"} <= {each["actor"]["kind"] for each in entries}
    for word in ("admin@wops.example", "sealed_name", '"per_', other.name, other.instance_id):
        assert word not in answer.text
    refused(site.call("GET", f"/portal/v1/{instance.name}/audit", auth=other.auth), 404, "instance_not_found")


def test_customer_reads_what_staff_did_to_his_instance_by_time_and_page_by_page(
    site: Site, instance: Instance, make_instance: MakeInstance
) -> None:
    other = make_instance()
    stage = Stage(site=site, instance=instance)
    instance.sell()
    good(stage.of("POST", "/contracts", {"edition": "high_availability", "lines": 2}), 201)
    good(stage.of("POST", ":freeze", version=stage.instance_version))
    good(stage.of("POST", ":unfreeze", version=stage.instance_version))
    good(stage.staff("POST", f"/instances/{instance.instance_id}:end", {"reason": "over"}), 202)
    found: list[dict[str, Any]] = []
    path: str | None = f"/portal/v1/{instance.name}/audit?limit=3"
    while path is not None:
        answer = site.call("GET", path, auth=instance.auth)
        page = good(answer)
        for word in ("wops.example", "sealed_name", '"per_', "database_url", other.name, other.instance_id):
            assert word not in answer.text
        found += page["data"]
        path = answer.headers["Link"].partition(">")[0][1:] if page["page"]["has_more"] else None
    by_chain: dict[str, list[int]] = {}
    for each in found:
        by_chain.setdefault(each["chain"], []).append(each["sequence"])
        assert set(each["actor"]) == {"kind", "id"}
    assert set(by_chain) == {"platform", instance.instance_id}
    assert all(numbers == sorted(set(numbers), reverse=True) for numbers in by_chain.values())
    assert by_chain[instance.instance_id][-1] == 1
    times = [each["occurred_at"] for each in found]
    assert times == sorted(times, reverse=True)
    by_staff = {each["type"] for each in found if each["chain"] == "platform"}
    assert {"instance.created", "contract.added", "instance.frozen", "approval.requested"} <= by_staff
    one = good(site.call("GET", f"/portal/v1/{instance.name}/audit?action=addContract", auth=instance.auth))
    assert [(each["type"], each["actor"]["kind"]) for each in one["data"]] == [("contract.added", "staff")]


def test_entries_are_found_by_person_as_well_as_by_token(site: Site, instance: Instance) -> None:
    stage = Stage(site=site, instance=instance)
    good(stage.of("POST", "/contracts", {"edition": "dedicated"}), 201)
    query = {"action": "addContract", "instance_id": instance.instance_id, "source": "platform"}
    (entry,) = good(site.admin("GET", "/audit", params=query))["data"]
    for actor in (entry["actor"]["id"], entry["actor"]["person"]):
        assert good(site.admin("GET", "/audit", params={**query, "actor": actor}))["data"] == [entry]
    assert entry["actor"]["person"].startswith("per_")
    nobody = {**query, "actor": "per_" + "0" * 32}
    assert good(site.admin("GET", "/audit", params=nobody))["data"] == []


def test_events_of_customers_tell_neither_actor_nor_before(instance: Instance) -> None:
    sku = new_id("sku")[-20:]
    body = {"name": "One", "options": {"product_code": 1}}
    good(instance.call("POST", "/items", {"sku": sku, **body}), 201)
    good(instance.call("PUT", f"/items/{sku}", {**body, "name": "Two"}, headers={"If-Match": '"1"'}))
    event = good(instance.call("GET", "/events", params={"limit": 100}))["data"][-1]
    assert set(event) == {"sequence", "event_id", "type", "subject", "data", "occurred_at"}
    assert event["data"] == {"sku": sku, "version": 2, "name": "Two"}
    entry = good(instance.admin("GET", "/audit", params={"limit": 1}))["data"][0]
    assert entry["before"] == {"version": 1, "name": "One"}


def test_customer_reads_nothing_of_other_customers_boxes_nor_of_where_his_own_are(own_site: Site) -> None:
    site = own_site
    acme, beta = site.add_instance("dedicated", "acme"), site.add_instance("high_availability", "beta")
    box_approved(site, "/boxes/beta-box-1:lend", {"to": "shared", "hours": 2})
    site.finish(good(site.admin("POST", "/boxes/beta-box-1:return"), 202)["operation_id"])
    spare = new_box(site, "shared")
    box_approved(site, f"/boxes/{spare}:lend", {"to": "beta", "hours": 1})
    box_approved(site, f"/firm-keys/{beta.firm_code}:move", {"from": spare, "to": "beta-box-1"})
    box_approved(site, f"/firm-keys/{beta.firm_code}:copy", {"to": spare})
    token = {"module": "/usr/lib/hsm.so", "label": "vault-7", "pin_file": "/etc/wops/pin-7"}
    more = {"name": "vault-box", "pool": "beta", "driver": "pkcs11", "token": token, "reason": "a dongle"}
    good(site.admin("POST", "/boxes", more), 202)
    site.run(site.platform.tell_customers())

    def seen(instance: Instance) -> list[dict[str, Any]]:
        return list(good(instance.portal("GET", "/audit", params={"limit": 100}))["data"])

    entries = seen(acme)
    assert "beta" not in json.dumps(entries)
    assert kinds_of_keys(entries) == {"firm_key.installed": 1, "firm_key.copied": 2, "firm_key.dropped": 1}
    entries = seen(beta)
    text = json.dumps(entries)
    for word in ("acme", spare, "beta-box", "vault", "/usr/lib/hsm.so", "/etc/wops"):
        assert word not in text, word
    assert kinds_of_keys(entries) == {"firm_key.installed": 1, "firm_key.copied": 2, "firm_key.dropped": 1}
    asked = [each["data"] for each in entries if each["type"] == "approval.requested"]
    assert {each["action"] for each in asked} == {"moveFirmKey", "copyFirmKey"}
    assert {each["parameters"]["firm_code"] for each in asked} == {beta.firm_code}
    exported = site.admin("GET", "/audit/export", params={"instance_id": beta.instance_id}).text
    for word in ("acme", spare, "vault", "/usr/lib/hsm.so", "/etc/wops"):
        assert word not in exported, word
    assert "firm_key.copied" in exported


def kinds_of_keys(entries: list[dict[str, Any]]) -> Counter[str]:
    return Counter(each["type"] for each in entries if each["type"].startswith("firm_key."))
