"""Schemas of all instances through the admin API, beside instances that work meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from app.core.migrate import current, head
from tests.api.conftest import MakeInstance
from tests.api.site import Instance, Site, good, refused
from tests.service.wait import wait_until


def _set_revision(instance: Instance, revision: str) -> None:
    with closing(sqlite3.connect(instance.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def _log(site: Site, operation: dict[str, Any]) -> list[str]:
    lines = good(site.admin("GET", f"/operations/{operation['operation_id']}/log"))
    return [line["message"] for line in lines]


def test_instances_are_migrated_by_an_operation_with_progress(
    site: Site, make_instance: MakeInstance
) -> None:
    behind, other = make_instance(), make_instance()
    _set_revision(behind, "0036")
    answer = site.admin("POST", "/migrations", {})
    operation = good(answer, 202)
    assert answer.headers["Location"] == f"/admin/v1/operations/{operation['operation_id']}"
    assert operation["kind"] == "migrate_instances"
    site.finish(operation["operation_id"])
    assert current(f"sqlite:///{behind.database}") == head("instance")
    log = _log(site, operation)
    assert any(line.startswith("1 migrated, ") and " 0 failed" in line for line in log)
    assert any(" of " in line and line.endswith(" instances") for line in log)
    report = good(site.admin("GET", "/migrations"))
    assert (report["target"], report["not_checked"], report["failed"]) == (head("instance"), 0, [])
    assert report["done"] == report["instances"] >= 2
    for each in (behind, other):
        assert good(each.call("GET", "/items"))["data"] == []


def test_instance_that_fails_is_named_and_a_retry_finishes_it(
    site: Site, make_instance: MakeInstance
) -> None:
    damaged, behind = make_instance(), make_instance()
    _set_revision(damaged, "not-ours")
    _set_revision(behind, "0036")
    operation = good(
        site.admin("POST", "/migrations", {"instances": [damaged.name, behind.instance_id]}), 202
    )
    wait_until(
        lambda: any(f"{damaged.name}: migration_refused" in line for line in _log(site, operation)),
        "the failure to be told",
    )
    wait_until(lambda: current(f"sqlite:///{behind.database}") == head("instance"), "the other one")
    second = refused(site.admin("POST", "/migrations", {}), 409, "operation_running")
    assert operation["operation_id"] in str(second)
    report = good(site.admin("GET", "/migrations"))
    assert [(each["name"], each["error_code"]) for each in report["failed"]] == [
        (damaged.name, "migration_refused")
    ]
    _set_revision(damaged, "0036")
    site.finish(operation["operation_id"], pauses=10)
    assert good(site.admin("GET", "/migrations"))["failed"] == []


def test_order_for_an_instance_that_is_not_there_is_refused(site: Site) -> None:
    with site.nothing_changes(but=["op"]):
        refused(site.admin("POST", "/migrations", {"instances": ["nobody-here"]}), 422, "input_invalid")


@pytest.mark.parametrize(("role", "status"), [("support", 403), ("auditor", 403), ("operator", 202)])
def test_those_who_change_things_may_start_it_and_all_may_read(site: Site, role: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {site.new_token(role)}"}
    answer = site.admin("POST", "/migrations", {}, headers=headers)
    assert answer.status_code == status
    assert site.admin("GET", "/migrations", headers=headers).status_code == 200
    if status == 202:
        site.finish(answer.json()["operation_id"])
