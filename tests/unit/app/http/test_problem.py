"""Problem answers: members, headers, and what is kept back."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import (
    CommitOutcomeUnknown,
    DatabaseUnavailable,
    DomainError,
    InputInvalid,
    OperationInProgress,
)
from app.http.problem import (
    PROBLEM_MEDIA_TYPE,
    QUOTA_TYPE,
    problem_response,
    register_problem_handlers,
)
from app.licensing.errors import ItemVersionConflict, TicketUnknown, TransferOpen
from editions import ACTIVATIONS, WEB_SERVICE_CALLS, Meter, Month, QuotaExceeded, QuotaState
from fsb_gateway import BoxQueueFull, FsbProtocolError, KeyEncryptionKeyExposed
from fsb_gateway.carrier.exchange import GatewayAway
from tenancy.errors import CredentialsInvalid, CredentialsMissing, InstanceNotFound, StaffTokenInvalid
from tests.fake.clock import FakeClock

REQUEST_ID = "req_0195f0c2d3e47a5b8c6d7e8f90a1b2c3"


def body_of(error: Exception, *, request_id: str = REQUEST_ID) -> dict[str, Any]:
    answer = problem_response(error, request_id=request_id, clock=FakeClock())
    return dict(json.loads(bytes(answer.body)))


def told(error: Exception) -> dict[str, Any]:
    return body_of(error)


def quota_exceeded(meter: Meter = WEB_SERVICE_CALLS) -> QuotaExceeded:
    state = QuotaState(
        meter=meter, month=Month(2026, 3), contractual=250_000, refusal=250_000, used=250_000, taken=250_000
    )
    return QuotaExceeded("The web-service calls of this month are used up.", state=state, meter=meter)


def test_refusal_has_every_member() -> None:
    assert told(TicketUnknown("This ticket is not known here.", hint="compare")) == {
        "type": "/problems/ticket-unknown",
        "title": "Ticket unknown",
        "status": 404,
        "detail": "This ticket is not known here.",
        "code": "ticket_unknown",
        "retryable": False,
        "hotline_text": {
            "de": (
                "Dieses Ticket wurde hier nicht ausgestellt. Bitte prüfen Sie, ob es von einem anderen Hersteller"
                " stammt, und vergleichen Sie es mit dem zugesandten."
            ),
            "en": (
                "This ticket has not been issued here. Check whether it was issued by another vendor, and compare"
                " it with the one you were sent."
            ),
        },
        "instance": f"urn:wops:request:{REQUEST_ID}",
        "context": {"hint": "compare"},
    }


def test_answer_is_problem_json_and_not_stored() -> None:
    answer = problem_response(TicketUnknown("Unknown."), request_id=REQUEST_ID)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert answer.headers["cache-control"] == "no-store"
    assert "retry-after" not in answer.headers
    assert json.loads(bytes(answer.body))["status"] == 404


def test_without_a_request_id_there_is_no_instance() -> None:
    assert "instance" not in body_of(TicketUnknown("Unknown."), request_id="")


def test_request_id_cannot_break_the_urn() -> None:
    assert body_of(TicketUnknown("Unknown."), request_id="a b:\ud800/é")["instance"] == (
        "urn:wops:request:a%20b%3A%3F%2F%C3%A9"
    )


@pytest.mark.parametrize(
    ("error", "status", "seconds"),
    [
        (DatabaseUnavailable("No answer."), 503, 2),
        (CommitOutcomeUnknown("Not known."), 503, 2),
        (OperationInProgress("Not ended."), 409, 1),
        (TransferOpen("Wait.", transfer_id="trf_1"), 409, 5),
        (BoxQueueFull("Full.", expected_wait_seconds=12.25), 429, 13),
        (BoxQueueFull("Full.", expected_wait_seconds=0.0), 429, 1),
        (BoxQueueFull("Full.", expected_wait_seconds=float("nan")), 429, 5),
        (BoxQueueFull("Full."), 429, 5),
    ],
)
def test_passing_trouble_says_when_to_come_back(error: DomainError, status: int, seconds: int) -> None:
    answer = problem_response(error, request_id=REQUEST_ID)
    problem = json.loads(bytes(answer.body))
    assert (answer.status_code, answer.headers["retry-after"]) == (status, str(seconds))
    assert (problem["retryable"], problem["retry_after_s"]) == (True, seconds)


@pytest.mark.parametrize(("meter", "policy"), [(WEB_SERVICE_CALLS, "ws-month"), (ACTIVATIONS, "act-month")])
def test_used_up_quota_tells_limit_and_end_of_month(meter: Meter, policy: str) -> None:
    clock = FakeClock()
    # From 2026-03-10T09:00Z to midnight in Berlin, where summer has begun meanwhile.
    seconds = int(timedelta(days=21, hours=13).total_seconds())
    answer = problem_response(quota_exceeded(meter), request_id=REQUEST_ID, clock=clock)
    problem = json.loads(bytes(answer.body))
    assert answer.status_code == 429
    assert problem["type"] == QUOTA_TYPE
    assert problem["violated-policies"] == [policy]
    assert problem["retry_after_s"] == seconds
    assert answer.headers["retry-after"] == str(seconds)
    assert answer.headers["ratelimit"] == f'"{policy}";r=0;t={seconds}'
    assert answer.headers["ratelimit-policy"].startswith(f'"{policy}";q=250000;w=')


def test_quota_whose_month_is_over_is_asked_for_again_after_a_second() -> None:
    clock = FakeClock()
    clock.advance(timedelta(days=60))
    answer = problem_response(quota_exceeded(), request_id=REQUEST_ID, clock=clock)
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (CredentialsMissing("Send credentials."), 'Basic realm="wops", charset="UTF-8"'),
        (CredentialsInvalid("Wrong."), 'Basic realm="wops", charset="UTF-8"'),
        (StaffTokenInvalid("Unknown."), 'Bearer realm="wops"'),
    ],
)
def test_unknown_caller_is_told_how_to_authenticate(error: DomainError, challenge: str) -> None:
    answer = problem_response(error, request_id=REQUEST_ID)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyEncryptionKeyExposed("others can read hunter2", file="hunter2"), "internal_error"),
        (FsbProtocolError("answered hunter2", excerpt="hunter2"), "fsb_protocol_error"),
        (RuntimeError("hunter2"), "internal_error"),
        (HTTPException(500, "hunter2"), "internal_error"),
    ],
)
def test_what_we_broke_is_logged_and_not_told(
    error: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = problem_response(error, request_id=REQUEST_ID)
    assert answer.status_code == 500
    assert b"hunter2" not in bytes(answer.body)
    assert json.loads(bytes(answer.body))["code"] == code
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_refusals_are_not_logged_as_failures(caplog: pytest.LogCaptureFixture) -> None:
    problem_response(ItemVersionConflict("Changed."), request_id=REQUEST_ID)
    assert caplog.records == []


def test_facts_that_are_no_json_are_left_out() -> None:
    error = InputInvalid("No.", field="a", when=FakeClock(), share=float("inf"))  # type: ignore[arg-type]
    assert told(error)["context"] == {"field": "a"}


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_message_can_be_sent(message: str, fact: str) -> None:
    answer = problem_response(InputInvalid(message, fact=fact), request_id=REQUEST_ID)
    problem = json.loads(bytes(answer.body))
    assert problem["detail"] == message.encode("utf-8", "replace").decode()


# Through an application.


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    pin: int


class WithRequestId:
    """Stands in for the outermost layer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["wops.request_id"] = REQUEST_ID
        await self._app(scope, receive, send)


