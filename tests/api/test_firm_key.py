"""Firm keys through the admin API: what two people do to them, and the record of it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509

from tests.api.conftest import MakeInstance
from tests.api.lifecycle import approve_asked
from tests.api.lifecycle import approved as approved_end
from tests.api.site import Instance, Site, good, refused
from tests.api.test_box import activate, change, new_box


@pytest.fixture
def twin(make_instance: MakeInstance) -> Instance:
    """An instance with two boxes of its own."""
    return make_instance("high_availability")


def read(instance: Instance) -> dict[str, Any]:
    return dict(good(instance.site.admin("GET", f"/firm-keys/{instance.firm_code}")))


def done(instance: Instance, verb: str, **body: str) -> dict[str, Any]:
    """Ask, approve, carry out; the operation."""
    path = f"/firm-keys/{instance.firm_code}:{verb}"
    asked = good(instance.site.admin("POST", path, {"reason": "ticket 4711", **body}), 202)
    return approve_asked(instance.site, asked)


def told(instance: Instance, kind: str) -> list[dict[str, Any]]:
    """What the instance's own chain says, which its customer reads."""
    instance.site.run(instance.site.platform.tell_customers())
    found = good(instance.admin("GET", "/audit", params={"type": kind}))
    return list(found["data"])


def test_key_is_shown_with_its_certificates_and_where_it_is(site: Site, twin: Instance) -> None:
    key = read(twin)
    assert key["boxes"] == [f"{twin.name}-box-1", f"{twin.name}-box-2"]
    assert (key["instance_id"], key["state"], key["former"]) == (twin.instance_id, "active", [])
    firm, authority = x509.load_pem_x509_certificates(key["certificate"].encode())
    firm.verify_directly_issued_by(authority)
    listed = {each["firm_code"]: each for each in good(site.admin("GET", "/firm-keys"))}
    assert listed[twin.firm_code] == {name: value for name, value in key.items() if name != "certificate"}
    refused(site.admin("GET", "/firm-keys/4711"), 404, "firm_key_not_found")
    refused(site.admin("POST", "/firm-keys/4711:rotate", {"reason": "x"}), 404, "firm_key_not_found")


def test_rotated_key_signs_on_and_old_updates_still_verify(twin: Instance) -> None:
    before = read(twin)
    early = twin.device()
    early_ticket = twin.sell()
    collected = good(
        twin.gate(
            "POST",
            "/transfers",
            {"action": "activate", "ticket": early_ticket, "context": early.context()},
        ),
        201,
    )
    operation = done(twin, "rotate")
    after = read(twin)
    assert after["key_id"] != before["key_id"]
    assert [each["fingerprint"] for each in after["former"]] == [before["fingerprint"]]
    assert after["boxes"] == before["boxes"]
    early.apply(collected["update"])
    late, ticket = twin.device(), twin.sell()
    body = {"action": "activate", "ticket": ticket, "context": late.context()}
    late.apply(good(twin.gate("POST", "/transfers", body), 201)["update"])
    (entry,) = told(twin, "firm_key.rotated")
    assert entry["data"]["fingerprint"] == after["fingerprint"]
    assert entry["before"]["fingerprint"] == before["fingerprint"]
    assert entry["data"]["operation_id"] == operation["operation_id"]
    assert f"{twin.name}-box" not in json.dumps(entry)
    events = good(twin.call("GET", "/events"))["data"]
    assert "firm_key.rotated" in {each["type"] for each in events}


def test_key_is_copied_and_moved_between_boxes_of_its_pool(site: Site, twin: Instance) -> None:
    first, second = (f"{twin.name}-box-{n}" for n in (1, 2))
    done(twin, "move", **{"from": first, "to": second})
    assert read(twin)["boxes"] == [second]
    activate(twin)
    why = {"reason": "x"}
    path = f"/firm-keys/{twin.firm_code}"
    refused(site.admin("POST", f"{path}:move", {**why, "from": first, "to": second}), 409, "firm_key_missing")
    refused(
        site.admin("POST", f"{path}:move", {**why, "from": second, "to": second}), 422, "box_spec_invalid"
    )
    refused(site.admin("POST", f"{path}:copy", {**why, "to": "nothing"}), 404, "box_unknown")
    refused(site.admin("POST", f"{path}:copy", {**why, "to": second}), 409, "firm_key_present")
    good(change(site, ":drain", second))
    refused(site.admin("POST", f"/boxes/{second}:remove", why), 409, "box_last")
    done(twin, "copy", to=first)
    assert read(twin)["boxes"] == [first, second]
    activate(twin)
    assert [each["data"]["firm_code"] for each in told(twin, "firm_key.copied")] == [twin.firm_code]
    assert len(told(twin, "firm_key.dropped")) == 1


