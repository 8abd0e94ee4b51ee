"""Every route of the admin API × every role, against one table: a new route has to stand in it."""

from __future__ import annotations

from itertools import product
from typing import Final

import pytest

from app.core.ids import new_id
from tests.api.routes import Operation, admin_operations
from tests.api.site import Instance, Site, good, refused
from tests.service.wait import wait_until

MAY: Final = {
    "read": "operator support auditor admin",
    "audit": "operator auditor admin",
    "change": "operator admin",
    "admin": "admin",
    "look": "operator support auditor admin",
    "act": "operator support admin",
    "ask": "support admin",
}
NEED: Final = {
    "read": """
        getApproval getBox getCustomer getErasureCertificate getFirmKey getInstance getInstanceQueue
        getKeyCeremony getMigrationReport getOperation getOperationLog getPool getServer
        getSupportAccess listApprovals listBoxes listContracts listCustomers listEditions
        listFirmKeys listInstances listIsolationProbes listOperations listPeople listPools listServers
        listStaffTokens listSupportAccesses printKeyCeremony streamOperationEvents

        listLines getLine getPlatformHost listPlatformHosts getDeniedNetwork listDeniedNetworks getFront
        getReconcile listReconcileDecisions
    """,
    "audit": "exportAudit getAuditKey listAudit listCheckpoints verifyAudit",
    "change": """
        addContract approveApproval cancelOperation changeCustomer changeServer correctQuota
        createCustomer createInstance endInstance eraseInstance erasePerson freezeInstance
        installFirmKey recoverOperation reinstateInstance rejectApproval renameInstance
        retryOperation runIsolationProbe skipOperationStep startMigration unfreezeInstance withdrawContract

        addBox changeBox drainBox resumeBox loadTransactions retryBox lendBox returnBox removeBox
        copyFirmKey moveFirmKey rotateFirmKey retireFirmKey

        addClientCertificate changeClient createClient disableClient enableClient putAccessPolicy
        removeClient removeClientCertificate rotateClient

        putRules undoRules

        addLine changeLine drainLine restoreLine removeLine

        addHost renewHost removeHost addPlatformHost renewPlatformHost removePlatformHost
        putRevocationList removeRevocationList denyNetwork allowNetwork planFront

        pauseReconcile resumeReconcile releaseReconcilePart
    """,
    "admin": "createServer createStaffToken removeServer revokeStaffToken rotateStaffToken",
    "look": """
        auditMeters diagnoseAccess downloadExport getAccessPolicy getClient getContainerForCustomer
        getInstanceUsage getTicketForCustomer listAccessFailures listClients listExports
        getRuleVersion getRules listRuleVersions tryRules
        listInstanceAudit listLedger getHost listHosts listRevocationLists
    """,
    "act": """
        createItemForCustomer placeOrderForCustomer requestExport restoreContainerForCustomer
    """,
    "ask": "requestSupportAccess",
}
TABLE: Final = {name: need for need, names in NEED.items() for name in names.split()}
ROLES: Final = ("operator", "support", "auditor", "admin")


@pytest.fixture(scope="module")
def routes(site: Site) -> list[Operation]:
    return admin_operations(site)


@pytest.fixture(scope="module")
def bearers(site: Site) -> dict[str, dict[str, str]]:
    return {role: {"Authorization": f"Bearer {site.new_token(role)}"} for role in ROLES}


def path_of(operation: Operation, *, instance_id: str = "ins_0") -> str:
    """With ids of nothing, so that a route that lets one in finds nothing to change."""
    parts = operation.path.replace("{instance_id}", instance_id).split("{")
    return parts[0] + "".join(f"nothing_0{part.partition('}')[2]}" for part in parts[1:])


def send(
    site: Site, operation: Operation, bearer: dict[str, str], *, instance_id: str = "ins_0"
) -> tuple[int, str]:
    """Status and code of what comes back to a body that nothing accepts."""
    headers = {**bearer, "Idempotency-Key": new_id("key"), "If-Match": '"1"'}
    body = None if operation.reads else {"nobody_has_this_field": True}
    path = path_of(operation, instance_id=instance_id)
    answer = site.call(operation.method, path, headers=headers, json=body)
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return answer.status_code, str(answer.json()["code"]) if problem else ""


def test_every_route_declares_what_the_table_says(routes: list[Operation]) -> None:
    assert {each.name: each.extra.get("x-wops-staff") for each in routes} == TABLE


def test_each_role_is_let_in_exactly_where_it_belongs(
    site: Site, routes: list[Operation], bearers: dict[str, dict[str, str]]
) -> None:
    wrong = []
    for operation, role in product(routes, ROLES):
        status, code = send(site, operation, bearers[role])
        let_in = code not in ("staff_role_insufficient", "staff_token_invalid")
        if let_in is not (role in MAY[TABLE[operation.name]].split()):
            wrong.append((operation.name, role, status, code))
    assert not wrong


def test_nobody_who_may_only_read_changes_anything(
    site: Site, routes: list[Operation], bearers: dict[str, dict[str, str]]
) -> None:
    writes = [each for each in routes if not each.reads and TABLE[each.name] != "look"]
    with site.nothing_changes():
        for operation in writes:
            assert send(site, operation, bearers["auditor"]) == (403, "staff_role_insufficient"), (
                operation.name
            )


def test_support_without_the_customers_yes_is_in_no_instance(
    site: Site, routes: list[Operation], instances: dict[str, Instance], bearers: dict[str, dict[str, str]]
) -> None:
    inside = [each for each in routes if TABLE[each.name] in ("look", "act")]
    assert all("{instance_id}" in each.path for each in inside)
    with site.nothing_changes():
        for operation, instance in product(inside, instances.values()):
            found = send(site, operation, bearers["support"], instance_id=instance.instance_id)
            assert found == (403, "support_access_missing"), operation.name


def test_operator_and_auditor_look_into_every_instance(
    site: Site, instance: Instance, bearers: dict[str, dict[str, str]]
) -> None:
    for role in ("operator", "auditor", "admin"):
        path = f"/admin/v1/instances/{instance.instance_id}/usage"
        assert good(site.call("GET", path, headers=bearers[role]))["period"]
    path = f"/admin/v1/instances/{instance.instance_id}/usage"
    refused(site.call("GET", path, headers=bearers["support"]), 403, "support_access_missing")


def test_logs_name_the_token_and_not_its_holder(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    made = good(
        site.admin(
            "POST",
            "/staff-tokens",
            {"name": "Victor Winter", "person": "victor.winter@wops.example", "role": "operator"},
        ),
        201,
    )
    good(site.call("GET", "/admin/v1/editions", headers={"Authorization": f"Bearer {made['secret']}"}))
    written: list[str] = []

    def is_logged() -> bool:
        written.append("".join(capfd.readouterr()))
        return f"staff:{made['token']['token_id']}" in "".join(written)

    wait_until(is_logged, "the request to be logged")
    assert not [name for name in ("Victor", "victor", "inter@") if name in "".join(written)]