def make_app() -> FastAPI:
    app = FastAPI(max_body_size=1000)
    app.add_middleware(WithRequestId)
    register_problem_handlers(app, clock=FakeClock())

    @app.post("/logins")
    async def log_in(body: Login, limit: Annotated[int, Query(le=100)] = 1) -> dict[str, int]:
        return {"pin": body.pin, "limit": limit}

    @app.get("/instances/{name}")
    async def show(name: str) -> None:
        raise InstanceNotFound("There is no such instance.", name=name)

    @app.get("/broken")
    async def break_down() -> None:
        raise ZeroDivisionError("hunter2")

    @app.get("/teapot")
    async def refuse() -> None:
        raise HTTPException(418, "hunter2", headers={"X-Secret": "hunter2", "Retry-After": "3"})

    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(make_app(), raise_server_exceptions=False)


def test_domain_error_of_a_route_becomes_its_problem(client: TestClient) -> None:
    answer = client.get("/instances/acme")
    assert (answer.status_code, answer.json()["code"]) == (404, "instance_not_found")
    assert answer.json()["instance"] == f"urn:wops:request:{REQUEST_ID}"
    assert answer.json()["context"] == {"name": "acme"}


def test_unforeseen_error_of_a_route_says_nothing_of_its_own(client: TestClient) -> None:
    answer = client.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert answer.json()["instance"] == f"urn:wops:request:{REQUEST_ID}"
    assert "hunter2" not in answer.text


