"""Streams of events end: when nothing happens any more, and after some minutes, so that tokens are looked at again."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.ids import new_id
from fsb_gateway import FsbUnavailable
from tests.api.event_stream import EventStream
from tests.api.site import Site, good, refused
from tests.service.wait import wait_until


@pytest.fixture
def waiting(own_site: Site) -> str:
    """An order that goes on and on failing: the gateway does not answer."""

    async def fail(*_args: object, **_more: object) -> None:
        raise FsbUnavailable("no gateway")

    vars(own_site.platform.fsb)["ensure_firm_key"] = fail
    name = f"n-{new_id('i')[-12:]}"
    body = {"customer_id": own_site.add_customer(name), "edition": "datacenter", "name": name}
    asked = own_site.admin("POST", "/instances", body)
    operation = good(asked, 202)
    operation_id = str(operation["operation_id"])
    assert asked.headers["Location"] == f"/admin/v1/operations/{operation_id}"
    assert asked.headers["Retry-After"] == "1"
    assert operation["decisions"] == ["cancel"]
    wait_until(lambda: look(own_site, operation_id)["error_code"], "the first failure")
    return operation_id


def look(site: Site, operation_id: str) -> dict[str, Any]:
    return dict(good(site.admin("GET", f"/operations/{operation_id}")))


def test_stream_ends_after_five_minutes_and_goes_on_only_with_a_token_that_is_still_good(
    own_site: Site, waiting: str
) -> None:
    made = good(
        own_site.admin(
            "POST",
            "/staff-tokens",
            {"name": "night shift", "person": "night@wops.example", "role": "auditor"},
        ),
        201,
    )
    with EventStream(own_site, waiting, token=made["secret"]) as stream:
        events = iter(stream)
        seen = [next(events)]
        good(own_site.admin("POST", f"/staff-tokens/{made['token']['token_id']}:revoke"))
        own_site.pass_time(301)
        seen += events
    assert "end" not in [each["event"] for each in seen], "it is not over"
    last = int(seen[-1]["id"])
    answer = own_site.admin(
        "GET", f"/operations/{waiting}/events", headers={"Authorization": f"Bearer {made['secret']}"}
    )
    refused(answer, 401, "staff_token_invalid")
    vars(own_site.platform.fsb).pop("ensure_firm_key")
    with EventStream(own_site, waiting, after=last) as resumed:
        own_site.pass_time(60)
        again = list(resumed)
    assert [int(each["id"]) for each in again[:-1]] == list(range(last + 1, last + len(again)))
    assert (again[-1]["event"], again[-1]["data"]["state"]) == ("end", "succeeded")


def test_stream_of_an_operation_that_was_given_up_ends_and_can_be_asked_for_again(
    own_site: Site, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise FsbUnavailable("no database server")

    with monkeypatch.context() as broken:
        broken.setattr(own_site.platform.databases, "drop", fail)
        good(own_site.admin("POST", f"/operations/{waiting}:cancel", {"reason": "no longer wanted"}))
        own_site.finish(waiting, "fatal", pauses=60)
        with EventStream(own_site, waiting) as stream:
            seen = list(stream)
    assert (seen[-1]["event"], seen[-1]["data"]["state"]) == ("end", "fatal")
    assert seen[-1]["data"]["decisions"], "staff have to decide"
    good(own_site.admin("POST", f"/operations/{waiting}:retry"))
    with EventStream(own_site, waiting, after=int(seen[-2]["id"])) as stream:
        assert list(stream)[-1]["data"]["state"] == "recovered"
