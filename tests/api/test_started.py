"""What a request that has started an operation is answered: where to ask, when, and what staff may decide already."""

from __future__ import annotations

import httpx2
import pytest

from tests.api.conftest import MakeInstance
from tests.api.site import Site, good


def check(answer: httpx2.Response) -> str:
    """As reading the operation would tell it; returns its id."""
    operation = good(answer, 202)
    assert answer.headers["Location"] == f"/admin/v1/operations/{operation['operation_id']}"
    assert answer.headers["Retry-After"] == "1"
    if operation["state"] in ("queued", "running"):
        assert operation["decisions"] == ["cancel"]
    return str(operation["operation_id"])


def test_operation_is_told_with_its_decisions(site: Site, make_instance: MakeInstance) -> None:
    instance = make_instance()
    body = {"customer_id": instance.customer_id, "edition": "datacenter", "name": f"{instance.name}-b"}
    for answer in (
        site.admin("POST", "/instances", body),
        instance.admin("POST", "/exports"),
        site.admin("POST", "/migrations", {"instances": [instance.name]}),
    ):
        site.finish(check(answer))


def test_customer_is_told_where_his_export_is(make_instance: MakeInstance) -> None:
    instance = make_instance()
    asked = instance.portal("POST", "/exports")
    export_id = good(asked, 202)["export_id"]
    assert asked.headers["Location"] == f"/portal/v1/{instance.name}/exports/{export_id}"
    assert asked.headers["Retry-After"] == "1"
    instance.site.finish(export_id)
    found = instance.portal("GET", f"/exports/{export_id}/file")
    assert (found.status_code, found.headers["RateLimit"][:10]) == (200, '"burst";r=')


@pytest.mark.parametrize(("length", "status"), [(120, 201), (121, 422)])
def test_name_of_a_customer_is_as_long_when_added_as_when_changed(
    site: Site, length: int, status: int
) -> None:
    name = f"long-{length}"
    added = site.admin("POST", "/customers", {"name": name, "display_name": "x" * length})
    assert added.status_code == status
    if status == 201:
        path = f"/customers/{added.json()['customer_id']}"
        for more, changed in ((0, 200), (1, 422)):
            etag = site.admin("GET", path).headers["ETag"]
            body = {"display_name": "y" * (length + more)}
            assert site.admin("PATCH", path, body, headers={"If-Match": etag}).status_code == changed
