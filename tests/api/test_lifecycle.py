"""Renamed, frozen, exported, ended, reinstated, erased: through the real server."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from io import BytesIO
from typing import Any

import httpx2
import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.ids import InstanceId, new_id
from app.core.origin import system_origin
from app.operations.audit.verify_audit import (
    CheckpointCheck,
    ExportCheck,
    check_ed25519,
    read_checkpoints,
    read_keys,
)
from tenancy import ContractService, PlacedDatabases
from tenancy.errors import InstanceDatabaseMissing
from tenancy.lifecycle.ending import change_instance
from tenancy.lifecycle.service import LifecycleService
from tests.api.site import Instance, Site, good, refused
from tests.service.wait import wait_until

MakeInstance = Callable[..., Instance]


def read(instance: Instance) -> tuple[dict[str, Any], str]:
    """The instance as staff see it, and its ETag."""
    answer = instance.admin("GET", "")
    return good(answer), answer.headers["ETag"]


def change(instance: Instance, verb: str, body: Any = None, **headers: str) -> httpx2.Response:
    """Change an instance as it was read a moment ago."""
    sent = {"If-Match": read(instance)[1], **headers}
    return instance.admin("POST", f":{verb}", body, headers=sent)


def finish(instance: Instance, operation_id: str, state: str = "succeeded") -> dict[str, Any]:
    """Let an operation come to its end; steps that wait for a time see it pass."""

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = good(instance.site.admin("GET", f"/operations/{operation_id}"))
        if any(step["waiting_for"] for step in found["steps"]):
            instance.site.pass_time(1)
        return found if found["finished_at"] or found["state"] in ("failed", "fatal") else None

    found = wait_until(ended, "the operation to end")
    assert found["state"] == state, found
    return found


def approved(instance: Instance, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for something that needs two people, and have it approved; returns its operation at the end."""
    site = instance.site
    asked = good(instance.admin("POST", f":{verb}", body), 202)
    second = {"Authorization": f"Bearer {site.new_token('admin', person='second@wops.example')}"}
    path = f"/approvals/{asked['approval_id']}"
    etag = site.admin("GET", path).headers["ETag"]
    done = good(site.admin("POST", f"{path}:approve", {}, headers={**second, "If-Match": etag}))
    return finish(instance, done["operation_id"])


def portal(instance: Instance, method: str, path: str, **more: Any) -> httpx2.Response:
    """Call the portal as the customer."""
    headers = {"Idempotency-Key": new_id("key")} if method == "POST" else {}
    more.setdefault("auth", instance.auth)
    return instance.site.call(method, f"/portal/v1/{instance.name}{path}", headers=headers, **more)


# Frozen


def test_frozen_instance_lets_nobody_in_within_a_second_and_counts_nothing(instance: Instance) -> None:
    good(instance.call("GET", "/items"))
    ticket = instance.sell()
    before = (instance.ledger("web_service_calls"), done_to(instance))
    assert good(change(instance, "freeze"))["state"] == "frozen"
    instance.site.pass_time(1.1)
    for answer in (
        instance.call("GET", "/items"),
        instance.call("POST", "/items", {"sku": "x", "name": "x", "options": {"product_code": 1}}),
        instance.gate("GET", f"/tickets/{ticket}"),
        instance.gate("GET", "/template"),
        instance.admin("POST", "/items", {"sku": "x", "name": "x", "options": {"product_code": 1}}),
    ):
        refused(answer, 403, "instance_frozen")
    refused(instance.call("GET", "/items", auth=("nobody", "x")), 404, "instance_not_found")
    refused(instance.call("GET", "/items", auth=(instance.auth[0], "x")), 401, "credentials_invalid")
    assert (instance.ledger("web_service_calls"), done_to(instance)) == before
    good(portal(instance, "GET", "/access"))
    good(instance.admin("GET", f"/tickets/{ticket}"))

    assert good(change(instance, "unfreeze"))["state"] == "ready"
    instance.site.pass_time(1.1)
    good(instance.call("GET", "/items"))
    good(instance.gate("GET", f"/tickets/{ticket}"))
    instance.check_books()


