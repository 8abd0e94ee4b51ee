"""Exports of an instance: what is in the file, and who may have it."""

from __future__ import annotations

from tests.api.conftest import MakeInstance
from tests.api.lifecycle import check_file, rows
from tests.api.site import Instance, good, refused
from tests.service.wait import wait_until


def test_staff_and_customer_export_the_instance_and_fetch_the_file(instance: Instance) -> None:
    instance.sell(3)
    started = instance.admin("POST", "/exports")
    operation = good(started, 202)
    assert started.headers["Location"].endswith(operation["operation_id"])
    instance.site.finish(operation["operation_id"])
    (listed,) = good(instance.admin("GET", "/exports"))
    fetched = instance.admin("GET", f"/exports/{listed['export_id']}/file")
    manifest = check_file(fetched)
    assert listed["manifest"] == manifest
    assert rows(manifest)["license"] == 3
    part = instance.admin("GET", f"/exports/{listed['export_id']}/file", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, fetched.content[:10])

    asked = instance.portal("POST", "/exports")
    export_id = good(asked, 202)["export_id"]
    address = asked.headers["Location"]
    wait_until(
        lambda: good(instance.site.call("GET", address, auth=instance.auth))["state"] == "succeeded",
        "the customer's own export",
    )
    assert rows(check_file(instance.portal("GET", f"/exports/{export_id}/file")))["license"] == 3
    assert [each["export_id"] for each in good(instance.portal("GET", "/exports"))] == [
        export_id,
        listed["export_id"],
    ]


def test_export_of_one_customer_is_nothing_to_another(make_instance: MakeInstance) -> None:
    mine, other = make_instance(), make_instance()
    export_id = good(mine.portal("POST", "/exports"), 202)["export_id"]
    mine.site.finish(export_id)
    for path in (f"/exports/{export_id}", f"/exports/{export_id}/file"):
        refused(other.portal("GET", path), 404, "export_not_found")
        refused(mine.portal("GET", path, auth=other.auth), 404, "instance_not_found")
    refused(other.admin("GET", f"/exports/{export_id}/file"), 404, "export_not_found")
    assert good(other.portal("GET", "/exports")) == []
    reader = mine.add_client("reader", ["read"])
    refused(mine.portal("GET", "/exports", auth=reader), 403, "scope_missing")
