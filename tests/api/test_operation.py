"""Operations through the real server: what staff see live, and what they decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from app.core.errors import DatabaseUnavailable
from app.core.ids import new_id
from app.http.idempotency import REPLAYED
from fsb_gateway import FsbUnavailable
from tenancy.operation import provision
from tenancy.operation.plan import PROVISION_INSTANCE
from tests.api.event_stream import EventStream
from tests.api.site import SOON, Site, good, refused
from tests.service.wait import wait_until

DECISIONS = ("retry", "skip", "cancel", "recover")
REASON = {"reason": "Server replaced."}


class Works(Site):
    """A site whose gateway can be out of order for those who install keys."""

    def break_gateway(self) -> None:
        async def fail(*_args: object, **_more: object) -> None:
            raise FsbUnavailable("no gateway")

        vars(self.platform.fsb)["ensure_firm_key"] = fail

    def mend_gateway(self) -> None:
        vars(self.platform.fsb).pop("ensure_firm_key", None)

    def order(self, **asked: Any) -> dict[str, Any]:
        name = f"n-{new_id('i')[-12:]}"
        body = {"customer_id": self.add_customer(name), "edition": "datacenter", "name": name, **asked}
        operation: dict[str, Any] = good(self.admin("POST", "/instances", body), 202)
        return operation

    def look(self, operation: dict[str, Any]) -> dict[str, Any]:
        return self.operation(operation["operation_id"])

    def wait_for(self, operation: dict[str, Any], state: str) -> dict[str, Any]:
        return self.finish(operation["operation_id"], state)

    def failing_order(self) -> dict[str, Any]:
        """An order under way whose key cannot be installed."""
        self.break_gateway()
        operation = self.order()
        wait_until(lambda: self.look(operation)["error_code"], "the first failure")
        return operation

    def failed_order(self) -> dict[str, Any]:
        """An order whose key could not be installed; by now it could."""
        self.break_gateway()
        failed = self.fail(self.order())
        self.mend_gateway()
        return failed

    def fail(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Wait until what cannot succeed is given up."""

        def has_failed() -> dict[str, Any] | None:
            found = self.look(operation)
            if found["state"] == "failed":
                return found
            self._pass_pause(found)
            return None

        return wait_until(has_failed, "the operation to fail", deadline=SOON)

    def _pass_pause(self, shown: dict[str, Any]) -> None:
        """Let time pass only while nobody works on it: a lease would end otherwise."""
        left = datetime.fromisoformat(shown["due_at"]) - self.clock.now()
        if shown["state"] == "running" and left > timedelta(0):
            self.pass_time(left.total_seconds())

    def decide(
        self, operation: dict[str, Any], decision: str, *, token: str | None = None, body: Any = REASON
    ) -> httpx2.Response:
        headers = {"Wops-Reason": quote(REASON["reason"])}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        path = f"/operations/{operation['operation_id']}:{decision}"
        return self.admin("POST", path, body, headers=headers)

    def events(self, operation: dict[str, Any], *, after: int | None = None) -> EventStream:
        return EventStream(self, operation["operation_id"], after=after)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    with Works(tmp_path_factory.mktemp("works")) as site:
        yield site


@pytest.fixture(autouse=True)
def mended(works: Works) -> Iterator[None]:
    yield
    works.mend_gateway()


def test_running_operation_shows_how_far_it_is_and_what_can_be_decided(works: Works) -> None:
    operation = works.failing_order()
    answer = works.admin("GET", f"/operations/{operation['operation_id']}")
    shown = good(answer)
    assert answer.headers["retry-after"] == "1"
    assert (shown["state"], shown["steps_done"], shown["decisions"]) == ("running", 1, ["cancel"])
    assert (shown["error_code"], shown["steps"][1]["name"]) == ("fsb_unavailable", "install_firm_key")
    works.mend_gateway()
    works.pass_time(60)
    assert works.wait_for(operation, "succeeded")["decisions"] == []


def test_operations_are_listed_by_object_and_state(works: Works) -> None:
    one, other = (works.wait_for(works.order(), "succeeded") for _ in range(2))
    found = good(works.admin("GET", "/operations", params={"object_id": one["object_id"]}))["data"]
    assert [each["operation_id"] for each in found] == [one["operation_id"]]
    query = {"state": "succeeded", "limit": 100}
    ids = [each["operation_id"] for each in good(works.admin("GET", "/operations", params=query))["data"]]
    assert {one["operation_id"], other["operation_id"]} <= set(ids)
    query = {"object_id": one["object_id"], "state": "failed"}
    assert good(works.admin("GET", "/operations", params=query))["data"] == []
    refused(works.admin("GET", "/operations", params={"state": "asleep"}), 422, "request_invalid")