@pytest.fixture(scope="module")
def slow_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Each operation of a box takes a second; nobody waits longer than 50 ms for it."""
    folder = tmp_path_factory.mktemp("slow")
    running = Site(folder, operation_time_ms=1000, program_wait_seconds=0.05, drive_lease_seconds=0.5).start()
    yield running
    running.stop()


def test_transfer_that_is_under_way_when_the_contract_ends_is_in_the_final_export(slow_site: Site) -> None:
    slow = slow_site.add_instance("high_performance", "slow")
    device, ticket = slow.device(), slow.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    transfer = good(slow.call("POST", "/transfers", body), 202)
    ended = approved(slow, "end", {"reason": "over", "retention_days": 1})
    assert ended["state"] == "succeeded"
    slow_site.pass_time(1.1)
    refused(slow.gate("GET", f"/transfers/{transfer['transfer_id']}"), 403, "instance_frozen")
    assert [each["state"] for each in slow.licenses(ticket)] == ["collected"]
    (final,) = good(portal(slow, "GET", "/exports"))
    fetched = portal(slow, "GET", f"/exports/{final['export_id']}/file")
    check_file(fetched)
    with zipfile.ZipFile(BytesIO(fetched.content)) as archive:
        (row,) = [json.loads(line) for line in archive.read("tables/transfer.jsonl").splitlines()]
    assert (row["transfer_id"], row["state"]) == (transfer["transfer_id"], "issued")
    slow.check_books()


# Renamed


def test_renamed_instance_is_found_under_its_new_name_at_once_and_not_under_the_old_one(
    instance: Instance,
) -> None:
    old, new = instance.name, f"new-{new_id('n')[-8:]}"
    ticket = instance.sell()
    assert good(change(instance, "rename", {"name": new}))["name"] == new
    refused(instance.call("GET", "/items"), 404, "instance_not_found")
    refused(instance.gate("GET", f"/tickets/{ticket}"), 404, "instance_not_found")
    refused(portal(instance, "GET", "/access"), 404, "instance_not_found")
    instance.name = new
    assert instance.auth[0] == f"{old}.erp"
    good(instance.call("GET", "/items"))
    good(instance.gate("GET", f"/tickets/{ticket}"))
    good(portal(instance, "GET", "/access"))
    good(instance.admin("GET", f"/tickets/{ticket}"))
    instance.check_books()
    assert {runtime.name for runtime in instance.site.platform.runtimes()} >= {new}
    order = {"customer_id": instance.customer_id, "edition": "dedicated", "name": old}
    refused(instance.site.admin("POST", "/instances", order), 409, "name_taken")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("Ab", 422, "name_unfit"), ("admin", 422, "name_unfit"), ("dedicated", 409, "name_taken")],
)
def test_name_that_cannot_be_had_changes_nothing(
    instances: dict[str, Instance], instance: Instance, name: str, status: int, code: str
) -> None:
    assert instances["dedicated"].name == "dedicated"
    with instance.site.nothing_changes(but=("op", "api_client")):
        refused(change(instance, "rename", {"name": name}), status, code)


def test_what_another_process_changes_is_known_within_a_second_or_so(instance: Instance) -> None:
    site = instance.site
    good(instance.call("GET", "/items"))
    with closing(Database(site.settings.platform_url, clock=site.clock)) as elsewhere:
        contracts = ContractService(elsewhere, site.platform.databases)
        service = LifecycleService(elsewhere, contracts=contracts)
        instance_id = InstanceId(instance.instance_id)
        found = site.platform.instances.get_instance(instance_id)
        new = f"else-{new_id('n')[-8:]}"
        command = Command(origin=system_origin("renameInstance"))
        service.rename_instance(instance_id, new, expected_version=found.version, command=command)
    wait_until(lambda: instance.call("GET", "/items").status_code == 404, "the old name to be gone")
    instance.name = new
    good(instance.call("GET", "/items"))


# What every change needs


@pytest.mark.parametrize("verb", ["freeze", "unfreeze", "rename", "reinstate"])
def test_change_without_its_headers_is_refused(instance: Instance, verb: str) -> None:
    body = {"rename": {"name": "whatever"}, "reinstate": {}}.get(verb)
    bearers = [f"Bearer {instance.site.new_token(role)}" for role in ("support", "auditor")]
    with instance.site.nothing_changes(but=("op", "api_client")):
        refused(instance.admin("POST", f":{verb}", body), 428, "if_match_missing")
        refused(change(instance, verb, body, **{"If-Match": '"99"'}), 412, "instance_version_conflict")
        refused(change(instance, verb, body, **{"If-Match": "nonsense"}), 412, "if_match_stale")
        for bearer in bearers:
            refused(change(instance, verb, body, Authorization=bearer), 403, "staff_role_insufficient")


def test_repeated_request_changes_once(instance: Instance) -> None:
    etag, key = read(instance)[1], new_id("key")
    headers = {"If-Match": etag, "Idempotency-Key": key}
    first = instance.admin("POST", ":freeze", headers=headers)
    again = instance.admin("POST", ":freeze", headers=headers)
    assert good(first)["state"] == good(again)["state"] == "frozen"
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"] != etag


def test_unfit_states_are_told_apart(instance: Instance) -> None:
    refused(change(instance, "unfreeze"), 409, "instance_state_unfit")
    refused(change(instance, "reinstate", {}), 409, "instance_state_unfit")
    refused(instance.admin("POST", ":erase", {"reason": "now"}), 409, "instance_state_unfit")
    refused(instance.admin("POST", ":end", {"reason": "x", "retention_days": 3651}), 422, "request_invalid")
    refused(instance.admin("GET", "/erasure-certificate"), 404, "erasure_certificate_not_found")


def test_customer_is_changed_with_the_version_that_was_read(instance: Instance) -> None:
    site, path = instance.site, f"/customers/{instance.customer_id}"
    etag = site.admin("GET", path).headers["ETag"]
    body = {"display_name": "ACME Zeichnung SE"}
    refused(site.admin("PATCH", path, body), 428, "if_match_missing")
    changed = site.admin("PATCH", path, body, headers={"If-Match": etag})
    assert good(changed)["display_name"] == "ACME Zeichnung SE"
    refused(site.admin("PATCH", path, body, headers={"If-Match": etag}), 412, "customer_version_conflict")
    assert site.admin("GET", path).headers["ETag"] == changed.headers["ETag"] != etag
    refused(
        site.admin("PATCH", "/customers/cus_0", body, headers={"If-Match": etag}), 404, "customer_not_found"
    )


def test_contract_keeps_the_instance_in_its_country(instance: Instance) -> None:
    instance.site.pass_time(0.001)
    body = {"edition": "dedicated", "countries": ["AT", "CH"]}
    refused(instance.admin("POST", "/contracts", body), 409, "country_forbidden")
    assert instance.contract(countries=["AT", "DE"])["countries"] == ["AT", "DE"]
    assert instance.contract(limits={"activations": 7})["countries"] == ["AT", "DE"]
    assert [each["countries"] for each in good(instance.admin("GET", "/contracts"))] == [
        ["DE"],
        ["AT", "DE"],
        ["AT", "DE"],
    ]
    assert instance.meter("activations")["limit"] == 7


# Exports


def check_file(answer: httpx2.Response) -> dict[str, Any]:
    """The manifest of an export that was fetched, after a comparison of its digests."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    digest = base64.b64encode(sha256(answer.content).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        manifest: dict[str, Any] = json.loads(archive.read("manifest.json"))
        for each in manifest["files"]:
            assert sha256(archive.read(each["file"])).hexdigest() == each["sha256"]
    return manifest


