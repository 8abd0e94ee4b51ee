"""Ended, reinstated, erased: through the real server, with what remains in the end."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from io import BytesIO

import pytest

from app.core.ids import InstanceId
from app.core.origin import system_origin
from app.operations.audit.verify_audit import (
    CheckpointCheck,
    ExportCheck,
    check_ed25519,
    read_checkpoints,
    read_keys,
)
from tenancy import PlacedDatabases
from tenancy.errors import InstanceDatabaseMissing
from tenancy.lifecycle.ending import change_instance
from tests.api.conftest import MakeInstance
from tests.api.lifecycle import approved, change, check_file, read, rows
from tests.api.site import Instance, Site, good, refused
from tests.service.wait import wait_until


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
    (final,) = good(slow.portal("GET", "/exports"))
    fetched = slow.portal("GET", f"/exports/{final['export_id']}/file")
    check_file(fetched)
    with zipfile.ZipFile(BytesIO(fetched.content)) as archive:
        (row,) = [json.loads(line) for line in archive.read("tables/transfer.jsonl").splitlines()]
    assert (row["transfer_id"], row["state"]) == (transfer["transfer_id"], "issued")
    slow.check_books()


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
    (final,) = good(instance.portal("GET", "/exports"))
    assert final["final"]
    manifest = check_file(instance.portal("GET", f"/exports/{final['export_id']}/file"))
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
    refused(instance.portal("GET", "/exports"), 404, "instance_not_found")
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


def test_data_that_are_retained_are_not_erased(site: Site, make_instance: MakeInstance) -> None:
    instance = make_instance("datacenter")
    approved(instance, "end", {"reason": "over", "retention_days": 30})
    refused(instance.admin("POST", ":erase", {"reason": "now"}), 409, "retention_running")
    refused(instance.admin("POST", ":erase", {"reason": "now", "early": True}), 422, "legal_reason_missing")
    assert read(instance)[0]["retained_until"] > site.clock.now().isoformat()
    due = due_for_erasure(site, state="ended", retained_before=site.clock.now().isoformat())
    assert instance.instance_id not in due
    later = (site.clock.now() + timedelta(days=31)).isoformat()
    assert due_for_erasure(site, state="ended", retained_before=later)[instance.instance_id] is False
    assert instance.instance_id not in due_for_erasure(site, state="ready")


def test_what_is_retained_no_longer_is_shown_and_found(site: Site, make_instance: MakeInstance) -> None:
    instance, other = make_instance("datacenter"), make_instance("datacenter")
    approved(instance, "end", {"reason": "over", "retention_days": 0})
    site.pass_time(1)
    assert read(instance)[0]["due_for_erasure"]
    assert not read(other)[0]["due_for_erasure"]
    due = due_for_erasure(site, retained_before=site.clock.now().isoformat())
    assert due[instance.instance_id]
    assert other.instance_id not in due
    refused(site.admin("GET", "/instances", params={"state": "gone"}), 422, "request_invalid")


def due_for_erasure(site: Site, **wanted: str) -> dict[str, bool]:
    """Ids of the instances that a filter finds, and whether they are due for erasure."""
    return {each["instance_id"]: each["due_for_erasure"] for each in site.listed("/instances", **wanted)}


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