def test_record_of_a_move_says_nothing_of_a_copy_that_was_there_before(site: Site, twin: Instance) -> None:
    first, second = (f"{twin.name}-box-{n}" for n in (1, 2))
    operation = done(twin, "move", **{"from": first, "to": second})
    record = good(site.admin("GET", f"/operations/{operation['operation_id']}/ceremony"))
    assert [each["event"] for each in record["document"]["keys"]] == ["firm_key.dropped"]
    operation = done(twin, "move", **{"from": second, "to": first})
    record = good(site.admin("GET", f"/operations/{operation['operation_id']}/ceremony"))
    assert [each["event"] for each in record["document"]["keys"]] == ["firm_key.copied", "firm_key.dropped"]


def test_key_does_not_go_into_a_box_of_others(
    site: Site, twin: Instance, instances: dict[str, Instance]
) -> None:
    assert instances["dedicated"].edition == "dedicated"
    body = {"to": "shared-box-1", "reason": "x"}
    refused(site.admin("POST", f"/firm-keys/{twin.firm_code}:copy", body), 403, "pool_foreign")


def test_installing_again_repairs_a_box_that_lacks_the_key(twin: Instance) -> None:
    first, second = (f"{twin.name}-box-{n}" for n in (1, 2))
    done(twin, "move", **{"from": first, "to": second})
    asked = good(twin.admin("POST", "/firm-key:install", {"reason": "box replaced"}), 202)
    approve_asked(twin.site, asked)
    assert read(twin)["boxes"] == [first, second]
    assert told(twin, "firm_key.installed")[0]["data"]["key_id"] == read(twin)["key_id"]


def test_retired_key_is_gone_for_good_and_its_certificates_stay(twin: Instance) -> None:
    path = f"/firm-keys/{twin.firm_code}:retire"
    refused(twin.site.admin("POST", path, {"reason": "x"}), 409, "instance_state_unfit")
    certificate = read(twin)["certificate"]
    approved_end(twin, "end", {"reason": "contract ended", "retention_days": 30})
    done(twin, "retire")
    key = read(twin)
    assert (key["state"], key["boxes"], key["certificate"]) == ("retired", [], certificate)
    assert len(told(twin, "firm_key.retired")) == 1