def rows(manifest: dict[str, Any]) -> dict[str, int]:
    return {each["table"]: each["rows"] for each in manifest["files"]}


def test_staff_and_customer_export_the_instance_and_fetch_the_file(instance: Instance) -> None:
    instance.sell(3)
    started = instance.admin("POST", "/exports")
    operation = good(started, 202)
    assert started.headers["Location"].endswith(operation["operation_id"])
    finish(instance, operation["operation_id"])
    (listed,) = good(instance.admin("GET", "/exports"))
    fetched = instance.admin("GET", f"/exports/{listed['export_id']}/file")
    manifest = check_file(fetched)
    assert listed["manifest"] == manifest
    assert rows(manifest)["license"] == 3
    part = instance.admin("GET", f"/exports/{listed['export_id']}/file", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, fetched.content[:10])

    asked = portal(instance, "POST", "/exports")
    export_id = good(asked, 202)["export_id"]
    address = asked.headers["Location"]
    wait_until(
        lambda: good(instance.site.call("GET", address, auth=instance.auth))["state"] == "succeeded",
        "the customer's own export",
    )
    assert rows(check_file(portal(instance, "GET", f"/exports/{export_id}/file")))["license"] == 3
    assert [each["export_id"] for each in good(portal(instance, "GET", "/exports"))] == [
        export_id,
        listed["export_id"],
    ]