def test_retried_operation_ends_well_and_a_repeat_of_the_request_changes_nothing(works: Works) -> None:
    failed = works.failed_order()
    assert failed["decisions"] == ["retry", "recover"]
    path, key = f"/operations/{failed['operation_id']}:retry", {"Idempotency-Key": new_id("key")}
    assert good(works.admin("POST", path, headers=key))["state"] == "running"
    works.wait_for(failed, "succeeded")
    again = works.admin("POST", path, headers=key)
    assert (good(again)["state"], again.headers[REPLAYED]) == ("succeeded", "true")
    assert good(works.admin("GET", f"/instances/{failed['object_id']}"))["state"] == "ready"


def test_recovered_operation_leaves_no_instance_and_its_name_is_free(works: Works) -> None:
    failed = works.failed_order()
    name = good(works.admin("GET", f"/instances/{failed['object_id']}"))["name"]
    good(works.decide(failed, "recover", body=None))
    works.wait_for(failed, "recovered")
    refused(works.admin("GET", f"/instances/{failed['object_id']}"), 404, "instance_not_found")
    works.wait_for(works.order(name=name), "succeeded")


def test_cancelled_operation_is_undone(works: Works) -> None:
    operation = works.failing_order()
    good(works.decide(operation, "cancel"))
    works.wait_for(operation, "recovered")


def test_skipped_step_is_left_out_and_the_rest_is_done(works: Works, failed_client: dict[str, Any]) -> None:
    assert failed_client["steps"][3]["name"] == "create_credentials"
    assert failed_client["decisions"] == ["retry", "skip", "recover"]
    assert good(works.decide(failed_client, "skip"))["state"] == "running"
    states = [step["state"] for step in works.wait_for(failed_client, "succeeded")["steps"]]
    assert states == ["succeeded"] * 3 + ["skipped", "succeeded"]
    path = f"/instances/{failed_client['object_id']}"
    assert good(works.admin("GET", path))["state"] == "ready"
    assert good(works.admin("GET", f"{path}/clients")) == []


