"""What staff get who look into an erased instance: 410 where its data would be read, and the description says so."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.ids import new_id
from tests.api.conftest import MakeInstance
from tests.api.routes import Operation, admin_operations
from tests.api.site import HERE, Instance, Site, good, refused
from tests.service.pki import issue, issue_for_host, make_authority, make_revocation_list
from tests.service.wait import wait_until

HOST = issue_for_host("erased.example")
PROOF = {"certificate": HOST.pem, "key": HOST.key_pem}
ITEM = {"sku": "x", "name": "x", "options": {"product_code": 1}}
BODIES: dict[str, Any] = {
    "createItemForCustomer": ITEM,
    "placeOrderForCustomer": {"order_number": "so-1", "positions": [{"sku": "x", "quantity": 1}]},
    "restoreContainerForCustomer": {"decision": "keep_recorded", "reason": "found again"},
    "putAccessPolicy": {"methods": ["basic"]},
    "createClient": {"name": "crm", "scopes": ["read"]},
    "changeClient": {"scopes": ["read"]},
    "diagnoseAccess": {"address": HERE},
    "addClientCertificate": {"certificate": issue().pem},
    "addContract": {"edition": "dedicated"},
    "correctQuota": {"month": "2026-03", "effect_ids": ["trf_x"], "reason": "because"},
    "installFirmKey": {"reason": "because"},
    "endInstance": {"reason": "because"},
    "eraseInstance": {"reason": "because"},
    "renameInstance": {"name": "another-name"},
    "reinstateInstance": {},
    "addHost": {"host": "erased.example", **PROOF},
    "renewHost": PROOF,
    "putRevocationList": {"list": make_revocation_list(make_authority())},
    "putRules": {"rules": []},
    "tryRules": {"method": "GET", "path": "/", "source": HERE},
}
VERSIONED = frozenset({"undoRules", "removeHost"})
"""Operations other than PUT and PATCH that open an instance's database and are based on a version."""


@pytest.fixture(scope="module")
def erased(site: Site) -> Instance:
    instance = site.add_instance("dedicated", f"erased-{new_id('i')[-8:]}")
    approved(instance, "end", {"reason": "contract 12 is over", "retention_days": 0})
    approved(instance, "erase", {"reason": "as agreed"})
    return instance


def approved(instance: Instance, verb: str, body: dict[str, Any]) -> None:
    site = instance.site
    asked = good(instance.admin("POST", f":{verb}", body), 202)
    second = {"Authorization": f"Bearer {site.new_token('admin', person='second@wops.example')}"}
    headers = {**second, "If-Match": f'"{asked["version"]}"'}
    done = good(site.admin("POST", f"/approvals/{asked['approval_id']}:approve", {}, headers=headers))

    def has_ended() -> bool:
        site.pass_time(1)
        state = good(site.admin("GET", f"/operations/{done['operation_id']}"))["state"]
        assert state in ("queued", "running", "succeeded"), state
        return bool(state == "succeeded")

    wait_until(has_ended, f"{verb} to be done")


def ask(instance: Instance, operation: Operation) -> tuple[int, str]:
    """Status and code of the answer to a sound request."""
    names = {"ticket": "NFGSX-VWNYJ-T74CD-48H5B-7NEEJ", "serial": "130-1029384756"}
    names |= {
        each: f"{each}_0"
        for each in (
            "client_id",
            "certificate_id",
            "contract_id",
            "export_id",
            "line",
            "host_id",
            "authority",
        )
    }
    names["version"] = "1"
    path = operation.path.format_map({"instance_id": instance.instance_id, **names})
    versioned = operation.method in ("PUT", "PATCH") or operation.name in VERSIONED
    more: dict[str, Any] = {"headers": {"If-Match": '"1"'} if versioned else {}}
    if operation.name == "listLedger":
        more["params"] = {"period": "2026-03", "meter": "activations"}
    answer = instance.site.admin(
        operation.method, path.removeprefix("/admin/v1"), BODIES.get(operation.name), **more
    )
    return answer.status_code, answer.json().get("code", "") if answer.status_code >= 400 else ""


def test_every_route_that_opens_the_database_answers_410_and_says_so(site: Site, erased: Instance) -> None:
    described = good(site.call("GET", "/openapi/admin.json"))["paths"]
    said, gone = set(), set()
    for operation in admin_operations(site):
        if "{instance_id}" not in operation.path:
            continue
        if "410" in described[operation.path][operation.method.lower()]["responses"]:
            said.add(operation.name)
        status, code = ask(erased, operation)
        assert status < 500, (operation.name, status, code)
        if status == 410:
            assert code == "instance_erased"
            gone.add(operation.name)
    assert gone == said
    assert {"getAccessPolicy", "listClients", "getInstanceUsage", "listInstanceAudit", "removeClient"} <= gone


def test_audit_of_an_erased_instance_is_what_the_platform_says_of_it(site: Site, erased: Instance) -> None:
    query = {"instance_id": erased.instance_id}
    refused(site.admin("GET", "/audit", params=query), 410, "instance_erased")
    refused(erased.admin("GET", "/audit"), 410, "instance_erased")
    said = good(site.admin("GET", "/audit", params={**query, "source": "platform", "limit": 100}))["data"]
    assert "instance.created" in {each["type"] for each in said}
    assert site.admin("GET", "/audit/export", params=query).status_code == 200
    chain = {"chain": erased.instance_id}
    assert good(site.admin("GET", "/audit/verification", params=chain))["sound"] is True


def test_audit_of_an_instance_that_is_there_is_shown(site: Site, make_instance: MakeInstance) -> None:
    there = make_instance()
    assert good(site.admin("GET", "/audit", params={"instance_id": there.instance_id}))["data"]
    refused(site.admin("GET", "/audit", params={"instance_id": "ins_0"}), 404, "instance_not_found")
