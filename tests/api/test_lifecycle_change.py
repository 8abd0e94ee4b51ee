"""Frozen, renamed, changed: through the real server, with what every change needs."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.ids import InstanceId, new_id
from app.core.origin import system_origin
from tenancy import ContractService
from tenancy.lifecycle.service import LifecycleService
from tests.api.lifecycle import change, read
from tests.api.site import Instance, good, refused
from tests.service.wait import wait_until


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
    good(instance.portal("GET", "/access"))
    good(instance.admin("GET", f"/tickets/{ticket}"))

    assert good(change(instance, "unfreeze"))["state"] == "ready"
    instance.site.pass_time(1.1)
    good(instance.call("GET", "/items"))
    good(instance.gate("GET", f"/tickets/{ticket}"))
    instance.check_books()


def test_renamed_instance_is_found_under_its_new_name_at_once_and_not_under_the_old_one(
    instance: Instance,
) -> None:
    old, new = instance.name, f"new-{new_id('n')[-8:]}"
    ticket = instance.sell()
    assert good(change(instance, "rename", {"name": new}))["name"] == new
    refused(instance.call("GET", "/items"), 404, "instance_not_found")
    refused(instance.gate("GET", f"/tickets/{ticket}"), 404, "instance_not_found")
    refused(instance.portal("GET", "/access"), 404, "instance_not_found")
    instance.name = new
    assert instance.auth[0] == f"{old}.erp"
    good(instance.call("GET", "/items"))
    good(instance.gate("GET", f"/tickets/{ticket}"))
    good(instance.portal("GET", "/access"))
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


def test_instance_shows_where_it_is_placed_beside_what_is_contracted(instance: Instance) -> None:
    def shown() -> list[tuple[Any, ...]]:
        """As it is read, listed, and answered to a change."""
        frozen, thawed = (good(change(instance, verb)) for verb in ("freeze", "unfreeze"))
        (found,) = [
            each for each in instance.site.listed("/instances") if each["instance_id"] == instance.instance_id
        ]
        names = ("edition", "lines", "contract_edition", "contract_lines", "servers")
        return [tuple(each[name] for name in names) for each in (read(instance)[0], found, frozen, thawed)]

    (placed,) = {each[4][0] for each in shown()}
    assert shown() == [("dedicated", 1, "dedicated", 1, [placed])] * 4
    instance.contract(edition="high_availability", lines=2)
    assert shown() == [("dedicated", 1, "high_availability", 2, [placed])] * 4
    until = instance.site.clock.now() + timedelta(days=1)
    more = {"kind": "temporary_lines", "lines": 3, "effective_until": until.isoformat()}
    instance.contract(edition="high_availability", **more)
    assert shown() == [("dedicated", 1, "high_availability", 5, [placed])] * 4
    instance.site.pass_time(24 * 3600)
    assert shown() == [("dedicated", 1, "high_availability", 2, [placed])] * 4


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
    instance.site.finish(operation_id)


def done_to(instance: Instance) -> list[tuple[object, ...]]:
    """What has happened at the instance, besides control telling it of a change."""
    return [event for event in instance.events() if event[1] != "instance.configured"]