@pytest.fixture
def failed_client(works: Works, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An order whose first client could not be made, as its name was taken."""
    client = {"name": "erp", "scopes": ["read"]}
    with monkeypatch.context() as taken:
        taken.setattr(provision, "add_client", lambda *_given: False)
        return works.fail(works.order(edition="dedicated", first_client=client))


@pytest.mark.parametrize(
    ("decision", "event", "action", "before"),
    [
        ("retry", "operation.retried", "retryOperation", "failed"),
        ("skip", "operation.step_skipped", "skipOperationStep", "failed"),
        ("recover", "operation.recovering", "recoverOperation", "failed"),
        ("cancel", "operation.cancelled", "cancelOperation", "running"),
    ],
)
def test_audit_says_who_decided_what_and_why(
    works: Works, request: pytest.FixtureRequest, decision: str, event: str, action: str, before: str
) -> None:
    if decision == "skip":
        operation = request.getfixturevalue("failed_client")
    else:
        operation = works.failing_order() if decision == "cancel" else works.failed_order()
    answer = works.decide(operation, decision)
    good(answer)
    query = {"request_id": answer.headers["request-id"], "object": operation["operation_id"]}
    (entry,) = good(works.admin("GET", "/audit", params=query))["data"]
    assert (entry["type"], entry["action"]) == (event, action)
    assert (entry["actor"]["kind"], entry["actor"]["name"]) == ("staff", "admin@wops.example")
    assert (entry["reason"], entry["before"]) == (REASON["reason"], {"state": before})


def test_operation_nobody_decides_about_recovers_by_itself(works: Works) -> None:
    failed = works.failed_order()
    works.pass_time(PROVISION_INSTANCE.grace.total_seconds() - 1)
    assert works.look(failed)["state"] == "failed"
    works.pass_time(1)
    works.wait_for(failed, "recovered")
    refused(works.admin("GET", f"/instances/{failed['object_id']}"), 404, "instance_not_found")


@pytest.mark.parametrize("role", ["support", "auditor"])
def test_who_only_reads_decides_nothing(works: Works, role: str) -> None:
    failed, token = works.failed_order(), works.new_token(role)
    for decision in DECISIONS:
        refused(works.decide(failed, decision, token=token), 403, "staff_role_insufficient")
    assert works.look(failed) == failed
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("", "/log"):
        good(works.admin("GET", f"/operations/{failed['operation_id']}{path}", headers=headers))


def test_decision_that_does_not_fit_is_refused_with_the_reason_and_changes_nothing(works: Works) -> None:
    done = works.wait_for(works.order(), "succeeded")
    failed = works.failed_order()
    nobody = {"operation_id": "opn_0"}
    for decision in DECISIONS:
        refused(works.decide(done, decision), 409, "operation_state_unfit")
        refused(works.decide(nobody, decision), 404, "operation_not_found")
    refused(works.decide(failed, "skip"), 409, "operation_step_needed")
    refused(works.decide(failed, "cancel"), 409, "operation_state_unfit")
    for decision in ("skip", "cancel"):
        refused(works.decide(failed, decision, body={}), 422, "request_invalid")
        refused(works.decide(failed, decision, body={"reason": ""}), 422, "request_invalid")
    assert works.look(failed) == failed
    assert works.look(done) == done


def test_log_tells_every_attempt_and_goes_on_after_a_line(works: Works) -> None:
    failed = works.failed_order()
    path = f"/operations/{failed['operation_id']}/log"
    lines = good(works.admin("GET", path))
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["event"] for line in lines[:3]] == ["queued", "step_started", "step_done"]
    assert lines[-1]["event"] == "failed"
    assert good(works.admin("GET", path, params={"after": len(lines) - 1})) == lines[-1:]
    refused(works.admin("GET", "/operations/opn_0/log"), 404, "operation_not_found")


def test_events_are_sent_while_they_happen_until_the_operation_has_ended(works: Works) -> None:
    works.break_gateway()
    operation = works.order()
    seen = []
    with works.events(operation) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        for event in stream:
            seen.append(event)
            if event["event"] == "step_failed":
                assert event["data"]["message"] == "fsb_unavailable: no gateway"
                works.mend_gateway()
                works.pass_time(60)
    *lines, end = seen
    assert [int(event["id"]) for event in lines] == list(range(1, len(lines) + 1))
    assert (end["event"], end["data"]["state"], lines[-1]["event"]) == ("end", "succeeded", "succeeded")
    assert [event["data"] for event in lines] == good(
        works.admin("GET", f"/operations/{operation['operation_id']}/log")
    )

    with works.events(operation, after=len(lines) - 2) as resumed:
        assert [event["event"] for event in resumed] == ["step_done", "succeeded", "end"]


def test_stream_of_an_unknown_operation_is_refused_as_anything_else(works: Works) -> None:
    refused(works.admin("GET", "/operations/opn_0/events"), 404, "operation_not_found")


def test_stream_outlasts_a_database_that_is_busy(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = works.wait_for(works.order(), "succeeded")
    operations, refusals = works.platform.operations, iter(range(3))
    read_on = operations.read_on

    def busy(*asked: Any, **more: Any) -> Any:
        if next(refusals, None) is not None:
            raise DatabaseUnavailable("Too many wait.")
        return read_on(*asked, **more)

    monkeypatch.setattr(operations, "read_on", busy)
    with works.events(operation) as stream:
        assert [event["event"] for event in stream][-2:] == ["succeeded", "end"]
    assert next(refusals, None) is None


def test_many_who_wait_for_events_hold_up_nobody(works: Works) -> None:
    failed = works.failed_order()
    with ExitStack() as stack:
        streams = [stack.enter_context(works.events(failed)) for _ in range(150)]
        for stream in streams:
            assert next(iter(stream))["event"] == "queued"
        assert works.wait_for(works.order(), "succeeded")
    good(works.decide(failed, "retry"))


def test_server_that_stops_ends_streams_at_once(tmp_path: Path) -> None:
    with ExitStack() as opened:
        with Works(tmp_path) as works:
            stream = opened.enter_context(works.events(works.failed_order()))
            assert next(iter(stream))["event"] == "queued"
        assert "end" not in [event["event"] for event in stream]


def test_first_client_of_an_order_gets_its_secret_by_rotation(works: Works) -> None:
    client = {"name": "erp", "scopes": ["read"]}
    operation = works.wait_for(works.order(edition="dedicated", first_client=client), "succeeded")
    path = f"/instances/{operation['object_id']}/clients"
    made = good(works.admin("GET", path))[0]
    assert (made["name"], made["scopes"]) == ("erp", ["read"])
    assert good(works.admin("POST", f"{path}/{made['client_id']}:rotate"))["secret"]
    refused(
        works.admin("POST", "/instances", {**_order("x"), "first_client": {"name": "erp", "scopes": []}}),
        422,
        "request_invalid",
    )


def _order(name: str) -> dict[str, Any]:
    return {"customer_id": "cus_0", "edition": "dedicated", "name": name}