def test_export_of_one_customer_is_nothing_to_another(make_instance: MakeInstance) -> None:
    mine, other = make_instance(), make_instance()
    export_id = good(portal(mine, "POST", "/exports"), 202)["export_id"]
    finish(mine, export_id)
    for path in (f"/exports/{export_id}", f"/exports/{export_id}/file"):
        refused(portal(other, "GET", path), 404, "export_not_found")
        refused(portal(mine, "GET", path, auth=other.auth), 404, "instance_not_found")
    refused(other.admin("GET", f"/exports/{export_id}/file"), 404, "export_not_found")
    assert good(portal(other, "GET", "/exports")) == []
    reader = mine.add_client("reader", ["read"])
    refused(portal(mine, "GET", "/exports", auth=reader), 403, "scope_missing")


# The end


def test_contract_that_ends_leaves_data_that_come_back_or_go_for_good(instance: Instance) -> None:
    site = instance.site
    ticket = instance.sell(2)
    refused(
        instance.admin(
            "POST",
            ":end",
            {"reason": "x"},
            headers={"Authorization": f"Bearer {site.new_token('auditor')}"},
        ),
        403,
        "staff_role_insufficient",
    )
    ended = approved(instance, "end", {"reason": "contract 12 is over", "retention_days": 0})
    assert [step["state"] for step in ended["steps"]] == ["succeeded"] * 4
    assert read(instance)[0]["state"] == "ended"
    site.pass_time(1.1)
    refused(instance.call("GET", "/items"), 403, "instance_frozen")
    refused(instance.gate("GET", f"/tickets/{ticket}"), 403, "instance_frozen")
    (final,) = good(portal(instance, "GET", "/exports"))
    assert final["final"]
    manifest = check_file(portal(instance, "GET", f"/exports/{final['export_id']}/file"))
    assert rows(manifest)["license"] == 2

    assert good(change(instance, "reinstate", {"state": "ready"}))["state"] == "ready"
    site.pass_time(1.1)
    good(instance.gate("GET", f"/tickets/{ticket}"))
    approved(instance, "end", {"reason": "over again", "retention_days": 0})
    erased = approved(instance, "erase", {"reason": "as agreed"})
    assert [step["state"] for step in erased["steps"]] == ["succeeded"] * 5

    check_erased(instance, ticket)
    check_certificate(instance, erased["operation_id"])


def check_erased(instance: Instance, ticket: str) -> None:
    """Nobody finds it outside, staff see what it was."""
    refused(instance.call("GET", "/items"), 404, "instance_not_found")
    refused(instance.gate("GET", f"/tickets/{ticket}"), 404, "instance_not_found")
    refused(portal(instance, "GET", "/exports"), 404, "instance_not_found")
    assert read(instance)[0]["state"] == "erased"
    refused(instance.admin("GET", f"/tickets/{ticket}"), 410, "instance_erased")
    refused(instance.admin("GET", "/clients"), 410, "instance_erased")
    refused(instance.admin("POST", "/exports"), 409, "instance_state_unfit")
    for export in good(instance.admin("GET", "/exports")):
        assert export["deleted_at"]
        refused(instance.admin("GET", f"/exports/{export['export_id']}/file"), 404, "export_not_found")
    codes = [code for box in good(instance.site.admin("GET", "/boxes")) for code in box["firm_codes"]]
    assert instance.firm_code not in codes
    data = instance.site.settings.data_dir
    assert not list(data.rglob(f"{instance.instance_id}.db*"))


def check_certificate(instance: Instance, operation_id: str) -> None:
    """What the certificate says is signed, and the audit chain goes on verifying without the database."""
    found = good(instance.admin("GET", "/erasure-certificate"))
    audit = instance.site.settings.data_dir / "audit"
    keys = read_keys((audit / "audit.pub").read_text())
    signature = bytes.fromhex(found["signature"])
    assert check_ed25519(keys[found["key_id"]], found["document"].encode(), signature)
    assert not check_ed25519(keys[found["key_id"]], found["document"].encode() + b" ", signature)
    document = json.loads(found["document"])
    assert document["operation_id"] == operation_id
    assert None not in (document["requested_by"], document["approved_by"])
    assert document["requested_by"] != document["approved_by"]
    assert document["skipped"] == []
    assert document["instance"]["instance_id"] == instance.instance_id
    assert document["database"]["rows"]["license"] == 2

    kept = audit / "erased" / document["audit_chain"]["kept"]["file"]
    exported = instance.site.admin("GET", "/audit/export", params={"instance_id": instance.instance_id})
    check = ExportCheck(CheckpointCheck(keys))
    check.run(exported.content.splitlines())
    assert check.findings == [], "it is exported, signed, as the digests that are kept"
    query = {"chain": instance.instance_id}
    report = good(instance.site.admin("GET", "/audit/verification", params=query))
    assert (report["sound"], report["entries"] == report["vouched_until"] > 0) == (True, True)
    named = good(instance.site.admin("GET", "/audit/verification", params={"chain": "checkpoints"}))
    assert (named["sound"], instance.instance_id in named["chains"]) == (True, True)

    check = ExportCheck(CheckpointCheck(keys))
    check.run(kept.read_bytes().splitlines())
    assert [each.code for each in check.findings] == ["unsigned"], "by itself it is no proof"
    with (audit / "checkpoints.jsonl").open("rb") as lines:
        check = ExportCheck(CheckpointCheck(keys), list(read_checkpoints(lines)))
    check.run(kept.read_bytes().splitlines())
    assert check.findings == []
    (chain,) = check.chains
    head = document["audit_chain"]["head"]
    assert (chain.chain, chain.sequence, chain.hash) == (
        instance.instance_id,
        head["sequence"],
        head["hash"],
    )
    assert sha256(kept.read_bytes()).hexdigest() == document["audit_chain"]["kept"]["sha256"]