def test_unknown_address_and_wrong_method(client: TestClient) -> None:
    missing = client.get("/nothing/here")
    assert (missing.status_code, missing.json()["code"]) == (404, "route_not_found")
    wrong = client.delete("/logins")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


def test_rare_refusal_keeps_its_status_and_known_headers_only(client: TestClient) -> None:
    answer = client.get("/teapot")
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (
        418,
        418,
        "request_refused",
    )
    assert answer.headers["retry-after"] == "3"
    assert "x-secret" not in answer.headers
    assert "hunter2" not in answer.text


def test_wrong_fields_are_listed(client: TestClient) -> None:
    answer = client.post("/logins?limit=1000", json={"pin": "hunter2", "colour": 1})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert {(each["in"], each["pointer"], each["code"]) for each in answer.json()["errors"]} == {
        ("query", "/limit", "value_out_of_range"),
        ("body", "/name", "field_missing"),
        ("body", "/pin", "type_wrong"),
        ("body", "/colour", "unknown_field"),
    }
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "content",
    [b"{", b'{"name": hunter2}', b'"\xff\xfe"', b"[" * 900, b"[" + b"1" * 900 + b",", b"\x00"],
    ids=["cut", "bare word", "no Unicode", "nested", "number", "zero"],
)
def test_unreadable_json_is_one_problem_whatever_is_wrong(client: TestClient, content: bytes) -> None:
    answer = client.post("/logins", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "json_malformed")
    assert "hunter2" not in answer.text


def test_position_in_unreadable_json_is_told(client: TestClient) -> None:
    answer = client.post("/logins", content=b'{"name" 1}', headers={"content-type": "application/json"})
    assert answer.json()["context"] == {"position": 8}


def test_body_beyond_the_framework_limit_is_a_problem_too() -> None:
    answer = problem_response(HTTPException(413), request_id=REQUEST_ID)
    assert (answer.status_code, json.loads(bytes(answer.body))["code"]) == (413, "body_too_large")
    answer = problem_response(HTTPException(415), request_id=REQUEST_ID)
    assert (answer.status_code, json.loads(bytes(answer.body))["code"]) == (415, "media_type_unsupported")


@given(st.text(min_size=6), st.sampled_from(["name", "pin", "other"]))
def test_answer_never_repeats_what_was_sent(sent: str, field: str) -> None:
    secret = f"Zq9-{sent}"
    client = TestClient(make_app(), raise_server_exceptions=False)
    answer = client.post("/logins", json={"name": 1, "pin": "x", field: secret})
    assert answer.status_code == 422
    assert secret not in json.dumps(answer.json(), ensure_ascii=False)
    assert "Zq9" not in answer.text


@pytest.mark.parametrize("for_staff", [True, False])
def test_where_the_gateway_is_is_told_to_staff_alone(for_staff: bool) -> None:
    error = GatewayAway("The gateway at https://10.0.0.7:8443 cannot be reached: nobody listens there.")
    app = FastAPI()
    register_problem_handlers(app, clock=FakeClock(), for_staff=for_staff)

    @app.get("/x")
    def fail() -> None:
        raise error

    problem = TestClient(app).get("/x").json()
    assert (problem["status"], problem["code"], problem["retryable"]) == (503, "fsb_unavailable", True)
    assert ("10.0.0.7" in str(problem)) is for_staff
    assert for_staff is (problem["detail"] == error.message)