def test_ceremony_says_who_did_what_to_which_key_and_never_changes(site: Site, twin: Instance) -> None:
    operation = done(twin, "rotate")
    path = f"/operations/{operation['operation_id']}/ceremony"
    record = good(site.admin("GET", path))
    document = record["document"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert sha256(text.encode()).hexdigest() == record["sha256"]
    (key,) = document["keys"]
    now = read(twin)
    assert (key["event"], key["fingerprint"]) == ("firm_key.rotated", now["fingerprint"])
    firm, authority = x509.load_pem_x509_certificates(now["certificate"].encode())
    assert key["certificate"]["serial_number"] == f"{firm.serial_number:x}"
    assert key["ca_certificate"]["serial_number"] == f"{authority.serial_number:x}"
    assert key["boxes"] == now["boxes"]
    approval = document["approval"]
    people = {each["name"]: each["person_id"] for each in site.listed("/people")}
    assert approval["requested_by"] == people["admin@wops.example"]
    assert approval["decided_by"] == people["second@wops.example"]
    assert approval["reason"] == "ticket 4711"
    assert set(record["people"].values()) == {"admin@wops.example", "second@wops.example"}
    assert "wops.example" not in text, "names are no part of what is hashed"
    kinds = [each["type"] for each in document["audit"]]
    assert kinds[0] == "approval.requested"
    assert {"approval.approved", "firm_key.rotated", "operation.succeeded"} <= set(kinds)
    in_chain = {each["sequence"]: each["hash"] for each in site.listed("/audit", object=twin.instance_id)}
    (rotated,) = [each for each in document["audit"] if each["type"] == "firm_key.rotated"]
    assert in_chain[rotated["sequence"]] == rotated["hash"]
    done(twin, "rotate")
    site.pass_time(3600)
    assert good(site.admin("GET", path)) == record


def test_ceremony_keeps_its_digest_when_a_person_is_forgotten(own_site: Site) -> None:
    site = own_site
    twin = site.add_instance("high_availability", "twin")
    operation = done(twin, "rotate")
    path = f"/operations/{operation['operation_id']}/ceremony"
    before = good(site.admin("GET", path))
    (person,) = [each for each in site.listed("/people") if each["name"] == "second@wops.example"]
    erased = good(site.admin("POST", f"/people/{person['person_id']}:erase", {"reason": "has left"}), 202)
    third = {"Authorization": f"Bearer {site.new_token('admin', person='third@wops.example')}"}
    answer = site.admin(
        "POST", f"/approvals/{erased['approval_id']}:approve", {}, headers={**third, "If-Match": '"1"'}
    )
    site.finish(good(answer)["operation_id"])
    after = good(site.admin("GET", path))
    assert (after["sha256"], after["document"]) == (before["sha256"], before["document"])
    assert after["people"][person["person_id"]] == "erased person"


def test_ceremony_of_a_box_that_joined_names_every_key(site: Site, twin: Instance) -> None:
    name = new_box(site, twin.name)
    (operation,) = [each for each in site.listed("/operations", object_id=name) if each["kind"] == "add_box"]
    record = good(site.admin("GET", f"/operations/{operation['operation_id']}/ceremony"))
    (key,) = record["document"]["keys"]
    assert (key["event"], key["to"], key["firm_code"]) == ("firm_key.copied", name, twin.firm_code)


def test_provisioning_has_a_ceremony_without_an_approval(site: Site, twin: Instance) -> None:
    (operation,) = site.listed("/operations", object_id=twin.instance_id)
    document = good(site.admin("GET", f"/operations/{operation['operation_id']}/ceremony"))["document"]
    assert document["approval"] is None
    assert [each["event"] for each in document["keys"]] == ["firm_key.installed"]


def test_operation_without_keys_or_without_an_end_has_no_ceremony(site: Site, twin: Instance) -> None:
    exported = good(twin.admin("POST", "/exports"), 202)
    site.finish(exported["operation_id"])
    path = f"/operations/{exported['operation_id']}/ceremony"
    refused(site.admin("GET", path), 404, "ceremony_not_found")
    refused(site.admin("GET", f"{path}/page"), 404, "ceremony_not_found")
    refused(site.admin("GET", "/operations/opn_0/ceremony"), 404, "operation_not_found")


@pytest.mark.parametrize(
    ("query", "accept", "language", "title"),
    [
        ("", "de-DE,de;q=0.9,en;q=0.5", "de", "Protokoll einer Schlüsselzeremonie"),
        ("", "en", "en", "Record of a key ceremony"),
        ("?lang=en", "de", "en", "Record of a key ceremony"),
    ],
)
def test_ceremony_is_printed_in_german_or_english(
    site: Site, twin: Instance, query: str, accept: str, language: str, title: str
) -> None:
    asked = good(
        site.admin(
            "POST", f"/firm-keys/{twin.firm_code}:rotate", {"reason": "<b>Tausch</b> & Prüfung 'jährlich'"}
        ),
        202,
    )
    operation = approve_asked(site, asked)
    path = f"/operations/{operation['operation_id']}/ceremony"
    answer = site.admin("GET", f"{path}/page{query}", headers={"Accept-Language": accept})
    assert answer.status_code == 200
    assert answer.headers["content-language"] == language
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert f'<html lang="{language}">' in answer.text
    assert f"<h1>{title}</h1>" in answer.text
    assert good(site.admin("GET", path))["sha256"] in answer.text
    assert "&lt;b&gt;Tausch&lt;/b&gt; &amp; Prüfung" in answer.text
    assert "<b>" not in answer.text
    assert answer.text.count('class="signature"') == 3
    assert "second@wops.example" in answer.text