def test_change_while_an_operation_is_under_way_is_refused_naming_it(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = instance.site.platform.files

    def stuck(_export_id: str, *, token: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "draft", stuck)
        operation_id = good(instance.admin("POST", "/exports"), 202)["operation_id"]
        problem = refused(change(instance, "freeze"), 409, "operation_running")
        assert problem["context"]["operation_id"] == operation_id
    instance.site.pass_time(120)
    finish(instance, operation_id)


def test_data_that_are_retained_are_not_erased(site: Site, make_instance: MakeInstance) -> None:
    instance = make_instance("datacenter")
    approved(instance, "end", {"reason": "over", "retention_days": 30})
    refused(instance.admin("POST", ":erase", {"reason": "now"}), 409, "retention_running")
    refused(instance.admin("POST", ":erase", {"reason": "now", "early": True}), 422, "legal_reason_missing")
    assert read(instance)[0]["retained_until"] > site.clock.now().isoformat()
    due = listed(site, state="ended", retained_before=site.clock.now().isoformat())
    assert instance.instance_id not in due
    later = (site.clock.now() + timedelta(days=31)).isoformat()
    assert listed(site, state="ended", retained_before=later)[instance.instance_id] is False
    assert instance.instance_id not in listed(site, state="ready")


def test_what_is_retained_no_longer_is_shown_and_found(site: Site, make_instance: MakeInstance) -> None:
    instance, other = make_instance("datacenter"), make_instance("datacenter")
    approved(instance, "end", {"reason": "over", "retention_days": 0})
    site.pass_time(1)
    assert read(instance)[0]["due_for_erasure"]
    assert not read(other)[0]["due_for_erasure"]
    due = listed(site, retained_before=site.clock.now().isoformat())
    assert due[instance.instance_id]
    assert other.instance_id not in due
    refused(site.admin("GET", "/instances", params={"state": "gone"}), 422, "request_invalid")


def listed(site: Site, **wanted: str) -> dict[str, bool]:
    """Ids of the instances that a filter finds, and whether they are due for erasure."""
    found: dict[str, bool] = {}
    asked = {"limit": "100", **wanted}
    while True:
        page = good(site.admin("GET", "/instances", params=asked))
        found |= {each["instance_id"]: each["due_for_erasure"] for each in page["data"]}
        if not page["page"]["has_more"]:
            return found
        asked["cursor"] = page["page"]["next"]


def test_erasure_by_another_process_is_noticed_and_its_database_let_go(
    site: Site, make_instance: MakeInstance
) -> None:
    instance, platform = make_instance("datacenter"), site.platform
    instance_id = InstanceId(instance.instance_id)
    held = platform.runtime(instance_id)
    elsewhere = PlacedDatabases(
        platform.platform_db, data_dir=platform.data_dir, seal=platform.seal, clock=platform.clock
    )
    elsewhere.drop(instance_id)
    change_instance(
        platform.platform_db,
        instance_id,
        lambda old: replace(old, state="erased"),
        event="instance.erased",
        origin=system_origin("eraseInstance.dropDatabase"),
    )
    elsewhere.close()
    wait_until(lambda: held not in list(platform.runtimes()), "the line to forget it")
    with pytest.raises(InstanceDatabaseMissing):
        platform.databases.open(instance_id)
    refused(instance.gate("GET", "/tickets/x"), 404, "instance_not_found")


def done_to(instance: Instance) -> list[tuple[object, ...]]:
    """What has happened at the instance, besides control telling it of a change."""
    return [event for event in instance.events() if event[1] != "instance.configured"]
